// The whole configuration as plain structs. Field names are the YAML keys; the initialisers are the
// defaults, the only place they stand. Filled by config/load.h; nothing else parses or validates.
// Every bound of a queue, buffer, wait or table that a user may set is in here.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"

namespace forebay::config {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// What a 2xx promises: sync = fdatasync'ed, write = handed to the kernel, none = in memory.
enum class Durability { kSync, kWrite, kNone };

struct Storage {
  std::string dir = "./data";    // journal/, segments/, batches/, quarantine/ ... below it
  ByteCount max_disk = GiB(10);  // of everything below dir, file sinks' output not counted
  uint32_t high_watermark = 95;  // percent of max_disk; from here on: 503
  uint32_t low_watermark = 85;   // percent of max_disk; below it writes are taken again
  ByteCount reserve = MiB(64);   // free bytes of the volume; fewer: 503, until there is twice that
  uint64_t reserve_inodes = 1000;             // the same for inodes; 0: not looked at
  ByteCount quarantine_max = GiB(1);          // of quarantine/; more is counted and not kept
  ByteCount dead_letters_max{0};              // of dlq/; 0: a tenth of max_disk; above: they wait
  milliseconds audit_interval = minutes(10);  // account against disk; 0: only when asked
};

struct Tls {
  std::string cert_file;            // PEM; empty: plain HTTP
  std::string key_file;             // PEM
  std::string client_ca_file;       // PEM; set: clients must present a certificate that it signed
  std::string min_version = "1.2";  // 1.2 | 1.3
  bool enabled() const { return !cert_file.empty(); }
};

// Who may call. Files are re-read on reload. Empty: everyone.
struct Auth {
  std::string basic_file;   // lines `user:password` (plain) or `user:{SHA256}<hex>`
  std::string bearer_file;  // lines of tokens, optionally `name:token`
  bool enabled() const { return !basic_file.empty() || !bearer_file.empty(); }
};

struct Listen {
  std::string ingest =
      "127.0.0.1:9090";  // host:port; host empty or 0.0.0.0 or [::] for all; port 0: any
  std::string admin = "127.0.0.1:9091";
  std::string transfer = "127.0.0.1:9092";  // only with cluster.discovery
  std::string otlp_grpc;                    // OTLP over gRPC, usually port 4317; empty: not served
  Tls tls;                                  // of the ingest port
  Auth auth;                                // of the ingest port
  Tls admin_tls;                            // of the admin port
  Auth admin_auth;  // of the admin port; /livez, /readyz and /startupz stay open
};

struct Http {
  uint32_t io_threads = 0;            // 0: one per core
  uint32_t max_connections = 10'000;  // per port; more are answered 503 and closed
  ByteCount max_header = KiB(16);
  ByteCount max_body = MiB(32);          // compressed, as sent; more: 413
  ByteCount max_decoded_body = MiB(32);  // after decompression; more: 413
  milliseconds header_timeout = seconds(10);
  milliseconds body_timeout = seconds(30);
  milliseconds idle_timeout = minutes(5);
  milliseconds write_timeout = seconds(30);
};

struct Generation {
  milliseconds max_age = seconds(60);
  ByteCount max_memory = MiB(256);   // columns of the open and the sealing generations together
  ByteCount max_journal = MiB(256);  // of one journal file
};

struct Batch {
  ByteCount min_bytes = MB(100);  // uncompressed row bytes; from here on a batch goes at once
  ByteCount max_bytes = GB(1);    // never more in a batch
  milliseconds max_age = minutes(5);
  uint32_t max_segments = 256;  // of one batch
};

struct Upload {
  uint32_t workers = 2;                // batches uploaded at the same time
  uint32_t per_database = 0;           // of one database; 0: BatchesPerDatabase decides
  uint32_t oldest_share_percent = 20;  // of the workers' picks under backlog; others: newest first
  milliseconds retry_initial = milliseconds(500);
  milliseconds retry_max = minutes(5);
};

// One Prometheus relabel_config; names, semantics and defaults are Prometheus'.
struct RelabelConfig {
  std::vector<std::string> source_labels;
  std::string separator = ";";
  std::string regex = "(.*)";  // anchored on both ends
  uint64_t modulus = 0;
  std::string target_label;
  std::string replacement = "$1";
  std::string action = "replace";  // replace keep drop keepequal dropequal hashmod labelmap
                                   // labeldrop labelkeep lowercase uppercase
  std::string position;            // "file:line:column" where it stands, for errors at run time
};

// A label that becomes a string column of its own. Matched case-insensitively.
struct LiftLabel {
  std::string name;
  std::string column;  // empty: the name in ProperCase
};

struct FileSink {
  std::string root;
  int compression_level = 1;  // ISA-L gzip, 0 to 3
};

// How tokens of Azure Active Directory are got.
struct AzureAuth {
  std::string kind = "auto";  // auto none token client_secret managed_identity workload_identity
  std::string client_id;      // of the application or the identity; empty: AZURE_CLIENT_ID
  std::string tenant_id;      // empty: AZURE_TENANT_ID
  std::string secret_file;    // client secret; empty: AZURE_CLIENT_SECRET
  std::string token_file;     // a token, or the federated token; empty: AZURE_FEDERATED_TOKEN_FILE
  std::string authority;  // login endpoint; empty: as the cluster says, else AZURE_AUTHORITY_HOST
  std::string identity_endpoint;  // of managed identities; empty: IDENTITY_ENDPOINT, else IMDS
};

// Azure Data Explorer.
struct AdxSink {
  std::string endpoint;         // https://<cluster>.<region>.kusto.windows.net
  std::string ingest_endpoint;  // of data management; empty: `ingest-` put before the host
  std::string database;         // empty: the name of ours
  std::string delivery = "exactly_once";  // exactly_once lowest_latency
  std::string ingestion = "auto";         // auto rest classic inline
  AzureAuth auth;
  std::vector<std::string> trusted_hosts;  // beside Microsoft's; get tokens too
  int compression_level = 1;               // ISA-L gzip, 0 to 3
  uint32_t parallel_blocks = 4;            // of 4 MiB, per batch
  ByteCount streaming_max = MiB(4);        // of rows; more is queued
  bool flush_immediately = true;           // do not wait for more blobs of the table
  milliseconds request_timeout = minutes(1);
  milliseconds status_interval = seconds(5);
  milliseconds status_timeout = minutes(30);
  std::string ca_file;  // PEM; empty: the system's
};

// ClickHouse, by its HTTP interface.
struct ClickHouseSink {
  std::string dsn;                  // http(s)://user:password@host:port/database?setting=value
  std::string password_file;        // in place of the DSN's password; read for every connection
  std::string ca_file;              // PEM; empty: the system's
  std::string cert_file;            // PEM, for servers that ask for one
  std::string key_file;             // PEM
  bool skip_verify = false;         // accept any server certificate
  std::string compression = "lz4";  // lz4 zstd none
  uint64_t insert_max_rows = 500'000;
  ByteCount insert_max_bytes = MiB(128);  // of one insert, uncompressed
  milliseconds connect_timeout = seconds(5);
  milliseconds query_timeout = seconds(30);
  milliseconds insert_timeout = minutes(5);
  bool create_tables = true;            // and add columns
  bool row_identity = true;             // columns that tell which rows of a batch are there
  std::string samples_table;            // all metrics in this table; empty: a table for each
  std::string logs_table;               // the same for logs
  std::string traces_table;             // and for spans
  std::string timestamp_type = "auto";  // auto datetime64 datetime int64
  std::string engine = "MergeTree";
  std::string order_by;                // empty: (SeriesId, Timestamp)
  std::string partition_by = "day";    // none hour day month
  milliseconds ttl = milliseconds(0);  // rows older than that go; 0: kept
  std::string cluster;                 // tables are made ON CLUSTER of that name
};

// Exactly one kind is set.
struct Sink {
  std::string name;  // unique within the database; empty: the kind
  std::optional<FileSink> file = {};
  std::optional<AdxSink> adx = {};
  std::optional<ClickHouseSink> clickhouse = {};
};

struct Database {
  std::string name;                            // ASCII letters and digits
  std::vector<RelabelConfig> relabel_configs;  // after the global ones, for series of this database
  std::vector<LiftLabel> lift_labels;
  std::vector<Sink> sinks;  // every one gets every batch
};

struct RemoteWrite {
  std::vector<std::string> paths = {"/api/v1/write", "/receive", "/remote_write"};
  std::vector<RelabelConfig> relabel_configs;      // first, for every series
  std::string database_label = "adxmon_database";  // names the database of a series; empty: off
  std::vector<std::string> drop_label_prefixes = {"adxmon_"};  // labels that never reach the rows
  std::string tenant_header =
      "X-Scope-OrgID";           // the tenant; a database of that name takes its series
  std::string default_database;  // empty: the first of `databases`
  std::string exemplars_table = "Exemplars";
  std::string histograms_table = "NativeHistograms";
  std::string metadata_table = "MetricMetadata";
  milliseconds max_future = milliseconds(0);  // samples further ahead are refused; 0: accepted
  milliseconds max_past = milliseconds(0);    // samples older are refused; 0: accepted
  bool drop_nan = false;                      // leave out NaN and stale markers, counted
};

// Where log records go, and what of them becomes columns of their own.
struct OtlpLogs {
  std::string table = "OtelLogs";
  std::string database;  // empty: that of the tenant
  std::vector<std::string> table_attributes = {"adxmon_destination_table", "kusto.table"};
  std::vector<std::string> database_attributes = {"adxmon_destination_database", "kusto.database"};
  std::vector<LiftLabel> lift_attributes;  // of the record, else of its resource
  std::string columns = "standard";        // standard full
};

// The same of spans.
struct OtlpTraces {
  std::string table = "OtelTraces";
  std::string database;
  std::vector<std::string> table_attributes = {"adxmon_destination_table", "kusto.table"};
  std::vector<std::string> database_attributes = {"adxmon_destination_database", "kusto.database"};
  std::vector<LiftLabel> lift_attributes;
};

struct OtlpMetrics {
  std::string naming = "underscores_suffixes";  // underscores_suffixes underscores suffixes none
  bool scope_labels = true;                     // otel_scope_name, otel_scope_version
  bool target_info = true;                      // a series with the resource's attributes
  std::vector<std::string> promote_resource_attributes;  // labels of every series
  std::string temporality_label = "otel_temporality";    // of delta points; empty: none
};

// OpenTelemetry, over HTTP on the ingest port and over gRPC on its own.
struct Otlp {
  bool enabled = true;
  OtlpLogs logs;
  OtlpTraces traces;
  OtlpMetrics metrics;
};

struct Limits {
  uint64_t series_max = 2'000'000;       // series known at once
  ByteCount series_bytes = GiB(1);       // memory of their labels
  uint32_t series_idle_generations = 5;  // unused for so many: forgotten
  uint32_t tables_max = 50'000;
  uint32_t labels_per_series = 256;
  ByteCount label_name_bytes = KiB(1);
  ByteCount label_value_bytes = KiB(64);
  ByteCount in_flight_bodies = MiB(128);      // compressed bodies held at once; more: 503
  milliseconds commit_timeout = seconds(10);  // wait for the group commit; more: 503
};

// How a node hands over all it has before it leaves.
struct Drain {
  milliseconds timeout = minutes(4);        // of a drain; what is left then is reported
  std::string on_stop = "auto";             // auto always never
  milliseconds stop_timeout = seconds(30);  // of a stop; of one that drains: without any progress
};

// Requests that are known again when a sender repeats them.
struct Idempotency {
  milliseconds window = minutes(10);  // since the first attempt; 0: off
  uint64_t max_entries = 1'000'000;  // requests known at once, oldest leave first; about 150 B each
};

// What a tenant may send; 0: any amount. A burst is what may come at once; 0: what comes in a
// second.
struct TenantLimits {
  uint64_t requests_per_second = 0;
  uint64_t requests_burst = 0;
  uint64_t samples_per_second = 0;  // native histograms and exemplars too
  uint64_t samples_burst = 0;
  ByteCount bytes_per_second = {0};  // of bodies as sent
  ByteCount bytes_burst = {0};
  uint64_t series_max = 0;  // known at once
};

struct TenantOverride {
  std::string name;
  TenantLimits limits;  // all of them: what is left out has no limit
};

struct Tenants {
  uint64_t max = 10'000;  // followed at once; when all are busy others share one limit
  TenantLimits limits;    // of each tenant that has no override
  std::vector<TenantOverride> overrides;
};

// A member that the configuration lists.
struct ClusterMember {
  std::string name;
  std::string address;  // host:port of its transfer service
};

struct ClusterDns {
  std::string
      service;  // name of the SRV records, as _transfer._tcp.forebay-headless.ns.svc.cluster.local
  std::string servers;  // host:port, comma-separated; empty: those of the system
  milliseconds interval = seconds(5);
  milliseconds timeout = seconds(2);  // of one try
};

struct ClusterKubernetes {
  std::string api_server = "https://kubernetes.default.svc";
  std::string kube_namespace;  // empty: the pod's own
  std::string label_selector = "app.kubernetes.io/name=forebay";
  uint32_t port = 9092;  // of the members' transfer services
  std::string token_file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
  std::string ca_file = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
  std::string namespace_file = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
};

// Of the transfer port and of the calls to peers. Files are read again when they change.
struct TransferTls {
  std::string cert_file;                   // PEM; empty: plain text
  std::string key_file;                    // PEM
  std::string ca_file;                     // PEM; who signed the certificates of the peers
  std::string server_name;                 // that peers' certificates are for; empty: the host
  bool require_client_certificate = true;  // peers that call must present one
  bool enabled() const { return !cert_file.empty(); }
};

// How segments get to the owners of their tables.
struct Transfer {
  bool enabled = true;                                 // false: every node uploads what it received
  milliseconds max_age = minutes(3);                   // older segments are uploaded by the node
  uint32_t workers = 4;                                // calls to peers at the same time
  ByteCount max_batch = MiB(8);                        // of one call
  milliseconds timeout = minutes(2);                   // of one call
  milliseconds unhealthy_for = minutes(1);             // nothing is given to a peer that failed
  milliseconds doubt_timeout = std::chrono::hours(2);  // a peer does not say what it has
  ByteCount max_in_flight = MiB(128);  // of segments being received; more wait or go back
  milliseconds ledger_window = std::chrono::hours(3);  // segments are known when they come again
  std::vector<std::string> drop_prefixes;  // of file names of POST /transfer: taken, not stored
};

// The other nodes, and how they are found.
struct Cluster {
  std::string member;                  // name of this node; empty: the host's, in a pod the pod's
  std::string discovery = "none";      // none static dns kubernetes
  std::vector<ClusterMember> members;  // static
  ClusterDns dns;
  ClusterKubernetes kubernetes;
  Transfer transfer;
  TransferTls transfer_tls;
  bool enabled() const { return discovery != "none"; }
};

struct Log {
  std::string level = "info";     // debug info warn error
  std::string format = "logfmt";  // logfmt json
};

struct Config {
  Storage storage;
  Listen listen;
  Http http;
  Durability durability = Durability::kSync;
  Generation generation;
  Batch batch;
  Upload upload;
  RemoteWrite remote_write;
  Otlp otlp;
  Idempotency idempotency;
  Limits limits;
  Tenants tenants;
  Drain drain;
  Cluster cluster;
  Log log;
  std::vector<Database>
      databases;  // empty in the file: one, "Metrics", with a file sink below ./data/out
  std::vector<std::string>
      warnings;  // of loading: adx-mon flags without a meaning yet and the like
};

}  // namespace forebay::config
