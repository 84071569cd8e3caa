#include "receive/remote_write_replay.h"

namespace forebay::receive {

Status RemoteWriteReplay::Replay(const wal::ReplayedRecord& record, wal::GenerationLease& lease) {
  DecodeInput input;
  input.kind = record.kind;
  input.body = record.body;
  input.tenant = record.tenant;
  input.received = record.received;
  input.generation = lease.sequence();
  input.replay = true;
  input.refused = record.refused;
  // Series stay with their tenant; nothing that was accepted is refused.
  input.quota.owner = state_.tenants().QuotaOf(record.tenant, {}).owner;
  FOREBAY_RETURN_IF_ERROR(worker_.Decode(input, staged_));
  staged_.AppendTo(lease, 0);
  return OkStatus();
}

}  // namespace forebay::receive
