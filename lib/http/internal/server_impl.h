// What the io threads of one server share: limits, routes, certificates, credentials, the count of
// connections, and the stop protocol.
#pragma once

#include <atomic>
#include <boost/asio/ssl/context.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "http/internal/credentials.h"
#include "http/internal/listen.h"
#include "http/server.h"

namespace forebay::http::internal {

class IoThread;

// A body that an early answer leaves unread is read and thrown away up to this, then the connection
// goes on; a larger one costs the connection.
inline constexpr uint64_t kMaxDrain = 256 << 10;
// How long draining, the TLS goodbye and the last bytes of a closing connection may take.
inline constexpr std::chrono::milliseconds kDrainTimeout{1000};
// Connections above max_connections that are told so at the same time, per io thread; further ones
// are closed without an answer.
inline constexpr uint32_t kMaxRefusedAtOnce = 64;
// After EMFILE and the like nothing is accepted for so long.
inline constexpr std::chrono::milliseconds kAcceptPause{100};
// Connections taken from one listening socket before others get their turn.
inline constexpr int kAcceptBurst = 64;
// Idle connections give back buffers that are larger than ..., after ...
inline constexpr size_t kLargeBuffer = 1 << 20;
inline constexpr std::chrono::milliseconds kLargeBufferIdle{1000};
inline constexpr size_t kKeptBuffer = 64 << 10;
inline constexpr std::chrono::milliseconds kKeptBufferIdle{15'000};
// Buffers of connections between requests, per io thread; beyond it they are given back at once.
inline constexpr uint64_t kMaxIdleBuffers = 32U << 20;
// How long StopAccepting() waits for the io threads.
inline constexpr std::chrono::milliseconds kCloseAcceptorsTimeout{5000};

struct Security {
  std::shared_ptr<boost::asio::ssl::context> tls;  // null: plain HTTP
  std::shared_ptr<const Credentials> credentials;  // null: everyone may call
};

Result<SecurityPtr> LoadSecurity(const config::Tls& tls, const config::Auth& auth);

class ServerImpl {
 public:
  struct Target {
    Handler* handler = nullptr;  // null: `status` is the answer
    int status = 404;
    std::string_view allow;  // for 405
  };
  using TlsContext = std::shared_ptr<boost::asio::ssl::context>;

  explicit ServerImpl(ServerOptions options);
  ~ServerImpl();

  Status Init();
  void Route(std::string_view method, std::string_view path, Handler* handler);
  Status Start();
  void StopAccepting() EXCLUDES(mutex_);
  Status Stop(MonotonicTime deadline) EXCLUDES(mutex_);
  void UseSecurity(const Security& security) EXCLUDES(mutex_);
  ServerStats stats() const;
  uint16_t port() const { return port_; }
  int io_threads() const { return static_cast<int>(threads_.size()); }

  // For the io threads.
  const ServerOptions& options() const { return options_; }
  Target Find(std::string_view method, std::string_view path) const;
  bool IsOpenPath(std::string_view path) const;
  bool draining() const { return draining_.load(std::memory_order_relaxed); }
  TlsContext tls() const EXCLUDES(mutex_);
  std::shared_ptr<const Credentials> credentials() const EXCLUDES(mutex_);
  // Changes whenever credentials() does.
  uint64_t credentials_version() const { return version_.load(std::memory_order_acquire); }
  // The io thread with the fewest connections, `self` when it is about as good.
  IoThread& LeastLoaded(IoThread& self) const;
  std::chrono::milliseconds tick() const { return tick_; }
  std::atomic<uint32_t>& connections() { return connections_; }
  // Called whenever a connection has ended; wakes Stop() after the last.
  void ConnectionEnded() EXCLUDES(mutex_);

 private:
  struct PathRoutes {
    std::map<std::string, Handler*, std::less<>> methods;
    std::string allow;
  };

  void CloseAcceptors() EXCLUDES(mutex_);

  const ServerOptions options_;
  std::chrono::milliseconds tick_{500};
  uint16_t port_ = 0;
  std::map<std::string, PathRoutes, std::less<>> routes_;  // fixed after Start()
  std::vector<std::unique_ptr<IoThread>> threads_;
  std::vector<BoundSocket> sockets_;  // between Init() and Start()
  std::vector<std::jthread> running_;
  std::atomic<uint32_t> connections_{0};
  std::atomic<bool> draining_{false};
  std::atomic<uint64_t> version_{1};

  mutable Mutex mutex_;
  CondVar changed_;
  TlsContext tls_ GUARDED_BY(mutex_);
  std::shared_ptr<const Credentials> credentials_ GUARDED_BY(mutex_);
  size_t acceptors_open_ GUARDED_BY(mutex_) = 0;
  bool started_ = false;  // these two: Start() and Stop() have one caller
  bool stopped_ = false;
};

}  // namespace forebay::http::internal
