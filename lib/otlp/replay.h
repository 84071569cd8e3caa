// Recovery's way into the decoders: OTLP records of a journal to what they stored, by the code that
// live requests take. Place: around the replay of remote write, given to Wal::Open.
#pragma once

#include "otlp/worker.h"
#include "receive/staged_write.h"
#include "wal/wal.h"

namespace forebay::otlp {

// Threads: one at a time (the log's recovery).
class OtlpReplay final : public wal::ReplayHandler {
 public:
  // others: gets the records that are not OTLP; outlives this.
  OtlpReplay(receive::RemoteWriteState& state, wal::ReplayHandler& others)
      : state_(state), others_(others), worker_(state) {}

  // Errors: kInvalidArgument: not decodable, or of a format that this release does not know;
  // kFailedPrecondition: a record that was accepted is refused by the rules of today. Nothing is
  // appended then, and the record goes to quarantine.
  Status Replay(const wal::ReplayedRecord& record, wal::GenerationLease& lease) override;

 private:
  receive::RemoteWriteState& state_;
  wal::ReplayHandler& others_;
  Worker worker_;
  receive::StagedWrite staged_;
};

}  // namespace forebay::otlp
