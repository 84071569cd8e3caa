// The journal's bytes, shared by writer and reader, which do not include each other. Little endian.
// Byte diagrams and reasons: docs/format/wal.md, "Journals".
//
//   file   := header record* (zeros)
//   header := "FBJRNL" u8 0 u8 version(1)  u64 generation id
//   record := u32 marker  u32 crc32c of all that follows  u32 payload bytes  u32 sequence (from 0)
//             i64 receive time, Unix ms  u8 kind  u8 0  u16 tenant bytes  u32 refused count
//             2 * u64 identity (low, high; 0: none)  4 * u32 outcome (samples, histograms,
//             exemplars, refused) payload
//   payload:= refused count * u32 index, tenant, body
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace forebay::wal {

inline constexpr std::string_view kJournalMagic{"FBJRNL\0\1", 8};
inline constexpr size_t kJournalHeaderBytes = 16;
inline constexpr uint32_t kRecordMarker = 0x3152'4246;  // "FBR1"
inline constexpr size_t kRecordHeaderBytes = 64;
// The largest body that config http.max_body allows (1 GiB), with room for what goes before it.
inline constexpr uint32_t kMaxRecordPayload = (1U << 30) + (64U << 20);
inline constexpr uint32_t kMaxRefusedPerRecord = 1U << 22;

// What a record's body is. Numbers are part of the format.
enum class RecordKind : uint8_t {
  kRemoteWrite1 = 1,  // snappy of prometheus.WriteRequest
  kRemoteWrite2 = 2,  // snappy of io.prometheus.write.v2.Request
};

}  // namespace forebay::wal
