#include "table/csv_row.h"

#include <bit>
#include <catch2/catch.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "table/json_text.h"
#include "table/schema.h"
#include "unit/table/strict_row_reader.h"

namespace forebay::table {
namespace {

using test::JsonReader;
using test::ReadCsv;

constexpr int64_t kNovember = 1'793'491'200'000;  // 2026-11-01T00:00:00Z

std::string LabelsField(LabelSpan labels) {
  ByteBuffer out;
  AppendLabelsJsonCsv(labels, out);
  return std::string(out.view());
}

std::string LiftedFields(const std::vector<std::string_view>& values) {
  ByteBuffer out;
  AppendLiftedFields(values, out);
  return std::string(out.view());
}

std::string DoubleText(double value) {
  char text[kMaxDoubleChars];
  return std::string(text, WriteDouble(std::bit_cast<uint64_t>(value), text));
}

std::string BitsText(uint64_t bits) {
  char text[kMaxDoubleChars];
  return std::string(text, WriteDouble(bits, text));
}

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

TEST_CASE("row: golden rows of a series without lifted labels") {
  const std::vector<Label> labels = {{"host", "h1"}, {"region", "eastus"}};
  SeriesRowRenderer renderer;
  renderer.Begin(-42, LabelsField(labels), "");
  ByteBuffer out;
  renderer.Append({kNovember + 123}, Bits(1.5), out);
  renderer.Append({kNovember + 15'000}, Bits(1e300), out);
  renderer.Append({kNovember + 30'120}, kStaleMarkerBits, out);
  CHECK(
      out.view() ==
      "2026-11-01T00:00:00.123Z,-42,\"{\"\"host\"\":\"\"h1\"\",\"\"region\"\":\"\"eastus\"\"}\",1."
      "5\n"
      "2026-11-01T00:00:15Z,-42,\"{\"\"host\"\":\"\"h1\"\",\"\"region\"\":\"\"eastus\"\"}\",1e+"
      "300\n"
      "2026-11-01T00:00:30.12Z,-42,\"{\"\"host\"\":\"\"h1\"\",\"\"region\"\":\"\"eastus\"\"}\",\n");
}

TEST_CASE("row: golden rows of two series with lifted labels, present, absent and quoted") {
  SeriesRowRenderer renderer;
  ByteBuffer out;
  renderer.Begin(7, LabelsField({}), LiftedFields({"plain", "", "a \"b\", c"}));
  renderer.Append({kNovember}, Bits(0), out);
  renderer.Begin(8, LabelsField({}), LiftedFields({"", "", ""}));
  renderer.Append({kNovember}, Bits(-3), out);
  CHECK(out.view() ==
        "2026-11-01T00:00:00Z,7,\"{}\",0,plain,,\"a \"\"b\"\", c\"\n"
        "2026-11-01T00:00:00Z,8,\"{}\",-3,,,\n");
}

TEST_CASE("row: the text of adx-mon's own segments for quotes, backslashes and UTF-8") {
  const std::vector<Label> labels = {{"path", "C:\\a \"b\" \xc3\xa9"}};
  CHECK(LabelsField(labels) == "\"{\"\"path\"\":\"\"C:\\\\a \\\"\"b\\\"\" \xc3\xa9\"\"}\"");
}

TEST_CASE("row: times are those of FormatRfc3339, in any order of days") {
  std::vector<int64_t> times = {0,
                                -1,
                                1,
                                86'399'999,
                                86'400'000,
                                INT64_MIN,
                                INT64_MAX,
                                INT64_MAX,
                                INT64_MIN,
                                kNovember,
                                kNovember,
                                -86'400'000,
                                -86'400'001,
                                253'402'300'799'999,
                                253'402'300'800'000,
                                -62'167'219'200'000,
                                -62'167'219'200'001};
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    const int64_t span = i % 2 == 0 ? 300'000'000 : 260'000'000'000'000;
    times.push_back(kNovember + static_cast<int64_t>(random() % static_cast<uint64_t>(2 * span)) -
                    span);
  }
  SeriesRowRenderer renderer;
  renderer.Begin(1, "x", "");
  ByteBuffer out;
  for (const int64_t time : times) {
    out.clear();
    renderer.Append({time}, Bits(1), out);
    const std::string want = FormatRfc3339(UnixMillis{time}) + ",1,x,1\n";
    if (out.view() != want) FAIL("time " << time << ": " << out.view() << " is not " << want);
  }
}

TEST_CASE("value: whole numbers, fractions, and the forms around the limits of the fast path") {
  CHECK(DoubleText(0) == "0");
  CHECK(DoubleText(-0.0) == "-0");
  CHECK(DoubleText(-1) == "-1");
  CHECK(DoubleText(12345) == "12345");
  CHECK(DoubleText(0.1) == "0.1");
  CHECK(DoubleText(1e-9) == "1e-09");
  CHECK(DoubleText(100'000) == "1e+05");
  CHECK(DoubleText(1'200'000) == "1200000");
  CHECK(DoubleText(9007199254740991) == "9007199254740991");
  CHECK(DoubleText(9007199254740992) == "9007199254740992");
  CHECK(DoubleText(std::numeric_limits<double>::denorm_min()) == "5e-324");
  CHECK(DoubleText(-std::numeric_limits<double>::max()) == "-1.7976931348623157e+308");
}

TEST_CASE("value: stale marker is empty, other NaN are NaN, infinities are words") {
  CHECK(BitsText(kStaleMarkerBits).empty());
  CHECK(BitsText(0x7ff8000000000001) == "NaN");
  CHECK(BitsText(0x7ff8000000000000) == "NaN");
  CHECK(BitsText(0x7ff0000000000001) == "NaN");
  CHECK(BitsText(0xfff0000000000002) == "NaN");
  CHECK(BitsText(0xffffffffffffffff) == "NaN");
  CHECK(BitsText(0x7ff0000000000000) == "Infinity");
  CHECK(BitsText(0xfff0000000000000) == "-Infinity");
  CHECK(IsNan(kStaleMarkerBits));
  CHECK(IsNan(0xfff8000000000000));
  CHECK_FALSE(IsNan(0x7ff0000000000000));
  CHECK_FALSE(IsNan(Bits(1)));
}

// Doubles of every kind: whole numbers with zeros at the end, short decimals, any bits.
std::vector<uint64_t> ManyDoubles() {
  std::vector<uint64_t> all;
  std::mt19937_64 random(3);
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t any = random();
    double value = std::bit_cast<double>(any);
    if (i % 4 == 1) value = static_cast<double>(static_cast<int64_t>(any) >> (any % 63));
    if (i % 4 == 2) value = std::trunc(static_cast<double>(any % 1'000)) * std::pow(10, any % 20);
    if (i % 4 == 3)
      value = static_cast<double>(static_cast<int64_t>(any % 20'000'000) - 10'000'000) / 1000;
    if (std::isfinite(value)) all.push_back(std::bit_cast<uint64_t>(value));
  }
  return all;
}

TEST_CASE("value: the text is that of to_chars on every path, and reads back bit by bit") {
  for (const uint64_t bits : ManyDoubles()) {
    const auto value = std::bit_cast<double>(bits);
    char shortest[64];
    const std::string want(shortest,
                           std::to_chars(shortest, shortest + sizeof shortest, value).ptr);
    const std::string text = BitsText(bits);
    if (text != want) FAIL(text << " is not " << want);
    if (std::bit_cast<uint64_t>(std::strtod(text.c_str(), nullptr)) != bits) FAIL(text);
  }
}

TEST_CASE("value: the upper bound holds, and is exact for whole numbers in plain digits") {
  for (const uint64_t bits : ManyDoubles()) {
    const std::string text = BitsText(bits);
    const size_t bound = DoubleCharsUpperBound(bits);
    if (bound < text.size()) FAIL(text << " is longer than " << bound);
    const bool digits = text.find_first_of(".e") == std::string::npos;
    if (digits && text.size() < 16 && text != "-0" && bound != text.size())
      FAIL(text << " has bound " << bound);
  }
  CHECK(DoubleCharsUpperBound(Bits(0)) == 1);
  CHECK(DoubleCharsUpperBound(Bits(9007199254740991)) == 16);
  CHECK(DoubleCharsUpperBound(Bits(-9007199254740991)) == 17);
  CHECK(DoubleCharsUpperBound(kStaleMarkerBits) == 0);
  CHECK(DoubleCharsUpperBound(0x7ff8000000000000) >= 3);
  CHECK(DoubleCharsUpperBound(0xfff0000000000000) >= 9);
}

TEST_CASE("number text: the bound of decimals with up to three places is what they need") {
  char text[kMaxDoubleChars];
  const auto chars = [&](double value) {
    return static_cast<size_t>(WriteDouble(Bits(value), text) - text);
  };
  for (const double value : {0.125, 393.433, -393.433, 1234567890.123, -0.999, 8388607.001}) {
    CHECK(DoubleCharsUpperBound(Bits(value)) == chars(value));
  }
  // Zeros at the end are not written; the bound has them.
  CHECK(DoubleCharsUpperBound(Bits(0.5)) == 5);
  CHECK(DoubleCharsUpperBound(Bits(-20.25)) == 7);
  CHECK(DoubleCharsUpperBound(Bits(0.1 + 0.2)) == kMaxDoubleChars);
  CHECK(DoubleCharsUpperBound(Bits(0.0001)) == kMaxDoubleChars);
  CHECK(DoubleCharsUpperBound(Bits(-0.0)) >= 2);
  std::mt19937_64 random(3);
  for (int i = 0; i < 200'000; ++i) {
    const auto whole = static_cast<double>(random() >> (random() % 64));
    const double value = (random() % 2 == 0 ? 1 : -1) * whole / 1000.0;
    CHECK(DoubleCharsUpperBound(Bits(value)) >= chars(value));
    const double beside = std::nextafter(value, 1e300);
    CHECK(DoubleCharsUpperBound(Bits(beside)) >= chars(beside));
  }
}

TEST_CASE("JSON: control characters are escaped, everything else goes through") {
  const auto json = [](std::string_view text) {
    ByteBuffer out;
    AppendJsonString(text, out);
    return std::string(out.view());
  };
  CHECK(json("") == "\"\"");
  CHECK(json("a\"b\\c/d") == "\"a\\\"b\\\\c/d\"");
  CHECK(json(std::string_view("\b\f\n\r\t\0\x1f\x7f", 8)) ==
        "\"\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\"");
  CHECK(json("\xf0\x9f\x98\x80<>&\xe2\x80\xa8") == "\"\xf0\x9f\x98\x80<>&\xe2\x80\xa8\"");
  ByteBuffer out;
  const std::vector<Label> labels = {{"a", "1"}, {"b\n", "\""}};
  AppendLabelsJson(labels, out);
  CHECK(out.view() == "{\"a\":\"1\",\"b\\n\":\"\\\"\"}");
}

TEST_CASE("JSON: each byte that needs an escape is found at each place of texts of each length") {
  for (size_t size = 1; size <= 70; ++size) {
    for (size_t at = 0; at < size; ++at) {
      for (const char c :
           {'"', '\\', '\x00', '\x1f', '\x20', '\x21', '\x23', '\x7f', '\x80', '\xff'}) {
        std::string text(size, 'x');
        text[at] = c;
        const std::vector<Label> labels = {{"n", text}};
        const std::string field = LabelsField(labels);
        const auto rows = ReadCsv(field + "\n");
        REQUIRE(rows);
        const auto members = JsonReader((*rows)[0][0]).ReadObject();
        if (!members || (*members)[0].second != text) FAIL("size " << size << " at " << at);
        const bool escaped = field.find('\\') != std::string::npos;
        if (escaped != (c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20))
          FAIL("escape of " << int{c});
        if (LabelsJsonCsvBytes(labels) != field.size()) FAIL("counted bytes");
      }
    }
  }
}

TEST_CASE(
    "row: any bytes in labels, lifted labels, times and values read back from strict CSV and "
    "JSON") {
  std::mt19937_64 random(17);
  const auto any_text = [&random](size_t max, bool dirty) {
    std::string text(random() % (max + 1), 'a');
    for (char& c : text) c = static_cast<char>(dirty ? random() % 256 : 'a' + random() % 26);
    return text;
  };
  SeriesRowRenderer renderer;
  ByteBuffer out;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> texts;
    const size_t count = random() % 12;
    for (size_t i = 0; i < count; ++i) {
      texts.push_back(any_text(20, round % 3 == 0));
      texts.push_back(any_text(60, round % 2 == 0));
    }
    std::vector<Label> labels;
    for (size_t i = 0; i < count; ++i) labels.push_back({texts[2 * i], texts[2 * i + 1]});
    std::vector<std::string> lifted_texts;
    for (size_t i = random() % 4; i > 0; --i) lifted_texts.push_back(any_text(10, true));
    const std::vector<std::string_view> lifted(lifted_texts.begin(), lifted_texts.end());
    const auto id = static_cast<int64_t>(random());
    const UnixMillis time{kNovember + static_cast<int64_t>(random() % 100'000'000)};
    const uint64_t bits = round % 5 == 0 ? kStaleMarkerBits : random();

    const std::string field = LabelsField(labels);
    const std::string lifted_fields = LiftedFields(lifted);
    out.clear();
    renderer.Begin(id, field, lifted_fields);
    renderer.Append(time, bits, out);

    const auto rows = ReadCsv(out.view());
    REQUIRE(rows);
    REQUIRE(rows->size() == 1);
    const auto& row = rows->front();
    REQUIRE(row.size() == kMetricsColumns + lifted.size());
    CHECK(row[0] == FormatRfc3339(time));
    CHECK(row[1] == std::to_string(id));
    const auto members = JsonReader(row[2]).ReadObject();
    REQUIRE(members);
    REQUIRE(members->size() == labels.size());
    for (size_t i = 0; i < labels.size(); ++i) {
      CHECK((*members)[i].first == labels[i].name);
      CHECK((*members)[i].second == labels[i].value);
    }
    CHECK(row[3] == BitsText(bits));
    for (size_t i = 0; i < lifted.size(); ++i) CHECK(row[kMetricsColumns + i] == lifted[i]);

    const size_t fixed = RowFixedBytes(id, labels, lifted);
    CHECK(fixed == out.size() - row[0].size() - row[3].size());
    CHECK(RowBytesUpperBound(fixed, bits) >= out.size());
    CHECK(RowBytesUpperBound(fixed, bits) <= out.size() + 25);
  }
}

TEST_CASE("row: the fixed bytes count the digits of any SeriesId") {
  const size_t zero = RowFixedBytes(0, {}, {});
  const auto check = [&](int64_t id) {
    if (RowFixedBytes(id, {}, {}) != zero - 1 + std::to_string(id).size()) FAIL("id " << id);
  };
  check(std::numeric_limits<int64_t>::min());
  check(std::numeric_limits<int64_t>::max());
  for (int64_t power = 1; power < std::numeric_limits<int64_t>::max() / 10; power *= 10) {
    for (const int64_t id : {power - 1, power, power * 5, power * 10 - 1}) {
      check(id);
      check(-id);
    }
  }
}

TEST_CASE("CSV field: quoted only where a reader needs it") {
  const auto field = [](std::string_view text) {
    ByteBuffer out;
    AppendCsvField(text, out);
    return std::string(out.view());
  };
  CHECK(field("").empty());
  CHECK(field("plain text") == "plain text");
  CHECK(field("a,b") == "\"a,b\"");
  CHECK(field("a\"b") == "\"a\"\"b\"");
  CHECK(field("a\nb") == "\"a\nb\"");
  CHECK(field("a\rb") == "\"a\rb\"");
  CHECK(field(" a") == "\" a\"");
  CHECK(field("\ta") == "\"\ta\"");
}

TEST_CASE("byte buffer: keeps its memory over clear, and its bytes over growth") {
  ByteBuffer buffer;
  CHECK(buffer.empty());
  CHECK(buffer.view().empty());
  std::string want;
  for (int i = 0; i < 5000; ++i) {
    buffer.Append("ab");
    buffer.push_back('c');
    want += "abc";
  }
  CHECK(buffer.view() == want);
  const char* memory = buffer.data();
  const size_t capacity = buffer.capacity();
  buffer.clear();
  buffer.Append("x");
  CHECK(buffer.data() == memory);
  CHECK(buffer.capacity() == capacity);
  buffer.Truncate(0);
  CHECK(buffer.empty());
  ByteBuffer other(std::move(buffer));
  CHECK(other.capacity() == capacity);
  other.reserve(capacity * 3);
  CHECK(other.capacity() == capacity * 3);
  char* end = other.Ensure(3);
  *end++ = 'z';
  other.SetEnd(end);
  CHECK(other.view() == "z");
}

}  // namespace
}  // namespace forebay::table
