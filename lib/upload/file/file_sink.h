// Batches as files: the sink that needs nothing else.
//
//   <root>/<database>/<table>/<yyyy>/<mm>/<dd>/<batch id>.csv.gz   rows, first line: column names
//   <root>/<database>/<table>/<schema hash>.schema.json           names and types of the columns
// The date is the first segment's (UTC), so a batch has one place whenever it is tried. Written as
// .<batch id>.csv.gz.tmp, synced, renamed, directory synced: a file with a final name is whole. One
// that exists was delivered before. Tables without a schema get no first line and no schema file.
// Format: docs/format/batches.md, "File sink".
#pragma once

#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "config/config.h"
#include "io/file_system.h"
#include "upload/csv_renderer.h"
#include "upload/free_list.h"
#include "upload/gzip.h"
#include "upload/sink.h"

namespace forebay::upload {

inline constexpr size_t kFileWritersKept = 4;  // about 1 MB each

class FileSink final : public Sink {
 public:
  // fs outlives the sink. Nothing is touched before the first Prepare.
  FileSink(std::string name, const config::FileSink& config, io::FileSystem& fs);

  const std::string& name() const override { return name_; }
  // Errors: all retryable: an operator frees space or mends permissions, and no row is the cause.
  Status Prepare(const TableTarget& target) override;
  // Errors: retryable, but for rows that do not fit the schema.
  Result<Receipt> Upload(const BatchHeader& header, BatchReader& reader) override;

  // "<root>/<database>/<table>/<yyyy>/<mm>/<dd>".
  std::string DirectoryOf(const BatchHeader& header) const;

 private:
  struct Writer {
    explicit Writer(int level) : gzip(level) {}
    CsvRenderer renderer;
    GzipWriter gzip;
  };

  Result<Receipt> Write(const BatchHeader& header, BatchReader& reader,
                        const std::string& directory, const std::string& path);
  Result<Receipt> Render(const BatchHeader& header, BatchReader& reader, io::File& file);
  std::string TableDirectory(const TableTarget& target) const;

  const std::string name_;
  const std::string root_;
  const int level_;
  io::FileSystem& fs_;
  Mutex schema_files_;  // held while one is looked at and written
  FreeList<Writer> writers_{kFileWritersKept};
};

// {"database":...,"table":...,"schema_hash":...,"columns":[{"name":...,"type":...},...]} and LF.
std::string SchemaJson(const TableTarget& target);

}  // namespace forebay::upload
