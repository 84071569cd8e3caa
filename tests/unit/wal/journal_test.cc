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

std::string Write(const std::vector<std::vector<TestRecord>>& groups, uint64_t id = 0xABC) {
  io::MemoryFileSystem fs;
  auto writer = JournalWriter::Create(fs, "j", id, true);
  REQUIRE(writer.ok());
  for (const auto& group : groups) Append(**writer, group);
  REQUIRE((*writer)->Sync().ok());
  std::string bytes = *fs.Contents("j");
  CHECK((*writer)->bytes() == bytes.size());
  return bytes;
}

struct Reading {
  std::vector<TestRecord> records;
  std::vector<uint64_t> offsets;
  std::vector<JournalDamage> damage;
  uint64_t generation_id = 0;
};

Reading Read(const std::string& bytes) {
  io::MemoryFileSystem fs;
  REQUIRE(io::WriteFileDurably(fs, "j", bytes).ok());
  auto reader = JournalReader::Open(fs, "j");
  REQUIRE(reader.ok());
  Reading reading;
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
  uint64_t end = kJournalHeaderBytes;
  for (const JournalDamage& damage : reading.damage) {
    REQUIRE(damage.offset >= end);
    REQUIRE(damage.length > 0);
    end = damage.offset + damage.length;
    REQUIRE(end <= bytes.size());
    const auto range = (*reader)->ReadRange(damage.offset, damage.length);
    REQUIRE(range.ok());
    REQUIRE(*range == bytes.substr(damage.offset, damage.length));
  }
  reading.generation_id = (*reader)->generation_id();
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
  const std::string bytes = Write(groups, 0x1234'5678'9ABC'DEF0);
  const Reading reading = Read(bytes);
  CHECK(reading.generation_id == 0x1234'5678'9ABC'DEF0);
  REQUIRE(reading.records == all);
  CHECK(reading.damage.empty());
  std::vector<uint64_t> offsets = Offsets(all);
  CHECK(offsets.back() == bytes.size());
  offsets.pop_back();
  CHECK(reading.offsets == offsets);
}

TEST_CASE("journal: a journal without records is read as empty") {
  const Reading reading = Read(Write({}));
  CHECK(reading.records.empty());
  CHECK(reading.damage.empty());
}

TEST_CASE("journal: header and name are durable once it is created, records once it is synced") {
  io::MemoryFileSystem fs;
  REQUIRE(fs.CreateDirectories("d").ok());
  auto writer = JournalWriter::Create(fs, "d/j", 7, true);
  REQUIRE(writer.ok());
  Append(**writer, {SmallRecords()[0]});
  REQUIRE((*writer)->Sync().ok());
  Append(**writer, {SmallRecords()[1]});
  fs.Crash({.keep_probability = 0});
  const auto contents = fs.Contents("d/j");
  REQUIRE(contents.ok());
  CHECK(Read(*contents).records == std::vector<TestRecord>{SmallRecords()[0]});
}

TEST_CASE("journal: one group is one write, and a failed one is an error") {
  io::MemoryFileSystem fs;
  auto writer = JournalWriter::Create(fs, "j", 7, false);
  REQUIRE(writer.ok());
  CHECK(fs.OperationCount(io::FileOperation::kSyncData) == 0);
  const uint64_t before = fs.OperationCount(io::FileOperation::kWrite);
  Append(**writer, SmallRecords());
  CHECK(fs.OperationCount(io::FileOperation::kWrite) == before + 1);
  const uint64_t bytes = (*writer)->bytes();
  fs.FailAlways(io::FileOperation::kWrite, Error(ErrorCode::kNoSpace, "full"));
  PendingRecord record;
  const Status status = (*writer)->Append(&record);
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code() == ErrorCode::kNoSpace);
  CHECK((*writer)->bytes() == bytes);
  fs.ClearFaults();
  CHECK_FALSE(JournalWriter::Create(fs, "j", 8, false).ok());  // never over an older one
}

TEST_CASE("journal: a journal cut at any length keeps every whole record") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::string bytes = Write({records});
  const std::vector<uint64_t> offsets = Offsets(records);
  for (size_t size = kJournalHeaderBytes; size <= bytes.size(); ++size) {
    INFO("size " << size);
    const Reading reading = Read(bytes.substr(0, size));
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

TEST_CASE("journal: zeros behind the records are reserved space, not damage") {
  const std::vector<TestRecord> records = SmallRecords();
  for (const size_t zeros : {1U, 31U, 32U, 33U, 4096U, (1U << 20) - 1, (2U << 20) + 5}) {
    INFO("zeros " << zeros);
    const Reading reading = Read(Write({records}) + std::string(zeros, '\0'));
    CHECK(reading.records == records);
    CHECK(reading.damage.empty());
  }
  const Reading empty = Read(Write({}) + std::string(5000, '\0'));
  CHECK(empty.records.empty());
  CHECK(empty.damage.empty());
}

TEST_CASE("journal: a record torn over reserved zeros is a torn tail") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::string bytes = Write({records});
  const std::vector<uint64_t> offsets = Offsets(records);
  for (size_t cut = offsets[3] + 1; cut < bytes.size(); ++cut) {
    INFO("cut " << cut);
    std::string torn = bytes;
    torn.replace(cut, bytes.size() - cut, 5000, '\0');
    const Reading reading = Read(torn);
    REQUIRE(reading.records == Without(records, 3));
    REQUIRE(reading.damage.size() == 1);
    REQUIRE(reading.damage[0].torn_tail);
    REQUIRE(reading.damage[0].offset == offsets[3]);
  }
}

TEST_CASE("journal: a damaged byte anywhere costs the record that it is in and no other") {
  const std::vector<TestRecord> records = SmallRecords();
  const std::string bytes = Write({records});
  const std::vector<uint64_t> offsets = Offsets(records);
  for (size_t at = kJournalHeaderBytes; at < bytes.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xFF}) {
      INFO("byte " << at << " flipped by " << flip);
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      size_t hit = 0;
      while (offsets[hit + 1] <= at) ++hit;
      const Reading reading = Read(damaged);
      REQUIRE(reading.records == Without(records, hit));
      REQUIRE(reading.damage.size() == 1);
      REQUIRE(reading.damage[0].offset == offsets[hit]);
      REQUIRE(reading.damage[0].length == offsets[hit + 1] - offsets[hit]);
      REQUIRE(reading.damage[0].torn_tail == (hit + 1 == records.size()));
    }
  }
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
    const Reading reading = Read(damaged);
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
  const Reading reading = Read(bytes.substr(0, second) + rubbish + bytes.substr(second));
  CHECK(reading.records == records);
  REQUIRE(reading.damage.size() == 1);
  CHECK(reading.damage[0].offset == second);
  CHECK(reading.damage[0].length == rubbish.size());
  CHECK_FALSE(reading.damage[0].torn_tail);
}

TEST_CASE("journal: bytes made to look like records everywhere cost bounded work and are kept") {
  // Every 32 bytes begins a record that reaches to the end; only its checksum is wrong. Checking
  // them all would be 260 GB of checksums.
  constexpr size_t kSize = 4U << 20;
  std::string bytes = Write({{SmallRecords()[0]}});
  const size_t begin = bytes.size();
  bytes.resize(begin + kSize, '\0');
  for (size_t at = begin; at + kRecordHeaderBytes <= bytes.size(); at += kRecordHeaderBytes) {
    const auto payload = static_cast<uint32_t>(bytes.size() - at - kRecordHeaderBytes);
    std::memcpy(bytes.data() + at, &kRecordMarker, 4);
    std::memcpy(bytes.data() + at + 4, "none", 4);
    std::memcpy(bytes.data() + at + 8, &payload, 4);
  }
  const Reading reading = Read(bytes);
  CHECK(reading.records == std::vector<TestRecord>{SmallRecords()[0]});
  REQUIRE(reading.damage.size() == 1);
  CHECK(reading.damage[0].length == kSize);
  CHECK_FALSE(reading.damage[0].torn_tail);
}

TEST_CASE("journal: a record inside a body is part of the body while the outer record holds") {
  const std::string inner = Write({{SmallRecords()[0]}}).substr(kJournalHeaderBytes);
  const std::vector<TestRecord> records = {
      {RecordKind::kRemoteWrite1, 1, "outer", {}, inner + inner},
      {RecordKind::kRemoteWrite1, 2, "outer", {}, "behind"}};
  const Reading reading = Read(Write({records}));
  CHECK(reading.records == records);
  CHECK(reading.damage.empty());
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
        Patch{8, 0}, Patch{28, 0xffff'ffff}, Patch{28, kMaxRefusedPerRecord}, Patch{28, 2}}) {
    INFO("at " << patch.at << " value " << patch.value);
    std::string damaged = bytes;
    std::memcpy(damaged.data() + second + patch.at, &patch.value, 4);
    // The checksum is made to hold where the record is whole, so that the bounds have to refuse it.
    const size_t end = Offsets(records)[2];
    const uint32_t crc = io::Crc32c({damaged.data() + second + 8, end - second - 8});
    std::memcpy(damaged.data() + second + 4, &crc, 4);
    const Reading reading = Read(damaged);
    CHECK(reading.records == Without(records, 1));
    CHECK(reading.damage.size() == 1);
  }
}

TEST_CASE("journal: a file with another header is refused as a whole") {
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
  const std::string bytes = Write({records}, 0x0123'4567'89AB'CDEF);
  const std::string page = testing::DocExample("A journal of one record");
  INFO("written:\n" << testing::HexDump(bytes));
  CHECK(page == bytes);
  CHECK(Read(page).records == records);
}

}  // namespace forebay::wal
