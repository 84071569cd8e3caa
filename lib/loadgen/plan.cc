#include "loadgen/plan.h"

#include <algorithm>

#include "loadgen/request_template.h"

namespace forebay::loadgen {
namespace {

constexpr int64_t kDayMillis = 86'400'000;
// Spacing of the samples of the first request in real time, when a request has several of a series.
constexpr int64_t kFirstSpacing = 1000;

}  // namespace

RequestPlan::RequestPlan(const LoadOptions& options, UnixMillis now)
    : series_(options.series),
      series_per_request_(std::min<uint64_t>(options.series_per_request, options.series)),
      samples_per_series_(options.samples_per_series),
      groups_((series_ + series_per_request_ - 1) / series_per_request_),
      rate_(options.rate),
      step_(options.step ? options.step->count() : 0),
      churn_by_samples_(options.churn_clock == ChurnClock::kSample) {
  uint64_t rounds = 0;
  if (options.samples > 0) {
    const uint64_t round_samples = series_ * samples_per_series_;
    const uint64_t group_samples = series_per_request_ * samples_per_series_;
    const uint64_t rest = options.samples % round_samples;
    max_requests_ =
        options.samples / round_samples * groups_ + (rest + group_samples - 1) / group_samples;
    rounds = (max_requests_ + groups_ - 1) / groups_;
  }
  if (step_ > 0) {
    // The last sample of a run of known length is at `now`.
    const int64_t span =
        rounds > 0 ? static_cast<int64_t>(rounds * samples_per_series_ - 1) * step_ : kDayMillis;
    start_ = options.start ? options.start->value : now.value - span;
  }
}

uint32_t RequestPlan::group_series(uint64_t group) const {
  return static_cast<uint32_t>(std::min(series_per_request_, series_ - first_series(group)));
}

void RequestPlan::Timestamps(uint64_t round, UnixMillis now, int64_t last,
                             std::span<int64_t> out) const {
  const auto count = static_cast<int64_t>(out.size());
  int64_t first = 0;
  int64_t spacing = step_;
  if (step_ > 0) {
    first = start_ + static_cast<int64_t>(round) * count * step_;
  } else {
    const int64_t end = std::max(now.value, last + count);
    spacing = last == 0 ? kFirstSpacing : std::max<int64_t>(1, (end - last) / count);
    first = end - (count - 1) * spacing;
  }
  for (int64_t i = 0; i < count; ++i) {
    out[static_cast<size_t>(i)] = std::clamp(first + i * spacing, kMinTimestamp, kMaxTimestamp);
  }
}

std::chrono::milliseconds RequestPlan::ChurnTime(uint64_t round,
                                                 std::chrono::milliseconds elapsed) const {
  if (!churn_by_samples_) return elapsed;
  return std::chrono::milliseconds(static_cast<int64_t>(round * samples_per_series_) * step_);
}

std::chrono::nanoseconds RequestPlan::Due(uint64_t n) const {
  if (rate_ <= 0) return std::chrono::nanoseconds{0};
  const uint64_t series_before = n / groups_ * series_ + first_series(n % groups_);
  const auto samples =
      static_cast<double>(series_before) * static_cast<double>(samples_per_series_);
  return std::chrono::nanoseconds(static_cast<int64_t>(samples / rate_ * 1e9));
}

}  // namespace forebay::loadgen
