// Manifests as text: one field a line, a checksum last, so that a half-written or edited file is
// never taken for one.
#include "wal/batch_manifest.h"

#include <fmt/core.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "base/log.h"
#include "io/crc.h"

namespace forebay::wal {
namespace {

constexpr std::string_view kFirstLine = "forebay-batch 1";
constexpr std::string_view kSuffix = ".batch";
constexpr size_t kIdHexDigits = 16;

// Blanks, line ends and the escape itself as %XX, so that fields can be split at blanks; "" is "-".
std::string Escape(std::string_view text) {
  if (text.empty()) return "-";
  if (text == "-") return "%2d";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == '%' || byte == 0x7f) {
      out += fmt::format("%{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::optional<std::string> Unescape(std::string_view text) {
  if (text == "-") return std::string();
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned byte = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const char* first = text.data() + i + 1;
    const auto [end, error] = std::from_chars(first, first + 2, byte, 16);
    if (error != std::errc() || end != first + 2) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<BatchReason> ParseReason(std::string_view text) {
  for (const BatchReason reason : kBatchReasons) {
    if (text == Name(reason)) return reason;
  }
  return std::nullopt;
}

std::optional<DeliveryState> ParseState(std::string_view text) {
  for (const DeliveryState state :
       {DeliveryState::kPending, DeliveryState::kDone, DeliveryState::kFailed}) {
    if (text == Name(state)) return state;
  }
  return std::nullopt;
}

Error Corrupt(std::string_view what) {
  return Error(ErrorCode::kCorruption, fmt::format("batch manifest: {}", what));
}

// The id in "<id>.batch"; empty for names that do not end so.
std::string ManifestId(std::string_view name) {
  if (!name.ends_with(kSuffix)) return {};
  return std::string(name.substr(0, name.size() - kSuffix.size()));
}

// What a crash in mid-write left of a manifest; other names are not ours to remove.
bool IsTemporary(std::string_view name) {
  if (!name.ends_with(io::kTemporarySuffix)) return false;
  return IsBatchId(ManifestId(name.substr(0, name.size() - io::kTemporarySuffix.size())));
}

// Walks over the lines of a manifest; every getter takes one line.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  bool done() const { return rest_.empty(); }
  bool NextIs(std::string_view key) const {
    return rest_.size() > key.size() && rest_.starts_with(key) && rest_[key.size()] == ' ';
  }
  // The fields behind `key`, of which there must be `count`.
  Result<std::vector<std::string_view>> Take(std::string_view key, size_t count) {
    const size_t end = rest_.find('\n');
    if (end == std::string_view::npos || !NextIs(key)) {
      return Corrupt(fmt::format("no line '{}'", key));
    }
    std::string_view line = rest_.substr(key.size() + 1, end - key.size() - 1);
    rest_.remove_prefix(end + 1);
    std::vector<std::string_view> fields;
    while (true) {
      const size_t blank = line.find(' ');
      fields.push_back(line.substr(0, blank));
      if (blank == std::string_view::npos) break;
      line.remove_prefix(blank + 1);
    }
    if (fields.size() != count) return Corrupt(fmt::format("line '{}' has a wrong form", key));
    return fields;
  }
  Result<std::string> TakeText(std::string_view key) {
    FOREBAY_ASSIGN_OR_RETURN(const auto fields, Take(key, 1));
    auto text = Unescape(fields[0]);
    if (!text) return Corrupt(fmt::format("line '{}' has a wrong form", key));
    return *std::move(text);
  }
  Result<int64_t> TakeNumber(std::string_view key) {
    FOREBAY_ASSIGN_OR_RETURN(const auto fields, Take(key, 1));
    const auto number = ParseNumber<int64_t>(fields[0]);
    if (!number) return Corrupt(fmt::format("line '{}' has a wrong form", key));
    return *number;
  }

 private:
  std::string_view rest_;
};

Result<ManifestSegment> TakeSegment(Lines& lines) {
  FOREBAY_ASSIGN_OR_RETURN(const auto fields, lines.Take("segment", 3));
  auto name = Unescape(fields[0]);
  const auto rows = ParseNumber<uint64_t>(fields[1]);
  const auto row_bytes = ParseNumber<uint64_t>(fields[2]);
  if (!name || name->empty() || name->find('/') != std::string::npos || !rows || !row_bytes) {
    return Corrupt("line 'segment' has a wrong form");
  }
  return ManifestSegment{*std::move(name), *rows, *row_bytes};
}

Result<ManifestSink> TakeSink(Lines& lines) {
  FOREBAY_ASSIGN_OR_RETURN(const auto fields, lines.Take("sink", 4));
  auto name = Unescape(fields[0]);
  const auto state = ParseState(fields[1]);
  const auto attempts = ParseNumber<uint32_t>(fields[2]);
  auto note = Unescape(fields[3]);
  if (!name || !state || !attempts || !note) return Corrupt("line 'sink' has a wrong form");
  return ManifestSink{*std::move(name), *state, *attempts, *std::move(note)};
}

}  // namespace

std::string_view Name(BatchReason reason) {
  switch (reason) {
    case BatchReason::kSize:
      return "size";
    case BatchReason::kAge:
      return "age";
    case BatchReason::kFlush:
      return "flush";
    case BatchReason::kDrain:
      return "drain";
    case BatchReason::kDisk:
      return "disk";
  }
  return "unknown";
}

std::string_view Name(DeliveryState state) {
  switch (state) {
    case DeliveryState::kPending:
      return "pending";
    case DeliveryState::kDone:
      return "done";
    case DeliveryState::kFailed:
      return "failed";
  }
  return "unknown";
}

uint64_t BatchManifest::rows() const {
  uint64_t sum = 0;
  for (const ManifestSegment& segment : segments) sum += segment.rows;
  return sum;
}

uint64_t BatchManifest::row_bytes() const {
  uint64_t sum = 0;
  for (const ManifestSegment& segment : segments) sum += segment.row_bytes;
  return sum;
}

bool BatchManifest::settled() const {
  return std::none_of(sinks.begin(), sinks.end(), [](const ManifestSink& sink) {
    return sink.state == DeliveryState::kPending;
  });
}

bool BatchManifest::failed() const {
  return std::any_of(sinks.begin(), sinks.end(),
                     [](const ManifestSink& sink) { return sink.state == DeliveryState::kFailed; });
}

std::string BatchId(uint64_t first_segment_id, std::span<const std::string> file_names) {
  std::vector<std::string_view> sorted(file_names.begin(), file_names.end());
  std::sort(sorted.begin(), sorted.end());
  std::string joined;
  for (const std::string_view name : sorted) {
    joined += name;
    joined += '\n';
  }
  return fmt::format("{:016x}-{:016x}", first_segment_id,
                     XXH3_64bits(joined.data(), joined.size()));
}

bool IsBatchId(std::string_view text) {
  if (text.size() != 2 * kIdHexDigits + 1) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (i == kIdHexDigits ? c != '-' : !hex) return false;
  }
  return true;
}

std::string EncodeManifest(const BatchManifest& manifest) {
  std::string text = fmt::format(
      "{}\nid {}\ndatabase {}\ntable {}\nschema {}\nheader {}\ncreated {}\nfirst {}\nreason {}\n",
      kFirstLine, manifest.id, Escape(manifest.database), Escape(manifest.table),
      Escape(manifest.schema_hash), Escape(manifest.header_line), manifest.created.value,
      manifest.first_time.value, Name(manifest.reason));
  for (const ManifestSegment& segment : manifest.segments) {
    text += fmt::format("segment {} {} {}\n", Escape(segment.file_name), segment.rows,
                        segment.row_bytes);
  }
  if (!manifest.peer.empty()) text += fmt::format("peer {}\n", Escape(manifest.peer));
  for (const ManifestSink& sink : manifest.sinks) {
    text += fmt::format("sink {} {} {} {}\n", Escape(sink.name), Name(sink.state), sink.attempts,
                        Escape(sink.note));
  }
  text += fmt::format("crc32c {:08x}\n", io::Crc32c(text));
  return text;
}

Result<BatchManifest> ParseManifest(std::string_view text) {
  constexpr size_t kChecksumLine = 16;  // "crc32c 01234567\n"
  if (text.size() < kChecksumLine) return Corrupt("too short");
  const std::string_view body = text.substr(0, text.size() - kChecksumLine);
  if (text.substr(body.size()) != fmt::format("crc32c {:08x}\n", io::Crc32c(body))) {
    return Corrupt("checksum does not match");
  }
  if (!body.starts_with(kFirstLine) || body.substr(kFirstLine.size(), 1) != "\n") {
    return Corrupt("unknown version");
  }
  Lines lines(body.substr(kFirstLine.size() + 1));
  BatchManifest manifest;
  FOREBAY_ASSIGN_OR_RETURN(manifest.id, lines.TakeText("id"));
  if (!IsBatchId(manifest.id)) return Corrupt("line 'id' has a wrong form");
  FOREBAY_ASSIGN_OR_RETURN(manifest.database, lines.TakeText("database"));
  FOREBAY_ASSIGN_OR_RETURN(manifest.table, lines.TakeText("table"));
  FOREBAY_ASSIGN_OR_RETURN(manifest.schema_hash, lines.TakeText("schema"));
  FOREBAY_ASSIGN_OR_RETURN(manifest.header_line, lines.TakeText("header"));
  FOREBAY_ASSIGN_OR_RETURN(manifest.created.value, lines.TakeNumber("created"));
  FOREBAY_ASSIGN_OR_RETURN(manifest.first_time.value, lines.TakeNumber("first"));
  FOREBAY_ASSIGN_OR_RETURN(const std::string reason_text, lines.TakeText("reason"));
  const auto reason = ParseReason(reason_text);
  if (!reason) return Corrupt("line 'reason' has a wrong form");
  manifest.reason = *reason;
  while (lines.NextIs("segment")) {
    if (manifest.segments.size() >= kMaxManifestSegments) return Corrupt("too many segments");
    FOREBAY_ASSIGN_OR_RETURN(auto segment, TakeSegment(lines));
    manifest.segments.push_back(std::move(segment));
  }
  if (lines.NextIs("peer")) {
    FOREBAY_ASSIGN_OR_RETURN(manifest.peer, lines.TakeText("peer"));
    if (manifest.peer.empty()) return Corrupt("line 'peer' has a wrong form");
  }
  while (lines.NextIs("sink")) {
    FOREBAY_ASSIGN_OR_RETURN(auto sink, TakeSink(lines));
    manifest.sinks.push_back(std::move(sink));
  }
  if (!lines.done()) return Corrupt("unknown line");
  if (manifest.segments.empty() || manifest.sinks.empty() == manifest.peer.empty()) {
    return Corrupt("no segment, or not either sinks or a peer");
  }
  return manifest;
}

ManifestStore::ManifestStore(io::FileSystem& fs, std::string directory, Quarantine& quarantine,
                             DiskReserve* reserve)
    : fs_(fs), directory_(std::move(directory)), quarantine_(quarantine), reserve_(reserve) {}

std::string ManifestStore::PathOf(std::string_view id) const {
  return io::JoinPath(directory_, std::string(id) + std::string(kSuffix));
}

Result<ManifestStore::Loaded> ManifestStore::Load() {
  FOREBAY_RETURN_IF_ERROR(fs_.CreateDirectories(directory_));
  FOREBAY_ASSIGN_OR_RETURN(auto entries, fs_.List(directory_));
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  Loaded loaded;
  for (const io::DirectoryEntry& entry : entries) {
    const std::string path = io::JoinPath(directory_, entry.name);
    const std::string id = ManifestId(entry.name);
    const bool file = !entry.is_directory && !entry.is_other;
    if (file && IsTemporary(entry.name)) {
      FOREBAY_RETURN_IF_ERROR(fs_.Remove(path));
      continue;
    }
    if (!file || !IsBatchId(id)) {
      LogWarn("what lies in the directory of batches is not a manifest, left alone",
              {{"file", path}});
      continue;
    }
    auto text = io::ReadFile(fs_, path, kMaxManifestBytes);
    if (!text.ok() && text.error().code() != ErrorCode::kOutOfRange) {
      LogError("batch manifest cannot be read; its segments are planned again",
               {{"file", path}, {"error", text.error().ToString()}});
      loaded.damaged.push_back(id);
      continue;
    }
    auto manifest = text.ok() ? ParseManifest(*text) : Result<BatchManifest>(text.error());
    if (manifest.ok() && manifest->id == id) {
      loaded.manifests.push_back(*std::move(manifest));
      continue;
    }
    const std::string reason =
        manifest.ok() ? "batch manifest: id and file name differ" : manifest.error().message();
    LogError("batch manifest is damaged: moved to the quarantine, its segments are planned again",
             {{"file", path}, {"error", reason}});
    loaded.damaged.push_back(id);
    // On a full volume there may be no room for the reason: it stays where it is until it is
    // written anew or the next start.
    if (const Status moved = quarantine_.Move(path, entry.name, reason); !moved.ok()) {
      LogError("damaged batch manifest cannot be moved, left alone",
               {{"file", path}, {"error", moved.error().ToString()}});
    }
  }
  return loaded;
}

Status ManifestStore::Save(const BatchManifest& manifest) {
  const std::string path = PathOf(manifest.id);
  const std::string text = EncodeManifest(manifest);
  if (reserve_ == nullptr) return io::WriteFileDurably(fs_, path, text);
  return reserve_->WriteFileDurably(fs_, path, text);
}

Status ManifestStore::Remove(const std::string& id) {
  Status removed = fs_.Remove(PathOf(id));
  if (!removed.ok() && removed.error().code() != ErrorCode::kNotFound) return removed;
  return fs_.SyncDirectory(directory_);
}

}  // namespace forebay::wal
