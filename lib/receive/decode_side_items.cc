// The part of DecodeWorker that turns exemplars, native histograms and metadata into text rows.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "receive/decode_worker.h"
#include "receive/remote_write_1.h"
#include "receive/side_rows.h"
#include "table/utf8.h"

namespace forebay::receive {
namespace {

constexpr uint64_t kMetadataDomain = 0x6d65746164617461;
constexpr size_t kMaxCachedFields = 16U << 10;

// What is wrong with an exemplar's labels. Shape: sorted by name.
std::string_view FindLabelProblem(table::LabelSpan labels, const config::Limits& limits) {
  if (labels.size() > limits.labels_per_series) return "an exemplar has too many labels";
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i].name.empty()) return "an exemplar's label has no name";
    if (i > 0 && labels[i - 1].name == labels[i].name) return "an exemplar's label stands twice";
    if (!table::IsValidUtf8(labels[i].name) || !table::IsValidUtf8(labels[i].value)) {
      return "an exemplar's label is not UTF-8";
    }
    if (labels[i].name.size() > limits.label_name_bytes.value ||
        labels[i].value.size() > limits.label_value_bytes.value) {
      return "an exemplar's label is too long";
    }
  }
  return {};
}

}  // namespace

void DecodeWorker::LeaveSideItems(const PendingSeries& series, bool refused) {
  for (size_t i = 0; i < series.side_count; ++i) {
    const SideItem& item = side_items_[series.first_side + i];
    ItemCounts& counts =
        item.kind == SideItem::Kind::kExemplar ? staged_->exemplars : staged_->histograms;
    ++counts.received;
    ++(refused ? counts.refused : counts.dropped);
  }
  if (!series.has_metadata) return;
  ++staged_->metadata.received;
  ++(refused ? staged_->metadata.refused : staged_->metadata.dropped);
}

void DecodeWorker::StoreSideItems(const PendingSeries& series) {
  for (size_t i = 0; i < series.side_count && !malformed_; ++i) {
    const SideItem& item = side_items_[series.first_side + i];
    if (item.kind == SideItem::Kind::kExemplar) {
      StoreExemplar(series, item.message);
    } else {
      StoreHistogram(series, item.message);
    }
  }
}

// The columns that side rows of the series share; made again from its labels when not at hand.
const DecodeWorker::RenderedSeries* DecodeWorker::Render(const PendingSeries& series) {
  RenderedSeries& slot = rendered_[series.key.low % kRenderedSeries];
  if (slot.used && slot.key.low == series.key.low && slot.key.high == series.key.high) {
    return &slot;
  }
  slot.used = false;
  ReadLabels(series);
  if (malformed_) return nullptr;
  const ResolvedSeries resolved =
      resolver_.Resolve(labels_, *rules_, {.routed_database = routed_database_, .unlimited = true});
  if (resolved.verdict != Verdict::kKeep) return nullptr;
  row_labels_.clear();
  for (const table::Label& label : resolved.labels) {
    if (rules_->IsRowLabel(label.name)) row_labels_.push_back(label);
  }
  // Long ones are made for each item again, so that the cache stays small.
  size_t bytes = 0;
  for (const table::Label& label : row_labels_) bytes += label.name.size() + label.value.size();
  RenderedSeries& rendered = bytes <= kMaxCachedFields ? slot : long_rendered_;
  rendered.fields.clear();
  AppendSeriesFields(resolved.series_id, resolved.metric, row_labels_, rendered.fields);
  rendered.metric = resolved.metric;
  rendered.database = resolved.database;
  rendered.key = series.key;
  rendered.used = true;
  if (&rendered == &slot && slot.fields.size() > kMaxCachedFields) {
    std::swap(slot, long_rendered_);
    slot = {};
    return &long_rendered_;
  }
  return &rendered;
}

StagedRows* DecodeWorker::SideRows(DatabaseIndex database, SideTable side) {
  StagedRows& rows = staged_->rows(database, side);
  if (rows.rows() != 0) return &rows;
  table::TableId& table = side_tables_[database][static_cast<size_t>(side)];
  if (table == table::kUnknownSeries) {
    const auto interned =
        state_.tables().Intern(rules_->databases()[database].name,
                               SideTableName(side, rules_->remote_write()), SideSchema(side));
    if (!interned.ok()) return nullptr;
    table = *interned;
  }
  rows.table = table;
  return &rows;
}

bool DecodeWorker::EndRow(StagedRows& rows, size_t begin) {
  const size_t bytes = rows.text.size() - begin;
  if (side_text_ + bytes > kMaxSideTextBytes) {
    rows.text.Truncate(begin);
    return false;
  }
  side_text_ += bytes;
  rows.row_ends.push_back(static_cast<uint32_t>(rows.text.size()));
  return true;
}

void DecodeWorker::StoreExemplar(const PendingSeries& series, std::string_view message) {
  const bool read = is_version_2()
                        ? remote_write_2::ReadExemplar(message, symbols_, exemplar_refs_, exemplar_)
                        : remote_write_1::ReadExemplar(message, exemplar_);
  if (!read) {
    malformed_ = true;
    return;
  }
  ItemCounts& counts = staged_->exemplars;
  ++counts.received;
  const auto refuse = [&](RefusalReason reason, std::string_view detail) {
    ++counts.refused;
    RefuseItem(&series, reason, 1, detail);
  };
  if (!exemplar_.refs_ok) {
    return refuse(RefusalReason::kBadExemplar, "an exemplar's labels_refs are out of range");
  }
  table::SortByName(exemplar_.labels);
  const auto problem = FindLabelProblem(exemplar_.labels, rules_->limits());
  if (!problem.empty()) return refuse(RefusalReason::kBadExemplar, problem);
  table::DropEmptyValues(exemplar_.labels);
  const RenderedSeries* rendered = Render(series);
  if (malformed_) return;
  if (rendered == nullptr) return refuse(RefusalReason::kBadExemplar, "");
  StagedRows* rows = SideRows(rendered->database, SideTable::kExemplars);
  if (rows == nullptr) return refuse(RefusalReason::kTableLimit, "");
  const size_t begin = rows->text.size();
  AppendExemplarRow(exemplar_.timestamp, rendered->fields.view(), exemplar_.labels,
                    exemplar_.value_bits, rows->text);
  if (!EndRow(*rows, begin)) return refuse(RefusalReason::kSideRowsTooLarge, "");
  ++counts.stored;
}

void DecodeWorker::StoreHistogram(const PendingSeries& series, std::string_view message) {
  if (!histogram_.Decode(message)) {
    malformed_ = true;
    return;
  }
  ItemCounts& counts = staged_->histograms;
  ++counts.received;
  const auto refuse = [&](RefusalReason reason, std::string_view detail) {
    ++counts.refused;
    RefuseItem(&series, reason, 1, detail);
  };
  if (const auto problem = histogram_.FindProblem()) {
    return refuse(RefusalReason::kBadHistogram, fmt::format("native histogram: {}", *problem));
  }
  if (histogram_.timestamp > filter_.latest) return refuse(RefusalReason::kTooFarAhead, "");
  if (histogram_.timestamp < filter_.earliest) return refuse(RefusalReason::kTooOld, "");
  const RenderedSeries* rendered = Render(series);
  if (malformed_) return;
  if (rendered == nullptr) return refuse(RefusalReason::kBadHistogram, "");
  StagedRows* rows = SideRows(rendered->database, SideTable::kHistograms);
  if (rows == nullptr) return refuse(RefusalReason::kTableLimit, "");
  const size_t begin = rows->text.size();
  const int64_t start =
      histogram_.start_timestamp != 0 ? histogram_.start_timestamp : series.start_timestamp;
  AppendHistogramRow(histogram_, start, rendered->fields.view(), rows->text);
  if (!EndRow(*rows, begin)) return refuse(RefusalReason::kSideRowsTooLarge, "");
  ++counts.stored;
}

// Nearly every series of a 2.0 sender has metadata, nearly always known: found by a hash of
// symbols.
void DecodeWorker::StoreMetadata2(const PendingSeries& series) {
  const MetadataRefs& refs = series.metadata;
  // Rules may name and route each series differently, otherwise the metric's name decides.
  const bool by_metric = rules_->no_relabelling() && !symbols_.has_database_label();
  LastMetadata last;
  if (by_metric) {
    // Series of one metric follow each other, and their name is their first label.
    WireReader labels(series.labels);
    last.refs = {refs.type, refs.help, refs.unit, labels.Varint(), labels.Varint()};
    last.stored = true;
    if (last == last_metadata_) return CountUnchangedMetadata();
  }
  uint64_t parts[5] = {routed_database_, refs.type, 0, 0, 0};
  if (refs.help < symbols_.size()) parts[2] = symbols_.hash(refs.help);
  if (refs.unit < symbols_.size()) parts[3] = symbols_.hash(refs.unit);
  if (by_metric) {
    WireReader labels(series.labels);
    while (!labels.AtEnd()) {
      const uint64_t name = labels.Varint();
      const uint64_t value = labels.Varint();
      if (!symbols_.IsMetricNameLabel(name)) continue;
      parts[4] = symbols_.hash(value);
      break;
    }
  } else {
    parts[4] = series.key.low;
  }
  const uint64_t hash =
      state_.series()
          .HashKey({reinterpret_cast<const char*>(parts), sizeof parts}, kMetadataDomain)
          .low;
  uint64_t& known = metadata_filter_[hash % kMetadataFilter];
  if (known == hash) {
    last_metadata_ = last;
    return CountUnchangedMetadata();
  }
  const RenderedSeries* rendered = Render(series);
  if (malformed_) return;
  if (rendered == nullptr) return;
  MetadataParts metadata;
  metadata.type = refs.type;
  metadata.metric = rendered->metric;
  if (refs.help < symbols_.size()) metadata.help = symbols_.text(refs.help);
  if (refs.unit < symbols_.size()) metadata.unit = symbols_.text(refs.unit);
  const uint64_t refused_before = staged_->metadata.refused;
  StoreMetadata(rendered->database, metadata);
  if (staged_->metadata.refused == refused_before) known = hash;
}

void DecodeWorker::CountUnchangedMetadata() {
  ++staged_->metadata.received;
  ++staged_->metadata.stored;
  ++staged_->metadata_unchanged;
}

void DecodeWorker::StoreMetadata1(std::string_view message) {
  const MetadataParts metadata = remote_write_1::ReadMetadata(message);
  if (!metadata.ok) {
    malformed_ = true;
    return;
  }
  StoreMetadata(routed_database_, metadata);
}

void DecodeWorker::StoreMetadata(DatabaseIndex database, const MetadataParts& metadata) {
  ItemCounts& counts = staged_->metadata;
  ++counts.received;
  const auto refuse = [&](RefusalReason reason) {
    ++counts.refused;
    RefuseItem(nullptr, reason, 1, fmt::format("metadata of {}", Printable(metadata.metric, 96)));
  };
  if (metadata.metric.empty()) {
    // Says nothing of any metric. Senders may send it, so it is no error.
    ++counts.dropped;
    return;
  }
  const config::Limits& limits = rules_->limits();
  const bool fits = metadata.metric.size() <= limits.label_value_bytes.value &&
                    metadata.help.size() <= limits.label_value_bytes.value &&
                    metadata.unit.size() <= limits.label_value_bytes.value;
  if (!fits || !table::IsValidUtf8(metadata.metric) || !table::IsValidUtf8(metadata.help) ||
      !table::IsValidUtf8(metadata.unit)) {
    return refuse(RefusalReason::kBadMetadata);
  }
  scratch_.clear();
  for (const std::string_view part :
       {std::string_view(rules_->databases()[database].name), metadata.metric,
        MetricTypeName(metadata.type), metadata.help, metadata.unit}) {
    scratch_ += fmt::format("{}:", part.size());
    scratch_ += part;
  }
  const uint64_t key = state_.series().HashKey(scratch_, kMetadataDomain).low;
  StagedRows* rows = SideRows(database, SideTable::kMetadata);
  if (rows == nullptr) return refuse(RefusalReason::kTableLimit);
  if (!state_.metadata().TakeDue(key, input_->received)) {
    ++counts.stored;
    ++staged_->metadata_unchanged;
    return;
  }
  const size_t begin = rows->text.size();
  AppendMetadataRow(input_->received, metadata, rows->text);
  if (!EndRow(*rows, begin)) {
    state_.metadata().Forget(std::span(&key, 1));
    return refuse(RefusalReason::kSideRowsTooLarge);
  }
  staged_->metadata_keys.push_back(key);
  ++counts.stored;
}

}  // namespace forebay::receive
