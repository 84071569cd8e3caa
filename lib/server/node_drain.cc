// The node that leaves: drains, the stop that begins with one, volumes that another node left.
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "base/log.h"
#include "server/node.h"

namespace forebay::server {
namespace {

// Part of drain.timeout that is kept for the stop itself.
constexpr int kStopPart = 8;
// So long a volume's new owner waits to learn who the members are.
constexpr std::chrono::seconds kMembersWait{10};
constexpr std::chrono::milliseconds kReplayStep{200};

}  // namespace

void Node::OpenDrain() {
  drainer_ = std::make_unique<Drainer>(
      Drainer::Parts{clock_, *wal_, *store_, *queue_, *batcher_, *disk_account_, transfers_.get(),
                     intake_.get(), [this] { return adxmon_ != nullptr && adxmon_->storing(); }},
      [this] { return discovery_->ReportShutdownCompleted(clock_.Now()); });
  discovery_->OnShutdownRequested([this] {
    drainer_->Begin({"the pod's annotation", config().drain.timeout, /*report_completion=*/true});
  });
}

void Node::BeginDrain(const std::string& cause) {
  drainer_->Begin({cause, config().drain.timeout, /*report_completion=*/false});
}

bool Node::DrainsOnStop() const {
  const std::string& on_stop = options_.config.drain.on_stop;
  if (on_stop != "auto") return on_stop == "always";
  const auto members = membership_->Snapshot();
  return std::any_of(members->members().begin(), members->members().end(),
                     [this](const auto& member) { return member.name != membership_->self(); });
}

Status Node::Shutdown() {
  const config::Drain drain = config().drain;
  const MonotonicTime now = clock_.Monotonic();
  stopping_ = true;
  if (!started_ || !DrainsOnStop()) return Stop(now + drain.stop_timeout);
  const auto time = drain.timeout - std::min(drain.timeout / kStopPart, drain.stop_timeout);
  drainer_->Begin({"stop", time, /*report_completion=*/false, /*restart=*/true});
  const DrainReport report = drainer_->Wait({now + time, drain.stop_timeout});
  const MonotonicTime after = clock_.Monotonic();
  const MonotonicTime end = std::max(now + drain.timeout, after + std::chrono::milliseconds(100));
  Status stopped = Stop(std::min(end, after + drain.stop_timeout));
  if (report.state == DrainState::kDrained) return stopped;
  const std::string why = fmt::format("{}", fmt::join(report.left.why, "; "));
  LogError("stopped before all was brought away: it stays on the volume and goes at the next start",
           {{"rows", report.left.rows + report.left.unsealed_rows},
            {"bytes", report.left.bytes},
            {"segments", report.left.segments},
            {"oldest_seconds", report.left.oldest_seconds},
            {"why", why}});
  return Error(ErrorCode::kDeadlineExceeded, "rows are left on the volume: " + why);
}

DrainReport Node::Replay(MonotonicTime deadline, const std::stop_token& stop) {
  const MonotonicTime members = std::min(deadline, clock_.Monotonic() + kMembersWait);
  while (HandsOver() && !membership_->known() && !stop.stop_requested() &&
         clock_.Monotonic() < members) {
    std::this_thread::sleep_for(kReplayStep);
  }
  drainer_->Begin(
      {"replay of a volume",
       std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock_.Monotonic()),
       /*report_completion=*/false});
  MonotonicTime next_line = clock_.Monotonic() + std::chrono::seconds(5);
  while (true) {
    DrainReport report = drainer_->Wait({std::min(deadline, clock_.Monotonic() + kReplayStep), {}});
    const MonotonicTime now = clock_.Monotonic();
    if (report.state != DrainState::kDraining || stop.stop_requested() || now >= deadline) {
      return report;
    }
    if (now < next_line) continue;
    next_line = now + std::chrono::seconds(5);
    LogInfo("the volume is being brought away",
            {{"left_rows", report.left.rows + report.left.unsealed_rows},
             {"handed_over_rows", report.handed_over_rows},
             {"uploaded_rows", report.uploaded_rows}});
  }
}

Result<SendReport> Node::Send(const SendOptions& options, const std::stop_token& stop) {
  wal_->Hold("the volume is being sent away");
  FOREBAY_RETURN_IF_ERROR(wal_->Flush(clock_.Monotonic() + options.seal_timeout));
  VolumeSender sender(options, VolumeSender::Parts{*storage_fs_, clock_, *store_, *manifests_,
                                                   options_.config.storage.dir});
  return sender.Run(stop);
}

}  // namespace forebay::server
