// The sinks of every database, made from the configuration once at start. Immutable afterwards, so
// lookups need no lock.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "config/config.h"
#include "io/file_system.h"
#include "metrics/registry.h"
#include "upload/sink.h"

namespace forebay::upload {

// What sinks work with. All outlive them.
struct SinkParts {
  io::FileSystem& fs;
  const Clock& clock;
  metrics::Registry& registry;
};

class SinkSet {
 public:
  struct Entry {
    std::string database;
    std::unique_ptr<Sink> sink;
  };

  // Errors: kInvalidArgument: a sink without a kind, two of one name in a database, an endpoint
  // that may not be used.
  static Result<SinkSet> Create(std::span<const config::Database> databases,
                                const SinkParts& parts);
  SinkSet() = default;

  // Errors: kInvalidArgument when the database has a sink of that name. Threads: before use by
  // others.
  Status Add(std::string database, std::unique_ptr<Sink> sink);

  const std::vector<Entry>& entries() const { return entries_; }
  // For the batcher: the sinks' names by database.
  std::map<std::string, std::vector<std::string>> Names() const;

 private:
  std::vector<Entry> entries_;
};

// The sink's name, or its kind when it has none.
std::string NameOf(const config::Sink& sink);

}  // namespace forebay::upload
