#include "transfer/intake.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/failpoint.h"
#include "base/log.h"

namespace forebay::transfer {
namespace {

// One peer may hold this part of the room, so that others find some.
constexpr uint64_t kRoomPartOfOnePeer = 2;
// Calls that could still bring a withdrawn segment have ended by then.
constexpr auto kWithdrawnFor = 2 * kMaxCallTime;

wal::RequestIdentity IdentityOf(const SegmentKey& key) {
  std::string text = fmt::format("{} {} {} {}", key.origin, key.file_name, key.bytes, key.rows);
  if (key.part) text += fmt::format(" {}", *key.part);
  wal::RequestParts parts;
  parts.domain = "peer_segment";
  parts.tenant = text;
  parts.kind = static_cast<uint8_t>(wal::RecordKind::kPeerSegment);
  parts.body = key.content;
  return wal::IdentityOf(parts);
}

uint32_t Saturated(uint64_t count) {
  return static_cast<uint32_t>(std::min<uint64_t>(count, UINT32_MAX));
}

}  // namespace

class Intake::Offer {
 public:
  Offer(Intake& owner, wal::PeerSegment offered) : intake(owner), segment(std::move(offered)) {}

  Intake& intake;
  // These are the journal thread's from Commit until there is an answer.
  wal::PeerSegment segment;
  Room room;
  std::string description;
  wal::PendingRecord record;
  wal::GenerationLease lease;

  mutable Mutex mutex;
  CondVar changed;
  std::optional<Answer> answer GUARDED_BY(mutex);
};

void Intake::OfferDeleter::operator()(Offer* offer) const { delete offer; }

Intake::Room::Room(Room&& other) noexcept
    : intake_(std::exchange(other.intake_, nullptr)),
      origin_(std::move(other.origin_)),
      bytes_(other.bytes_) {}

Intake::Room& Intake::Room::operator=(Room&& other) noexcept {
  std::swap(intake_, other.intake_);
  std::swap(origin_, other.origin_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Intake::Room::~Room() {
  if (intake_ != nullptr) intake_->GiveBack(origin_, bytes_);
}

Intake::Intake(Options options, const Parts& parts) : options_(std::move(options)), parts_(parts) {
  metrics::Registry& registry = parts_.registry;
  for (const Outcome outcome : {Outcome::kAccepted, Outcome::kDuplicate, Outcome::kRefused,
                                Outcome::kInvalid, Outcome::kUnknown}) {
    outcomes_[outcome] = registry.AddCounter("forebay_transfer_received_segments_total",
                                             "Segments that peers offered, by answer.",
                                             {{"outcome", std::string(NameOf(outcome))}});
  }
  rows_ = registry.AddCounter("forebay_transfer_received_rows_total",
                              "Rows of the segments that were accepted from peers.");
  bytes_ = registry.AddCounter("forebay_transfer_received_bytes_total",
                               "Bytes of the segments that were accepted from peers.");
  in_flight_metric_ = registry.AddCallback(
      "forebay_transfer_receiving_bytes", "Bytes of segments that are being received or journaled.",
      metrics::MetricType::kGauge, [this] {
        MutexLock lock(mutex_);
        return static_cast<double>(in_flight_);
      });
}

Intake::~Intake() = default;

Intake::Room Intake::Reserve(std::string_view origin, uint64_t bytes) {
  Room room;
  MutexLock lock(mutex_);
  auto used = by_origin_.find(origin);
  const uint64_t own = used == by_origin_.end() ? 0 : used->second;
  const uint64_t all = options_.max_in_flight.value;
  // One segment is always let in, whatever its size.
  if (in_flight_ != 0 && in_flight_ + bytes > all) return room;
  if (own != 0 && own + bytes > all / kRoomPartOfOnePeer) return room;
  if (used == by_origin_.end()) used = by_origin_.emplace(origin, 0).first;
  used->second += bytes;
  in_flight_ += bytes;
  room.intake_ = this;
  room.origin_ = origin;
  room.bytes_ = bytes;
  return room;
}

void Intake::GiveBack(const std::string& origin, uint64_t bytes) {
  MutexLock lock(mutex_);
  in_flight_ -= bytes;
  const auto used = by_origin_.find(origin);
  used->second -= bytes;
  if (used->second == 0) by_origin_.erase(used);
}

Answer Intake::Refusal(std::string reason) const {
  return {Outcome::kRefused, options_.retry_after, -1, std::move(reason)};
}

bool Intake::IsWithdrawn(const wal::RequestIdentity& identity) {
  const MonotonicTime now = parts_.clock.Monotonic();
  while (!withdrawn_by_time_.empty() && (withdrawn_by_time_.size() > kMaxWithdrawn ||
                                         now - withdrawn_by_time_.front().at > kWithdrawnFor)) {
    const wal::RequestIdentity& old = withdrawn_by_time_.front().identity;
    withdrawn_.erase({old.low, old.high});
    withdrawn_by_time_.pop_front();
  }
  return withdrawn_.contains({identity.low, identity.high});
}

std::optional<Answer> Intake::AskLedger(const wal::RequestIdentity& identity) {
  MutexLock lock(mutex_);
  if (IsWithdrawn(identity)) return Refusal("its sender has withdrawn it");
  switch (parts_.ledger.Begin(identity).state) {
    case wal::RequestLedger::State::kNew:
      return std::nullopt;
    case wal::RequestLedger::State::kInFlight:
      return Answer{Outcome::kUnknown, options_.retry_after, -1, "another call brings it"};
    case wal::RequestLedger::State::kDone:
      break;
  }
  return Answer{Outcome::kDuplicate, {}, -1, {}};
}

Answer Intake::Recall(const SegmentKey& key) {
  const wal::RequestIdentity identity = IdentityOf(key);
  MutexLock lock(mutex_);
  switch (parts_.ledger.Begin(identity).state) {
    case wal::RequestLedger::State::kDone:
      return {Outcome::kDuplicate, {}, -1, {}};
    case wal::RequestLedger::State::kInFlight:
      return {Outcome::kUnknown, options_.retry_after, -1, "another call brings it"};
    case wal::RequestLedger::State::kNew:
      break;
  }
  parts_.ledger.Abort(identity);
  if (!IsWithdrawn(identity)) {
    withdrawn_.emplace(identity.low, identity.high);
    withdrawn_by_time_.push_back({identity, parts_.clock.Monotonic()});
  }
  return Refusal("it is not here");
}

// Nothing: it may be stored.
std::optional<Answer> Intake::Check(wal::PeerSegment& segment, const Announced& announced) const {
  const auto invalid = [](int32_t block, std::string reason) {
    return Answer{Outcome::kInvalid, {}, block, std::move(reason)};
  };
  if (!options_.databases.contains(segment.name.database)) {
    return invalid(-1, fmt::format("database {} has no sink here", segment.name.database));
  }
  if (auto bad = wal::CheckBlocks(segment)) {
    return invalid(static_cast<int32_t>(bad->number), std::move(bad->reason));
  }
  if (announced.rows && segment.rows != *announced.rows) {
    return invalid(
        -1, fmt::format("{} rows in its blocks, {} announced", segment.rows, *announced.rows));
  }
  return std::nullopt;
}

Intake::OfferPtr Intake::Begin(wal::PeerSegment segment, const Announced& announced, Room room) {
  OfferPtr offer(new Offer(*this, std::move(segment)));
  wal::PeerSegment& taken = offer->segment;
  std::optional<Answer> answer = Check(taken, announced);
  wal::PendingRecord& record = offer->record;
  if (!answer) {
    const std::string file_name = wal::FormatSegmentName(taken.name).value_or(std::string());
    SegmentKey key{taken.origin, file_name, taken.bytes.size(), taken.rows, announced.part, {}};
    if (announced.part) key.content = taken.bytes;
    record.identity = IdentityOf(key);
    answer = AskLedger(record.identity);
  }
  if (!answer) {
    auto lease = parts_.wal.EnterForPeer();
    if (lease.ok()) {
      offer->lease = std::move(*lease);
    } else {
      parts_.ledger.Abort(record.identity);
      answer = Refusal(lease.error().message());
    }
  }
  if (answer) {
    MutexLock lock(offer->mutex);
    offer->answer = std::move(answer);
    return offer;
  }
  offer->room = std::move(room);
  offer->description = wal::DescribePeerSegment(taken);
  record.kind = wal::RecordKind::kPeerSegment;
  record.received = parts_.clock.Now();
  record.tenant = offer->description;
  record.body = taken.bytes;
  record.outcome.samples = Saturated(taken.rows);
  record.context = offer.get();
  record.done = [](wal::PendingRecord* done) {
    auto* self = static_cast<Offer*>(done->context);
    self->intake.Complete(*self);
  };
  FOREBAY_FAILPOINT("transfer.before_commit");
  parts_.wal.Commit(offer->lease, &record);
  return offer;
}

// On the journal thread: whoever offered the segment may be waiting for its peer, and must not keep
// the generation from being sealed meanwhile.
void Intake::Complete(Offer& offer) {
  wal::PendingRecord& record = offer.record;
  Answer answer{Outcome::kAccepted, {}, -1, {}};
  if (record.status.ok()) {
    const uint64_t sequence = offer.lease.sequence();
    parts_.store.rows().ArrivedFromPeer(offer.segment.name.database, offer.segment.rows);
    rows_->Increment(offer.segment.rows);
    bytes_->Increment(offer.segment.bytes.size());
    offer.lease.AppendPeerSegment(0, std::move(offer.segment));
    parts_.ledger.Finish({record.identity, record.received, record.outcome}, sequence);
  } else {
    parts_.ledger.Abort(record.identity);
    answer = Refusal(record.status.error().message());
  }
  offer.lease.Release();
  offer.room = Room();
  FOREBAY_FAILPOINT("transfer.before_answer");
  MutexLock lock(offer.mutex);
  offer.answer = std::move(answer);
  offer.changed.NotifyAll();
}

bool Intake::Decided(const Offer& offer) {
  MutexLock lock(offer.mutex);
  return offer.answer.has_value();
}

Answer Intake::Settle(OfferPtr offer) {
  Answer answer;
  {
    MutexLock lock(offer->mutex);
    while (!offer->answer) offer->changed.Wait(lock);
    answer = *offer->answer;
  }
  outcomes_.at(answer.outcome)->Increment();
  if (answer.outcome == Outcome::kInvalid) {
    LogWarn("a segment of a peer is not taken", {{"peer", offer->segment.origin},
                                                 {"table", wal::SegmentKey(offer->segment.name)},
                                                 {"block", answer.bad_block},
                                                 {"reason", answer.reason}});
  }
  return answer;
}

}  // namespace forebay::transfer
