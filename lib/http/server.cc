#include "http/server.h"

#include <fmt/core.h>

#include "base/check.h"
#include "http/internal/connection.h"
#include "http/internal/io_thread.h"
#include "http/internal/server_impl.h"

namespace forebay::http {

void Exchange::Resume(void (*fn)(void*), void* argument) {
  FOREBAY_CHECK(!resume_pending_.exchange(true, std::memory_order_acq_rel));
  resume_fn_ = fn;
  resume_argument_ = argument;
  connection_.thread().Resume(*this);
}

void Exchange::Respond(Response response) { connection_.Respond(std::move(response)); }
void Exchange::ReadOn() { connection_.ReadOn(); }

std::optional<Response> Handler::Admit(const RequestHead&) { return std::nullopt; }
void Handler::Abandoned(const RequestHead&) {}
std::optional<Response> Handler::Grown(const RequestHead&, uint64_t) { return std::nullopt; }
Response Handler::TooLarge(const RequestHead&, ByteCount limit) {
  return Response::Text(413, fmt::format("request body larger than {}", FormatByteCount(limit)));
}
bool Handler::in_pieces() const { return false; }
void Handler::Piece(Exchange& exchange) { exchange.ReadOn(); }
std::optional<ByteCount> Handler::body_limit() const { return std::nullopt; }

Result<std::unique_ptr<Server>> Server::Create(ServerOptions options) {
  std::unique_ptr<Server> server(
      new Server(std::make_unique<internal::ServerImpl>(std::move(options))));
  FOREBAY_RETURN_IF_ERROR(server->impl_->Init());
  return server;
}

Server::Server(std::unique_ptr<internal::ServerImpl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

void Server::Route(std::string_view method, std::string_view path, Handler* handler) {
  impl_->Route(method, path, handler);
}
Status Server::Start() { return impl_->Start(); }
uint16_t Server::port() const { return impl_->port(); }
int Server::io_threads() const { return impl_->io_threads(); }
void Server::StopAccepting() { impl_->StopAccepting(); }
Status Server::Stop(MonotonicTime deadline) { return impl_->Stop(deadline); }
Result<SecurityPtr> Server::LoadSecurity(const config::Tls& tls, const config::Auth& auth) {
  return internal::LoadSecurity(tls, auth);
}
void Server::UseSecurity(const SecurityPtr& security) { impl_->UseSecurity(*security); }
bool Server::MayCall(const SecurityPtr& security, std::string_view authorization) {
  if (security == nullptr || security->credentials == nullptr) return true;
  return security->credentials->Check(authorization).has_value();
}
ServerStats Server::stats() const { return impl_->stats(); }

}  // namespace forebay::http
