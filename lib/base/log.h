// The log: one line per event, logfmt or JSON, on standard error. Levels by what an operator must
// do: error = act now, warn = look soon, info = life cycle, debug = for developers. spdlog stays in
// log.cc.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/time.h"

namespace forebay {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };
enum class LogFormat { kLogfmt, kJson };

// Sets level and format of the process. Threads: call before others log, or any time later.
void ConfigureLog(LogLevel level, LogFormat format);
bool LogEnabled(LogLevel level);

// One field of a line; values are formatted by fmt and quoted as the format needs.
struct LogField {
  std::string_view key;
  std::string value;

  template <typename T>
  LogField(std::string_view k, const T& v) : key(k), value(fmt::format("{}", v)) {}
};

// Writes `time level msg key=value ...`. At most 10 lines a second of the same message text are
// written; a line then says how many were left out. Threads: any.
void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

// The line that Log writes, without the newline. left_out: lines of this message not written before
// it. Shape: control bytes, quotes and backslashes are escaped; bytes that are not UTF-8 become
// U+FFFD in JSON, so that a line is always one valid document. Threads: any.
std::string FormatLogLine(LogFormat format, UnixMillis time, LogLevel level,
                          std::string_view message, std::initializer_list<LogField> fields,
                          int64_t left_out = 0);

// Sends lines to `sink` in place of standard error, for tests; an empty function goes back. The
// sink is called under a lock and must not log. Threads: any.
void RedirectLog(std::function<void(LogLevel, std::string_view line)> sink);

inline void LogDebug(std::string_view message, std::initializer_list<LogField> fields = {}) {
  if (LogEnabled(LogLevel::kDebug)) Log(LogLevel::kDebug, message, fields);
}
inline void LogInfo(std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kInfo, message, fields);
}
inline void LogWarn(std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kWarn, message, fields);
}
inline void LogError(std::string_view message, std::initializer_list<LogField> fields = {}) {
  Log(LogLevel::kError, message, fields);
}

}  // namespace forebay
