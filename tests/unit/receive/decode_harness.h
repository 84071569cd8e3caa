// A decoder with fresh tables and a configuration, and what it makes of a request, for tests.
#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "receive/decode_worker.h"
#include "request_builder.h"

namespace forebay::testing {

class DecodeHarness {
 public:
  explicit DecodeHarness(config::Config config = DefaultConfig(),
                         table::SeriesTable::Options options = {.hash_seed = 7}) {
    series = std::make_unique<table::SeriesTable>(options);
    tables = std::make_unique<table::TableRegistry>(config.limits.tables_max);
    auto created = receive::RemoteWriteState::Create(config, *series, *tables, registry);
    if (!created.ok()) throw std::runtime_error(created.error().ToString());
    state = std::move(*created);
    worker = std::make_unique<receive::DecodeWorker>(*state);
  }
  static config::Config DefaultConfig() {
    config::Config config;
    config.databases.push_back(
        {.name = "Metrics", .relabel_configs = {}, .lift_labels = {}, .sinks = {}});
    return config;
  }

  Status Decode1(std::string_view message, receive::DecodeInput input = {}) {
    input.kind = wal::RecordKind::kRemoteWrite1;
    if (input.received.value == 0) input.received = {kTime};
    return worker->DecodeProtobuf(input, message, staged);
  }
  Status Decode2(std::string_view message, receive::DecodeInput input = {}) {
    input.kind = wal::RecordKind::kRemoteWrite2;
    if (input.received.value == 0) input.received = {kTime};
    return worker->DecodeProtobuf(input, message, staged);
  }

  // Text of the side rows of a table, of the first database.
  std::string Text(receive::SideTable side, receive::DatabaseIndex database = 0) {
    return std::string(staged.rows(database, side).text.view());
  }
  // Labels column of the series of a staged sample: "a=b,c=d".
  std::string LabelsOf(size_t sample) const {
    const table::SeriesView view = series->Get(staged.refs[sample]);
    const auto names = series->ShapeNames(view.shape);
    std::string text;
    for (size_t i = 0; i < names.size(); ++i) {
      if (i > 0) text += ',';
      text += series->symbols().Text(names[i]);
      text += '=';
      text += series->symbols().Text(view.values[i]);
    }
    return text;
  }
  const table::TableInfo& TableOf(size_t sample) const {
    return tables->Get(series->Get(staged.refs[sample]).table);
  }
  uint64_t CountOf(receive::RefusalReason reason) const {
    return staged.refused_series[static_cast<size_t>(reason)];
  }
  using Samples = std::vector<std::tuple<table::SeriesRef, int64_t, uint64_t>>;
  Samples samples() const {
    Samples all;
    for (size_t i = 0; i < staged.refs.size(); ++i) {
      all.emplace_back(staged.refs[i], staged.timestamps[i], staged.values[i]);
    }
    return all;
  }

  metrics::Registry registry;
  std::unique_ptr<table::SeriesTable> series;
  std::unique_ptr<table::TableRegistry> tables;
  std::unique_ptr<receive::RemoteWriteState> state;
  std::unique_ptr<receive::DecodeWorker> worker;
  receive::StagedWrite staged;
};

}  // namespace forebay::testing
