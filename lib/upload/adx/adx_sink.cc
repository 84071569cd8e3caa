#include "upload/adx/adx_sink.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"
#include "upload/adx/names.h"
#include "upload/bad_rows.h"
#include "upload/gzip.h"

namespace forebay::upload::adx {
namespace {

constexpr std::chrono::milliseconds kConnectTimeout{10'000};
// Ranges of a refused batch that are tried: one bad row of a million takes 40.
constexpr int kMaxBadRowTries = 100;
constexpr size_t kMaxRejectedBytes = 64U << 20;

size_t LiftedColumns(const TableTarget& target) {
  const size_t columns = target.columns().columns().size();
  return columns - std::min(columns, table::kMetricsColumns);
}

IngestionPath PathOf(const std::string& ingestion) {
  if (ingestion == "rest") return IngestionPath::kRest;
  return ingestion == "classic" ? IngestionPath::kClassic : IngestionPath::kAuto;
}

std::string TagList(std::string_view prefix, std::string_view tag) {
  return fmt::format("[\"{}{}\"]", prefix, tag);
}

}  // namespace

// The rows of a batch as text, as often as they are wanted.
struct AdxSink::Rendered {
  // ranges: only these rows, of a reader that has been used.
  Rendered(const BatchHeader& h, BatchReader& r, std::optional<std::vector<RowRange>> rows = {})
      : header(h), reader(r), ranges(std::move(rows)), used(ranges.has_value()) {}

  Status Rows(const TextConsumer& consumer) {
    if (used) FOREBAY_RETURN_IF_ERROR(reader.Rewind());
    used = true;
    if (!ranges) {
      FOREBAY_ASSIGN_OR_RETURN(stats,
                               renderer.Render(reader, LiftedColumns(header.target), consumer));
      return OkStatus();
    }
    RowFilter filter(*ranges, consumer);
    const auto rendered =
        renderer.Render(reader, LiftedColumns(header.target),
                        [&filter](std::string_view text) { return filter.Write(text); });
    if (!rendered.ok()) return rendered.error();
    stats = {};
    stats.rows = filter.rows();
    stats.bytes = filter.bytes();
    return OkStatus();
  }

  // Nothing at all when there is no row.
  Status Gzip(int level, const TextConsumer& consumer) {
    GzipWriter gzip(level, consumer);
    FOREBAY_RETURN_IF_ERROR(Rows([&gzip](std::string_view text) { return gzip.Write(text); }));
    return stats.rows == 0 ? OkStatus() : gzip.Finish();
  }

  Receipt MakeReceipt(uint64_t stored_bytes, std::string text) const {
    Receipt receipt;
    receipt.text = std::move(text);
    receipt.rows = stats.rows;
    receipt.row_bytes = stats.bytes;
    receipt.stored_bytes = stored_bytes;
    receipt.stale_markers = stats.stale_markers;
    receipt.nans = stats.nans;
    receipt.infinities = stats.infinities;
    return receipt;
  }

  const BatchHeader& header;
  BatchReader& reader;
  const std::optional<std::vector<RowRange>> ranges;
  CsvRenderer renderer;
  RenderStats stats;
  bool used = false;
};

// How the rows of an announcement ended.
struct AdxSink::Ingestion {
  Result<Receipt> receipt;
  bool rows_refused = false;  // for good, because of what is in them
};

Result<std::unique_ptr<Sink>> AdxSink::Create(std::string name, const std::string& database,
                                              const config::AdxSink& config, const Parts& parts) {
  FOREBAY_ASSIGN_OR_RETURN(const Url url, ParseUrl(config.endpoint));
  const Credential credential = ChooseCredential(config.auth, url.scheme == "https", parts.getenv);
  std::unique_ptr<AdxSink> sink(new AdxSink(
      std::move(name), config.database.empty() ? database : config.database, config, parts));
  if (credential != Credential::kNone) {
    FOREBAY_RETURN_IF_ERROR(CheckTrusted(sink->engine_->endpoint(), config.trusted_hosts));
    FOREBAY_RETURN_IF_ERROR(CheckTrusted(sink->management_->endpoint(), config.trusted_hosts));
  }
  return std::unique_ptr<Sink>(std::move(sink));
}

AdxSink::AdxSink(std::string name, std::string database, const config::AdxSink& config,
                 const Parts& parts)
    : name_(std::move(name)),
      database_(std::move(database)),
      config_(config),
      network_(parts.network ? *parts.network
                             : MakeNetwork(
                                   [&config] {
                                     http::ClientOptions options;
                                     options.connect_timeout = kConnectTimeout;
                                     options.total_timeout = config.request_timeout;
                                     options.ca_file = config.ca_file;
                                     return options;
                                   }(),
                                   parts.clock)) {
  const std::string engine = EngineEndpoint(config_.endpoint);
  const bool https = engine.starts_with("https:");
  const Credential credential = ChooseCredential(config_.auth, https, parts.getenv);
  TokenFunction cluster_tokens;
  TokenFunction storage_tokens;
  if (credential != Credential::kNone) {
    tokens_ = std::make_unique<TokenSource>(
        TokenSource::Options{config_.auth, credential, engine, parts.getenv}, network_);
    cluster_tokens = [this](const std::string& refused, const std::stop_token& stop) {
      return tokens_->ForCluster(refused, stop);
    };
    storage_tokens = [this](const std::string& refused, const std::stop_token& stop) {
      return tokens_->ForStorage(refused, stop);
    };
  }
  engine_ = std::make_unique<RestClient>(engine, cluster_tokens, network_);
  management_ = std::make_unique<RestClient>(
      IngestEndpoint(config_.ingest_endpoint.empty() ? config_.endpoint : config_.ingest_endpoint),
      cluster_tokens, network_);
  configuration_ =
      std::make_unique<ConfigurationCache>(*management_, PathOf(config_.ingestion), network_);
  tables_ = std::make_unique<TableKeeper>(*engine_, database_);
  blobs_ = std::make_unique<BlobUploader>(*configuration_, storage_tokens, network_,
                                          BlobOptions{.parallel_blocks = config_.parallel_blocks});
  queued_ = std::make_unique<QueuedClient>(*management_, *configuration_, network_);
  streaming_ = std::make_unique<ManagedStreaming>(*engine_, network_, true);

  const metrics::Labels labels = {{"database", database_}, {"sink", name_}};
  streamed_ = parts.registry.AddCounter("forebay_adx_streamed_batches_total",
                                        "Batches delivered by streaming.", labels);
  fallbacks_ =
      parts.registry.AddCounter("forebay_adx_streaming_fallbacks_total",
                                "Batches that were queued though streaming was wanted.", labels);
  for (const StreamingFault fault : kStreamingFaults) {
    faults_[fault] = parts.registry.AddCounter(
        "forebay_adx_streaming_faults_total", "Streaming requests that failed, by kind.",
        {{"database", database_}, {"sink", name_}, {"kind", std::string(Name(fault))}});
  }
}

Status AdxSink::Prepare(const TableTarget& target) {
  if (!target.columns().columns().empty()) return OkStatus();
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("table {} has a schema without columns", target.table));
}

Result<bool> AdxSink::IsInline(const std::stop_token& stop) {
  if (config_.ingestion == "inline") return true;
  if (config_.ingestion != "auto" || engine_->endpoint().starts_with("https:")) return false;
  if (emulator_.load() != Emulator::kUnknown) return emulator_.load() == Emulator::kYes;
  const CommandReply reply = RunCommand(*engine_, database_, ".show cluster details", {}, stop);
  if (!reply.ok() && reply.fault->Transient()) {
    return reply.fault->ToError("cluster details").WithRetryable(true);
  }
  const bool emulator =
      reply.ok() && !reply.result.rows.empty() && reply.result.Cell(0, "Name") == "KustoPersonal";
  emulator_ = emulator ? Emulator::kYes : Emulator::kNo;
  return emulator;
}

Result<Receipt> AdxSink::Upload(const BatchHeader& header, BatchReader& reader) {
  const std::stop_token stop = reader.stop();
  FOREBAY_RETURN_IF_ERROR(Prepare(header.target));
  FOREBAY_ASSIGN_OR_RETURN(const bool is_inline, IsInline(stop));
  FOREBAY_RETURN_IF_ERROR(
      tables_->Ensure(header.target.table, header.target.columns(), !is_inline, stop));
  if (is_inline) return UploadInline(header, reader);
  if (config_.delivery == "lowest_latency" && header.row_bytes <= config_.streaming_max.value) {
    FOREBAY_ASSIGN_OR_RETURN(auto receipt, TryStreaming(header, reader));
    if (receipt) return *std::move(receipt);
    fallbacks_->Increment();
    FOREBAY_RETURN_IF_ERROR(reader.Rewind());
  }
  return UploadQueued(header, reader);
}

Result<std::optional<Receipt>> AdxSink::TryStreaming(const BatchHeader& header,
                                                     BatchReader& reader) {
  std::optional<Receipt> none;
  if (streaming_->PrefersQueue(database_, header.target.table)) return none;
  Rendered rendered(header, reader);
  std::string bytes;
  FOREBAY_RETURN_IF_ERROR(rendered.Gzip(config_.compression_level, [&](std::string_view piece) {
    bytes += piece;
    return OkStatus();
  }));
  if (rendered.stats.rows == 0) {
    return std::optional<Receipt>(rendered.MakeReceipt(0, "no rows to send"));
  }
  StreamingBody body;
  body.database = database_;
  body.table = header.target.table;
  body.mapping = MappingName(header.target.table, header.target.columns());
  body.bytes = bytes;
  body.gzip = true;
  const StreamingEnd end = streaming_->Send(body, reader.stop());
  CountStreaming(end);
  if (end.delivered) {
    return std::optional<Receipt>(rendered.MakeReceipt(bytes.size(), "streamed"));
  }
  // What is bad is queued too: there the rows that are to blame are found.
  if (end.queue || end.fault == StreamingFault::kBad) {
    LogInfo(
        "batch is queued, since streaming it failed",
        {{"batch", header.id}, {"table", header.target.table}, {"error", end.error->ToString()}});
    return none;
  }
  return *end.error;
}

void AdxSink::CountStreaming(const StreamingEnd& end) {
  if (end.delivered) streamed_->Increment();
  if (end.fault) faults_.at(*end.fault)->Increment();
}

Result<Receipt> AdxSink::UploadQueued(const BatchHeader& header, BatchReader& reader) {
  Rendered rendered(header, reader);
  Ingestion whole = Ingest(rendered, header.id);
  if (!whole.rows_refused || rendered.stats.rows < 2) return std::move(whole.receipt);
  return UploadWithoutBadRows(rendered, whole.receipt.error());
}

// Every range has a tag of its own, so what went in by an earlier try is not there twice: the same
// rows are refused again, so the same ranges come again.
Result<Receipt> AdxSink::UploadWithoutBadRows(const Rendered& whole, const Error& refusal) {
  const BatchHeader& header = whole.header;
  LogWarn("rows of a batch are refused, those that are not to blame are delivered by themselves",
          {{"batch", header.id}, {"table", header.target.table}, {"error", refusal.ToString()}});
  uint64_t stored = 0;
  const auto deliver = [&](RowRange range) -> Status {
    Rendered rendered(header, whole.reader, {{range}});
    const Ingestion some =
        Ingest(rendered, fmt::format("{}.{}+{}", header.id, range.first, range.count));
    if (some.receipt.ok()) {
      stored += some.receipt->stored_bytes;
      return OkStatus();
    }
    // Only what is in the rows divides them.
    return some.rows_refused ? some.receipt.error()
                             : Error(some.receipt.error()).WithRetryable(true);
  };
  FOREBAY_ASSIGN_OR_RETURN(const BadRows bad,
                           FindBadRows(whole.stats.rows, kMaxBadRowTries, deliver));
  if (bad.delivered == 0) return refusal;
  Receipt receipt = whole.MakeReceipt(stored, "delivered but for rows that were refused");
  receipt.rows = bad.delivered;
  receipt.rejected.header = header.target.columns().header_line();
  receipt.rejected.reason = refusal.message();
  Rendered refused(header, whole.reader, bad.ranges);
  FOREBAY_RETURN_IF_ERROR(refused.Rows([&](std::string_view text) -> Status {
    if (receipt.rejected.text.size() + text.size() > kMaxRejectedBytes) {
      // Some are delivered, so the batch as a whole may not become a dead letter.
      return Error(ErrorCode::kOutOfRange,
                   fmt::format("more than {} bytes of rows are refused; the batch waits. {}",
                               kMaxRejectedBytes, refusal.message()))
          .WithRetryable(true);
    }
    receipt.rejected.text += text;
    return OkStatus();
  }));
  receipt.rejected.rows = refused.stats.rows;
  return receipt;
}

AdxSink::Ingestion AdxSink::Ingest(Rendered& rendered, const std::string& tag) {
  const std::stop_token stop = rendered.reader.stop();
  Source source;
  source.produce = [&](const Consumer& consumer) {
    return rendered.Gzip(config_.compression_level, consumer);
  };
  source.raw_size = [&rendered] { return rendered.stats.bytes; };
  auto blob = blobs_->Upload(source, stop);
  if (!blob.ok()) {
    const bool empty = rendered.used && rendered.stats.rows == 0 &&
                       !rendered.reader.source_error() &&
                       blob.error().code() == ErrorCode::kInvalidArgument;
    if (empty) return {rendered.MakeReceipt(0, "no rows to send")};
    return {blob.error()};
  }
  FOREBAY_FAILPOINT("adx.after_blob");
  return Announce(rendered.header, *blob, tag, rendered.MakeReceipt(blob->stored_bytes, ""), stop);
}

AdxSink::Ingestion AdxSink::Announce(const BatchHeader& header, const Blob& blob,
                                     const std::string& tag, Receipt receipt,
                                     const std::stop_token& stop) {
  const std::string& table = header.target.table;
  IngestProperties properties;
  properties.mapping = MappingName(table, header.target.columns());
  properties.ingest_by_tags = {tag};
  properties.ingest_if_not_exists = {tag};
  properties.skip_batching = config_.flush_immediately;
  const std::string path = WithoutQuery(blob.url);
  if (configuration_->path() == IngestionPath::kClassic) {
    const Status sent = queued_->SubmitClassic(database_, table, blob, properties, stop);
    if (!sent.ok()) return {sent.error()};
    receipt.text = fmt::format("queued {}", path);
    return {std::move(receipt)};
  }
  auto operations = queued_->Submit(database_, table, std::span(&blob, 1), properties, stop);
  if (!operations.ok()) {
    if (operations.error().code() == ErrorCode::kNotFound) {
      tables_->Forget(table, header.target.columns());
      // A cluster that has lost the API is looked at again.
      configuration_->Invalidate();
    }
    return {operations.error()};
  }
  FOREBAY_FAILPOINT("adx.after_announce");
  auto result = queued_->WaitUntilFinished(database_, table, operations->front(),
                                           {config_.status_interval, config_.status_timeout}, stop);
  if (!result.ok()) return {result.error()};
  if (result->target_missing) tables_->Forget(table, header.target.columns());
  if (result->error) {
    const bool refused = !result->error->retryable();
    return {
        result->error->WithContext(fmt::format("operation {} of {}", operations->front(), path)),
        refused};
  }
  if (result->already_there) {
    Receipt there;
    there.text = fmt::format("was there already, by its tag ingest-by:{}", tag);
    there.already_there = true;
    return {std::move(there)};
  }
  receipt.text = fmt::format("operation {} of {}", operations->front(), path);
  return {std::move(receipt)};
}

Result<Receipt> AdxSink::UploadInline(const BatchHeader& header, BatchReader& reader) {
  Rendered rendered(header, reader);
  const std::stop_token stop = reader.stop();
  std::string rows;
  size_t pieces = 0;
  uint64_t sent = 0;
  const auto flush = [&]() -> Status {
    if (rows.empty()) return OkStatus();
    // A tag for each piece, so that a batch that is sent again leaves out what is there.
    const std::string tag = fmt::format("{}.{}", header.id, pieces++);
    const std::string command = fmt::format(
        ".ingest inline into table {} with (format='csv', tags={}, ingestIfNotExists={}) <|\n{}",
        QuoteName(header.target.table), QuoteText(TagList("ingest-by:", tag)),
        QuoteText(TagList("", tag)), rows);
    sent += rows.size();
    rows.clear();
    const CommandReply reply = RunCommand(*engine_, database_, command, {}, stop);
    if (reply.ok()) return OkStatus();
    tables_->Forget(header.target.table, header.target.columns());
    return reply.fault->ToError(
        fmt::format("inline ingestion to {}.{}", database_, header.target.table));
  };
  FOREBAY_RETURN_IF_ERROR(rendered.Rows([&](std::string_view text) -> Status {
    rows += text;
    return rows.size() >= kInlineBytes ? flush() : OkStatus();
  }));
  FOREBAY_RETURN_IF_ERROR(flush());
  return rendered.MakeReceipt(sent, fmt::format("{} inline commands", pieces));
}

}  // namespace forebay::upload::adx
