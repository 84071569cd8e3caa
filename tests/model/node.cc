// The wiring of server/node.cc without its threads of batcher and upload, and the reading of the
// sink's files by zlib.
#include "model/node.h"

#include <fmt/core.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <set>
#include <thread>

#include "upload/sink_set.h"

namespace forebay::testing {
namespace {

constexpr int64_t kFirstTimestamp = 1'700'000'000'000;
constexpr uint64_t kSeries = 23;
constexpr int kMaxRounds = 60;  // of draining; each skips two seconds

wal::WalOptions LogOptions(const Node::Options& options) {
  wal::WalOptions log;
  log.generation.max_memory = {options.max_memory};
  log.storage.max_disk = {options.max_disk};
  log.storage.reserve = {options.reserve};
  return log;
}

Result<std::string> Gunzip(std::string_view bytes) {
  std::string out;
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return Error(ErrorCode::kInternal, "inflateInit2");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  char buffer[1 << 14];
  int result = Z_OK;
  while (result == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof(buffer);
    result = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer, sizeof(buffer) - stream.avail_out);
  }
  const bool whole = result == Z_STREAM_END && stream.avail_in == 0;
  inflateEnd(&stream);
  if (!whole) return Error(ErrorCode::kCorruption, "not a whole gzip file");
  return out;
}

// The row as the file sink writes it, or nothing when no sample is like that.
std::string RowOf(uint64_t number) {
  const TestSample sample = SampleOf(number);
  return fmt::format("{},{},\"{{\"\"name\"\":\"\"s{}\"\"}}\",", FormatRfc3339({sample.timestamp}),
                     sample.series * 7919 % 1000, sample.series);
}

Status CountRows(const std::string& path, const std::string& csv, NumberCounts& counts) {
  size_t begin = csv.find('\n') + 1;
  while (begin < csv.size()) {
    const size_t end = csv.find('\n', begin);
    if (end == std::string::npos) return Error(ErrorCode::kCorruption, path + ": a row is cut");
    const std::string row = csv.substr(begin, end - begin);
    begin = end + 1;
    const size_t comma = row.rfind(',');
    const double value = std::strtod(row.c_str() + comma + 1, nullptr);
    if (!(value >= 1 && value <= 1e15)) return Error(ErrorCode::kCorruption, path + ": " + row);
    const auto number = static_cast<uint64_t>(value);
    if (row.substr(0, comma + 1) != RowOf(number)) {
      return Error(ErrorCode::kCorruption, fmt::format("{}: row of sample {} is {}, not {}", path,
                                                       number, row, RowOf(number)));
    }
    ++counts[number];
  }
  return OkStatus();
}

}  // namespace

TestSample SampleOf(uint64_t number) {
  return {static_cast<uint32_t>(number * 7 % kSeries),
          kFirstTimestamp + static_cast<int64_t>(number),
          std::bit_cast<uint64_t>(static_cast<double>(number))};
}

WalHarness::Request RequestOf(uint64_t first, size_t count, size_t refuse_each) {
  WalHarness::Request request;
  for (size_t i = 0; i < count; ++i) {
    request.samples.push_back(SampleOf(first + i));
    if (refuse_each != 0 && (i + 1) % refuse_each == 0) {
      request.refused.push_back(static_cast<uint32_t>(i));
    }
  }
  return request;
}

Node::Node(io::MemoryFileSystem& fs) : Node(fs, Options()) {}

Node::Node(io::MemoryFileSystem& fs, const Options& options)
    : fs_(fs), log_(fs, LogOptions(options), &clock_) {
  log_.set_ledger_window(std::chrono::hours(1));
}

Node::~Node() {
  clock_.Reset();  // Stop has a deadline of now.
  pool_.reset();
  batcher_.reset();
  queue_.reset();
}

Status Node::Open() {
  FOREBAY_RETURN_IF_ERROR(log_.Open());
  manifests_ = std::make_unique<wal::ManifestStore>(fs_, "data/batches", log_.quarantine());
  queue_ = std::make_unique<wal::BatchQueue>(clock_, wal::BatchQueue::Limits{});
  config::Database database;
  database.name = "Db";
  database.sinks.push_back(
      {.name = "", .file = config::FileSink{.root = "out", .compression_level = 1}});
  FOREBAY_ASSIGN_OR_RETURN(
      auto sinks, upload::SinkSet::Create(std::span(&database, 1), {fs_, clock_, registry_}));
  batch::BatcherOptions options;
  options.sinks = sinks.Names();
  config::Upload upload;
  upload.retry_initial = std::chrono::milliseconds(1);
  upload.retry_max = std::chrono::milliseconds(10);
  pool_ = std::make_unique<upload::UploadPool>(
      upload, upload::DeadLetterPlace{"data/dlq", UINT64_MAX}, std::move(sinks),
      upload::UploadParts{fs_, clock_, log_.store(), *manifests_, *queue_, log_.quarantine(),
                          registry_});
  batcher_ = std::make_unique<batch::Batcher>(options, clock_, log_.store(), *manifests_, *queue_,
                                              registry_);
  return batcher_->Resume();
}

Status Node::Flush(std::chrono::milliseconds limit) {
  return log_.wal().Flush(SystemClock().Monotonic() + limit);
}

void Node::Work() {
  for (int round = 0; round < kMaxRounds; ++round) {
    const size_t planned = batcher_->RunOnce(wal::BatchReason::kFlush);
    bool worked = false;
    for (int n = 0; n < kMaxRounds && pool_->RunOnce(clock_.Monotonic()); ++n) worked = true;
    if (planned == 0 && !worked) return;
  }
}

bool Node::WaitFor(const std::function<bool()>& condition) {
  const MonotonicTime end = SystemClock().Monotonic() + std::chrono::seconds(2);
  while (!condition()) {
    if (SystemClock().Monotonic() > end) return false;
    clock_.Skip(std::chrono::seconds(1));
    (void)Flush(std::chrono::milliseconds(1));  // wakes whoever waits for a retry
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

bool Node::Serves() {
  return WaitFor([this] { return log_.wal().Enter().ok(); });
}

bool Node::Decides() {
  return WaitFor([this] { return !log_.wal().stats().refused_may_return; });
}

size_t Node::Waiting() { return queue_->size() + log_.store().Totals().segments; }

Status Node::Drain(std::chrono::milliseconds limit) {
  Status status = OkStatus();
  for (int round = 0; round < kMaxRounds; ++round) {
    status = Flush(limit);
    Work();
    if (status.ok() && Waiting() == 0) return OkStatus();
    clock_.Skip(std::chrono::seconds(2));
  }
  if (!status.ok()) return status;
  return Error(ErrorCode::kInternal,
               fmt::format("{} batches and segments wait for ever", Waiting()));
}

std::vector<Status> SendAll(Node& node, Account& account,
                            const std::vector<WalHarness::Request>& requests) {
  // Bodies of the requests whose commit was tried: others have not come near the disk.
  std::mutex mutex;
  std::set<std::string> tried;
  node.log().set_on_done([&](const wal::PendingRecord& record) {
    const std::lock_guard lock(mutex);
    tried.emplace(record.body.data(), record.body.size());
  });
  std::vector<Status> answers = node.log().WriteOnce(requests);
  node.log().set_on_done({});
  const bool undecided = node.log().wal().stats().refused_may_return;
  for (size_t i = 0; i < requests.size(); ++i) {
    using Fate = Account::Fate;
    const bool may_return = undecided && tried.contains(EncodeBody(requests[i].samples));
    account.Answer(requests[i], answers[i].ok() ? Fate::kAcknowledged
                                : may_return    ? Fate::kUndecided
                                                : Fate::kFailed);
  }
  return answers;
}

std::unique_ptr<io::MemoryFileSystem> PowerCut(io::MemoryFileSystem& disk,
                                               std::unique_ptr<Node>& node,
                                               const std::optional<io::CrashOptions>& crash,
                                               Account* account) {
  if (account != nullptr && node != nullptr && !node->log().wal().stats().refused_may_return) {
    account->Decide();
  }
  auto copy = disk.Clone();
  disk.FailAlways(io::FileOperation::kAny, Error(ErrorCode::kIo, "the power is off"));
  node.reset();
  if (crash) copy->Crash(*crash);
  if (crash && account != nullptr) account->Cut();
  return copy;
}

std::map<std::string, std::string> FilesOf(io::FileSystem& fs, const std::string& directory) {
  std::map<std::string, std::string> files;
  const auto entries = fs.List(directory);
  if (!entries.ok()) return files;
  for (const io::DirectoryEntry& entry : *entries) {
    const std::string path = io::JoinPath(directory, entry.name);
    if (entry.is_directory) {
      files.merge(FilesOf(fs, path));
    } else if (auto bytes = io::ReadFile(fs, path, uint64_t{1} << 30); bytes.ok()) {
      files[path] = *std::move(bytes);
    }
  }
  return files;
}

Result<NumberCounts> Delivered(const io::MemoryFileSystem& fs) {
  const auto copy = fs.Clone();  // without the faults of the original
  NumberCounts counts;
  for (const auto& [path, bytes] : FilesOf(*copy, "out")) {
    if (!path.ends_with(".csv.gz")) continue;
    auto csv = Gunzip(bytes);
    if (!csv.ok()) return csv.error().WithContext(path);
    FOREBAY_RETURN_IF_ERROR(CountRows(path, *csv, counts));
  }
  return counts;
}

uint64_t Account::Send(size_t count) {
  const std::lock_guard lock(mutex_);
  const uint64_t first = fates_.size() + 1;
  fates_.resize(fates_.size() + count, Fate::kUnanswered);
  return first;
}

void Account::Answer(const WalHarness::Request& request, Fate answer) {
  const std::lock_guard lock(mutex_);
  size_t next_refused = 0;
  for (size_t i = 0; i < request.samples.size(); ++i) {
    const double number = std::bit_cast<double>(request.samples[i].value);
    Fate& fate = fates_[static_cast<size_t>(number) - 1];
    const bool refused =
        next_refused < request.refused.size() && request.refused[next_refused] == i;
    if (refused) ++next_refused;
    if (fate == Fate::kDamaged) continue;
    if (refused) {
      fate = Fate::kRefused;
    } else if (answer == Fate::kAcknowledged || fate == Fate::kUnanswered ||
               (answer == Fate::kUndecided && fate == Fate::kFailed)) {
      fate = answer;  // else: a retry that fails takes nothing back
    }
  }
}

void Account::Decide() {
  const std::lock_guard lock(mutex_);
  std::replace(fates_.begin(), fates_.end(), Fate::kUndecided, Fate::kFailed);
}

void Account::Cut() {
  const std::lock_guard lock(mutex_);
  std::replace(fates_.begin(), fates_.end(), Fate::kUndecided, Fate::kMayReturn);
}

void Account::Damage(uint64_t number) {
  const std::lock_guard lock(mutex_);
  Fate& fate = fates_[number - 1];
  if (fate == Fate::kAcknowledged) fate = Fate::kDamaged;
}

void Account::MayReturn(uint64_t number) {
  const std::lock_guard lock(mutex_);
  Fate& fate = fates_[number - 1];
  if (fate == Fate::kFailed) fate = Fate::kMayReturn;
}

uint64_t Account::sent() const {
  const std::lock_guard lock(mutex_);
  return fates_.size();
}

uint64_t Account::Count(Fate fate) const {
  const std::lock_guard lock(mutex_);
  return static_cast<uint64_t>(std::count(fates_.begin(), fates_.end(), fate));
}

std::vector<Account::Fate> Account::Fates() const {
  const std::lock_guard lock(mutex_);
  return fates_;
}

std::string CheckAccount(const std::vector<Account::Fate>& fates, const NumberCounts& delivered,
                         const CheckOptions& options) {
  using Fate = Account::Fate;
  for (const auto& [number, count] : delivered) {
    if (number == 0 || number > fates.size())
      return fmt::format("sample {} was never sent", number);
    if (count != 1) return fmt::format("sample {} was delivered {} times", number, count);
    const Fate fate = fates[number - 1];
    if (fate == Fate::kRefused) return fmt::format("sample {} was refused and delivered", number);
    if (fate == Fate::kFailed || fate == Fate::kUndecided) {
      return fmt::format("sample {} was answered 503 and delivered", number);
    }
  }
  for (uint64_t number = 1; number <= fates.size(); ++number) {
    const Fate fate = fates[number - 1];
    const bool must =
        fate == Fate::kAcknowledged || (options.all_must_be_there && fate != Fate::kRefused);
    if (must && !delivered.contains(number)) {
      return fmt::format("sample {} was {} and is not delivered", number,
                         fate == Fate::kAcknowledged ? "acknowledged" : "repeated until answered");
    }
  }
  return {};
}

std::string Settle(Node& node, const io::MemoryFileSystem& disk, const Account& account,
                   const std::string& when) {
  const Status drained = node.Drain();
  if (!drained.ok()) return when + ": " + drained.error().ToString();
  const auto delivered = Delivered(disk);
  if (!delivered.ok()) return when + ": " + delivered.error().ToString();
  std::string wrong = CheckAccount(account.Fates(), *delivered);
  return wrong.empty() ? wrong : when + ": " + wrong;
}

}  // namespace forebay::testing
