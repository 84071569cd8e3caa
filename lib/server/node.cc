#include "server/node.h"

#include <fmt/core.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"
#include "config/load.h"
#include "config/reload.h"
#include "io/file_system.h"
#include "table/schema.h"
#include "upload/dead_letter_replay.h"
#include "upload/dead_letters.h"
#include "upload/sink_set.h"

namespace forebay::server {
namespace {

// Part of the stop's time that is kept for sealing and uploading when requests hang.
constexpr int kIngestStopPart = 3;
constexpr uint32_t kHostIdBits = 10;

LogLevel LevelOf(const std::string& name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "warn") return LogLevel::kWarn;
  if (name == "error") return LogLevel::kError;
  return LogLevel::kInfo;
}

void ConfigureLogBy(const config::Config& config) {
  ConfigureLog(LevelOf(config.log.level),
               config.log.format == "json" ? LogFormat::kJson : LogFormat::kLogfmt);
}

uint32_t IoThreads(const config::Config& config) {
  if (config.http.io_threads != 0) return config.http.io_threads;
  return std::max(1U, std::thread::hardware_concurrency());
}

// Ten bits of the node's name, so that the segments of a StatefulSet's pods get different ids: pod
// ordinals differ.
uint32_t HostId(const std::string& name) {
  uint32_t hash = 2166136261U;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash >> (32 - kHostIdBits);
}

}  // namespace

Node::Node(NodeOptions options) : options_(std::move(options)), config_(options_.config) {}

Node::~Node() { (void)Stop(clock_.Monotonic()); }

Result<std::unique_ptr<Node>> Node::Create(NodeOptions options) {
  ConfigureLogBy(options.config);
  auto node = std::unique_ptr<Node>(new Node(std::move(options)));
  FOREBAY_RETURN_IF_ERROR(node->Open());
  return node;
}

config::Config Node::config() const {
  MutexLock lock(mutex_);
  return config_;
}

Status Node::Open() {
  started_at_ = clock_.Now();
  started_mark_ = clock_.Monotonic();
  for (const std::string& warning : options_.config.warnings) LogWarn(warning);
  process_metrics_ = std::make_unique<metrics::ProcessMetrics>(registry_, options_.version);
  FOREBAY_RETURN_IF_ERROR(OpenStorage());
  FOREBAY_RETURN_IF_ERROR(OpenMembership());
  FOREBAY_RETURN_IF_ERROR(OpenUploads());
  if (options_.mode == NodeMode::kServe) FOREBAY_RETURN_IF_ERROR(OpenIntake());
  OpenDrain();
  if (options_.mode != NodeMode::kServe) return {};
  FOREBAY_RETURN_IF_ERROR(OpenServers());
  OpenStatus();
  AddMetrics();
  return {};
}

Status Node::OpenStorage() {
  const config::Config& config = options_.config;
  const std::string& directory = config.storage.dir;
  FOREBAY_RETURN_IF_ERROR(fs_.CreateDirectories(directory));
  FOREBAY_ASSIGN_OR_RETURN(auto lock, io::FileLock::Acquire(io::JoinPath(directory, "lock")));
  lock_ = std::make_unique<io::FileLock>(std::move(lock));
  disk_account_ = std::make_unique<wal::DiskAccount>(fs_, directory);
  disk_account_->Load();
  storage_fs_ = std::make_unique<wal::AccountedFileSystem>(fs_, *disk_account_);
  disk_reserve_ =
      std::make_unique<wal::DiskReserve>(*storage_fs_, directory, config.storage.reserve.value);
  disk_budget_ = std::make_unique<wal::DiskBudget>(config.storage, *storage_fs_, clock_,
                                                   *disk_account_, *disk_reserve_);
  tables_ = std::make_unique<table::TableRegistry>(config.limits.tables_max);
  table::SeriesTable::Options series;
  series.max_series = config.limits.series_max;
  series.max_bytes = config.limits.series_bytes.value;
  series_ = std::make_unique<table::SeriesTable>(series);
  activity_ = std::make_unique<wal::TableActivity>(
      wal::TableActivity::Options{config.generation.max_age, config.limits.tables_max}, clock_);
  store_ = std::make_unique<wal::SegmentStore>(
      *storage_fs_, clock_, io::JoinPath(directory, "segments"), activity_.get());
  quarantine_ = std::make_unique<wal::Quarantine>(
      *storage_fs_, io::JoinPath(directory, "quarantine"), config.storage.quarantine_max.value);
  FOREBAY_RETURN_IF_ERROR(quarantine_->Open());
  FOREBAY_RETURN_IF_ERROR(ReplayDeadLetters(directory));
  disk_auditor_ = std::make_unique<DiskAuditor>(*disk_account_, *quarantine_, registry_);
  FOREBAY_ASSIGN_OR_RETURN(
      receive_state_,
      receive::RemoteWriteState::Create(config, *series_, *tables_, registry_, &store_->rows()));
  FOREBAY_RETURN_IF_ERROR(otlp::CheckRecordRules(config.otlp));
  remote_write_replay_ = std::make_unique<receive::RemoteWriteReplay>(*receive_state_);
  replay_ = std::make_unique<otlp::OtlpReplay>(*receive_state_, *remote_write_replay_);
  wal::WalOptions options;
  options.storage = config.storage;
  options.generation = config.generation;
  options.durability = config.durability;
  options.limits = config.limits;
  options.shards = IoThreads(config);
  options.host_id = HostId(cluster::SelfName(config.cluster));
  wal::RequestLedger::Options ledger;
  ledger.directory = io::JoinPath(directory, "ledger");
  ledger.window = config.idempotency.window;
  ledger.max_entries = config.idempotency.max_entries;
  ledger.reserve = disk_reserve_.get();
  ledger_ = std::make_unique<wal::RequestLedger>(*storage_fs_, clock_, std::move(ledger));
  FOREBAY_RETURN_IF_ERROR(ledger_->Load());
  FOREBAY_RETURN_IF_ERROR(OpenPeerLedger());
  FOREBAY_ASSIGN_OR_RETURN(
      wal_, wal::Wal::Open(options, *storage_fs_, clock_, *series_, *tables_, *store_, *quarantine_,
                           *replay_, {ledger_.get(), peer_ledger_.get(), disk_budget_.get()}));
  return {};
}

// Before anything looks at the segments: each belongs to a manifest by then.
Status Node::ReplayDeadLetters(const std::string& directory) {
  const std::string batches = io::JoinPath(directory, "batches");
  const std::string segments = io::JoinPath(directory, "segments");
  manifests_ = std::make_unique<wal::ManifestStore>(*storage_fs_, batches, *quarantine_,
                                                    disk_reserve_.get());
  FOREBAY_RETURN_IF_ERROR(storage_fs_->CreateDirectories(batches));
  FOREBAY_RETURN_IF_ERROR(storage_fs_->CreateDirectories(segments));
  upload::ReplayOptions options;
  options.dead_letters = io::JoinPath(directory, "dlq");
  options.segments = segments;
  return upload::ReplayDeadLetters(*storage_fs_, *manifests_, options);
}

std::string Node::HeaderLineOf(const wal::SegmentName& name) const {
  const auto table = tables_->Find(wal::SegmentKey(name));
  if (!table) return {};
  std::string line = tables_->Get(*table).schema.header_line();
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

Status Node::OpenUploads() {
  const config::Config& config = options_.config;
  FOREBAY_ASSIGN_OR_RETURN(auto sinks,
                           upload::SinkSet::Create(config.databases, {fs_, clock_, registry_}));
  wal::BatchQueue::Limits limits;
  limits.running_per_database = upload::BatchesPerDatabase(config.upload, sinks.Names().size());
  limits.oldest_share_percent = config.upload.oldest_share_percent;
  queue_ = std::make_unique<wal::BatchQueue>(clock_, limits);
  batch::BatcherOptions options;
  options.batch = config.batch;
  options.oldest_share_percent = config.upload.oldest_share_percent;
  options.sinks = sinks.Names();
  options.storage_full = [this] { return disk_budget_->full(); };
  options.header_line = [this](const wal::SegmentName& name) { return HeaderLineOf(name); };
  uploads_ = std::make_unique<upload::UploadPool>(
      config.upload, upload::DeadLetterPlaceOf(config.storage), std::move(sinks),
      upload::UploadParts{*storage_fs_, clock_, *store_, *manifests_, *queue_, *quarantine_,
                          registry_});
  FOREBAY_RETURN_IF_ERROR(OpenTransferClient());
  options.handover = MakeHandover();
  options.may_guess = options_.mode == NodeMode::kServe;
  if (options_.mode == NodeMode::kReplay && config.cluster.member.empty()) {
    options.handover.reset();
  }
  batcher_ = std::make_unique<batch::Batcher>(std::move(options), clock_, *store_, *manifests_,
                                              *queue_, registry_);
  replayer_ = std::make_unique<DeadLetterReplayer>(
      DeadLetterReplayer::Parts{*storage_fs_, *manifests_, *queue_, *batcher_},
      io::JoinPath(config.storage.dir, "dlq"), store_->directory());
  return options_.mode == NodeMode::kSend ? OkStatus() : batcher_->Resume();
}

Status Node::OpenServers() {
  const config::Config& config = options_.config;
  jobs_ = std::make_unique<JobThread>();
  admin_handlers_ = std::make_unique<AdminHandlers>(*this, *jobs_);
  http::ServerOptions admin;
  admin.name = "admin";
  admin.listen = config.listen.admin;
  admin.limits = config.http;
  admin.limits.io_threads = 1;
  admin.tls = config.listen.admin_tls;
  admin.auth = config.listen.admin_auth;
  admin.open_paths = AdminHandlers::OpenPaths();
  FOREBAY_ASSIGN_OR_RETURN(admin_, http::Server::Create(std::move(admin)));
  admin_handlers_->RouteAll(*admin_);

  http::ServerOptions ingest;
  ingest.name = "ingest";
  ingest.listen = config.listen.ingest;
  ingest.limits = config.http;
  ingest.limits.io_threads = IoThreads(config);
  ingest.tls = config.listen.tls;
  ingest.auth = config.listen.auth;
  FOREBAY_ASSIGN_OR_RETURN(ingest_, http::Server::Create(std::move(ingest)));
  receive::RemoteWriteHandler::Options options;
  options.max_body = config.http.max_body;
  options.in_flight_bodies = config.limits.in_flight_bodies;
  options.io_threads = IoThreads(config);
  options.ledger = ledger_.get();
  remote_write_ =
      std::make_unique<receive::RemoteWriteHandler>(options, *receive_state_, *wal_, clock_);
  for (const std::string& path : config.remote_write.paths) {
    ingest_->Route("POST", path, remote_write_.get());
  }
  ingest_->Route("POST", "/transfer", adxmon_.get());
  return OpenOtlp();
}

Status Node::OpenOtlp() {
  const config::Config& config = options_.config;
  if (!config.otlp.enabled) return {};
  otlp_metrics_ = std::make_unique<otlp::OtlpMetrics>(registry_);
  otlp::Ingest::Options options;
  options.in_flight_bodies = config.limits.in_flight_bodies;
  options.ledger = ledger_.get();
  otlp_ingest_ =
      std::make_unique<otlp::Ingest>(options, *receive_state_, *wal_, clock_, *otlp_metrics_);
  otlp_http_ = std::make_unique<otlp::HttpHandler>(
      otlp::HttpHandler::Options{config.http.max_body, IoThreads(config)}, *otlp_ingest_);
  for (const char* path : {otlp::kMetricsPath, otlp::kLogsPath, otlp::kTracesPath}) {
    ingest_->Route("POST", path, otlp_http_.get());
  }
  if (config.listen.otlp_grpc.empty()) return {};
  otlp::GrpcOptions grpc;
  grpc.listen = config.listen.otlp_grpc;
  grpc.max_body = config.http.max_body;
  grpc.tls = config.listen.tls;
  grpc.auth = config.listen.auth;
  grpc.shards = IoThreads(config);
  FOREBAY_ASSIGN_OR_RETURN(otlp_grpc_, otlp::GrpcServer::Create(grpc, *otlp_ingest_));
  return {};
}

Status Node::Start() {
  if (options_.mode == NodeMode::kSend) return {};
  drainer_->Start();
  uploads_->Start();
  batcher_->Start();
  FOREBAY_RETURN_IF_ERROR(StartCluster());
  if (options_.mode == NodeMode::kReplay) return {};
  FOREBAY_RETURN_IF_ERROR(adxmon_->Start());
  housekeeper_->Start();
  FOREBAY_RETURN_IF_ERROR(admin_->Start());
  FOREBAY_RETURN_IF_ERROR(ingest_->Start());
  if (otlp_grpc_ != nullptr) FOREBAY_RETURN_IF_ERROR(otlp_grpc_->Start());
  started_ = true;
  const auto log_port = [](const char* name, const std::string& listen, uint16_t port) {
    std::string host = listen.substr(0, listen.rfind(':'));
    if (host.empty()) host = "0.0.0.0";
    LogInfo("listening", {{"name", name}, {"address", fmt::format("{}:{}", host, port)}});
  };
  log_port("admin", options_.config.listen.admin, admin_->port());
  log_port("ingest", options_.config.listen.ingest, ingest_->port());
  if (otlp_grpc_ != nullptr) {
    log_port("otlp_grpc", options_.config.listen.otlp_grpc, otlp_grpc_->port());
  }
  if (transfer_server_ != nullptr) {
    log_port("transfer", options_.config.listen.transfer, transfer_server_->port());
  }
  return {};
}

FlushReport Node::Flush(const FlushOptions& options) {
  FlushReport report;
  report.sealed = wal_->Flush(options.deadline);
  if (!options.upload) return report;
  (void)replayer_->Run();  // logs what fails
  report.batches = batcher_->FlushNow(options.deadline);
  if (transfers_ == nullptr) return report;
  // What was on its way to peers is there, or this node's again, or open.
  report.in_transfer = transfers_->Settle(options.deadline);
  if (store_->Totals().segments != 0) {
    wal::FlushResult more = batcher_->FlushNow(options.deadline);
    more.delivered += report.batches.delivered;
    more.dead_lettered += report.batches.dead_lettered;
    report.batches = std::move(more);
  }
  return report;
}

Status Node::Stop(MonotonicTime deadline) {
  stopping_ = true;
  if (stopped_.exchange(true) || wal_ == nullptr) return {};
  const MonotonicTime now = clock_.Monotonic();
  Status first = OkStatus();
  const auto note = [&first](Status status) {
    if (!status.ok() && first.ok()) first = std::move(status);
  };
  if (drainer_ != nullptr) drainer_->Stop();
  if (replayer_ != nullptr) replayer_->Stop();
  if (ingest_ != nullptr) note(ingest_->Stop(now + (deadline - now) / kIngestStopPart));
  if (otlp_grpc_ != nullptr) {
    otlp_grpc_->Stop(clock_.Monotonic() + (deadline - clock_.Monotonic()) / kIngestStopPart);
  }
  if (adxmon_ != nullptr) adxmon_->Stop();
  StopCluster(deadline);
  if (remote_write_ != nullptr) remote_write_->Stop();
  if (otlp_http_ != nullptr) otlp_http_->Stop();
  FOREBAY_FAILPOINT("shutdown.before_seal");
  note(wal_->Stop(deadline));
  if (batcher_ != nullptr && options_.mode != NodeMode::kSend) {
    // What the policy says is due now that everything is sealed; the rest waits on disk for the
    // next start.
    batcher_->Stop();
    while (batcher_->RunOnce(wal::BatchReason::kSize) > 0) {
    }
  }
  if (uploads_ != nullptr) {
    const uint64_t watch = queue_->StartWatch();
    queue_->SealWatch(watch);
    queue_->WakeAll();  // what waits for its next try would hold the stop until the deadline
    (void)queue_->EndWatch(watch, deadline);  // delivered, or tried once
    note(uploads_->Stop(deadline));
  }
  if (jobs_ != nullptr) jobs_->Stop();
  if (housekeeper_ != nullptr) housekeeper_->Stop();
  if (admin_ != nullptr) note(admin_->Stop(std::max(deadline, clock_.Monotonic())));
  return first;
}

std::string Node::NotReady() const {
  if (!started_) return "starting";
  if (stopping_) return "stopping";
  if (drainer_->state() != DrainState::kServing) return kDrainingText;
  const auto lease = wal_->Enter();
  return lease.ok() ? std::string() : lease.error().message();
}

Result<std::vector<std::string>> Node::Reload() {
  const auto failed = [this](Error error) {
    reloads_failed_->Increment();
    reload_ok_->Set(0);
    return error;
  };
  auto loaded = options_.reload();
  if (!loaded.ok()) return failed(loaded.error());
  const config::Config running = config();
  const config::ReloadPlan plan = config::PlanReload(running, *loaded);
  config::Config next = config::ApplyReload(running, *loaded);
  // What can fail comes first, and is put to use only when all of it is there.
  const auto ingest = http::Server::LoadSecurity(next.listen.tls, next.listen.auth);
  if (!ingest.ok()) return failed(ingest.error());
  const auto admin = http::Server::LoadSecurity(next.listen.admin_tls, next.listen.admin_auth);
  if (!admin.ok()) return failed(admin.error());
  if (!plan.live.empty()) {
    if (Status status = otlp::CheckRecordRules(next.otlp); !status.ok()) {
      return failed(status.error());
    }
    if (Status status = receive_state_->SetRules(next); !status.ok()) return failed(status.error());
  }
  ingest_->UseSecurity(*ingest);
  if (otlp_grpc_ != nullptr) otlp_grpc_->UseSecurity(*ingest);
  admin_->UseSecurity(*admin);
  if (!plan.live.empty()) {
    batcher_->SetPolicy(next.batch);
    ConfigureLogBy(next);
  }
  std::vector<std::string> changes;
  for (const std::string& key : plan.live) changes.push_back(key + ": applied");
  for (const std::string& key : plan.restart) changes.push_back(key + ": needs a restart");
  for (const std::string& change : changes) LogInfo("configuration reloaded", {{"change", change}});
  {
    MutexLock lock(mutex_);
    config_ = std::move(next);
  }
  reload_ok_->Set(1);
  reload_time_->Set(static_cast<double>(clock_.Now().value) / 1000);
  return changes;
}

}  // namespace forebay::server
