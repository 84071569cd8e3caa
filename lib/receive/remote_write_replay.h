// Recovery's way into the decoders: turns journal records of remote write back into samples by the
// code that live requests take. Place: given to Wal::Open, before any handler exists.
#pragma once

#include "receive/decode_worker.h"
#include "receive/remote_write_state.h"
#include "receive/staged_write.h"
#include "wal/wal.h"

namespace forebay::receive {

// Threads: one at a time (the log's recovery).
class RemoteWriteReplay final : public wal::ReplayHandler {
 public:
  explicit RemoteWriteReplay(RemoteWriteState& state) : state_(state), worker_(state) {}

  // Series that were refused when the record came are left out; times are checked against the
  // record's receive time. Errors: kInvalidArgument: not decodable; kFailedPrecondition: a series
  // that was accepted is refused by the rules or limits of today. Nothing is appended then, and the
  // record goes to quarantine.
  Status Replay(const wal::ReplayedRecord& record, wal::GenerationLease& lease) override;

 private:
  RemoteWriteState& state_;
  DecodeWorker worker_;
  StagedWrite staged_;
};

}  // namespace forebay::receive
