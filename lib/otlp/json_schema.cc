#include "otlp/internal/json_schema.h"

namespace forebay::otlp::internal {
namespace {

using T = JsonType;

constexpr JsonField Scalar(std::string_view name, uint32_t number, JsonType type) {
  return {name, number, type, false, nullptr};
}
constexpr JsonField Many(std::string_view name, uint32_t number, JsonType type) {
  return {name, number, type, true, nullptr};
}
constexpr JsonField One(std::string_view name, uint32_t number, const JsonMessage& message) {
  return {name, number, T::kMessage, false, &message};
}
constexpr JsonField List(std::string_view name, uint32_t number, const JsonMessage& message) {
  return {name, number, T::kMessage, true, &message};
}

// AnyValue holds lists of itself.
extern const JsonMessage kAnyValue;

const JsonField kKeyValueFields[] = {Scalar("key", 1, T::kString), One("value", 2, kAnyValue)};
const JsonMessage kKeyValue{kKeyValueFields};
const JsonField kArrayValueFields[] = {List("values", 1, kAnyValue)};
const JsonMessage kArrayValue{kArrayValueFields};
const JsonField kKeyValueListFields[] = {List("values", 1, kKeyValue)};
const JsonMessage kKeyValueList{kKeyValueListFields};
const JsonField kAnyValueFields[] = {
    Scalar("stringValue", 1, T::kString), Scalar("boolValue", 2, T::kBool),
    Scalar("intValue", 3, T::kInt64),     Scalar("doubleValue", 4, T::kDouble),
    One("arrayValue", 5, kArrayValue),    One("kvlistValue", 6, kKeyValueList),
    Scalar("bytesValue", 7, T::kBase64)};
const JsonMessage kAnyValue{kAnyValueFields};

const JsonField kResourceFields[] = {List("attributes", 1, kKeyValue),
                                     Scalar("droppedAttributesCount", 2, T::kUint32)};
const JsonMessage kResource{kResourceFields};
const JsonField kScopeFields[] = {Scalar("name", 1, T::kString), Scalar("version", 2, T::kString),
                                  List("attributes", 3, kKeyValue),
                                  Scalar("droppedAttributesCount", 4, T::kUint32)};
const JsonMessage kScope{kScopeFields};

const JsonField kLogRecordFields[] = {
    Scalar("timeUnixNano", 1, T::kFixed64), Scalar("severityNumber", 2, T::kEnum),
    Scalar("severityText", 3, T::kString),  One("body", 5, kAnyValue),
    List("attributes", 6, kKeyValue),       Scalar("droppedAttributesCount", 7, T::kUint32),
    Scalar("flags", 8, T::kFixed32),        Scalar("traceId", 9, T::kHex),
    Scalar("spanId", 10, T::kHex),          Scalar("observedTimeUnixNano", 11, T::kFixed64),
    Scalar("eventName", 12, T::kString)};
const JsonMessage kLogRecord{kLogRecordFields};
const JsonField kScopeLogsFields[] = {One("scope", 1, kScope), List("logRecords", 2, kLogRecord),
                                      Scalar("schemaUrl", 3, T::kString)};
const JsonMessage kScopeLogs{kScopeLogsFields};
const JsonField kResourceLogsFields[] = {One("resource", 1, kResource),
                                         List("scopeLogs", 2, kScopeLogs),
                                         Scalar("schemaUrl", 3, T::kString)};
const JsonMessage kResourceLogs{kResourceLogsFields};
const JsonField kLogsRequestFields[] = {List("resourceLogs", 1, kResourceLogs)};
const JsonMessage kLogsRequest{kLogsRequestFields};

const JsonField kEventFields[] = {Scalar("timeUnixNano", 1, T::kFixed64),
                                  Scalar("name", 2, T::kString), List("attributes", 3, kKeyValue),
                                  Scalar("droppedAttributesCount", 4, T::kUint32)};
const JsonMessage kEvent{kEventFields};
const JsonField kLinkFields[] = {Scalar("traceId", 1, T::kHex),
                                 Scalar("spanId", 2, T::kHex),
                                 Scalar("traceState", 3, T::kString),
                                 List("attributes", 4, kKeyValue),
                                 Scalar("droppedAttributesCount", 5, T::kUint32),
                                 Scalar("flags", 6, T::kFixed32)};
const JsonMessage kLink{kLinkFields};
const JsonField kStatusFields[] = {Scalar("message", 2, T::kString), Scalar("code", 3, T::kEnum)};
const JsonMessage kStatus{kStatusFields};
const JsonField kSpanFields[] = {Scalar("traceId", 1, T::kHex),
                                 Scalar("spanId", 2, T::kHex),
                                 Scalar("traceState", 3, T::kString),
                                 Scalar("parentSpanId", 4, T::kHex),
                                 Scalar("name", 5, T::kString),
                                 Scalar("kind", 6, T::kEnum),
                                 Scalar("startTimeUnixNano", 7, T::kFixed64),
                                 Scalar("endTimeUnixNano", 8, T::kFixed64),
                                 List("attributes", 9, kKeyValue),
                                 Scalar("droppedAttributesCount", 10, T::kUint32),
                                 List("events", 11, kEvent),
                                 Scalar("droppedEventsCount", 12, T::kUint32),
                                 List("links", 13, kLink),
                                 Scalar("droppedLinksCount", 14, T::kUint32),
                                 One("status", 15, kStatus),
                                 Scalar("flags", 16, T::kFixed32)};
const JsonMessage kSpan{kSpanFields};
const JsonField kScopeSpansFields[] = {One("scope", 1, kScope), List("spans", 2, kSpan),
                                       Scalar("schemaUrl", 3, T::kString)};
const JsonMessage kScopeSpans{kScopeSpansFields};
const JsonField kResourceSpansFields[] = {One("resource", 1, kResource),
                                          List("scopeSpans", 2, kScopeSpans),
                                          Scalar("schemaUrl", 3, T::kString)};
const JsonMessage kResourceSpans{kResourceSpansFields};
const JsonField kTracesRequestFields[] = {List("resourceSpans", 1, kResourceSpans)};
const JsonMessage kTracesRequest{kTracesRequestFields};

const JsonField kExemplarFields[] = {
    Scalar("timeUnixNano", 2, T::kFixed64), Scalar("asDouble", 3, T::kDouble),
    Scalar("spanId", 4, T::kHex),           Scalar("traceId", 5, T::kHex),
    Scalar("asInt", 6, T::kSFixed64),       List("filteredAttributes", 7, kKeyValue)};
const JsonMessage kExemplar{kExemplarFields};
const JsonField kNumberFields[] = {Scalar("startTimeUnixNano", 2, T::kFixed64),
                                   Scalar("timeUnixNano", 3, T::kFixed64),
                                   Scalar("asDouble", 4, T::kDouble),
                                   List("exemplars", 5, kExemplar),
                                   Scalar("asInt", 6, T::kSFixed64),
                                   List("attributes", 7, kKeyValue),
                                   Scalar("flags", 8, T::kUint32)};
const JsonMessage kNumber{kNumberFields};
const JsonField kHistogramPointFields[] = {Scalar("startTimeUnixNano", 2, T::kFixed64),
                                           Scalar("timeUnixNano", 3, T::kFixed64),
                                           Scalar("count", 4, T::kFixed64),
                                           Scalar("sum", 5, T::kDouble),
                                           Many("bucketCounts", 6, T::kFixed64),
                                           Many("explicitBounds", 7, T::kDouble),
                                           List("exemplars", 8, kExemplar),
                                           List("attributes", 9, kKeyValue),
                                           Scalar("flags", 10, T::kUint32),
                                           Scalar("min", 11, T::kDouble),
                                           Scalar("max", 12, T::kDouble)};
const JsonMessage kHistogramPoint{kHistogramPointFields};
const JsonField kBucketsFields[] = {Scalar("offset", 1, T::kSint32),
                                    Many("bucketCounts", 2, T::kUint64)};
const JsonMessage kBuckets{kBucketsFields};
const JsonField kExponentialPointFields[] = {
    List("attributes", 1, kKeyValue),       Scalar("startTimeUnixNano", 2, T::kFixed64),
    Scalar("timeUnixNano", 3, T::kFixed64), Scalar("count", 4, T::kFixed64),
    Scalar("sum", 5, T::kDouble),           Scalar("scale", 6, T::kSint32),
    Scalar("zeroCount", 7, T::kFixed64),    One("positive", 8, kBuckets),
    One("negative", 9, kBuckets),           Scalar("flags", 10, T::kUint32),
    List("exemplars", 11, kExemplar),       Scalar("min", 12, T::kDouble),
    Scalar("max", 13, T::kDouble),          Scalar("zeroThreshold", 14, T::kDouble)};
const JsonMessage kExponentialPoint{kExponentialPointFields};
const JsonField kQuantileFields[] = {Scalar("quantile", 1, T::kDouble),
                                     Scalar("value", 2, T::kDouble)};
const JsonMessage kQuantile{kQuantileFields};
const JsonField kSummaryPointFields[] = {Scalar("startTimeUnixNano", 2, T::kFixed64),
                                         Scalar("timeUnixNano", 3, T::kFixed64),
                                         Scalar("count", 4, T::kFixed64),
                                         Scalar("sum", 5, T::kDouble),
                                         List("quantileValues", 6, kQuantile),
                                         List("attributes", 7, kKeyValue),
                                         Scalar("flags", 8, T::kUint32)};
const JsonMessage kSummaryPoint{kSummaryPointFields};
const JsonField kGaugeFields[] = {List("dataPoints", 1, kNumber)};
const JsonMessage kGauge{kGaugeFields};
const JsonField kSumFields[] = {List("dataPoints", 1, kNumber),
                                Scalar("aggregationTemporality", 2, T::kEnum),
                                Scalar("isMonotonic", 3, T::kBool)};
const JsonMessage kSum{kSumFields};
const JsonField kHistogramFields[] = {List("dataPoints", 1, kHistogramPoint),
                                      Scalar("aggregationTemporality", 2, T::kEnum)};
const JsonMessage kHistogram{kHistogramFields};
const JsonField kExponentialFields[] = {List("dataPoints", 1, kExponentialPoint),
                                        Scalar("aggregationTemporality", 2, T::kEnum)};
const JsonMessage kExponential{kExponentialFields};
const JsonField kSummaryFields[] = {List("dataPoints", 1, kSummaryPoint)};
const JsonMessage kSummary{kSummaryFields};
const JsonField kMetricFields[] = {Scalar("name", 1, T::kString),
                                   Scalar("description", 2, T::kString),
                                   Scalar("unit", 3, T::kString),
                                   One("gauge", 5, kGauge),
                                   One("sum", 7, kSum),
                                   One("histogram", 9, kHistogram),
                                   One("exponentialHistogram", 10, kExponential),
                                   One("summary", 11, kSummary),
                                   List("metadata", 12, kKeyValue)};
const JsonMessage kMetric{kMetricFields};
const JsonField kScopeMetricsFields[] = {One("scope", 1, kScope), List("metrics", 2, kMetric),
                                         Scalar("schemaUrl", 3, T::kString)};
const JsonMessage kScopeMetrics{kScopeMetricsFields};
const JsonField kResourceMetricsFields[] = {One("resource", 1, kResource),
                                            List("scopeMetrics", 2, kScopeMetrics),
                                            Scalar("schemaUrl", 3, T::kString)};
const JsonMessage kResourceMetrics{kResourceMetricsFields};
const JsonField kMetricsRequestFields[] = {List("resourceMetrics", 1, kResourceMetrics)};
const JsonMessage kMetricsRequest{kMetricsRequestFields};

}  // namespace

const JsonMessage& RequestSchema(Signal signal) {
  if (signal == Signal::kMetrics) return kMetricsRequest;
  return signal == Signal::kLogs ? kLogsRequest : kTracesRequest;
}

}  // namespace forebay::otlp::internal
