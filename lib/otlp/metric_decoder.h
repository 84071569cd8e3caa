// Metrics of a request to what remote write makes of samples: columns of (series, time, value),
// rows of native histograms, exemplars and metadata. One pass over the wire bytes; a series is
// found by a hash of what stands in the request (resource, scope, metric, attributes), and only a
// series not seen before gets names and labels, is relabelled and put into a table. Place: one per
// io thread and one for recovery; live requests and replay share it. Rules: docs/otlp.md. Limits:
// as remote write's, in proportion to http.max_decoded_body.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "otlp/metric_names.h"
#include "otlp/value_writer.h"
#include "receive/native_histogram.h"
#include "receive/remote_write_state.h"
#include "receive/series_parts.h"
#include "receive/series_resolver.h"
#include "receive/staged_write.h"

namespace forebay::otlp {

struct MetricInput {
  std::string_view tenant;
  UnixMillis received;
  uint64_t generation = 0;
  bool replay = false;  // as RecordInput
  std::span<const uint32_t> refused = {};
  receive::TenantLimits::SeriesQuota quota;
};

// Threads: one at a time.
class MetricDecoder {
 public:
  explicit MetricDecoder(receive::RemoteWriteState& state);

  // Replaces the contents of `staged`. message: an ExportMetricsServiceRequest. Errors as
  // RecordDecoder::Decode; kOutOfRange: more samples than there is room for.
  Status Decode(const MetricInput& input, std::string_view message, receive::StagedWrite& staged);

 private:
  enum class Type : uint8_t { kNone, kGauge, kSum, kHistogram, kExponential, kSummary };
  // What of a data point a series is.
  enum class Part : uint8_t { kValue, kBucket, kSum, kCount, kQuantile, kHistogram, kTargetInfo };
  struct Metric {
    std::string_view name;
    std::string_view description;
    std::string_view unit;
    std::string_view data;  // Gauge, Sum, ...
    Type type = Type::kNone;
    uint64_t temporality = 0;
    bool monotonic = false;
    uint64_t hash = 0;
    bool delta() const { return temporality == 1; }
  };
  struct Point {
    std::string_view attributes;  // their fields, tags included
    uint32_t attribute_field = 0;
    uint64_t hash = 0;   // of the attributes
    int64_t time = 0;    // Unix ms
    int64_t start = 0;   // 0: unset
    bool stale = false;  // NO_RECORDED_VALUE
    bool bad = false;    // a part of it was refused
  };
  // A series of the point: its part, and the bound or quantile of that part.
  struct SeriesPart {
    Part part = Part::kValue;
    uint64_t bits = 0;
  };
  // The columns that side rows of a series share.
  struct Rendered {
    table::SeriesKey key;
    bool used = false;
    receive::DatabaseIndex database = 0;
    ByteBuffer fields;
  };
  struct Found {
    table::SeriesRef ref = table::kUnknownSeries;
    table::SeriesKey key;
    std::optional<receive::RefusalReason> reason;  // of a refusal
  };

  void Begin(const MetricInput& input, receive::StagedWrite& staged);
  Status End(std::string_view message);
  void WalkRequest(std::string_view message);
  void WalkResource(std::string_view message);
  void WalkScope(std::string_view message);
  void WalkMetric(std::string_view message);
  void WalkPoints(void (MetricDecoder::*take)(std::string_view));
  void BeginResource(std::string_view resource);
  void BeginScope(std::string_view scope);
  void BeginPoint(uint32_t attribute_field);
  void TakeAttributes(receive::WireReader& reader);
  void EndPoint();
  void TakeNumber(std::string_view message);
  void TakeHistogram(std::string_view message);
  void TakeExponential(std::string_view message);
  void TakeSummary(std::string_view message);
  void TakeExemplars(const SeriesPart& part, std::span<const uint64_t> bounds);
  void TakeExemplar(std::string_view message, SeriesPart part, std::span<const uint64_t> bounds);
  void EmitTargetInfo();
  void StoreMetadata();

  table::SeriesKey KeyOf(const SeriesPart& part) const;
  // Counts a series of the request; false: it was refused when it came (replay).
  bool NextSeries();
  Found Look(const SeriesPart& part);
  Found ResolveNew(const SeriesPart& part, const table::SeriesKey& key);
  void Emit(const SeriesPart& part, uint64_t bits);
  void EmitHistogram();
  const Rendered* Render(const SeriesPart& part, const table::SeriesKey& key);
  receive::StagedRows* SideRows(receive::DatabaseIndex database, receive::SideTable side);
  bool EndRow(receive::StagedRows& rows, size_t begin);
  receive::DatabaseIndex DatabaseOf(table::SeriesRef ref);
  void Refuse(receive::RefusalReason reason, std::string_view detail);
  void RefusePoint(std::string_view detail);
  // Fills labels_ with those of a series; views into texts_.
  void MakeLabels(const SeriesPart& part);
  void AddAttribute(const KeyValue& attribute);
  void SetLabel(std::string_view name, std::string value);
  void AddAttributes(std::string_view fields, uint32_t number);
  std::string TextOf(std::string_view value);

  receive::RemoteWriteState& state_;
  std::shared_ptr<const receive::Rules> rules_;
  Naming naming_;

  // Of the running request.
  const MetricInput* input_ = nullptr;
  receive::StagedWrite* staged_ = nullptr;
  std::optional<receive::SampleStager> stager_;
  receive::SampleFilter filter_;
  receive::DatabaseIndex routed_database_ = 0;
  uint64_t domain_ = 0;
  uint32_t index_ = 0;  // of the next series
  size_t next_refused_ = 0;
  size_t side_text_ = 0;
  bool malformed_ = false;
  std::string refused_in_replay_;

  // Of the resource, the scope, the metric and the point that are walked.
  std::string_view resource_;
  uint64_t resource_hash_ = 0;
  int64_t latest_ = 0;  // time of the resource's points
  bool has_points_ = false;
  std::string_view scope_;
  uint64_t scope_hash_ = 0;
  Metric metric_;
  Point point_;
  ByteBuffer joined_;  // attributes that did not stand together
  const char* attributes_end_ = nullptr;
  std::vector<std::string_view> exemplars_;
  std::vector<uint64_t> counts_;
  std::vector<uint64_t> bounds_;
  receive::NativeHistogram histogram_;
  receive::ExemplarParts exemplar_;

  // Of a new series.
  struct OwnLabel {
    std::string name;
    std::string value;
  };
  std::vector<OwnLabel> texts_;
  std::vector<table::Label> labels_;
  std::vector<table::Label> row_labels_;
  table::RowLabels row_;
  receive::SeriesResolver resolver_;
  ValueWriter values_;
  ByteBuffer value_text_;

  static constexpr size_t kRendered = 256;
  static constexpr size_t kMetadataFilter = 1024;
  std::vector<Rendered> rendered_;        // by key, direct-mapped
  std::vector<uint64_t> known_metadata_;  // hashes of metrics, direct-mapped
  uint64_t metadata_epoch_ = 0;
  int64_t metadata_hour_ = 0;
  std::vector<receive::DatabaseIndex> table_databases_;  // by TableId
};

}  // namespace forebay::otlp
