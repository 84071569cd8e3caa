#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <unordered_map>

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
    auto made = std::make_shared<spdlog::logger>(
        "forebay", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->set_level(spdlog::level::trace);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *logger;
}

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarn: return "warn";
    case LogLevel::kError: return "error";
    case LogLevel::kOff: return "off";
  }
  return "info";
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarn: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
    case LogLevel::kOff: return spdlog::level::off;
  }
  return spdlog::level::info;
}

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  out += '"';
}

void AppendLogfmtValue(std::string& out, std::string_view text) {
  const bool plain = !text.empty() && text.find_first_of(" \"=\\\n\r\t") == std::string_view::npos;
  if (plain) {
    out += text;
  } else {
    AppendQuoted(out, text);
  }
}

// Counts lines per message and second; bounded, forgets all when full.
class RateLimit {
 public:
  // Returns how many lines of this message were left out before this one, or -1 to leave this one out.
  int64_t Admit(std::string_view message) {
    MutexLock lock(mutex_);
    const int64_t second = SystemClock().Now().value / 1000;
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

}  // namespace

void ConfigureLog(LogLevel level, LogFormat format) {
  g_level = level;
  g_format = format;
}

bool LogEnabled(LogLevel level) { return level >= g_level.load(std::memory_order_relaxed); }

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (!LogEnabled(level)) return;
  static RateLimit rate_limit;
  const int64_t left_out = rate_limit.Admit(message);
  if (left_out < 0) return;
  const bool json = g_format.load(std::memory_order_relaxed) == LogFormat::kJson;
  std::string line;
  const auto add = [&](std::string_view key, std::string_view value) {
    if (json) {
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
  add("ts", FormatRfc3339(SystemClock().Now()));
  add("level", LevelName(level));
  add("msg", message);
  for (const LogField& field : fields) add(field.key, field.value);
  if (left_out > 0) add("left_out", fmt::format("{}", left_out));
  if (json) line += '}';
  Sink().log(SpdlogLevel(level), line);
}

}  // namespace forebay
