#include "transfer/adxmon_handler.h"

#include <fmt/core.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"
#include "base/thread.h"
#include "wal/segment_reader.h"

namespace forebay::transfer {
namespace {

using http::Response;

// Who sent it cannot be known from the request: balancers stand between.
constexpr std::string_view kOrigin = "adx-mon";
constexpr size_t kInflateBytes = 256U << 10;
constexpr int kGzipWindow = 15 + 16;  // a gzip header is expected
constexpr std::chrono::milliseconds kRoomStep{50};
constexpr const char* kRetryAfter = "5";  // seconds, of a node that takes nothing now
constexpr std::array kCodes = {202, 400, 409, 413, 423, 429, 500};

Response Closing(int status, std::string text) {
  Response response = Response::Text(status, std::move(text));
  response.close = true;
  return response;
}

// Errors of Store and Append, by the status that the sender gets.
Error Refuse(ErrorCode code, std::string message) { return Error(code, std::move(message)); }

}  // namespace

struct AdxMonHandler::Upload {
  ~Upload() {
    if (inflating) inflateEnd(&stream);
  }
  AdxMonHandler* handler = nullptr;
  uint64_t number = 0;
  std::string file_name;
  wal::SegmentName name;
  std::string path;  // of the spool file
  std::unique_ptr<io::File> file;
  uint64_t bytes = 0;  // in it
  bool gzip = false;
  bool dropped = false;    // its name begins with one of drop_prefixes
  bool inflating = false;  // stream is set up
  bool ended = false;      // the gzip member is complete
  z_stream stream{};
  // Of the piece that is being worked on.
  http::Exchange* exchange = nullptr;
  bool last = false;
  std::optional<Response> response;
};

AdxMonHandler::AdxMonHandler(Options options, const Parts& parts)
    : options_(std::move(options)), parts_(parts), queue_(kMaxUploads) {
  for (const int code : kCodes) {
    codes_[code] = parts_.registry.AddCounter("forebay_transfer_http_requests_total",
                                              "Requests of POST /transfer, by status.",
                                              {{"code", std::to_string(code)}});
  }
  damaged_ = parts_.registry.AddCounter(
      "forebay_transfer_http_damaged_total",
      "Damaged parts of segments of POST /transfer; they are in the quarantine.");
  dropped_ = parts_.registry.AddCounter(
      "forebay_transfer_http_dropped_total",
      "Segments of POST /transfer that were taken and not stored: cluster.transfer.drop_prefixes.");
}

AdxMonHandler::~AdxMonHandler() { Stop(); }

Status AdxMonHandler::Start() {
  FOREBAY_RETURN_IF_ERROR(parts_.fs.CreateDirectories(options_.spool));
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, parts_.fs.List(options_.spool));
  for (const io::DirectoryEntry& entry : entries) {
    if (entry.is_directory || entry.is_other) continue;
    FOREBAY_RETURN_IF_ERROR(parts_.fs.Remove(io::JoinPath(options_.spool, entry.name)));
  }
  for (uint32_t i = 0; i < kSpoolThreads; ++i) {
    threads_.push_back(
        StartThread(fmt::format("spool-{}", i), [this](const std::stop_token&) { Run(); }));
  }
  return {};
}

void AdxMonHandler::Stop() {
  queue_.Close();
  threads_.clear();
  std::vector<uint64_t> left;
  {
    MutexLock lock(mutex_);
    for (const auto& [number, upload] : uploads_) left.push_back(number);
  }
  for (const uint64_t number : left) Drop(number);
}

Response AdxMonHandler::Counted(Response response) {
  const auto counter = codes_.find(response.status);
  if (counter != codes_.end()) counter->second->Increment();
  response.headers.emplace_back(kMemberHeader, options_.member);
  return response;
}

// Sets file name, name and coding of the upload; the answer when they cannot be.
std::optional<Response> AdxMonHandler::CheckName(const http::RequestHead& head,
                                                 Upload& upload) const {
  const auto name = head.QueryParameter("filename");
  if (!name || name->empty()) return Response::Text(400, "missing filename");
  auto parsed = wal::ParseSegmentName(*name);
  if (!parsed.ok()) return Response::Text(400, "filename: " + parsed.error().message());
  upload.dropped = std::any_of(options_.drop_prefixes.begin(), options_.drop_prefixes.end(),
                               [&](const auto& prefix) { return name->starts_with(prefix); });
  if (!upload.dropped && !options_.databases.contains(parsed->database)) {
    return Response::Text(400, fmt::format("database {} is not configured", parsed->database));
  }
  const std::string_view coding = head.Header("Content-Encoding").value_or("identity");
  upload.gzip = http::EqualsIgnoreCase(coding, "gzip");
  if (!upload.gzip && !http::EqualsIgnoreCase(coding, "identity")) {
    return Response::Text(400, "Content-Encoding must be gzip or identity");
  }
  upload.file_name = *name;
  upload.name = *std::move(parsed);
  return std::nullopt;
}

std::optional<Response> AdxMonHandler::Admit(const http::RequestHead& head) {
  auto upload = std::make_unique<Upload>();
  if (auto refusal = CheckName(head, *upload)) return Counted(*std::move(refusal));
  if (const std::string reason = parts_.refusal(); !reason.empty()) {
    Response refused = Closing(429, reason);
    refused.headers.emplace_back("Retry-After", kRetryAfter);
    return Counted(std::move(refused));
  }
  MutexLock lock(mutex_);
  if (uploads_.size() >= kMaxUploads) {
    return Counted(Closing(429, "too many segments are being received"));
  }
  upload->handler = this;
  upload->number = next_++;
  upload->path = io::JoinPath(options_.spool, fmt::format("{}.spool", upload->number));
  head.set_admission(upload->number);
  uploads_.emplace(upload->number, std::move(upload));
  return std::nullopt;
}

void AdxMonHandler::Drop(uint64_t number) {
  std::unique_ptr<Upload> upload;
  {
    MutexLock lock(mutex_);
    const auto found = uploads_.find(number);
    if (found == uploads_.end()) return;
    upload = std::move(found->second);
    uploads_.erase(found);
  }
  if (upload->file == nullptr) return;
  upload->file.reset();
  const Status removed = parts_.fs.Remove(upload->path);
  if (!removed.ok()) {
    LogWarn("a spool file stays until the next start", {{"error", removed.error().ToString()}});
  }
}

// Between two pieces no thread works on it.
void AdxMonHandler::Abandoned(const http::RequestHead& head) { Drop(head.admission()); }

void AdxMonHandler::Work(http::Exchange& exchange, bool last) {
  Upload* upload = nullptr;
  {
    MutexLock lock(mutex_);
    const auto found = uploads_.find(exchange.head().admission());
    if (found != uploads_.end()) upload = found->second.get();
  }
  if (upload == nullptr) return exchange.Respond(Counted(Closing(500, "the node has stopped")));
  upload->exchange = &exchange;
  upload->last = last;
  // There is room for one entry of each upload; false: stopped.
  // NOLINTNEXTLINE(performance-move-const-arg): the queue takes rvalues only.
  if (queue_.TryPush(std::move(upload))) return;
  Drop(exchange.head().admission());
  exchange.Respond(Counted(Closing(500, "the node is stopping")));
}

void AdxMonHandler::Run() {
  while (auto upload = queue_.Pop()) {
    Upload& work = **upload;
    const Status appended = Append(work);
    if (!appended.ok()) {
      work.response = AnswerOf(appended.error());
    } else if (work.last) {
      work.response = Store(work);
    }
    work.exchange->Resume(&OnWorked, &work);
  }
}

// On the exchange's io thread.
void AdxMonHandler::OnWorked(void* argument) {
  auto* upload = static_cast<Upload*>(argument);
  http::Exchange& exchange = *upload->exchange;
  if (!upload->response) return exchange.ReadOn();
  Response response = upload->handler->Counted(*std::move(upload->response));
  upload->handler->Drop(upload->number);
  exchange.Respond(std::move(response));
}

Response AdxMonHandler::AnswerOf(const Error& error) const {
  switch (error.code()) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kCorruption:
      return Response::Text(400, error.message());
    case ErrorCode::kOutOfRange:
      return Closing(413, error.message());
    case ErrorCode::kAborted:
      return Response::Text(423, error.message());
    case ErrorCode::kUnavailable:
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kNoSpace:
      return Closing(429, error.message());
    default:
      LogError("a segment of POST /transfer could not be stored", {{"error", error.ToString()}});
      return Closing(500, error.message());
  }
}

Status AdxMonHandler::Write(Upload& upload, std::string_view bytes) {
  upload.bytes += bytes.size();
  if (upload.bytes > kMaxSpoolBytes) {
    return Refuse(ErrorCode::kOutOfRange,
                  fmt::format("a segment of more than {} bytes", kMaxSpoolBytes));
  }
  return upload.file->Write(bytes);
}

// Puts the piece into the spool file.
Status AdxMonHandler::Append(Upload& upload) {
  if (upload.dropped) return {};
  if (upload.file == nullptr) {
    FOREBAY_ASSIGN_OR_RETURN(upload.file,
                             parts_.fs.Open(upload.path, io::OpenMode::kCreateOrTruncate));
  }
  const std::span<const char> piece = upload.exchange->body();
  if (!upload.gzip) return Write(upload, {piece.data(), piece.size()});
  if (!upload.inflating) {
    if (inflateInit2(&upload.stream, kGzipWindow) != Z_OK) {
      return Refuse(ErrorCode::kResourceExhausted, "no memory to inflate");
    }
    upload.inflating = true;
  }
  z_stream& stream = upload.stream;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
  stream.avail_in = static_cast<uInt>(piece.size());
  std::string out(kInflateBytes, '\0');
  while (stream.avail_in > 0) {
    // Members may follow each other.
    if (upload.ended && inflateReset(&stream) != Z_OK) break;
    upload.ended = false;
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int result = inflate(&stream, Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END) {
      return Refuse(ErrorCode::kInvalidArgument, "the body is no gzip");
    }
    upload.ended = result == Z_STREAM_END;
    FOREBAY_RETURN_IF_ERROR(
        Write(upload, std::string_view(out).substr(0, out.size() - stream.avail_out)));
  }
  // What is left in the inflater comes out with full buffers only.
  while (!upload.ended && stream.avail_out == 0 && upload.bytes > 0) {
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int result = inflate(&stream, Z_NO_FLUSH);
    if (result == Z_BUF_ERROR) break;
    if (result != Z_OK && result != Z_STREAM_END) {
      return Refuse(ErrorCode::kInvalidArgument, "the body is no gzip");
    }
    upload.ended = result == Z_STREAM_END;
    FOREBAY_RETURN_IF_ERROR(
        Write(upload, std::string_view(out).substr(0, out.size() - stream.avail_out)));
  }
  return {};
}

Response AdxMonHandler::Store(Upload& upload) {
  if (upload.dropped) {
    dropped_->Increment();
    return Response::Empty(202);
  }
  if (upload.gzip && !upload.ended) return Response::Text(400, "the gzip body is cut off");
  std::array<char, wal::kSegmentMagicChecked> magic{};
  const auto read = [&]() -> Result<int> {
    FOREBAY_RETURN_IF_ERROR(upload.file->Close());
    FOREBAY_ASSIGN_OR_RETURN(upload.file, parts_.fs.Open(upload.path, io::OpenMode::kRead));
    FOREBAY_ASSIGN_OR_RETURN(const size_t got, upload.file->ReadAt(0, magic));
    const std::string_view begin(magic.data(), got);
    if (upload.bytes < wal::kSegmentMagic.size() ||
        begin != wal::kSegmentMagic.substr(0, wal::kSegmentMagicChecked)) {
      return Refuse(ErrorCode::kCorruption, "the body is not a segment");
    }
    FOREBAY_ASSIGN_OR_RETURN(const auto reader,
                             wal::SegmentReader::Open(parts_.fs, upload.path, {.decode = false}));
    return StoreBlocks(upload, *reader);
  };
  storing_.fetch_add(1, std::memory_order_relaxed);
  const Result<int> stored = read();
  storing_.fetch_sub(1, std::memory_order_relaxed);
  return stored.ok() ? Response::Empty(*stored) : AnswerOf(stored.error());
}

// Returns the status.
Result<int> AdxMonHandler::StoreBlocks(Upload& upload, wal::SegmentReader& reader) {
  wal::PeerSegment part;
  part.origin = kOrigin;
  part.name = upload.name;
  uint32_t number = 0;
  uint32_t known = 0;  // parts that were here before
  const auto begin = [&] { part.bytes.assign(wal::kSegmentMagic); };
  const auto give = [&]() -> Status {
    if (part.bytes.size() == wal::kSegmentMagic.size()) return {};
    FOREBAY_ASSIGN_OR_RETURN(const Outcome outcome, Give(part, number++));
    if (outcome == Outcome::kDuplicate) ++known;
    begin();
    return {};
  };
  begin();
  size_t kept = 0;  // damaged ranges
  while (true) {
    FOREBAY_ASSIGN_OR_RETURN(const auto block, reader.Next());
    for (; kept < reader.damage().size(); ++kept) {
      const wal::DamagedRange& range = reader.damage()[kept];
      std::string bytes(std::min<uint64_t>(range.length, wal::kMaxQuarantineItem), '\0');
      FOREBAY_ASSIGN_OR_RETURN(const size_t got, upload.file->ReadAt(range.offset, bytes));
      bytes.resize(got);
      FOREBAY_RETURN_IF_ERROR(Keep(upload, range.offset, bytes, wal::Name(range.reason)));
    }
    if (!block) break;
    const std::string_view frame(block->frame.data(), block->frame.size());
    if (block->header.version > wal::kBlockVersionSeries) {
      FOREBAY_RETURN_IF_ERROR(Keep(upload, block->offset, frame, "unknown block version"));
      continue;
    }
    if (part.bytes.size() + frame.size() > std::max(kPartBytes, frame.size())) {
      FOREBAY_RETURN_IF_ERROR(give());
    }
    part.bytes += frame;
  }
  FOREBAY_RETURN_IF_ERROR(give());
  return number > 0 && known == number ? 409 : 202;
}

// Waits for room. Errors: kUnavailable: none came; kAborted: another request brings the same.
Result<Outcome> AdxMonHandler::Give(const wal::PeerSegment& part, uint32_t number) {
  const auto until = std::chrono::steady_clock::now() + options_.room_wait;
  std::string reason = "cluster.transfer.max_in_flight is spent";
  while (true) {
    Intake::Room room = parts_.intake.Reserve(kOrigin, part.bytes.size());
    if (room) {
      const Answer answer =
          parts_.intake.Settle(parts_.intake.Begin(part, {{}, number}, std::move(room)));
      switch (answer.outcome) {
        case Outcome::kAccepted:
        case Outcome::kDuplicate:
          return answer.outcome;
        case Outcome::kUnknown:
          return Refuse(ErrorCode::kAborted, answer.reason);
        case Outcome::kInvalid:
          return Refuse(ErrorCode::kInvalidArgument, answer.reason);
        case Outcome::kRefused:
          reason = answer.reason;
          break;
      }
    }
    if (std::chrono::steady_clock::now() >= until) {
      return Refuse(ErrorCode::kUnavailable, std::move(reason));
    }
    std::this_thread::sleep_for(kRoomStep);
  }
}

Status AdxMonHandler::Keep(const Upload& upload, uint64_t offset, std::string_view bytes,
                           std::string_view reason) {
  const auto kept = parts_.quarantine.Keep(fmt::format("transfer-{}.{}", upload.file_name, offset),
                                           bytes, fmt::format("{}: {}", upload.file_name, reason));
  if (!kept.ok() && kept.error().code() != ErrorCode::kResourceExhausted) return kept.error();
  damaged_->Increment();
  LogWarn("a received segment is damaged; its good blocks are stored",
          {{"segment", upload.file_name},
           {"offset", offset},
           {"bytes", bytes.size()},
           {"reason", reason},
           {"kept", kept.ok()}});
  return {};
}

}  // namespace forebay::transfer
