// What a body is: signal, encoding and compression, and the journal's number for it.
#pragma once

#include <cstdint>
#include <string_view>

#include "wal/journal_format.h"

namespace forebay::otlp {

enum class Signal : uint8_t { kMetrics = 0, kLogs = 1, kTraces = 2 };
inline constexpr size_t kSignals = 3;
enum class Encoding : uint8_t { kProtobuf = 0, kJson = 1 };
enum class Compression : uint8_t { kNone = 0, kGzip = 1, kZstd = 2 };

struct RequestFormat {
  Signal signal = Signal::kLogs;
  Encoding encoding = Encoding::kProtobuf;
  Compression compression = Compression::kNone;
  bool operator==(const RequestFormat&) const = default;
};

inline wal::RecordKind KindOf(const RequestFormat& format) {
  return static_cast<wal::RecordKind>(
      static_cast<uint8_t>(wal::RecordKind::kOtlp) | static_cast<uint8_t>(format.compression) |
      static_cast<uint8_t>(format.encoding) << 2 | static_cast<uint8_t>(format.signal) << 3);
}

// False: the number is of no format that is known.
inline bool ParseKind(wal::RecordKind kind, RequestFormat& format) {
  const auto bits = static_cast<uint8_t>(kind);
  const uint8_t compression = bits & 3;
  const uint8_t signal = (bits >> 3) & 3;
  if (!wal::IsOtlp(kind) || compression > 2 || signal > 2) return false;
  format = {static_cast<Signal>(signal), static_cast<Encoding>((bits >> 2) & 1),
            static_cast<Compression>(compression)};
  return true;
}

inline std::string_view Name(Signal signal) {
  constexpr std::string_view kNames[] = {"metrics", "logs", "traces"};
  return kNames[static_cast<size_t>(signal)];
}

// What the records of a signal are called in answers.
inline std::string_view RecordsName(Signal signal) {
  constexpr std::string_view kNames[] = {"data points", "log records", "spans"};
  return kNames[static_cast<size_t>(signal)];
}

}  // namespace forebay::otlp
