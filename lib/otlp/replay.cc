#include "otlp/replay.h"

namespace forebay::otlp {

Status OtlpReplay::Replay(const wal::ReplayedRecord& record, wal::GenerationLease& lease) {
  if (!wal::IsOtlp(record.kind)) return others_.Replay(record, lease);
  WorkerInput input;
  if (!ParseKind(record.kind, input.format)) {
    return Error(ErrorCode::kInvalidArgument, "an OTLP record of a format that is not known");
  }
  input.body = record.body;
  input.tenant = record.tenant;
  input.received = record.received;
  input.generation = lease.sequence();
  input.replay = true;
  input.refused = record.refused;
  input.quota.owner = state_.tenants().QuotaOf(record.tenant, {}).owner;
  FOREBAY_RETURN_IF_ERROR(worker_.Decode(input, staged_));
  staged_.AppendTo(lease, 0);
  return OkStatus();
}

}  // namespace forebay::otlp
