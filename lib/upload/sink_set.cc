// The one place that knows which kinds of sinks there are.
#include "upload/sink_set.h"

#include <fmt/core.h>

#include <utility>

#include "upload/file/file_sink.h"

namespace forebay::upload {

std::string NameOf(const config::Sink& sink) { return sink.name.empty() ? "file" : sink.name; }

Result<SinkSet> SinkSet::Create(std::span<const config::Database> databases, io::FileSystem& fs) {
  SinkSet set;
  for (const config::Database& database : databases) {
    for (const config::Sink& sink : database.sinks) {
      if (!sink.file) {
        return Error(ErrorCode::kInvalidArgument,
                     fmt::format("database {}: sink {} has no kind", database.name, sink.name));
      }
      FOREBAY_RETURN_IF_ERROR(
          set.Add(database.name, std::make_unique<FileSink>(NameOf(sink), *sink.file, fs)));
    }
  }
  return set;
}

Status SinkSet::Add(std::string database, std::unique_ptr<Sink> sink) {
  for (const Entry& entry : entries_) {
    if (entry.database == database && entry.sink->name() == sink->name()) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("database {}: two sinks named {}", database, sink->name()));
    }
  }
  entries_.push_back({std::move(database), std::move(sink)});
  return OkStatus();
}

std::map<std::string, std::vector<std::string>> SinkSet::Names() const {
  std::map<std::string, std::vector<std::string>> names;
  for (const Entry& entry : entries_) names[entry.database].push_back(entry.sink->name());
  return names;
}

}  // namespace forebay::upload
