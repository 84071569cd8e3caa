// Log records and spans of a request to rows of CSV, straight from the wire bytes: one pass, no
// objects, no allocation in steady state. The text of a row is written once, into the staged rows
// of its table; what the records of a resource share is made once per resource. Place: one per io
// thread and one for recovery; live requests and replay share it, so that both decide alike.
// Columns and rules: docs/otlp.md. Limits: RecordInput::max_text.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "base/time.h"
#include "otlp/record_rules.h"
#include "otlp/request_format.h"
#include "otlp/text.h"
#include "otlp/value_writer.h"
#include "receive/remote_write_state.h"
#include "receive/staged_write.h"

namespace forebay::otlp {

struct RecordInput {
  Signal signal = Signal::kLogs;  // not kMetrics
  std::string_view tenant;
  UnixMillis received;
  // The request was accepted once: no limits, and what would be refused now, though it was not
  // then, is an error of the whole.
  bool replay = false;
  std::span<const uint32_t> refused = {};  // of the replayed record, ascending
  uint64_t max_text = UINT64_MAX;          // bytes of rows
};

// Threads: one at a time.
class RecordDecoder {
 public:
  explicit RecordDecoder(receive::RemoteWriteState& state) : state_(state) {}

  // Replaces the contents of `staged`. message: an Export...ServiceRequest. Errors:
  // kInvalidArgument: it is none, nothing may be stored; kOutOfRange: more than max_text; in replay
  // kFailedPrecondition: a record is refused.
  Status Decode(const RecordInput& input, std::string_view message, receive::StagedWrite& staged);

  // Values that were cut and repaired in the last request.
  const TextCounts& counts() const { return values_.counts(); }

 private:
  // Where a record goes, by its attributes.
  struct Route {
    std::string_view table;  // empty: they do not say
    std::string_view database;
    uint32_t table_rank = UINT32_MAX;  // in the list of names
    uint32_t database_rank = UINT32_MAX;
    bool empty() const { return table.empty() && database.empty(); }
  };
  // Of a table, which requests use again and again.
  struct Place {
    receive::DatabaseIndex database = 0;
    table::TableId table = 0;
  };
  // Where a table's rows are staged, in the request of that number.
  struct Slot {
    uint64_t request = 0;
    size_t index = 0;
  };
  struct LogRecord;
  struct Span;

  Status Begin(const RecordInput& input, receive::StagedWrite& staged);
  void WalkRequest(std::string_view message);
  void WalkResource(std::string_view message);
  void WalkScope(std::string_view message);
  void BeginResource(std::string_view resource);
  void BeginScope(std::string_view scope);
  void TakeRecord(std::string_view message);
  void TakeAttribute(std::string_view message, std::vector<KeyValue>& attributes, Route& route,
                     std::vector<std::string_view>& lifted);
  // The rows of a record's table; null: it was refused.
  receive::StagedRows* RowsFor(const Route& route);
  receive::StagedRows* RowsAt(const Place& place);
  std::optional<Place> FindPlace(std::string_view database, std::string_view table);
  void Refuse(receive::RefusalReason reason, std::string detail);
  receive::ItemCounts& counts_of_records();

  bool ReadLog(std::string_view message, LogRecord& record);
  void WriteLog(const LogRecord& record, ByteBuffer& out);
  bool ReadSpan(std::string_view message, Span& span);
  void WriteSpan(const Span& span, ByteBuffer& out);
  void WriteEvents(ByteBuffer& out);
  void WriteLinks(ByteBuffer& out);
  void WriteAttributesOf(std::string_view message, uint32_t field, ByteBuffer& out);
  void WriteLifted(ByteBuffer& out);
  void WriteId(std::string_view id, ByteBuffer& out);
  // False: refused, since the length of an id is none of theirs.
  bool IdsAreFine(std::string_view trace, std::string_view span);

  receive::RemoteWriteState& state_;
  std::shared_ptr<const receive::Rules> rules_;
  std::optional<RecordRules> of_logs_;
  std::optional<RecordRules> of_spans_;
  std::unordered_map<std::string, Place> places_;  // by database and table as named, bounded

  // Of the running request.
  const RecordInput* input_ = nullptr;
  const RecordRules* records_ = nullptr;
  receive::StagedWrite* staged_ = nullptr;
  std::string_view default_database_;
  uint32_t index_ = 0;  // of the record
  size_t next_refused_ = 0;
  uint64_t text_ = 0;
  bool malformed_ = false;
  bool too_large_ = false;
  std::string refused_in_replay_;
  receive::StagedRows* default_rows_ = nullptr;  // of records that name no table
  uint64_t request_ = 0;                         // number of the running request
  std::vector<Slot> slots_;                      // by TableId

  ValueWriter values_;
  TimeWriter times_;
  ByteBuffer scratch_;
  std::string place_key_;
  // Of the resource and the scope that is being walked.
  Route resource_route_;
  std::vector<KeyValue> resource_attributes_;
  std::vector<std::string_view> resource_lifted_;
  ByteBuffer resource_field_;
  ByteBuffer service_field_;
  ByteBuffer scope_field_;
  bool needs_scope_ = false;
  // Of the record.
  Route route_;
  std::vector<KeyValue> attributes_;
  std::vector<std::string_view> lifted_;
  std::vector<KeyValue> inner_;  // of an event or a link
  std::vector<std::string_view> events_;
  std::vector<std::string_view> links_;
};

}  // namespace forebay::otlp
