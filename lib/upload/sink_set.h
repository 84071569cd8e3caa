// The sinks of every database, made from the configuration once at start. Immutable afterwards, so
// lookups need no lock.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "io/file_system.h"
#include "upload/sink.h"

namespace forebay::upload {

class SinkSet {
 public:
  struct Entry {
    std::string database;
    std::unique_ptr<Sink> sink;
  };

  // Errors: kInvalidArgument: a sink without a kind, or two of one name in a database.
  static Result<SinkSet> Create(std::span<const config::Database> databases, io::FileSystem& fs);
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
