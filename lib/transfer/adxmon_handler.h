// `POST /transfer?filename=F`: segments from adx-mon's collectors and ingestors, with the statuses
// that these understand.
//
// A body is written to a spool file as it comes (inflated when it is gzip), so that its size is not
// memory; then its blocks are checked and journaled in parts of kPartBytes, each known when it
// comes again. Good blocks are kept and damaged ones go to the quarantine: a 400 would make adx-mon
// delete all of them. What was taken is uploaded by this node. Durable: when it answers 202.
//
// | status | when |
// |---|---|
// | 202 | stored; damaged blocks are in the quarantine; an empty segment; one that is dropped |
// | 400 | no or a bad filename, unknown database, broken gzip, not a segment |
// | 409 | stored before |
// | 413 | larger than kMaxTransferBody, or than kMaxSpoolBytes inflated |
// | 423 | another request is storing the same |
// | 429, close | no room (too many at once, memory, disk), or the node drains: the sender uploads
// by itself | | 500, close | an error of this node; the sender tries again | Each answer names this
// node in the header Forebay-Member. Limits: kMaxUploads at once. Source: reference adx-mon,
// ingestor/service.go.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "http/server.h"
#include "io/file_system.h"
#include "metrics/registry.h"
#include "transfer/intake.h"
#include "wal/quarantine.h"

namespace forebay::wal {
class SegmentReader;
}

namespace forebay::transfer {

inline constexpr size_t kMaxUploads = 16;
inline constexpr ByteCount kMaxTransferBody = GiB(1);
inline constexpr uint64_t kMaxSpoolBytes = 2ULL << 30;
inline constexpr size_t kPartBytes = 4U << 20;
inline constexpr uint32_t kSpoolThreads = 2;
inline constexpr const char* kMemberHeader = "Forebay-Member";

class AdxMonHandler final : public http::Handler {
 public:
  struct Options {
    std::string spool;                             // directory; emptied at start
    std::set<std::string, std::less<>> databases;  // configured ones
    std::vector<std::string> drop_prefixes;        // of file names; what has one is not stored
    std::string member;                            // told to senders in Forebay-Member
    std::chrono::milliseconds room_wait{10'000};   // for memory, before 429
  };
  struct Parts {
    io::FileSystem& fs;
    const Clock& clock;
    Intake& intake;
    wal::Quarantine& quarantine;
    // Why nothing can be taken now; empty: it can.
    std::function<std::string()> refusal;
    metrics::Registry& registry;
  };

  AdxMonHandler(Options options, const Parts& parts);
  ~AdxMonHandler() override;

  // Makes the spool directory, removes what a crash left there, starts the threads.
  Status Start();
  // After Server::Stop: ends the threads and what was not answered. Idempotent.
  void Stop();

  // A segment is being stored, so that a refusal now would leave a part of it here.
  bool storing() const { return storing_.load(std::memory_order_relaxed) != 0; }

  std::optional<http::Response> Admit(const http::RequestHead& head) override;
  bool in_pieces() const override { return true; }
  void Piece(http::Exchange& exchange) override { Work(exchange, false); }
  void Handle(http::Exchange& exchange) override { Work(exchange, true); }
  void Abandoned(const http::RequestHead& head) override;
  std::optional<ByteCount> body_limit() const override { return kMaxTransferBody; }

 private:
  struct Upload;

  std::optional<http::Response> CheckName(const http::RequestHead& head, Upload& upload) const;
  void Work(http::Exchange& exchange, bool last);
  static void OnWorked(void* argument);
  void Run();
  Status Append(Upload& upload);
  Status Write(Upload& upload, std::string_view bytes);
  http::Response Store(Upload& upload);
  Result<int> StoreBlocks(Upload& upload, wal::SegmentReader& reader);
  Result<Outcome> Give(const wal::PeerSegment& part, uint32_t number);
  Status Keep(const Upload& upload, uint64_t offset, std::string_view bytes,
              std::string_view reason);
  http::Response AnswerOf(const Error& error) const;
  http::Response Counted(http::Response response);
  void Drop(uint64_t number) EXCLUDES(mutex_);

  const Options options_;
  const Parts parts_;
  std::map<int, metrics::Counter*> codes_;
  metrics::Counter* damaged_;
  metrics::Counter* dropped_;
  std::atomic<uint32_t> storing_{0};
  BoundedQueue<Upload*> queue_;
  Mutex mutex_;
  uint64_t next_ GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, std::unique_ptr<Upload>> uploads_ GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;
};

}  // namespace forebay::transfer
