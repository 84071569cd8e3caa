// Batches to Azure Data Explorer.
//
// exactly_once: rows as gzip'ed CSV to a blob of the ingestion service, announced with the tag
// `ingest-by:<batch id>` and `ingestIfNotExists`, and asked for until the cluster has them. A batch
// that is sent again is skipped there. lowest_latency: small batches are streamed, the others and
// those that streaming refuses go as above. The emulator gets commands. Memory of a batch: that of
// BlobUploader, and of a streamed one its rows.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "config/config.h"
#include "metrics/registry.h"
#include "upload/adx/blob.h"
#include "upload/adx/ingest_configuration.h"
#include "upload/adx/management.h"
#include "upload/adx/queued_client.h"
#include "upload/adx/rest.h"
#include "upload/adx/streaming.h"
#include "upload/adx/token.h"
#include "upload/csv_renderer.h"
#include "upload/sink.h"

namespace forebay::upload::adx {

// Text of one inline command, rows included.
inline constexpr size_t kInlineBytes = 1U << 20;

class AdxSink final : public Sink {
 public:
  struct Parts {
    const Clock& clock;
    metrics::Registry& registry;
    Environment getenv;
    // Set in tests: in place of the real network.
    std::optional<Network> network;
  };

  // database: ours. Errors: kInvalidArgument: an endpoint that is no URL, or may not get tokens.
  static Result<std::unique_ptr<Sink>> Create(std::string name, const std::string& database,
                                              const config::AdxSink& config, const Parts& parts);

  const std::string& name() const override { return name_; }
  // Only checks; the table is made by Upload, which can be stopped. Errors: a table without a
  // schema (permanent).
  Status Prepare(const TableTarget& target) override;
  // Errors: retryable, but for rows that the cluster refuses for good, and a table whose columns
  // have other types.
  Result<Receipt> Upload(const BatchHeader& header, BatchReader& reader) override;

 private:
  AdxSink(std::string name, std::string database, const config::AdxSink& config,
          const Parts& parts);

  struct Rendered;
  struct Ingestion;
  enum class Emulator { kUnknown, kYes, kNo };
  // Asks the cluster once.
  Result<bool> IsInline(const std::stop_token& stop);
  Result<Receipt> UploadQueued(const BatchHeader& header, BatchReader& reader);
  // refusal: of the whole.
  Result<Receipt> UploadWithoutBadRows(const Rendered& whole, const Error& refusal);
  Ingestion Ingest(Rendered& rendered, const std::string& tag);
  Result<Receipt> UploadInline(const BatchHeader& header, BatchReader& reader);
  // Nothing: the batch is to be queued.
  Result<std::optional<Receipt>> TryStreaming(const BatchHeader& header, BatchReader& reader);
  Ingestion Announce(const BatchHeader& header, const Blob& blob, const std::string& tag,
                     Receipt receipt, const std::stop_token& stop);
  void CountStreaming(const StreamingEnd& end);

  const std::string name_;
  const std::string database_;  // there
  const config::AdxSink config_;
  const Network network_;
  std::unique_ptr<TokenSource> tokens_;
  std::unique_ptr<RestClient> engine_;
  std::unique_ptr<RestClient> management_;
  std::unique_ptr<ConfigurationCache> configuration_;
  std::unique_ptr<TableKeeper> tables_;
  std::unique_ptr<BlobUploader> blobs_;
  std::unique_ptr<QueuedClient> queued_;
  std::unique_ptr<ManagedStreaming> streaming_;
  std::atomic<Emulator> emulator_{Emulator::kUnknown};
  metrics::Counter* streamed_ = nullptr;
  metrics::Counter* fallbacks_ = nullptr;
  std::map<StreamingFault, metrics::Counter*> faults_;
};

}  // namespace forebay::upload::adx
