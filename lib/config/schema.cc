// The table of keys. Order here is the order of printing and of the documentation.
#include "config/schema.h"

#include <fmt/core.h>

#include "config/internal/field_builder.h"

namespace forebay::config {
namespace {

using internal::Key;

constexpr uint64_t kKiB = 1ULL << 10;
constexpr uint64_t kMiB = 1ULL << 20;
constexpr uint64_t kGiB = 1ULL << 30;
constexpr uint64_t kDay = 86'400'000;
constexpr uint64_t kMaxRate = 1'000'000'000'000;

constexpr std::string_view kTlsVersions[] = {"1.2", "1.3"};
constexpr std::string_view kLogLevels[] = {"debug", "info", "warn", "error"};
constexpr std::string_view kLogFormats[] = {"logfmt", "json"};
constexpr std::string_view kOnStop[] = {"auto", "always", "never"};
constexpr std::string_view kLogColumns[] = {"standard", "full"};
constexpr std::string_view kNamings[] = {"underscores_suffixes", "underscores", "suffixes", "none"};
constexpr std::string_view kDiscoveries[] = {"none", "static", "dns", "kubernetes"};
constexpr std::string_view kAzureAuthKinds[] = {
    "auto", "none", "token", "client_secret", "managed_identity", "workload_identity"};
constexpr std::string_view kAdxDeliveries[] = {"exactly_once", "lowest_latency"};
constexpr std::string_view kAdxIngestions[] = {"auto", "rest", "classic", "inline"};
constexpr std::string_view kCompressions[] = {"lz4", "zstd", "none"};
constexpr std::string_view kTimestampTypes[] = {"auto", "datetime64", "datetime", "int64"};
constexpr std::string_view kPartitions[] = {"none", "hour", "day", "month"};
constexpr std::string_view kRelabelActions[] = {"replace",   "keep",      "drop",     "keepequal",
                                                "dropequal", "hashmod",   "labelmap", "labeldrop",
                                                "labelkeep", "lowercase", "uppercase"};

const Field kStorageFields[] = {
    Key<&Storage::dir>("dir",
                       "Directory of all state: journal/, segments/, batches/, ledger/, "
                       "quarantine/ and dlq/ are made below it. One process at a time."),
    Key<&Storage::max_disk>("max_disk",
                            "Most bytes of everything below `storage.dir`. Near it writes are "
                            "answered 503 until uploads make room. What file sinks write is not "
                            "counted.",
                            {.min = kMiB}),
    Key<&Storage::high_watermark>("high_watermark",
                                  "Percent of `storage.max_disk` from which on writes are answered "
                                  "503. The rest is for sealing: a generation's segments are "
                                  "written before its journal goes.",
                                  {.min = 1, .max = 100}),
    Key<&Storage::low_watermark>("low_watermark",
                                 "Percent of `storage.max_disk` below which writes are taken again "
                                 "after they were refused.",
                                 {.max = 99}),
    Key<&Storage::reserve>("reserve",
                           "Free bytes of the volume below which writes are answered 503, until "
                           "there is twice as much: sealing and manifests have room then. At most "
                           "4 MiB of it are held by a file that is given up when the volume is "
                           "full."),
    Key<&Storage::reserve_inodes>("reserve_inodes",
                                  "Free inodes of the volume below which writes are answered 503, "
                                  "until there are twice as many. 0: not looked at."),
    Key<&Storage::quarantine_max>("quarantine_max",
                                  "Most bytes of `quarantine/`. Damaged bytes above it are counted "
                                  "and not kept."),
    Key<&Storage::dead_letters_max>(
        "dead_letters_max",
        "Most bytes of `dlq/`. Batches that a sink refuses above it stay "
        "where they are and wait for room. 0: a tenth of `max_disk`."),
    Key<&Storage::audit_interval>("audit_interval",
                                  "How often the account of bytes on disk is compared with the "
                                  "disk and corrected. 0: only by `POST /-/audit`.",
                                  {.max = 30 * kDay}),
};
const StructSchema kStorage{kStorageFields};

const Field kTlsFields[] = {
    Key<&Tls::cert_file>("cert_file",
                         "PEM file of the certificate chain. Empty: plain HTTP. Re-read on reload.",
                         {.reloadable = true}),
    Key<&Tls::key_file>("key_file", "PEM file of the private key. Re-read on reload.",
                        {.reloadable = true}),
    Key<&Tls::client_ca_file>("client_ca_file",
                              "PEM file of certificate authorities. When set, clients must present "
                              "a certificate that one of them signed. Re-read on reload.",
                              {.reloadable = true}),
    Key<&Tls::min_version>("min_version", "Lowest TLS version that is accepted.",
                           {.choices = kTlsVersions}),
};
const StructSchema kTls{kTlsFields};

const Field kAuthFields[] = {
    Key<&Auth::basic_file>("basic_file",
                           "File with lines `user:password` or `user:{SHA256}<hex>`; their users "
                           "may call. Re-read on reload.",
                           {.reloadable = true}),
    Key<&Auth::bearer_file>("bearer_file",
                            "File with one bearer token a line, optionally `name:token`; their "
                            "holders may call. Re-read on reload.",
                            {.reloadable = true}),
};
const StructSchema kAuth{kAuthFields};

const Field kListenFields[] = {
    Key<&Listen::ingest>("ingest",
                         "Address `host:port` that takes writes. Empty host, 0.0.0.0 or [::]: all "
                         "interfaces. Port 0: any free one."),
    Key<&Listen::admin>("admin",
                        "Address `host:port` of metrics, health, status and `/-/` commands."),
    Key<&Listen::transfer>("transfer",
                           "Address `host:port` where peers hand over segments. Served only with "
                           "`cluster.discovery`."),
    Key<&Listen::otlp_grpc>("otlp_grpc",
                            "Address `host:port` of OTLP over gRPC, usually port 4317; TLS and "
                            "credentials are those of the ingest port. Empty: not served. OTLP "
                            "over HTTP is on the ingest port."),
    Key<&Listen::tls>("tls", "TLS of the ingest port.", {.schema = &kTls}),
    Key<&Listen::auth>("auth", "Who may write. Both files empty: everyone.", {.schema = &kAuth}),
    Key<&Listen::admin_tls>("admin_tls", "TLS of the admin port.", {.schema = &kTls}),
    Key<&Listen::admin_auth>("admin_auth",
                             "Who may use the admin port; `/livez`, `/readyz` and `/startupz` stay "
                             "open.",
                             {.schema = &kAuth}),
};
const StructSchema kListen{kListenFields};

const Field kHttpFields[] = {
    Key<&Http::io_threads>("io_threads", "Threads that serve requests. 0: one per core.",
                           {.max = 1024}),
    Key<&Http::max_connections>("max_connections",
                                "Connections of a port at once. More are answered 503 and closed.",
                                {.min = 1, .max = 1'000'000}),
    Key<&Http::max_header>("max_header", "Bytes of a request's line and headers.",
                           {.min = kKiB, .max = kMiB}),
    Key<&Http::max_body>("max_body", "Bytes of a body as sent (compressed). Larger: 413.",
                         {.min = kKiB, .max = kGiB}),
    Key<&Http::max_decoded_body>("max_decoded_body",
                                 "Bytes of a body after decompression. Larger: 413.",
                                 {.min = kKiB, .max = kGiB}),
    Key<&Http::header_timeout>("header_timeout", "Time to send the headers of a request.",
                               {.min = 1, .max = kDay}),
    Key<&Http::body_timeout>("body_timeout", "Time to send the body of a request.",
                             {.min = 1, .max = kDay}),
    Key<&Http::idle_timeout>("idle_timeout",
                             "A connection without a request for so long is closed, so that "
                             "clients spread again over a load balancer.",
                             {.min = 1, .max = kDay}),
    Key<&Http::write_timeout>("write_timeout", "Time to take an answer.", {.min = 1, .max = kDay}),
};
const StructSchema kHttp{kHttpFields};

const Field kGenerationFields[] = {
    Key<&Generation::max_age>("max_age",
                              "Age at which what is in memory is sealed into segment files.",
                              {.min = 1, .max = kDay}),
    Key<&Generation::max_memory>("max_memory",
                                 "Memory of the columns of the open and the sealing generations "
                                 "together.",
                                 {.min = 64 * kKiB}),
    Key<&Generation::max_journal>("max_journal", "Bytes of one journal file; then it is sealed.",
                                  {.min = 64 * kKiB}),
};
const StructSchema kGeneration{kGenerationFields};

const Field kBatchFields[] = {
    Key<&Batch::min_bytes>("min_bytes",
                           "Uncompressed row bytes from which on a table's batch is uploaded at "
                           "once.",
                           {.min = 1, .reloadable = true}),
    Key<&Batch::max_bytes>("max_bytes", "Uncompressed row bytes that a batch never exceeds.",
                           {.min = 1, .reloadable = true}),
    Key<&Batch::max_age>("max_age",
                         "A smaller batch is uploaded when its oldest segment is so old.",
                         {.min = 1, .max = 30 * kDay, .reloadable = true}),
    Key<&Batch::max_segments>("max_segments", "Segments of one batch.",
                              {.min = 1, .max = 100'000, .reloadable = true}),
};
const StructSchema kBatch{kBatchFields};

const Field kUploadFields[] = {
    Key<&Upload::workers>("workers", "Batches uploaded at the same time.", {.min = 1, .max = 1024}),
    Key<&Upload::per_database>(
        "per_database",
        "Of them those of one database, so that a busy or hanging one leaves "
        "workers to the others. 0: all of them, with several databases one "
        "less.",
        {.max = 1024}),
    Key<&Upload::oldest_share_percent>("oldest_share_percent",
                                       "Under backlog the newest batch goes first; this percentage "
                                       "of the picks goes to the oldest.",
                                       {.max = 100}),
    Key<&Upload::retry_initial>("retry_initial",
                                "Wait before the second attempt; it doubles from there, with full "
                                "jitter.",
                                {.min = 1, .max = kDay}),
    Key<&Upload::retry_max>("retry_max", "Longest wait between attempts. There is no last attempt.",
                            {.min = 1, .max = kDay}),
};
const StructSchema kUpload{kUploadFields};

const Field kRelabelFields[] = {
    Key<&RelabelConfig::source_labels>("source_labels",
                                       "Labels whose values are joined and matched."),
    Key<&RelabelConfig::separator>("separator", "Stands between the joined values."),
    Key<&RelabelConfig::regex>("regex",
                               "Regular expression (RE2), anchored on both ends, that is matched."),
    Key<&RelabelConfig::modulus>("modulus", "Modulus of `hashmod`."),
    Key<&RelabelConfig::target_label>("target_label", "Label that the action writes."),
    Key<&RelabelConfig::replacement>("replacement",
                                     "What is written; `$1` or `${1}` is the first group."),
    Key<&RelabelConfig::action>("action", "What to do with the match.",
                                {.choices = kRelabelActions}),
};
const StructSchema kRelabel{kRelabelFields, [](void* object, std::string position) {
                              static_cast<RelabelConfig*>(object)->position = std::move(position);
                            }};

const Field kLiftFields[] = {
    Key<&LiftLabel::name>("name", "Name of the label, matched without regard to case."),
    Key<&LiftLabel::column>("column", "Name of the column. Empty: the label's name in ProperCase."),
};
const StructSchema kLift{kLiftFields};

const Field kFileSinkFields[] = {
    Key<&FileSink::root>("root",
                         "Directory of the files: `<root>/<database>/<table>/<yyyy>/<mm>/<dd>/`."),
    Key<&FileSink::compression_level>("compression_level",
                                      "Level of gzip, 0 (fastest) to 3 (smallest).", {.max = 3}),
};
const StructSchema kFileSink{kFileSinkFields};

const Field kAzureAuthFields[] = {
    Key<&AzureAuth::kind>(
        "kind",
        "`none`: no token. `token`: the text of `token_file`. `client_secret`, "
        "`managed_identity`, `workload_identity`: as Azure names them. `auto`: none for http "
        "endpoints, else what the environment has: AZURE_CLIENT_SECRET, "
        "AZURE_FEDERATED_TOKEN_FILE, else the managed identity.",
        {.choices = kAzureAuthKinds}),
    Key<&AzureAuth::client_id>("client_id",
                               "Id of the application, or of a user-assigned identity. Empty: "
                               "AZURE_CLIENT_ID."),
    Key<&AzureAuth::tenant_id>("tenant_id", "Id of the tenant. Empty: AZURE_TENANT_ID."),
    Key<&AzureAuth::secret_file>("secret_file",
                                 "File with the client secret, read for every new token. Empty: "
                                 "AZURE_CLIENT_SECRET."),
    Key<&AzureAuth::token_file>("token_file",
                                "File with the token, or for `workload_identity` with the "
                                "federated token; read for every new token. Empty: "
                                "AZURE_FEDERATED_TOKEN_FILE."),
    Key<&AzureAuth::authority>("authority",
                               "Login endpoint. Empty: AZURE_AUTHORITY_HOST, else what the "
                               "cluster names."),
    Key<&AzureAuth::identity_endpoint>("identity_endpoint",
                                       "Endpoint of managed identities. Empty: IDENTITY_ENDPOINT, "
                                       "else that of virtual machines and pods."),
};
const StructSchema kAzureAuth{kAzureAuthFields};

const Field kAdxSinkFields[] = {
    Key<&AdxSink::endpoint>("endpoint",
                            "URL of the cluster, for example "
                            "`https://help.westeurope.kusto.windows.net`."),
    Key<&AdxSink::ingest_endpoint>("ingest_endpoint",
                                   "URL of its data management. Empty: that of `endpoint` with "
                                   "`ingest-` before the host."),
    Key<&AdxSink::database>("database", "Name of the database there. Empty: ours."),
    Key<&AdxSink::delivery>(
        "delivery",
        "`exactly_once`: every batch is queued under its id, which the cluster takes once. "
        "`lowest_latency`: small batches are streamed, which may leave rows twice when an answer "
        "is lost.",
        {.choices = kAdxDeliveries}),
    Key<&AdxSink::ingestion>(
        "ingestion",
        "How batches are queued: `rest`; `classic`, by storage queues, for clusters without the "
        "REST API; `inline`, by commands, for the emulator. `auto`: `rest` where the cluster has "
        "it, else `classic`; `inline` for the emulator.",
        {.choices = kAdxIngestions}),
    Key<&AdxSink::auth>("auth", "How tokens are got.", {.schema = &kAzureAuth}),
    Key<&AdxSink::trusted_hosts>("trusted_hosts",
                                 "Hosts, or suffixes that begin with a dot, that get tokens "
                                 "beside those of Azure."),
    Key<&AdxSink::compression_level>("compression_level",
                                     "Level of gzip, 0 (fastest) to 3 (smallest).", {.max = 3}),
    Key<&AdxSink::parallel_blocks>("parallel_blocks",
                                   "Blocks of 4 MiB sent at once for a batch. Two more are held in "
                                   "memory.",
                                   {.min = 1, .max = 32}),
    Key<&AdxSink::streaming_max>("streaming_max",
                                 "Rows of a batch that is streamed, uncompressed. A larger one is "
                                 "queued.",
                                 {.min = 1, .max = 64 * kMiB}),
    Key<&AdxSink::flush_immediately>("flush_immediately",
                                     "Ingest at once what is queued. `false`: after the table's "
                                     "batching policy."),
    Key<&AdxSink::request_timeout>("request_timeout", "Time of one request.",
                                   {.min = 100, .max = 3'600'000}),
    Key<&AdxSink::status_interval>("status_interval",
                                   "Longest wait between two looks at how a queued batch does.",
                                   {.min = 10, .max = 600'000}),
    Key<&AdxSink::status_timeout>("status_timeout",
                                  "A queued batch that has not ended by then is sent again; its "
                                  "id keeps it from being there twice.",
                                  {.min = 1000, .max = kDay}),
    Key<&AdxSink::ca_file>("ca_file",
                           "PEM file of certificate authorities. Empty: those of the system."),
};
const StructSchema kAdxSink{kAdxSinkFields};

const Field kClickHouseSinkFields[] = {
    Key<&ClickHouseSink::dsn>(
        "dsn",
        "`http://user:password@host:8123/database` or `https://...:8443/...`. Parameters: "
        "`secure=1`, `skip_verify=1`, `compress=lz4|zstd|none`; others are settings of every "
        "query. `clickhouse://host:9000/database` becomes the HTTP port. Empty database: "
        "`default`."),
    Key<&ClickHouseSink::password_file>("password_file",
                                        "File with the password, in place of the DSN's. Read "
                                        "for every connection."),
    Key<&ClickHouseSink::ca_file>("ca_file",
                                  "PEM file of certificate authorities. Empty: those of the "
                                  "system."),
    Key<&ClickHouseSink::cert_file>("cert_file",
                                    "PEM file of a client certificate, with `key_file`."),
    Key<&ClickHouseSink::key_file>("key_file", "PEM file of its key."),
    Key<&ClickHouseSink::skip_verify>("skip_verify", "Accept any certificate of the server."),
    Key<&ClickHouseSink::compression>("compression", "Compression of inserts.",
                                      {.choices = kCompressions}),
    Key<&ClickHouseSink::insert_max_rows>("insert_max_rows",
                                          "Rows of one insert. A batch is as many inserts as it "
                                          "takes.",
                                          {.min = 1, .max = 1'000'000}),
    Key<&ClickHouseSink::insert_max_bytes>("insert_max_bytes",
                                           "Bytes of one insert, uncompressed. The sink holds "
                                           "its labels once and what it compresses to.",
                                           {.min = 1 << 10, .max = 256 * kMiB}),
    Key<&ClickHouseSink::connect_timeout>("connect_timeout", "Time to connect.",
                                          {.min = 10, .max = 600'000}),
    Key<&ClickHouseSink::query_timeout>("query_timeout", "Time of a query that is no insert.",
                                        {.min = 100, .max = 3'600'000}),
    Key<&ClickHouseSink::insert_timeout>("insert_timeout", "Time of one insert.",
                                         {.min = 100, .max = 3'600'000}),
    Key<&ClickHouseSink::create_tables>("create_tables",
                                        "Make tables and add columns. `false`: they must be "
                                        "there."),
    Key<&ClickHouseSink::row_identity>(
        "row_identity",
        "Columns `forebay_batch` and `forebay_row` in every table. With them a lost answer never "
        "leaves a row twice or not at all; without them that is the server's part, where it knows "
        "`insert_deduplication_token`."),
    Key<&ClickHouseSink::samples_table>("samples_table",
                                        "One table for all metrics, with a column `Metric`. "
                                        "Empty: a table for each metric."),
    Key<&ClickHouseSink::logs_table>("logs_table",
                                     "One table for all logs, for example `otel_logs`, with a "
                                     "column `LogTable` and the names that the OpenTelemetry "
                                     "exporter gives to columns. Empty: a table for each."),
    Key<&ClickHouseSink::traces_table>("traces_table",
                                       "The same for spans, for example `otel_traces`, with a "
                                       "column `TraceTable`."),
    Key<&ClickHouseSink::timestamp_type>(
        "timestamp_type",
        "Type of timestamps: `datetime64` (ms), `datetime` (whole seconds: the rest is cut off), "
        "`int64` (ms since 1970). `auto`: DateTime64 where the server has it (20.1), else Int64.",
        {.choices = kTimestampTypes}),
    Key<&ClickHouseSink::engine>("engine",
                                 "Engine of new tables with its arguments, for example "
                                 "`ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/"
                                 "{table}', '{replica}')`."),
    Key<&ClickHouseSink::order_by>(
        "order_by",
        "Sorting key of new tables. Empty: `(SeriesId, Timestamp)`, "
        "of what there is of them; in one table for all, its name column before them."),
    Key<&ClickHouseSink::partition_by>("partition_by", "Partitions of new tables, by Timestamp.",
                                       {.choices = kPartitions}),
    Key<&ClickHouseSink::ttl>("ttl", "Rows of new tables go when they are so old. 0: never."),
    Key<&ClickHouseSink::cluster>("cluster", "Name of a cluster: tables are made on all of it."),
};
const StructSchema kClickHouseSink{kClickHouseSinkFields};

const Field kSinkFields[] = {
    Key<&Sink::name>("name",
                     "Name in logs and manifests, unique within the database. Empty: the "
                     "kind, for example `file`."),
    Key<&Sink::file>("file", "Gzip-compressed CSV files below a directory.",
                     {.schema = &kFileSink}),
    Key<&Sink::adx>("adx", "Azure Data Explorer.", {.schema = &kAdxSink}),
    Key<&Sink::clickhouse>("clickhouse", "ClickHouse, by its HTTP interface.",
                           {.schema = &kClickHouseSink}),
};
const StructSchema kSink{kSinkFields};

const Field kDatabaseFields[] = {
    Key<&Database::name>("name", "Name of the database: ASCII letters and digits."),
    Key<&Database::relabel_configs>("relabel_configs",
                                    "Prometheus relabelling of this database's series, after "
                                    "`remote_write.relabel_configs`.",
                                    {.schema = &kRelabel, .reloadable = true}),
    Key<&Database::lift_labels>("lift_labels",
                                "Labels that become string columns of their own in every table.",
                                {.schema = &kLift, .reloadable = true}),
    Key<&Database::sinks>("sinks", "Where the batches go. Every sink gets every batch.",
                          {.schema = &kSink}),
};
const StructSchema kDatabase{kDatabaseFields};

const Field kRemoteWriteFields[] = {
    Key<&RemoteWrite::paths>("paths", "URL paths that take Prometheus remote write 1.0 and 2.0."),
    Key<&RemoteWrite::relabel_configs>("relabel_configs",
                                       "Prometheus relabelling of every series, before the "
                                       "database is chosen. Runs once per new series.",
                                       {.schema = &kRelabel, .reloadable = true}),
    Key<&RemoteWrite::database_label>("database_label",
                                      "Label that names the database of a series. Empty: off."),
    Key<&RemoteWrite::drop_label_prefixes>("drop_label_prefixes",
                                           "Labels that start so never reach the rows."),
    Key<&RemoteWrite::tenant_header>("tenant_header",
                                     "Header that names the tenant; a database of that name takes "
                                     "its series. Empty: off."),
    Key<&RemoteWrite::default_database>("default_database",
                                        "Database of series that neither label nor tenant assigns. "
                                        "Empty: the first of `databases`."),
    Key<&RemoteWrite::exemplars_table>("exemplars_table", "Table of exemplars."),
    Key<&RemoteWrite::histograms_table>("histograms_table", "Table of native histograms."),
    Key<&RemoteWrite::metadata_table>("metadata_table", "Table of metric metadata."),
    Key<&RemoteWrite::max_future>("max_future",
                                  "Samples further ahead of the clock are refused. 0s: accepted."),
    Key<&RemoteWrite::max_past>("max_past", "Samples older than that are refused. 0s: accepted."),
    Key<&RemoteWrite::drop_nan>("drop_nan", "Leaves out NaN and stale markers, counted."),
};
const StructSchema kRemoteWrite{kRemoteWriteFields};

const Field kOtlpLogsFields[] = {
    Key<&OtlpLogs::table>("table", "Table of log records that name none."),
    Key<&OtlpLogs::database>("database",
                             "Database of log records that name none. Empty: the tenant's, as for "
                             "remote write."),
    Key<&OtlpLogs::table_attributes>("table_attributes",
                                     "Attributes of the record, else of its resource, that name "
                                     "the table; the first of the list that is there counts."),
    Key<&OtlpLogs::database_attributes>("database_attributes",
                                        "The same for the database, which must be one of "
                                        "`databases`."),
    Key<&OtlpLogs::lift_attributes>("lift_attributes",
                                    "Attributes of the record, else of its resource, that become "
                                    "string columns. They leave the Attributes or Resource column.",
                                    {.schema = &kLift}),
    Key<&OtlpLogs::columns>("columns",
                            "`standard`: the nine columns of adx-mon. `full`: also Scope, Flags, "
                            "EventName and DroppedAttributesCount.",
                            {.choices = kLogColumns}),
};
const StructSchema kOtlpLogs{kOtlpLogsFields};

const Field kOtlpTracesFields[] = {
    Key<&OtlpTraces::table>("table", "Table of spans that name none."),
    Key<&OtlpTraces::database>("database", "As `otlp.logs.database`."),
    Key<&OtlpTraces::table_attributes>("table_attributes", "As `otlp.logs.table_attributes`."),
    Key<&OtlpTraces::database_attributes>("database_attributes",
                                          "As `otlp.logs.database_attributes`."),
    Key<&OtlpTraces::lift_attributes>("lift_attributes", "As `otlp.logs.lift_attributes`.",
                                      {.schema = &kLift}),
};
const StructSchema kOtlpTraces{kOtlpTracesFields};

const Field kOtlpMetricsFields[] = {
    Key<&OtlpMetrics::naming>(
        "naming",
        "Names of metrics and labels: `underscores` turns what Prometheus' classic names do not "
        "have into `_`, `suffixes` appends unit and `_total`, `underscores_suffixes` does both, "
        "`none` leaves names as they are.",
        {.choices = kNamings}),
    Key<&OtlpMetrics::scope_labels>("scope_labels",
                                    "Labels `otel_scope_name` and `otel_scope_version`."),
    Key<&OtlpMetrics::target_info>("target_info",
                                   "A series `target_info` for each resource, with those of its "
                                   "attributes that are no labels of the others."),
    Key<&OtlpMetrics::promote_resource_attributes>(
        "promote_resource_attributes",
        "Resource attributes that become labels of every series, beside `job` and `instance`."),
    Key<&OtlpMetrics::temporality_label>("temporality_label",
                                         "Label with the value `delta` on series of that "
                                         "temporality, which are kept as sent. Empty: no label."),
};
const StructSchema kOtlpMetrics{kOtlpMetricsFields};

const Field kOtlpFields[] = {
    Key<&Otlp::enabled>("enabled", "Serve `/v1/metrics`, `/v1/logs` and `/v1/traces`."),
    Key<&Otlp::logs>("logs", "Log records.", {.schema = &kOtlpLogs, .reloadable = true}),
    Key<&Otlp::traces>("traces", "Spans.", {.schema = &kOtlpTraces, .reloadable = true}),
    Key<&Otlp::metrics>("metrics", "Metrics.", {.schema = &kOtlpMetrics, .reloadable = true}),
};
const StructSchema kOtlp{kOtlpFields};

const Field kIdempotencyFields[] = {
    Key<&Idempotency::window>("window",
                              "For so long a request that comes again is answered like the first "
                              "time and not stored again, also after a restart. 0s: off.",
                              {.max = kDay}),
    Key<&Idempotency::max_entries>("max_entries",
                                   "Requests known at once, about 150 bytes each; the oldest leave "
                                   "first.",
                                   {.min = 1, .max = 16'000'000}),
};
const StructSchema kIdempotency{kIdempotencyFields};

const Field kLimitsFields[] = {
    Key<&Limits::series_max>("series_max",
                             "Series known at once. Above it new series are refused, known ones go "
                             "on.",
                             {.min = 1, .max = 4'000'000'000}),
    Key<&Limits::series_bytes>("series_bytes", "Memory of the labels of the known series.",
                               {.min = 64 * kKiB}),
    Key<&Limits::series_idle_generations>("series_idle_generations",
                                          "A series unused for so many generations is forgotten.",
                                          {.min = 1, .max = 1'000'000}),
    Key<&Limits::tables_max>("tables_max", "Tables known at once.", {.min = 1}),
    Key<&Limits::labels_per_series>("labels_per_series", "Labels of one series.",
                                    {.min = 1, .max = 65'535}),
    Key<&Limits::label_name_bytes>("label_name_bytes", "Bytes of a label's name.",
                                   {.min = 1, .max = kMiB}),
    Key<&Limits::label_value_bytes>("label_value_bytes", "Bytes of a label's value.",
                                    {.min = 1, .max = 16 * kMiB}),
    Key<&Limits::in_flight_bodies>("in_flight_bodies",
                                   "Compressed bodies held at once. More: 503. At least "
                                   "`http.max_body`.",
                                   {.min = kKiB}),
    Key<&Limits::commit_timeout>("commit_timeout",
                                 "Longest wait for a write to be durable. Longer: 503.",
                                 {.min = 1, .max = kDay}),
};
const StructSchema kLimits{kLimitsFields};

const Field kDrainFields[] = {
    Key<&Drain::timeout>("timeout",
                         "Time in which a node that leaves hands over or uploads all it has. What "
                         "is left then is reported, stays on the volume and goes when it can, at "
                         "the latest at the next start. Less than the time after which the process "
                         "is killed (Kubernetes: terminationGracePeriodSeconds, 300 for the "
                         "default).",
                         {.min = 1, .max = kDay}),
    Key<&Drain::on_stop>(
        "on_stop",
        "Whether SIGTERM drains: `auto` when there are other members, since this "
        "volume may not come back; `always`; `never`: what is due is uploaded, the "
        "rest goes at the next start.",
        {.choices = kOnStop}),
    Key<&Drain::stop_timeout>("stop_timeout",
                              "Time of a stop that does not drain. A stop that drains ends when "
                              "nothing went out for so long.",
                              {.min = 1, .max = kDay}),
};
const StructSchema kDrain{kDrainFields};

const Field kTenantLimitsFields[] = {
    Key<&TenantLimits::requests_per_second>("requests_per_second",
                                            "Requests of a tenant each second. 0: any number.",
                                            {.max = kMaxRate}),
    Key<&TenantLimits::requests_burst>(
        "requests_burst", "Requests at once. 0: those of one second.", {.max = kMaxRate}),
    Key<&TenantLimits::samples_per_second>("samples_per_second",
                                           "Samples, native histograms and exemplars of a tenant "
                                           "each second. 0: any number.",
                                           {.max = kMaxRate}),
    Key<&TenantLimits::samples_burst>("samples_burst", "Samples at once. 0: those of one second.",
                                      {.max = kMaxRate}),
    Key<&TenantLimits::bytes_per_second>("bytes_per_second",
                                         "Bytes of bodies as sent, each second. 0: any number.",
                                         {.max = kMaxRate}),
    Key<&TenantLimits::bytes_burst>("bytes_burst", "Bytes at once. 0: those of one second.",
                                    {.max = kMaxRate}),
    Key<&TenantLimits::series_max>("series_max",
                                   "Series known at once that the tenant brought. Above it its new "
                                   "series are refused, known ones go on. 0: any number.",
                                   {.max = 4'000'000'000}),
};
const StructSchema kTenantLimits{kTenantLimitsFields};

const Field kTenantOverrideFields[] = {
    Key<&TenantOverride::name>("name", "Value of `remote_write.tenant_header`."),
    Key<&TenantOverride::limits>(
        "limits",
        "Its limits, in place of all of `tenants.limits`: what is left out "
        "is not limited.",
        {.schema = &kTenantLimits}),
};
const StructSchema kTenantOverride{kTenantOverrideFields};

const Field kTenantsFields[] = {
    Key<&Tenants::max>("max",
                       "Tenants whose use is followed at once, about 500 bytes each. When all are "
                       "busy, further ones share one limit.",
                       {.min = 1, .max = 1'000'000}),
    Key<&Tenants::limits>("limits", "What each tenant without an override may send.",
                          {.schema = &kTenantLimits}),
    Key<&Tenants::overrides>("overrides", "Tenants with limits of their own.",
                             {.schema = &kTenantOverride}),
};
const StructSchema kTenants{kTenantsFields};

const Field kLogFields[] = {
    Key<&Log::level>("level", "Least level that is written.",
                     {.choices = kLogLevels, .reloadable = true}),
    Key<&Log::format>("format", "Form of a line.", {.choices = kLogFormats, .reloadable = true}),
};
const StructSchema kLog{kLogFields};

const Field kClusterMemberFields[] = {
    Key<&ClusterMember::name>("name", "Name of the member, as its `cluster.member`."),
    Key<&ClusterMember::address>("address", "`host:port` of its transfer service."),
};
const StructSchema kClusterMember{kClusterMemberFields};

const Field kClusterDnsFields[] = {
    Key<&ClusterDns::service>("service",
                              "Name of the SRV records, for example "
                              "`_transfer._tcp.forebay-headless.monitoring.svc.cluster.local`. The "
                              "first label of a target is the member's name."),
    Key<&ClusterDns::servers>("servers",
                              "DNS servers as `host:port`, comma-separated. Empty: those of the "
                              "system."),
    Key<&ClusterDns::interval>("interval", "Time between two questions.",
                               {.min = 100, .max = kDay}),
    Key<&ClusterDns::timeout>("timeout", "Wait for one try at one server.",
                              {.min = 10, .max = 60'000}),
};
const StructSchema kClusterDns{kClusterDnsFields};

const Field kClusterKubernetesFields[] = {
    Key<&ClusterKubernetes::api_server>("api_server", "URL of the Kubernetes API."),
    Key<&ClusterKubernetes::kube_namespace>("namespace",
                                            "Namespace of the pods. Empty: the pod's own."),
    Key<&ClusterKubernetes::label_selector>(
        "label_selector",
        "Selector of the pods. Where this node's pod belongs to "
        "a StatefulSet, only that set's pods count."),
    Key<&ClusterKubernetes::port>("port", "Port of the members' transfer services.",
                                  {.min = 1, .max = 65535}),
    Key<&ClusterKubernetes::token_file>("token_file",
                                        "Token of the service account. Read for every call."),
    Key<&ClusterKubernetes::ca_file>("ca_file", "PEM file of the API's certificate authority."),
    Key<&ClusterKubernetes::namespace_file>("namespace_file",
                                            "File that names the pod's own namespace."),
};
const StructSchema kClusterKubernetes{kClusterKubernetesFields};

const Field kTransferFields[] = {
    Key<&Transfer::enabled>("enabled",
                            "Give small segments to the owner of their table, so that batches "
                            "grow. `false`: every node uploads what it received."),
    Key<&Transfer::max_age>("max_age", "Older segments are uploaded by the node that has them.",
                            {.max = kDay}),
    Key<&Transfer::workers>("workers", "Calls to peers at the same time.", {.min = 1, .max = 64}),
    Key<&Transfer::max_batch>("max_batch",
                              "Bytes of the segments of one call. A larger segment goes alone, "
                              "above 64 MiB it is uploaded.",
                              {.min = 1 << 10, .max = 1 << 30}),
    Key<&Transfer::timeout>("timeout", "Time of one call.", {.min = 100, .max = 600'000}),
    Key<&Transfer::unhealthy_for>(
        "unhealthy_for",
        "So long a peer is given nothing after a call to it failed; its tables "
        "are uploaded here meanwhile.",
        {.max = kDay}),
    Key<&Transfer::doubt_timeout>(
        "doubt_timeout",
        "A call that ended without an answer leaves open whether the peer has the rows: they wait "
        "until it says so. After this time they are uploaded, and may be there twice.",
        {.max = kDay}),
    Key<&Transfer::max_in_flight>("max_in_flight",
                                  "Bytes of segments that are being received and journaled. Above "
                                  "it they wait, then they go back.",
                                  {.min = 1 << 20, .max = 1ULL << 40}),
    Key<&Transfer::ledger_window>("ledger_window",
                                  "So long a segment of a peer is known when it comes again. Above "
                                  "`doubt_timeout` of all peers.",
                                  {.min = 1000, .max = 30 * kDay}),
    Key<&Transfer::drop_prefixes>("drop_prefixes",
                                  "Segments of `POST /transfer` whose file names "
                                  "(`<database>_<table>_...`) begin so are answered 202 and not "
                                  "stored."),
};
const StructSchema kTransfer{kTransferFields};

const Field kTransferTlsFields[] = {
    Key<&TransferTls::cert_file>(
        "cert_file",
        "PEM file of the certificate. Empty: plain text. Files are read again when "
        "they change."),
    Key<&TransferTls::key_file>("key_file", "PEM file of its key."),
    Key<&TransferTls::ca_file>("ca_file", "PEM file of who signed the certificates of the peers."),
    Key<&TransferTls::server_name>(
        "server_name",
        "Name that the peers' certificates are for. Empty: the host of a peer's "
        "address."),
    Key<&TransferTls::require_client_certificate>("require_client_certificate",
                                                  "Peers that call must present a certificate."),
};
const StructSchema kTransferTls{kTransferTlsFields};

const Field kClusterFields[] = {
    Key<&Cluster::member>("member",
                          "Name of this node among the members. Empty: the host's name, which in a "
                          "pod is the pod's."),
    Key<&Cluster::discovery>("discovery",
                             "Where the members come from: `none` (this node is alone), `static` "
                             "(`cluster.members`), `dns` (SRV records, needs no permissions) or "
                             "`kubernetes` (list and watch of pods).",
                             {.choices = kDiscoveries}),
    Key<&Cluster::members>("members", "The members, this node among them, for `static`.",
                           {.schema = &kClusterMember}),
    Key<&Cluster::dns>("dns", "Discovery by DNS.", {.schema = &kClusterDns}),
    Key<&Cluster::kubernetes>("kubernetes", "Discovery by the Kubernetes API.",
                              {.schema = &kClusterKubernetes}),
    Key<&Cluster::transfer>("transfer", "How segments get to the owners of their tables.",
                            {.schema = &kTransfer}),
    Key<&Cluster::transfer_tls>("transfer_tls", "TLS between the nodes.",
                                {.schema = &kTransferTls}),
};
const StructSchema kCluster{kClusterFields};

const Field kRootFields[] = {
    Key<&Config::storage>("storage", "Where state is kept and how much of it.",
                          {.schema = &kStorage}),
    Key<&Config::listen>("listen", "Addresses, TLS and who may call.", {.schema = &kListen}),
    Key<&Config::http>("http", "Limits of the HTTP servers.", {.schema = &kHttp}),
    Key<&Config::durability>("durability",
                             "What a 2xx promises: `sync` on disk (fdatasync), `write` handed to "
                             "the kernel (survives a crash of the process, not of the machine), "
                             "`none` in memory."),
    Key<&Config::generation>("generation", "When memory is sealed into segments.",
                             {.schema = &kGeneration}),
    Key<&Config::batch>("batch", "When segments of a table become a batch.",
                        {.schema = &kBatch, .reloadable = true}),
    Key<&Config::upload>("upload", "How batches are uploaded.", {.schema = &kUpload}),
    Key<&Config::remote_write>("remote_write", "Prometheus remote write.",
                               {.schema = &kRemoteWrite}),
    Key<&Config::otlp>("otlp",
                       "OpenTelemetry: metrics, logs and traces, over HTTP on the ingest port and "
                       "over gRPC (`listen.otlp_grpc`).",
                       {.schema = &kOtlp}),
    Key<&Config::idempotency>("idempotency", "Requests that come again are stored once.",
                              {.schema = &kIdempotency}),
    Key<&Config::limits>("limits", "Bounds of memory, names and waits.", {.schema = &kLimits}),
    Key<&Config::tenants>("tenants",
                          "Limits per tenant, the value of `remote_write.tenant_header`. Above a "
                          "rate: 429.",
                          {.schema = &kTenants, .reloadable = true}),
    Key<&Config::drain>("drain", "How a node hands over all it has before it leaves.",
                        {.schema = &kDrain}),
    Key<&Config::cluster>("cluster",
                          "The other nodes, and how they are found. Each table has an owner among "
                          "the ready ones: small segments are given to it.",
                          {.schema = &kCluster}),
    Key<&Config::log>("log", "The log on standard error.", {.schema = &kLog, .reloadable = true}),
    Key<&Config::databases>("databases",
                            "The databases and their sinks. Empty: one, `Metrics`, with a file "
                            "sink below `./data/out`.",
                            {.schema = &kDatabase}),
};
const StructSchema kRoot{kRootFields};

void Visit(const StructSchema& schema, const std::string& prefix, std::string_view index,
           const std::function<void(const std::string&, const Field&)>& visit) {
  for (const Field& field : schema.fields) {
    const std::string path = JoinKey(prefix, field.name);
    visit(path, field);
    if (field.schema == nullptr) continue;
    const bool list = field.kind == Kind::kStructList;
    Visit(*field.schema, list ? JoinKey(path, index) : path, index, visit);
  }
}

}  // namespace

const StructSchema& RootSchema() { return kRoot; }

const Field* StructSchema::Find(std::string_view name) const {
  for (const Field& field : fields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

std::string JoinKey(std::string_view prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : fmt::format("{}.{}", prefix, name);
}

void ForEachKey(std::string_view index,
                const std::function<void(const std::string&, const Field&)>& visit) {
  Visit(kRoot, "", index, visit);
}

std::string EnvironmentName(std::string_view path) {
  std::string name = "FOREBAY_";
  for (const char c : path) {
    name += c == '.' ? '_' : (c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
  }
  return name;
}

std::string NumberText(Kind kind, uint64_t number) {
  switch (kind) {
    case Kind::kBytes:
      return FormatByteCount(ByteCount{number});
    case Kind::kDuration:
      return FormatDuration(milliseconds(static_cast<int64_t>(number)));
    case Kind::kBool:
      return number != 0 ? "true" : "false";
    default:
      return fmt::format("{}", number);
  }
}

std::string ScalarText(const Field& field, const void* parent) {
  FOREBAY_CHECK(field.IsScalar());
  if (field.get_text != nullptr) return field.get_text(parent);
  return NumberText(field.kind, field.get_number(parent));
}

bool SameField(const Field& field, const void* a, const void* b) {
  if (field.get_number != nullptr) return field.get_number(a) == field.get_number(b);
  if (field.get_text != nullptr) return field.get_text(a) == field.get_text(b);
  if (field.strings != nullptr) return field.strings(a) == field.strings(b);
  if (field.kind == Kind::kStructList) {
    if (field.size(a) != field.size(b)) return false;
    for (size_t i = 0; i < field.size(a); ++i) {
      if (!SameStruct(*field.schema, field.at(a, i), field.at(b, i))) return false;
    }
    return true;
  }
  const void* child_a = field.child(a);
  const void* child_b = field.child(b);
  if (child_a == nullptr || child_b == nullptr) return child_a == child_b;
  return SameStruct(*field.schema, child_a, child_b);
}

bool SameStruct(const StructSchema& schema, const void* a, const void* b) {
  for (const Field& field : schema.fields) {
    if (!SameField(field, a, b)) return false;
  }
  return true;
}

bool SameConfig(const Config& a, const Config& b) { return SameStruct(kRoot, &a, &b); }

}  // namespace forebay::config
