#include "walctl/format.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "base/byte_buffer.h"
#include "table/json_text.h"

namespace forebay::walctl {
namespace {

std::string JsonTime(const std::optional<UnixMillis>& time) {
  return time ? JsonString(FormatRfc3339(*time)) : "null";
}
std::string JsonCount(const std::optional<uint64_t>& count) {
  return count ? fmt::format("{}", *count) : "null";
}

std::string Age(const std::optional<UnixMillis>& since, UnixMillis now) {
  return since ? HumanAge(*since, now) : "-";
}

std::string JsonTable(const TableTotals& table) {
  return fmt::format(
      R"({{"table":{},"segments":{},"bytes":{},"rows":{},"row_bytes":{},"oldest":{}}})",
      JsonString(table.table), table.segments, table.bytes, table.rows, table.row_bytes,
      JsonTime(table.oldest));
}

std::string JsonFindings(const std::vector<Finding>& findings) {
  std::string out = "[";
  for (const Finding& finding : findings) {
    fmt::format_to(std::back_inserter(out), R"({}{{"offset":{},"length":{},"reason":{}}})",
                   out.size() > 1 ? "," : "", finding.offset, finding.length,
                   JsonString(finding.reason));
  }
  return out + "]";
}

void TableLine(const TableTotals& table, std::string_view name, UnixMillis now, std::string& out) {
  fmt::format_to(std::back_inserter(out), "{:>9} {:>11} {:>12} {:>11} {:>6}  {}\n", table.segments,
                 HumanBytes(table.bytes), table.rows, HumanBytes(table.row_bytes),
                 Age(table.oldest, now), name);
}

}  // namespace

std::string JsonString(std::string_view text) {
  std::string safe(text);
  for (char& c : safe) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  ByteBuffer out;
  table::AppendJsonString(safe, out);
  return std::string(out.view());
}

std::string HumanBytes(uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would be printed as 1024.0.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string HumanAge(UnixMillis since, UnixMillis now) {
  const int64_t seconds = std::max<int64_t>(0, now.value - since.value) / 1000;
  constexpr int64_t kMinute = 60;
  constexpr int64_t kHour = 60 * kMinute;
  if (seconds < 2 * kMinute) return fmt::format("{}s", seconds);
  if (seconds < 2 * kHour) return fmt::format("{}m", seconds / kMinute);
  if (seconds < 48 * kHour) return fmt::format("{}h", seconds / kHour);
  return fmt::format("{}d", seconds / (24 * kHour));
}

std::string FormatList(const std::vector<FileEntry>& entries, UnixMillis now) {
  std::string out =
      fmt::format("{:<10} {:>11} {:>12} {:>6}  {}\n", "KIND", "SIZE", "ROWS", "AGE", "FILE");
  const auto add = std::back_inserter(out);
  for (const FileEntry& entry : entries) {
    fmt::format_to(add, "{:<10} {:>11} {:>12} {:>6}  {}{}\n", Name(entry.kind),
                   HumanBytes(entry.bytes), entry.rows ? fmt::format("{}", *entry.rows) : "-",
                   Age(entry.created, now), entry.path,
                   entry.problem.empty() ? "" : fmt::format("  ({})", entry.problem));
    if (entry.kind == FileKind::kManifest && !entry.table.empty()) {
      out.insert(out.size() - 1, fmt::format("  ({})", entry.table));
    }
  }
  return out;
}

std::string FormatListJson(const std::vector<FileEntry>& entries) {
  std::string out = "[";
  for (const FileEntry& entry : entries) {
    fmt::format_to(std::back_inserter(out),
                   R"({}{{"kind":"{}","path":{},"bytes":{},"table":{},"rows":{},"row_bytes":{},)"
                   R"("first_timestamp":{},"last_timestamp":{},"created":{},"problem":{}}})",
                   out.size() > 1 ? ",\n" : "", Name(entry.kind), JsonString(entry.path),
                   entry.bytes, JsonString(entry.table), JsonCount(entry.rows),
                   JsonCount(entry.row_bytes), JsonTime(entry.first), JsonTime(entry.last),
                   JsonTime(entry.created), JsonString(entry.problem));
  }
  return out + "]\n";
}

std::string FormatTotals(const Totals& totals, UnixMillis now) {
  std::string out = fmt::format("{:>9} {:>11} {:>12} {:>11} {:>6}  {}\n", "SEGMENTS", "SIZE",
                                "ROWS", "AS CSV", "OLDEST", "TABLE");
  for (const TableTotals& table : totals.tables) TableLine(table, table.table, now, out);
  TableLine(totals.all, "total", now, out);
  fmt::format_to(std::back_inserter(out),
                 "\njournals    {} ({})\nmanifests   {}\nledger      {} ({})\ndead letters {} "
                 "({})\nquarantine  {} ({})\nunreadable  {}\n",
                 totals.journals, HumanBytes(totals.journal_bytes), totals.manifests,
                 totals.ledgers, HumanBytes(totals.ledger_bytes), totals.dead_letters,
                 HumanBytes(totals.dead_letter_bytes), totals.quarantined,
                 HumanBytes(totals.quarantined_bytes), totals.unreadable);
  return out;
}

std::string FormatTotalsJson(const Totals& totals) {
  std::string out = R"({"tables":[)";
  for (size_t i = 0; i < totals.tables.size(); ++i) {
    out += (i > 0 ? ",\n" : "") + JsonTable(totals.tables[i]);
  }
  fmt::format_to(std::back_inserter(out),
                 R"(],"total":{},"journals":{},"journal_bytes":{},"manifests":{},"ledgers":{},)"
                 R"("ledger_bytes":{},"dead_letters":{},"dead_letter_bytes":{},"quarantined":{},)"
                 R"("quarantined_bytes":{},"unreadable":{}}})",
                 JsonTable(totals.all), totals.journals, totals.journal_bytes, totals.manifests,
                 totals.ledgers, totals.ledger_bytes, totals.dead_letters, totals.dead_letter_bytes,
                 totals.quarantined, totals.quarantined_bytes, totals.unreadable);
  return out + "\n";
}

std::string FormatVerify(const VerifyReport& report) {
  const std::string_view unit = report.kind == FileKind::kJournal ? "records" : "blocks";
  std::string out =
      fmt::format("{}  {}  {} good {}, {} rows\n", report.damaged() ? "DAMAGED" : "ok     ",
                  report.path, report.blocks, unit, report.rows);
  for (const Finding& finding : report.damage) {
    fmt::format_to(std::back_inserter(out), "         at {}, {} bytes: {}\n", finding.offset,
                   finding.length, finding.reason);
  }
  for (const Finding& finding : report.notes) {
    fmt::format_to(std::back_inserter(out), "         note: at {}, {} bytes: {}\n", finding.offset,
                   finding.length, finding.reason);
  }
  return out;
}

std::string FormatVerifyJson(const std::vector<VerifyReport>& reports) {
  std::string out = "[";
  for (const VerifyReport& report : reports) {
    fmt::format_to(
        std::back_inserter(out),
        R"({}{{"path":{},"kind":"{}","bytes":{},"damaged":{},"blocks":{},"rows":{},"damage":{},"notes":{}}})",
        out.size() > 1 ? ",\n" : "", JsonString(report.path), Name(report.kind), report.bytes,
        report.damaged(), report.blocks, report.rows, JsonFindings(report.damage),
        JsonFindings(report.notes));
  }
  return out + "]\n";
}

}  // namespace forebay::walctl
