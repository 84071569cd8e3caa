// One Forebay node: builds every component, starts them in order, stops them in reverse. The
// composition root: nobody else knows all modules.
//
// Start: lock of storage.dir, sealed segments, journals (replayed in the background), batches of
// the run before, sinks, admin port, ingest port. Stop: readiness off, ingest port (requests in
// flight are answered), generation sealed, what is due uploaded until the deadline, admin port
// last. Before a stop, or when somebody asks for it, a drain (server/drain.h).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "batch/batcher.h"
#include "cluster/discovery.h"
#include "cluster/membership.h"
#include "config/config.h"
#include "http/server.h"
#include "io/file_lock.h"
#include "io/posix_file_system.h"
#include "metrics/process.h"
#include "metrics/registry.h"
#include "otlp/grpc_server.h"
#include "otlp/http_handler.h"
#include "otlp/ingest.h"
#include "otlp/replay.h"
#include "receive/remote_write_handler.h"
#include "receive/remote_write_replay.h"
#include "receive/remote_write_state.h"
#include "server/admin.h"
#include "server/cached.h"
#include "server/dead_letter_replayer.h"
#include "server/disk_auditor.h"
#include "server/drain.h"
#include "server/flow_history.h"
#include "server/housekeeper.h"
#include "server/job_thread.h"
#include "server/table_board.h"
#include "server/volume_sender.h"
#include "table/series_table.h"
#include "table/table_registry.h"
#include "transfer/adxmon_handler.h"
#include "transfer/client.h"
#include "transfer/intake.h"
#include "transfer/pool.h"
#include "transfer/service.h"
#include "upload/worker.h"
#include "wal/accounted_file_system.h"
#include "wal/batch_manifest.h"
#include "wal/batch_queue.h"
#include "wal/disk_account.h"
#include "wal/disk_budget.h"
#include "wal/disk_reserve.h"
#include "wal/quarantine.h"
#include "wal/request_ledger.h"
#include "wal/segment_store.h"
#include "wal/table_activity.h"
#include "wal/wal.h"

namespace forebay::server {

// What a node is opened for.
enum class NodeMode {
  kServe,
  kReplay,  // to bring a volume away that another node left: no ports
  kSend,    // the same by another node's POST /transfer: no ports, no sinks, no peers
};

struct NodeOptions {
  config::Config config;
  NodeMode mode = NodeMode::kServe;
  std::string version;
  // Reads the configuration again, for a reload.
  std::function<Result<config::Config>()> reload;
};

// What a flush did, for the answer to POST /-/flush.
struct FlushReport {
  Status sealed;
  wal::FlushResult batches;
  uint64_t in_transfer = 0;  // batches of which a peer has not said what it has
  bool ok() const { return sealed.ok() && batches.ok() && in_transfer == 0; }
};

// What of the status is asked for; it never lists more tables or batches than that, nor than 1000.
struct StatusOptions {
  size_t tables = 1000;
  size_t batches = 1000;
  bool config = true;
};

// Threads: Start and Stop from one; the rest from any.
class Node {
 public:
  // Opens everything; nothing is served yet. Errors: those of the components, kFailedPrecondition
  // when another process has storage.dir.
  static Result<std::unique_ptr<Node>> Create(NodeOptions options);
  ~Node();

  // Serves.
  Status Start();
  // Drains when drain.on_stop says so, then stops. Errors: as Stop, kDeadlineExceeded also when
  // the drain left something.
  Status Shutdown();
  // Without a drain. Idempotent. Errors: kDeadlineExceeded naming what was not finished; nothing
  // acknowledged is lost by that.
  Status Stop(MonotonicTime deadline);

  // Hands over or uploads all there is; see Drainer. cause: for people. Threads: any.
  void BeginDrain(const std::string& cause);
  Drainer& drainer() { return *drainer_; }
  // Brings the volume of a node opened for kReplay away, until the deadline or stop.
  DrainReport Replay(MonotonicTime deadline, const std::stop_token& stop);
  // Sends the volume of a node opened for kSend to another node.
  Result<SendReport> Send(const SendOptions& options, const std::stop_token& stop);

  // Loads the configuration again and applies what can change. Returns one line per change for
  // people. On an error everything is as before.
  Result<std::vector<std::string>> Reload();
  // Seals and, when asked, uploads everything that was acknowledged so far.
  struct FlushOptions {
    MonotonicTime deadline;
    bool upload = true;
  };
  FlushReport Flush(const FlushOptions& options);

  // Compares the account of bytes on disk with the disk and corrects it.
  Result<wal::AuditReport> AuditDisk() { return disk_auditor_->Run(); }

  // Why the node should not get traffic; empty when it should.
  std::string NotReady() const;
  bool started() const { return started_.load(); }
  // docs/http-api.md has the shapes.
  std::string StatusJson(const StatusOptions& options = {}) const;
  const FlowHistory& history() const { return *history_; }
  const TableBoard& table_board() const { return *table_board_; }
  std::string MetricsText() const { return registry_.Expose(); }
  config::Config config() const EXCLUDES(mutex_);

  uint16_t ingest_port() const { return ingest_->port(); }
  uint16_t admin_port() const { return admin_->port(); }

 private:
  explicit Node(NodeOptions options);
  Status Open();
  Status OpenStorage();
  Status OpenUploads();
  Status OpenServers();
  Status OpenOtlp();
  void AddMetrics();
  void AddRowMetrics();
  std::vector<metrics::Sample> RowSamples() const;
  std::vector<metrics::Sample> CertificateSamples() const;
  void AddDiskMetrics();
  // node_status.cc
  void OpenStatus();
  FlowTotals Flow() const;
  // node_cluster.cc
  bool HandsOver() const;
  Status OpenMembership();
  Status OpenPeerLedger();
  Status OpenTransferClient();
  std::optional<batch::Handover> MakeHandover();
  Status OpenIntake();
  Status StartCluster();
  void StopCluster(MonotonicTime deadline);
  Status ReplayDeadLetters(const std::string& directory);
  // node_drain.cc
  void OpenDrain();
  bool DrainsOnStop() const;
  std::string HeaderLineOf(const wal::SegmentName& name) const;

  NodeOptions options_;
  mutable Mutex mutex_;
  config::Config config_ GUARDED_BY(mutex_);
  std::atomic<bool> started_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> stopped_{false};
  SystemClock clock_;
  UnixMillis started_at_;
  MonotonicTime started_mark_;  // the same, for ages
  io::PosixFileSystem fs_;
  metrics::Registry registry_;

  // In order of construction; destroyed in reverse.
  std::unique_ptr<metrics::ProcessMetrics> process_metrics_;
  std::unique_ptr<io::FileLock> lock_;
  std::unique_ptr<wal::DiskAccount> disk_account_;
  std::unique_ptr<wal::AccountedFileSystem> storage_fs_;  // for all below storage.dir
  std::unique_ptr<wal::DiskReserve> disk_reserve_;
  std::unique_ptr<wal::DiskBudget> disk_budget_;
  std::unique_ptr<table::TableRegistry> tables_;
  std::unique_ptr<table::SeriesTable> series_;
  std::unique_ptr<wal::TableActivity> activity_;
  std::unique_ptr<wal::SegmentStore> store_;
  std::unique_ptr<wal::Quarantine> quarantine_;
  std::unique_ptr<DiskAuditor> disk_auditor_;
  std::unique_ptr<receive::RemoteWriteState> receive_state_;
  std::unique_ptr<receive::RemoteWriteReplay> remote_write_replay_;
  std::unique_ptr<otlp::OtlpReplay> replay_;
  std::unique_ptr<wal::RequestLedger> ledger_;
  std::unique_ptr<wal::RequestLedger> peer_ledger_;
  std::unique_ptr<wal::Wal> wal_;
  std::unique_ptr<cluster::Membership> membership_;
  std::unique_ptr<cluster::Discovery> discovery_;
  std::unique_ptr<wal::ManifestStore> manifests_;
  std::unique_ptr<wal::BatchQueue> queue_;
  std::unique_ptr<upload::UploadPool> uploads_;
  std::unique_ptr<transfer::PeerClient> peer_client_;  // these two: null without transfers
  std::unique_ptr<transfer::TransferPool> transfers_;
  std::unique_ptr<batch::Batcher> batcher_;
  std::unique_ptr<DeadLetterReplayer> replayer_;
  std::unique_ptr<transfer::Intake> intake_;
  std::unique_ptr<Drainer> drainer_;
  std::unique_ptr<transfer::AdxMonHandler> adxmon_;
  std::unique_ptr<transfer::TransferServer> transfer_server_;  // null without transfers
  std::unique_ptr<receive::RemoteWriteHandler> remote_write_;
  std::unique_ptr<otlp::OtlpMetrics> otlp_metrics_;  // these three: null without OTLP
  std::unique_ptr<otlp::Ingest> otlp_ingest_;
  std::unique_ptr<otlp::HttpHandler> otlp_http_;
  std::unique_ptr<otlp::GrpcServer> otlp_grpc_;  // null without listen.otlp_grpc
  std::unique_ptr<FlowHistory> history_;
  std::unique_ptr<TableBoard> table_board_;
  std::unique_ptr<Cached<upload::DeadLetterStatus>> dead_letters_;
  std::unique_ptr<Housekeeper> housekeeper_;
  std::unique_ptr<JobThread> jobs_;
  std::unique_ptr<AdminHandlers> admin_handlers_;
  std::unique_ptr<http::Server> admin_;
  std::unique_ptr<http::Server> ingest_;
  metrics::Counter* reloads_failed_ = nullptr;
  metrics::Gauge* reload_ok_ = nullptr;
  metrics::Gauge* reload_time_ = nullptr;
  // Taken at the begin of a scrape, read by the callbacks.
  struct Scraped {
    Mutex mutex;
    wal::WalStats wal GUARDED_BY(mutex);
    wal::StoreTotals store GUARDED_BY(mutex);
  };
  Scraped scraped_;
  std::vector<metrics::Registry::Callback> callbacks_;
};

}  // namespace forebay::server
