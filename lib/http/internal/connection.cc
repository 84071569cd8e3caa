#include "http/internal/connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "base/check.h"
#include "base/log.h"

namespace forebay::http::internal {
namespace {

namespace asio = boost::asio;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
// An answer that needs a larger head than this gives the memory back afterwards.
constexpr size_t kKeptOutHead = 4096;

MonotonicTime Now() { return std::chrono::steady_clock::now(); }

bool HasNoBody(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

Connection::Connection(IoThread& thread, asio::ip::tcp::socket socket, std::string remote,
                       ServerImpl::TlsContext tls)
    : thread_(thread),
      counters_(thread.mutable_counters()),
      limits_(thread.server().options().limits),
      socket_(std::move(socket)),
      tls_context_(std::move(tls)),
      remote_(std::move(remote)),
      exchange_(*this, thread.index()),
      reader_(exchange_.head_, static_cast<size_t>(limits_.max_header.value)) {
  if (tls_context_) tls_.emplace(socket_, *tls_context_);
  exchange_.head_.remote_address_ = remote_;
  exchange_.head_.tls_ = tls_.has_value();
}

Connection::~Connection() { UseBuffer(); }

void Connection::SetDeadline(std::chrono::milliseconds from_now) { deadline_ = Now() + from_now; }

void Connection::Start() {
  error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  SetDeadline(limits_.header_timeout);
  if (!tls_) {
    // A new connection has the time of a head for its first byte, not the time for idling.
    state_ = State::kIdle;
    idle_since_ = Now();
    Read();
    return;
  }
  state_ = State::kHandshake;
  ++pending_;
  tls_->async_handshake(asio::ssl::stream_base::server, [this](const error_code& error) {
    --pending_;
    if (state_ != State::kClosed) OnHandshake(error);
    thread_.Reap(*this);
  });
}

void Connection::OnHandshake(const error_code& error) {
  if (error) {
    counters_.tls_failures.Add();
    LogDebug("TLS handshake failed", {{"remote", remote_}, {"reason", error.message()}});
    return Close();
  }
  BecomeIdle();
  if (state_ != State::kIdle) return;
  SetDeadline(limits_.header_timeout);
  Read();
}

void Connection::StartRefused() {
  refused_ = true;
  if (tls_) return Close();
  Response response = Response::RetryAfter(503, std::chrono::seconds(1), "too many connections");
  Send(std::move(response), AfterWrite::kClose);
}

void Connection::RefuseSilently() {
  refused_ = true;
  Close();
}

void Connection::Read() {
  const std::span<char> room = reader_.Prepare();
  const asio::mutable_buffer buffer(room.data(), room.size());
  ++pending_;
  auto done = [this](const error_code& error, size_t bytes) {
    --pending_;
    if (state_ != State::kClosed) OnRead(error, bytes);
    thread_.Reap(*this);
  };
  // Lingering throws away bytes as they are on the wire.
  if (tls_ && state_ != State::kLingering) {
    tls_->async_read_some(buffer, done);
  } else {
    socket_.async_read_some(buffer, done);
  }
}

void Connection::OnRead(const error_code& error, size_t bytes) {
  counters_.bytes_received.Add(bytes);
  if (state_ == State::kLingering) {
    reader_.DropBuffered();
    linger_left_ -= std::min<uint64_t>(linger_left_, bytes);
    if (error || linger_left_ == 0) return Close();
    return Read();
  }
  const Interrupt interrupt = std::exchange(interrupt_, Interrupt::kNone);
  if (error) {
    if (error == asio::error::operation_aborted && interrupt != Interrupt::kNone) {
      if (interrupt == Interrupt::kTimeout) return OnInterrupted();
      UseBuffer();
      reader_.ReleaseBuffer();
      return Read();
    }
    return Close();
  }
  reader_.Commit(bytes);
  Advance();
}

void Connection::OnInterrupted() {
  const bool in_head = state_ == State::kHead;
  AbandonRequest();
  Send(Response::Text(408, in_head ? "request head took too long" : "request body took too long"),
       AfterWrite::kClose);
}

// A large body that came once must not stay with every connection that had one.
void Connection::KeepBuffer() {
  const uint64_t idle = counters_.idle_buffers.value();
  if (reader_.capacity() > kFirstBuffer && idle + reader_.capacity() > kMaxIdleBuffers) {
    reader_.Shrink();
  }
  kept_ = reader_.capacity();
  counters_.idle_buffers.Add(kept_);
}

void Connection::UseBuffer() {
  if (kept_ != 0) counters_.idle_buffers.Subtract(std::exchange(kept_, 0));
}

bool Connection::RefuseGrown() {
  if (state_ != State::kBody) return false;
  const uint64_t bytes = reader_.body_bytes_here();
  if (bytes <= grown_) return false;
  grown_ = bytes;
  auto refusal = handler_->Grown(exchange_.head_, bytes);
  if (!refusal) return false;
  counters_.refused_early.Add();
  AbandonRequest();
  Send(std::move(*refusal), AfterWrite::kClose);
  return true;
}

bool Connection::OfferPiece() {
  if (state_ != State::kBody || !handler_->in_pieces()) return false;
  if (reader_.body_bytes_here() < kPieceBytes) return false;
  state_ = State::kHandling;
  in_piece_ = true;
  deadline_ = MonotonicTime::max();
  exchange_.body_ = reader_.body_here();
  counters_.in_flight.Add();
  handler_->Piece(exchange_);
  return true;
}

void Connection::ReadOn() {
  FOREBAY_CHECK(state_ == State::kHandling && in_piece_ && thread_.IsCurrent());
  in_piece_ = false;
  counters_.in_flight.Subtract(1);
  reader_.ConsumeBody();
  grown_ = 0;
  state_ = State::kBody;
  SetDeadline(limits_.body_timeout);
  Advance();
}

void Connection::Advance() {
  UseBuffer();
  for (;;) {
    switch (reader_.Next()) {
      case RequestReader::Event::kNeedMore:
        if (state_ == State::kIdle && reader_.in_head()) {
          state_ = State::kHead;
          SetDeadline(limits_.header_timeout);
        }
        if (RefuseGrown() || OfferPiece()) return;
        if (state_ == State::kIdle || state_ == State::kHead) KeepBuffer();
        return Read();
      case RequestReader::Event::kHead:
        if (!OnHead()) return;
        break;
      case RequestReader::Event::kComplete:
        return OnComplete();
      case RequestReader::Event::kSkipped:
        reader_.FinishRequest();
        BecomeIdle();
        if (state_ != State::kIdle) return;
        break;
      case RequestReader::Event::kError:
        return OnReaderError();
    }
  }
}

void Connection::BecomeIdle() {
  state_ = State::kIdle;
  head_request_ = false;
  handler_ = nullptr;
  idle_since_ = Now();
  deadline_ = idle_since_ + limits_.idle_timeout;
  if (thread_.server().draining() && !reader_.in_head()) Goodbye();
}

std::optional<Response> Connection::CheckAuthorization() {
  const Credentials* credentials = thread_.CurrentCredentials();
  RequestHead& head = exchange_.head_;
  if (credentials == nullptr || thread_.server().IsOpenPath(head.path())) return std::nullopt;
  const auto authorization = head.Header("Authorization");
  if (authorization) {
    const auto user = credentials->Check(*authorization);
    if (user) {
      head.user_.assign(user->data(), user->size());
      return std::nullopt;
    }
  }
  counters_.unauthenticated.Add();
  Response response = Response::Text(401, "authentication required");
  for (const std::string& challenge : credentials->challenges()) {
    response.headers.emplace_back("WWW-Authenticate", challenge);
  }
  return response;
}

bool Connection::OnHead() {
  counters_.requests.Add();
  RequestHead& head = exchange_.head_;
  head_request_ = head.method() == "HEAD";
  if (auto refusal = CheckAuthorization()) {
    Refuse(std::move(*refusal));
    return false;
  }
  const ServerImpl::Target target = thread_.server().Find(head.method(), head.path());
  if (target.handler == nullptr) {
    Response response =
        Response::Text(target.status, target.status == 405 ? "method not allowed" : "not found");
    if (target.status == 405) response.headers.emplace_back("Allow", target.allow);
    Refuse(std::move(response));
    return false;
  }
  const ByteCount limit = target.handler->body_limit().value_or(limits_.max_body);
  if (head.content_length().value_or(0) > limit.value) {
    counters_.refused_early.Add();
    Refuse(target.handler->TooLarge(head, limit));
    return false;
  }
  if (auto refusal = target.handler->Admit(head)) {
    counters_.refused_early.Add();
    Refuse(std::move(*refusal));
    return false;
  }
  handler_ = target.handler;
  exchange_.user = nullptr;
  admitted_ = true;
  grown_ = 0;
  FOREBAY_CHECK(reader_.SetBodyLimit(limit.value));
  const bool expects =
      head.version() >= 11 && reader_.body_bytes_missing() > 0 && head.Header("Expect").has_value();
  if (expects) {
    SendContinue();
    return false;
  }
  state_ = State::kBody;
  SetDeadline(limits_.body_timeout);
  return true;
}

void Connection::OnComplete() {
  state_ = State::kHandling;
  deadline_ = MonotonicTime::max();
  exchange_.body_ = reader_.body();
  admitted_ = false;
  counters_.in_flight.Add();
  handler_->Handle(exchange_);
}

void Connection::OnReaderError() {
  if (reader_.error_status() == 413) {
    counters_.refused_early.Add();
  } else {
    counters_.malformed.Add();
  }
  const bool too_large = admitted_ && reader_.error_status() == 413;
  AbandonRequest();
  Send(too_large
           ? handler_->TooLarge(exchange_.head_, handler_->body_limit().value_or(limits_.max_body))
           : Response::Text(reader_.error_status(), std::string(reader_.error_text())),
       AfterWrite::kClose);
}

void Connection::Refuse(Response response) {
  const RequestHead& head = exchange_.head_;
  // Without an end that is known or near, or from a client that may never send the body, the next
  // request cannot be found.
  const uint64_t missing = reader_.body_bytes_missing();
  const bool may_not_come = missing > 0 && head.Header("Expect").has_value();
  if (head.chunked() || missing > kMaxDrain || may_not_come || !reader_.keep_alive()) {
    return Send(std::move(response), AfterWrite::kClose);
  }
  Send(std::move(response), AfterWrite::kSkipBody);
}

void Connection::Respond(Response response) {
  FOREBAY_CHECK(state_ == State::kHandling && thread_.IsCurrent());
  counters_.in_flight.Subtract(1);
  // What is left of the body is not read.
  const bool whole = !std::exchange(in_piece_, false);
  admitted_ = false;
  Send(std::move(response),
       whole && reader_.keep_alive() ? AfterWrite::kNextRequest : AfterWrite::kClose);
}

void Connection::Send(Response response, AfterWrite after) {
  response_ = std::move(response);
  if (response_.close || thread_.server().draining()) after = AfterWrite::kClose;
  after_write_ = after;
  const int status_class = response_.status / 100;
  if (status_class >= 1 && status_class <= 5) {
    counters_.responses[static_cast<size_t>(status_class)].Add();
  }
  ComposeHead(after == AfterWrite::kClose);
  if (head_request_ || HasNoBody(response_.status)) response_.body.clear();
  state_ = State::kWriting;
  SetDeadline(limits_.write_timeout);
  out_sent_ = 0;
  out_total_ = out_head_.size() + response_.body.size();
  Write();
}

void Connection::SendContinue() {
  after_write_ = AfterWrite::kReadBody;
  response_.body.clear();
  out_head_.assign(kContinue);
  state_ = State::kWriting;
  SetDeadline(limits_.write_timeout);
  out_sent_ = 0;
  out_total_ = out_head_.size();
  counters_.responses[1].Add();
  Write();
}

void Connection::ComposeHead(bool close) {
  out_head_.clear();
  auto out = std::back_inserter(out_head_);
  fmt::format_to(out, "HTTP/1.1 {} {}\r\nDate: {}\r\n", response_.status,
                 ReasonPhrase(response_.status), thread_.Date());
  if (!HasNoBody(response_.status)) {
    fmt::format_to(out, "Content-Length: {}\r\n", response_.body.size());
  }
  if (close) {
    out_head_ += "Connection: close\r\n";
  } else if (exchange_.head_.version() < 11) {
    out_head_ += "Connection: keep-alive\r\n";
  }
  const auto append = [this](std::string_view text) {
    for (const char c : text) out_head_ += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
  };
  for (const auto& [name, value] : response_.headers) {
    append(name);
    out_head_ += ": ";
    append(value);
    out_head_ += "\r\n";
  }
  out_head_ += "\r\n";
}

void Connection::Write() {
  const size_t head_sent = std::min(out_sent_, out_head_.size());
  const size_t body_sent = out_sent_ - head_sent;
  const std::array<asio::const_buffer, 2> buffers{
      asio::const_buffer(out_head_.data() + head_sent, out_head_.size() - head_sent),
      asio::const_buffer(response_.body.data() + body_sent, response_.body.size() - body_sent)};
  ++pending_;
  auto done = [this](const error_code& error, size_t bytes) {
    --pending_;
    if (state_ != State::kClosed) OnWritten(error, bytes);
    thread_.Reap(*this);
  };
  if (tls_) {
    tls_->async_write_some(buffers, done);
  } else {
    socket_.async_write_some(buffers, done);
  }
}

void Connection::OnWritten(const error_code& error, size_t bytes) {
  counters_.bytes_sent.Add(bytes);
  out_sent_ += bytes;
  if (error) return Close();
  if (out_sent_ < out_total_) return Write();
  if (out_head_.capacity() > kKeptOutHead) std::string().swap(out_head_);
  response_ = Response();
  FinishWriting();
}

void Connection::FinishWriting() {
  switch (after_write_) {
    case AfterWrite::kNextRequest:
      reader_.FinishRequest();
      BecomeIdle();
      if (state_ == State::kIdle) Advance();
      return;
    case AfterWrite::kSkipBody:
      reader_.SkipBody();
      state_ = State::kSkipping;
      SetDeadline(kDrainTimeout);
      return Advance();
    case AfterWrite::kReadBody:
      state_ = State::kBody;
      SetDeadline(limits_.body_timeout);
      return Advance();
    case AfterWrite::kClose:
      return Goodbye();
  }
}

void Connection::Goodbye() {
  if (!tls_) return Linger();
  state_ = State::kGoodbye;
  SetDeadline(kDrainTimeout);
  ++pending_;
  // Ends when the client has said goodbye too, or with an error as soon as it sends anything else.
  tls_->async_shutdown([this](const error_code&) {
    --pending_;
    if (state_ != State::kClosed) Linger();
    thread_.Reap(*this);
  });
}

void Connection::Linger() {
  error_code failure;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, failure);
  if (failure) return Close();
  reader_.DropBuffered();
  state_ = State::kLingering;
  linger_left_ = kMaxDrain;
  SetDeadline(kDrainTimeout);
  Read();
}

void Connection::AbandonRequest() {
  if (!admitted_) return;
  admitted_ = false;
  counters_.abandoned.Add();
  handler_->Abandoned(exchange_.head_);
}

void Connection::Close() {
  AbandonRequest();
  UseBuffer();
  state_ = State::kClosed;
  deadline_ = MonotonicTime::max();
  error_code ignored;
  socket_.close(ignored);
}

void Connection::Tick(MonotonicTime now) {
  if (now >= deadline_) {
    switch (state_) {
      case State::kHead:
      case State::kBody:
        counters_.timeouts.Add();
        if (interrupt_ == Interrupt::kNone) {
          interrupt_ = Interrupt::kTimeout;
          error_code ignored;
          socket_.cancel(ignored);
          return;
        }
        return Close();
      case State::kIdle:
      case State::kWriting:
        counters_.timeouts.Add();
        return Close();
      case State::kHandshake:
      case State::kSkipping:
      case State::kGoodbye:
      case State::kLingering:
        return Close();
      case State::kHandling:
      case State::kClosed:
        return;
    }
  }
  if (state_ != State::kIdle || interrupt_ != Interrupt::kNone) return;
  const auto idle = now - idle_since_;
  const size_t held = reader_.capacity();
  if ((held > kLargeBuffer && idle >= kLargeBufferIdle) ||
      (held > kKeptBuffer && idle >= kKeptBufferIdle)) {
    interrupt_ = Interrupt::kTrim;
    error_code ignored;
    socket_.cancel(ignored);
  }
}

void Connection::Drain() {
  if (state_ == State::kIdle || state_ == State::kHandshake) Close();
}

bool Connection::Cut() {
  const bool lost = state_ == State::kHead || state_ == State::kBody ||
                    state_ == State::kHandling || state_ == State::kWriting;
  if (state_ != State::kHandling && state_ != State::kClosed) Close();
  return lost;
}

}  // namespace forebay::http::internal
