// A worker with fresh tables and a configuration, and what it makes of a request, for tests.
#pragma once

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "otlp/worker.h"
#include "otlp_builder.h"
#include "table/number_text.h"

namespace forebay::testing {

class WorkerHarness {
 public:
  explicit WorkerHarness(config::Config config = DefaultConfig()) {
    series = std::make_unique<table::SeriesTable>(table::SeriesTable::Options{.hash_seed = 7});
    tables = std::make_unique<table::TableRegistry>(config.limits.tables_max);
    auto created = receive::RemoteWriteState::Create(config, *series, *tables, registry);
    if (!created.ok()) throw std::runtime_error(created.error().ToString());
    state = std::move(*created);
    worker = std::make_unique<otlp::Worker>(*state);
  }
  static config::Config DefaultConfig() {
    config::Config config;
    for (const char* name : {"Metrics", "Other"}) {
      config.databases.push_back(
          {.name = name, .relabel_configs = {}, .lift_labels = {}, .sinks = {}});
    }
    return config;
  }

  Status Decode(otlp::Signal signal, std::string_view body, otlp::WorkerInput input = {}) {
    input.format.signal = signal;
    input.body = {body.data(), body.size()};
    if (input.received.value == 0) input.received = {1'762'000'000'999};
    return worker->Decode(input, staged);
  }
  Status Logs(std::string_view body) { return Decode(otlp::Signal::kLogs, body); }
  Status Spans(std::string_view body) { return Decode(otlp::Signal::kTraces, body); }
  Status Json(otlp::Signal signal, std::string_view body) {
    otlp::WorkerInput input;
    input.format.encoding = otlp::Encoding::kJson;
    return Decode(signal, body, input);
  }

  Status Metrics(std::string_view body) { return Decode(otlp::Signal::kMetrics, body); }

  // Samples as "table{labels} value @time", sorted.
  std::vector<std::string> Samples() const {
    std::vector<std::string> lines;
    for (size_t i = 0; i < staged.refs.size(); ++i) {
      const table::SeriesView view = series->Get(staged.refs[i]);
      const auto names = series->ShapeNames(view.shape);
      std::string line = tables->Get(view.table).name + "{";
      for (size_t l = 0; l < names.size(); ++l) {
        if (l > 0) line += ',';
        line += std::string(series->symbols().Text(names[l])) + "=";
        line += series->symbols().Text(view.values[l]);
      }
      char text[table::kMaxDoubleChars];
      line += "} " + std::string(text, table::WriteDouble(staged.values[i], text));
      lines.push_back(line + " @" + std::to_string(staged.timestamps[i]));
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  std::string Side(receive::SideTable side) {
    return std::string(staged.rows(0, side).text.view());
  }

  // Rows of a table of the request, by the order in which they were met.
  std::string Rows(size_t table = 0) const {
    if (table >= staged.record_tables) return "";
    return std::string(staged.records[table].rows.text.view());
  }
  const table::TableInfo& Table(size_t table = 0) const {
    return tables->Get(staged.records[table].rows.table);
  }

  metrics::Registry registry;
  std::unique_ptr<table::SeriesTable> series;
  std::unique_ptr<table::TableRegistry> tables;
  std::unique_ptr<receive::RemoteWriteState> state;
  std::unique_ptr<otlp::Worker> worker;
  receive::StagedWrite staged;
};

}  // namespace forebay::testing
