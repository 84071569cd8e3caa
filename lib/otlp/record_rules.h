// What the configuration says of log records and spans, compiled: their columns, where they go, and
// which attributes decide that or become columns. Place: made by each decoder when the rules of the
// receiver have changed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "otlp/request_format.h"
#include "receive/rules.h"
#include "table/schema.h"

namespace forebay::otlp {

// What an attribute's name means.
struct AttributeRole {
  enum class Kind : uint8_t { kNone, kTable, kDatabase, kLifted } kind = Kind::kNone;
  uint32_t index = 0;  // in its list: the lowest that is there counts; of lifted ones the column
};

// Immutable. Threads: any.
class RecordRules {
 public:
  // Shape: signal is not kMetrics. Errors: kInvalidArgument: columns that cannot be.
  static Result<RecordRules> Compile(Signal signal, const config::Otlp& config);

  const table::Schema& schema() const { return schema_; }
  const std::string& table() const { return table_; }
  const std::string& database() const { return database_; }
  size_t lifted_count() const { return lifted_.size(); }
  bool full_logs() const { return full_logs_; }

  AttributeRole RoleOf(std::string_view name) const {
    // Names of other lengths, which most are, cost no comparison.
    if ((lengths_ >> (name.size() & 63) & 1) == 0) [[likely]]
      return {};
    return Find(name);
  }

 private:
  RecordRules() = default;
  AttributeRole Find(std::string_view name) const;
  void NoteLength(const std::string& name) { lengths_ |= 1ULL << (name.size() & 63); }

  table::Schema schema_;
  std::string table_;
  std::string database_;
  std::vector<std::string> table_attributes_;
  std::vector<std::string> database_attributes_;
  std::vector<std::string> lifted_;  // as configured, by column
  uint64_t lengths_ = 0;             // of all these names, modulo 64
  bool full_logs_ = false;
};

// Errors: kInvalidArgument naming what is wrong with `otlp`.
Status CheckRecordRules(const config::Otlp& config);

}  // namespace forebay::otlp
