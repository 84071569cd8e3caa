#include "walctl/dead_letters.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/byte_buffer.h"
#include "base/units.h"
#include "table/json_text.h"
#include "wal/dead_letter_files.h"
#include "wal/flake_id.h"

namespace forebay::walctl {
namespace {

constexpr uint64_t kMaxShownFile = 64U << 10;

std::string JsonText(std::string_view text) {
  ByteBuffer out;
  table::AppendJsonString(text, out);
  return std::string(out.view());
}

// When the batch's first segment was made; the id begins with it.
UnixMillis SinceOf(const DeadLetter& letter) {
  return UnixMillis{wal::MillisOf(std::stoull(letter.id.substr(0, 16), nullptr, 16))};
}

const wal::ManifestSink* FailedSink(const DeadLetter& letter) {
  for (const wal::ManifestSink& sink : letter.manifest.sinks) {
    if (sink.state == wal::DeliveryState::kFailed) return &sink;
  }
  return nullptr;
}

Result<DeadLetter> Look(io::FileSystem& fs, const std::string& path, const std::string& id) {
  DeadLetter letter;
  letter.id = id;
  letter.path = path;
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, fs.List(path));
  for (const io::DirectoryEntry& entry : entries) {
    letter.bytes += entry.size;
    if (entry.name.ends_with(".wal")) ++letter.segments;
    if (entry.name.starts_with(wal::kRejectedPrefix) && entry.name.ends_with(".csv")) {
      letter.rejected.push_back(entry.name);
    }
    letter.replay = letter.replay || entry.name == wal::kReplayFile;
  }
  const auto text = io::ReadFile(fs, io::JoinPath(path, std::string(wal::kDeadManifestFile)),
                                 wal::kMaxManifestBytes);
  if (!text.ok()) {
    if (text.error().code() != ErrorCode::kNotFound) letter.damage = text.error().ToString();
    return letter;
  }
  auto manifest = wal::ParseManifest(*text);
  if (manifest.ok()) {
    letter.manifest = *std::move(manifest);
  } else {
    letter.damage = manifest.error().ToString();
  }
  return letter;
}

std::string ReasonOf(const DeadLetter& letter) {
  if (!letter.damage.empty()) return letter.damage;
  if (const wal::ManifestSink* sink = FailedSink(letter)) return sink->name + ": " + sink->note;
  return letter.rejected.empty() ? "" : "rows that were rejected alone";
}

}  // namespace

Result<std::vector<DeadLetter>> ListDeadLetters(io::FileSystem& fs, const std::string& directory) {
  FOREBAY_ASSIGN_OR_RETURN(const bool exists, fs.Exists(directory));
  if (!exists) {
    return Error(ErrorCode::kNotFound,
                 fmt::format("{}: no such data directory; name it by --dir", directory));
  }
  std::vector<DeadLetter> letters;
  const std::string folder = io::JoinPath(directory, "dlq");
  const auto entries = fs.List(folder);
  if (!entries.ok()) {
    if (entries.error().code() == ErrorCode::kNotFound) return letters;
    return entries.error();
  }
  for (const io::DirectoryEntry& entry : *entries) {
    if (!entry.is_directory || !wal::IsBatchId(entry.name)) continue;
    auto letter = Look(fs, io::JoinPath(folder, entry.name), entry.name);
    if (letter.ok()) letters.push_back(*std::move(letter));  // else it vanished meanwhile
  }
  std::sort(letters.begin(), letters.end(),
            [](const DeadLetter& a, const DeadLetter& b) { return a.id < b.id; });
  return letters;
}

Result<std::vector<DeadLetter>> SelectDeadLetters(const std::vector<DeadLetter>& letters,
                                                  const std::vector<std::string>& ids, bool all) {
  if (all) return letters;
  if (ids.empty()) {
    return Error(ErrorCode::kInvalidArgument, "name batches as ls prints them, or --all");
  }
  std::vector<DeadLetter> selected;
  for (const std::string& id : ids) {
    const auto found = std::find_if(letters.begin(), letters.end(),
                                    [&](const DeadLetter& letter) { return letter.id == id; });
    if (found == letters.end()) {
      return Error(ErrorCode::kNotFound, fmt::format("{}: no such batch; see ls", id));
    }
    selected.push_back(*found);
  }
  return selected;
}

Status RequestReplay(io::FileSystem& fs, const DeadLetter& letter) {
  const bool batch = !letter.manifest.id.empty() && letter.segments > 0;
  if (!letter.damage.empty() || (!batch && letter.rejected.empty())) {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("{}: there is nothing to replay{}{}; see show", letter.id,
                             letter.damage.empty() ? "" : ": ", letter.damage));
  }
  return io::WriteFileDurably(fs, io::JoinPath(letter.path, std::string(wal::kReplayFile)), "");
}

Status DropDeadLetter(io::FileSystem& fs, const DeadLetter& letter) {
  if (letter.replay) {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("{}: a replay was asked for; the daemon does it within 10 s, or when "
                             "it starts next",
                             letter.id));
  }
  FOREBAY_ASSIGN_OR_RETURN(auto entries, fs.List(letter.path));
  // The reason last: a directory always says why it exists.
  std::stable_partition(entries.begin(), entries.end(), [](const io::DirectoryEntry& entry) {
    return entry.name != wal::kReasonFile;
  });
  for (const io::DirectoryEntry& entry : entries) {
    FOREBAY_RETURN_IF_ERROR(fs.Remove(io::JoinPath(letter.path, entry.name)));
  }
  FOREBAY_RETURN_IF_ERROR(fs.RemoveDirectory(letter.path));
  return fs.SyncDirectory(letter.path.substr(0, letter.path.rfind('/')));
}

std::string FormatDeadLetters(const std::vector<DeadLetter>& letters, UnixMillis now) {
  std::string out;
  for (const DeadLetter& letter : letters) {
    const auto age = std::chrono::milliseconds(
        std::max<int64_t>((now.value - SinceOf(letter).value) / 1000 * 1000, 0));
    out += fmt::format("{}  {}.{}  {} rows  {}  {} old{}\n    {}\n", letter.id,
                       letter.manifest.database, letter.manifest.table, letter.manifest.rows(),
                       FormatByteCount({letter.bytes}), FormatDuration(age),
                       letter.replay ? "  to be replayed" : "", ReasonOf(letter));
  }
  out += fmt::format("{} dead letters\n", letters.size());
  return out;
}

std::string FormatDeadLettersJson(const std::vector<DeadLetter>& letters) {
  std::string out = "[";
  for (const DeadLetter& letter : letters) {
    if (out.size() > 1) out += ',';
    out += fmt::format(
        R"({{"batch":{},"database":{},"table":{},"rows":{},"segments":{},"bytes":{},"since":{},)"
        R"("replay":{},"rejected_files":{},"reason":{}}})",
        JsonText(letter.id), JsonText(letter.manifest.database), JsonText(letter.manifest.table),
        letter.manifest.rows(), letter.segments, letter.bytes,
        JsonText(FormatRfc3339(SinceOf(letter))), letter.replay, letter.rejected.size(),
        JsonText(ReasonOf(letter)));
  }
  return out + "]\n";
}

Result<std::string> DescribeDeadLetter(io::FileSystem& fs, const DeadLetter& letter) {
  std::string out = fmt::format("{}\n", letter.path);
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, fs.List(letter.path));
  for (const io::DirectoryEntry& entry : entries) {
    out += fmt::format("  {}  {}\n", entry.name, FormatByteCount({entry.size}));
  }
  for (const io::DirectoryEntry& entry : entries) {
    if (!entry.name.ends_with(".json")) continue;
    FOREBAY_ASSIGN_OR_RETURN(
        const std::string text,
        io::ReadFile(fs, io::JoinPath(letter.path, entry.name), kMaxShownFile));
    out += text;
  }
  return out;
}

}  // namespace forebay::walctl
