// The envelope that log records and spans share: resources, scopes, routing, refusals. Their rows:
// log_rows.cc, span_rows.cc.
#include "otlp/internal/records.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "receive/refusal.h"
#include "receive/wire_reader.h"
#include "table/names.h"

namespace forebay::otlp {
namespace {

using receive::RefusalReason;
using receive::StagedRecords;
using receive::StagedRows;
using receive::WireReader;

// Tables that are found again without the registry.
constexpr size_t kMaxPlaces = 4096;
constexpr size_t kMaxDetail = 96;

// The text of an AnyValue that is a string; else empty.
std::string_view TextOf(std::string_view value) {
  WireReader reader(value);
  std::string_view text;
  while (reader.Next()) {
    if (reader.field() == 1) {
      text = reader.BytesField();
    } else {
      reader.Skip();
      text = {};
    }
  }
  return reader.failed() ? std::string_view() : text;
}

}  // namespace

Status RecordDecoder::Begin(const RecordInput& input, receive::StagedWrite& staged) {
  if (rules_ == nullptr || rules_->version() != state_.rules_version()) {
    rules_ = state_.rules();
    places_.clear();
    FOREBAY_ASSIGN_OR_RETURN(of_logs_, RecordRules::Compile(Signal::kLogs, rules_->otlp()));
    FOREBAY_ASSIGN_OR_RETURN(of_spans_, RecordRules::Compile(Signal::kTraces, rules_->otlp()));
  }
  FOREBAY_CHECK(input.signal != Signal::kMetrics);
  input_ = &input;
  staged_ = &staged;
  staged.Clear();
  staged.rules_used = rules_;
  staged.side_rows.resize(rules_->databases().size() * receive::kSideTables);
  staged.database_samples.assign(rules_->databases().size(), 0);
  staged.routed_database = rules_->Route(input.tenant);
  records_ = input.signal == Signal::kLogs ? &*of_logs_ : &*of_spans_;
  needs_scope_ = input.signal == Signal::kTraces || records_->full_logs();
  default_database_ = records_->database();
  if (default_database_.empty()) {
    default_database_ = rules_->databases()[staged.routed_database].name;
  }
  ++request_;
  index_ = 0;
  next_refused_ = 0;
  text_ = 0;
  malformed_ = too_large_ = false;
  refused_in_replay_.clear();
  default_rows_ = nullptr;
  values_.ResetCounts();
  values_.ResetMalformed();
  return OkStatus();
}

Status RecordDecoder::Decode(const RecordInput& input, std::string_view message,
                             receive::StagedWrite& staged) {
  FOREBAY_RETURN_IF_ERROR(Begin(input, staged));
  WalkRequest(message);
  if (malformed_ || values_.malformed()) {
    staged.Clear();
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("the body is no {} protobuf message",
                             input.signal == Signal::kLogs ? "ExportLogsServiceRequest"
                                                           : "ExportTraceServiceRequest"));
  }
  if (too_large_) {
    staged.Clear();
    return Error(ErrorCode::kOutOfRange,
                 fmt::format("the rows of the request have more than {} bytes; send fewer records "
                             "per request",
                             input.max_text));
  }
  if (!refused_in_replay_.empty()) {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("a record that was accepted is refused now: {}", refused_in_replay_));
  }
  if (staged.refused_records.size() > wal::kMaxRefusedPerRecord) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} records refused, nothing is kept; first: {}",
                             staged.refused_records.size(), staged.first_refusal));
  }
  staged.decoded_bytes = message.size();
  return OkStatus();
}

void RecordDecoder::WalkRequest(std::string_view message) {
  WireReader reader(message);
  while (reader.Next() && !malformed_ && !too_large_) {
    if (reader.field() == 1) {
      WalkResource(reader.BytesField());
    } else {
      reader.Skip();
    }
  }
  if (reader.failed()) malformed_ = true;
}

// A ResourceLogs or ResourceSpans. Its resource may stand behind its records.
void RecordDecoder::WalkResource(std::string_view message) {
  std::string_view resource;
  WireReader first(message);
  while (first.Next()) {
    if (first.field() == 1) {
      resource = first.BytesField();
    } else {
      first.Skip();
    }
  }
  if (first.failed()) {
    malformed_ = true;
    return;
  }
  BeginResource(resource);
  WireReader reader(message);
  while (reader.Next() && !malformed_ && !too_large_) {
    if (reader.field() == 2) {
      WalkScope(reader.BytesField());
    } else {
      reader.Skip();
    }
  }
}

void RecordDecoder::BeginResource(std::string_view resource) {
  resource_attributes_.clear();
  resource_route_ = {};
  resource_lifted_.assign(records_->lifted_count(), {});
  service_field_.clear();
  WireReader reader(resource);
  while (reader.Next()) {
    if (reader.field() == 1) {
      const std::string_view attribute = reader.BytesField();
      TakeAttribute(attribute, resource_attributes_, resource_route_, resource_lifted_);
      KeyValue pair;
      if (ReadKeyValue(attribute, pair) && pair.key == "service.name") {
        service_field_.clear();
        values_.StringField(pair.value, service_field_);
      }
    } else {
      reader.Skip();
    }
  }
  if (reader.failed()) malformed_ = true;
  resource_field_.clear();
  values_.Object(resource_attributes_, resource_field_);
}

// A ScopeLogs or ScopeSpans.
void RecordDecoder::WalkScope(std::string_view message) {
  if (needs_scope_) {
    std::string_view scope;
    WireReader first(message);
    while (first.Next()) {
      if (first.field() == 1) {
        scope = first.BytesField();
      } else {
        first.Skip();
      }
    }
    BeginScope(scope);
  }
  WireReader reader(message);
  while (reader.Next() && !malformed_ && !too_large_) {
    if (reader.field() == 2) {
      TakeRecord(reader.BytesField());
    } else {
      reader.Skip();
    }
  }
  if (reader.failed()) malformed_ = true;
}

// {"name":...,"version":...,"attributes":{...}}, what there is of it.
void RecordDecoder::BeginScope(std::string_view scope) {
  std::string_view name;
  std::string_view version;
  inner_.clear();
  WireReader reader(scope);
  while (reader.Next()) {
    KeyValue attribute;
    switch (reader.field()) {
      case 1:
        name = reader.BytesField();
        break;
      case 2:
        version = reader.BytesField();
        break;
      case 3:
        if (!ReadKeyValue(reader.BytesField(), attribute)) malformed_ = true;
        inner_.push_back(attribute);
        break;
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) malformed_ = true;
  scope_field_.clear();
  values_.Field(scope_field_, [&] {
    scope_field_.push_back('{');
    bool first = true;
    const auto part = [&](std::string_view key) {
      if (!first) scope_field_.push_back(',');
      first = false;
      values_.WriteText(key, scope_field_);
      scope_field_.push_back(':');
    };
    if (!name.empty()) {
      part("name");
      values_.WriteText(name, scope_field_);
    }
    if (!version.empty()) {
      part("version");
      values_.WriteText(version, scope_field_);
    }
    if (!inner_.empty()) {
      part("attributes");
      values_.WriteObject(inner_, scope_field_, 1);
    }
    scope_field_.push_back('}');
  });
}

void RecordDecoder::TakeAttribute(std::string_view message, std::vector<KeyValue>& attributes,
                                  Route& route, std::vector<std::string_view>& lifted) {
  KeyValue pair;
  if (!ReadKeyValue(message, pair)) {
    malformed_ = true;
    return;
  }
  const AttributeRole role = records_->RoleOf(pair.key);
  switch (role.kind) {
    case AttributeRole::Kind::kNone:
      break;
    case AttributeRole::Kind::kLifted:
      lifted[role.index] = pair.value;
      return;
    case AttributeRole::Kind::kTable:
      if (role.index <= route.table_rank) {
        route.table = TextOf(pair.value);
        route.table_rank = role.index;
      }
      break;
    case AttributeRole::Kind::kDatabase:
      if (role.index <= route.database_rank) {
        route.database = TextOf(pair.value);
        route.database_rank = role.index;
      }
      break;
  }
  attributes.push_back(pair);
}

void RecordDecoder::TakeRecord(std::string_view message) {
  const uint32_t index = index_++;
  receive::ItemCounts& counts = counts_of_records();
  ++counts.received;
  const auto refused = input_->refused;
  if (next_refused_ < refused.size() && refused[next_refused_] == index) {
    ++next_refused_;
    ++counts.refused;
    return;
  }
  route_ = {};
  attributes_.clear();
  lifted_.assign(records_->lifted_count(), {});
  index_ = index;
  const auto write = [&](auto& record, auto read, auto row) {
    if (!(this->*read)(message, record)) return;
    StagedRows* rows = RowsFor(route_);
    if (rows == nullptr) return;
    const size_t begin = rows->text.size();
    (this->*row)(record, rows->text);
    text_ += rows->text.size() - begin;
    rows->row_ends.push_back(static_cast<uint32_t>(rows->text.size()));
    ++counts.stored;
  };
  if (input_->signal == Signal::kLogs) {
    LogRecord record;
    write(record, &RecordDecoder::ReadLog, &RecordDecoder::WriteLog);
  } else {
    Span span;
    write(span, &RecordDecoder::ReadSpan, &RecordDecoder::WriteSpan);
  }
  index_ = index + 1;
  if (text_ > input_->max_text && !input_->replay) too_large_ = true;
}

receive::ItemCounts& RecordDecoder::counts_of_records() {
  return input_->signal == Signal::kLogs ? staged_->logs : staged_->spans;
}

void RecordDecoder::Refuse(RefusalReason reason, std::string detail) {
  ++counts_of_records().refused;
  staged_->refused_records.push_back(index_);
  ++staged_->items_refused;
  ++staged_->refused_items[static_cast<size_t>(reason)];
  if (staged_->first_refusal.empty()) {
    staged_->first_refusal = fmt::format("{}: {}", detail, receive::HowToFix(reason));
  }
  if (input_->replay && refused_in_replay_.empty()) refused_in_replay_ = staged_->first_refusal;
}

StagedRows* RecordDecoder::RowsFor(const Route& route) {
  const bool by_default = route.empty() && resource_route_.empty();
  if (by_default && default_rows_ != nullptr) [[likely]]
    return default_rows_;
  std::string_view database = route.database;
  if (database.empty()) database = resource_route_.database;
  if (database.empty()) database = default_database_;
  std::string_view name = route.table;
  if (name.empty()) name = resource_route_.table;
  if (name.empty()) name = records_->table();
  const auto place = FindPlace(database, name);
  if (!place) return nullptr;
  StagedRows* rows = RowsAt(*place);
  if (by_default) default_rows_ = rows;
  return rows;
}

std::optional<RecordDecoder::Place> RecordDecoder::FindPlace(std::string_view database,
                                                             std::string_view name) {
  // Signals have different columns, so different tables of one name.
  place_key_.assign(1, input_->signal == Signal::kLogs ? 'l' : 't');
  place_key_ += database;
  place_key_ += '\0';
  place_key_ += name;
  const auto known = places_.find(place_key_);
  if (known != places_.end()) return known->second;
  const auto index = rules_->FindDatabase(database);
  if (!index) {
    Refuse(RefusalReason::kUnknownDatabase,
           fmt::format("an attribute names the database {}, which is not configured",
                       receive::Printable(database, kMaxDetail)));
    return std::nullopt;
  }
  const std::string table = table::CleanIdentifier(name);
  if (table.empty()) {
    Refuse(RefusalReason::kNoTableName,
           fmt::format("an attribute names the table {}, of which no letter or digit is left",
                       receive::Printable(name, kMaxDetail)));
    return std::nullopt;
  }
  const auto id =
      state_.tables().Intern(rules_->databases()[*index].name, table, records_->schema());
  if (!id.ok()) {
    Refuse(RefusalReason::kTableLimit, receive::Printable(id.error().message(), 4 * kMaxDetail));
    return std::nullopt;
  }
  const Place place{*index, *id};
  if (places_.size() >= kMaxPlaces) places_.clear();
  places_.emplace(place_key_, place);
  return place;
}

StagedRows* RecordDecoder::RowsAt(const Place& place) {
  receive::StagedWrite& staged = *staged_;
  if (place.table >= slots_.size()) slots_.resize(place.table + 1);
  Slot& slot = slots_[place.table];
  if (slot.request == request_) return &staged.records[slot.index].rows;
  slot = {request_, staged.record_tables};
  if (staged.record_tables == staged.records.size()) {
    staged.records.emplace_back();
    default_rows_ = nullptr;  // they may have moved
  }
  StagedRecords& added = staged.records[staged.record_tables++];
  added.database = place.database;
  added.rows.table = place.table;
  return &added.rows;
}

bool RecordDecoder::IdsAreFine(std::string_view trace, std::string_view span) {
  constexpr size_t kTraceBytes = 16;
  constexpr size_t kSpanBytes = 8;
  if (!trace.empty() && trace.size() != kTraceBytes) {
    Refuse(RefusalReason::kBadId, fmt::format("a trace id has {} bytes", trace.size()));
    return false;
  }
  if (!span.empty() && span.size() != kSpanBytes) {
    Refuse(RefusalReason::kBadId, fmt::format("a span id has {} bytes", span.size()));
    return false;
  }
  return true;
}

// Ids of zeros say that there is none.
void RecordDecoder::WriteId(std::string_view id, ByteBuffer& out) {
  if (std::all_of(id.begin(), id.end(), [](char c) { return c == '\0'; })) return;
  AppendHex(id, out);
}

void RecordDecoder::WriteLifted(ByteBuffer& out) {
  for (size_t i = 0; i < lifted_.size(); ++i) {
    out.push_back(',');
    const std::string_view value = lifted_[i].empty() ? resource_lifted_[i] : lifted_[i];
    if (!value.empty()) values_.StringField(value, out);
  }
}

}  // namespace forebay::otlp
