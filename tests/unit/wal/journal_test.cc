// Journals: what was appended comes back, and damage of any kind and place costs the record that it
// hits and no other.
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "io/crc.h"
#include "io/memory_file_system.h"
#include "support/doc_example.h"
#include "wal/journal_reader.h"
#include "wal/journal_writer.h"

namespace forebay::wal {
namespace {

struct TestRecord {
  RecordKind kind = RecordKind::kRemoteWrite1;
  int64_t received = 0;
  std::string tenant;
  std::vector<uint32_t> refused;
  std::string body;
  RequestIdentity identity = {};
  RequestOutcome outcome = {};

  bool operator==(const TestRecord&) const = default;
  size_t bytes() const {
    return kRecordHeaderBytes + refused.size() * 4 + tenant.size() + body.size();
  }
};

// Appends the records in one write.
void Append(JournalWriter& writer, const std::vector<TestRecord>& records) {
  std::vector<PendingRecord> pending(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    pending[i].kind = records[i].kind;
    pending[i].received = UnixMillis{records[i].received};
    pending[i].tenant = records[i].tenant;
    pending[i].refused = records[i].refused;
    pending[i].body = records[i].body;
    pending[i].identity = records[i].identity;
    pending[i].outcome = records[i].outcome;
    pending[i].next = i + 1 < records.size() ? &pending[i + 1] : nullptr;
  }
  REQUIRE(writer.Append(pending.data()).ok());
}

constexpr JournalIdentity kJournal{0xABC, 0x5A17'5A17};
const std::string kJournalPath = JournalFileName(kJournal);

std::string Write(const std::vector<std::vector<TestRecord>>& groups,
                  const JournalIdentity& identity = kJournal,
                  const std::vector<AbandonedJournal>& abandoned = {}) {
  io::MemoryFileSystem fs;
  JournalWriter::Options options;
  options.identity = identity;
  options.abandoned = abandoned;
  auto writer = JournalWriter::Create(fs, ".", options);
  REQUIRE(writer.ok());
  for (const auto& group : groups) Append(**writer, group);
  REQUIRE((*writer)->Sync().ok());
  std::string bytes = *fs.Contents(JournalFileName(identity));
  CHECK((*writer)->bytes() + kJournalEndBytes == bytes.size());
  return bytes;
}

// Without the end mark.
std::string WriteOpen(const std::vector<std::vector<TestRecord>>& groups,
                      const JournalIdentity& identity = kJournal) {
  std::string bytes = Write(groups, identity);
  bytes.resize(bytes.size() - kJournalEndBytes);
  return bytes;
}

struct JournalReading {
  std::vector<TestRecord> records;
  std::vector<uint64_t> offsets;
  std::vector<JournalDamage> damage;
  std::vector<AbandonedJournal> abandoned;
  JournalIdentity identity;
  bool header_holds = true;
  bool complete = true;
};

JournalReading Read(const std::string& bytes, const std::string& name = kJournalPath,
                    const JournalReader::Options& options = {}) {
  io::MemoryFileSystem fs;
  REQUIRE(io::WriteFileDurably(fs, name, bytes).ok());
  auto reader = JournalReader::Open(fs, name, options);
  REQUIRE(reader.ok());
  JournalReading reading;
  while (true) {
    const auto record = (*reader)->Next();
    REQUIRE(record.ok());
    if (!record->has_value()) break;
    const ReplayedRecord& found = **record;
    reading.records.push_back({found.kind,
                               found.received.value,
                               std::string(found.tenant),
                               {found.refused.begin(), found.refused.end()},
                               {found.body.begin(), found.body.end()},
                               found.identity,
                               found.outcome});
    reading.offsets.push_back((*reader)->offset());
  }
  REQUIRE_FALSE((*reader)->Next()->has_value());  // the end stays the end
  reading.damage = (*reader)->damage();
  uint64_t end = (*reader)->header_holds() ? kJournalHeaderBytes : 0;
  for (const JournalDamage& damage : reading.damage) {
    REQUIRE(damage.offset >= end);
    REQUIRE(damage.length > 0);
    end = damage.offset + damage.length;
    REQUIRE(end <= bytes.size());
    const auto range = (*reader)->ReadRange(damage.offset, damage.length);
    REQUIRE(range.ok());
    REQUIRE(*range == bytes.substr(damage.offset, damage.length));
  }
  reading.abandoned = (*reader)->abandoned();
  reading.identity = (*reader)->identity();
  reading.header_holds = (*reader)->header_holds();
  reading.complete = (*reader)->complete();
  return reading;
}

std::vector<TestRecord> SmallRecords() {
  return {{RecordKind::kRemoteWrite1, 1, "tenant", {3, 70'000}, "first body"},
          {RecordKind::kRemoteWrite2, -1, "", {}, "second"},
          {RecordKind::kRemoteWrite1, INT64_MAX, "t", {0}, ""},
          {RecordKind::kRemoteWrite1, 4, "", {}, "FBR1 in a body is not a record"}};
}

// Offsets of the records of one group, and the end.
std::vector<uint64_t> Offsets(const std::vector<TestRecord>& records) {
  std::vector<uint64_t> offsets = {kJournalHeaderBytes};
  for (const TestRecord& record : records) offsets.push_back(offsets.back() + record.bytes());
  return offsets;
}

std::vector<TestRecord> Without(std::vector<TestRecord> records, size_t i) {
  records.erase(records.begin() + static_cast<ptrdiff_t>(i));
  return records;
}

}  // namespace

TEST_CASE("journal: records of several groups come back in order with all their fields") {
  std::mt19937 random(5);
  std::vector<std::vector<TestRecord>> groups;
  std::vector<TestRecord> all;
  for (int group = 0; group < 20; ++group) {
    groups.emplace_back();
    for (uint32_t i = 0; i <= random() % 5; ++i) {
      TestRecord record;
      record.kind = static_cast<RecordKind>(1 + random() % 2);
      record.received = static_cast<int64_t>(random()) - 1'000'000;
      record.tenant.assign(random() % 4 == 0 ? 65'535 : random() % 30, 't');
      record.refused.assign(random() % 6, static_cast<uint32_t>(random()));
      // Some are larger than what the reader reads at a time.
      record.body.resize(random() % 20 == 0 ? 3 << 20 : random() % 3000);
      for (char& c : record.body) c = static_cast<char>(random());
      groups.back().push_back(record);
      all.push_back(std::move(record));
    }
  }
  const JournalIdentity identity{0x1234'5678'9ABC'DEF0, 0x1357'9BDF};
  const std::string bytes = Write(groups, identity);
  const JournalReading reading = Read(bytes, "j");
  CHECK(reading.identity == identity);
  CHECK(reading.complete);
  REQUIRE(reading.records == all);
  CHECK(reading.damage.empty());
  std::vector<uint64_t> offsets = Offsets(all);
  CHECK(offsets.back() + kJournalEndBytes == bytes.size());
  offsets.pop_back();
  CHECK(reading.offsets == offsets);
}

TEST_CASE("journal: a journal without records is read as empty") {
  const JournalReading reading = Read(Write({}));
  CHECK(reading.records.empty());
  CHECK(reading.damage.empty());
  CHECK(reading.complete);
}

TEST_CASE("journal: header and name are durable once it is created, records once it is synced") {
  io::MemoryFileSystem fs;
  REQUIRE(fs.CreateDirectories("d").ok());
  JournalWriter::Options options;
  options.identity = kJournal;
  auto writer = JournalWriter::Create(fs, "d", options);
  REQUIRE(writer.ok());
  Append(**writer, {SmallRecords()[0]});
  REQUIRE((*writer)->Sync().ok());
  Append(**writer, {SmallRecords()[1]});
  fs.Crash({.keep_probability = 0});
  const auto contents = fs.Contents("d/" + kJournalPath);
  REQUIRE(contents.ok());
  CHECK(Read(*contents).records == std::vector<TestRecord>{SmallRecords()[0]});
}

TEST_CASE("journal: one group is one write, and a failed one is an error") {
  io::MemoryFileSystem fs;
  JournalWriter::Options options;
  options.identity = kJournal;
  options.durable = false;
  auto writer = JournalWriter::Create(fs, ".", options);
  REQUIRE(writer.ok());
  CHECK(fs.OperationCount(io::FileOperation::kSyncData) == 0);
  CHECK((*writer)->empty());
  const uint64_t before = fs.OperationCount(io::FileOperation::kWrite);
  Append(**writer, SmallRecords());
  CHECK_FALSE((*writer)->empty());
  CHECK(fs.OperationCount(io::FileOperation::kWrite) == before + 1);
  const uint64_t bytes = (*writer)->bytes();
  fs.FailAlways(io::FileOperation::kWrite, Error(ErrorCode::kNoSpace, "full"));
  PendingRecord record;
  const Status status = (*writer)->Append(&record);
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code() == ErrorCode::kNoSpace);
  CHECK((*writer)->bytes() == bytes);
}

TEST_CASE("journal: a file gets a journal's name only with a whole header that is durable") {
  for (const bool reuse : {false, true}) {
    for (uint64_t n = 1;; ++n) {
      INFO("reuse " << reuse << " operation " << n);
      io::MemoryFileSystem fs;
      const std::string old = Write({SmallRecords()}, {0xAAA, 1});
      JournalWriter::Options options;
      options.identity = kJournal;
      if (reuse) {
        REQUIRE(io::WriteFileDurably(fs, "aaa.spare", old).ok());
        options.spare = "aaa.spare";
      }
      fs.FailNth(io::FileOperation::kAny, n, Error(ErrorCode::kIo, "injected"));
      const auto writer = JournalWriter::Create(fs, ".", options);
      fs.ClearFaults();
      const bool visible = *fs.Exists(kJournalPath);
      CHECK(visible == writer.ok());
      if (writer.ok()) {
        REQUIRE(n > 3);
        break;
      }
      // What is left may not pass for a journal, and neither may what a power cut leaves.
      fs.Crash({.seed = n, .granularity = 512, .keep_probability = 0.5});
      if (const auto left = fs.Contents(kJournalPath); left.ok()) {
        CHECK(Read(*left).header_holds);
        CHECK(Read(*left).records.empty());
      }
    }
  }
}

TEST_CASE(
    "journal: space is reserved ahead in growing steps, and a volume that cannot is no error") {
  for (const bool can : {true, false}) {
    INFO("can " << can);
    io::MemoryFileSystem fs;
    JournalWriter::Options options;
    options.identity = kJournal;
    options.reserve_max = 10U << 20;
    auto writer = JournalWriter::Create(fs, ".", options);
    REQUIRE(writer.ok());
    CHECK((*writer)->disk_bytes() == kJournalHeaderBytes + kJournalEndBytes);
    if (!can) {
      fs.FailAlways(io::FileOperation::kAllocate, Error(ErrorCode::kUnimplemented, "cannot"));
    }
    TestRecord record = SmallRecords()[0];
    record.body.assign(50'000, 'b');
    for (int i = 0; i < 250; ++i) {
      Append(**writer, {record});
      REQUIRE((*writer)->Sync().ok());
      const uint64_t end = (*writer)->bytes() + kJournalEndBytes;
      REQUIRE((*writer)->disk_bytes() >= end);
      REQUIRE((*writer)->disk_bytes() <= std::max<uint64_t>(2 * end, 64U << 10));
      REQUIRE((*writer)->disk_bytes() <= std::max<uint64_t>(end, 10U << 20));
      REQUIRE(fs.UsedBytes() == (*writer)->disk_bytes());
    }
    CHECK(fs.OperationCount(io::FileOperation::kAllocate) == (can ? 9U : 1U));
    CHECK(Read(*fs.Contents(kJournalPath)).records.size() == 250);
  }
}

TEST_CASE("journal: a reservation that does not fit does not keep what fits from being written") {
  io::MemoryFileSystem fs;
  fs.SetCapacity(3000);
  JournalWriter::Options options;
  options.identity = kJournal;
  options.reserve_max = 10U << 20;
  auto writer = JournalWriter::Create(fs, ".", options);
  REQUIRE(writer.ok());
  Append(**writer, SmallRecords());
  CHECK(Read(*fs.Contents(kJournalPath)).records == SmallRecords());
}

TEST_CASE("journal: a journal cut at any length keeps every whole record") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::string bytes = Write({records});
  const std::vector<uint64_t> offsets = Offsets(records);
  for (size_t size = kJournalHeaderBytes; size < bytes.size(); ++size) {
    INFO("size " << size);
    const JournalReading reading = Read(bytes.substr(0, size));
    CHECK_FALSE(reading.complete);
    size_t whole = 0;
    while (whole < records.size() && offsets[whole + 1] <= size) ++whole;
    REQUIRE(
        reading.records ==
        std::vector<TestRecord>(records.begin(), records.begin() + static_cast<ptrdiff_t>(whole)));
    if (offsets[whole] == size) {
      REQUIRE(reading.damage.empty());
    } else {
      REQUIRE(reading.damage.size() == 1);
      CHECK(reading.damage[0].torn_tail);
      CHECK(reading.damage[0].offset == offsets[whole]);
      CHECK(reading.damage[0].length == size - offsets[whole]);
    }
  }
}

// What may lie behind a journal's end: nothing, zeros, rubbish, an older journal at any alignment.
std::vector<std::string> StaleTails() {
  std::vector<std::string> tails = {"", std::string(5000, '\0'), std::string(5000, '\xFF')};
  std::string older;
  for (int i = 0; i < 20; ++i) older += WriteOpen({SmallRecords()}, {0xAAA, 0x1111});
  for (const size_t shift : {0, 1, 17, 68}) tails.push_back(older.substr(shift));
  // The same records under the same id, but another salt.
  tails.push_back(Write({SmallRecords()}, {kJournal.id, kJournal.salt + 1}));
  return tails;
}

TEST_CASE("journal: what lies behind the end is no part of the journal") {
  const std::vector<TestRecord> records = SmallRecords();
  for (const std::string& stale : StaleTails()) {
    for (size_t count = 0; count <= records.size(); ++count) {
      const std::vector<TestRecord> some(records.begin(),
                                         records.begin() + static_cast<ptrdiff_t>(count));
      const JournalReading reading = Read(Write({some}) + stale);
      REQUIRE(reading.records == some);
      REQUIRE(reading.damage.empty());
      REQUIRE(reading.complete);
    }
  }
}

TEST_CASE("journal: a record torn over what was there before is a torn tail") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::string bytes = Write({records});
  const std::vector<uint64_t> offsets = Offsets(records);
  for (const std::string& stale : StaleTails()) {
    for (size_t cut = offsets[3] + 1; cut < bytes.size(); ++cut) {
      INFO("cut " << cut);
      std::string torn = bytes.substr(0, cut);
      if (stale.size() > cut) torn += stale.substr(cut);
      if (torn.starts_with(bytes)) continue;  // the end mark ends in zeros
      const JournalReading reading = Read(torn);
      REQUIRE_FALSE(reading.complete);
      // An older journal's record may be the same from here on.
      const bool whole = torn.compare(0, offsets[4], bytes, 0, offsets[4]) == 0;
      REQUIRE(reading.records == (whole ? records : Without(records, 3)));
      if (torn.size() == offsets[whole ? 4 : 3]) continue;
      REQUIRE(reading.damage.size() == 1);
      REQUIRE(reading.damage[0].torn_tail);
      REQUIRE(reading.damage[0].offset == offsets[whole ? 4 : 3]);
    }
  }
}

TEST_CASE("journal: a group that never reached the disk leaves the end of the one before") {
  // The write of the second group begins over the end mark of the first.
  const std::vector<TestRecord> records = SmallRecords();
  const std::string one = Write({{records[0]}});
  const std::string two = Write({{records[0]}, {records[1]}});
  const JournalReading reading = Read(one + two.substr(one.size()));
  CHECK(reading.records == std::vector<TestRecord>{records[0]});
  CHECK(reading.damage.empty());
  CHECK(reading.complete);
}

TEST_CASE("journal: a damaged byte anywhere costs the record that it is in and no other") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::vector<uint64_t> offsets = Offsets(records);
  for (const std::string& stale : StaleTails()) {
    const std::string bytes = Write({records}) + stale;
    for (size_t at = kJournalHeaderBytes; at < offsets.back(); ++at) {
      for (const int flip : {0x01, 0x80, 0xFF}) {
        INFO("byte " << at << " flipped by " << flip);
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ flip);
        size_t hit = 0;
        while (offsets[hit + 1] <= at) ++hit;
        const JournalReading reading = Read(damaged);
        REQUIRE(reading.records == Without(records, hit));
        REQUIRE(reading.complete);
        REQUIRE(reading.damage.size() == 1);
        REQUIRE(reading.damage[0].offset == offsets[hit]);
        REQUIRE(reading.damage[0].length == offsets[hit + 1] - offsets[hit]);
        REQUIRE_FALSE(reading.damage[0].torn_tail);
      }
    }
  }
}

TEST_CASE("journal: a damaged end mark costs nothing but the certainty that it is the end") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::string bytes = Write({records});
  for (size_t at = Offsets(records).back(); at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    const JournalReading reading = Read(damaged);
    REQUIRE(reading.records == records);
    REQUIRE_FALSE(reading.complete);
  }
}

TEST_CASE("journal: a damaged header costs nothing while the name says what it said") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::string bytes = Write({records});
  for (size_t at = 0; at < kJournalHeaderBytes; ++at) {
    INFO("byte " << at);
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    const JournalReading reading = Read(damaged);
    REQUIRE_FALSE(reading.header_holds);
    REQUIRE(reading.identity == kJournal);
    REQUIRE(reading.records == records);
    REQUIRE(reading.damage.size() == 1);
    REQUIRE(reading.damage[0].offset == 0);
    REQUIRE(reading.damage[0].length == kJournalHeaderBytes);
    REQUIRE_FALSE(reading.damage[0].torn_tail);
  }
  // The first record's header with it: a damaged sector.
  std::string damaged = bytes;
  damaged.replace(0, kJournalHeaderBytes + 20, kJournalHeaderBytes + 20, '\0');
  CHECK(Read(damaged).records == Without(records, 0));
  // Nothing left: all of it is damage, not a torn tail.
  const JournalReading nothing = Read(std::string(bytes.size(), '\0'));
  REQUIRE(nothing.damage.size() == 1);
  CHECK(nothing.damage[0].length == bytes.size());
  CHECK_FALSE(nothing.damage[0].torn_tail);
}

TEST_CASE("journal: bytes that stand in the file twice count once") {
  std::vector<TestRecord> records;
  for (int i = 0; i < 8; ++i) {
    records.push_back({RecordKind::kRemoteWrite1, i, "t", {}, std::string(50, 'x')});
  }
  const std::string bytes = Write({records});
  const std::vector<uint64_t> offsets = Offsets(records);
  const size_t length = records[0].bytes();
  for (size_t from = 0; from < records.size(); ++from) {
    for (size_t to = 0; to < records.size(); ++to) {
      INFO("record " << from << " over record " << to);
      std::string damaged = bytes;
      damaged.replace(offsets[to], length, bytes.substr(offsets[from], length));
      JournalReading reading = Read(damaged);
      REQUIRE(reading.damage.size() == (from == to ? 0U : 1U));
      std::sort(reading.records.begin(), reading.records.end(),
                [](const TestRecord& a, const TestRecord& b) { return a.received < b.received; });
      REQUIRE(reading.records == (from == to ? records : Without(records, to)));
      // Between the records.
      std::string inserted = bytes;
      inserted.insert(offsets[to], bytes.substr(offsets[from], length));
      reading = Read(inserted);
      std::sort(reading.records.begin(), reading.records.end(),
                [](const TestRecord& a, const TestRecord& b) { return a.received < b.received; });
      REQUIRE(reading.records == records);
    }
  }
}

TEST_CASE("journal: failed journals that the writer knows of come back, and are no records") {
  const std::vector<AbandonedJournal> abandoned = {{7, 24}, {0xFFFF'FFFF'FFFF'FFFF, 5'000'000'000}};
  const JournalReading reading = Read(Write({SmallRecords()}, kJournal, abandoned));
  CHECK(reading.records == SmallRecords());
  CHECK(reading.abandoned == abandoned);
  CHECK(Read(Write({}, kJournal, abandoned)).abandoned == abandoned);
  CHECK(Read(Write({})).abandoned.empty());
}

TEST_CASE("journal: reading stops at a limit, as if the file ended there") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::string bytes = Write({{records[0], records[1]}, {records[2], records[3]}});
  const std::vector<uint64_t> offsets = Offsets(records);
  for (size_t count = 0; count <= records.size(); ++count) {
    const std::vector<TestRecord> some(records.begin(),
                                       records.begin() + static_cast<ptrdiff_t>(count));
    for (const bool cut : {false, true}) {
      const JournalReading reading =
          Read(cut ? bytes.substr(0, offsets[count]) : bytes, kJournalPath, {offsets[count]});
      CHECK(reading.records == some);
      CHECK(reading.damage.empty());
      CHECK(reading.complete);
    }
  }
  // Damage below the limit was durable once: it is kept.
  std::string damaged = bytes;
  damaged[offsets[1] + 5] ^= 1;
  const JournalReading reading = Read(damaged, kJournalPath, {offsets[2]});
  REQUIRE(reading.damage.size() == 1);
  CHECK_FALSE(reading.damage[0].torn_tail);
}

struct Heads {
  std::vector<uint64_t> offsets;
  std::vector<bool> first;
  std::vector<bool> payload_holds;
};

Heads ReadHeads(const std::string& bytes) {
  io::MemoryFileSystem fs;
  REQUIRE(io::WriteFileDurably(fs, kJournalPath, bytes).ok());
  auto reader = JournalReader::Open(fs, kJournalPath);
  REQUIRE(reader.ok());
  std::vector<JournalReader::Head> found;
  while (true) {
    const auto head = (*reader)->NextHead();
    REQUIRE(head.ok());
    if (!head->has_value()) break;
    found.push_back(**head);
  }
  Heads heads;
  for (const JournalReader::Head& head : found) {
    heads.offsets.push_back(head.offset);
    heads.first.push_back(head.first_of_group);
    const auto holds = (*reader)->PayloadHolds(head);
    REQUIRE(holds.ok());
    heads.payload_holds.push_back(*holds);
  }
  return heads;
}

TEST_CASE("journal: heads are read without payloads, and say where a write began") {
  const std::vector<TestRecord> records = SmallRecords();
  std::string bytes = Write({{records[0], records[1]}, {records[2]}, {records[3]}});
  std::vector<uint64_t> offsets = Offsets(records);
  offsets.pop_back();
  Heads heads = ReadHeads(bytes);
  CHECK(heads.offsets == offsets);
  CHECK(heads.first == std::vector<bool>{true, false, true, true});
  CHECK(heads.payload_holds == std::vector<bool>{true, true, true, true});
  bytes[offsets[1] + kRecordHeaderBytes] ^= 1;
  heads = ReadHeads(bytes);
  CHECK(heads.offsets == offsets);
  CHECK(heads.payload_holds == std::vector<bool>{true, false, true, true});
  bytes[offsets[2] + 20] ^= 1;  // a header: found again behind it
  heads = ReadHeads(bytes);
  CHECK(heads.offsets == std::vector<uint64_t>{offsets[0], offsets[1], offsets[3]});
}

TEST_CASE("journal: a stretch lost in the middle costs the records that it touches") {
  std::vector<TestRecord> records;
  for (int i = 0; i < 8; ++i) {
    records.push_back({RecordKind::kRemoteWrite1, i, "t", {}, std::string(100 + 10 * i, 'x')});
  }
  const std::string bytes = Write({records});
  const std::vector<uint64_t> offsets = Offsets(records);
  std::mt19937 random(9);
  for (int round = 0; round < 200; ++round) {
    const size_t begin = kJournalHeaderBytes + random() % (offsets[7] - kJournalHeaderBytes);
    const size_t length = std::min<size_t>(1 + random() % 300, offsets[7] - begin);
    INFO("begin " << begin << " length " << length << " kind " << round % 3);
    std::string filler(round % 3 == 2 ? 0 : length, '\0');
    if (round % 3 == 1) {
      for (char& c : filler) c = static_cast<char>(random() | 1);
    }
    std::string damaged = bytes;
    damaged.replace(begin, length, filler);
    std::vector<TestRecord> expected;
    for (size_t i = 0; i < records.size(); ++i) {
      if (offsets[i + 1] <= begin || offsets[i] >= begin + length) expected.push_back(records[i]);
    }
    const JournalReading reading = Read(damaged);
    // Zeros over zeros change nothing, so more may come back.
    if (reading.records.size() == expected.size()) REQUIRE(reading.records == expected);
    REQUIRE(reading.records.size() >= expected.size());
    REQUIRE(reading.records.back() == records.back());
  }
}

TEST_CASE("journal: records far behind large damage are found") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::string bytes = Write({records});
  std::string rubbish(3 << 20, '\0');
  std::mt19937 random(1);
  for (char& c : rubbish) c = static_cast<char>(random());
  const uint64_t second = Offsets(records)[1];
  const JournalReading reading = Read(bytes.substr(0, second) + rubbish + bytes.substr(second));
  CHECK(reading.records == records);
  REQUIRE(reading.damage.size() == 2);
  CHECK(reading.damage[0].offset == second);
  CHECK(reading.damage[0].length == rubbish.size());
  CHECK_FALSE(reading.damage[0].torn_tail);
  CHECK(reading.damage[1].length == kJournalEndBytes);  // not where it says that it is
}

// Makes the header at `at` hold, as only somebody can who knows the salt.
void Seal(std::string& bytes, size_t at) {
  const uint32_t seed = JournalSeed(kJournal);
  const uint32_t crc = io::Crc32c({bytes.data() + at + 8, kRecordHeaderBytes - 8}, seed);
  const uint32_t marker = JournalMarker(seed);
  std::memcpy(bytes.data() + at, &marker, 4);
  std::memcpy(bytes.data() + at + 4, &crc, 4);
}

TEST_CASE("journal: bytes made to look like records everywhere cost bounded work and are kept") {
  // Every 68 bytes begins a record that reaches to the end; only its payload's checksum is wrong.
  // Checking them all would be 120 GB of checksums.
  constexpr size_t kSize = 4U << 20;
  std::string bytes = WriteOpen({{SmallRecords()[0]}});
  const size_t begin = bytes.size();
  bytes.resize(begin + kSize, '\0');
  uint32_t sequence = 1;
  for (size_t at = begin; at + kRecordHeaderBytes <= bytes.size(); at += kRecordHeaderBytes) {
    const auto payload = static_cast<uint32_t>(bytes.size() - at - kRecordHeaderBytes);
    std::memcpy(bytes.data() + at + 8, &payload, 4);
    std::memcpy(bytes.data() + at + 12, "none", 4);
    std::memcpy(bytes.data() + at + 16, &sequence, 4);
    ++sequence;
    Seal(bytes, at);
  }
  const JournalReading reading = Read(bytes);
  CHECK(reading.records == std::vector<TestRecord>{SmallRecords()[0]});
  REQUIRE(reading.damage.size() == 1);
  CHECK(reading.damage[0].length == kSize);
  CHECK_FALSE(reading.damage[0].torn_tail);
}

TEST_CASE("journal: a record inside a body is part of the body while the outer record holds") {
  const std::string inner = WriteOpen({{SmallRecords()[0]}}).substr(kJournalHeaderBytes);
  const std::vector<TestRecord> records = {
      {RecordKind::kRemoteWrite1, 1, "outer", {}, inner + inner},
      {RecordKind::kRemoteWrite1, 2, "outer", {}, "behind"}};
  const JournalReading reading = Read(Write({records}));
  CHECK(reading.records == records);
  CHECK(reading.damage.empty());
}

TEST_CASE("journal: a record of another journal is none of this one, wherever it stands") {
  // A client that knows everything but the salt, and damage around what it sent.
  const std::string forged = WriteOpen({{SmallRecords()[0]}}, {kJournal.id, kJournal.salt ^ 1})
                                 .substr(kJournalHeaderBytes);
  std::vector<TestRecord> records = {{RecordKind::kRemoteWrite1, 1, "t", {}, forged + forged},
                                     {RecordKind::kRemoteWrite1, 2, "t", {}, "behind"}};
  std::string bytes = Write({records});
  const auto body = kJournalHeaderBytes + kRecordHeaderBytes + 1;
  bytes[kJournalHeaderBytes + 10] ^= 1;
  CHECK(Read(bytes).records == Without(records, 0));
  // In the place of a record.
  bytes.replace(kJournalHeaderBytes, body - kJournalHeaderBytes, "");
  CHECK(Read(bytes).records == Without(records, 0));
}

TEST_CASE("journal: impossible lengths are passed over without being believed") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::string bytes = Write({records});
  const uint64_t second = Offsets(records)[1];
  struct Patch {
    uint64_t at;
    uint32_t value;
  };
  // Payload bytes, refused count, and both so that they agree with each other.
  for (const Patch& patch :
       {Patch{8, 0xffff'ffff}, Patch{8, kMaxRecordPayload}, Patch{8, kMaxRecordPayload + 1},
        Patch{8, 0}, Patch{32, 0xffff'ffff}, Patch{32, kMaxRefusedPerRecord}, Patch{32, 2}}) {
    INFO("at " << patch.at << " value " << patch.value);
    std::string damaged = bytes;
    std::memcpy(damaged.data() + second + patch.at, &patch.value, 4);
    // The checksum is made to hold, so that the bounds have to refuse it.
    Seal(damaged, second);
    const JournalReading reading = Read(damaged);
    CHECK(reading.records == Without(records, 1));
    CHECK(reading.damage.size() == 1);
  }
}

TEST_CASE("journal: a file that is no journal by header and name is refused as a whole") {
  const std::string bytes = Write({});
  io::MemoryFileSystem fs;
  for (size_t at = 0; at < kJournalMagic.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    REQUIRE(io::WriteFileDurably(fs, "j", damaged).ok());
    CHECK(JournalReader::Open(fs, "j").error().code() == ErrorCode::kCorruption);
  }
  for (size_t size = 0; size < kJournalHeaderBytes; ++size) {
    REQUIRE(io::WriteFileDurably(fs, "j", bytes.substr(0, size)).ok());
    CHECK(JournalReader::Open(fs, "j").error().code() == ErrorCode::kCorruption);
  }
  CHECK(JournalReader::Open(fs, "none").error().code() == ErrorCode::kNotFound);
}

TEST_CASE("journal: names that are not made by the program are not taken for its own") {
  for (const std::string_view name :
       {"", ".log", "abc.log", "abc-.log", "-5a175a17.log", "abc-5a175a1.log", "abc-5a175a177.log",
        "ABC-5a175a17.log", "0abc-5a175a17.log", "abc-5A175A17.log", "abc-5a175a17.log.bak",
        "abc-5a175a17.spare", "x-5a175a17.log", "abc -5a175a17.log", "abc+5a175a17.log"}) {
    INFO(name);
    CHECK_FALSE(ParseJournalFileName(name).has_value());
  }
  CHECK(ParseJournalFileName("abc-5a175a17.log") == kJournal);
  CHECK(ParseJournalFileName(JournalFileName({UINT64_MAX, 0})) == JournalIdentity{UINT64_MAX, 0});
  for (const std::string_view name : {"", ".spare", "ABC.spare", "abc.spare.x", "xyz.spare"}) {
    INFO(name);
    CHECK_FALSE(IsSpareFileName(name));
  }
  CHECK(IsSpareFileName(SpareFileName(0xABC)));
}

TEST_CASE("journal: an error of the disk is an error, not damage") {
  io::MemoryFileSystem fs;
  TestRecord large;
  large.body.assign(3 << 20, 'x');
  REQUIRE(io::WriteFileDurably(fs, "j", Write({{large, large}})).ok());
  auto reader = JournalReader::Open(fs, "j");
  REQUIRE(reader.ok());
  REQUIRE((*reader)->Next()->has_value());
  fs.FailAlways(io::FileOperation::kRead, Error(ErrorCode::kIo, "EIO"));
  CHECK((*reader)->Next().error().code() == ErrorCode::kIo);
  fs.ClearFaults();
  CHECK((*reader)->Next()->has_value());  // reading can go on
  CHECK_FALSE((*reader)->Next()->has_value());
  CHECK((*reader)->damage().empty());
}

TEST_CASE("journal: the example in the format page is what the writer writes") {
  const std::vector<TestRecord> records = {{RecordKind::kRemoteWrite1,
                                            0x0000'018B'CFE5'6800,
                                            "acme",
                                            {2},
                                            "body",
                                            {0x0807060504030201, 0x100F0E0D0C0B0A09},
                                            {500, 1, 2, 3}}};
  const std::string bytes = Write({records}, {0x0123'4567'89AB'CDEF, 0x89AB'CDEF});
  const std::string page = testing::DocExample("A journal of one record");
  INFO("written:\n" << testing::HexDump(bytes));
  CHECK(page == bytes);
  CHECK(Read(page, "page").records == records);
}

}  // namespace forebay::wal
