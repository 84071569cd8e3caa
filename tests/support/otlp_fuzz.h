// What the fuzz targets of OTLP do with an input: each signal in the encoding of the target.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "otlp/worker.h"

namespace forebay::testing {

class OtlpFuzz {
 public:
  explicit OtlpFuzz(otlp::Signal signal) : signal_(signal) {
    ConfigureLog(LogLevel::kOff, LogFormat::kLogfmt);
  }

  // The first byte tells encoding and compression.
  void Run(std::string_view input) {
    if (input.empty()) return;
    // Fresh tables now and then, so that an input's effect does not hang on thousands before it.
    if (runs_++ % 512 == 0) Reset();
    otlp::WorkerInput request;
    request.format.signal = signal_;
    request.format.encoding =
        (input[0] & 1) != 0 ? otlp::Encoding::kJson : otlp::Encoding::kProtobuf;
    constexpr otlp::Compression kCompressions[] = {
        otlp::Compression::kNone, otlp::Compression::kNone, otlp::Compression::kGzip,
        otlp::Compression::kZstd};
    request.format.compression = kCompressions[(input[0] >> 1) & 3];
    input.remove_prefix(1);
    request.body = {input.data(), input.size()};
    request.received = {1'762'000'000'000};
    if (!worker_->Decode(request, staged_).ok()) {
      FOREBAY_CHECK(staged_.nothing_to_store() || !staged_.refused_records.empty() ||
                    !staged_.refused.empty());
      return;
    }
    CheckStaged();
    state_->metadata().Forget(staged_.metadata_keys);
    const std::string rows = Rows();
    const auto values = staged_.values.span();
    const std::vector<uint64_t> live(values.begin(), values.end());
    const auto list = otlp::RefusedOf(signal_, staged_);
    const std::vector<uint32_t> refused(list.begin(), list.end());
    request.replay = true;
    request.refused = refused;
    FOREBAY_CHECK(worker_->Decode(request, staged_).ok());
    FOREBAY_CHECK(Rows() == rows);
    const auto again = staged_.values.span();
    FOREBAY_CHECK(std::equal(live.begin(), live.end(), again.begin(), again.end()));
    state_->metadata().Forget(staged_.metadata_keys);
  }

 private:
  void Reset() {
    config::Config config;
    config.databases = {
        {.name = "Metrics", .relabel_configs = {}, .lift_labels = {{"job", ""}}, .sinks = {}},
        {.name = "Other", .relabel_configs = {}, .lift_labels = {}, .sinks = {}}};
    config.http.max_decoded_body = MiB(1);
    config.remote_write.max_future = std::chrono::hours(24);
    config.otlp.logs.columns = "full";
    config.otlp.logs.lift_attributes = {{"a", ""}};
    config.otlp.metrics.promote_resource_attributes = {"a"};
    worker_.reset();
    state_.reset();
    registry_ = std::make_unique<metrics::Registry>();
    series_ = std::make_unique<table::SeriesTable>(
        table::SeriesTable::Options{.max_series = 10'000, .max_bytes = 16U << 20, .hash_seed = 5});
    tables_ = std::make_unique<table::TableRegistry>(1000);
    auto state = receive::RemoteWriteState::Create(config, *series_, *tables_, *registry_);
    FOREBAY_CHECK(state.ok());
    state_ = std::move(*state);
    worker_ = std::make_unique<otlp::Worker>(*state_);
  }

  static void CheckSums(const receive::ItemCounts& counts) {
    FOREBAY_CHECK(counts.received == counts.stored + counts.dropped + counts.refused);
  }

  std::string Rows() const {
    std::string rows;
    for (size_t i = 0; i < staged_.record_tables; ++i) {
      rows += staged_.records[i].rows.text.view();
    }
    for (const receive::StagedRows& side : staged_.side_rows) rows += side.text.view();
    return rows;
  }

  void CheckStaged() {
    CheckSums(staged_.samples);
    CheckSums(staged_.histograms);
    CheckSums(staged_.exemplars);
    CheckSums(staged_.metadata);
    CheckSums(staged_.logs);
    CheckSums(staged_.spans);
    FOREBAY_CHECK(staged_.refs.size() == staged_.timestamps.size());
    FOREBAY_CHECK(staged_.refs.size() == staged_.values.size());
    FOREBAY_CHECK(std::is_sorted(staged_.refused.begin(), staged_.refused.end()));
    FOREBAY_CHECK(std::is_sorted(staged_.refused_records.begin(), staged_.refused_records.end()));
    for (size_t i = 0; i < staged_.record_tables; ++i) {
      const receive::StagedRows& rows = staged_.records[i].rows;
      const auto ends = rows.row_ends.span();
      FOREBAY_CHECK(ends.empty() ? rows.text.empty() : ends.back() == rows.text.size());
      size_t begin = 0;
      for (const uint32_t end : ends) {
        const std::string_view row = rows.text.view().substr(begin, end - begin);
        CheckRow(row, tables_->Get(rows.table).schema.columns().size());
        begin = end;
      }
    }
  }

  // As many fields as columns, quotes in pairs, no NUL, one line end outside of quotes.
  static void CheckRow(std::string_view row, size_t columns) {
    size_t commas = 0;
    bool quoted = false;
    for (size_t i = 0; i < row.size(); ++i) {
      FOREBAY_CHECK(row[i] != '\0');
      if (row[i] == '"') quoted = !quoted;
      if (quoted) continue;
      if (row[i] == ',') ++commas;
      FOREBAY_CHECK((row[i] == '\n') == (i + 1 == row.size()));
    }
    FOREBAY_CHECK(!quoted && commas + 1 == columns);
    FOREBAY_CHECK(row.size() < columns * (otlp::kMaxValueBytes * 3));
  }

  const otlp::Signal signal_;
  uint64_t runs_ = 0;
  std::unique_ptr<metrics::Registry> registry_;
  std::unique_ptr<table::SeriesTable> series_;
  std::unique_ptr<table::TableRegistry> tables_;
  std::unique_ptr<receive::RemoteWriteState> state_;
  std::unique_ptr<otlp::Worker> worker_;
  receive::StagedWrite staged_;
};

}  // namespace forebay::testing
