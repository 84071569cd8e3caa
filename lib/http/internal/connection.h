// One client connection: a state machine over RequestReader with at most one socket operation under
// way.
//
//   handshake ─▶ idle ─▶ head ─▶ body ─▶ handling ─▶ writing ─▶ idle ...
//                          └── refused ──▶ writing ─▶ skipping the body ─▶ idle
//   every closing answer:  writing ─▶ (TLS goodbye) ─▶ lingering ─▶ closed
//
// Lingering reads and drops what the client still sends, so that a reset does not overtake the
// answer. Threads: its io thread only.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "http/internal/io_thread.h"
#include "http/internal/request_reader.h"
#include "http/server.h"

namespace forebay::http::internal {

class Connection {
 public:
  Connection(IoThread& thread, boost::asio::ip::tcp::socket socket, std::string remote,
             ServerImpl::TlsContext tls);
  ~Connection();

  void Start();
  // Above max_connections: answers 503 without reading.
  void StartRefused();
  // As StartRefused() without the answer.
  void RefuseSilently();
  void Respond(Response response);
  void ReadOn();
  // Enforces the deadline and gives back buffers of idle connections.
  void Tick(MonotonicTime now);
  // The server stops: closes an idle connection; others end with their current answer.
  void Drain();
  // Closes unless a handler holds the exchange. True: a request is not answered, or not wholly.
  bool Cut();
  bool ended() const { return state_ == State::kClosed && pending_ == 0; }
  bool refused() const { return refused_; }
  IoThread& thread() { return thread_; }

  ConnectionList::iterator position;  // in the io thread's list

 private:
  using error_code = boost::system::error_code;
  enum class State {
    kHandshake,
    kIdle,  // nothing of the next request has come
    kHead,
    kBody,
    kHandling,
    kWriting,
    kSkipping,  // the body of a refused request
    kGoodbye,   // TLS close_notify
    kLingering,
    kClosed,
  };
  enum class AfterWrite { kNextRequest, kSkipBody, kReadBody, kClose };
  enum class Interrupt { kNone, kTimeout, kTrim };  // why the read under way was cancelled

  void OnHandshake(const error_code& error);
  void Read();
  void OnRead(const error_code& error, size_t bytes);
  void OnInterrupted();
  void Advance();
  void BecomeIdle();
  // True: go on with the body; false: an answer is being written.
  bool OnHead();
  std::optional<Response> CheckAuthorization();
  void OnComplete();
  void OnReaderError();
  // Answers without handling the request.
  void Refuse(Response response);
  void Send(Response response, AfterWrite after);
  void SendContinue();
  void ComposeHead(bool close);
  void Write();
  void OnWritten(const error_code& error, size_t bytes);
  void FinishWriting();
  void Goodbye();
  void Linger();
  // Ends at once; tells the handler when it has admitted the request.
  void Close();
  void AbandonRequest();
  // The buffer belongs to a request from now on, or to none.
  void UseBuffer();
  void KeepBuffer();
  // The body has come further. True: an answer is being written.
  bool RefuseGrown();
  // True: the handler has a piece of the body, and says when to go on.
  bool OfferPiece();
  void SetDeadline(std::chrono::milliseconds from_now);

  IoThread& thread_;
  Counters& counters_;
  const config::Http& limits_;
  boost::asio::ip::tcp::socket socket_;
  ServerImpl::TlsContext tls_context_;
  std::optional<boost::asio::ssl::stream<boost::asio::ip::tcp::socket&>> tls_;
  const std::string remote_;
  Exchange exchange_;
  RequestReader reader_;

  State state_ = State::kIdle;
  AfterWrite after_write_ = AfterWrite::kClose;
  Interrupt interrupt_ = Interrupt::kNone;
  int pending_ = 0;  // socket operations whose handlers have not run
  bool refused_ = false;
  bool admitted_ = false;      // Admit() said yes, and neither Handle() nor Abandoned() was called
  bool in_piece_ = false;      // of state kHandling: the body is not complete
  bool head_request_ = false;  // HEAD: the answer's body is left out
  Handler* handler_ = nullptr;
  MonotonicTime deadline_ = MonotonicTime::max();
  MonotonicTime idle_since_{};
  uint64_t linger_left_ = 0;
  uint64_t kept_ = 0;   // bytes of the buffer that are counted as idle
  uint64_t grown_ = 0;  // bytes of the body that the handler knows of

  Response response_;
  std::string out_head_;
  size_t out_sent_ = 0;  // bytes of head and body together
  size_t out_total_ = 0;
};

}  // namespace forebay::http::internal
