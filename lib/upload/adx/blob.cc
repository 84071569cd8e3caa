#include "upload/adx/blob.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <fstream>
#include <thread>
#include <utility>

#include "base/bounded_queue.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/print.h"
#include "upload/adx/names.h"
#include "upload/gzip.h"

namespace forebay::upload::adx {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kStorageVersion = "2020-10-02";
constexpr std::string_view kLakeVersion = "2020-10-02";
constexpr RetryRule kRequestRule{milliseconds(800), milliseconds(10'000), 4};
constexpr size_t kBlockIdDigits = 18;  // base64 of it has no padding

std::string BlockId(size_t index) { return Base64(fmt::format("{:0{}}", index, kBlockIdDigits)); }

// <container>/<name>?<signature>, with more parameters before the signature.
std::string BlobUrl(std::string_view container, std::string_view name, std::string_view more) {
  const size_t query = std::min(container.find('?'), container.size());
  std::string_view base = container.substr(0, query);
  while (base.ends_with("/")) base.remove_suffix(1);
  std::string_view signature = container.substr(query);
  if (!signature.empty()) signature.remove_prefix(1);
  std::string url = fmt::format("{}/{}", base, name);
  std::string parameters(more);
  if (!parameters.empty() && !signature.empty()) parameters += '&';
  parameters += signature;
  return parameters.empty() ? url : fmt::format("{}?{}", url, parameters);
}

std::string BlobName(const std::string& id, const Source& source) {
  constexpr std::string_view kEnds[] = {"", ".gz", ".zip"};
  return fmt::format("{}_{}{}", id, source.format, kEnds[static_cast<size_t>(source.compression)]);
}

Compression CompressionOfName(std::string_view path) {
  if (path.ends_with(".gz") || path.ends_with(".gzip")) return Compression::kGzip;
  return path.ends_with(".zip") ? Compression::kZip : Compression::kNone;
}

}  // namespace

// Sends what is produced for one blob to one container.
class BlobUploader::Writer {
 public:
  Writer(const BlobUploader& owner, const Container& container, std::string name,
         std::stop_token stop)
      : owner_(owner),
        container_(container),
        name_(std::move(name)),
        stop_(std::move(stop)),
        queue_(1) {}
  ~Writer() { EndThreads(); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  Status Add(std::string_view bytes) {
    bytes_ += bytes.size();
    while (!bytes.empty()) {
      if (block_.capacity() < owner_.options_.block_bytes && !threads_.empty()) {
        block_.reserve(owner_.options_.block_bytes);
      }
      const size_t room = owner_.options_.block_bytes - block_.size();
      block_.append(bytes.substr(0, room));
      bytes.remove_prefix(std::min(room, bytes.size()));
      // The last block stays: it may be the only one.
      if (block_.size() == owner_.options_.block_bytes && !bytes.empty()) {
        FOREBAY_RETURN_IF_ERROR(Send());
      }
    }
    return OkStatus();
  }

  // Everything is at the storage and visible when this is OK.
  Status Finish() {
    if (count_ == 0 && !container_.lake) {
      Call call;
      call.headers = {{"x-ms-blob-type", "BlockBlob"},
                      {"Content-Type", "application/octet-stream"}};
      call.body = block_;
      return Do(call);
    }
    FOREBAY_RETURN_IF_ERROR(Send());
    EndThreads();
    {
      MutexLock lock(mutex_);
      if (error_) return *error_;
    }
    Call call;
    if (container_.lake) {
      call.method = "PATCH";
      call.parameters = fmt::format("action=flush&position={}", bytes_);
      return Do(call);
    }
    std::string list = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>";
    // Latest: when the answer to a first try was lost, its blocks are committed ones by now.
    for (size_t i = 0; i < count_; ++i) list += fmt::format("<Latest>{}</Latest>", BlockId(i));
    list += "</BlockList>";
    call.parameters = "comp=blocklist";
    call.headers = {{"Content-Type", "application/xml"},
                    {"x-ms-blob-content-type", "application/octet-stream"}};
    call.body = list;
    return Do(call);
  }

  uint64_t bytes() const { return bytes_; }
  // The container is to blame, not the request or the source.
  bool refused() const { return refused_.load(); }

 private:
  struct Call {
    std::string method = "PUT";
    std::string parameters;
    http::HeaderList headers;
    std::string_view body;
  };
  struct Block {
    size_t index = 0;
    uint64_t offset = 0;
    std::string bytes;
  };

  Status Send() {
    if (block_.empty()) return OkStatus();
    if (count_ == kMaxBlocks) {
      return Error(ErrorCode::kOutOfRange, "a blob of more blocks than the storage takes");
    }
    if (count_ == 0) FOREBAY_RETURN_IF_ERROR(Begin());
    Block block{count_++, sent_, std::exchange(block_, {})};
    sent_ += block.bytes.size();
    while (true) {
      {
        MutexLock lock(mutex_);
        if (error_) return *error_;
      }
      if (stop_.stop_requested()) {
        return Error(ErrorCode::kCancelled, "stopping").WithRetryable(true);
      }
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
      // Untouched where it was not taken.  NOLINTNEXTLINE(bugprone-use-after-move)
      if (queue_.PushUntil(std::move(block), deadline)) return OkStatus();
    }
  }

  Status Begin() {
    if (container_.lake) {
      Call call;
      call.parameters = "resource=file";
      FOREBAY_RETURN_IF_ERROR(Do(call));
    }
    // Appends of a lake may come in any order too: they have their position.
    for (size_t i = 0; i < std::max<size_t>(owner_.options_.parallel_blocks, 1); ++i) {
      threads_.push_back(
          StartThread(fmt::format("adx-block-{}", i), [this](const std::stop_token&) { Run(); }));
    }
    return OkStatus();
  }

  void Run() {
    while (auto block = queue_.Pop()) {
      {
        MutexLock lock(mutex_);
        if (error_) continue;  // Emptied, so that nobody waits.
      }
      Call call;
      if (container_.lake) {
        call.method = "PATCH";
        call.parameters = fmt::format("action=append&position={}", block->offset);
      } else {
        call.parameters =
            fmt::format("comp=block&blockid={}", EncodeSegment(BlockId(block->index)));
      }
      call.headers = {{"Content-Type", "application/octet-stream"}};
      call.body = block->bytes;
      const Status sent = Do(call);
      if (sent.ok()) continue;
      MutexLock lock(mutex_);
      if (!error_) error_ = sent.error();
    }
  }

  void EndThreads() {
    queue_.Close();
    threads_.clear();
  }

  Status Do(const Call& call) {
    std::string token;
    bool renewed = false;
    for (int failed = 1;; ++failed) {
      http::ClientRequest request;
      request.method = call.method;
      request.url = BlobUrl(container_.url, name_, call.parameters);
      request.headers = call.headers;
      request.headers.emplace_back("x-ms-version",
                                   std::string(container_.lake ? kLakeVersion : kStorageVersion));
      request.headers.emplace_back("x-ms-client-request-id", NewUuid());
      if (container_.lake && owner_.storage_tokens_ &&
          container_.url.find("sig=") == std::string::npos) {
        FOREBAY_ASSIGN_OR_RETURN(token, owner_.storage_tokens_(renewed ? token : "", stop_));
        request.headers.emplace_back("Authorization", "Bearer " + token);
      }
      request.body = {call.body.data(), call.body.size()};
      request.stop = stop_;
      const auto response = owner_.network_.send(request);
      if (response.ok() && response->status / 100 == 2) return OkStatus();
      const Fault fault = response.ok() ? FaultOf(*response, owner_.network_.clock.Now())
                                        : FaultOf(response.error());
      const std::string context = fmt::format("{} {}", call.method, WithoutQuery(request.url));
      if (fault.status == 0 && fault.transport == ErrorCode::kCancelled) {
        return fault.ToError(context);
      }
      if (fault.status == 401 && !token.empty() && !std::exchange(renewed, true)) continue;
      if (!fault.Transient()) {
        // Expired or foreign signatures, containers that are gone, names that are taken: elsewhere
        // it may work. 400 would be the same there.
        refused_ = fault.status != 400 && fault.status != 413;
        const auto reason =
            response.ok() ? response->Header("x-ms-error-code") : std::optional<std::string_view>();
        // Never the rows' fault, so never for the dead letters.
        return fault.ToError(reason ? fmt::format("{} ({})", context, *reason) : context)
            .WithRetryable(true);
      }
      if (failed >= kRequestRule.tries) {
        refused_ = true;
        return fault.ToError(context);
      }
      FOREBAY_RETURN_IF_ERROR(owner_.network_.wait(
          kRequestRule.Delay(failed, owner_.network_.random(), fault.retry_after), stop_));
    }
  }

  const BlobUploader& owner_;
  const Container& container_;
  const std::string name_;
  const std::stop_token stop_;
  std::string block_;   // being filled
  size_t count_ = 0;    // blocks given to the threads
  uint64_t sent_ = 0;   // their bytes
  uint64_t bytes_ = 0;  // all that was added
  std::atomic<bool> refused_{false};
  BoundedQueue<Block> queue_;
  Mutex mutex_;
  std::optional<Error> error_ GUARDED_BY(mutex_);  // the first of a block
  std::vector<std::jthread> threads_;
};

BlobUploader::BlobUploader(ConfigurationCache& configuration, TokenFunction storage_tokens,
                           const Network& network, BlobOptions options)
    : configuration_(configuration),
      storage_tokens_(std::move(storage_tokens)),
      network_(network),
      options_(options) {}

BlobUploader::Outcome BlobUploader::Try(const Source& source, const Container& container,
                                        const std::stop_token& stop) {
  Outcome outcome;
  outcome.blob.source_id = NewUuid();
  const std::string name = BlobName(outcome.blob.source_id, source);
  Writer writer(*this, container, name, stop);
  Status status = source.produce([&](std::string_view bytes) { return writer.Add(bytes); });
  if (status.ok() && writer.bytes() == 0) {
    status = Error(ErrorCode::kInvalidArgument, "there is nothing to upload");
  }
  if (status.ok()) status = writer.Finish();
  if (!status.ok()) {
    outcome.end = writer.refused() ? End::kNextContainer : End::kFailed;
    outcome.error = status.error();
    return outcome;
  }
  outcome.end = End::kDone;
  outcome.blob.url = BlobUrl(container.url, name, "");
  outcome.blob.raw_size = source.raw_size();
  outcome.blob.stored_bytes = writer.bytes();
  return outcome;
}

Result<Blob> BlobUploader::Upload(const Source& source, const std::stop_token& stop) {
  std::optional<Error> error;
  FOREBAY_ASSIGN_OR_RETURN(std::vector<Container> containers, configuration_.Containers(stop));
  std::string last;
  for (int tried = 0; tried < kMaxContainersTried; ++tried) {
    // The next one in turn; with a single one, that one again with what was fetched anew.
    const Container container = containers[static_cast<size_t>(tried) % containers.size()];
    Outcome outcome = Try(source, container, stop);
    if (outcome.end == End::kDone) return std::move(outcome.blob);
    error = std::move(outcome.error);
    if (outcome.end == End::kFailed) break;
    LogWarn("container refused a blob, the next one is tried",
            {{"container", WithoutQuery(container.url)}, {"error", error->ToString()}});
    if (tried == 0) {
      // Once: signatures may have been renewed.
      configuration_.Invalidate();
      if (auto renewed = configuration_.Containers(stop); renewed.ok()) {
        const std::string refused = WithoutQuery(container.url);
        containers = *std::move(renewed);
        std::stable_partition(containers.begin(), containers.end(),
                              [&](const Container& c) { return WithoutQuery(c.url) == refused; });
      }
    }
  }
  return *error;
}

Result<Source> FileSource(const std::string& path, std::string format,
                          std::optional<uint64_t> raw_size) {
  std::ifstream opened(path, std::ios::binary | std::ios::ate);
  if (!opened) return Error(ErrorCode::kNotFound, fmt::format("{} cannot be read", path));
  const auto bytes = static_cast<uint64_t>(opened.tellg());
  char magic[2] = {};
  opened.seekg(0);
  opened.read(magic, sizeof magic);
  Source source;
  source.compression = CompressionOfName(path);
  const bool is_gzip = std::string_view(magic, sizeof magic) == "\x1f\x8b";
  if (is_gzip != (source.compression == Compression::kGzip)) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{}: its name says {}gzip, its bytes say otherwise", path,
                             is_gzip ? "not " : ""));
  }
  if (source.compression != Compression::kNone && !raw_size) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{}: the size before compression must be given", path));
  }
  source.produce = [path](const Consumer& consumer) -> Status {
    std::ifstream file(path, std::ios::binary);
    std::string piece(256 << 10, '\0');
    while (file) {
      file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
      const auto got = static_cast<size_t>(file.gcount());
      if (got > 0) FOREBAY_RETURN_IF_ERROR(consumer(std::string_view(piece).substr(0, got)));
    }
    if (!file.eof()) return Error(ErrorCode::kIo, fmt::format("{} cannot be read", path));
    return OkStatus();
  };
  source.raw_size = [size = raw_size.value_or(bytes)] { return size; };
  source.format = std::move(format);
  return source;
}

Source TextSource(std::string bytes, std::string format) {
  Source source;
  source.raw_size = [size = bytes.size()] { return size; };
  source.produce = [text = std::move(bytes)](const Consumer& consumer) {
    return text.empty() ? OkStatus() : consumer(text);
  };
  source.format = std::move(format);
  source.compression = Compression::kNone;
  return source;
}

Source Compressed(Source source, int level) {
  for (const char* packed : {"avro", "apacheavro", "parquet", "orc"}) {
    if (source.format == packed) return source;
  }
  if (source.compression != Compression::kNone) return source;
  source.compression = Compression::kGzip;
  const auto raw = std::make_shared<uint64_t>(0);
  source.raw_size = [raw] { return *raw; };
  source.produce = [raw, level, produce = std::move(source.produce)](const Consumer& consumer) {
    GzipWriter gzip(level, consumer);
    *raw = 0;
    Status status = produce([&](std::string_view bytes) {
      *raw += bytes.size();
      return gzip.Write(bytes);
    });
    // Nothing stays nothing, which is refused before it is sent.
    return status.ok() && *raw > 0 ? gzip.Finish() : status;
  };
  return source;
}

}  // namespace forebay::upload::adx
