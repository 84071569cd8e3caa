#include "wal/journal_format.h"

#include <fmt/core.h>

#include <charconv>
#include <cstring>

#include "io/crc.h"

namespace forebay::wal {
namespace {

constexpr std::string_view kJournalSuffix = ".log";
constexpr std::string_view kSpareSuffix = ".spare";
constexpr size_t kSaltDigits = 8;

// 0 when it is none.
template <typename Integer>
Integer Hex(std::string_view digits) {
  Integer value = 0;
  (void)std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  return value;
}

}  // namespace

uint32_t JournalSeed(const JournalIdentity& journal) {
  char bytes[sizeof journal.id + sizeof journal.salt];
  std::memcpy(bytes, &journal.id, sizeof journal.id);
  std::memcpy(bytes + sizeof journal.id, &journal.salt, sizeof journal.salt);
  return io::Crc32c(bytes);
}

// Zeros, as reserved space has them, must not look like the beginning of a record.
uint32_t JournalMarker(uint32_t seed) { return seed | 0x8000'0001; }

std::string JournalFileName(const JournalIdentity& journal) {
  return fmt::format("{:x}-{:08x}{}", journal.id, journal.salt, kJournalSuffix);
}

// Only names as they are made here: what else lies there belongs to somebody.
std::optional<JournalIdentity> ParseJournalFileName(std::string_view name) {
  const size_t dash = name.find('-');
  if (dash == std::string_view::npos || !name.ends_with(kJournalSuffix)) return std::nullopt;
  const std::string_view salt = name.substr(dash + 1, kSaltDigits);
  const JournalIdentity journal{Hex<uint64_t>(name.substr(0, dash)), Hex<uint32_t>(salt)};
  if (name != JournalFileName(journal)) return std::nullopt;
  return journal;
}

std::string SpareFileName(uint64_t id) { return fmt::format("{:x}{}", id, kSpareSuffix); }

bool IsSpareFileName(std::string_view name) {
  const std::string_view stem = name.substr(0, name.find('.'));
  return name == SpareFileName(Hex<uint64_t>(stem));
}

}  // namespace forebay::wal
