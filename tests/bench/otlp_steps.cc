// From an OTLP request to staged rows or samples: log records and spans of about 300 B, 512 a
// request, and data points of cumulative sums, 2000 a request. What `forebay load` sends, by its
// own code; not compressed, as exporters send by default.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <protozero/pbf_reader.hpp>

#include "bench/floors.h"
#include "bench/pipeline.h"
#include "bench/steps.h"
#include "loadgen/otlp_template.h"
#include "otlp/worker.h"

namespace forebay::bench {
namespace {

using protozero::data_view;
using protozero::pbf_reader;

constexpr uint32_t kTargets = 4;  // resources of a request
constexpr uint32_t kRecords = 512;
constexpr uint32_t kPoints = 2000;

// Requests of a signal, and what the product makes of them.
struct Otlp {
  explicit Otlp(loadgen::Signal of)
      : signal(of == loadgen::Signal::kMetrics ? otlp::Signal::kMetrics
               : of == loadgen::Signal::kLogs  ? otlp::Signal::kLogs
                                               : otlp::Signal::kTraces),
        per_request(of == loadgen::Signal::kMetrics ? kPoints : kRecords),
        model({kRequests * per_request, kTargets, 10, 0}) {
    for (uint32_t i = 0; i < kRequests; ++i) {
      loadgen::OtlpTemplate::Shape shape;
      shape.signal = of;
      shape.first_series = uint64_t{i} * per_request;
      shape.series = per_request;
      loadgen::OtlpTemplate request(model, shape);
      const int64_t times[] = {kFirstTime};
      messages.emplace_back(request.Fill(0, times, std::chrono::milliseconds(0)));
    }
    for (const std::string& message : messages) {
      all_staged += Decode(message);
      rows.push_back({});
      for (size_t i = 0; i < pipeline.staged.record_tables; ++i) {
        rows.back() += pipeline.staged.records[i].rows.text.view();
      }
    }
    uint64_t longest = 0;
    for (const std::string& text : rows) longest = std::max<uint64_t>(longest, text.size());
    out = ResidentBuffer(longest + 1);
    Expect(all_staged >= items(), "a record is missing");
  }
  // Metrics: `target_info` of each resource comes on top.
  uint64_t items() const { return uint64_t{kRequests} * per_request; }

  // Returns the records or data points that were staged.
  uint64_t Decode(const std::string& message) {
    otlp::WorkerInput input;
    input.format.signal = signal;
    input.body = message;
    input.received = {kFirstTime};
    input.generation = 1;
    receive::StagedWrite& staged = pipeline.staged;
    MustOk(worker.Decode(input, staged));
    Expect(!staged.anything_refused(), "a record was refused");
    uint64_t staged_records = staged.refs.size();
    for (size_t i = 0; i < staged.record_tables; ++i) {
      staged_records += staged.records[i].rows.rows();
    }
    return staged_records;
  }

  static constexpr uint32_t kRequests = 16;
  const otlp::Signal signal;
  const uint32_t per_request;
  const loadgen::SeriesModel model;
  std::vector<std::string> messages;
  Pipeline pipeline;
  otlp::Worker worker{*pipeline.state};
  std::vector<std::string> rows;  // of each request
  uint64_t all_staged = 0;        // of all requests
  std::vector<char> out;
};

// A message whose fields with these numbers are messages too.
struct Nested {
  struct Field {
    uint32_t number;
    const Nested* message;
  };
  std::vector<Field> fields;
};

const Nested& RequestOf(otlp::Signal signal) {
  static const Nested any{};
  static const Nested attribute{{{2, &any}}};
  static const Nested resource{{{1, &attribute}}};
  static const Nested event{{{3, &attribute}}};
  static const Nested status{};
  static const Nested point{{{7, &attribute}}};
  static const Nested sum{{{1, &point}}};
  static const Nested metric{{{7, &sum}}};
  static const Nested record{{{5, &any}, {6, &attribute}}};
  static const Nested span{{{9, &attribute}, {11, &event}, {15, &status}}};
  static const Nested metrics{{{2, &metric}}};
  static const Nested logs{{{2, &record}}};
  static const Nested spans{{{2, &span}}};
  static const Nested of_metrics{{{1, &resource}, {2, &metrics}}};
  static const Nested of_logs{{{1, &resource}, {2, &logs}}};
  static const Nested of_spans{{{1, &resource}, {2, &spans}}};
  static const Nested requests[] = {{{{1, &of_metrics}}}, {{{1, &of_logs}}}, {{{1, &of_spans}}}};
  return requests[static_cast<size_t>(signal)];
}

// Sees each field once; returns the bytes of those that hold no other.
uint64_t Walk(data_view bytes, const Nested& message) {
  uint64_t leaves = 0;
  pbf_reader reader(bytes);
  while (reader.next()) {
    const Nested* inner = nullptr;
    for (const Nested::Field& field : message.fields) {
      if (field.number == reader.tag()) inner = field.message;
    }
    if (inner != nullptr) {
      leaves += Walk(reader.get_view(), *inner);
    } else if (reader.wire_type() == protozero::pbf_wire_type::length_delimited) {
      leaves += reader.get_view().size();
    } else {
      reader.skip();
    }
  }
  return leaves;
}

Step DecodeOtlp(loadgen::Signal signal) {
  const auto otlp = std::make_shared<Otlp>(signal);
  Step step;
  step.items = otlp->items();
  step.bytes = TotalBytes(otlp->messages);
  step.product.run = [otlp] {
    uint64_t staged = 0;
    for (const std::string& message : otlp->messages) staged += otlp->Decode(message);
    return staged == otlp->all_staged;
  };
  step.floor.run = [otlp] {
    uint64_t leaves = 0;
    for (size_t i = 0; i < otlp->messages.size(); ++i) {
      leaves += Walk(otlp->messages[i], RequestOf(otlp->signal));
      std::memcpy(otlp->out.data(), otlp->rows[i].data(), otlp->rows[i].size());
      benchmark::ClobberMemory();
    }
    return leaves > 0;
  };
  return step;
}

}  // namespace

void AddOtlpSteps() {
  AddStep({"OTLP log record to its row", "record", "each field seen, a copy of the row"},
          [] { return DecodeOtlp(loadgen::Signal::kLogs); });
  AddStep({"OTLP span to its row", "span", "each field seen, a copy of the row"},
          [] { return DecodeOtlp(loadgen::Signal::kTraces); });
  AddStep({"OTLP data point of a known series", "point", "each field seen"},
          [] { return DecodeOtlp(loadgen::Signal::kMetrics); });
}

}  // namespace forebay::bench
