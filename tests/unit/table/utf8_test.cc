#include "table/utf8.h"

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

namespace forebay::table {
namespace {

// Every case also behind 0 to 20 ASCII bytes and before some, so that it falls on each place of a
// block.
void CheckEverywhere(std::string_view text, bool valid) {
  for (size_t before = 0; before <= 20; ++before) {
    for (const size_t after : {size_t{0}, size_t{1}, size_t{16}}) {
      const std::string framed =
          std::string(before, 'x') + std::string(text) + std::string(after, 'y');
      INFO(before << " bytes before, " << after << " after");
      CHECK(IsValidUtf8(framed) == valid);
    }
  }
}

TEST_CASE("UTF-8: the first and last character of each length are valid") {
  const std::string_view text =
      GENERATE(std::string_view(""), std::string_view("\0", 1), std::string_view("\x7f"),
               std::string_view("\xc2\x80"), std::string_view("\xdf\xbf"),
               std::string_view("\xe0\xa0\x80"), std::string_view("\xed\x9f\xbf"),
               std::string_view("\xee\x80\x80"), std::string_view("\xef\xbf\xbf"),
               std::string_view("\xf0\x90\x80\x80"), std::string_view("\xf4\x8f\xbf\xbf"));
  CheckEverywhere(text, true);
}

TEST_CASE("UTF-8: overlong forms, surrogates, too large and torn sequences are refused") {
  const std::string_view text =
      GENERATE(std::string_view("\x80"), std::string_view("\xbf"), std::string_view("\xc0\x80"),
               std::string_view("\xc1\xbf"), std::string_view("\xc2"), std::string_view("\xc2\x41"),
               std::string_view("\xe0\x9f\xbf"), std::string_view("\xe0\xa0"),
               std::string_view("\xed\xa0\x80"), std::string_view("\xed\xbf\xbf"),
               std::string_view("\xe1\x80\xc0"), std::string_view("\xf0\x8f\xbf\xbf"),
               std::string_view("\xf0\x90\x80"), std::string_view("\xf4\x90\x80\x80"),
               std::string_view("\xf5\x80\x80\x80"), std::string_view("\xff"),
               std::string_view("\xfe"), std::string_view("\xc3\x28"));
  CheckEverywhere(text, false);
}

TEST_CASE("UTF-8: exactly the code points that are not surrogates are valid three-byte forms") {
  for (unsigned c = 0x800; c < 0x10000; ++c) {
    const char bytes[] = {static_cast<char>(0xe0 | c >> 12),
                          static_cast<char>(0x80 | (c >> 6 & 0x3f)),
                          static_cast<char>(0x80 | (c & 0x3f))};
    if (IsValidUtf8({bytes, 3}) != (c < 0xd800 || c > 0xdfff)) FAIL("code point " << c);
  }
}

}  // namespace
}  // namespace forebay::table
