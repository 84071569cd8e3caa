// A WAL over a file system in memory, with requests whose samples carry unique values, so that a
// test can say of each sample where it is. Used by the WAL's unit and model tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "io/memory_file_system.h"
#include "table/schema.h"
#include "table/series_table.h"
#include "table/table_registry.h"
#include "wal/accounted_file_system.h"
#include "wal/disk_budget.h"
#include "wal/quarantine.h"
#include "wal/request_ledger.h"
#include "wal/segment_reader.h"
#include "wal/segment_store.h"
#include "wal/series_block.h"
#include "wal/wal.h"

namespace forebay::testing {

// A request's body: (series number, timestamp, value) as plain bytes.
struct TestSample {
  uint32_t series = 0;
  int64_t timestamp = 0;
  uint64_t value = 0;
};

inline constexpr size_t kTestSampleBytes = 20;

inline std::string EncodeBody(const std::vector<TestSample>& samples) {
  std::string body(samples.size() * kTestSampleBytes, '\0');
  char* out = body.data();
  for (const TestSample& sample : samples) {
    std::memcpy(out, &sample.series, 4);
    std::memcpy(out + 4, &sample.timestamp, 8);
    std::memcpy(out + 12, &sample.value, 8);
    out += kTestSampleBytes;
  }
  return body;
}

inline std::vector<TestSample> DecodeBody(std::span<const char> body) {
  std::vector<TestSample> samples(body.size() / kTestSampleBytes);
  const char* in = body.data();
  for (TestSample& sample : samples) {
    std::memcpy(&sample.series, in, 4);
    std::memcpy(&sample.timestamp, in + 4, 8);
    std::memcpy(&sample.value, in + 12, 8);
    in += kTestSampleBytes;
  }
  return samples;
}

// Values of samples by number of times they were found.
using ValueCounts = std::map<uint64_t, int>;

class WalHarness final : public wal::ReplayHandler {
 public:
  // clock: outlives the harness; null: the system's.
  explicit WalHarness(io::FileSystem& fs, wal::WalOptions options = {},
                      const Clock* clock = nullptr)
      : fs_(fs), clock_(clock == nullptr ? system_clock_ : *clock), options_(std::move(options)) {
    options_.storage.dir = "data";
    options_.storage.reserve = {0};
  }
  ~WalHarness() override = default;

  // Opens a WAL as a fresh process would. False when it could not.
  Status Open() {
    table::SeriesTable::Options series_options;
    series_options.hash_seed = 11;
    registry_ = std::make_unique<table::TableRegistry>(1000);
    series_ = std::make_unique<table::SeriesTable>(series_options);
    account_ = std::make_unique<wal::DiskAccount>(fs_, options_.storage.dir);
    account_->Load();
    accounted_ = std::make_unique<wal::AccountedFileSystem>(fs_, *account_);
    io::FileSystem& fs = *accounted_;
    reserve_ = std::make_unique<wal::DiskReserve>(fs, options_.storage.dir,
                                                  options_.storage.reserve.value);
    disk_ = std::make_unique<wal::DiskBudget>(options_.storage, fs, clock_, *account_, *reserve_);
    store_ = std::make_unique<wal::SegmentStore>(fs, clock_, "data/segments");
    quarantine_ = std::make_unique<wal::Quarantine>(fs, "data/quarantine", quarantine_bytes_);
    FOREBAY_RETURN_IF_ERROR(quarantine_->Open());
    wal::RequestLedger::Options ledger_options;
    ledger_options.directory = "data/ledger";
    ledger_options.window = ledger_window_;
    ledger_options.max_entries = 100'000;
    ledger_ = std::make_unique<wal::RequestLedger>(fs, clock_, ledger_options);
    FOREBAY_RETURN_IF_ERROR(ledger_->Load());
    ledger_options.directory = "data/peer-ledger";
    peer_ledger_ = std::make_unique<wal::RequestLedger>(fs, clock_, ledger_options);
    FOREBAY_RETURN_IF_ERROR(peer_ledger_->Load());
    auto opened = wal::Wal::Open(options_, fs, clock_, *series_, *registry_, *store_, *quarantine_,
                                 *this, {ledger_.get(), peer_ledger_.get(), disk_.get()});
    if (!opened.ok()) return Error(opened.error());
    wal_ = std::move(*opened);
    return {};
  }
  void Close() { wal_.reset(); }
  // For the next Open.
  void set_quarantine_bytes(uint64_t bytes) { quarantine_bytes_ = bytes; }
  void set_ledger_window(std::chrono::milliseconds window) { ledger_window_ = window; }
  // How many tables the series are spread over.
  void set_tables(uint32_t tables) { tables_ = tables; }
  // Sees every record with its status, on the thread that completes it, before the sender does.
  void set_on_done(std::function<void(const wal::PendingRecord&)> on_done) {
    on_done_ = std::move(on_done);
  }

  // A request: its samples, and the indexes of those that are refused, ascending.
  struct Request {
    std::vector<TestSample> samples;
    std::vector<uint32_t> refused;
  };

  // As a receiver does: writes the requests unless the ledger knows them, all at once, and waits
  // for their fates. OK: acknowledged.
  std::vector<Status> WriteOnce(const std::vector<Request>& requests) {
    std::vector<Status> fates(requests.size());
    std::vector<std::unique_ptr<Pending>> pending(requests.size());
    for (size_t i = 0; i < requests.size(); ++i) {
      std::string body = EncodeBody(requests[i].samples);
      const wal::RequestIdentity identity = wal::IdentityOf({"test", "tenant", "", 0, body});
      const auto known = ledger_->Begin(identity).state;
      if (known == wal::RequestLedger::State::kInFlight) {
        fates[i] = Error(ErrorCode::kUnavailable, "in flight");
      }
      if (known != wal::RequestLedger::State::kNew) continue;
      pending[i] = Start(requests[i], std::move(body), identity);
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      if (pending[i] == nullptr) continue;
      fates[i] = Finish(requests[i], *pending[i]);
      if (!fates[i].ok()) ledger_->Abort(pending[i]->record.identity);
    }
    return fates;
  }
  // As the receiver of a transfer does; kAlreadyExists when the ledger knows the segment.
  Status HandOver(wal::PeerSegment segment) {
    if (auto bad = wal::CheckBlocks(segment)) return Error(ErrorCode::kCorruption, bad->reason);
    const std::string description = wal::DescribePeerSegment(segment);
    wal::PendingRecord record;
    record.kind = wal::RecordKind::kPeerSegment;
    record.identity = wal::IdentityOf({"transfer", description, "", 3, segment.bytes});
    if (peer_ledger_->Begin(record.identity).state != wal::RequestLedger::State::kNew) {
      return Error(ErrorCode::kAlreadyExists, "known");
    }
    FOREBAY_ASSIGN_OR_RETURN(auto lease, wal_->Enter());
    std::promise<void> committed;
    record.received = clock_.Now();
    record.tenant = description;
    record.body = segment.bytes;
    record.context = &committed;
    record.done = [](wal::PendingRecord* done) {
      static_cast<std::promise<void>*>(done->context)->set_value();
    };
    wal_->Commit(lease, &record);
    committed.get_future().wait();
    if (!record.status.ok()) {
      peer_ledger_->Abort(record.identity);
      return record.status;
    }
    store_->rows().ArrivedFromPeer(segment.name.database, segment.rows);
    lease.AppendPeerSegment(0, std::move(segment));
    peer_ledger_->Finish({record.identity, record.received, record.outcome}, lease.sequence());
    return {};
  }

  Status WriteOnce(const std::vector<TestSample>& samples) {
    return WriteOnce(std::vector<Request>{{samples, {}}}).front();
  }

  // Writes one request and waits for its fate. OK: acknowledged. identity: begun in the ledger.
  Status Write(const std::vector<TestSample>& samples, wal::RequestIdentity identity = {}) {
    const Request request{samples, {}};
    const auto pending = Start(request, EncodeBody(samples), identity);
    return Finish(request, *pending);
  }

  Status Replay(const wal::ReplayedRecord& record, wal::GenerationLease& lease) override {
    return AppendSamples(DecodeBody(record.body), record.refused, lease);
  }

  Status Flush() { return wal_->Flush(clock_.Monotonic() + std::chrono::seconds(20)); }

  // The values in all segments that the store knows.
  ValueCounts StoredValues() const {
    ValueCounts counts;
    for (const wal::TableBacklog& table : store_->Backlog()) {
      for (const wal::SegmentPointer& segment : table.segments)
        CountValues(segment->file_name, counts);
    }
    return counts;
  }

  // Takes all segments away, as an upload does. Returns their values.
  ValueCounts UploadAll() {
    ValueCounts counts;
    std::vector<wal::SegmentLease> leases;
    for (const wal::TableBacklog& table : store_->Backlog()) {
      for (const wal::SegmentPointer& segment : table.segments) {
        auto lease = store_->Take(segment->file_name);
        if (!lease.ok()) continue;
        CountValues(segment->file_name, counts);
        leases.push_back(std::move(*lease));
      }
    }
    Status deleted = store_->DeleteSegments(leases);
    while (!deleted.ok()) deleted = store_->DeleteSegments(leases);
    return counts;
  }

  wal::Wal& wal() { return *wal_; }
  wal::SegmentStore& store() { return *store_; }
  wal::RequestLedger& ledger() { return *ledger_; }
  wal::RequestLedger& peer_ledger() { return *peer_ledger_; }
  const wal::DiskAccount& account() { return *account_; }
  const wal::DiskBudget& disk() { return *disk_; }
  wal::Quarantine& quarantine() { return *quarantine_; }
  table::SeriesTable& series() { return *series_; }

 private:
  struct Pending {
    Result<wal::GenerationLease> lease{wal::GenerationLease()};
    std::string body;
    wal::PendingRecord record;
    std::promise<void> committed;
    WalHarness* harness = nullptr;
  };

  std::unique_ptr<Pending> Start(const Request& request, std::string body,
                                 wal::RequestIdentity identity) {
    auto pending = std::make_unique<Pending>();
    pending->harness = this;
    pending->body = std::move(body);
    wal::PendingRecord& record = pending->record;
    record.received = clock_.Now();
    record.tenant = "tenant";
    record.body = pending->body;
    record.refused = request.refused;
    record.identity = identity;
    record.outcome.samples = static_cast<uint32_t>(request.samples.size());
    record.context = pending.get();
    record.done = [](wal::PendingRecord* done) {
      auto* self = static_cast<Pending*>(done->context);
      if (self->harness->on_done_) self->harness->on_done_(*done);
      self->committed.set_value();
    };
    pending->lease = wal_->Enter();
    if (pending->lease.ok()) wal_->Commit(*pending->lease, &record);
    return pending;
  }

  Status Finish(const Request& request, Pending& pending) {
    if (!pending.lease.ok()) return Error(pending.lease.error());
    pending.committed.get_future().wait();
    const wal::PendingRecord& record = pending.record;
    if (!record.status.ok()) return record.status;
    FOREBAY_RETURN_IF_ERROR(AppendSamples(request.samples, request.refused, *pending.lease));
    if (record.identity) {
      ledger_->Finish({record.identity, record.received, record.outcome},
                      pending.lease->sequence());
    }
    pending.lease->Release();
    return {};
  }

  Status AppendSamples(const std::vector<TestSample>& samples, std::span<const uint32_t> refused,
                       wal::GenerationLease& lease) {
    std::vector<table::SeriesRef> refs;
    std::vector<int64_t> timestamps;
    std::vector<uint64_t> values;
    for (size_t i = 0; i < samples.size(); ++i) {
      const TestSample& sample = samples[i];
      if (std::binary_search(refused.begin(), refused.end(), static_cast<uint32_t>(i))) continue;
      const std::string name = "s" + std::to_string(sample.series);
      const table::SeriesKey key = series_->HashKey(name, 0);
      table::SeriesRef ref = series_->Find(key);
      if (ref == table::kUnknownSeries) {
        const std::string table_name = "T" + std::to_string(sample.series % tables_);
        FOREBAY_ASSIGN_OR_RETURN(
            const table::TableId table,
            registry_->Intern("Db", table_name, table::DefaultMetricsSchema()));
        const std::vector<table::Label> labels = {{"name", name}};
        table::NewSeries series;
        series.table = table;
        series.series_id = static_cast<int64_t>(sample.series * 7919 % 1000);
        series.labels = labels;
        FOREBAY_ASSIGN_OR_RETURN(ref, series_->Add(key, series, lease.sequence()));
      }
      refs.push_back(ref);
      timestamps.push_back(sample.timestamp);
      values.push_back(sample.value);
    }
    lease.Append(0, {refs, timestamps, values});
    return {};
  }

  void CountValues(const std::string& file_name, ValueCounts& counts) const {
    auto reader = wal::SegmentReader::Open(fs_, "data/segments/" + file_name);
    // An injected fault must not make the test miss what is there.
    for (int i = 0; i < 100 && !reader.ok(); ++i) {
      reader = wal::SegmentReader::Open(fs_, "data/segments/" + file_name);
    }
    if (!reader.ok()) return;
    wal::SeriesBlockDecoder decoder;
    while (true) {
      auto block = (*reader)->Next();
      if (!block.ok() || !*block) return;
      const std::string_view payload((*block)->payload.data(), (*block)->payload.size());
      if (!decoder.Decode(payload, (*block)->header.row_count).ok()) continue;
      for (const uint64_t value : decoder.values()) ++counts[value];
    }
  }

  io::FileSystem& fs_;
  const SystemClock system_clock_;
  const Clock& clock_;
  wal::WalOptions options_;
  std::function<void(const wal::PendingRecord&)> on_done_;
  uint32_t tables_ = 5;
  uint64_t quarantine_bytes_ = wal::kDefaultQuarantineBytes;
  std::unique_ptr<wal::DiskAccount> account_;
  std::unique_ptr<wal::AccountedFileSystem> accounted_;
  std::unique_ptr<wal::DiskReserve> reserve_;
  std::unique_ptr<wal::DiskBudget> disk_;
  std::unique_ptr<table::TableRegistry> registry_;
  std::unique_ptr<table::SeriesTable> series_;
  std::unique_ptr<wal::SegmentStore> store_;
  std::unique_ptr<wal::Quarantine> quarantine_;
  std::chrono::milliseconds ledger_window_{0};
  std::unique_ptr<wal::RequestLedger> ledger_;
  std::unique_ptr<wal::RequestLedger> peer_ledger_;
  std::unique_ptr<wal::Wal> wal_;
};

}  // namespace forebay::testing
