// One batch at a time per worker: Process is the whole life of a try.
#include "upload/worker.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/thread.h"
#include "upload/internal/upload_target.h"

namespace forebay::upload {
namespace {

using wal::DeliveryState;

constexpr std::chrono::seconds kIdleWait{
    60};  // Pop is woken by Push and Close; this bounds it anyway
// Between two looks whether a refused batch has room among the dead letters; and how long one
// answer "no" is good for all that wait.
constexpr std::chrono::seconds kRoomWait{60};
constexpr std::chrono::seconds kNoRoomKnown{5};

}  // namespace

UploadPool::UploadPool(const config::Upload& config, DeadLetterPlace dead_letters, SinkSet sinks,
                       UploadParts parts)
    : config_(config),
      parts_(parts),
      dead_letters_(parts.fs, std::move(dead_letters)),
      progress_(parts.clock),
      sinks_(std::move(sinks)),
      started_(parts.clock.Now()),
      reader_memory_(std::max<size_t>(config.workers, 1)),
      random_(std::random_device{}()) {
  AddMetrics();
  for (const SinkSet::Entry& entry : sinks_.entries()) {
    auto target = std::make_unique<Target>(entry.database, *entry.sink, parts_.clock, config_,
                                           sinks_.entries().size() == 1);
    AddCounters(*target);
    targets_[{entry.database, entry.sink->name()}] = std::move(target);
  }
}

size_t BatchesPerDatabase(const config::Upload& config, size_t databases) {
  const size_t workers = std::max<size_t>(config.workers, 1);
  if (config.per_database != 0) return config.per_database;
  return databases > 1 ? std::max<size_t>(workers - 1, 1) : workers;
}

UploadPool::~UploadPool() { (void)Stop(parts_.clock.Monotonic()); }

void UploadPool::Start() {
  FOREBAY_CHECK(threads_.empty());
  for (uint32_t i = 0; i < std::max<uint32_t>(config_.workers, 1); ++i) {
    threads_.push_back(StartThread(fmt::format("upload-{}", i), [this](const std::stop_token&) {
      while (!parts_.queue.closed()) (void)RunOnce(parts_.clock.Monotonic() + kIdleWait);
    }));
  }
}

Status UploadPool::Stop(MonotonicTime deadline) {
  parts_.queue.Close();
  if (threads_.empty()) return OkStatus();
  const bool idle = parts_.queue.WaitIdle(deadline);
  if (!idle) stop_.request_stop();
  threads_.clear();
  if (idle) return OkStatus();
  return Error(ErrorCode::kDeadlineExceeded, "running uploads were cancelled");
}

std::vector<SinkStatus> UploadPool::SinkStatuses() const {
  std::vector<SinkStatus> statuses;
  for (const auto& [key, target] : targets_) {
    statuses.push_back(target->health.status());
    statuses.back().database = key.first;
    statuses.back().name = key.second;
  }
  return statuses;
}

bool UploadPool::RunOnce(MonotonicTime deadline) {
  auto batch = parts_.queue.Pop(
      deadline, [this](const wal::BatchManifest& manifest) { return CanTry(manifest); });
  if (!batch) return false;
  Process(*std::move(batch));
  return true;
}

bool UploadPool::CanTry(const wal::BatchManifest& manifest) const {
  bool pending = false;
  for (const wal::ManifestSink& sink : manifest.sinks) {
    if (sink.state != DeliveryState::kPending) continue;
    pending = true;
    const Target* target = Find(manifest.database, sink.name);
    if (target == nullptr || target->health.HasRoom()) return true;
  }
  return !pending;
}

UploadPool::Target* UploadPool::Find(const std::string& database, const std::string& sink) const {
  const auto found = targets_.find({database, sink});
  return found == targets_.end() ? nullptr : found->second.get();
}

uint64_t UploadPool::Random() {
  MutexLock lock(mutex_);
  return random_();
}

void UploadPool::Process(wal::Batch batch) {
  Tried tried;
  TrySinks(batch, tried);
  if (batch.manifest.settled() && !HasRoom(batch, tried)) {
    GiveBack(std::move(batch), tried);
    return;
  }
  if (batch.manifest.settled()) {
    Status status = Save(batch);
    if (status.ok()) status = Complete(batch);
    if (status.ok()) {
      const auto outcome = batch.manifest.failed() ? wal::BatchOutcome::kDeadLettered
                                                   : wal::BatchOutcome::kDelivered;
      parts_.queue.Finish(batch.manifest.id, outcome);
      return;
    }
    LogError("batch is delivered but its files cannot be put away, trying again",
             {{"batch", batch.manifest.id}, {"error", status.error().ToString()}});
    tried.error = status.error();
    tried.failed = true;
  }
  GiveBack(std::move(batch), tried);
}

// A refused batch for which there is no room among the dead letters stays as it is, its manifest
// says who refused it, and it is looked at again now and then.
bool UploadPool::HasRoom(const wal::Batch& batch, Tried& tried) {
  if (!batch.manifest.failed()) return true;
  const std::string& id = batch.manifest.id;
  const MonotonicTime now = parts_.clock.Monotonic();
  std::optional<Error> full;
  {
    MutexLock lock(mutex_);
    if (now < no_room_until_) full = no_room_;
  }
  if (!full) {
    const Status room = dead_letters_.CheckRoom(batch.manifest, batch.leases);
    if (!room.ok()) full = room.error();
    MutexLock lock(mutex_);
    no_room_ = full;
    no_room_until_ = full ? now + kNoRoomKnown : now;
  }
  MutexLock lock(mutex_);
  if (!full) {
    waiting_for_room_.erase(id);
    return true;
  }
  if (waiting_for_room_.insert(id).second) {
    LogError("a refused batch has no room among the dead letters and waits",
             {{"batch", id}, {"table", batch.manifest.table}, {"error", full->ToString()}});
  }
  tried.error = full;
  tried.ask_again = std::min(tried.ask_again, now + kRoomWait);
  return false;
}

size_t UploadPool::WaitingForRoom() const {
  MutexLock lock(mutex_);
  return waiting_for_room_.size();
}

DeadLetterStatus UploadPool::DeadLettersNow() const {
  DeadLetterStatus status;
  status.totals = dead_letters_.Totals();
  status.max_bytes = dead_letters_.max_bytes();
  status.waiting_batches = WaitingForRoom();
  return status;
}

void UploadPool::GiveBack(wal::Batch batch, const Tried& tried) {
  MonotonicTime ask_again = tried.ask_again;
  if (tried.failed) {
    ++batch.failures;
    ask_again =
        std::min(ask_again, parts_.clock.Monotonic() + Backoff(config_, batch.failures, Random()));
  }
  if (batch.unsaved)
    (void)Save(batch);  // A failure is tried again before the segments are deleted.
  parts_.queue.Defer(std::move(batch), ask_again, tried.error ? &*tried.error : nullptr);
}

void UploadPool::TrySinks(wal::Batch& batch, Tried& tried) {
  // Those that are well first: what hangs must not keep the batch from them.
  std::vector<wal::ManifestSink*> pending;
  for (wal::ManifestSink& sink : batch.manifest.sinks) {
    if (sink.state == DeliveryState::kPending) pending.push_back(&sink);
  }
  std::stable_partition(pending.begin(), pending.end(), [&](const wal::ManifestSink* sink) {
    const Target* target = Find(batch.manifest.database, sink->name);
    return target != nullptr && target->health.Well();
  });
  for (wal::ManifestSink* sink : pending) {
    TrySink(batch, *sink, tried);
    // A worker is free for this sink, while this one goes on to the next.
    if (pending.size() > 1) parts_.queue.LookAgain();
  }
}

void UploadPool::TrySink(wal::Batch& batch, wal::ManifestSink& sink, Tried& tried) {
  Target* target = Find(batch.manifest.database, sink.name);
  if (target == nullptr) {
    tried.error =
        Error(ErrorCode::kFailedPrecondition,
              fmt::format("database {} has no sink {}", batch.manifest.database, sink.name));
    tried.ask_again = std::min(tried.ask_again, parts_.clock.Monotonic() + config_.retry_max);
    return;
  }
  const SinkHealth::Admission admission = target->health.Admit(parts_.queue.retry_epoch());
  if (!admission.admitted) {
    if (admission.closed_by) tried.error = admission.closed_by;
    tried.ask_again = std::min(tried.ask_again, admission.ask_again);
    return;
  }
  const MonotonicTime begin = parts_.clock.Monotonic();
  bool source_error = false;
  auto receipt = Deliver(batch, sink, *target, source_error);
  target->duration->Observe(std::chrono::nanoseconds(parts_.clock.Monotonic() - begin));
  ++sink.attempts;
  Target::Outcomes& outcomes = target->outcomes.at(batch.manifest.reason);
  if (receipt.ok()) {
    sink.state = DeliveryState::kDone;
    sink.note = receipt->text;
    if (receipt->rejected.rows > 0) {
      sink.note += fmt::format(", {} rows rejected", receipt->rejected.rows);
    }
    batch.failures = 0;
    NoteDelivered(batch, *receipt, *target);
    if (target->health.Succeeded(1, receipt->rows)) parts_.queue.Wake(target->database);
  } else if (receipt.error().retryable() || source_error) {
    outcomes.failed->Increment();
    target->retries->Increment();
    LogWarn("batch was not delivered, trying again", {{"batch", batch.manifest.id},
                                                      {"database", target->database},
                                                      {"sink", sink.name},
                                                      {"table", batch.manifest.table},
                                                      {"error", receipt.error().ToString()}});
    tried.error = receipt.error();
    tried.failed = true;
    if (source_error) {
      target->health.Withdrawn();
    } else {
      target->health.Failed(receipt.error());
    }
    return;
  } else {
    outcomes.refused->Increment();
    if (IsSchemaConflict(receipt.error())) target->drifts->Increment();
    LogError("batch is refused for good, its segments go to the dead letters",
             {{"batch", batch.manifest.id},
              {"database", target->database},
              {"sink", sink.name},
              {"table", batch.manifest.table},
              {"error", receipt.error().ToString()}});
    sink.state = DeliveryState::kFailed;
    sink.note = receipt.error().ToString();
    // It answered: that is a sign of health.
    target->health.NoteError(receipt.error());
    if (target->health.Succeeded(0, 0)) parts_.queue.Wake(target->database);
  }
  batch.unsaved = true;
  if (batch.manifest.settled()) return;  // Saved by Process.
  if (const Status saved = Save(batch); !saved.ok()) {
    LogError("batch manifest cannot be written",
             {{"batch", batch.manifest.id}, {"error", saved.error().ToString()}});
  }
}

Result<Receipt> UploadPool::Deliver(wal::Batch& batch, const wal::ManifestSink& sink,
                                    Target& target, bool& source_error) {
  // Until the sink is called, whatever fails is on our side.
  source_error = true;
  BatchHeader header;
  header.id = batch.manifest.id;
  header.target.database = batch.manifest.database;
  header.target.table = batch.manifest.table;
  FOREBAY_ASSIGN_OR_RETURN(header.target.schema, SchemaOf(batch));
  header.first_time = batch.manifest.first_time;
  header.rows = batch.manifest.rows();
  header.row_bytes = batch.manifest.row_bytes();
  header.maybe_there = !batch.fresh || sink.attempts > 0 || batch.manifest.first_time < started_;

  const std::string prepared_key = batch.manifest.table + ' ' + batch.manifest.schema_hash;
  bool prepared = false;
  {
    MutexLock lock(target.mutex);
    prepared = target.prepared.contains(prepared_key);
  }
  if (!prepared) {
    source_error = false;
    FOREBAY_RETURN_IF_ERROR(target.sink.Prepare(header.target));
    source_error = true;
    MutexLock lock(target.mutex);
    target.prepared.insert(prepared_key);
  }
  std::vector<BatchReader::Source> sources;
  uint64_t file_bytes = 0;
  for (const wal::SegmentLease& lease : batch.leases) {
    sources.push_back({lease.info().file_name, lease.path()});
    file_bytes += lease.info().file_bytes;
  }
  ProgressBoard::Delivery progress(progress_, header.id, sink.name, file_bytes);
  const auto memory = reader_memory_.Take();
  FOREBAY_ASSIGN_OR_RETURN(
      const auto reader,
      BatchReader::Open(parts_.fs, std::move(sources), !batch.manifest.schema_hash.empty(),
                        parts_.quarantine, *damage_, memory.get()));
  reader->set_stop(stop_.get_token());
  reader->set_progress(progress.read_bytes());
  auto receipt = target.sink.Upload(header, *reader);
  source_error = reader->source_error();
  if (!receipt.ok()) {
    MutexLock lock(target.mutex);
    target.prepared.erase(prepared_key);
    return receipt;
  }
  if (reader->stats().damaged_ranges != 0) batch.damaged = true;
  if (!receipt->already_there) {
    batch.delivered_rows = std::min(batch.delivered_rows.value_or(receipt->rows), receipt->rows);
  }
  const bool whole =
      reader->stats().damaged_ranges == 0 && batch.leases.size() == batch.manifest.segments.size();
  const uint64_t seen = receipt->rows + receipt->rejected.rows;
  if (whole && !receipt->already_there && seen != header.rows) {
    row_mismatches_->Increment();
    LogError("delivered rows differ from what the segments say",
             {{"batch", header.id}, {"expected", header.rows}, {"delivered", receipt->rows}});
  }
  if (receipt->rejected.rows > 0) {
    // Durable before the manifest calls the batch delivered.
    if (const Status kept = KeepRejected(batch, receipt->rejected, target); !kept.ok()) {
      source_error = true;
      return kept.error();
    }
  }
  return receipt;
}

Status UploadPool::KeepRejected(wal::Batch& batch, const RejectedRows& rejected, Target& target) {
  FOREBAY_RETURN_IF_ERROR(
      dead_letters_.KeepRejected(batch.manifest, target.sink.name(), rejected, parts_.clock.Now()));
  batch.rejected_rows = std::max(batch.rejected_rows, rejected.rows);
  rejected_rows_->Increment(rejected.rows);
  LogError("rows of a batch are refused for good, they are in the dead letters",
           {{"batch", batch.manifest.id},
            {"database", target.database},
            {"sink", target.sink.name()},
            {"table", batch.manifest.table},
            {"rows", rejected.rows},
            {"reason", rejected.reason}});
  return OkStatus();
}

// The manifest's header line, else a schema that is known by its hash, else what the segments
// themselves say.
Result<std::optional<table::Schema>> UploadPool::SchemaOf(wal::Batch& batch) {
  wal::BatchManifest& manifest = batch.manifest;
  std::optional<table::Schema> none;
  if (manifest.schema_hash.empty()) return none;
  const auto matches = [&](const table::Schema& schema) {
    return schema.hash_text() == manifest.schema_hash;
  };
  if (auto schema = table::Schema::ParseHeaderLine(manifest.header_line);
      schema.ok() && matches(*schema)) {
    return std::optional<table::Schema>(*std::move(schema));
  }
  if (matches(table::DefaultMetricsSchema())) {
    return std::optional<table::Schema>(table::DefaultMetricsSchema());
  }
  for (const wal::SegmentLease& lease : batch.leases) {
    FOREBAY_ASSIGN_OR_RETURN(auto schema, ReadSegmentSchema(parts_.fs, lease.path()));
    if (!schema || !matches(*schema)) continue;
    manifest.header_line = schema->header_line();
    manifest.header_line.pop_back();  // The line's end.
    return schema;
  }
  return Error(ErrorCode::kFailedPrecondition,
               fmt::format("the columns of schema {} are not known; table {}.{} keeps waiting",
                           manifest.schema_hash, manifest.database, manifest.table));
}

void UploadPool::NoteDelivered(const wal::Batch& batch, const Receipt& receipt, Target& target) {
  Target::Outcomes& outcomes = target.outcomes.at(batch.manifest.reason);
  if (receipt.already_there) {
    outcomes.already_there->Increment();
    LogInfo("batch was delivered before",
            {{"batch", batch.manifest.id}, {"sink", target.sink.name()}});
    return;
  }
  outcomes.delivered->Increment();
  target.rows->Increment(receipt.rows);
  target.row_bytes->Increment(receipt.row_bytes);
  target.stored_bytes->Increment(receipt.stored_bytes);
  target.batch_bytes->Observe(static_cast<double>(receipt.row_bytes));
  stale_markers_->Increment(receipt.stale_markers);
  nans_->Increment(receipt.nans);
  infinities_->Increment(receipt.infinities);
  LogDebug("batch delivered", {{"batch", batch.manifest.id},
                               {"sink", target.sink.name()},
                               {"rows", receipt.rows},
                               {"receipt", receipt.text}});
}

Status UploadPool::Save(wal::Batch& batch) {
  if (!batch.unsaved) return OkStatus();
  FOREBAY_RETURN_IF_ERROR(parts_.manifests.Save(batch.manifest));
  batch.unsaved = false;
  return OkStatus();
}

// The account of rows has those as uploaded that the sinks said they got.
Status UploadPool::DeleteSegments(wal::Batch& batch) {
  uint64_t rows = 0;
  for (const wal::SegmentLease& lease : batch.leases) rows += lease ? lease.info().rows : 0;
  if (batch.delivered_rows && *batch.delivered_rows != rows) {
    parts_.store.rows().Correct(batch.manifest.database,
                                {rows, *batch.delivered_rows, batch.damaged, batch.rejected_rows});
  }
  batch.delivered_rows.reset();
  return parts_.store.DeleteSegments(batch.leases);
}

// After the manifest says that every sink has spoken. Each step may find that a try before did it
// already.
Status UploadPool::Complete(wal::Batch& batch) {
  if (batch.manifest.failed()) {
    FOREBAY_RETURN_IF_ERROR(
        dead_letters_.Take(batch.manifest, batch.leases, parts_.store, parts_.clock.Now()));
  } else {
    FOREBAY_FAILPOINT("delete.before_segments");
    FOREBAY_RETURN_IF_ERROR(DeleteSegments(batch));
    FOREBAY_FAILPOINT("delete.after_segments");
  }
  FOREBAY_RETURN_IF_ERROR(parts_.manifests.Remove(batch.manifest.id));
  if (batch.manifest.failed()) dead_lettered_->Increment();
  return OkStatus();
}

}  // namespace forebay::upload
