#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"

namespace forebay {
namespace {

constexpr int kLinesPerSecondAndMessage = 10;
constexpr size_t kTrackedMessages = 1024;

std::atomic<LogLevel> g_level{LogLevel::kInfo};
std::atomic<LogFormat> g_format{LogFormat::kLogfmt};

spdlog::logger& Sink() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("forebay",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *logger;
}

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
    case LogLevel::kOff:
      return "off";
  }
  return "info";
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

// Length of the UTF-8 sequence at the start of text (RFC 3629 table), 0 when there is none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [text](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : static_cast<unsigned char>(0);
  };
  const auto follows = [byte](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = first == 0xED && byte(1) > 0x9F;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && byte(1) < 0x90;
    const bool too_large = first == 0xF4 && byte(1) > 0x8F;
    return follows(1) && follows(2) && follows(3) && !overlong && !too_large ? 4 : 0;
  }
  return 0;
}

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const char c = text.front();
    const auto byte = static_cast<unsigned char>(c);
    const size_t length = Utf8Length(text);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\u{:04x}", byte);
    } else if (length == 0) {
      out += "\xEF\xBF\xBD";  // U+FFFD
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  out += '"';
}

void AppendLogfmtValue(std::string& out, std::string_view text) {
  // Bytes beyond ASCII are quoted too: what is not UTF-8 is replaced there, and a terminal is not
  // driven.
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return c > ' ' && c < 0x7F && c != '"' && c != '=' && c != '\\';
  });
  if (plain) {
    out += text;
  } else {
    AppendQuoted(out, text);
  }
}

// Counts lines per message and second; bounded, forgets all when full.
class RateLimit {
 public:
  // Returns how many lines of this message were left out before this one, or -1 to leave this one
  // out.
  int64_t Admit(std::string_view message, UnixMillis now) {
    MutexLock lock(mutex_);
    const int64_t second = now.value / 1000;
    if (counts_.size() >= kTrackedMessages) counts_.clear();
    Count& count = counts_[std::string(message)];
    if (count.second != second) {
      const int64_t left_out = count.left_out;
      count = {second, 1, 0};
      return left_out;
    }
    if (count.lines >= kLinesPerSecondAndMessage) {
      ++count.left_out;
      return -1;
    }
    ++count.lines;
    return 0;
  }

 private:
  struct Count {
    int64_t second = 0;
    int lines = 0;
    int64_t left_out = 0;
  };
  Mutex mutex_;
  std::unordered_map<std::string, Count> counts_ GUARDED_BY(mutex_);
};

// Where lines go in tests.
struct Redirection {
  std::atomic<bool> on{false};
  Mutex mutex;
  std::function<void(LogLevel, std::string_view)> sink GUARDED_BY(mutex);
};

Redirection& TheRedirection() {
  static Redirection redirection;
  return redirection;
}

}  // namespace

void ConfigureLog(LogLevel level, LogFormat format) {
  g_level = level;
  g_format = format;
}

bool LogEnabled(LogLevel level) { return level >= g_level.load(std::memory_order_relaxed); }

std::string FormatLogLine(LogFormat format, UnixMillis time, LogLevel level,
                          std::string_view message, std::initializer_list<LogField> fields,
                          int64_t left_out) {
  std::string line;
  const auto add = [&](std::string_view key, std::string_view value) {
    if (format == LogFormat::kJson) {
      line += line.empty() ? "{" : ",";
      AppendQuoted(line, key);
      line += ':';
      AppendQuoted(line, value);
    } else {
      if (!line.empty()) line += ' ';
      line += key;
      line += '=';
      AppendLogfmtValue(line, value);
    }
  };
  add("ts", FormatRfc3339(time));
  add("level", LevelName(level));
  add("msg", message);
  for (const LogField& field : fields) add(field.key, field.value);
  if (left_out > 0) add("left_out", fmt::format("{}", left_out));
  if (format == LogFormat::kJson) line += '}';
  return line;
}

void RedirectLog(std::function<void(LogLevel, std::string_view line)> sink) {
  Redirection& redirection = TheRedirection();
  MutexLock lock(redirection.mutex);
  redirection.on = static_cast<bool>(sink);
  redirection.sink = std::move(sink);
}

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (!LogEnabled(level)) return;
  static RateLimit rate_limit;
  const UnixMillis now = SystemClock().Now();
  const int64_t left_out = rate_limit.Admit(message, now);
  if (left_out < 0) return;
  const std::string line = FormatLogLine(g_format.load(std::memory_order_relaxed), now, level,
                                         message, fields, left_out);
  Redirection& redirection = TheRedirection();
  if (redirection.on) {
    MutexLock lock(redirection.mutex);
    if (redirection.sink) return redirection.sink(level, line);
  }
  Sink().log(SpdlogLevel(level), line);
}

}  // namespace forebay
