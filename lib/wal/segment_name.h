// File names of segments: `<database>_<table>[_<schema hash>]_<id hex>.wal`.
//
// Database, table and hash are ASCII letters and digits, never empty; the id is a flake id
// (wal/flake_id.h) in lower-case hex without padding. Names come from the network too (POST
// /transfer?filename=), so parsing is the guard against paths. Limit: kMaxSegmentNameBytes, what
// Linux allows for a file name. Source: adx-mon, pkg/wal/filename.go; docs/format/wal.md.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace forebay::wal {

inline constexpr size_t kMaxSegmentNameBytes = 255;

struct SegmentName {
  std::string database;
  std::string table;
  std::string schema_hash;  // base 36; empty in names of three fields (old logs)
  uint64_t id = 0;

  auto operator<=>(const SegmentName&) const = default;
};

// Errors: kInvalidArgument saying what is wrong. Threads: any.
Result<SegmentName> ParseSegmentName(std::string_view file_name);

// The file name. Errors: kInvalidArgument when a field is empty, has other characters, or the name
// is too long. Threads: any.
Result<std::string> FormatSegmentName(const SegmentName& name);

// "<database>_<table>[_<schema hash>]": what the segments of one table share, and what owners are
// chosen by.
std::string SegmentKey(const SegmentName& name);

}  // namespace forebay::wal
