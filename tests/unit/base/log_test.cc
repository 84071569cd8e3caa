#include "base/log.h"

#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "base/mutex.h"

namespace forebay {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::EndsWith;

constexpr UnixMillis kTime{1'793'491'200'123};

// Takes the process's lines for the time of a test, and sets the level back afterwards.
class Captured {
 public:
  Captured() {
    RedirectLog([this](LogLevel, std::string_view line) { lines_.emplace_back(line); });
  }
  ~Captured() {
    RedirectLog({});
    ConfigureLog(LogLevel::kInfo, LogFormat::kLogfmt);
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

std::string Logfmt(std::string_view value) {
  const std::string line =
      FormatLogLine(LogFormat::kLogfmt, kTime, LogLevel::kInfo, "m", {{"k", value}});
  return line.substr(line.find(" k=") + 3);
}

std::string Json(std::string_view value) {
  const std::string line =
      FormatLogLine(LogFormat::kJson, kTime, LogLevel::kInfo, "m", {{"k", value}});
  const size_t at = line.find("\"k\":") + 4;
  return line.substr(at, line.size() - at - 1);
}

TEST_CASE("log: logfmt has time, level, message and fields in order") {
  CHECK(FormatLogLine(LogFormat::kLogfmt, kTime, LogLevel::kWarn, "disk is full",
                      {{"dir", "/data"}, {"free", 12}, {"share", 0.5}}) ==
        "ts=2026-11-01T00:00:00.123Z level=warn msg=\"disk is full\" dir=/data free=12 share=0.5");
}

TEST_CASE("log: json is one object of strings") {
  CHECK(FormatLogLine(LogFormat::kJson, kTime, LogLevel::kError, "a \"b\"", {{"n", 1}}) ==
        R"({"ts":"2026-11-01T00:00:00.123Z","level":"error","msg":"a \"b\"","n":"1"})");
}

TEST_CASE("log: values that would break a logfmt line are quoted") {
  CHECK(Logfmt("plain-1.2:3/4") == "plain-1.2:3/4");
  CHECK(Logfmt("") == "\"\"");
  CHECK(Logfmt("a b") == "\"a b\"");
  CHECK(Logfmt("a=b") == "\"a=b\"");
  CHECK(Logfmt("a\"b\\c") == "\"a\\\"b\\\\c\"");
  CHECK(Logfmt("a\nb\tc") == "\"a\\nb\\u0009c\"");
  CHECK(Logfmt("\x1b[31m\x7f") == "\"\\u001b[31m\\u007f\"");
  CHECK(Logfmt("h\xC3\xA9") == "\"h\xC3\xA9\"");
}

TEST_CASE("log: bytes that are not UTF-8 become the replacement character") {
  const std::string r = "\xEF\xBF\xBD";
  CHECK(Json("\xE2\x82\xAC \xF0\x9F\x98\x80") == "\"\xE2\x82\xAC \xF0\x9F\x98\x80\"");
  CHECK(Json("a\xFFz") == "\"a" + r + "z\"");
  CHECK(Json("\xC0\xAF") == "\"" + r + r + "\"");
  CHECK(Json("\xC3") == "\"" + r + "\"");
  CHECK(Json("\xE2\x82") == "\"" + r + r + "\"");
  CHECK(Json("\xE0\x80\x80") == "\"" + r + r + r + "\"");
  CHECK(Json("\xED\xA0\x80") == "\"" + r + r + r + "\"");
  CHECK(Json("\xF4\x90\x80\x80") == "\"" + r + r + r + r + "\"");
  CHECK(Json(std::string_view("a\0b", 3)) == "\"a\\u0000b\"");
}

TEST_CASE("log: lines below the level are not written") {
  const Captured captured;
  ConfigureLog(LogLevel::kWarn, LogFormat::kLogfmt);
  LogDebug("log test: level debug");
  LogInfo("log test: level info");
  LogWarn("log test: level warn");
  LogError("log test: level error");
  REQUIRE(captured.lines().size() == 2);
  CHECK_THAT(captured.lines()[0], Contains("level=warn"));
  CHECK_THAT(captured.lines()[1], Contains("level=error"));
  CHECK_FALSE(LogEnabled(LogLevel::kInfo));
  ConfigureLog(LogLevel::kOff, LogFormat::kLogfmt);
  LogError("log test: level off");
  CHECK(captured.lines().size() == 2);
}

TEST_CASE("log: the format is the configured one") {
  const Captured captured;
  ConfigureLog(LogLevel::kInfo, LogFormat::kJson);
  LogInfo("log test: json", {{"a", 1}});
  REQUIRE(captured.lines().size() == 1);
  CHECK_THAT(captured.lines()[0], EndsWith(R"("msg":"log test: json","a":"1"})"));
}

TEST_CASE(
    "log: a message repeated in a second is cut off, others are not, and the rest is counted") {
  const Captured captured;
  constexpr int kRepeats = 200;
  for (int i = 0; i < kRepeats; ++i) LogInfo("log test: repeated");
  // A second may end in between: then ten more are written, the first of them with the count.
  const size_t written = captured.lines().size();
  CHECK(written >= 10);
  CHECK(written <= 30);
  LogInfo("log test: another message");
  CHECK(captured.lines().size() == written + 1);
  // The first line of a later second says how many were left out.
  while (captured.lines().size() == written + 1) {
    LogInfo("log test: repeated");
    std::this_thread::yield();
  }
  CHECK_THAT(captured.lines().back(), Contains(" left_out="));
}

}  // namespace
}  // namespace forebay
