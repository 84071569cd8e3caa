#include "server/volume_sender.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <random>
#include <string_view>
#include <thread>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"
#include "http/retry.h"
#include "transfer/adxmon_handler.h"
#include "wal/segment_format.h"

namespace forebay::server {
namespace {

constexpr uint64_t kMaxNotesBytes = 1ULL << 28;
constexpr http::RetryPolicy kSendRetry{std::chrono::milliseconds(200), std::chrono::seconds(5)};
constexpr std::chrono::milliseconds kSleepStep{50};
// Of a table that nobody has; nothing is stored of an empty segment.
constexpr std::string_view kProbeTable = "Probe";

bool Taken(int status) { return status == 202 || status == 409; }
// The same request may succeed later.
bool IsPassing(int status) { return status == 423 || status == 429 || status >= 500; }

void Sleep(std::chrono::milliseconds time, const std::stop_token& stop) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!stop.stop_requested() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::min(time, kSleepStep));
  }
}

std::string OneLine(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}

}  // namespace

VolumeSender::VolumeSender(SendOptions options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      notes_path_(io::JoinPath(parts_.directory, kSentNotes)) {}

VolumeSender::~VolumeSender() = default;

// A line that is not whole was never synced, so nothing was sent after it.
Status VolumeSender::ReadNotes() {
  FOREBAY_ASSIGN_OR_RETURN(const bool exists, parts_.fs.Exists(notes_path_));
  if (!exists) {
    FOREBAY_ASSIGN_OR_RETURN(notes_file_, parts_.fs.Open(notes_path_, io::OpenMode::kCreate));
    return parts_.fs.SyncDirectory(parts_.directory);
  }
  FOREBAY_ASSIGN_OR_RETURN(const std::string text,
                           io::ReadFile(parts_.fs, notes_path_, kMaxNotesBytes));
  std::string_view rest = text;
  for (size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    const size_t first = line.find(' ');
    const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (second == std::string_view::npos) continue;
    Note note{std::string(line.substr(0, first)), {}};
    (void)std::from_chars(line.data() + first + 1, line.data() + second, note.at.value);
    notes_.insert_or_assign(std::string(line.substr(second + 1)), std::move(note));
  }
  FOREBAY_ASSIGN_OR_RETURN(notes_file_, parts_.fs.Open(notes_path_, io::OpenMode::kReadWrite));
  return rest.empty() ? OkStatus() : notes_file_->Write("\n");
}

// They are only read: to settle them is for a replay with the configuration.
Status VolumeSender::ReadManifests() {
  const std::string directory = io::DirectoryOf(parts_.manifests.PathOf("x"));
  FOREBAY_ASSIGN_OR_RETURN(const bool exists, parts_.fs.Exists(directory));
  if (!exists) return {};
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, parts_.fs.List(directory));
  for (const io::DirectoryEntry& entry : entries) {
    if (entry.is_directory || entry.is_other || !entry.name.ends_with(".batch")) continue;
    const std::string path = io::JoinPath(directory, entry.name);
    FOREBAY_ASSIGN_OR_RETURN(const std::string text,
                             io::ReadFile(parts_.fs, path, wal::kMaxManifestBytes));
    const auto manifest = wal::ParseManifest(text);
    if (!manifest.ok()) {
      return Error(ErrorCode::kFailedPrecondition,
                   fmt::format("{}: {}: which segments a sink may have is not known; replay the "
                               "volume with the configuration of its node (--config)",
                               path, manifest.error().message()));
    }
    for (const wal::ManifestSegment& segment : manifest->segments) {
      bound_.insert(segment.file_name);
    }
  }
  return {};
}

// Answers that may pass are waited for, as long as the patience lasts.
Result<VolumeSender::Verdict> VolumeSender::Post(const std::string& file_name,
                                                 const std::string& body,
                                                 const std::stop_token& stop) {
  http::ClientRequest request;
  request.method = "POST";
  request.url = fmt::format("{}/transfer?filename={}", options_.to, file_name);
  request.headers = {{"Content-Type", "application/octet-stream"}};
  request.body = body;
  request.stop = stop;
  std::minstd_rand random(std::random_device{}());
  const MonotonicTime until = parts_.clock.Monotonic() + options_.patience;
  for (uint32_t attempt = 0;; ++attempt) {
    const auto response = client_->Do(request);
    std::string trouble;
    if (response.ok()) {
      const std::string member(response->Header(transfer::kMemberHeader).value_or(""));
      if (member.empty() && !IsPassing(response->status)) {
        return Error(ErrorCode::kFailedPrecondition,
                     fmt::format("{} does not say which node it is (answer {}: {}): --to names the "
                                 "ingest port of a Forebay node",
                                 options_.to, response->status, OneLine(response->body)));
      }
      if (!member.empty() && report_.member.empty()) report_.member = member;
      if (!member.empty() && member != report_.member) {
        return Error(ErrorCode::kFailedPrecondition,
                     fmt::format("answers come from {} and from {}: --to must name one node, not a "
                                 "balancer",
                                 report_.member, member));
      }
      if (!IsPassing(response->status)) {
        return Verdict{response->status, OneLine(response->body)};
      }
      trouble = fmt::format("{} {}", response->status, OneLine(response->body));
    } else {
      const ErrorCode code = response.error().code();
      if (code != ErrorCode::kUnavailable && code != ErrorCode::kDeadlineExceeded) {
        return Error(response.error());
      }
      trouble = response.error().message();
    }
    if (stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopped");
    if (parts_.clock.Monotonic() >= until) return Error(ErrorCode::kUnavailable, trouble);
    if (attempt == 0) LogWarn("a segment is not taken now, trying again", {{"error", trouble}});
    Sleep(kSendRetry.Delay(attempt, std::uniform_real_distribution<double>(0, 1)(random)), stop);
  }
}

// Who is there, and does it take this database: asked by a segment without rows.
Status VolumeSender::Probe(const std::string& database, const std::stop_token& stop) {
  if (!probed_.insert(database).second) return {};
  FOREBAY_ASSIGN_OR_RETURN(const std::string name,
                           wal::FormatSegmentName({database, std::string(kProbeTable), "", 1}));
  FOREBAY_ASSIGN_OR_RETURN(const Verdict verdict,
                           Post(name, std::string(wal::kSegmentMagic), stop));
  if (Taken(verdict.status)) return {};
  return Error(ErrorCode::kFailedPrecondition,
               fmt::format("{} does not take database {}: {} {}", options_.to, database,
                           verdict.status, verdict.text));
}

// Why the segment may not be sent; empty: it may.
std::string VolumeSender::Obstacle(const wal::SegmentInfo& segment) const {
  if (bound_.contains(segment.file_name)) {
    return "a batch's manifest names it, so a sink or a peer may have it: settle it by `forebay "
           "wal "
           "replay --config FILE` with the configuration of the volume's node";
  }
  if (segment.file_bytes > kMaxSentSegment) return "it is larger than POST /transfer takes";
  const auto note = notes_.find(segment.file_name);
  if (note == notes_.end() || options_.resend) return {};
  if (note->second.member != report_.member) {
    return fmt::format(
        "{} may have it, to which it was being sent: name that node (--to), or take "
        "the risk of sending it twice (--resend)",
        note->second.member);
  }
  if (parts_.clock.Now().value - note->second.at.value >= options_.window.count()) {
    return fmt::format(
        "it was being sent at {}, longer ago than {} remembers what it has: look "
        "there, then delete it or send it (--resend)",
        FormatRfc3339(note->second.at), note->second.member);
  }
  return {};
}

Status VolumeSender::WriteNote(const std::string& file_name) {
  if (notes_.contains(file_name) && !options_.resend) return {};
  const UnixMillis now = parts_.clock.Now();
  FOREBAY_RETURN_IF_ERROR(
      notes_file_->Write(fmt::format("{} {} {}\n", report_.member, now.value, file_name)));
  return notes_file_->SyncData();
}

void VolumeSender::Leave(const wal::SegmentInfo& segment, const std::string& why) {
  ++report_.left_segments;
  report_.left_rows += segment.rows;
  if (report_.why.size() < kMaxSendReasons) {
    report_.why.push_back(fmt::format("{}: {}", segment.file_name, why));
  }
}

Status VolumeSender::SendOne(const wal::SegmentInfo& segment, const std::stop_token& stop) {
  if (const std::string why = Obstacle(segment); !why.empty()) {
    Leave(segment, why);
    return {};
  }
  FOREBAY_ASSIGN_OR_RETURN(auto lease, parts_.store.Take(segment.file_name));
  FOREBAY_ASSIGN_OR_RETURN(const std::string body,
                           io::ReadFile(parts_.fs, lease.path(), kMaxSentSegment));
  FOREBAY_RETURN_IF_ERROR(WriteNote(segment.file_name));
  FOREBAY_FAILPOINT("orphan.before_send");
  FOREBAY_ASSIGN_OR_RETURN(const Verdict verdict, Post(segment.file_name, body, stop));
  FOREBAY_FAILPOINT("orphan.after_answer");
  if (!Taken(verdict.status)) {
    if (verdict.status == 400 || verdict.status == 413) {
      Leave(segment, fmt::format("{} {}", verdict.status, verdict.text));
      return {};
    }
    return Error(ErrorCode::kPermissionDenied,
                 fmt::format("{}: {} {}", options_.to, verdict.status, verdict.text));
  }
  FOREBAY_RETURN_IF_ERROR(
      parts_.store.DeleteSegments(std::span(&lease, 1), wal::RowFate::kTransferred));
  FOREBAY_FAILPOINT("orphan.after_delete");
  ++report_.segments;
  report_.rows += segment.rows;
  report_.bytes += segment.file_bytes;
  if (verdict.status == 409) ++report_.known;
  return {};
}

Result<SendReport> VolumeSender::Run(const std::stop_token& stop) {
  FOREBAY_ASSIGN_OR_RETURN(client_, http::Client::Create(options_.client));
  FOREBAY_RETURN_IF_ERROR(ReadManifests());
  FOREBAY_RETURN_IF_ERROR(ReadNotes());
  const auto backlog = parts_.store.Backlog();
  for (const wal::TableBacklog& table : backlog) {
    FOREBAY_RETURN_IF_ERROR(Probe(table.segments.front()->name.database, stop));
  }
  MonotonicTime next_line = parts_.clock.Monotonic() + std::chrono::seconds(5);
  bool ended = false;  // the other node is gone, or stop
  std::string end_reason;
  for (const wal::TableBacklog& table : backlog) {
    for (const wal::SegmentPointer& segment : table.segments) {
      if (ended || stop.stop_requested()) {
        Leave(*segment, ended ? end_reason : "stopped");
        continue;
      }
      const Status sent = SendOne(*segment, stop);
      if (!sent.ok()) {
        const ErrorCode code = sent.error().code();
        if (code != ErrorCode::kUnavailable && code != ErrorCode::kCancelled) return sent.error();
        ended = true;
        end_reason = sent.error().message();
        Leave(*segment, end_reason);
      }
      if (parts_.clock.Monotonic() < next_line) continue;
      next_line = parts_.clock.Monotonic() + std::chrono::seconds(5);
      LogInfo("the volume is being sent", {{"to", report_.member},
                                           {"segments", report_.segments},
                                           {"rows", report_.rows},
                                           {"left_segments", parts_.store.Totals().segments}});
    }
  }
  if (parts_.store.Totals().segments == 0) {
    notes_file_.reset();
    FOREBAY_RETURN_IF_ERROR(parts_.fs.Remove(notes_path_));
    FOREBAY_RETURN_IF_ERROR(parts_.fs.SyncDirectory(parts_.directory));
  }
  return report_;
}

}  // namespace forebay::server
