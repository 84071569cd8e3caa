// Blobs in the containers of the ingestion service: what is to be sent is produced in pieces, cut
// into blocks of 4 MiB, and sent while more is produced. What fits one block is one Put Blob. A
// lake folder takes the same pieces as appends. Memory: BlobOptions::parallel_blocks + 2 blocks,
// whatever the blob's size. A block is repeated by itself; a container that refuses is left for the
// next one, for which the source produces everything again. Sources: "Put Blob", "Put Block",
// "Put Block List", "Data Lake Storage Gen2 Path".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "upload/adx/ingest_configuration.h"
#include "upload/adx/network.h"
#include "upload/adx/rest.h"

namespace forebay::upload::adx {

inline constexpr size_t kBlockBytes = 4U << 20;
inline constexpr int kMaxContainersTried = 4;
// The service's limit of blocks in a blob.
inline constexpr size_t kMaxBlocks = 50'000;

using Consumer = std::function<Status(std::string_view)>;

enum class Compression { kNone, kGzip, kZip };

// What is to be sent.
struct Source {
  // Gives all bytes to the consumer, from the first one on at every call; the consumer's error is
  // returned as it is. Errors of its own end the upload.
  std::function<Status(const Consumer&)> produce;
  // After produce: bytes before compression.
  std::function<uint64_t()> raw_size;
  std::string format = "csv";
  // Of the bytes that are produced; the service unpacks by the end of the blob's name, which says
  // the same.
  Compression compression = Compression::kGzip;
};

// Bytes that lie in a file or in memory, as they are. The file's name says how they are compressed
// (.gz, .gzip, .zip); raw_size must be given when they are. Errors of File: kNotFound, kIo;
// kInvalidArgument: no raw_size, or bytes that are gzip under another name, or the reverse.
Result<Source> FileSource(const std::string& path, std::string format,
                          std::optional<uint64_t> raw_size = std::nullopt);
Source TextSource(std::string bytes, std::string format);
// The same bytes as gzip, compressed anew whenever they are produced, so that no size needs memory.
// Sources that are compressed, and formats that are by themselves (Avro, Parquet, ORC), stay as
// they are.
Source Compressed(Source source, int level = 1);

// A blob that the service can read.
struct Blob {
  std::string url;  // with the signature: secret
  std::string source_id;
  uint64_t raw_size = 0;
  uint64_t stored_bytes = 0;
};

struct BlobOptions {
  size_t parallel_blocks = 4;
  size_t block_bytes = kBlockBytes;  // smaller in tests
};

// Threads: any.
class BlobUploader {
 public:
  // storage_tokens: for lake folders without a signature; may be empty.
  BlobUploader(ConfigurationCache& configuration, TokenFunction storage_tokens,
               const Network& network, BlobOptions options);

  // Errors: the source's; kInvalidArgument (permanent): nothing to send; those of the storage
  // (retryable), at once for a request that it calls bad, else when all containers were tried;
  // kCancelled.
  Result<Blob> Upload(const Source& source, const std::stop_token& stop);

 private:
  class Writer;
  enum class End { kDone, kNextContainer, kFailed };
  struct Outcome {
    End end = End::kFailed;
    std::optional<Error> error;
    Blob blob;
  };
  Outcome Try(const Source& source, const Container& container, const std::stop_token& stop);

  ConfigurationCache& configuration_;
  const TokenFunction storage_tokens_;
  const Network& network_;
  const BlobOptions options_;
};

}  // namespace forebay::upload::adx
