// Where a ClickHouse server is and who asks, from one line of configuration.
//   http(s)://[user[:password]@]host[:port][/database][?name=value&...]
//   clickhouse://... and tcp://...: the native protocol's address, as adx-mon has it; mapped to the
//   HTTP interface: port 9000 becomes 8123, 9440 becomes 8443, others stay.
// User, password, database and parameters are percent-decoded. Parameters: secure, skip_verify,
// compress, and the native clients' dial_timeout, read_timeout, max_execution_time's seconds and
// the like; what is not known here is a setting of every query. The password is never shown.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace forebay::upload {

struct ClickHouseDsn {
  std::string base_url;  // "https://host:8443", without credentials
  std::string user;      // empty: the server's default
  std::string password;
  std::string database = "default";
  std::string compression;  // lz4 zstd none; empty: not said
  bool skip_verify = false;
  bool mapped = false;  // from the native protocol's address
  std::vector<std::pair<std::string, std::string>> settings;
};

// Errors: kInvalidArgument naming what is wrong, without the password. Threads: any.
Result<ClickHouseDsn> ParseClickHouseDsn(std::string_view text);

// For URLs: everything but letters, digits and -_.~ as %XX. Threads: any.
std::string PercentEncode(std::string_view text);

}  // namespace forebay::upload
