// The node among others: members, the port for their segments, the way to the owners of tables.
#include <algorithm>

#include "server/node.h"
#include "wal/peer_segment.h"

namespace forebay::server {
namespace {

// Segments of peers that are known at once, about 150 B each; the oldest leave first.
constexpr uint64_t kMaxPeerLedgerEntries = 1'000'000;
// Part of the stop's time in which calls to and from peers may end.
constexpr int kTransferStopPart = 6;

}  // namespace

bool Node::HandsOver() const {
  const config::Cluster& cluster = options_.config.cluster;
  return cluster.enabled() && cluster.transfer.enabled;
}

Status Node::OpenMembership() {
  const config::Cluster& cluster = options_.config.cluster;
  membership_ = std::make_unique<cluster::Membership>(cluster::SelfName(cluster), registry_);
  FOREBAY_ASSIGN_OR_RETURN(discovery_, cluster::MakeDiscovery(cluster, *membership_, registry_));
  return {};
}

// Before the log is opened: its journals may hold segments of others. A node alone takes those of
// adx-mon.
Status Node::OpenPeerLedger() {
  wal::RequestLedger::Options ledger;
  ledger.directory = io::JoinPath(options_.config.storage.dir, "peer-ledger");
  ledger.window = options_.config.cluster.transfer.ledger_window;
  ledger.max_entries = kMaxPeerLedgerEntries;
  ledger.reserve = disk_reserve_.get();
  peer_ledger_ = std::make_unique<wal::RequestLedger>(*storage_fs_, clock_, std::move(ledger));
  return peer_ledger_->Load();
}

Status Node::OpenTransferClient() {
  if (!HandsOver()) return {};
  const config::Cluster& cluster = options_.config.cluster;
  FOREBAY_ASSIGN_OR_RETURN(
      peer_client_,
      transfer::MakePeerClient({membership_->self(), options_.version, cluster.transfer_tls},
                               *storage_fs_));
  transfers_ = std::make_unique<transfer::TransferPool>(
      cluster.transfer,
      transfer::PoolParts{clock_, *store_, *manifests_, *membership_, *peer_client_, registry_});
  return {};
}

std::optional<batch::Handover> Node::MakeHandover() {
  if (!HandsOver()) return std::nullopt;
  const config::Transfer& config = options_.config.cluster.transfer;
  batch::Handover handover;
  handover.peer_for = [this](const std::string& key) { return transfers_->PeerFor(key); };
  handover.has_room = [this] { return transfers_->HasRoom(); };
  handover.push = [this](wal::Batch&& batch, bool resumed) {
    transfers_->Push(std::move(batch), resumed);
  };
  handover.max_age = config.max_age;
  handover.max_segment = ByteCount{wal::kMaxPeerSegmentBytes};
  handover.max_batch = config.max_batch;
  return handover;
}

Status Node::OpenIntake() {
  const config::Config& config = options_.config;
  transfer::Intake::Options intake;
  intake.max_in_flight = config.cluster.transfer.max_in_flight;
  for (const config::Database& database : config.databases) {
    if (!database.sinks.empty()) intake.databases.insert(database.name);
  }
  intake_ = std::make_unique<transfer::Intake>(
      std::move(intake), transfer::Intake::Parts{clock_, *wal_, *peer_ledger_, *store_, registry_});
  transfer::AdxMonHandler::Options spool;
  spool.spool = io::JoinPath(config.storage.dir, "spool");
  spool.drop_prefixes = config.cluster.transfer.drop_prefixes;
  spool.member = membership_->self();
  for (const config::Database& database : config.databases) spool.databases.insert(database.name);
  adxmon_ = std::make_unique<transfer::AdxMonHandler>(
      std::move(spool), transfer::AdxMonHandler::Parts{*storage_fs_, clock_, *intake_, *quarantine_,
                                                       [this] { return NotReady(); }, registry_});
  if (!HandsOver()) return {};
  transfer::ServiceOptions service;
  service.listen = config.listen.transfer;
  service.tls = config.cluster.transfer_tls;
  service.member = membership_->self();
  service.release = options_.version;
  FOREBAY_ASSIGN_OR_RETURN(transfer_server_, transfer::TransferServer::Create(service, *intake_));
  return {};
}

Status Node::StartCluster() {
  if (transfer_server_ != nullptr) FOREBAY_RETURN_IF_ERROR(transfer_server_->Start());
  if (transfers_ != nullptr) transfers_->Start();
  discovery_->Start();
  return {};
}

// Before the log is stopped: calls that run get their answers.
void Node::StopCluster(MonotonicTime deadline) {
  if (discovery_ != nullptr) discovery_->Stop();
  const MonotonicTime now = clock_.Monotonic();
  const MonotonicTime until = now + (std::max(deadline, now) - now) / kTransferStopPart;
  if (transfers_ != nullptr) transfers_->Stop(until);
  if (transfer_server_ != nullptr) transfer_server_->Stop(until);
}

}  // namespace forebay::server
