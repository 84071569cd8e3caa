#include "receive/decode_worker.h"

#include <fmt/core.h>
#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "receive/remote_write_1.h"
#include "table/names.h"
#include "wal/s2_decoder.h"

namespace forebay::receive {
namespace {

using table::kDroppedSeries;
using table::kUnknownSeries;
using table::SeriesRef;

// A buffer of more bytes is given back after so many requests that did not need a quarter of it.
constexpr size_t kKeptBodyBytes = 4U << 20;
constexpr uint32_t kSmallBodies = 64;
// Of a replayed body, whatever the configuration says by now.
constexpr uint64_t kMaxReplayedBody = 1ULL << 30;
constexpr size_t kMaxDetail = 512;
// Staged samples may take so many times http.max_decoded_body; what senders send takes less than
// half as much again as its message, or, values and times left out since they are 0, three times.
constexpr uint64_t kMaxExpansion = 3;
// One symbol, label ref, exemplar or histogram is expected for so many bytes.
constexpr uint64_t kBytesPerItem = 8;
constexpr uint64_t kLeastItems = 65'536;
// Scratch memory of one kind that is kept for the next request.
constexpr size_t kKeptScratch = 1U << 20;
constexpr size_t kKeptJoined = 64U << 10;

template <typename Container>
void Trim(Container& container, size_t bytes, size_t kept) {
  if (bytes > kept) Container().swap(container);
}

// Saturating.
int64_t Add(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

}  // namespace

DecodeWorker::DecodeWorker(RemoteWriteState& state)
    : state_(state),
      known_tables_(kKnownTables),
      rendered_(kRenderedSeries),
      metadata_filter_(kMetadataFilter) {}

void DecodeWorker::RefreshRules() {
  if (rules_ != nullptr && rules_->version() == state_.rules_version()) return;
  rules_ = state_.rules();
  side_tables_.assign(rules_->databases().size(), {kUnknownSeries, kUnknownSeries, kUnknownSeries});
  table_databases_.clear();
  known_tables_.assign(kKnownTables, {});
  std::fill(metadata_filter_.begin(), metadata_filter_.end(), 0);
}

std::string_view DecodeWorker::tenant_header() {
  RefreshRules();
  return rules_->remote_write().tenant_header;
}

void DecodeWorker::Begin(const DecodeInput& input, StagedWrite& staged) {
  RefreshRules();
  input_ = &input;
  staged_ = &staged;
  staged.Clear();
  staged.rules_used = rules_;
  staged.side_rows.resize(rules_->databases().size() * kSideTables);
  staged.database_samples.assign(rules_->databases().size(), 0);
  routed_database_ = rules_->Route(input.tenant);
  staged.routed_database = routed_database_;
  domain_ = Mix(Mix(rules_->version() * 4 + static_cast<uint64_t>(input.kind)) + routed_database_);
  limits_ = {};
  if (!input.replay) {
    const uint64_t decoded = state_.max_decoded_body();
    limits_.samples = static_cast<size_t>(kMaxExpansion * decoded / kStagedSampleBytes);
    limits_.items = static_cast<size_t>(std::max<uint64_t>(decoded / kBytesPerItem, kLeastItems));
  }
  const config::RemoteWrite& config = rules_->remote_write();
  filter_ = {};
  filter_.drop_nan = config.drop_nan;
  if (config.max_future.count() > 0) {
    filter_.latest = Add(input.received.value, config.max_future.count());
  }
  if (config.max_past.count() > 0) {
    filter_.earliest = Add(input.received.value, -config.max_past.count());
  }
  const uint64_t epoch = state_.metadata().epoch();
  const int64_t hour = input.received.value / MetadataCache::kRefresh.count();
  if (epoch != metadata_epoch_ || hour != metadata_hour_) {
    std::fill(metadata_filter_.begin(), metadata_filter_.end(), 0);
    metadata_epoch_ = epoch;
    metadata_hour_ = hour;
  }
  next_refused_ = write_ = side_text_ = group_size_ = 0;
  side_items_.clear();
  group_refs_ = 0;
  malformed_ = false;
  last_metadata_ = {};
  refused_in_replay_.clear();
}

Status DecodeWorker::Uncompress(const DecodeInput& input) {
  const Result<size_t> declared = wal::S2DecodedLength(input.body);
  if (!declared.ok()) {
    return Error(ErrorCode::kInvalidArgument,
                 "the body is not in snappy's block format: its length cannot be read");
  }
  const size_t size = *declared;
  const uint64_t limit = input.replay ? kMaxReplayedBody : state_.max_decoded_body();
  if (size > limit) {
    return Error(ErrorCode::kOutOfRange,
                 fmt::format("the decoded body has {} bytes, at most {} are taken "
                             "(http.max_decoded_body); send fewer samples per request",
                             size, limit));
  }
  if (body_.capacity() > kKeptBodyBytes && size < body_.capacity() / 4) {
    if (++small_bodies_ >= kSmallBodies) body_ = ByteBuffer();
  } else {
    small_bodies_ = 0;
  }
  body_.clear();
  char* out = body_.Ensure(size == 0 ? 1 : size);
  if (!wal::S2Decode(input.body, {out, size}).ok()) {
    return Error(ErrorCode::kInvalidArgument, "the body is not in snappy's block format");
  }
  body_.SetEnd(out + size);
  return OkStatus();
}

Status DecodeWorker::Decode(const DecodeInput& input, StagedWrite& staged) {
  FOREBAY_RETURN_IF_ERROR(Uncompress(input));
  return DecodeProtobuf(input, body_.view(), staged);
}

Status DecodeWorker::DecodeProtobuf(const DecodeInput& input, std::string_view message,
                                    StagedWrite& staged) {
  Begin(input, staged);
  Walk walk = is_version_2() ? WalkRequest2(message, false) : WalkRequest1(message);
  if (walk == Walk::kSymbolsLate) {
    // Symbols behind a series that may use them: read them all first, and begin again.
    state_.metadata().Forget(staged.metadata_keys);
    Begin(input, staged);
    walk = WalkRequest2(message, true);
  }
  TrimScratch();
  if (walk != Walk::kDone) return Fail(walk, staged);
  staged.decoded_bytes = message.size();
  staged.samples.stored = staged.refs.size();
  if (staged.database_samples.size() == 1) staged.database_samples[0] = staged.refs.size();
  if (!refused_in_replay_.empty()) {
    state_.metadata().Forget(staged.metadata_keys);
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("a series that was accepted is refused now: {}", refused_in_replay_));
  }
  if (staged.refused.size() > wal::kMaxRefusedPerRecord) {
    state_.metadata().Forget(staged.metadata_keys);
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} series refused, nothing is kept; first: {}", staged.refused.size(),
                             staged.first_refusal));
  }
  return OkStatus();
}

Status DecodeWorker::Fail(Walk walk, StagedWrite& staged) {
  // What was noted as stored will not be.
  state_.metadata().Forget(staged.metadata_keys);
  staged.Clear();
  if (walk == Walk::kTooLarge) {
    return Error(ErrorCode::kOutOfRange,
                 fmt::format("the body holds more than {} samples, or more than {} symbols, label "
                             "references, exemplars or histograms where http.max_decoded_body has "
                             "room for so many; send less per request",
                             limits_.samples, limits_.items));
  }
  return Error(
      ErrorCode::kInvalidArgument,
      fmt::format("the body is no {} protobuf message",
                  is_version_2() ? "io.prometheus.write.v2.Request" : "prometheus.WriteRequest"));
}

size_t DecodeWorker::held_bytes() const {
  size_t bytes = body_.capacity() + side_items_.capacity() * sizeof(SideItem) +
                 exemplar_refs_.capacity() + symbols_.held_bytes() +
                 long_rendered_.fields.capacity() + scratch_.capacity();
  for (const ByteBuffer& joined : joined_) bytes += joined.capacity();
  for (const RenderedSeries& rendered : rendered_) bytes += rendered.fields.capacity();
  return bytes;
}

void DecodeWorker::TrimScratch() {
  Trim(side_items_, side_items_.capacity() * sizeof(SideItem), kKeptScratch);
  if (exemplar_refs_.capacity() > kKeptScratch) exemplar_refs_ = ByteBuffer();
  if (symbols_.held_bytes() > kKeptScratch) symbols_ = {};
  for (ByteBuffer& joined : joined_) {
    if (joined.capacity() > kKeptJoined) joined = ByteBuffer();
  }
  if (long_rendered_.fields.capacity() > kKeptScratch) long_rendered_.fields = ByteBuffer();
  Trim(scratch_, scratch_.capacity(), kKeptScratch);
}

DecodeWorker::Walk DecodeWorker::WalkRequest1(std::string_view message) {
  SampleStager stager(*staged_, filter_, limits_.samples);
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == remote_write_1::kTimeSeriesField) {
      PendingSeries& series = NextSeries();
      if (!remote_write_1::ReadSeries(reader.BytesField(), series, side_items_, stager,
                                      joined_[group_size_])) {
        return Walk::kMalformed;
      }
      if (stager.full() || side_items_.size() > limits_.items) return Walk::kTooLarge;
      series.key = state_.series().HashKey(series.labels, domain_);
      CloseSeries(series);
    } else if (reader.field() == remote_write_1::kMetadataField) {
      StoreMetadata1(reader.BytesField());
    } else {
      reader.Skip();
    }
    if (malformed_) return Walk::kMalformed;
  }
  FlushGroup();
  return reader.failed() || malformed_ ? Walk::kMalformed : Walk::kDone;
}

DecodeWorker::Walk DecodeWorker::WalkRequest2(std::string_view message, bool symbols_read) {
  symbols_.Begin(state_.series(), rules_->remote_write().database_label);
  if (symbols_read) {
    WireReader symbols(message);
    while (symbols.Next()) {
      if (symbols.field() == remote_write_2::kSymbolsField) {
        if (symbols_.size() >= limits_.items) return Walk::kTooLarge;
        symbols_.Add(symbols.BytesField());
      } else {
        symbols.Skip();
      }
    }
    if (symbols.failed()) return Walk::kMalformed;
  }
  SampleStager stager(*staged_, filter_, limits_.samples);
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == remote_write_2::kTimeSeriesField) {
      PendingSeries& series = NextSeries();
      if (!remote_write_2::ReadSeries(reader.BytesField(), series, side_items_, stager,
                                      joined_[group_size_]) ||
          !ReadRefs(series)) {
        return Walk::kMalformed;
      }
      if (stager.full() || side_items_.size() > limits_.items || group_refs_ >= limits_.items) {
        return Walk::kTooLarge;
      }
      CloseSeries(series);
    } else if (reader.field() == remote_write_2::kSymbolsField && !symbols_read) {
      if (staged_->series != 0) return Walk::kSymbolsLate;
      if (symbols_.size() >= limits_.items) return Walk::kTooLarge;
      symbols_.Add(reader.BytesField());
    } else {
      reader.Skip();
    }
    if (malformed_) return Walk::kMalformed;
  }
  FlushGroup();
  return reader.failed() || malformed_ ? Walk::kMalformed : Walk::kDone;
}

PendingSeries& DecodeWorker::NextSeries() {
  PendingSeries& series = group_[group_size_];
  series.Begin(static_cast<uint32_t>(staged_->series), staged_->timestamps.size(),
               side_items_.size());
  const auto refused = input_->refused;
  if (next_refused_ < refused.size() && refused[next_refused_] == series.index) {
    series.skip = true;
    ++next_refused_;
  }
  ++staged_->series;
  return series;
}

// The key of a 2.0 series. Also finds what makes it unacceptable before any look-up. False when the
// refs are no varints.
bool DecodeWorker::ReadRefs(PendingSeries& series) {
  using State = remote_write_2::LabelRefs::State;
  const auto refs = symbols_.ReadRefs(series.labels, domain_, limits_.items - group_refs_);
  group_refs_ += refs.count;
  series.key = refs.key;
  if (refs.state != State::kGood) [[unlikely]] {
    series.problem = RefusalReason::kBadLabelRefs;
    return refs.state != State::kMalformed;
  }
  if (series.has_metadata && !remote_write_2::MetadataRefsAreValid(series.metadata, symbols_)) {
    series.problem = RefusalReason::kBadMetadataRefs;
  }
  return true;
}

void DecodeWorker::CloseSeries(PendingSeries& series) {
  series.sample_count = staged_->timestamps.size() - series.first_sample;
  series.side_count = side_items_.size() - series.first_side;
  if (is_version_2() && !series.problem && series.sample_count + series.left_out.total() == 0 &&
      std::none_of(side_items_.begin() + static_cast<ptrdiff_t>(series.first_side),
                   side_items_.end(),
                   [](const SideItem& item) { return item.kind == SideItem::Kind::kHistogram; })) {
    series.problem = RefusalReason::kNoSamples;
  }
  if (!series.problem) state_.series().Prefetch(series.key);
  if (++group_size_ == kGroupSeries) FlushGroup();
}

void DecodeWorker::FlushGroup() {
  staged_->refs.Resize(staged_->timestamps.size());
  for (size_t i = 0; i < group_size_ && !malformed_; ++i) FlushSeries(group_[i]);
  staged_->refs.Truncate(write_);
  staged_->timestamps.Truncate(write_);
  staged_->values.Truncate(write_);
  group_size_ = 0;
  side_items_.clear();
  group_refs_ = 0;
}

void DecodeWorker::FlushSeries(PendingSeries& series) {
  const SeriesRef ref = Lookup(series);
  if (malformed_) return;
  const LeftOut& left_out = series.left_out;
  const uint64_t rest = series.sample_count + left_out.too_far_ahead + left_out.too_old;
  staged_->samples.received += rest + left_out.nan;
  staged_->samples.dropped += left_out.nan;
  staged_->samples_dropped_nan += left_out.nan;
  if (ref == kUnknownSeries) {
    staged_->samples.refused += rest;
    if (series.problem) {
      staged_->refused_samples[static_cast<size_t>(*series.problem)] += rest;
    }
    LeaveSideItems(series, true);
  } else if (ref == kDroppedSeries) {
    staged_->samples.dropped += rest;
    LeaveSideItems(series, false);
  } else {
    if (left_out.total() != left_out.nan) CountLeftOut(series);
    Keep(series, ref);
    if (series.side_count != 0) StoreSideItems(series);
    if (series.has_metadata) StoreMetadata2(series);
  }
}

// The series' ref, kDroppedSeries, or kUnknownSeries when it is refused.
SeriesRef DecodeWorker::Lookup(PendingSeries& series) {
  if (series.skip) [[unlikely]] {
    staged_->refused.push_back(series.index);
    return kUnknownSeries;
  }
  if (series.problem) [[unlikely]] {
    ReadLabels(series);
    RefuseSeries(series, *series.problem, "");
    return kUnknownSeries;
  }
  const SeriesRef ref = state_.series().Find(series.key);
  return ref == kUnknownSeries ? ResolveNew(series) : ref;
}

void DecodeWorker::ReadLabels(const PendingSeries& series) {
  if (is_version_2()) {
    remote_write_2::ReadLabels(series.labels, symbols_, labels_);
  } else if (!remote_write_1::ReadLabels(series.labels, labels_)) {
    malformed_ = true;
  }
}

SeriesRef DecodeWorker::ResolveNew(PendingSeries& series) {
  state_.metrics().series_resolved->Increment();
  ReadLabels(series);
  if (malformed_) return kUnknownSeries;
  ResolvedSeries resolved = resolver_.Resolve(labels_, *rules_, {routed_database_, input_->replay});
  if (resolved.verdict == Verdict::kRefuse) {
    RefuseSeries(series, resolved.reason, resolved.detail);
    return kUnknownSeries;
  }
  if (resolved.verdict == Verdict::kDrop) {
    state_.series().AddDropped(series.key);
    return kDroppedSeries;
  }
  const DatabaseRules& database = rules_->databases()[resolved.database];
  KnownTable& known = KnownTableOf(resolved);
  const bool is_known = known.metric == resolved.metric && known.database == resolved.database;
  const auto table = is_known ? std::optional(known.table) : NewTable(series, resolved);
  if (!table) return kUnknownSeries;
  database.layout.Split(resolved.labels, row_);
  const auto ref = state_.series().Add(series.key,
                                       {*table, resolved.series_id, row_.labels, row_.lifted,
                                        input_->quota.owner, input_->quota.max},
                                       input_->generation);
  if (!ref.ok()) {
    const bool of_tenant = ref.error().code() == ErrorCode::kOutOfRange;
    RefuseSeries(series,
                 of_tenant ? RefusalReason::kTenantSeriesLimit : RefusalReason::kSeriesLimit,
                 of_tenant ? fmt::format("the tenant has {} series", input_->quota.max)
                           : ref.error().message());
    return kUnknownSeries;
  }
  if (!is_known) {
    state_.NoteTable(*table, resolved.metric);
    if (resolved.metric.size() <= kMaxKnownMetric) {
      known.metric = resolved.metric;
      known.database = resolved.database;
      known.table = *table;
    }
  }
  return *ref;
}

// Where the table of the series' metric stands when it is known.
DecodeWorker::KnownTable& DecodeWorker::KnownTableOf(const ResolvedSeries& resolved) {
  return known_tables_[state_.series().HashKey(resolved.metric, resolved.database).low %
                       kKnownTables];
}

// The table of a metric; nothing when there can be none, and then the series is refused.
std::optional<table::TableId> DecodeWorker::NewTable(PendingSeries& series,
                                                     const ResolvedSeries& resolved) {
  const auto name = table::TableName(resolved.metric);
  if (!name.ok()) {
    RefuseSeries(series, RefusalReason::kNoTableName, Printable(name.error().message(), 256));
    return std::nullopt;
  }
  const DatabaseRules& database = rules_->databases()[resolved.database];
  const auto table = state_.tables().Intern(database.name, *name, database.layout.schema());
  if (!table.ok()) {
    RefuseSeries(series, RefusalReason::kTableLimit, table.error().message());
    return std::nullopt;
  }
  return *table;
}

// Moves the samples together, when some before them were left out, and gives them their series.
void DecodeWorker::Keep(const PendingSeries& series, SeriesRef ref) {
  StagedWrite& staged = *staged_;
  for (size_t i = 0; i < series.sample_count; ++i) staged.refs[write_ + i] = ref;
  if (write_ != series.first_sample) {
    for (size_t i = 0; i < series.sample_count; ++i) {
      staged.timestamps[write_ + i] = staged.timestamps[series.first_sample + i];
      staged.values[write_ + i] = staged.values[series.first_sample + i];
    }
  }
  write_ += series.sample_count;
  if (staged.database_samples.size() > 1) {
    staged.database_samples[DatabaseOf(ref)] += series.sample_count;
  }
}

DatabaseIndex DecodeWorker::DatabaseOf(SeriesRef ref) {
  constexpr DatabaseIndex kNotLookedUp = 0xffff'ffff;
  const table::TableId table = state_.series().Get(ref).table;
  if (table >= table_databases_.size()) table_databases_.resize(table + 1, kNotLookedUp);
  DatabaseIndex& database = table_databases_[table];
  if (database == kNotLookedUp) {
    database = rules_->FindDatabase(state_.tables().Get(table).database).value_or(0);
  }
  return database;
}

// Refuses samples of a series that is kept, by their time.
void DecodeWorker::CountLeftOut(const PendingSeries& series) {
  const auto count = [&](RefusalReason reason, uint64_t samples) {
    if (samples == 0) return;
    staged_->samples.refused += samples;
    staged_->refused_samples[static_cast<size_t>(reason)] += samples;
    RefuseItem(&series, reason, samples, "a sample's time is out of bounds");
  };
  count(RefusalReason::kTooFarAhead, series.left_out.too_far_ahead);
  count(RefusalReason::kTooOld, series.left_out.too_old);
}

void DecodeWorker::NoteFirstRefusal(const PendingSeries* series, RefusalReason reason,
                                    std::string_view detail) {
  if (!staged_->first_refusal.empty()) return;
  std::string text;
  if (series != nullptr) {
    std::vector<table::Label> labels;
    std::swap(labels, labels_);  // may be in use
    ReadLabels(*series);
    text = DescribeSeries(labels_) + ": ";
    std::swap(labels, labels_);
  }
  text += Printable(detail.empty() ? Name(reason) : detail, kMaxDetail);
  staged_->first_refusal = fmt::format("{}: {}", text, HowToFix(reason));
}

void DecodeWorker::RefuseSeries(PendingSeries& series, RefusalReason reason,
                                std::string_view detail) {
  series.problem = reason;
  staged_->refused.push_back(series.index);
  ++staged_->refused_series[static_cast<size_t>(reason)];
  NoteFirstRefusal(&series, reason, detail);
  if (input_->replay && refused_in_replay_.empty()) refused_in_replay_ = staged_->first_refusal;
}

void DecodeWorker::RefuseItem(const PendingSeries* series, RefusalReason reason, uint64_t count,
                              std::string_view detail) {
  staged_->items_refused += count;
  staged_->refused_items[static_cast<size_t>(reason)] += count;
  NoteFirstRefusal(series, reason, detail);
}

}  // namespace forebay::receive
