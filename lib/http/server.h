// The HTTP/1.x server: one io thread per core, each with its own event loop and its own
// SO_REUSEPORT acceptor; a connection lives on one io thread from accept to close. Callbacks, no
// futures: a handler gets an Exchange on its io thread and answers there, at once or after Resume()
// from any thread.
//
// Limits (config::Http): connections, header and body bytes, time for head, body, idling and
// writing; README.md lists each with its status. Requests of one connection are handled one after
// the other, so pipelined answers keep their order.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/time.h"
#include "base/units.h"
#include "config/config.h"
#include "http/message.h"

namespace forebay::http {

namespace internal {
class Connection;
class IoThread;
class ServerImpl;
struct Security;
}  // namespace internal

// Least size of a piece of a body. Limit: a piece is at most what one connection buffers, 2 MiB.
inline constexpr size_t kPieceBytes = 256U << 10;

// One request and its answer. Owned by the server. Valid from Handle() until Respond(); after that
// the object serves the connection's next request.
class Exchange {
 public:
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  const RequestHead& head() const { return head_; }
  // The whole body as sent (chunks joined, Content-Encoding untouched), contiguous, in the
  // connection's buffer. Valid until Respond().
  std::span<const char> body() const { return body_; }
  // 0 .. Server::io_threads()-1: index of per-thread state that needs no lock.
  int io_thread() const { return io_thread_; }

  // Runs fn(argument) on this exchange's io thread, soon and never within this call. One Resume at
  // a time per exchange; many exchanges resumed together cost one wake-up. Does not allocate. After
  // Server::Stop() has given up on an unanswered exchange, fn is not run any more; the call itself
  // stays legal until the server is destroyed. Threads: any.
  void Resume(void (*fn)(void*), void* argument);

  // Sends the answer; exactly once per exchange. The exchange must not be touched afterwards.
  // Threads: this exchange's io thread (in Handle() or in a resumed function).
  void Respond(Response response);

  // After Handler::Piece(): the piece is used, the next may come. Threads: this exchange's io
  // thread (in Piece() or in a resumed function).
  void ReadOn();

  // A slot for the handler's (pooled) context; null at the first of Piece() and Handle().
  void* user = nullptr;

 private:
  friend class internal::Connection;
  friend class internal::IoThread;
  explicit Exchange(internal::Connection& connection, int io_thread)
      : connection_(connection), io_thread_(io_thread) {}

  internal::Connection& connection_;
  const int io_thread_;
  RequestHead head_;
  std::span<const char> body_;
  void (*resume_fn_)(void*) = nullptr;  // these three: handed over by the io thread's resume list
  void* resume_argument_ = nullptr;
  Exchange* resume_next_ = nullptr;
  std::atomic<bool> resume_pending_{false};
};

// What serves a route. One handler may serve many routes; it is called by all io threads at once.
// It must not block: an io thread serves thousands of connections.
class Handler {
 public:
  virtual ~Handler() = default;

  // Called when the head is read and authenticated, before any of the body. An answer given here
  // (413, 415, 429, 503 ...) is sent without reading the body; nothing: the body is read, then
  // Handle() or Abandoned() is called, exactly one of them.
  // Threads: any io thread.
  virtual std::optional<Response> Admit(const RequestHead& head);

  // The request is complete; must lead to exactly one Respond().
  // Threads: any io thread.
  virtual void Handle(Exchange& exchange) = 0;

  // What Admit() let in will not be handled: reset, timed out, malformed or too large on the way,
  // or the server stopped. Give back what Admit() reserved. Threads: any io thread.
  virtual void Abandoned(const RequestHead& head);

  // Of a body that Admit() let in `bytes` have come, and there is more. An answer given here ends
  // it: Abandoned() follows, the answer is sent, the connection closed. Threads: any io thread.
  virtual std::optional<Response> Grown(const RequestHead& head, uint64_t bytes);

  // True: bodies are not gathered. Piece() gets what has come whenever that is kPieceBytes or more,
  // and Handle() the rest, which may be empty.
  virtual bool in_pieces() const;

  // exchange.body() is the next part of the body. Must lead to exactly one ReadOn() or Respond();
  // until then nothing more is read, so a sender is as fast as its handler. Between two pieces
  // Abandoned() may come instead of more. Threads: any io thread.
  virtual void Piece(Exchange& exchange);

  // The answer to a body above body_limit(): by Content-Length before Admit(), or a chunked one
  // after Abandoned(). The default is a 413 that names the limit. Threads: any io thread.
  virtual Response TooLarge(const RequestHead& head, ByteCount limit);

  // The largest body of this handler's routes; none: config http.max_body.
  virtual std::optional<ByteCount> body_limit() const;
};

// Counters since Create(); gauges where it says "now".
struct ServerStats {
  uint64_t connections_accepted = 0;
  uint64_t connections_refused = 0;  // above max_connections
  uint64_t connections_open = 0;     // now
  uint64_t accept_errors = 0;        // EMFILE and the like
  uint64_t tls_handshake_failures = 0;
  uint64_t requests = 0;            // heads read, refused ones too
  uint64_t requests_in_flight = 0;  // now: handled and not answered
  uint64_t requests_malformed = 0;  // answered 400, 431, 501, 505 by the server itself
  uint64_t requests_unauthenticated = 0;
  uint64_t requests_refused_early = 0;  // answered by Admit() or by the body limit, body unread
  uint64_t requests_abandoned = 0;      // connection lost or timed out after the head
  uint64_t timeouts = 0;                // header, body, idle and write together
  uint64_t responses[6] = {};           // by status class: [2] counts 2xx
  uint64_t bytes_received = 0;
  uint64_t bytes_sent = 0;
  uint64_t idle_buffer_bytes = 0;  // now: buffers of connections that are between requests
  std::optional<UnixMillis> certificate_end;  // of what new connections are shown; none: plain HTTP
};

struct ServerOptions {
  std::string name = "http";           // in logs and thread names; 10 characters at most
  std::string listen = "127.0.0.1:0";  // host:port, :port, [v6]:port; port 0: any free one
  config::Http limits;
  config::Tls tls;
  config::Auth auth;
  std::vector<std::string> open_paths;  // served without authentication
};

// Certificates and credentials as their files were; a server without TLS or without credentials has
// none of them in it.
using SecurityPtr = std::shared_ptr<const internal::Security>;

class Server {
 public:
  // Reads certificates and credentials and binds the port; nothing is accepted before Start().
  // Errors: kInvalidArgument (address, TLS version, a file's contents), kNotFound,
  // kPermissionDenied or kIo naming the file or address.
  static Result<std::unique_ptr<Server>> Create(ServerOptions options);
  // Stops at once when Stop() was not called.
  ~Server();

  // Serves `method path` (exact match) by `handler`, which must outlive the server. GET serves HEAD
  // too. Unknown paths are answered 404, known ones with another method 405 with Allow.
  // Threads: before Start().
  void Route(std::string_view method, std::string_view path, Handler* handler);

  // Starts the io threads and accepts. Errors: kIo, kFailedPrecondition (started before).
  Status Start();
  uint16_t port() const;
  int io_threads() const;

  // New connections are refused from now on; open ones go on. Idempotent. Threads: any.
  void StopAccepting();
  // Stops accepting, closes idle connections, answers what is in flight with `Connection: close`,
  // closes the rest at the deadline, joins the threads. Idempotent.
  // Errors: kDeadlineExceeded naming how many requests were cut. The server is stopped even so.
  // Threads: one caller, not an io thread.
  Status Stop(MonotonicTime deadline);

  // Reads certificates and credentials for a later UseSecurity(), so that a reload of several
  // servers changes all of them or none. Errors: as Create(). Threads: any.
  static Result<SecurityPtr> LoadSecurity(const config::Tls& tls, const config::Auth& auth);
  // New connections use these certificates (or plain HTTP), open ones keep theirs; the credentials
  // count for every request from now on. Threads: any.
  void UseSecurity(const SecurityPtr& security);

  // Whether a request with this Authorization header (empty: none) may call, by the credentials of
  // `security`; for servers of other protocols. Threads: any.
  static bool MayCall(const SecurityPtr& security, std::string_view authorization);

  ServerStats stats() const;

 private:
  explicit Server(std::unique_ptr<internal::ServerImpl> impl);
  std::unique_ptr<internal::ServerImpl> impl_;
};

}  // namespace forebay::http
