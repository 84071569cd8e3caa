// One event loop: its acceptor, its connections, the list of exchanges to resume, and the clock
// tick that enforces every timeout. All of it runs on one thread except where it says so. A tick
// looks at every connection's deadline instead of arming a timer per request, so that the path of a
// request touches no timer queue.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "http/internal/listen.h"
#include "http/internal/server_impl.h"

namespace forebay::http::internal {

class Connection;
using ConnectionList = std::list<std::unique_ptr<Connection>>;

// Written by one thread, read by any.
class Counter {
 public:
  void Add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Subtract(uint64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// The fields of ServerStats, per io thread, on cache lines of their own.
struct alignas(64) Counters {
  Counter accepted, refused, accept_errors, tls_failures, requests, in_flight, malformed;
  Counter unauthenticated, refused_early, abandoned, timeouts, bytes_received, bytes_sent;
  Counter idle_buffers;
  Counter responses[6];
};

class IoThread {
 public:
  IoThread(ServerImpl& server, int index);
  ~IoThread();

  // Before Run().
  Status Listen(BoundSocket socket);
  // Serves until Shutdown(). `ready` socket is listening already.
  void Run();

  // Threads: any.
  void Resume(Exchange& exchange);
  void Post(std::function<void()> task);
  const Counters& counters() const { return counters_; }
  std::atomic<uint32_t>& load() { return load_; }

  // Threads: this one only, from here on.
  // False: it was closed before.
  bool CloseAcceptor();
  void BeginDrain();
  // Closes what is not being handled and leaves Run(). Returns how many requests are lost by it.
  uint32_t Shutdown();
  // Destroys the connection when it has ended.
  void Reap(Connection& connection);
  bool IsCurrent() const;  // any thread
  Counters& mutable_counters() { return counters_; }
  ServerImpl& server() { return server_; }
  int index() const { return index_; }
  // Null when the port has no authentication.
  const Credentials* CurrentCredentials();
  // "Sat, 21 Nov 2026 08:00:00 GMT", made once a second.
  std::string_view Date();

 private:
  // Memory for the one resume task that may be queued at a time.
  struct TaskSlot {
    alignas(std::max_align_t) unsigned char bytes[256];
  };
  struct ResumeTask;
  template <typename T>
  struct SlotAllocator;

  void WaitAccept();
  void AcceptSome(int burst);
  void PauseAccept(int error_number);
  void Adopt(UniqueFd fd, std::string remote);
  void ScheduleTick();
  void RunResumed();

  ServerImpl& server_;
  const int index_;
  TaskSlot task_slot_;  // outlives context_, whose queue may hold the task
  boost::asio::io_context context_{1};
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer accept_pause_;
  boost::asio::steady_timer ticker_;
  std::atomic<Exchange*> resumed_{nullptr};  // newest first
  std::atomic<uint32_t> load_{0};            // connections here or on their way here
  Counters counters_;
  uint32_t refused_now_ = 0;
  std::shared_ptr<const Credentials> credentials_;
  uint64_t credentials_version_ = 0;
  int64_t date_second_ = -1;
  std::string date_;
  ConnectionList connections_;
};

}  // namespace forebay::http::internal
