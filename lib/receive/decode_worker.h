// Decodes remote-write requests, looks their series up and stages what is to be stored.
// Place: one worker per io thread, and one for recovery; the handler and the replay share this
// code, so that both decide alike. Steady state: snappy, one pass over the wire bytes, no
// allocation. Series are handled in groups of kGroupSeries: read and hash all, then look all up.
// Limits: http.max_decoded_body, checked before the buffer is made; kMaxSideTextBytes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "receive/native_histogram.h"
#include "receive/remote_write_2.h"
#include "receive/remote_write_state.h"
#include "receive/series_parts.h"
#include "receive/series_resolver.h"
#include "receive/staged_write.h"
#include "wal/journal_format.h"

namespace forebay::receive {

struct DecodeInput {
  wal::RecordKind kind = wal::RecordKind::kRemoteWrite1;
  std::span<const char> body;  // as sent: one snappy block
  std::string_view tenant;
  UnixMillis received;
  uint64_t generation = 0;  // GenerationLease::sequence()
  // The request was accepted once: limits do not refuse, and a series that would be refused now,
  // though it was not then, is an error of the whole.
  bool replay = false;
  std::span<const uint32_t> refused = {};  // of the replayed record, ascending
  TenantLimits::SeriesQuota quota;         // for series that are new
};

// Threads: one at a time.
class DecodeWorker {
 public:
  explicit DecodeWorker(RemoteWriteState& state);

  // Replaces the contents of `staged` (an object to be reused) by those of the request.
  // Errors: kInvalidArgument: corrupt snappy or protobuf, nothing of the request may be stored;
  // kOutOfRange: decoded size above the limit, or more parts than it has room for; in replay
  // kFailedPrecondition: a series is refused. The caller has entered the generation before and
  // stays in it until the samples are appended.
  Status Decode(const DecodeInput& input, StagedWrite& staged);
  // As Decode, for a body that is not compressed. Used by tests and fuzzing.
  Status DecodeProtobuf(const DecodeInput& input, std::string_view message, StagedWrite& staged);

  // Memory that is kept for the next request: the decoded body and scratch of its parts.
  size_t held_bytes() const;

  // remote_write.tenant_header of the rules in force; empty: there is none.
  std::string_view tenant_header();

 private:
  // The shared columns of a series' side rows.
  struct RenderedSeries {
    table::SeriesKey key;
    bool used = false;
    DatabaseIndex database = 0;
    std::string metric;
    ByteBuffer fields;
  };
  // The table that a metric's series go to.
  struct KnownTable {
    std::string metric;  // empty: none; no metric is
    DatabaseIndex database = 0;
    table::TableId table = 0;
  };
  // Of a 2.0 series whose metadata was stored before: its type and refs of help, unit, and the
  // first label's name and value.
  struct LastMetadata {
    std::array<uint64_t, 5> refs{};
    bool stored = false;
    bool operator==(const LastMetadata&) const = default;
  };
  enum class Walk : uint8_t { kDone, kMalformed, kSymbolsLate, kTooLarge };

  void Begin(const DecodeInput& input, StagedWrite& staged);
  void RefreshRules();
  Status Uncompress(const DecodeInput& input);
  Status Fail(Walk walk, StagedWrite& staged);
  // Gives back what a request needed beyond the usual.
  void TrimScratch();
  Walk WalkRequest1(std::string_view message);
  Walk WalkRequest2(std::string_view message, bool symbols_read);
  PendingSeries& NextSeries();
  void CloseSeries(PendingSeries& series);
  bool ReadRefs(PendingSeries& series);
  void FlushGroup();
  void FlushSeries(PendingSeries& series);
  table::SeriesRef Lookup(PendingSeries& series);
  table::SeriesRef ResolveNew(PendingSeries& series);
  KnownTable& KnownTableOf(const ResolvedSeries& resolved);
  std::optional<table::TableId> NewTable(PendingSeries& series, const ResolvedSeries& resolved);
  void ReadLabels(const PendingSeries& series);
  void Keep(const PendingSeries& series, table::SeriesRef ref);
  void CountLeftOut(const PendingSeries& series);
  void LeaveSideItems(const PendingSeries& series, bool refused);
  void StoreSideItems(const PendingSeries& series);
  void StoreExemplar(const PendingSeries& series, std::string_view message);
  void StoreHistogram(const PendingSeries& series, std::string_view message);
  void StoreMetadata2(const PendingSeries& series);
  void CountUnchangedMetadata();
  void StoreMetadata1(std::string_view message);
  void StoreMetadata(DatabaseIndex database, const MetadataParts& metadata);
  const RenderedSeries* Render(const PendingSeries& series);
  StagedRows* SideRows(DatabaseIndex database, SideTable side);
  // Ends a row that began at `begin`; false and the row gone when the text is too much.
  bool EndRow(StagedRows& rows, size_t begin);
  void RefuseSeries(PendingSeries& series, RefusalReason reason, std::string_view detail);
  void NoteFirstRefusal(const PendingSeries* series, RefusalReason reason, std::string_view detail);
  void RefuseItem(const PendingSeries* series, RefusalReason reason, uint64_t count,
                  std::string_view detail);
  DatabaseIndex DatabaseOf(table::SeriesRef ref);
  bool is_version_2() const { return input_->kind == wal::RecordKind::kRemoteWrite2; }

  RemoteWriteState& state_;
  std::shared_ptr<const Rules> rules_;
  const DecodeInput* input_ = nullptr;  // these: of the running request
  StagedWrite* staged_ = nullptr;
  SampleFilter filter_;
  DecodeLimits limits_;
  DatabaseIndex routed_database_ = 0;
  uint64_t domain_ = 0;  // of the series keys
  size_t next_refused_ = 0;
  size_t write_ = 0;               // samples of the group's finished series end here
  bool malformed_ = false;         // a part of the request is no protobuf
  std::string refused_in_replay_;  // the first one, described
  size_t side_text_ = 0;           // bytes

  ByteBuffer body_;            // decoded
  uint32_t small_bodies_ = 0;  // in a row, since body_ was needed in full
  std::array<PendingSeries, kGroupSeries> group_;
  size_t group_size_ = 0;
  size_t group_refs_ = 0;                        // 2.0: label refs of the group
  std::array<ByteBuffer, kGroupSeries> joined_;  // labels that did not stand together
  std::vector<SideItem> side_items_;             // of the group
  ByteBuffer exemplar_refs_;
  remote_write_2::Symbols symbols_;
  std::vector<table::Label> labels_;
  std::vector<table::Label> row_labels_;
  table::RowLabels row_;
  SeriesResolver resolver_;
  ExemplarParts exemplar_;
  NativeHistogram histogram_;
  std::string scratch_;

  static constexpr size_t kKnownTables = 2048;
  static constexpr size_t kMaxKnownMetric = 256;
  static constexpr size_t kRenderedSeries = 512;
  static constexpr size_t kMetadataFilter = 4096;
  std::vector<KnownTable> known_tables_;   // by metric and database, direct-mapped; of rules_
  std::vector<RenderedSeries> rendered_;   // by key, direct-mapped
  RenderedSeries long_rendered_;           // the last one that is too long to be kept
  std::vector<uint64_t> metadata_filter_;  // hashes known to be stored, direct-mapped
  LastMetadata last_metadata_;             // of this request
  uint64_t metadata_epoch_ = 0;
  int64_t metadata_hour_ = 0;
  std::vector<std::array<table::TableId, kSideTables>> side_tables_;  // by database
  std::vector<DatabaseIndex> table_databases_;                        // by TableId
};

}  // namespace forebay::receive
