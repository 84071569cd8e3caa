// The hex examples of docs/format/wal.md, so that a test can compare them with what is written.
#pragma once

#include <fmt/core.h>

#include <cctype>
#include <fstream>
#include <string>
#include <string_view>

namespace forebay::testing {

// The bytes of the example below the heading "### <title>": indented lines of hex bytes; what
// follows a '|' is for people. Empty when there is no such heading.
inline std::string DocExample(std::string_view title) {
  std::ifstream page(FOREBAY_TEST_DATA "/../../docs/format/wal.md");
  std::string bytes;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with('#')) inside = line == "### " + std::string(title);
    if (!inside || !line.starts_with("    ")) continue;
    std::string digits;
    for (const char c : line.substr(0, line.find('|'))) {
      if (std::isxdigit(static_cast<unsigned char>(c)) != 0) digits += c;
    }
    for (size_t i = 0; i + 1 < digits.size(); i += 2) {
      bytes += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
    }
  }
  return bytes;
}

// For the message of a comparison that failed.
inline std::string HexDump(std::string_view bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    text +=
        fmt::format("{:02X}{}", static_cast<unsigned char>(bytes[i]), i % 16 == 15 ? '\n' : ' ');
  }
  return text;
}

}  // namespace forebay::testing
