// The requests that figures of cost are about: what `forebay load` sends, made by the same code.
// Default: 100000 series of 200 tables, 10 labels, 2000 series a request, one sample each.
// Place: for the steps of tests/bench, the instructions of tests/gate and tests/unit/steady.
// Memory: about 320 B of protobuf a series, encoded once. Everything is a function of the options.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_buffer.h"
#include "loadgen/request_template.h"
#include "loadgen/series_model.h"
#include "wal/journal_format.h"

namespace forebay::bench {

inline constexpr int64_t kFirstTime = 1'762'000'000'123;  // Unix ms
inline constexpr int64_t kScrapeInterval = 15'000;        // ms between two samples of a series

struct PayloadOptions {
  loadgen::Protocol protocol = loadgen::Protocol::kRemoteWrite1;
  uint64_t series = 100'000;
  uint32_t tables = 200;
  uint32_t labels = 10;
  uint32_t series_per_request = 2000;
  uint32_t samples_per_series = 1;  // of a request
};

// Threads: one at a time.
class Payload {
 public:
  explicit Payload(const PayloadOptions& options = {})
      : options_(options), model_({options.series, options.tables, options.labels, 0}) {
    for (uint64_t first = 0; first < options.series; first += options.series_per_request) {
      loadgen::RequestTemplate::Shape shape;
      shape.protocol = options.protocol;
      shape.first_series = first;
      shape.series = static_cast<uint32_t>(
          std::min<uint64_t>(options.series_per_request, options.series - first));
      shape.samples_per_series = options.samples_per_series;
      templates_.emplace_back(model_, shape);
    }
  }
  Payload(const Payload&) = delete;  // the templates point to the model
  Payload& operator=(const Payload&) = delete;

  // The next samples of every series, as protobuf messages.
  std::vector<std::string> Messages(uint64_t round) {
    std::vector<int64_t> times;
    for (uint32_t i = 0; i < options_.samples_per_series; ++i) {
      const uint64_t sample = round * options_.samples_per_series + i;
      times.push_back(kFirstTime + static_cast<int64_t>(sample) * kScrapeInterval);
    }
    std::vector<std::string> messages;
    for (loadgen::RequestTemplate& request : templates_) {
      messages.emplace_back(request.Fill(round, times, std::chrono::milliseconds(0)));
    }
    return messages;
  }
  // The same as bodies, each one snappy block.
  std::vector<std::string> Bodies(uint64_t round) { return Compressed(Messages(round)); }

  static std::vector<std::string> Compressed(const std::vector<std::string>& messages) {
    std::vector<std::string> bodies;
    ByteBuffer body;
    for (const std::string& message : messages) {
      loadgen::CompressSnappy(message, body);
      bodies.emplace_back(body.view());
    }
    return bodies;
  }

  const PayloadOptions& options() const { return options_; }
  uint64_t samples() const { return options_.series * options_.samples_per_series; }  // of a round
  wal::RecordKind kind() const {
    return options_.protocol == loadgen::Protocol::kRemoteWrite1 ? wal::RecordKind::kRemoteWrite1
                                                                 : wal::RecordKind::kRemoteWrite2;
  }

 private:
  const PayloadOptions options_;
  const loadgen::SeriesModel model_;
  std::vector<loadgen::RequestTemplate> templates_;
};

inline uint64_t TotalBytes(const std::vector<std::string>& parts) {
  uint64_t bytes = 0;
  for (const std::string& part : parts) bytes += part.size();
  return bytes;
}

}  // namespace forebay::bench
