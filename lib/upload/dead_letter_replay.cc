// One letter after another; the steps are in the order in which each may be done again.
#include "upload/dead_letter_replay.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "base/log.h"
#include "upload/rejected_rows.h"
#include "wal/dead_letter_files.h"

namespace forebay::upload {
namespace {

constexpr uint64_t kMaxMark = 4096;
constexpr std::string_view kRows = ".csv";
constexpr std::string_view kRowsReason = ".json";

// "bad" of "rejected.bad.csv"; empty: another file.
std::string SinkOf(std::string_view name, std::string_view suffix) {
  if (!name.starts_with(wal::kRejectedPrefix) || !name.ends_with(suffix)) return {};
  name.remove_prefix(wal::kRejectedPrefix.size());
  if (name.size() < suffix.size()) return {};
  name.remove_suffix(suffix.size());
  return std::string(name);
}

bool HasBatch(const wal::BatchManifest& manifest, const std::string& sink_name) {
  return std::any_of(manifest.sinks.begin(), manifest.sinks.end(), [&](const auto& sink) {
    return sink.name == sink_name && sink.state == wal::DeliveryState::kDone;
  });
}

class Replayer {
 public:
  Replayer(io::FileSystem& fs, wal::ManifestStore& manifests, const ReplayOptions& options)
      : fs_(fs), manifests_(manifests), options_(options) {}

  Status Run();

 private:
  std::string PathOf(const std::string& id, std::string_view name) const {
    return io::JoinPath(io::JoinPath(options_.dead_letters, id), name);
  }
  Status ReplayOne(const std::string& id);
  Result<bool> IsReady(const std::string& made_of);
  Result<std::optional<wal::BatchManifest>> Read(const std::string& path);
  Result<bool> ReplayRows(const std::string& id, const wal::BatchManifest* batch);
  Result<bool> MakeLetter(const std::string& id, const std::string& sink);
  Status PutBack(const std::string& id, wal::BatchManifest& manifest);
  Status RemoveIfThere(const std::string& path);
  Status Finish(const std::string& id);

  io::FileSystem& fs_;
  wal::ManifestStore& manifests_;
  const ReplayOptions& options_;
  std::deque<std::string> todo_;  // ids
};

Status Replayer::Run() {
  const auto entries = fs_.List(options_.dead_letters);
  if (!entries.ok()) {
    if (entries.error().code() == ErrorCode::kNotFound) return OkStatus();
    return entries.error();
  }
  for (const io::DirectoryEntry& entry : *entries) {
    if (entry.is_directory && wal::IsBatchId(entry.name)) todo_.push_back(entry.name);
  }
  while (!todo_.empty()) {
    const std::string id = std::move(todo_.front());
    todo_.pop_front();
    FOREBAY_ASSIGN_OR_RETURN(const bool asked, fs_.Exists(PathOf(id, wal::kReplayFile)));
    if (!asked || (options_.is_live && options_.is_live(id))) continue;
    Status replayed = ReplayOne(id);
    if (replayed.ok()) continue;
    if (replayed.error().code() != ErrorCode::kCorruption) return replayed;
    LogError("a dead letter cannot be replayed, it stays",
             {{"batch", id}, {"error", replayed.error().ToString()}});
    FOREBAY_RETURN_IF_ERROR(RemoveIfThere(PathOf(id, wal::kReplayFile)));
  }
  return OkStatus();
}

// The mark of a letter that was made of rejected rows names their file: while that is there, the
// letter may be made again.
Result<bool> Replayer::IsReady(const std::string& made_of) {
  if (made_of.empty()) return true;
  const std::string rows = io::JoinPath(options_.dead_letters, made_of);
  FOREBAY_ASSIGN_OR_RETURN(const bool there, fs_.Exists(rows));
  if (there) return false;
  FOREBAY_ASSIGN_OR_RETURN(const bool directory, fs_.Exists(io::DirectoryOf(rows)));
  if (directory) FOREBAY_RETURN_IF_ERROR(fs_.SyncDirectory(io::DirectoryOf(rows)));
  return true;
}

Result<std::optional<wal::BatchManifest>> Replayer::Read(const std::string& path) {
  std::optional<wal::BatchManifest> none;
  FOREBAY_ASSIGN_OR_RETURN(const bool there, fs_.Exists(path));
  if (!there) return none;
  FOREBAY_ASSIGN_OR_RETURN(const std::string text, io::ReadFile(fs_, path, wal::kMaxManifestBytes));
  FOREBAY_ASSIGN_OR_RETURN(wal::BatchManifest manifest, wal::ParseManifest(text));
  return std::optional<wal::BatchManifest>(std::move(manifest));
}

Status Replayer::ReplayOne(const std::string& id) {
  FOREBAY_ASSIGN_OR_RETURN(const std::string made_of,
                           io::ReadFile(fs_, PathOf(id, wal::kReplayFile), kMaxMark));
  FOREBAY_ASSIGN_OR_RETURN(const bool ready, IsReady(made_of));
  if (!ready) return OkStatus();
  FOREBAY_ASSIGN_OR_RETURN(auto batch, Read(PathOf(id, wal::kDeadManifestFile)));
  std::optional<wal::BatchManifest> saved;
  if (!batch) {
    FOREBAY_ASSIGN_OR_RETURN(saved, Read(manifests_.PathOf(id)));
  }
  FOREBAY_ASSIGN_OR_RETURN(const bool all_rows, ReplayRows(id, batch   ? &*batch
                                                               : saved ? &*saved
                                                                       : nullptr));
  if (batch && !made_of.empty() && options_.is_live) {
    // Its id is no generation's; one chance in millions, and then it waits.
    const std::string& name = batch->segments.front().file_name;
    FOREBAY_ASSIGN_OR_RETURN(const bool taken, fs_.Exists(io::JoinPath(options_.segments, name)));
    FOREBAY_ASSIGN_OR_RETURN(const bool here, fs_.Exists(PathOf(id, name)));
    if (taken && here) return OkStatus();
  }
  if (batch) FOREBAY_RETURN_IF_ERROR(PutBack(id, *batch));
  if (all_rows) FOREBAY_RETURN_IF_ERROR(Finish(id));
  // Saved: an earlier call put it back and did not come to its end.
  if (options_.returned && batch) options_.returned(*std::move(batch));
  if (options_.returned && saved) options_.returned(*std::move(saved));
  return OkStatus();
}

// False: some wait, since the sink that rejected them may be given their batch once more, and then
// says anew which rows it does not want.
Result<bool> Replayer::ReplayRows(const std::string& id, const wal::BatchManifest* batch) {
  const std::string at = io::JoinPath(options_.dead_letters, id);
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, fs_.List(at));
  const auto has = [&](const std::string& name) {
    return std::any_of(entries.begin(), entries.end(),
                       [&](const io::DirectoryEntry& entry) { return entry.name == name; });
  };
  bool all = true;
  for (const io::DirectoryEntry& entry : entries) {
    if (const std::string sink = SinkOf(entry.name, kRows); !sink.empty()) {
      if (batch != nullptr && !HasBatch(*batch, sink)) {
        all = false;
        continue;
      }
      FOREBAY_ASSIGN_OR_RETURN(const bool made, MakeLetter(id, sink));
      all = all && made;
    }
    // Left by a crash: its rows are a letter of their own.
    const std::string done = SinkOf(entry.name, kRowsReason);
    if (!done.empty() && !has(fmt::format("{}{}{}", wal::kRejectedPrefix, done, kRows))) {
      FOREBAY_RETURN_IF_ERROR(RemoveIfThere(io::JoinPath(at, entry.name)));
    }
  }
  return all;
}

// False: one of the same id is on its way.
Result<bool> Replayer::MakeLetter(const std::string& id, const std::string& sink) {
  const std::string at = io::JoinPath(options_.dead_letters, id);
  FOREBAY_ASSIGN_OR_RETURN(const RejectedLetter letter, MakeRejectedLetter(fs_, at, id, sink));
  if (options_.is_live && options_.is_live(letter.manifest.id)) return false;
  FOREBAY_RETURN_IF_ERROR(WriteRejectedLetter(fs_, options_.dead_letters, letter));
  const std::string base = fmt::format("{}{}", wal::kRejectedPrefix, sink);
  FOREBAY_RETURN_IF_ERROR(io::WriteFileDurably(fs_, PathOf(letter.manifest.id, wal::kReplayFile),
                                               fmt::format("{}/{}{}", id, base, kRows)));
  FOREBAY_RETURN_IF_ERROR(fs_.Remove(io::JoinPath(at, fmt::format("{}{}", base, kRows))));
  // Rows that come back without their reason could not be made into the letter again.
  FOREBAY_RETURN_IF_ERROR(fs_.SyncDirectory(at));
  FOREBAY_RETURN_IF_ERROR(RemoveIfThere(io::JoinPath(at, fmt::format("{}{}", base, kRowsReason))));
  todo_.push_back(letter.manifest.id);
  return true;
}

Status Replayer::PutBack(const std::string& id, wal::BatchManifest& manifest) {
  for (wal::ManifestSink& sink : manifest.sinks) {
    if (sink.state == wal::DeliveryState::kFailed) sink.state = wal::DeliveryState::kPending;
  }
  for (const wal::ManifestSegment& segment : manifest.segments) {
    FOREBAY_ASSIGN_OR_RETURN(const bool here, fs_.Exists(PathOf(id, segment.file_name)));
    if (!here) continue;
    FOREBAY_RETURN_IF_ERROR(fs_.Rename(PathOf(id, segment.file_name),
                                       io::JoinPath(options_.segments, segment.file_name)));
  }
  const std::string at = io::JoinPath(options_.dead_letters, id);
  FOREBAY_RETURN_IF_ERROR(fs_.SyncDirectory(options_.segments));
  FOREBAY_RETURN_IF_ERROR(fs_.SyncDirectory(at));
  FOREBAY_RETURN_IF_ERROR(manifests_.Save(manifest));
  FOREBAY_RETURN_IF_ERROR(fs_.Remove(PathOf(id, wal::kDeadManifestFile)));
  // Before a sink may get it: a manifest that comes back would send it once more.
  FOREBAY_RETURN_IF_ERROR(fs_.SyncDirectory(at));
  LogInfo("a dead letter goes back on its way",
          {{"batch", manifest.id}, {"table", manifest.table}, {"rows", manifest.rows()}});
  return OkStatus();
}

Status Replayer::RemoveIfThere(const std::string& path) {
  Status removed = fs_.Remove(path);
  if (!removed.ok() && removed.error().code() != ErrorCode::kNotFound) return removed;
  return OkStatus();
}

// Last: until the mark is gone all of this is done again.
Status Replayer::Finish(const std::string& id) {
  const std::string at = io::JoinPath(options_.dead_letters, id);
  FOREBAY_RETURN_IF_ERROR(RemoveIfThere(PathOf(id, wal::kReasonFile)));
  FOREBAY_RETURN_IF_ERROR(fs_.SyncDirectory(at));
  FOREBAY_RETURN_IF_ERROR(RemoveIfThere(PathOf(id, wal::kReplayFile)));
  FOREBAY_RETURN_IF_ERROR(fs_.SyncDirectory(at));
  // What people left there keeps the directory.
  (void)fs_.RemoveDirectory(at);
  return OkStatus();
}

}  // namespace

Status ReplayDeadLetters(io::FileSystem& fs, wal::ManifestStore& manifests,
                         const ReplayOptions& options) {
  return Replayer(fs, manifests, options).Run();
}

}  // namespace forebay::upload
