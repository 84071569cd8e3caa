// The journal's bytes, shared by writer and reader, which do not include each other. Little endian.
// Byte diagrams and reasons: docs/format/wal.md, "Journals".
//
//   file   := header record* end (stale bytes of an older journal, zeros)
//   header := "FBJRNL" u8 0 u8 version(2)  u64 generation id  u32 salt  u32 crc32c of the 20 before
//   record := u32 marker  u32 header crc (of the 60 that follow)  u32 payload bytes  u32 payload
//   crc
//             u32 sequence (from 0)  i64 receive time, Unix ms  u8 kind  u8 flags  u16 tenant bytes
//             u32 refused count  2 * u64 identity (low, high; 0: none)
//             4 * u32 outcome (samples, histograms, exemplars, refused)  payload
//   payload:= refused count * u32 index, tenant, body
//   end    := u32 marker  u32 crc (of the 16 that follow)  u32 ~0  u32 next sequence  u64 its
//   offset
//
// Marker and checksums of records and ends are seeded by generation id and salt: bytes of another
// journal, or of a client that does not know the salt, are none of this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace forebay::wal {

inline constexpr std::string_view kJournalMagic{"FBJRNL\0\2", 8};
inline constexpr size_t kJournalHeaderBytes = 24;
inline constexpr size_t kRecordHeaderBytes = 68;
inline constexpr size_t kChecksumEnd = 8;  // of records and ends: the header crc is of what follows
inline constexpr size_t kJournalEndBytes = 24;
inline constexpr uint32_t kEndPayload = 0xFFFF'FFFF;  // in the place of a record's payload bytes
// The largest body that config http.max_body allows (1 GiB), with room for what goes before it.
inline constexpr uint32_t kMaxRecordPayload = (1U << 30) + (64U << 20);
inline constexpr uint32_t kMaxRefusedPerRecord = 1U << 22;

inline constexpr uint8_t kFirstOfGroup = 1;  // flag: the record begins a write

// What a record's body is. Numbers are part of the format.
enum class RecordKind : uint8_t {
  kRemoteWrite1 = 1,  // snappy of prometheus.WriteRequest
  kRemoteWrite2 = 2,  // snappy of io.prometheus.write.v2.Request
  kPeerSegment = 3,   // a segment that a peer handed over; tenant: DescribePeerSegment
  kOtlp = 64,         // 64 to 95: see IsOtlp
  kAbandoned = 255,   // rows of u64 generation id, u64 bytes: see AbandonedJournal
};

// An OTLP request as sent. Added to kOtlp are: bits 0 and 1, compression (0 none, 1 gzip, 2 zstd);
// bit 2, JSON (else protobuf); bits 3 and 4, signal (0 metrics, 1 logs, 2 traces).
inline constexpr bool IsOtlp(RecordKind kind) {
  return (static_cast<uint8_t>(kind) & 0xE0) == static_cast<uint8_t>(RecordKind::kOtlp);
}

// An earlier journal that failed: what lies behind its first `bytes` bytes was answered with an
// error and must not be delivered.
struct AbandonedJournal {
  uint64_t id = 0;
  uint64_t bytes = 0;
  bool operator==(const AbandonedJournal&) const = default;
};
static_assert(sizeof(AbandonedJournal) == 16);

// What tells a journal from every other one. The salt is random: who can send bodies cannot guess
// it. Both are in the file's header and in its name.
struct JournalIdentity {
  uint64_t id = 0;
  uint32_t salt = 0;
  bool operator==(const JournalIdentity&) const = default;
};

// Start value of the header checksums of its records and ends.
uint32_t JournalSeed(const JournalIdentity& journal);
// What its records and ends begin with. First and last byte are never zero.
uint32_t JournalMarker(uint32_t seed);

// "<id hex>-<salt, 8 hex digits>.log".
std::string JournalFileName(const JournalIdentity& journal);
std::optional<JournalIdentity> ParseJournalFileName(std::string_view name);
// "<id hex>.spare": a file that is no journal any more, or not yet one. Its bytes mean nothing.
std::string SpareFileName(uint64_t id);
bool IsSpareFileName(std::string_view name);

}  // namespace forebay::wal
