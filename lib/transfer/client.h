// Hands segments to a peer and tells what became of each. One of the seams of the program: the pool
// of transfers is tested with another one.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "config/config.h"
#include "io/file_system.h"
#include "transfer/transfer.h"

namespace forebay::transfer {

// Who gets them.
struct Peer {
  std::string name;
  std::string address;  // host:port
};

// A segment of this node.
struct OutgoingSegment {
  std::string file_name;
  std::string path;
  uint64_t bytes = 0;  // of the file
  uint64_t rows = 0;
  int64_t min_timestamp = 0;  // Unix ms; least above greatest: not known
  int64_t max_timestamp = -1;
};

struct CallResult {
  std::vector<Answer> answers;   // one for each segment, in order
  std::optional<Error> failure;  // of the call; then the peer is not well
  bool leaving = false;  // the peer is well, and takes nothing since it hands over all it has
};

// Threads: any.
class PeerClient {
 public:
  virtual ~PeerClient() = default;
  // Sends the segments, in order. kUnknown for those whose bytes were sent and not answered; those
  // that were never sent whole are kRefused. deadline: at most kMaxCallTime away.
  virtual CallResult Send(const Peer& peer, std::span<const OutgoingSegment> segments,
                          MonotonicTime deadline) = 0;
  // Asks about segments that a call before left open: kDuplicate: the peer has it; kRefused: it has
  // not and will not take it; kUnknown: ask again.
  virtual CallResult Recall(const Peer& peer, std::span<const OutgoingSegment> segments,
                            MonotonicTime deadline) = 0;
  // Ends the calls that run, and refuses new ones.
  virtual void Stop() = 0;
};

struct ClientOptions {
  std::string member;   // this node's name
  std::string release;  // told to peers
  config::TransferTls tls;
};

// Over gRPC. Keeps a connection to each peer it has called. Errors: those of the certificates.
Result<std::unique_ptr<PeerClient>> MakePeerClient(const ClientOptions& options,
                                                   io::FileSystem& fs);

}  // namespace forebay::transfer
