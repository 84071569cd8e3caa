// The worker threads of a load run; see run.h.
#include "loadgen/run.h"

#include <fmt/core.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "loadgen/otlp_answer.h"
#include "loadgen/otlp_template.h"
#include "loadgen/plan.h"
#include "loadgen/request_template.h"
#include "loadgen/sender.h"

namespace forebay::loadgen {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using Steady = std::chrono::steady_clock;

constexpr size_t kMaxErrorText = 300;

SeriesModel::Options ModelOptions(const LoadOptions& options) {
  SeriesModel::Options model;
  model.series = options.series;
  model.tables = options.tables;
  model.labels = options.labels;
  model.churn_percent_per_minute = options.churn_percent_per_minute;
  return model;
}

RequestTemplate::Shape GroupShape(const LoadOptions& options, const RequestPlan& plan,
                                  uint64_t group) {
  RequestTemplate::Shape shape;
  shape.protocol = options.protocol;
  shape.values = options.values;
  shape.first_series = plan.first_series(group);
  shape.series = plan.group_series(group);
  shape.samples_per_series = options.samples_per_series;
  shape.histogram_share = options.histogram_share;
  shape.exemplar_share = options.exemplar_share;
  return shape;
}

OtlpTemplate::Shape OtlpShape(const LoadOptions& options, const RequestPlan& plan, uint64_t group) {
  OtlpTemplate::Shape shape;
  shape.signal = options.signal;
  shape.values = options.values;
  shape.first_series = plan.first_series(group);
  shape.series = plan.group_series(group);
  shape.samples_per_series = options.samples_per_series;
  shape.record_bytes = options.record_bytes;
  return shape;
}

// The body of a group's request, of either protocol.
class GroupBody {
 public:
  GroupBody(const SeriesModel& model, const LoadOptions& options, const RequestPlan& plan,
            uint64_t group) {
    if (IsOtlp(options.protocol)) {
      body_.emplace<OtlpTemplate>(model, OtlpShape(options, plan, group));
    } else {
      body_.emplace<RequestTemplate>(model, GroupShape(options, plan, group));
    }
  }

  // Replaces `wire` by what is to be sent: remote write compressed, OTLP as it is. Returns the size
  // of the protobuf.
  size_t Make(uint64_t round, std::span<const int64_t> timestamps, milliseconds elapsed,
              ByteBuffer& wire) {
    if (auto* const otlp = std::get_if<OtlpTemplate>(&body_)) {
      const std::string_view raw = otlp->Fill(round, timestamps, elapsed);
      // The next request of the group may be made while this one is still on its way.
      wire.clear();
      wire.Append(raw);
      return raw.size();
    }
    const std::string_view raw = std::get<RequestTemplate>(body_).Fill(round, timestamps, elapsed);
    CompressSnappy(raw, wire);
    return raw.size();
  }
  const RequestContents& contents() const {
    if (const auto* const otlp = std::get_if<OtlpTemplate>(&body_)) return otlp->contents();
    return std::get<RequestTemplate>(body_).contents();
  }

 private:
  std::variant<std::monostate, RequestTemplate, OtlpTemplate> body_;
};

// A series group; the mutex is held while a body is made, never while it is sent.
struct Group {
  Group(const SeriesModel& model, const LoadOptions& options, const RequestPlan& plan,
        uint64_t number)
      : body(model, options, plan, number) {}
  Mutex mutex;
  GroupBody body GUARDED_BY(mutex);
  int64_t last_timestamp GUARDED_BY(mutex) = 0;  // Unix ms
};

// What all workers see.
struct Shared {
  Shared(const LoadOptions& o, UnixMillis now) : options(o), model(ModelOptions(o)), plan(o, now) {
    groups.reserve(plan.groups());
    for (uint64_t g = 0; g < plan.groups(); ++g) {
      groups.push_back(std::make_unique<Group>(model, o, plan, g));
    }
  }

  bool exclusive() const { return groups.size() >= options.connections; }

  const LoadOptions& options;
  const SeriesModel model;
  const RequestPlan plan;
  std::vector<std::unique_ptr<Group>> groups;
  std::atomic<uint64_t> next_request{0};  // when the groups are shared
  std::stop_token stop;
  Steady::time_point begin;
  Steady::time_point end;  // of handing out requests
};

nanoseconds ThreadCpu() {
  timespec time{};
  (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

class Worker {
 public:
  Worker(Shared& shared, uint32_t index, Sender sender)
      : shared_(shared),
        index_(index),
        sender_(std::move(sender)),
        timestamps_(shared.options.samples_per_series) {}

  void Run() {
    while (const std::optional<uint64_t> number = NextRequest()) {
      if (!SendRequest(*number)) break;
    }
    report_.connects = sender_.connects();
    report_.client_cpu = ThreadCpu();
  }
  const LoadReport& report() const { return report_; }

 private:
  // No new requests.
  bool Over() const { return shared_.stop.stop_requested() || Steady::now() >= shared_.end; }
  // No further attempts.
  bool GiveUp() const {
    return shared_.stop.stop_requested() || Steady::now() >= shared_.end + shared_.options.drain;
  }

  std::optional<uint64_t> NextRequest();
  bool SendRequest(uint64_t number);
  RequestContents MakeBody(uint64_t number);
  void Deliver(const RequestContents& contents, Steady::time_point intended);
  void Settle(const RequestContents& contents, const Reply& reply);
  void SettleOtlp(const RequestContents& contents, const Reply& reply);
  void SettleUnknown(const RequestContents& contents);
  void NoteError(std::string text);
  bool SleepUntil(Steady::time_point time, Steady::time_point limit);

  Shared& shared_;
  const uint32_t index_;
  Sender sender_;
  LoadReport report_;
  uint64_t sent_ = 0;  // requests so far, for the walk over the own groups
  ByteBuffer compressed_;
  std::vector<int64_t> timestamps_;
  std::condition_variable_any sleep_;
};

// Own groups: index, index + connections, ... of each round. Shared ones: whatever comes next.
std::optional<uint64_t> Worker::NextRequest() {
  if (Over()) return std::nullopt;
  uint64_t number = 0;
  if (shared_.exclusive()) {
    const uint64_t groups = shared_.groups.size();
    const uint64_t own =
        (groups - index_ + shared_.options.connections - 1) / shared_.options.connections;
    number = sent_ / own * groups + index_ + sent_ % own * shared_.options.connections;
    ++sent_;
  } else {
    number = shared_.next_request.fetch_add(1);
  }
  if (number >= shared_.plan.max_requests()) return std::nullopt;
  return number;
}

// Returns false when `time` is beyond `limit`, or after a stop.
bool Worker::SleepUntil(Steady::time_point time, Steady::time_point limit) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  const auto until = std::min(time, limit);
  while (!shared_.stop.stop_requested() && Steady::now() < until) {
    sleep_.wait_until(lock, shared_.stop, until, [] { return false; });
  }
  return !shared_.stop.stop_requested() && time <= limit;
}

bool Worker::SendRequest(uint64_t number) {
  Steady::time_point intended = Steady::now();
  if (shared_.options.rate > 0) {
    intended = shared_.begin + shared_.plan.Due(number);
    if (!SleepUntil(intended, shared_.end)) return false;
    report_.max_behind = std::max<nanoseconds>(report_.max_behind, Steady::now() - intended);
  }
  const RequestContents contents = MakeBody(number);
  // Without a rate a latency is the receiver's: making the body is not part of it.
  if (shared_.options.rate <= 0) intended = Steady::now();
  Deliver(contents, intended);
  return true;
}

RequestContents Worker::MakeBody(uint64_t number) {
  const uint64_t round = number / shared_.groups.size();
  Group& group = *shared_.groups[number % shared_.groups.size()];
  const UnixMillis now = SystemClock().Now();
  const auto elapsed = std::chrono::duration_cast<milliseconds>(Steady::now() - shared_.begin);
  MutexLock lock(group.mutex);
  shared_.plan.Timestamps(round, now, group.last_timestamp, timestamps_);
  group.last_timestamp = timestamps_.back();
  const size_t raw =
      group.body.Make(round, timestamps_, shared_.plan.ChurnTime(round, elapsed), compressed_);
  ++report_.requests;
  report_.raw_bytes += raw;
  report_.body_bytes += compressed_.size();
  return group.body.contents();
}

void Worker::Deliver(const RequestContents& contents, Steady::time_point intended) {
  bool maybe_taken = false;
  for (uint32_t attempt = 0;; ++attempt) {
    // A request that was begun in time gets its answer: it may take the drain time beyond the end.
    const auto deadline = std::min(Steady::now() + shared_.options.request_timeout,
                                   shared_.end + shared_.options.drain);
    const Result<Reply> reply = sender_.Post(compressed_.view(), attempt, deadline, shared_.stop);
    std::optional<milliseconds> retry_after;
    if (reply.ok()) {
      ++report_.statuses[reply->status];
      const Verdict verdict = Judge(shared_.options.protocol, *reply);
      if (verdict != Verdict::kAccepted)
        NoteError(fmt::format("{}: {}", reply->status, reply->body));
      if (verdict != Verdict::kRetry || !shared_.options.retry || GiveUp()) {
        if (verdict != Verdict::kRetry) report_.latency.Add(Steady::now() - intended);
        // After an attempt without an answer a last refusal does not say that nothing was taken.
        if (verdict != Verdict::kAccepted && maybe_taken) {
          SettleUnknown(contents);
        } else {
          Settle(contents, *reply);
        }
        return;
      }
      retry_after = reply->retry_after;
    } else {
      ++report_.network_errors;
      NoteError(reply.error().message());
      maybe_taken = maybe_taken || reply.error().code() == ErrorCode::kAborted;
    }
    if (!shared_.options.retry || GiveUp() ||
        !SleepUntil(Steady::now() + Backoff(attempt + 1, retry_after),
                    shared_.end + shared_.options.drain)) {
      if (reply.ok() && !maybe_taken) {
        Settle(contents, *reply);
      } else {
        SettleUnknown(contents);
      }
      return;
    }
    ++report_.retries;
    if (!reply.ok() && reply.error().code() == ErrorCode::kAborted) {
      report_.maybe_duplicated += contents.samples;
    }
  }
}

void Worker::Settle(const RequestContents& contents, const Reply& reply) {
  if (IsOtlp(shared_.options.protocol)) {
    SettleOtlp(contents, reply);
    return;
  }
  const auto settle = [&](Account& account, uint64_t count, std::optional<uint64_t> written) {
    if (Judge(reply.status) == Verdict::kAccepted) {
      account.accepted += count;
    } else if (reply.status == 400 && written && *written <= count) {
      account.accepted += *written;
      account.refused += count - *written;
    } else if (reply.status == 400) {
      // The good series of a 1.0 request may have been kept; the answer does not say how many.
      account.unknown += count;
    } else {
      account.refused += count;
    }
  };
  settle(report_.samples, contents.samples, reply.samples_written);
  settle(report_.histograms, contents.histograms, reply.histograms_written);
  settle(report_.exemplars, contents.exemplars, reply.exemplars_written);
}

// A success tells how many items were rejected; any other answer means that nothing was taken.
void Worker::SettleOtlp(const RequestContents& contents, const Reply& reply) {
  if (Judge(shared_.options.protocol, reply) != Verdict::kAccepted) {
    report_.samples.refused += contents.samples;
    return;
  }
  const auto partial = reply.body_whole ? ParseExportResponse(reply.body) : std::nullopt;
  if (!partial || partial->rejected > contents.samples) {
    NoteError("the answer is no export response");
    SettleUnknown(contents);
    return;
  }
  report_.samples.accepted += contents.samples - partial->rejected;
  report_.samples.refused += partial->rejected;
  if (!partial->message.empty()) NoteError(partial->message);
}

void Worker::SettleUnknown(const RequestContents& contents) {
  report_.samples.unknown += contents.samples;
  report_.histograms.unknown += contents.histograms;
  report_.exemplars.unknown += contents.exemplars;
}

void Worker::NoteError(std::string text) {
  if (!report_.first_error.empty()) return;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  report_.first_error = text.substr(0, kMaxErrorText);
}

}  // namespace

Verdict Judge(int status) {
  if (status >= 200 && status < 300) return Verdict::kAccepted;
  if (status >= 500 || status == 429) return Verdict::kRetry;
  return Verdict::kRefused;
}

Verdict Judge(Protocol protocol, const Reply& reply) {
  const int status = reply.status;
  if (protocol == Protocol::kOtlpHttp) {
    if (status == 429 || (status >= 502 && status <= 504)) return Verdict::kRetry;
    return status >= 200 && status < 300 ? Verdict::kAccepted : Verdict::kRefused;
  }
  if (protocol != Protocol::kOtlpGrpc) return Judge(status);
  switch (status) {
    case 0:
      return Verdict::kAccepted;
    case 1:   // CANCELLED
    case 4:   // DEADLINE_EXCEEDED
    case 10:  // ABORTED
    case 11:  // OUT_OF_RANGE
    case 14:  // UNAVAILABLE
    case 15:  // DATA_LOSS
      return Verdict::kRetry;
    case 8:  // RESOURCE_EXHAUSTED
      return reply.retry_after ? Verdict::kRetry : Verdict::kRefused;
    default:
      return Verdict::kRefused;
  }
}

milliseconds Backoff(uint32_t attempt, std::optional<milliseconds> retry_after) {
  constexpr milliseconds kFirst{30};
  constexpr milliseconds kMost{5'000};
  constexpr uint32_t kDoublings = 8;  // 30 ms * 2^8 is above the most
  if (retry_after) return *retry_after;
  return std::min(kMost, kFirst * (1 << std::min(attempt > 0 ? attempt - 1 : 0, kDoublings)));
}

Result<LoadReport> RunLoad(const LoadOptions& given, const std::stop_token& stop) {
  FOREBAY_ASSIGN_OR_RETURN(const LoadOptions options, ResolveOptions(given));
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<Sender> senders;
  for (uint32_t i = 0; i < options.connections; ++i) {
    FOREBAY_ASSIGN_OR_RETURN(Sender sender, Sender::Create(options));
    senders.push_back(std::move(sender));
  }
  Shared shared(options, SystemClock().Now());
  shared.stop = stop;
  shared.begin = Steady::now();
  shared.end = shared.begin + options.duration;
  for (uint32_t i = 0; i < options.connections; ++i) {
    workers.push_back(std::make_unique<Worker>(shared, i, std::move(senders[i])));
  }
  {
    std::vector<std::jthread> threads;
    for (uint32_t i = 0; i < options.connections; ++i) {
      Worker* worker = workers[i].get();
      threads.push_back(
          StartThread(fmt::format("load-{}", i), [worker](std::stop_token) { worker->Run(); }));
    }
  }
  LoadReport report;
  report.options = options;
  report.elapsed = Steady::now() - shared.begin;
  report.interrupted = stop.stop_requested();
  for (const auto& worker : workers) report.Merge(worker->report());
  return report;
}

Result<uint64_t> DumpBodies(const LoadOptions& given, io::FileSystem& fs,
                            const std::string& directory) {
  LoadOptions options = given;
  if (options.samples == 0) options.samples = options.series * options.samples_per_series;
  // Without a clock that runs there is only the samples' own time.
  if (!options.step) options.step = milliseconds(15'000);
  options.churn_clock = ChurnClock::kSample;
  FOREBAY_ASSIGN_OR_RETURN(options, ResolveOptions(options));
  const UnixMillis now = SystemClock().Now();
  const Shared shared(options, now);
  const uint64_t requests = shared.plan.max_requests();
  if (requests > kMaxDumpedRequests) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} bodies are more than {}", requests, kMaxDumpedRequests));
  }
  FOREBAY_RETURN_IF_ERROR(fs.CreateDirectories(directory));
  ByteBuffer compressed;
  std::vector<int64_t> timestamps(options.samples_per_series);
  std::string extension = options.protocol == Protocol::kRemoteWrite2 ? "rw2.snappy" : "rw1.snappy";
  if (IsOtlp(options.protocol)) extension = fmt::format("{}.pb", SignalName(options.signal));
  for (uint64_t n = 0; n < requests; ++n) {
    const uint64_t round = n / shared.groups.size();
    Group& group = *shared.groups[n % shared.groups.size()];
    shared.plan.Timestamps(round, now, 0, timestamps);
    {
      MutexLock lock(group.mutex);
      (void)group.body.Make(round, timestamps, shared.plan.ChurnTime(round, milliseconds{0}),
                            compressed);
    }
    const std::string path = io::JoinPath(directory, fmt::format("{:06}.{}", n, extension));
    FOREBAY_ASSIGN_OR_RETURN(const std::unique_ptr<io::File> file,
                             fs.Open(path, io::OpenMode::kCreateOrTruncate));
    FOREBAY_RETURN_IF_ERROR(file->Write(compressed.view()));
    FOREBAY_RETURN_IF_ERROR(file->Close());
  }
  return requests;
}

}  // namespace forebay::loadgen
