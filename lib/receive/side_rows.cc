#include "receive/side_rows.h"

#include <array>
#include <charconv>

#include "base/check.h"
#include "table/csv_row.h"
#include "table/json_text.h"
#include "table/number_text.h"

namespace forebay::receive {
namespace {

using table::ColumnType;

table::Schema MakeSchema(std::vector<table::Column> columns) {
  auto schema = table::Schema::Create(std::move(columns));
  FOREBAY_CHECK(schema.ok());
  return std::move(*schema);
}

void AppendTime(int64_t millis, ByteBuffer& out) {
  char* begin = out.Ensure(kMaxRfc3339Chars);
  out.SetEnd(FormatRfc3339(UnixMillis{millis}, begin));
}

template <typename Integer>
void AppendInteger(Integer value, ByteBuffer& out) {
  constexpr size_t kMaxChars = 21;
  char* begin = out.Ensure(kMaxChars);
  out.SetEnd(std::to_chars(begin, begin + kMaxChars, value).ptr);
}

void AppendDouble(uint64_t bits, ByteBuffer& out) {
  char* begin = out.Ensure(table::kMaxDoubleChars);
  out.SetEnd(table::WriteDouble(bits, begin));
}

void AppendCount(uint64_t count, bool is_float, ByteBuffer& out) {
  if (is_float) {
    AppendDouble(count, out);
  } else {
    AppendInteger(count, out);
  }
}

// JSON has no NaN and no infinities: they stand as strings.
void AppendJsonDouble(uint64_t bits, ByteBuffer& out) {
  constexpr uint64_t kExponent = 0x7ff0'0000'0000'0000;
  if ((bits & kExponent) != kExponent) {
    AppendDouble(bits, out);
  } else if (table::IsNan(bits)) {
    out.Append("\"\"NaN\"\"");
  } else {
    out.Append((bits >> 63) != 0 ? "\"\"-Infinity\"\"" : "\"\"Infinity\"\"");
  }
}

// "[[index,count],...]", quoted for CSV.
void AppendBuckets(const HistogramBuckets& buckets, bool is_float, ByteBuffer& out) {
  out.Append("\"[");
  bool first = true;
  ForEachBucket(buckets, is_float, [&](int64_t index, uint64_t count) {
    if (!first) out.push_back(',');
    first = false;
    out.push_back('[');
    AppendInteger(index, out);
    out.push_back(',');
    if (is_float) {
      AppendJsonDouble(count, out);
    } else {
      AppendInteger(static_cast<int64_t>(count), out);
    }
    out.push_back(']');
  });
  out.Append("]\"");
}

std::string_view ResetHintName(ResetHint hint) {
  switch (hint) {
    case ResetHint::kUnknown:
      return "unknown";
    case ResetHint::kYes:
      return "yes";
    case ResetHint::kNo:
      return "no";
    case ResetHint::kGauge:
      return "gauge";
  }
  FOREBAY_CHECK(false);
}

}  // namespace

const table::Schema& SideSchema(SideTable side) {
  static const table::Schema exemplars = MakeSchema({{"Timestamp", ColumnType::kDatetime},
                                                     {"SeriesId", ColumnType::kLong},
                                                     {"MetricName", ColumnType::kString},
                                                     {"Labels", ColumnType::kDynamic},
                                                     {"ExemplarLabels", ColumnType::kDynamic},
                                                     {"Value", ColumnType::kReal}});
  static const table::Schema histograms = MakeSchema({{"Timestamp", ColumnType::kDatetime},
                                                      {"StartTimestamp", ColumnType::kDatetime},
                                                      {"SeriesId", ColumnType::kLong},
                                                      {"MetricName", ColumnType::kString},
                                                      {"Labels", ColumnType::kDynamic},
                                                      {"Schema", ColumnType::kInt},
                                                      {"Count", ColumnType::kString},
                                                      {"Sum", ColumnType::kReal},
                                                      {"ZeroThreshold", ColumnType::kReal},
                                                      {"ZeroCount", ColumnType::kString},
                                                      {"PositiveBuckets", ColumnType::kDynamic},
                                                      {"NegativeBuckets", ColumnType::kDynamic},
                                                      {"CustomValues", ColumnType::kDynamic},
                                                      {"IsFloat", ColumnType::kBool},
                                                      {"ResetHint", ColumnType::kString}});
  static const table::Schema metadata = MakeSchema({{"Timestamp", ColumnType::kDatetime},
                                                    {"MetricName", ColumnType::kString},
                                                    {"Type", ColumnType::kString},
                                                    {"Help", ColumnType::kString},
                                                    {"Unit", ColumnType::kString}});
  switch (side) {
    case SideTable::kExemplars:
      return exemplars;
    case SideTable::kHistograms:
      return histograms;
    case SideTable::kMetadata:
      return metadata;
  }
  FOREBAY_CHECK(false);
}

const std::string& SideTableName(SideTable side, const config::RemoteWrite& config) {
  switch (side) {
    case SideTable::kExemplars:
      return config.exemplars_table;
    case SideTable::kHistograms:
      return config.histograms_table;
    case SideTable::kMetadata:
      return config.metadata_table;
  }
  FOREBAY_CHECK(false);
}

void AppendSeriesFields(int64_t series_id, std::string_view metric, table::LabelSpan labels,
                        ByteBuffer& out) {
  AppendInteger(series_id, out);
  out.push_back(',');
  table::AppendCsvField(metric, out);
  out.push_back(',');
  table::AppendLabelsJsonCsv(labels, out);
}

void AppendExemplarRow(int64_t timestamp, std::string_view series_fields, table::LabelSpan labels,
                       uint64_t value_bits, ByteBuffer& out) {
  AppendTime(timestamp, out);
  out.push_back(',');
  out.Append(series_fields);
  out.push_back(',');
  table::AppendLabelsJsonCsv(labels, out);
  out.push_back(',');
  AppendDouble(value_bits, out);
  out.push_back('\n');
}

void AppendHistogramRow(const NativeHistogram& histogram, int64_t start_timestamp,
                        std::string_view series_fields, ByteBuffer& out) {
  AppendTime(histogram.timestamp, out);
  out.push_back(',');
  if (start_timestamp != 0) AppendTime(start_timestamp, out);
  out.push_back(',');
  out.Append(series_fields);
  out.push_back(',');
  AppendInteger(histogram.schema, out);
  out.push_back(',');
  AppendCount(histogram.count, histogram.is_float, out);
  out.push_back(',');
  AppendDouble(histogram.sum_bits, out);
  out.push_back(',');
  AppendDouble(histogram.zero_threshold_bits, out);
  out.push_back(',');
  AppendCount(histogram.zero_count, histogram.is_float, out);
  out.push_back(',');
  AppendBuckets(histogram.positive, histogram.is_float, out);
  out.push_back(',');
  AppendBuckets(histogram.negative, histogram.is_float, out);
  out.Append(",\"[");
  for (size_t i = 0; i < histogram.custom_values.size(); ++i) {
    if (i > 0) out.push_back(',');
    AppendJsonDouble(histogram.custom_values[i], out);
  }
  out.Append(histogram.is_float ? "]\",true," : "]\",false,");
  out.Append(ResetHintName(histogram.reset_hint));
  out.push_back('\n');
}

void AppendMetadataRow(UnixMillis received, const MetadataParts& metadata, ByteBuffer& out) {
  AppendTime(received.value, out);
  out.push_back(',');
  table::AppendCsvField(metadata.metric, out);
  out.push_back(',');
  out.Append(MetricTypeName(metadata.type));
  out.push_back(',');
  table::AppendCsvField(metadata.help, out);
  out.push_back(',');
  table::AppendCsvField(metadata.unit, out);
  out.push_back('\n');
}

std::string_view MetricTypeName(uint64_t type) {
  constexpr std::array<std::string_view, 8> kNames = {
      "unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"};
  return type < kNames.size() ? kNames[type] : kNames[0];
}

}  // namespace forebay::receive
