// Series of metrics: how they are found, what their labels are, and their rows beside samples.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>

#include "otlp/metric_decoder.h"
#include "receive/side_rows.h"
#include "receive/wire_reader.h"
#include "table/names.h"
#include "table/number_text.h"
#include "table/utf8.h"

namespace forebay::otlp {
namespace {

using receive::RefusalReason;
using receive::StagedRows;
using receive::WireReader;
using table::kDroppedSeries;
using table::kUnknownSeries;

constexpr uint64_t kMetadataDomain = 0x6d65746164617461;
constexpr size_t kMaxCachedFields = 16U << 10;
constexpr size_t kMaxDetail = 512;

// Numbers of Prometheus' metric types.
enum MetadataType : uint64_t {
  kUnknownType,
  kCounterType,
  kGaugeType,
  kHistogramType,
  kSummaryType = 5
};

// A bound or quantile as a label: shortest form, infinity as Prometheus writes it.
std::string NumberText(uint64_t bits) {
  if (bits == std::bit_cast<uint64_t>(std::numeric_limits<double>::infinity())) return "+Inf";
  char text[table::kMaxDoubleChars];
  return std::string(text, table::WriteDouble(bits, text));
}

}  // namespace

table::SeriesKey MetricDecoder::KeyOf(const SeriesPart& part) const {
  const std::array<uint64_t, 6> parts = {
      resource_hash_, scope_hash_, metric_.hash, point_.hash, static_cast<uint64_t>(part.part),
      part.bits};
  return state_.series().HashKey({reinterpret_cast<const char*>(parts.data()), sizeof parts},
                                 domain_);
}

bool MetricDecoder::NextSeries() {
  const uint32_t index = index_++;
  ++staged_->series;
  const auto refused = input_->refused;
  if (next_refused_ >= refused.size() || refused[next_refused_] != index) return true;
  ++next_refused_;
  return false;
}

void MetricDecoder::Refuse(RefusalReason reason, std::string_view detail) {
  ++staged_->items_refused;
  ++staged_->refused_items[static_cast<size_t>(reason)];
  if (!staged_->first_refusal.empty()) return;
  staged_->first_refusal =
      fmt::format("metric {}: {}: {}", receive::Printable(metric_.name, kMaxDetail / 4),
                  receive::Printable(detail.empty() ? Name(reason) : detail, kMaxDetail),
                  receive::HowToFix(reason));
}

MetricDecoder::Found MetricDecoder::Look(const SeriesPart& part) {
  const table::SeriesKey key = KeyOf(part);
  const table::SeriesRef ref = state_.series().Find(key);
  if (ref != kUnknownSeries) [[likely]]
    return {ref, key, {}};
  return ResolveNew(part, key);
}

MetricDecoder::Found MetricDecoder::ResolveNew(const SeriesPart& part,
                                               const table::SeriesKey& key) {
  state_.metrics().series_resolved->Increment();
  MakeLabels(part);
  const auto refused = [&](RefusalReason reason, std::string_view detail) {
    ++staged_->refused_series[static_cast<size_t>(reason)];
    staged_->refused.push_back(index_ - 1);
    Refuse(reason, detail);
    if (input_->replay && refused_in_replay_.empty()) refused_in_replay_ = staged_->first_refusal;
    return Found{kUnknownSeries, key, reason};
  };
  const receive::ResolvedSeries resolved =
      resolver_.Resolve(labels_, *rules_, {routed_database_, input_->replay});
  if (resolved.verdict == receive::Verdict::kRefuse) {
    return refused(resolved.reason, resolved.detail);
  }
  if (resolved.verdict == receive::Verdict::kDrop) {
    state_.series().AddDropped(key);
    return {kDroppedSeries, key, {}};
  }
  const receive::DatabaseRules& database = rules_->databases()[resolved.database];
  const auto name = table::TableName(resolved.metric);
  if (!name.ok()) return refused(RefusalReason::kNoTableName, name.error().message());
  const auto table = state_.tables().Intern(database.name, *name, database.layout.schema());
  if (!table.ok()) return refused(RefusalReason::kTableLimit, table.error().message());
  database.layout.Split(resolved.labels, row_);
  const auto ref = state_.series().Add(key,
                                       {*table, resolved.series_id, row_.labels, row_.lifted,
                                        input_->quota.owner, input_->quota.max},
                                       input_->generation);
  if (!ref.ok()) {
    const bool of_tenant = ref.error().code() == ErrorCode::kOutOfRange;
    return refused(of_tenant ? RefusalReason::kTenantSeriesLimit : RefusalReason::kSeriesLimit,
                   of_tenant ? fmt::format("the tenant has {} series", input_->quota.max)
                             : ref.error().message());
  }
  state_.NoteTable(*table, resolved.metric);
  return {*ref, key, {}};
}

void MetricDecoder::Emit(const SeriesPart& part, uint64_t bits) {
  if (malformed_ || stager_->full()) return;
  receive::ItemCounts& counts = staged_->samples;
  ++counts.received;
  if (!NextSeries()) {
    ++counts.refused;
    return;
  }
  const Found found = Look(part);
  if (found.ref == kUnknownSeries) {
    ++counts.refused;
    ++staged_->refused_samples[static_cast<size_t>(*found.reason)];
    point_.bad = true;
    return;
  }
  if (found.ref == kDroppedSeries) {
    ++counts.dropped;
    return;
  }
  receive::LeftOut left_out;
  const size_t before = stager_->size();
  stager_->Add({point_.time, bits, true}, left_out);
  if (stager_->size() != before) {
    staged_->refs.push_back(found.ref);
    ++staged_->database_samples[DatabaseOf(found.ref)];
    return;
  }
  if (left_out.nan != 0) {
    ++counts.dropped;
    ++staged_->samples_dropped_nan;
  } else if (left_out.total() != 0) {
    const RefusalReason reason =
        left_out.too_old != 0 ? RefusalReason::kTooOld : RefusalReason::kTooFarAhead;
    ++counts.refused;
    ++staged_->refused_samples[static_cast<size_t>(reason)];
    point_.bad = true;
    Refuse(reason, "a data point's time is out of bounds");
  }
}

void MetricDecoder::EmitHistogram() {
  receive::ItemCounts& counts = staged_->histograms;
  ++counts.received;
  if (!NextSeries()) {
    ++counts.refused;
    return;
  }
  const auto refuse = [&](RefusalReason reason, std::string_view detail) {
    ++counts.refused;
    point_.bad = true;
    Refuse(reason, detail);
  };
  const SeriesPart part{Part::kHistogram, 0};
  const Found found = Look(part);
  if (found.ref == kUnknownSeries) {
    ++counts.refused;
    point_.bad = true;
    return;
  }
  if (found.ref == kDroppedSeries) {
    ++counts.dropped;
    return;
  }
  if (const auto problem = histogram_.FindProblem()) {
    return refuse(RefusalReason::kBadHistogram, *problem);
  }
  if (histogram_.timestamp > filter_.latest) return refuse(RefusalReason::kTooFarAhead, "");
  if (histogram_.timestamp < filter_.earliest) return refuse(RefusalReason::kTooOld, "");
  const Rendered* rendered = Render(part, found.key);
  if (rendered == nullptr) return refuse(RefusalReason::kBadHistogram, "");
  StagedRows* rows = SideRows(rendered->database, receive::SideTable::kHistograms);
  if (rows == nullptr) return refuse(RefusalReason::kTableLimit, "");
  const size_t begin = rows->text.size();
  receive::AppendHistogramRow(histogram_, histogram_.start_timestamp, rendered->fields.view(),
                              rows->text);
  if (!EndRow(*rows, begin)) return refuse(RefusalReason::kSideRowsTooLarge, "");
  ++counts.stored;
}

// The columns that side rows of the series share; made again from its labels when not at hand.
const MetricDecoder::Rendered* MetricDecoder::Render(const SeriesPart& part,
                                                     const table::SeriesKey& key) {
  Rendered& slot = rendered_[key.low % kRendered];
  if (slot.used && slot.key.low == key.low && slot.key.high == key.high) return &slot;
  MakeLabels(part);
  const receive::ResolvedSeries resolved =
      resolver_.Resolve(labels_, *rules_, {.routed_database = routed_database_, .unlimited = true});
  if (resolved.verdict != receive::Verdict::kKeep) return nullptr;
  row_labels_.clear();
  for (const table::Label& label : resolved.labels) {
    if (rules_->IsRowLabel(label.name)) row_labels_.push_back(label);
  }
  slot.fields.clear();
  if (slot.fields.capacity() > kMaxCachedFields) slot.fields = ByteBuffer();
  receive::AppendSeriesFields(resolved.series_id, resolved.metric, row_labels_, slot.fields);
  slot.database = resolved.database;
  slot.key = key;
  slot.used = true;
  return &slot;
}

StagedRows* MetricDecoder::SideRows(receive::DatabaseIndex database, receive::SideTable side) {
  StagedRows& rows = staged_->rows(database, side);
  if (rows.rows() != 0) return &rows;
  const auto interned = state_.tables().Intern(rules_->databases()[database].name,
                                               receive::SideTableName(side, rules_->remote_write()),
                                               receive::SideSchema(side));
  if (!interned.ok()) return nullptr;
  rows.table = *interned;
  return &rows;
}

bool MetricDecoder::EndRow(StagedRows& rows, size_t begin) {
  const size_t bytes = rows.text.size() - begin;
  if (side_text_ + bytes > receive::kMaxSideTextBytes) {
    rows.text.Truncate(begin);
    return false;
  }
  side_text_ += bytes;
  rows.row_ends.push_back(static_cast<uint32_t>(rows.text.size()));
  return true;
}

receive::DatabaseIndex MetricDecoder::DatabaseOf(table::SeriesRef ref) {
  constexpr receive::DatabaseIndex kNotLookedUp = 0xffff'ffff;
  if (staged_->database_samples.size() == 1) return 0;
  const table::TableId table = state_.series().Get(ref).table;
  if (table >= table_databases_.size()) table_databases_.resize(table + 1, kNotLookedUp);
  receive::DatabaseIndex& database = table_databases_[table];
  if (database == kNotLookedUp) {
    database = rules_->FindDatabase(state_.tables().Get(table).database).value_or(0);
  }
  return database;
}

// The text of an AnyValue as a label's value.
std::string MetricDecoder::TextOf(std::string_view value) {
  value_text_.clear();
  values_.WriteAny(value, value_text_, 0);
  // What is made for CSV has each quote twice; strings have quotes around.
  const std::string_view json = value_text_.view();
  if (!json.starts_with("\"\"")) {
    std::string text;
    for (size_t i = 0; i < json.size(); ++i) {
      text += json[i];
      if (json[i] == '"') ++i;
    }
    return text == "null" ? "" : text;
  }
  WireReader reader(value);
  std::string_view bytes;
  uint32_t field = 0;
  while (reader.Next()) {
    if (reader.field() == 1) {
      bytes = reader.BytesField();
    } else {
      reader.Skip();
    }
    field = reader.field();
  }
  // NaN, infinities and bytes are words between their quotes.
  if (field != 1) return std::string(json.substr(2, json.size() - 4));
  return std::string(bytes);
}

void MetricDecoder::SetLabel(std::string_view name, std::string value) {
  for (OwnLabel& label : texts_) {
    if (label.name == name) {
      label.value = std::move(value);
      return;
    }
  }
  texts_.push_back({std::string(name), std::move(value)});
}

// Names that become one have their values joined, in the order of the names as sent.
void MetricDecoder::AddAttribute(const KeyValue& attribute) {
  std::string name = LabelName(attribute.key, naming_);
  if (name.empty() || name == table::kMetricNameLabel) return;
  std::string value = TextOf(attribute.value);
  for (OwnLabel& label : texts_) {
    if (label.name != name) continue;
    label.value += ';';
    label.value += value;
    return;
  }
  texts_.push_back({std::move(name), std::move(value)});
}

void MetricDecoder::AddAttributes(std::string_view fields, uint32_t number) {
  std::vector<KeyValue> attributes;
  WireReader reader(fields);
  while (reader.Next()) {
    if (reader.field() != number) {
      reader.Skip();
      continue;
    }
    KeyValue attribute;
    if (!ReadKeyValue(reader.BytesField(), attribute)) malformed_ = true;
    attributes.push_back(attribute);
  }
  if (reader.failed()) malformed_ = true;
  std::stable_sort(attributes.begin(), attributes.end(),
                   [](const KeyValue& a, const KeyValue& b) { return a.key < b.key; });
  for (const KeyValue& attribute : attributes) AddAttribute(attribute);
}

void MetricDecoder::MakeLabels(const SeriesPart& part) {
  const config::OtlpMetrics& config = rules_->otlp().metrics;
  texts_.clear();
  if (part.part != Part::kTargetInfo) AddAttributes(point_.attributes, point_.attribute_field);
  // The resource: job and instance, and what is promoted; all the rest for target_info.
  std::string service;
  std::string service_namespace;
  std::string instance;
  std::vector<KeyValue> others;
  WireReader resource(resource_);
  while (resource.Next()) {
    if (resource.field() != 1) {
      resource.Skip();
      continue;
    }
    KeyValue attribute;
    if (!ReadKeyValue(resource.BytesField(), attribute)) malformed_ = true;
    if (attribute.key == "service.name") {
      service = TextOf(attribute.value);
    } else if (attribute.key == "service.namespace") {
      service_namespace = TextOf(attribute.value);
    } else if (attribute.key == "service.instance.id") {
      instance = TextOf(attribute.value);
    } else if (part.part == Part::kTargetInfo) {
      others.push_back(attribute);
    }
    const auto& promoted = config.promote_resource_attributes;
    if (part.part != Part::kTargetInfo &&
        std::find(promoted.begin(), promoted.end(), attribute.key) != promoted.end()) {
      SetLabel(LabelName(attribute.key, naming_), TextOf(attribute.value));
    }
  }
  std::stable_sort(others.begin(), others.end(),
                   [](const KeyValue& a, const KeyValue& b) { return a.key < b.key; });
  for (const KeyValue& attribute : others) AddAttribute(attribute);
  if (!service.empty()) {
    SetLabel("job", service_namespace.empty() ? service : service_namespace + "/" + service);
  }
  if (!instance.empty()) SetLabel("instance", instance);
  if (config.scope_labels && part.part != Part::kTargetInfo) {
    WireReader scope(scope_);
    while (scope.Next()) {
      if (scope.field() == 1) {
        SetLabel("otel_scope_name", std::string(scope.BytesField()));
      } else if (scope.field() == 2) {
        SetLabel("otel_scope_version", std::string(scope.BytesField()));
      } else {
        scope.Skip();
      }
    }
  }
  const bool counter = metric_.type == Type::kSum && metric_.monotonic && !metric_.delta();
  const MetricKind kind = counter                        ? MetricKind::kCounter
                          : metric_.type == Type::kGauge ? MetricKind::kGauge
                                                         : MetricKind::kOther;
  std::string name = part.part == Part::kTargetInfo
                         ? "target_info"
                         : MetricName(metric_.name, metric_.unit, kind, naming_);
  if (part.part != Part::kTargetInfo && metric_.delta() && !config.temporality_label.empty()) {
    SetLabel(config.temporality_label, "delta");
  }
  if (part.part == Part::kBucket) {
    name += "_bucket";
    SetLabel("le", NumberText(part.bits));
  } else if (part.part == Part::kSum) {
    name += "_sum";
  } else if (part.part == Part::kCount) {
    name += "_count";
  } else if (part.part == Part::kQuantile) {
    SetLabel("quantile", NumberText(part.bits));
  }
  SetLabel(table::kMetricNameLabel, std::move(name));
  labels_.clear();
  for (const OwnLabel& label : texts_) labels_.push_back({label.name, label.value});
}

// Once per resource and request. It has an index whether it is emitted or not, so that a replay
// under other rules counts alike.
void MetricDecoder::EmitTargetInfo() {
  bool has_identity = false;
  bool has_others = false;
  WireReader reader(resource_);
  while (reader.Next()) {
    if (reader.field() != 1) {
      reader.Skip();
      continue;
    }
    KeyValue attribute;
    if (!ReadKeyValue(reader.BytesField(), attribute)) malformed_ = true;
    const bool identity = attribute.key == "service.name" || attribute.key == "service.instance.id";
    has_identity = has_identity || identity;
    has_others = has_others || (!identity && attribute.key != "service.namespace");
  }
  if (reader.failed()) malformed_ = true;
  if (malformed_) return;
  if (!rules_->otlp().metrics.target_info || !has_identity || !has_others) {
    ++index_;
    return;
  }
  metric_ = {};
  metric_.name = "target_info";
  scope_ = {};
  scope_hash_ = 0;
  point_ = {};
  point_.time = latest_;
  Emit({Part::kTargetInfo, 0}, std::bit_cast<uint64_t>(1.0));
}

void MetricDecoder::StoreMetadata() {
  receive::ItemCounts& counts = staged_->metadata;
  ++counts.received;
  const uint64_t described = state_.series().HashKey(metric_.description, metric_.hash).low;
  uint64_t& known = known_metadata_[described % kMetadataFilter];
  if (known == described) {
    ++counts.stored;
    ++staged_->metadata_unchanged;
    return;
  }
  const bool counter = metric_.type == Type::kSum && metric_.monotonic;
  receive::MetadataParts metadata;
  metadata.type = counter                                                      ? kCounterType
                  : metric_.type == Type::kGauge || metric_.type == Type::kSum ? kGaugeType
                  : metric_.type == Type::kSummary                             ? kSummaryType
                                                                               : kHistogramType;
  const MetricKind kind = counter && !metric_.delta()    ? MetricKind::kCounter
                          : metric_.type == Type::kGauge ? MetricKind::kGauge
                                                         : MetricKind::kOther;
  const std::string name = MetricName(metric_.name, metric_.unit, kind, naming_);
  metadata.metric = name;
  metadata.help = metric_.description;
  metadata.unit = metric_.unit;
  const size_t most = rules_->limits().label_value_bytes.value;
  const bool fits = name.size() <= most && metadata.help.size() <= most &&
                    metadata.unit.size() <= most && table::IsValidUtf8(name) &&
                    table::IsValidUtf8(metadata.help) && table::IsValidUtf8(metadata.unit);
  StagedRows* rows =
      name.empty() || !fits ? nullptr : SideRows(routed_database_, receive::SideTable::kMetadata);
  if (name.empty()) {
    ++counts.dropped;  // says nothing of any metric
    return;
  }
  if (rows == nullptr) {
    ++counts.refused;
    return Refuse(fits ? RefusalReason::kTableLimit : RefusalReason::kBadMetadata, "");
  }
  const std::string text = fmt::format("{}:{}:{}:{}:{}", rules_->databases()[routed_database_].name,
                                       name, metadata.type, metadata.help, metadata.unit);
  const uint64_t key = state_.series().HashKey(text, kMetadataDomain).low;
  if (state_.metadata().TakeDue(key, input_->received)) {
    const size_t begin = rows->text.size();
    receive::AppendMetadataRow(input_->received, metadata, rows->text);
    if (!EndRow(*rows, begin)) {
      state_.metadata().Forget(std::span(&key, 1));
      ++counts.refused;
      return Refuse(RefusalReason::kSideRowsTooLarge, "");
    }
    staged_->metadata_keys.push_back(key);
  } else {
    ++staged_->metadata_unchanged;
  }
  ++counts.stored;
  known = described;
}

}  // namespace forebay::otlp
