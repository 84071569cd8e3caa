#include "upload/clickhouse/session.h"

#include <fmt/core.h>

#include "io/posix_file_system.h"

namespace forebay::upload {
namespace {

constexpr uint64_t kMaxPasswordFile = 64 << 10;

Result<std::string> ReadPassword(const std::string& path) {
  io::PosixFileSystem fs;
  auto text = io::ReadFile(fs, path, kMaxPasswordFile);
  if (!text.ok()) return text.error().WithContext("password_file").WithRetryable(true);
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  return text;
}

}  // namespace

Error ServerAnswer::ToError(std::string_view context) const {
  if (server_error) return server_error->ToError(context);
  return error->WithContext(context);
}

Result<std::unique_ptr<ClickHouseSession>> ClickHouseSession::Open(
    const config::ClickHouseSink& config, const ClickHouseDsn& dsn, std::stop_token stop) {
  http::ClientOptions options;
  options.connect_timeout = config.connect_timeout;
  options.total_timeout = config.query_timeout;
  options.ca_file = config.ca_file;
  options.cert_file = config.cert_file;
  options.key_file = config.key_file;
  options.insecure = config.skip_verify || dsn.skip_verify;
  options.basic_user = dsn.user;
  options.basic_password = dsn.password;
  if (!config.password_file.empty()) {
    if (options.basic_user.empty()) options.basic_user = "default";
    FOREBAY_ASSIGN_OR_RETURN(options.basic_password, ReadPassword(config.password_file));
  }
  std::unique_ptr<ClickHouseSession> session(new ClickHouseSession(dsn, std::move(stop)));
  FOREBAY_ASSIGN_OR_RETURN(session->queries_, http::Client::Create(options));
  options.total_timeout = config.insert_timeout;
  options.reuse_connections = false;
  FOREBAY_ASSIGN_OR_RETURN(session->inserts_, http::Client::Create(options));
  return session;
}

ServerAnswer ClickHouseSession::Query(std::string_view sql) { return Ask(*queries_, sql, {}); }

ServerAnswer ClickHouseSession::Insert(std::string_view body, const Parameters& parameters) {
  return Ask(*inserts_, body, parameters);
}

ServerAnswer ClickHouseSession::Ask(http::Client& client, std::string_view body,
                                    const Parameters& parameters) {
  http::ClientRequest request;
  request.method = "POST";
  // The whole answer before its status, so that an exception that comes late is one too.
  request.url = dsn_.base_url + "/?wait_end_of_query=1";
  for (const auto* list : {&dsn_.settings, &parameters}) {
    for (const auto& [name, value] : *list) {
      request.url += fmt::format("&{}={}", PercentEncode(name), PercentEncode(value));
    }
  }
  request.body = {body.data(), body.size()};
  request.stop = stop_;
  ServerAnswer answer;
  auto response = client.Do(request);
  if (!response.ok()) {
    // Whatever it is, an operator or time mends it, and no row is the cause.
    answer.error = std::move(response.error()).WithRetryable(true);
    return answer;
  }
  answer.server_error = FindServerError(*response);
  if (!answer.server_error) answer.body = std::move(response->body);
  return answer;
}

}  // namespace forebay::upload
