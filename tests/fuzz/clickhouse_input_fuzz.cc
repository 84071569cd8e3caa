// DEPS: upload
// What comes from outside to the ClickHouse sink: text rows of peers' segments, addresses, and what
// servers say. Rows: the parser takes every byte once, and what it calls good fills a chunk.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "upload/clickhouse/dsn.h"
#include "upload/clickhouse/row_chunk.h"
#include "upload/clickhouse/server_error.h"
#include "upload/clickhouse/table_layout.h"
#include "upload/clickhouse/text_rows.h"

namespace {

void RequireThat(bool condition) {
  if (!condition) std::abort();
}

void Rows(std::string_view text) {
  static const auto schema = *forebay::table::Schema::ParseHeaderLine(
      "Timestamp:datetime,N:long,I:int,B:bool,Value:real,Text:string,More:dynamic");
  forebay::upload::TextRowParser parser(schema);
  forebay::upload::RowChunk chunk(schema);
  parser.Begin(text);
  size_t bytes = 0;
  while (parser.Next()) {
    RequireThat(!parser.row().empty());
    RequireThat(parser.row().data() == text.data() + bytes);
    bytes += parser.row().size();
    if (parser.problem().empty()) chunk.AppendText(parser.fields(), 0);
  }
  RequireThat(bytes == text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Rows(text);
  (void)forebay::upload::ParseRfc3339(text);
  (void)forebay::upload::ParseClickHouseDsn(text);
  (void)forebay::upload::ParseServerVersion(text);
  (void)forebay::upload::ParseDescription(text);
  forebay::http::ClientResponse response;
  response.status = size % 2 == 0 ? 200 : 500;
  response.body = text;
  if (const auto error = forebay::upload::FindServerError(response)) (void)error->ToError("fuzz");
  return 0;
}
