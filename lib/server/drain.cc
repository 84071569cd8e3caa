// The steps of a drain, and what is said of it.
#include "server/drain.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/thread.h"
#include "config/print.h"

namespace forebay::server {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSealStep{500};  // a drain that is cancelled is noticed after it
constexpr milliseconds kLookStep{50};
constexpr milliseconds kIdleStep{1000};
// Batches that failed are tried again after so long, doubling.
constexpr milliseconds kFirstWake{1000};
constexpr milliseconds kMaxWake{15'000};
constexpr milliseconds kFirstReport{500};
constexpr milliseconds kMaxReport{30'000};
constexpr size_t kMaxBatchesSeen = 4096;

double Seconds(MonotonicTime from, MonotonicTime to) {
  return std::max(0.0, std::chrono::duration<double>(to - from).count());
}

}  // namespace

std::string_view Name(DrainState state) {
  switch (state) {
    case DrainState::kServing:
      return "serving";
    case DrainState::kDraining:
      return "draining";
    case DrainState::kDrained:
      return "drained";
    case DrainState::kOverdue:
      return "overdue";
  }
  return "";
}

std::string DrainReport::Json() const {
  nlohmann::json json;
  json["state"] = Name(state);
  json["cause"] = cause;
  json["seconds"] = seconds;
  json["handed_over_rows"] = handed_over_rows;
  json["uploaded_rows"] = uploaded_rows;
  json["left"] = {{"rows", left.rows},
                  {"bytes", left.bytes},
                  {"segments", left.segments},
                  {"batches", left.batches},
                  {"unsealed_rows", left.unsealed_rows},
                  {"rows_open_with_peers", left.open_rows},
                  {"oldest_seconds", left.oldest_seconds},
                  {"why", left.why}};
  json["aside"] = {{"dead_letter_files", dead_letter_files},
                   {"quarantine_files", quarantine_files},
                   {"unreadable_segments", unreadable_segments}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Drainer::Drainer(const Parts& parts, std::function<Status()> on_completed)
    : parts_(parts), on_completed_(std::move(on_completed)) {}

Drainer::~Drainer() { Stop(); }

void Drainer::Start() {
  thread_ = StartThread("drain", [this](const std::stop_token& stop) { Run(stop); });
}

void Drainer::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

// Peers are told before the log holds, so that they do not see it as a shortage.
void Drainer::SetMode(bool on) {
  if (parts_.intake != nullptr) parts_.intake->SetLeaving(on);
  if (!on) parts_.wal.Hold("");
  if (parts_.transfers != nullptr) parts_.transfers->SetDraining(on);
  parts_.batcher.SetDraining(on);
}

void Drainer::Begin(const Request& request) {
  const Totals totals = RowTotals();
  const DrainLeft left = Left(true);
  const MonotonicTime now = parts_.clock.Monotonic();
  {
    MutexLock lock(mutex_);
    if (stopping_) return;
    report_wanted_ = report_wanted_ || request.report_completion;
    changed_.NotifyAll();
    if (state_ != DrainState::kServing) parts_.queue.WakeAll();
    if (state_ != DrainState::kServing && request.restart) {
      if (state_ == DrainState::kOverdue) state_ = DrainState::kDraining;
      deadline_ = now + request.timeout;
      progress_ = now;
    }
    if (state_ != DrainState::kServing) return;
    deadline_ = now + request.timeout;
    state_ = DrainState::kDraining;
    ++number_;
    cause_ = request.cause;
    began_ = progress_ = now;
    at_begin_ = totals;
    sealed_ = held_ = false;
    least_rows_ = left.rows + left.unsealed_rows;
    SetMode(true);
  }
  LogInfo("draining: nothing new is taken, what is here goes to other members or into the sinks",
          {{"cause", request.cause},
           {"rows", left.rows + left.unsealed_rows},
           {"segments", left.segments},
           {"timeout_ms", request.timeout.count()}});
}

bool Drainer::Cancel() {
  {
    MutexLock lock(mutex_);
    if (state_ == DrainState::kServing || stopping_) return false;
    state_ = DrainState::kServing;
    report_wanted_ = false;
    SetMode(false);
    changed_.NotifyAll();
  }
  LogInfo("the drain is called off: the node takes data again");
  return true;
}

Drainer::Totals Drainer::RowTotals() const {
  Totals totals;
  for (const auto& [database, rows] : parts_.store.rows().Snapshot()) {
    totals.uploaded += rows.uploaded;
    totals.transferred += rows.transferred;
    totals.unsealed += rows.unsealed;
  }
  return totals;
}

DrainLeft Drainer::Left(bool sealed) const {
  DrainLeft left;
  const wal::StoreTotals store = parts_.store.Totals();
  left.sealed = sealed && !parts_.wal.stats().recovering;
  left.rows = store.rows;
  left.bytes = store.file_bytes;
  left.segments = store.segments;
  left.unsealed_rows = RowTotals().unsealed;
  left.batches = parts_.queue.size();
  if (parts_.transfers != nullptr) {
    const transfer::PoolStatus pool = parts_.transfers->status();
    left.batches += pool.waiting + pool.running;
    left.open_rows = pool.open_rows;
  }
  if (const auto oldest = parts_.store.OldestCreated()) {
    left.oldest_seconds =
        std::max(0.0, static_cast<double>(parts_.clock.Now().value - oldest->value) / 1000.0);
  }
  return left;
}

// Says why, for people: most rows first is not needed, each reason once.
void Drainer::Explain(DrainLeft& left) const {
  const auto say = [&left](std::string text) {
    if (left.why.size() < kMaxDrainReasons) left.why.push_back(std::move(text));
  };
  if (!left.sealed) say("journals are not sealed yet");
  struct Stuck {
    uint64_t batches = 0;
    uint64_t rows = 0;
  };
  std::map<std::string, Stuck> failing;
  Stuck going;
  for (const wal::BatchStatus& batch : parts_.queue.Snapshot(kMaxBatchesSeen)) {
    Stuck& stuck = batch.last_error.empty()
                       ? going
                       : failing[batch.database + ": " + config::MaskSecrets(batch.last_error)];
    ++stuck.batches;
    stuck.rows += batch.rows;
  }
  for (const auto& [error, stuck] : failing) {
    say(fmt::format("{} batches of {} rows cannot be uploaded, database {}", stuck.batches,
                    stuck.rows, error));
  }
  if (going.batches != 0) {
    say(fmt::format("{} batches of {} rows wait for a worker or are being uploaded", going.batches,
                    going.rows));
  }
  if (parts_.transfers != nullptr) {
    const transfer::PoolStatus pool = parts_.transfers->status();
    if (pool.open_rows != 0) {
      say(fmt::format("{} rows may be at a peer that has not said so: {}", pool.open_rows,
                      pool.last_error));
    } else if (pool.waiting + pool.running != 0) {
      say(fmt::format("{} batches are on their way to peers", pool.waiting + pool.running));
    }
  }
  Stuck waiting;
  std::set<std::string> databases;
  for (const auto& table : parts_.store.Backlog()) {
    for (const auto& segment : table.segments) {
      ++waiting.batches;
      waiting.rows += segment->rows;
      databases.insert(segment->name.database);
    }
  }
  if (waiting.batches != 0) {
    say(
        fmt::format("{} segments of {} rows wait for room behind those, or their database ({}) has "
                    "no sink",
                    waiting.batches, waiting.rows, fmt::join(databases, ", ")));
  }
}

DrainState Drainer::state() const {
  MutexLock lock(mutex_);
  return state_;
}

DrainReport Drainer::report() const {
  bool sealed = false;
  {
    MutexLock lock(mutex_);
    sealed = sealed_ || state_ == DrainState::kServing;
  }
  DrainReport report;
  report.left = Left(sealed);
  const Totals totals = RowTotals();
  const auto usage = parts_.disk.usage();
  report.dead_letter_files = usage[static_cast<size_t>(wal::DiskClass::kDeadLetters)].files;
  report.quarantine_files = usage[static_cast<size_t>(wal::DiskClass::kQuarantine)].files;
  report.unreadable_segments = parts_.store.Totals().unreadable;
  {
    MutexLock lock(mutex_);
    report.state = state_;
    if (state_ == DrainState::kServing) return report;
    report.cause = cause_;
    const bool done = state_ == DrainState::kDrained;
    report.seconds = Seconds(began_, done ? ended_ : parts_.clock.Monotonic());
    report.handed_over_rows = totals.transferred - at_begin_.transferred;
    report.uploaded_rows = totals.uploaded - at_begin_.uploaded;
  }
  if (!report.left.none()) Explain(report.left);
  return report;
}

// Something is being uploaded that did not fail before: a large batch takes its time.
bool Drainer::Trying() const {
  const auto batches = parts_.queue.Snapshot(kMaxBatchesSeen);
  return std::any_of(batches.begin(), batches.end(), [](const wal::BatchStatus& batch) {
    return batch.running && batch.failures == 0;
  });
}

DrainReport Drainer::Wait(const WaitOptions& options) {
  const DrainState at_start = state();
  while (true) {
    const bool trying = options.patience && Trying();
    const MonotonicTime now = parts_.clock.Monotonic();
    MutexLock lock(mutex_);
    const bool goes_on =
        state_ == DrainState::kDraining || (state_ == DrainState::kOverdue && state_ == at_start);
    if (!goes_on || stopping_ || now >= options.deadline) break;
    if (trying) progress_ = now;
    if (options.patience && now - progress_ >= *options.patience) break;
    changed_.WaitUntil(lock, std::min(options.deadline, now + kLookStep));
  }
  return report();
}

// False: not yet.
bool Drainer::Hold(uint64_t number) {
  const bool storing = parts_.storing != nullptr && parts_.storing();
  MutexLock lock(mutex_);
  if (number != number_ || state_ == DrainState::kServing) return false;
  if (held_) return true;
  if (storing && parts_.clock.Monotonic() - began_ < kStoreWhole) return false;
  parts_.wal.Hold(kDrainingText);
  held_ = true;
  return true;
}

bool Drainer::Seal(uint64_t number) {
  if (!Hold(number)) return false;
  FOREBAY_FAILPOINT("drain.before_seal");
  const Status sealed = parts_.wal.Flush(parts_.clock.Monotonic() + kSealStep);
  if (!sealed.ok()) return false;
  FOREBAY_FAILPOINT("drain.after_seal");
  // Whatever was held back after a failure is tried at once.
  parts_.queue.WakeAll();
  wake_pause_ = kFirstWake;
  next_wake_ = parts_.clock.Monotonic() + wake_pause_;
  next_report_ = {};
  report_pause_ = kFirstReport;
  MutexLock lock(mutex_);
  if (number == number_) sealed_ = true;
  return true;
}

milliseconds Drainer::Look(uint64_t number) {
  DrainLeft left = Left(true);
  const MonotonicTime now = parts_.clock.Monotonic();
  const bool none = left.none();
  if (none) FOREBAY_FAILPOINT("drain.before_report");
  bool drained = false;
  bool overdue = false;
  {
    MutexLock lock(mutex_);
    if (number != number_ || state_ == DrainState::kServing) return kLookStep;
    if (state_ == DrainState::kDrained) return kIdleStep;
    const uint64_t rows = left.rows + left.unsealed_rows;
    if (rows < least_rows_) {
      least_rows_ = rows;
      progress_ = now;
    }
    drained = none;
    overdue = !none && state_ == DrainState::kDraining && now >= deadline_;
    if (drained) ended_ = now;
    if (drained) state_ = DrainState::kDrained;
    if (overdue) state_ = DrainState::kOverdue;
    changed_.NotifyAll();
  }
  if (drained || overdue) Report(number);
  if (!drained && now >= next_wake_) {
    parts_.queue.WakeAll();
    wake_pause_ = std::min(wake_pause_ * 2, kMaxWake);
    next_wake_ = now + wake_pause_;
  }
  return kLookStep;
}

void Drainer::Report(uint64_t number) {
  const DrainReport done = report();
  if (done.state == DrainState::kDrained) {
    LogInfo("drained: nothing is left on the volume", {{"seconds", done.seconds},
                                                       {"handed_over_rows", done.handed_over_rows},
                                                       {"uploaded_rows", done.uploaded_rows}});
  } else {
    LogError("the drain's time is over and rows are left on the volume; it goes on",
             {{"rows", done.left.rows + done.left.unsealed_rows},
              {"bytes", done.left.bytes},
              {"segments", done.left.segments},
              {"oldest_seconds", done.left.oldest_seconds},
              {"why", fmt::format("{}", fmt::join(done.left.why, "; "))},
              {"drain", number}});
  }
  if (done.dead_letter_files + done.quarantine_files + done.unreadable_segments == 0) return;
  LogWarn("the volume holds what no drain brings away: look at it before it is deleted",
          {{"dead_letter_files", done.dead_letter_files},
           {"quarantine_files", done.quarantine_files},
           {"unreadable_segments", done.unreadable_segments}});
}

void Drainer::TellCompleted(uint64_t number) {
  const Status told = on_completed_();
  if (!told.ok()) {
    LogWarn("that the drain is completed could not be told; it is tried again",
            {{"error", told.error().ToString()}});
    next_report_ = parts_.clock.Monotonic() + report_pause_;
    report_pause_ = std::min(report_pause_ * 2, kMaxReport);
    return;
  }
  MutexLock lock(mutex_);
  if (number == number_) report_wanted_ = false;
}

void Drainer::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    uint64_t number = 0;
    bool sealed = false;
    bool completed = false;
    {
      MutexLock lock(mutex_);
      while (state_ == DrainState::kServing && !stopping_) changed_.Wait(lock);
      if (stopping_) break;
      number = number_;
      sealed = sealed_;
      completed = state_ == DrainState::kDrained && report_wanted_ && on_completed_ != nullptr;
    }
    milliseconds pause{0};
    if (!sealed) {
      pause = Seal(number) ? milliseconds{0} : kLookStep;
    } else if (completed && parts_.clock.Monotonic() >= next_report_) {
      TellCompleted(number);
    } else {
      pause = Look(number);
      if (completed) pause = kLookStep;
    }
    if (pause.count() == 0) continue;
    MutexLock lock(mutex_);
    if (!stopping_) changed_.WaitUntil(lock, std::chrono::steady_clock::now() + pause);
  }
  // A stop that came between the end and the word of it.
  uint64_t number = 0;
  {
    MutexLock lock(mutex_);
    if (state_ != DrainState::kDrained || !report_wanted_ || on_completed_ == nullptr) return;
    number = number_;
  }
  TellCompleted(number);
}

}  // namespace forebay::server
