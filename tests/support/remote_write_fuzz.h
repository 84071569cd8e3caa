// What the fuzz targets of both remote-write versions do with an input.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/log.h"
#include "receive/decode_worker.h"

namespace forebay::testing {

class RemoteWriteFuzz {
 public:
  explicit RemoteWriteFuzz(wal::RecordKind kind) : kind_(kind) {
    ConfigureLog(LogLevel::kOff, LogFormat::kLogfmt);
  }

  void Run(std::string_view input) {
    // Fresh tables now and then, so that an input's effect does not hang on thousands before it.
    if (runs_++ % 512 == 0) Reset();
    DecodeMessage(input);
    DecodeBody(input);
  }

 private:
  void Reset() {
    config::Config config;
    config.databases = {
        {.name = "Metrics", .relabel_configs = {}, .lift_labels = {{"job", ""}}, .sinks = {}},
        {.name = "Other", .relabel_configs = {}, .lift_labels = {}, .sinks = {}}};
    config.http.max_decoded_body = MiB(1);
    config.remote_write.max_future = std::chrono::hours(24);
    worker_.reset();
    state_.reset();
    registry_ = std::make_unique<metrics::Registry>();
    series_ = std::make_unique<table::SeriesTable>(
        table::SeriesTable::Options{.max_series = 10'000, .max_bytes = 16U << 20, .hash_seed = 5});
    tables_ = std::make_unique<table::TableRegistry>(1000);
    auto state = receive::RemoteWriteState::Create(config, *series_, *tables_, *registry_);
    FOREBAY_CHECK(state.ok());
    state_ = std::move(*state);
    worker_ = std::make_unique<receive::DecodeWorker>(*state_);
  }

  receive::DecodeInput Input() const {
    receive::DecodeInput input;
    input.kind = kind_;
    input.received = {1'762'000'000'000};
    return input;
  }

  static void CheckSums(const receive::ItemCounts& counts) {
    FOREBAY_CHECK(counts.received == counts.stored + counts.dropped + counts.refused);
  }

  void CheckStaged() {
    const size_t samples = staged_.refs.size();
    FOREBAY_CHECK(staged_.timestamps.size() == samples && staged_.values.size() == samples);
    for (size_t i = 0; i < samples; ++i) FOREBAY_CHECK(staged_.refs[i] < series_->capacity());
    CheckSums(staged_.samples);
    CheckSums(staged_.histograms);
    CheckSums(staged_.exemplars);
    CheckSums(staged_.metadata);
    FOREBAY_CHECK(std::is_sorted(staged_.refused.begin(), staged_.refused.end()));
    FOREBAY_CHECK(staged_.anything_refused() == !staged_.first_refusal.empty());
    FOREBAY_CHECK(staged_.RefusalText().size() <= 4096);
    for (const receive::StagedRows& rows : staged_.side_rows) {
      const auto ends = rows.row_ends.span();
      FOREBAY_CHECK(ends.empty() ? rows.text.empty() : ends.back() == rows.text.size());
    }
  }

  void DecodeMessage(std::string_view message) {
    receive::DecodeInput input = Input();
    if (!worker_->DecodeProtobuf(input, message, staged_).ok()) return;
    CheckStaged();
    state_->metadata().Forget(staged_.metadata_keys);
    const auto timestamps = staged_.timestamps.span();
    const std::vector<int64_t> live(timestamps.begin(), timestamps.end());
    const std::vector<uint32_t> refused = staged_.refused;
    const size_t text = staged_.side_text_bytes();
    input.replay = true;
    input.refused = refused;
    FOREBAY_CHECK(worker_->DecodeProtobuf(input, message, staged_).ok());
    const auto again = staged_.timestamps.span();
    FOREBAY_CHECK(std::equal(live.begin(), live.end(), again.begin(), again.end()));
    FOREBAY_CHECK(staged_.side_text_bytes() == text);
  }

  void DecodeBody(std::string_view body) {
    receive::DecodeInput input = Input();
    input.body = {body.data(), body.size()};
    if (worker_->Decode(input, staged_).ok()) CheckStaged();
  }

  const wal::RecordKind kind_;
  uint64_t runs_ = 0;
  std::unique_ptr<metrics::Registry> registry_;
  std::unique_ptr<table::SeriesTable> series_;
  std::unique_ptr<table::TableRegistry> tables_;
  std::unique_ptr<receive::RemoteWriteState> state_;
  std::unique_ptr<receive::DecodeWorker> worker_;
  receive::StagedWrite staged_;
};

}  // namespace forebay::testing
