// Sends the segments of a volume that its node left to another node's POST /transfer, each once.
//
// Each is noted durably (<storage.dir>/sent-to: member, time, file name) before it is sent, and
// deleted after the answer: a run that was killed is continued by the next, and the other node
// knows what it has by its ledger. So that this holds, the notes bind a segment to the member that
// may have it, and to the time for which that one remembers. What a batch's manifest names is not
// sent: a sink or a peer may have it, which only a replay with the configuration can settle.
// Limits: a segment is read into memory, at most kMaxSentSegment; one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "http/client.h"
#include "io/file_system.h"
#include "wal/batch_manifest.h"
#include "wal/segment_store.h"

namespace forebay::server {

inline constexpr uint64_t kMaxSentSegment = 1ULL << 30;
inline constexpr size_t kMaxSendReasons = 32;
inline constexpr const char* kSentNotes = "sent-to";

struct SendOptions {
  std::string to;  // http://host:port of one node
  http::ClientOptions client;
  std::chrono::milliseconds seal_timeout = std::chrono::minutes(10);
  std::chrono::milliseconds patience =
      std::chrono::minutes(1);                               // without an answer that it is taken
  std::chrono::milliseconds window = std::chrono::hours(3);  // the other node's ledger
  bool resend = false;  // also what the other node may have forgotten that it has
};

struct SendReport {
  std::string member;  // that got them
  uint64_t segments = 0;
  uint64_t rows = 0;
  uint64_t bytes = 0;
  uint64_t known = 0;  // of the segments: it had them before
  uint64_t left_segments = 0;
  uint64_t left_rows = 0;
  std::vector<std::string> why;  // those are left
};

class VolumeSender {
 public:
  struct Parts {
    io::FileSystem& fs;
    const Clock& clock;
    wal::SegmentStore& store;
    const wal::ManifestStore& manifests;
    std::string directory;  // storage.dir
  };

  VolumeSender(SendOptions options, Parts parts);
  ~VolumeSender();

  // Sends all that may be sent; stop ends it after the segment that is on its way. Errors: those of
  // reading the volume, and of a node that cannot be the one that is meant: kNotFound,
  // kPermissionDenied, kFailedPrecondition.
  Result<SendReport> Run(const std::stop_token& stop);

 private:
  struct Note {
    std::string member;
    UnixMillis at;
  };
  struct Verdict {
    int status = 0;
    std::string text;
  };

  Status ReadNotes();
  Status ReadManifests();
  Status Probe(const std::string& database, const std::stop_token& stop);
  Result<Verdict> Post(const std::string& file_name, const std::string& body,
                       const std::stop_token& stop);
  std::string Obstacle(const wal::SegmentInfo& segment) const;
  Status WriteNote(const std::string& file_name);
  Status SendOne(const wal::SegmentInfo& segment, const std::stop_token& stop);
  void Leave(const wal::SegmentInfo& segment, const std::string& why);

  const SendOptions options_;
  const Parts parts_;
  const std::string notes_path_;
  std::unique_ptr<http::Client> client_;
  std::unique_ptr<io::File> notes_file_;
  std::map<std::string, Note> notes_;  // by file name; the last of each
  std::set<std::string> bound_;        // named by manifests
  std::set<std::string> probed_;       // databases
  SendReport report_;
};

}  // namespace forebay::server
