// Management commands of a cluster, and the tables and mappings that batches need. One caller at a
// time makes a table; what is made is remembered. Sources: "Query/management HTTP response",
// ".create-merge table", ".create-or-alter ingestion mapping".
#pragma once

#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "table/schema.h"
#include "upload/adx/rest.h"

namespace forebay::upload::adx {

// The first table of an answer; cells that are no strings are their JSON text, null is empty.
struct CommandResult {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;

  // The cell of that column; empty when there is no such column.
  std::string_view Cell(size_t row, std::string_view column) const;
};

// Errors: kCorruption: not an answer of version 1; kFailedPrecondition: exceptions in it.
Result<CommandResult> ReadCommandResult(std::string_view body);

struct CommandReply {
  std::optional<Fault> fault;
  CommandResult result;
  bool ok() const { return !fault; }
};

// Runs a command; transient failures are tried again. Threads: any.
CommandReply RunCommand(const RestClient& client, const std::string& database,
                        const std::string& command, const RetryRule& rule, std::stop_token stop);

// Threads: any.
class TableKeeper {
 public:
  TableKeeper(const RestClient& engine, std::string database);

  // The table exists with these columns, and its mapping. with_mapping: inline ingestion wants
  // none. Errors: those of Fault::ToError; kFailedPrecondition (permanent): columns that exist with
  // another type.
  Status Ensure(const std::string& table, const table::Schema& schema, bool with_mapping,
                const std::stop_token& stop) EXCLUDES(mutex_);
  // After an error that says that the table or mapping is not there.
  void Forget(const std::string& table, const table::Schema& schema) EXCLUDES(mutex_);

 private:
  Status Make(const std::string& table, const table::Schema& schema, bool with_mapping,
              const std::stop_token& stop) const;
  // Mappings that exist: their tables were made with the columns by an earlier process.
  Status Prime(const std::stop_token& stop) EXCLUDES(mutex_);

  const RestClient& engine_;
  const std::string database_;
  Mutex mutex_;
  CondVar changed_;
  bool primed_ GUARDED_BY(mutex_) = false;
  bool busy_ GUARDED_BY(mutex_) = false;
  std::set<std::string> ready_ GUARDED_BY(mutex_);  // names of mappings
};

}  // namespace forebay::upload::adx
