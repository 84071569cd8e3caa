// The requests of one upload to one ClickHouse server. Inserts go over connections of their own,
// which are not used twice: libcurl repeats by itself a request on a used connection that ends
// without an answer, and an insert must not be repeated by anybody but us.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "http/client.h"
#include "upload/clickhouse/dsn.h"
#include "upload/clickhouse/server_error.h"

namespace forebay::upload {

// How a request ended: exactly one of error, server_error and neither (then body is the answer).
struct ServerAnswer {
  std::optional<Error> error;               // no answer; what became of the request is not known
  std::optional<ServerError> server_error;  // the server said no
  std::string body;

  bool ok() const { return !error && !server_error; }
  bool Is(ServerErrorKind kind) const { return server_error && server_error->kind == kind; }
  // Of one that is not ok.
  Error ToError(std::string_view context) const;
};

// Threads: one at a time.
class ClickHouseSession {
 public:
  // config and dsn outlive the session. Errors: those of the password file and of http::Client.
  static Result<std::unique_ptr<ClickHouseSession>> Open(const config::ClickHouseSink& config,
                                                         const ClickHouseDsn& dsn,
                                                         std::stop_token stop);

  using Parameters = std::vector<std::pair<std::string, std::string>>;

  ServerAnswer Query(std::string_view sql);
  // body: compressed blocks of the rows, behind `sql` as far as that is not a parameter.
  ServerAnswer Insert(std::string_view body, const Parameters& parameters);

 private:
  ClickHouseSession(const ClickHouseDsn& dsn, std::stop_token stop)
      : dsn_(dsn), stop_(std::move(stop)) {}
  ServerAnswer Ask(http::Client& client, std::string_view body, const Parameters& parameters);

  const ClickHouseDsn& dsn_;
  const std::stop_token stop_;
  std::unique_ptr<http::Client> queries_;
  std::unique_ptr<http::Client> inserts_;
};

}  // namespace forebay::upload
