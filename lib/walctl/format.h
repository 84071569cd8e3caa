// The output of `forebay wal ls|stat|verify`, as tables for people and as JSON for scripts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "walctl/inventory.h"
#include "walctl/verify.h"

namespace forebay::walctl {

// A JSON string with its quotes. File names are bytes, JSON is UTF-8: bytes above 127 become '?'.
std::string JsonString(std::string_view text);
// "317 B", "4.1 KiB", "1.2 GiB".
std::string HumanBytes(uint64_t bytes);
// "5s", "12m", "3h", "2d"; "0s" for times in the future.
std::string HumanAge(UnixMillis since, UnixMillis now);

std::string FormatList(const std::vector<FileEntry>& entries, UnixMillis now);
std::string FormatListJson(const std::vector<FileEntry>& entries);
std::string FormatTotals(const Totals& totals, UnixMillis now);
std::string FormatTotalsJson(const Totals& totals);
// One report; good files are one line.
std::string FormatVerify(const VerifyReport& report);
std::string FormatVerifyJson(const std::vector<VerifyReport>& reports);

}  // namespace forebay::walctl
