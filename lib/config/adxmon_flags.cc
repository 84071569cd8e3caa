#include "config/adxmon_flags.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/units.h"

namespace forebay::config {
namespace {

enum class Value { kText, kTextList, kInteger, kBytes, kDuration, kBool, kEndpoint };

struct Flag {
  std::string_view name;
  Value value;
  std::string_view key;   // Of ours; empty: accepted with a warning.
  std::string_view note;  // How the meaning differs, or why there is none.
};

constexpr std::string_view kUnlimitedConnections = "1000000";

constexpr std::array kFlags = {
    Flag{"storage-dir", Value::kText, "storage.dir", "The directory's layout is our own."},
    Flag{"max-disk-usage", Value::kBytes, "storage.max_disk", "Above it: 503, not 429."},
    Flag{"max-segment-size", Value::kBytes, "generation.max_journal",
         "There of one table's segment; here of the journal of all tables, which bounds every "
         "segment made of it."},
    Flag{"max-segment-age", Value::kDuration, "generation.max_age", ""},
    Flag{"max-transfer-size", Value::kBytes, "batch.min_bytes",
         "There compressed bytes on disk; here uncompressed row bytes."},
    Flag{"max-transfer-age", Value::kDuration, "batch.max_age", ""},
    Flag{"max-batch-segments", Value::kInteger, "batch.max_segments", ""},
    Flag{"uploads", Value::kInteger, "upload.workers", ""},
    Flag{"max-connections", Value::kInteger, "http.max_connections", "0, no limit: 1000000."},
    Flag{"enable-wal-fsync", Value::kBool, "durability",
         "true: `sync`; false: `write`. Without the flag our default holds, which is `sync`."},
    Flag{"ca-cert", Value::kText, "listen.tls.cert_file", "Together with --key, as there."},
    Flag{"key", Value::kText, "listen.tls.key_file", "Without both the port is plain HTTP."},
    Flag{"metrics-kusto-endpoints", Value::kEndpoint, "databases",
         "`<database>=<endpoint>`, several with commas or by repeating it: a database with an "
         "`adx` sink for each endpoint. https endpoints get tokens as `auth.kind: auto` says."},
    Flag{"logs-kusto-endpoints", Value::kEndpoint, "databases", "As --metrics-kusto-endpoints."},
    Flag{"storage-backend", Value::kText, "", "Sinks are chosen per database: databases[].sinks."},
    Flag{"cluster-labels", Value::kText, "", "Members are found as cluster.discovery says."},
    Flag{"disable-peer-transfer", Value::kBool, "", "See cluster.transfer.enabled."},
    Flag{"max-transfer-concurrency", Value::kInteger, "", "See cluster.transfer.workers."},
    Flag{"partition-size", Value::kInteger, "", "adx-mon does not use it either."},
    Flag{"max-segment-count", Value::kInteger, "",
         "Disk space is bounded by storage.max_disk, tables by limits.tables_max."},
    Flag{"drop-prefix", Value::kTextList, "cluster.transfer.drop_prefixes",
         "Repeatable. Of segment files; metrics are dropped by remote_write.relabel_configs."},
    Flag{"slow-request-threshold", Value::kInteger, "", "Latencies are on /metrics."},
    Flag{"insecure-skip-verify", Value::kBool, "", "Nothing is fetched from peers over TLS."},
    Flag{"namespace", Value::kText, "", "See cluster.kubernetes.namespace."},
    Flag{"hostname", Value::kText, "", "See cluster.member."},
    Flag{"region", Value::kText, "", "Label the scrape of /metrics instead."},
    Flag{"kubeconfig", Value::kText, "", "In a pod: cluster.discovery: kubernetes."},
};

const Flag* FindFlag(std::string_view name) {
  const auto found = std::find_if(kFlags.begin(), kFlags.end(),
                                  [name](const Flag& flag) { return flag.name == name; });
  return found == kFlags.end() ? nullptr : &*found;
}

Error Invalid(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

Result<bool> ParseGoBool(std::string_view text) {
  for (const std::string_view word : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == word) return true;
  }
  for (const std::string_view word : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == word) return false;
  }
  return Invalid(fmt::format("\"{}\" is neither true nor false", text));
}

Result<uint64_t> ParseGoInteger(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  return Invalid(fmt::format("\"{}\" is not a whole number", text));
}

// The sink of an endpoint as YAML. Errors: kInvalidArgument.
Result<std::string> SinkOfEndpoint(const std::string& database, const std::string& endpoint,
                                   size_t number) {
  const std::string both = database + endpoint;
  const bool plain = std::all_of(both.begin(), both.end(), [](char c) {
    return c > ' ' && c < 0x7F && c != '"' && c != '\\' && c != '$';
  });
  if (!plain || !(endpoint.starts_with("https://") || endpoint.starts_with("http://"))) {
    return Invalid(
        fmt::format("database \"{}\": \"{}\" is no endpoint; write "
                    "https://<cluster>.<region>.kusto.windows.net",
                    database, endpoint));
  }
  return fmt::format("{{name: adx{}, adx: {{endpoint: \"{}\"}}}}",
                     number == 0 ? "" : fmt::format("-{}", number + 1), endpoint);
}

// Go's time.ParseDuration, without signs; less than a millisecond is rounded up.
Result<std::chrono::milliseconds> ParseGoDuration(std::string_view text) {
  struct Unit {
    std::string_view name;
    double millis;
  };
  constexpr Unit kUnits[] = {{"ns", 1e-6}, {"us", 1e-3}, {"\u00B5s", 1e-3}, {"\u03BCs", 1e-3},
                             {"ms", 1},    {"s", 1e3},   {"m", 60e3},       {"h", 3600e3}};
  const auto bad = [text] {
    return Invalid(fmt::format("\"{}\" is not a duration such as 90s or 1h30m", text));
  };
  if (text == "0") return std::chrono::milliseconds(0);
  double total = 0;
  std::string_view rest = text;
  if (rest.empty()) return bad();
  while (!rest.empty()) {
    const size_t digits = std::min(rest.find_first_not_of("0123456789."), rest.size());
    double number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + digits, number);
    if (digits == 0 || error != std::errc() || end != rest.data() + digits) return bad();
    rest.remove_prefix(digits);
    const std::string_view name =
        rest.substr(0, std::min(rest.find_first_of("0123456789."), rest.size()));
    const auto unit = std::find_if(std::begin(kUnits), std::end(kUnits),
                                   [name](const Unit& u) { return u.name == name; });
    if (unit == std::end(kUnits)) return bad();
    total += number * unit->millis;
    rest.remove_prefix(name.size());
  }
  if (!(total < 1e15)) return bad();
  // Products of decimal fractions are a hair off; that must not round 250 ms up to 251.
  return std::chrono::milliseconds(static_cast<int64_t>(std::ceil(total - 1e-9)));
}

Result<std::string> TranslateValue(const Flag& flag, const std::string& value) {
  switch (flag.value) {
    case Value::kText:
    case Value::kTextList:
      if (value.empty()) return Invalid("is empty");
      return value;
    case Value::kBytes:
    case Value::kInteger: {
      // slow-request-threshold is the one number that may have a fraction; it is not used here.
      if (flag.key.empty()) return value;
      FOREBAY_ASSIGN_OR_RETURN(const uint64_t number, ParseGoInteger(value));
      if (flag.name == "max-connections" && number == 0) return std::string(kUnlimitedConnections);
      return fmt::format("{}", number);
    }
    case Value::kDuration: {
      FOREBAY_ASSIGN_OR_RETURN(const std::chrono::milliseconds duration, ParseGoDuration(value));
      return FormatDuration(duration);
    }
    case Value::kBool: {
      FOREBAY_ASSIGN_OR_RETURN(const bool on, ParseGoBool(value));
      return std::string(on ? "sync" : "write");
    }
    case Value::kEndpoint: {
      return value;  // Gathered by the translator: databases is one key.
    }
  }
  return Invalid("is not known");
}

class Translator {
 public:
  Result<AdxMonTranslation> Run(const std::vector<std::string>& arguments) {
    size_t i = 0;
    while (i < arguments.size() && arguments[i] != "--") i = Take(arguments, i);
    result_.remaining.insert(result_.remaining.end(), arguments.begin() + static_cast<long>(i),
                             arguments.end());
    if (seen_cert_ != seen_key_) {
      Fail(seen_cert_ ? "ca-cert" : "key",
           fmt::format("needs --{} too: a certificate and its key go together",
                       seen_cert_ ? "key" : "ca-cert"));
    }
    AddDatabases();
    if (!errors_.empty()) return Invalid(errors_);
    return std::move(result_);
  }

 private:
  // Consumes the argument at i, and its value; returns the index after them.
  size_t Take(const std::vector<std::string>& arguments, size_t i) {
    const std::string& argument = arguments[i];
    const size_t dashes = argument.starts_with("--") ? 2 : (argument.starts_with("-") ? 1 : 0);
    const size_t equals = argument.find('=');
    const std::string_view name = std::string_view(argument).substr(
        dashes, equals == std::string::npos ? equals : equals - dashes);
    const Flag* flag = dashes == 0 ? nullptr : FindFlag(name);
    if (flag == nullptr) {
      result_.remaining.push_back(argument);
      return i + 1;
    }
    if (equals != std::string::npos) {
      Apply(*flag, argument.substr(equals + 1));
      return i + 1;
    }
    if (flag->value == Value::kBool) {
      Apply(*flag, "true");
      return i + 1;
    }
    if (i + 1 == arguments.size()) {
      Fail(flag->name, "has no value");
      return i + 1;
    }
    Apply(*flag, arguments[i + 1]);
    return i + 2;
  }

  void Apply(const Flag& flag, const std::string& value) {
    seen_cert_ = seen_cert_ || flag.name == "ca-cert";
    seen_key_ = seen_key_ || flag.name == "key";
    if (flag.value == Value::kEndpoint) return AddEndpoints(flag, value);
    Result<std::string> translated = TranslateValue(flag, value);
    if (!translated.ok()) return Fail(flag.name, translated.error().message());
    if (flag.key.empty()) {
      result_.warnings.push_back(
          fmt::format("--{} is accepted but has no effect: {}", flag.name, flag.note));
      return;
    }
    const auto same = std::find_if(result_.overrides.begin(), result_.overrides.end(),
                                   [&](const auto& given) { return given.first == flag.key; });
    if (flag.value == Value::kTextList && same != result_.overrides.end()) {
      same->second += "," + *translated;
      return;
    }
    result_.overrides.emplace_back(flag.key, std::move(*translated));
  }

  // "<database>=<endpoint>[,<database>=<endpoint>...]".
  void AddEndpoints(const Flag& flag, std::string_view value) {
    while (!value.empty()) {
      const std::string_view item = value.substr(0, value.find(','));
      value.remove_prefix(std::min(item.size() + 1, value.size()));
      const size_t equals = item.find('=');
      if (equals == 0 || equals == std::string_view::npos) {
        Fail(flag.name, fmt::format("\"{}\" is not <database>=<endpoint>", item));
        continue;
      }
      const std::string database(item.substr(0, equals));
      const std::string endpoint(item.substr(equals + 1));
      if (const auto sink = SinkOfEndpoint(database, endpoint, 0); !sink.ok()) {
        Fail(flag.name, sink.error().message());
        continue;
      }
      auto found = std::find_if(endpoints_.begin(), endpoints_.end(),
                                [&](const auto& entry) { return entry.first == database; });
      if (found == endpoints_.end()) {
        found = endpoints_.insert(found, {database, std::vector<std::string>()});
      }
      // One endpoint for metrics and logs of a database is one sink.
      auto& list = found->second;
      if (std::find(list.begin(), list.end(), endpoint) == list.end()) list.push_back(endpoint);
    }
  }

  void AddDatabases() {
    std::string databases;
    for (const auto& [name, list] : endpoints_) {
      std::string sinks;
      for (size_t i = 0; i < list.size(); ++i) {
        // Tried when it was added.
        sinks += (sinks.empty() ? "" : ", ") + SinkOfEndpoint(name, list[i], i).value_or("");
      }
      databases += fmt::format("{}{{name: \"{}\", sinks: [{}]}}", databases.empty() ? "" : ", ",
                               name, sinks);
    }
    if (!databases.empty()) {
      result_.overrides.emplace_back("databases", fmt::format("[{}]", databases));
    }
  }

  void Fail(std::string_view flag, std::string_view message) {
    errors_ += fmt::format("{}--{}: {}", errors_.empty() ? "" : "\n", flag, message);
  }

  AdxMonTranslation result_;
  std::string errors_;
  std::vector<std::pair<std::string, std::vector<std::string>>> endpoints_;  // by database
  bool seen_cert_ = false;
  bool seen_key_ = false;
};

}  // namespace

Result<AdxMonTranslation> TranslateAdxMonFlags(const std::vector<std::string>& arguments) {
  return Translator().Run(arguments);
}

std::string AdxMonFlagsMarkdown() {
  std::string text = "| adx-mon flag | key | remark |\n|---|---|---|\n";
  for (const Flag& flag : kFlags) {
    const std::string key = flag.key.empty() ? "none (warning)" : fmt::format("`{}`", flag.key);
    text += fmt::format("| `--{}` | {} | {} |\n", flag.name, key, flag.note);
  }
  return text;
}

}  // namespace forebay::config
