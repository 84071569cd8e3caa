#include "config/internal/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <span>
#include <string_view>

namespace forebay::config::internal {
namespace {

// File names are <database>_<table>_<hash>_<id>.wal in 255 bytes; this leaves the table its share.
constexpr size_t kMaxDatabaseName = 64;
constexpr size_t kMaxTableName = 128;

// Columns that lifted labels or attributes cannot have, in lower case.
constexpr std::string_view kMetricsTaken[] = {"timestamp", "seriesid", "labels", "value"};
constexpr std::string_view kLogsTaken[] = {
    "timestamp", "observedtimestamp", "traceid",    "spanid", "severitytext",
    "body",      "severitynumber",    "resource",   "scope",  "droppedattributescount",
    "flags",     "eventname",         "attributes",
};
constexpr std::string_view kTracesTaken[] = {
    "timestamp",
    "endtimestamp",
    "duration",
    "traceid",
    "spanid",
    "parentspanid",
    "tracestate",
    "name",
    "kind",
    "flags",
    "statuscode",
    "droppedattributescount",
    "statusmessage",
    "servicename",
    "attributes",
    "events",
    "links",
    "resource",
    "scope",
    "droppedeventscount",
    "droppedlinkscount",
};

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlphanumeric(char c) { return IsLetter(c) || IsDigit(c); }

template <typename Predicate>
bool All(std::string_view text, Predicate predicate) {
  return std::all_of(text.begin(), text.end(), predicate);
}

std::string Lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

bool IsLabelName(std::string_view text) {
  return !text.empty() && !IsDigit(text.front()) &&
         All(text, [](char c) { return IsAlphanumeric(c) || c == '_'; });
}

// A label name in which $1 or ${1} may stand for parts, as Prometheus allows for `replace`.
bool IsLabelTemplate(std::string_view text) {
  if (text.empty() || IsDigit(text.front())) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (IsAlphanumeric(text[i]) || text[i] == '_') continue;
    if (text[i] != '$' || i + 1 == text.size()) return false;
    if (text[i + 1] != '{') continue;
    const size_t end = text.find('}', i);
    if (end == std::string_view::npos || end == i + 2) return false;
    i = end;
  }
  return true;
}

// What is wrong with "host:port", or empty.
std::string_view AddressFault(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return "has no port";
  const std::string_view host = address.substr(0, colon);
  const std::string_view port = address.substr(colon + 1);
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || error != std::errc() || end != port.data() + port.size() || number > 65535) {
    return "has no port between 0 and 65535";
  }
  if (host.starts_with("[")) {
    const bool closed = host.ends_with("]") && host.size() > 3;
    const auto legal = [](char c) { return IsAlphanumeric(c) || c == ':' || c == '.' || c == '%'; };
    return closed && All(host.substr(1, host.size() - 2), legal) ? "" : "has no IPv6 address in []";
  }
  if (host.find(':') != std::string_view::npos) return "has an IPv6 address without []";
  const auto legal = [](char c) { return IsAlphanumeric(c) || c == '.' || c == '-' || c == '_'; };
  return All(host, legal) ? "" : "has characters that no host name has";
}

class Validator {
 public:
  explicit Validator(const Config& config) : config_(config) {}

  std::vector<Finding> Run() {
    CheckStorage();
    CheckListen();
    CheckSizes();
    CheckRemoteWrite();
    CheckOtlp();
    CheckTenants();
    CheckDatabases();
    CheckCluster();
    return std::move(findings_);
  }

 private:
  void Fail(std::string key, std::string message) {
    findings_.push_back({std::move(key), std::move(message)});
  }

  void CheckListen() {
    const Listen& listen = config_.listen;
    CheckAddress("listen.ingest", listen.ingest);
    CheckAddress("listen.admin", listen.admin);
    if (listen.ingest == listen.admin && !listen.ingest.ends_with(":0")) {
      Fail("listen.admin", fmt::format("is the address of listen.ingest too ({}); give each its "
                                       "own port",
                                       listen.admin));
    }
    CheckAddress("listen.transfer", listen.transfer);
    if (!listen.otlp_grpc.empty()) CheckAddress("listen.otlp_grpc", listen.otlp_grpc);
    CheckTls("listen.tls", listen.tls);
    CheckTls("listen.admin_tls", listen.admin_tls);
  }

  void CheckAddress(const std::string& key, const std::string& address) {
    const std::string_view fault = AddressFault(address);
    if (fault.empty()) return;
    Fail(key, fmt::format("\"{}\" {}; write host:port, for example 0.0.0.0:9090 or [::1]:9090",
                          address, fault));
  }

  void CheckCluster() {
    const Cluster& cluster = config_.cluster;
    if (cluster.discovery == "dns" && cluster.dns.service.empty()) {
      Fail("cluster.dns.service", "must be set for cluster.discovery: dns");
    }
    if (cluster.discovery == "static" && cluster.members.empty()) {
      Fail("cluster.members", "must be set for cluster.discovery: static");
    }
    const TransferTls& tls = cluster.transfer_tls;
    if (tls.cert_file.empty() != tls.key_file.empty() ||
        tls.cert_file.empty() != tls.ca_file.empty()) {
      Fail("cluster.transfer_tls", "needs cert_file, key_file and ca_file together, or none");
    }
    const Transfer& transfer = cluster.transfer;
    if (transfer.ledger_window < transfer.doubt_timeout + transfer.timeout) {
      Fail("cluster.transfer.ledger_window",
           "must be at least cluster.transfer.doubt_timeout and timeout together: a peer that asks "
           "must find what it sent");
    }
    const std::string& api = cluster.kubernetes.api_server;
    if (!api.starts_with("https://") && !api.starts_with("http://")) {
      Fail("cluster.kubernetes.api_server",
           fmt::format("\"{}\" is no URL; write https://host:port", api));
    }
    std::set<std::string> names;
    for (size_t i = 0; i < cluster.members.size(); ++i) {
      const ClusterMember& member = cluster.members[i];
      const std::string key = fmt::format("cluster.members.{}", i);
      if (member.name.empty()) Fail(key + ".name", "must not be empty");
      if (!names.insert(member.name).second) {
        Fail(key + ".name", fmt::format("\"{}\" is the name of a member before it", member.name));
      }
      CheckAddress(key + ".address", member.address);
    }
  }

  void CheckTls(const std::string& key, const Tls& tls) {
    if (tls.cert_file.empty() != tls.key_file.empty()) {
      const bool no_key = tls.key_file.empty();
      Fail(fmt::format("{}.{}", key, no_key ? "cert_file" : "key_file"),
           fmt::format("needs {}.{} too: a certificate and its key go together", key,
                       no_key ? "key_file" : "cert_file"));
    } else if (tls.cert_file.empty() && !tls.client_ca_file.empty()) {
      Fail(key + ".client_ca_file",
           fmt::format("client certificates need TLS: set {0}.cert_file and {0}.key_file", key));
    }
  }

  void CheckStorage() {
    const Storage& storage = config_.storage;
    if (storage.dir.empty()) Fail("storage.dir", "must not be empty");
    if (storage.low_watermark >= storage.high_watermark) {
      Fail("storage.low_watermark",
           fmt::format("{} is not below storage.high_watermark ({}); writes would be refused and "
                       "taken in turns: lower it or raise storage.high_watermark",
                       storage.low_watermark, storage.high_watermark));
    }
  }

  void CheckSizes() {
    const Batch& batch = config_.batch;
    if (batch.min_bytes > batch.max_bytes) {
      Fail("batch.min_bytes",
           fmt::format("{} is more than batch.max_bytes ({}); lower it or raise "
                       "batch.max_bytes",
                       FormatByteCount(batch.min_bytes), FormatByteCount(batch.max_bytes)));
    }
    const Upload& upload = config_.upload;
    if (upload.retry_initial > upload.retry_max) {
      Fail("upload.retry_initial",
           fmt::format("{} is more than upload.retry_max ({}); lower it or raise upload.retry_max",
                       FormatDuration(upload.retry_initial), FormatDuration(upload.retry_max)));
    }
    const Limits& limits = config_.limits;
    if (limits.in_flight_bodies < config_.http.max_body) {
      Fail("limits.in_flight_bodies",
           fmt::format("{} is less than http.max_body ({}), so that the largest bodies would be "
                       "refused for ever; raise it or lower http.max_body",
                       FormatByteCount(limits.in_flight_bodies),
                       FormatByteCount(config_.http.max_body)));
    }
  }

  void CheckTenants() {
    const Tenants& tenants = config_.tenants;
    CheckTenantLimits("tenants.limits", tenants.limits);
    if (tenants.overrides.size() > tenants.max) {
      Fail("tenants.max", fmt::format("is less than the {} tenants.overrides; raise it",
                                      tenants.overrides.size()));
    }
    std::set<std::string> names;
    for (size_t i = 0; i < tenants.overrides.size(); ++i) {
      const TenantOverride& one = tenants.overrides[i];
      const std::string key = fmt::format("tenants.overrides.{}", i);
      if (one.name.empty()) {
        Fail(key + ".name", "must not be empty; write the value of remote_write.tenant_header");
      } else if (!names.insert(one.name).second) {
        Fail(key + ".name", fmt::format("\"{}\" stands twice; keep one of them", one.name));
      }
      CheckTenantLimits(key + ".limits", one.limits);
    }
  }

  void CheckTenantLimits(const std::string& key, const TenantLimits& limits) {
    const auto check = [&](const char* rate, uint64_t per_second, uint64_t burst) {
      if (burst == 0 || per_second != 0) return;
      Fail(fmt::format("{}.{}_burst", key, rate),
           fmt::format("means nothing without {}.{}_per_second; set that too", key, rate));
    };
    check("requests", limits.requests_per_second, limits.requests_burst);
    check("samples", limits.samples_per_second, limits.samples_burst);
    check("bytes", limits.bytes_per_second.value, limits.bytes_burst.value);
  }

  void CheckRemoteWrite() {
    const RemoteWrite& remote_write = config_.remote_write;
    std::set<std::string> paths;
    if (remote_write.paths.empty()) {
      Fail("remote_write.paths", "must not be empty; the usual path is /api/v1/write");
    }
    for (size_t i = 0; i < remote_write.paths.size(); ++i) {
      const std::string& path = remote_write.paths[i];
      const std::string key = fmt::format("remote_write.paths.{}", i);
      const auto legal = [](char c) { return c > ' ' && c < 0x7F && c != '?' && c != '#'; };
      if (!path.starts_with("/")) {
        Fail(key, fmt::format("\"{}\" must begin with /", path));
      } else if (!All(path, legal)) {
        Fail(key, fmt::format("\"{}\" is no URL path: no blanks, ? or #", path));
      } else if (!paths.insert(path).second) {
        Fail(key, fmt::format("\"{}\" is listed twice", path));
      }
    }
    CheckRelabel("remote_write.relabel_configs", remote_write.relabel_configs);
    CheckHeaderName(remote_write.tenant_header);
    for (size_t i = 0; i < remote_write.drop_label_prefixes.size(); ++i) {
      if (remote_write.drop_label_prefixes[i].empty()) {
        Fail(fmt::format("remote_write.drop_label_prefixes.{}", i),
             "an empty prefix would drop every label; remove it");
      }
    }
    const std::string& database = remote_write.default_database;
    const auto& databases = config_.databases;
    if (!database.empty() && std::none_of(databases.begin(), databases.end(),
                                          [&](const Database& d) { return d.name == database; })) {
      std::string names;
      for (const Database& d : databases) names += (names.empty() ? "" : ", ") + d.name;
      Fail("remote_write.default_database",
           fmt::format("\"{}\" is not one of `databases` ({})", database, names));
    }
    CheckTables(remote_write);
  }

  void CheckOtlp() {
    const Otlp& otlp = config_.otlp;
    if (!otlp.enabled && !config_.listen.otlp_grpc.empty()) {
      Fail("listen.otlp_grpc", "means nothing with otlp.enabled: false; leave one of them out");
    }
    for (const std::string_view path : {"/v1/metrics", "/v1/logs", "/v1/traces"}) {
      const auto& paths = config_.remote_write.paths;
      if (otlp.enabled && std::find(paths.begin(), paths.end(), path) != paths.end()) {
        Fail("remote_write.paths",
             fmt::format("{} is a path of OTLP; take it out or set otlp.enabled: false", path));
      }
    }
    CheckIdentifier("otlp.logs.table", otlp.logs.table, kMaxTableName);
    CheckIdentifier("otlp.traces.table", otlp.traces.table, kMaxTableName);
    CheckOtlpDatabase("otlp.logs.database", otlp.logs.database);
    CheckOtlpDatabase("otlp.traces.database", otlp.traces.database);
    CheckLift("otlp.logs.lift_attributes", otlp.logs.lift_attributes, kLogsTaken);
    CheckLift("otlp.traces.lift_attributes", otlp.traces.lift_attributes, kTracesTaken);
  }

  void CheckOtlpDatabase(const std::string& key, const std::string& name) {
    const auto& databases = config_.databases;
    const bool known = std::any_of(databases.begin(), databases.end(),
                                   [&](const Database& d) { return d.name == name; });
    if (!name.empty() && !known) {
      Fail(key, fmt::format("\"{}\" is not one of `databases`", name));
    }
  }

  void CheckHeaderName(std::string_view name) {
    const auto legal = [](char c) {
      return IsAlphanumeric(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string::npos;
    };
    if (!All(name, legal)) {
      Fail("remote_write.tenant_header", fmt::format("\"{}\" is no name of a header", name));
    }
  }

  void CheckTables(const RemoteWrite& remote_write) {
    std::set<std::string> names;
    const std::pair<const char*, const std::string*> tables[] = {
        {"remote_write.exemplars_table", &remote_write.exemplars_table},
        {"remote_write.histograms_table", &remote_write.histograms_table},
        {"remote_write.metadata_table", &remote_write.metadata_table}};
    for (const auto& [key, name] : tables) {
      CheckIdentifier(key, *name, kMaxTableName);
      if (!name->empty() && !names.insert(*name).second) {
        Fail(key, fmt::format("\"{}\" is another table's name too; their columns differ", *name));
      }
    }
  }

  void CheckIdentifier(const std::string& key, std::string_view name, size_t max_size) {
    if (name.empty()) {
      Fail(key, "must not be empty");
    } else if (!All(name, IsAlphanumeric)) {
      Fail(key, fmt::format("\"{}\" may have ASCII letters and digits only", name));
    } else if (name.size() > max_size) {
      Fail(key, fmt::format("has {} characters; at most {}", name.size(), max_size));
    }
  }

  void CheckRelabel(const std::string& list, const std::vector<RelabelConfig>& configs) {
    for (size_t i = 0; i < configs.size(); ++i) {
      const RelabelConfig& config = configs[i];
      const std::string key = fmt::format("{}.{}", list, i);
      const std::string& action = config.action;
      const bool writes = action == "replace" || action == "hashmod" || action == "lowercase" ||
                          action == "uppercase";
      const bool compares = action == "keepequal" || action == "dropequal";
      if (writes || compares) CheckTarget(key, config);
      if ((writes && action != "replace") || compares) {
        if (config.source_labels.empty()) {
          Fail(key, fmt::format("action {} needs source_labels", action));
        }
      }
      if (action == "hashmod" && config.modulus == 0) {
        Fail(key, "action hashmod needs a modulus of 1 or more");
      }
      if (action == "labelmap" && !IsLabelTemplate(config.replacement)) {
        Fail(key + ".replacement", fmt::format("\"{}\" is no label name", config.replacement));
      }
      for (size_t s = 0; s < config.source_labels.size(); ++s) {
        if (config.source_labels[s].empty()) {
          Fail(fmt::format("{}.source_labels.{}", key, s), "must not be empty");
        }
      }
    }
  }

  void CheckTarget(const std::string& key, const RelabelConfig& config) {
    if (config.target_label.empty()) {
      Fail(key, fmt::format("action {} needs target_label{}", config.action,
                            config.action == "replace" ? " (replace is the default action)" : ""));
    } else if (!(config.action == "replace" ? IsLabelTemplate(config.target_label)
                                            : IsLabelName(config.target_label))) {
      Fail(key + ".target_label", fmt::format("\"{}\" is no label name", config.target_label));
    }
  }

  void CheckDatabases() {
    std::set<std::string> names;
    for (size_t i = 0; i < config_.databases.size(); ++i) {
      const Database& database = config_.databases[i];
      const std::string key = fmt::format("databases.{}", i);
      if (database.name.empty()) {
        Fail(key, "has no name; add `name: Metrics`");
      } else {
        CheckIdentifier(key + ".name", database.name, kMaxDatabaseName);
        if (!names.insert(database.name).second) {
          Fail(key + ".name", fmt::format("\"{}\" is another database's name too", database.name));
        }
      }
      CheckRelabel(key + ".relabel_configs", database.relabel_configs);
      CheckLift(key + ".lift_labels", database.lift_labels, kMetricsTaken);
      CheckSinks(key, database);
    }
  }

  // taken: columns of the table, in lower case.
  void CheckLift(const std::string& list, const std::vector<LiftLabel>& labels,
                 std::span<const std::string_view> taken) {
    std::set<std::string> names;
    std::set<std::string> columns(taken.begin(), taken.end());
    for (size_t i = 0; i < labels.size(); ++i) {
      const std::string key = fmt::format("{}.{}", list, i);
      if (labels[i].name.empty()) {
        Fail(key, "has no name; add `name: <label>`");
      } else if (!names.insert(Lower(labels[i].name)).second) {
        Fail(key + ".name",
             fmt::format("\"{}\" is lifted twice (case is ignored)", labels[i].name));
      }
      if (labels[i].column.empty()) continue;
      CheckIdentifier(key + ".column", labels[i].column, kMaxTableName);
      if (!columns.insert(Lower(labels[i].column)).second) {
        Fail(key + ".column", fmt::format("\"{}\" is another column's name too", labels[i].column));
      }
    }
  }

  void CheckSinks(const std::string& key, const Database& database) {
    if (database.sinks.empty()) {
      Fail(key,
           "has no sinks, so its data could go nowhere; add `sinks: [{file: {root: "
           "./data/out}}]`");
    }
    std::set<std::string> names;
    std::set<std::string> roots;
    for (size_t i = 0; i < database.sinks.size(); ++i) {
      const Sink& sink = database.sinks[i];
      const std::string sink_key = fmt::format("{}.sinks.{}", key, i);
      const int kinds = static_cast<int>(sink.file.has_value()) +
                        static_cast<int>(sink.adx.has_value()) +
                        static_cast<int>(sink.clickhouse.has_value());
      if (kinds != 1) {
        Fail(sink_key, kinds == 0 ? "has no kind; add `file: {root: ./data/out}`"
                                  : "has several kinds; make a sink of each");
        continue;
      }
      const auto legal = [](char c) { return IsAlphanumeric(c) || c == '-' || c == '_'; };
      if (!All(sink.name, legal)) {
        Fail(sink_key + ".name",
             fmt::format("\"{}\" may have letters, digits, - and _ only", sink.name));
      }
      const std::string name = !sink.name.empty() ? sink.name
                               : sink.file        ? "file"
                               : sink.adx         ? "adx"
                                                  : "clickhouse";
      if (!names.insert(name).second) {
        Fail(sink_key, fmt::format("\"{}\" is another sink's name too; give each a `name`", name));
      }
      if (sink.adx) {
        CheckAdx(sink_key + ".adx", *sink.adx);
        continue;
      }
      if (sink.clickhouse) {
        CheckClickHouse(sink_key + ".clickhouse", *sink.clickhouse);
        continue;
      }
      if (sink.file->root.empty()) {
        Fail(sink_key + ".file", "has no root; add `root: ./data/out`");
      } else if (!roots.insert(sink.file->root).second) {
        Fail(sink_key + ".file.root",
             fmt::format("\"{}\" is another sink's root too", sink.file->root));
      }
    }
  }

  void CheckUrl(const std::string& key, const std::string& url) {
    const size_t scheme = url.starts_with("https://") ? 8 : url.starts_with("http://") ? 7 : 0;
    const bool legal = scheme != 0 && url.size() > scheme && All(url, [](char c) {
                         return c > ' ' && c < 0x7F && c != '?' && c != '#' && c != '@';
                       });
    if (!legal) {
      Fail(key,
           fmt::format("\"{}\" is no URL of a server; write https://host, without user or query",
                       url));
    }
  }

  void CheckAdx(const std::string& key, const AdxSink& adx) {
    if (adx.endpoint.empty()) {
      Fail(key, "has no endpoint; add `endpoint: https://<cluster>.<region>.kusto.windows.net`");
    } else {
      CheckUrl(key + ".endpoint", adx.endpoint);
    }
    if (!adx.ingest_endpoint.empty()) CheckUrl(key + ".ingest_endpoint", adx.ingest_endpoint);
    const AzureAuth& auth = adx.auth;
    if (!auth.authority.empty()) CheckUrl(key + ".auth.authority", auth.authority);
    if (!auth.identity_endpoint.empty()) {
      CheckUrl(key + ".auth.identity_endpoint", auth.identity_endpoint);
    }
    if (auth.kind == "token" && auth.token_file.empty()) {
      Fail(key + ".auth.token_file", "must be set for auth.kind: token");
    }
    if (adx.status_timeout < adx.status_interval) {
      Fail(key + ".status_timeout", "is less than status_interval; raise it");
    }
  }

  void CheckClickHouse(const std::string& key, const ClickHouseSink& sink) {
    const bool known = sink.dsn.starts_with("http://") || sink.dsn.starts_with("https://") ||
                       sink.dsn.starts_with("clickhouse://") || sink.dsn.starts_with("tcp://");
    if (sink.dsn.empty()) {
      Fail(key, "has no dsn; add `dsn: http://user:password@host:8123/database`");
    } else if (!known) {
      Fail(key + ".dsn", "does not begin with http://, https:// or clickhouse://");
    }
    if (sink.cert_file.empty() != sink.key_file.empty()) {
      Fail(key + (sink.key_file.empty() ? ".cert_file" : ".key_file"),
           "needs both cert_file and key_file");
    }
    const auto legal = [](char c) { return IsAlphanumeric(c) || c == '_'; };
    const auto check_table = [&](std::string_view name, const std::string& table) {
      if (All(table, legal)) return;
      Fail(key + std::string(name),
           fmt::format("\"{}\" may have letters, digits and _ only", table));
    };
    check_table(".samples_table", sink.samples_table);
    check_table(".logs_table", sink.logs_table);
    check_table(".traces_table", sink.traces_table);
    const auto check_apart = [&](std::string_view name, const std::string& table,
                                 std::string_view other_name, const std::string& other) {
      if (table.empty() || table != other) return;
      Fail(key + std::string(name),
           fmt::format("is the same as {}, whose rows have other columns", other_name));
    };
    check_apart(".logs_table", sink.logs_table, "samples_table", sink.samples_table);
    check_apart(".traces_table", sink.traces_table, "samples_table", sink.samples_table);
    check_apart(".traces_table", sink.traces_table, "logs_table", sink.logs_table);
  }

  const Config& config_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> Validate(const Config& config) { return Validator(config).Run(); }

}  // namespace forebay::config::internal
