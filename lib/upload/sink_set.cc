// The one place that knows which kinds of sinks there are.
#include "upload/sink_set.h"

#include <fmt/core.h>

#include <cstdlib>
#include <utility>

#include "upload/adx/adx_sink.h"
#include "upload/clickhouse/clickhouse_sink.h"
#include "upload/file/file_sink.h"

namespace forebay::upload {

namespace {

Result<std::unique_ptr<Sink>> MakeSink(const config::Database& database, const config::Sink& sink,
                                       const SinkParts& parts) {
  if (sink.file) {
    return std::unique_ptr<Sink>(std::make_unique<FileSink>(NameOf(sink), *sink.file, parts.fs));
  }
  if (sink.adx) {
    auto made = adx::AdxSink::Create(
        NameOf(sink), database.name, *sink.adx,
        {.clock = parts.clock, .registry = parts.registry, .getenv = &::getenv, .network = {}});
    if (made.ok()) return made;
    return made.error().WithContext(
        fmt::format("database {}, sink {}", database.name, NameOf(sink)));
  }
  if (sink.clickhouse) {
    auto made = ClickHouseSink::Create(NameOf(sink), *sink.clickhouse);
    if (made.ok()) return std::unique_ptr<Sink>(*std::move(made));
    return made.error().WithContext(
        fmt::format("database {}, sink {}", database.name, NameOf(sink)));
  }
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("database {}: sink {} has no kind", database.name, sink.name));
}

}  // namespace

std::string NameOf(const config::Sink& sink) {
  if (!sink.name.empty()) return sink.name;
  return sink.adx ? "adx" : sink.clickhouse ? "clickhouse" : "file";
}

Result<SinkSet> SinkSet::Create(std::span<const config::Database> databases,
                                const SinkParts& parts) {
  SinkSet set;
  for (const config::Database& database : databases) {
    for (const config::Sink& sink : database.sinks) {
      FOREBAY_ASSIGN_OR_RETURN(auto made, MakeSink(database, sink, parts));
      FOREBAY_RETURN_IF_ERROR(set.Add(database.name, std::move(made)));
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
