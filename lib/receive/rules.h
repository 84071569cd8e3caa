// What the configuration says of incoming series, compiled: global and per-database relabelling,
// database routing, column layouts, sample filters and the names of the side tables.
// Place: made once per start and reload, then shared unchanged by all decoders; a request uses one
// set of rules from its first byte to its answer.
// Limits: as many databases as configured; labels and bytes per series as config::Limits says.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "table/relabel.h"
#include "table/schema.h"

namespace forebay::receive {

// Index into Rules::databases().
using DatabaseIndex = uint32_t;

struct DatabaseRules {
  std::string name;
  table::Relabeler relabeler;
  table::MetricsLayout layout;
};

// Immutable once made. Threads: any.
class Rules {
 public:
  // `version`: differs from that of every other set of this process; part of the series keys.
  // Errors: kInvalidArgument: no database, a default database that is not configured, a relabelling
  // rule or lifted label that cannot be compiled.
  static Result<std::shared_ptr<const Rules>> Compile(const config::Config& config,
                                                      uint64_t version);

  uint64_t version() const { return version_; }
  const config::RemoteWrite& remote_write() const { return remote_write_; }
  const config::Limits& limits() const { return limits_; }
  const config::Otlp& otlp() const { return otlp_; }
  const table::Relabeler& relabeler() const { return relabeler_; }
  const std::vector<DatabaseRules>& databases() const { return databases_; }

  // The database of that name, after removal of what is not a letter or digit.
  std::optional<DatabaseIndex> FindDatabase(std::string_view name) const;
  // Where series without a database label go: the tenant's database, else the default one.
  DatabaseIndex Route(std::string_view tenant) const;
  // True when no rule anywhere changes or drops a series.
  bool no_relabelling() const { return no_relabelling_; }

  // The Labels of side tables: what is in neither __name__ nor a dropped prefix.
  bool IsRowLabel(std::string_view name) const;

 private:
  Rules(const config::Config& config, uint64_t version, table::Relabeler relabeler,
        std::vector<DatabaseRules> databases);

  const uint64_t version_;
  const config::RemoteWrite remote_write_;
  const config::Limits limits_;
  const config::Otlp otlp_;
  const table::Relabeler relabeler_;
  const std::vector<DatabaseRules> databases_;
  DatabaseIndex default_database_ = 0;
  bool no_relabelling_ = true;
};

}  // namespace forebay::receive
