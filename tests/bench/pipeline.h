// The parts of a node that a sample passes, put together by hand on one thread without sockets and
// clocks: decode, stage, append, seal; what is sealed can be read as batches. Same classes, same
// order of calls as in the daemon. Place: see payload.h. Files lie below a directory of its own,
// which goes with it.
// What does not work ends the process: a figure of something that failed is none.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "bench/payload.h"
#include "io/posix_file_system.h"
#include "metrics/registry.h"
#include "receive/decode_worker.h"
#include "upload/batch_reader.h"
#include "wal/generation.h"
#include "wal/quarantine.h"
#include "wal/sealer.h"

namespace forebay::bench {

[[noreturn]] inline void Die(const std::string& what) {
  std::fprintf(stderr, "bench: %s\n", what.c_str());
  std::exit(1);
}
inline void Expect(bool holds, const char* what) {
  if (!holds) Die(what);
}
inline void MustOk(const Status& status) {
  if (!status.ok()) Die(status.error().ToString());
}
template <typename T>
T Must(Result<T> result) {
  if (!result.ok()) Die(result.error().ToString());
  return std::move(*result);
}

// A directory in memory where there is one (what is measured is not the disk), removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    namespace fs = std::filesystem;
    std::error_code error;
    const fs::path base =
        fs::is_directory("/dev/shm", error) ? fs::path("/dev/shm") : fs::temp_directory_path();
    std::string name = (base / "forebay-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) Die("cannot make " + name);
    path_ = name;
  }
  ~ScratchDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline config::Config PipelineConfig() {
  config::Config config;
  config.databases.push_back(
      {.name = "Metrics", .relabel_configs = {}, .lift_labels = {}, .sinks = {}});
  return config;
}

// Threads: one at a time.
class Pipeline {
 public:
  Pipeline()
      : config(PipelineConfig()),
        series({.hash_seed = 7}),
        tables(config.limits.tables_max),
        state(Must(receive::RemoteWriteState::Create(config, series, tables, registry))),
        worker(*state),
        quarantine(fs, directory.path() + "/quarantine") {
    MustOk(fs.CreateDirectories(directory.path() + "/segments"));
    MustOk(quarantine.Open());
    series.SetOpenGeneration(1);
  }

  // Decodes and stages a body. All series of it must be taken.
  void Decode(wal::RecordKind kind, std::string_view body, receive::StagedWrite& into) {
    MustOk(worker.Decode(InputOf(kind, body), into));
    Expect(!into.anything_refused(), "a series was refused");
  }
  // The same of a message that is not compressed.
  void DecodeMessage(wal::RecordKind kind, std::string_view message, receive::StagedWrite& into) {
    MustOk(worker.DecodeProtobuf(InputOf(kind, {}), message, into));
    Expect(!into.anything_refused(), "a series was refused");
  }
  static receive::DecodeInput InputOf(wal::RecordKind kind, std::string_view body) {
    receive::DecodeInput input;
    input.kind = kind;
    input.body = body;
    input.received = {kFirstTime};
    input.generation = 1;
    return input;
  }

  std::unique_ptr<wal::Generation> NewGeneration() {
    wal::Generation::Identity identity;
    identity.sequence = 1;
    identity.id = ++last_id_;
    return std::make_unique<wal::Generation>(identity, 1, pool, [] {});
  }
  // Decodes the rounds [first, first + rounds) into a generation; what it holds then.
  wal::GenerationContents Fill(Payload& payload, uint64_t first, uint64_t rounds) {
    auto generation = NewGeneration();
    for (uint64_t round = first; round < first + rounds; ++round) {
      for (const std::string& message : payload.Messages(round)) {
        DecodeMessage(payload.kind(), message, staged);
        generation->Append(0, staged.sample_columns());
      }
    }
    Expect(generation->samples() == rounds * payload.samples(), "samples are missing");
    generation->Close();
    return generation->Take();
  }
  std::string segments_directory() const { return directory.path() + "/segments"; }
  wal::Sealer NewSealer() { return {fs, clock, series, tables, segments_directory()}; }

  // A table's sealed segments as a batch.
  std::unique_ptr<upload::BatchReader> OpenBatch(const std::vector<wal::SegmentInfo>& segments) {
    std::vector<upload::BatchReader::Source> sources;
    for (const wal::SegmentInfo& segment : segments) {
      sources.push_back({segment.file_name, io::JoinPath(segments_directory(), segment.file_name)});
    }
    return Must(upload::BatchReader::Open(fs, std::move(sources), true, quarantine, damage));
  }

  ScratchDirectory directory;
  config::Config config;
  io::PosixFileSystem fs;
  ManualClock clock{{kFirstTime}};
  metrics::Registry registry;
  metrics::Counter damage;
  table::SeriesTable series;
  table::TableRegistry tables;
  std::unique_ptr<receive::RemoteWriteState> state;
  receive::DecodeWorker worker;
  receive::StagedWrite staged;
  wal::ChunkPool pool{256};
  wal::Quarantine quarantine;

 private:
  uint64_t last_id_ = 0;
};

}  // namespace forebay::bench
