#include "http/internal/io_thread.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <ctime>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "http/internal/connection.h"

namespace forebay::http::internal {

namespace asio = boost::asio;

namespace {
thread_local const IoThread* t_current = nullptr;
}  // namespace

// Hands out the io thread's one slot. At most one task is queued at a time: it is posted when the
// list of resumed exchanges turns from empty, and the loop frees the slot before it runs the task.
template <typename T>
struct IoThread::SlotAllocator {
  using value_type = T;
  explicit SlotAllocator(TaskSlot& s) : slot(&s) {}
  template <typename U>
  SlotAllocator(const SlotAllocator<U>& other) : slot(other.slot) {}  // NOLINT
  T* allocate(size_t n) {
    FOREBAY_CHECK(n * sizeof(T) <= sizeof(slot->bytes));
    return reinterpret_cast<T*>(slot->bytes);
  }
  void deallocate(T*, size_t) {}
  template <typename U>
  bool operator==(const SlotAllocator<U>& other) const {
    return slot == other.slot;
  }
  template <typename U>
  bool operator!=(const SlotAllocator<U>& other) const {
    return slot != other.slot;
  }
  TaskSlot* slot;
};

struct IoThread::ResumeTask {
  using allocator_type = SlotAllocator<void>;
  allocator_type get_allocator() const { return allocator_type(thread->task_slot_); }
  void operator()() const { thread->RunResumed(); }
  IoThread* thread;
};

IoThread::IoThread(ServerImpl& server, int index)
    : server_(server),
      index_(index),
      acceptor_(context_),
      accept_pause_(context_),
      ticker_(context_) {}

IoThread::~IoThread() = default;

bool IoThread::IsCurrent() const { return t_current == this; }

Status IoThread::Listen(BoundSocket socket) {
  if (::listen(socket.fd.get(), SOMAXCONN) != 0) return ErrnoError(errno, "listen");
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (::getsockname(socket.fd.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return ErrnoError(errno, "getsockname");
  }
  boost::system::error_code failure;
  acceptor_.assign(bound.ss_family == AF_INET6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4(),
                   socket.fd.get(), failure);
  if (failure) return Error(ErrorCode::kIo, "listening socket: " + failure.message());
  socket.fd.Release();
  return OkStatus();
}

void IoThread::Run() {
  t_current = this;
  const auto guard = asio::make_work_guard(context_);
  WaitAccept();
  ScheduleTick();
  context_.run();
}

void IoThread::WaitAccept() {
  if (!acceptor_.is_open()) return;
  acceptor_.async_wait(asio::socket_base::wait_read,
                       [this](const boost::system::error_code& error) {
                         if (!error) AcceptSome(kAcceptBurst);
                       });
}

// Goes back to waiting unless the socket is closed or out of descriptors.
void IoThread::AcceptSome(int burst) {
  if (!acceptor_.is_open()) return;
  for (int i = 0; i < burst; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof(peer);
    UniqueFd fd(::accept4(acceptor_.native_handle(), reinterpret_cast<sockaddr*>(&peer), &size,
                          SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.get() < 0) {
      const int number = errno;
      if (number == EAGAIN || number == EWOULDBLOCK) break;
      // The client is gone again, or its network is.
      if (number == EINTR || number == ECONNABORTED || number == EPROTO || number == ENETDOWN ||
          number == EHOSTUNREACH || number == ENETUNREACH || number == ETIMEDOUT) {
        continue;
      }
      return PauseAccept(number);
    }
    counters_.accepted.Add();
    std::string remote = FormatAddress(reinterpret_cast<const sockaddr*>(&peer));
    IoThread& target = server_.LeastLoaded(*this);
    target.load_.fetch_add(1, std::memory_order_relaxed);
    if (&target == this) {
      Adopt(std::move(fd), std::move(remote));
    } else {
      auto shared = std::make_shared<UniqueFd>(std::move(fd));
      target.Post([&target, shared, remote] { target.Adopt(std::move(*shared), remote); });
    }
  }
  WaitAccept();
}

void IoThread::PauseAccept(int error_number) {
  counters_.accept_errors.Add();
  LogWarn("cannot accept connections", {{"server", server_.options().name},
                                        {"reason", ErrnoError(error_number, "accept").message()}});
  accept_pause_.expires_after(kAcceptPause);
  accept_pause_.async_wait([this](const boost::system::error_code& error) {
    if (!error) WaitAccept();
  });
}

void IoThread::Adopt(UniqueFd fd, std::string remote) {
  // Local sockets of a dual-stack listener are IPv6 ones; asio needs the family for nothing else.
  sockaddr_storage local{};
  socklen_t size = sizeof(local);
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&local), &size);
  asio::ip::tcp::socket socket(context_);
  boost::system::error_code failure;
  socket.assign(local.ss_family == AF_INET6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4(), fd.get(),
                failure);
  if (failure) {
    load_.fetch_sub(1, std::memory_order_relaxed);
    counters_.accept_errors.Add();
    return;
  }
  fd.Release();
  const uint32_t open = server_.connections().fetch_add(1, std::memory_order_relaxed) + 1;
  const uint32_t limit = server_.options().limits.max_connections;
  connections_.push_front(
      std::make_unique<Connection>(*this, std::move(socket), std::move(remote), server_.tls()));
  Connection& connection = *connections_.front();
  connection.position = connections_.begin();
  if (server_.draining()) {
    connection.Cut();
  } else if (open > limit) {
    counters_.refused.Add();
    if (++refused_now_ > kMaxRefusedAtOnce) {
      connection.RefuseSilently();
    } else {
      connection.StartRefused();
    }
  } else {
    connection.Start();
  }
  Reap(connection);
}

void IoThread::Reap(Connection& connection) {
  if (!connection.ended()) return;
  if (connection.refused()) --refused_now_;
  connections_.erase(connection.position);
  load_.fetch_sub(1, std::memory_order_relaxed);
  server_.connections().fetch_sub(1, std::memory_order_relaxed);
  if (server_.draining()) server_.ConnectionEnded();
}

void IoThread::Post(std::function<void()> task) { asio::post(context_, std::move(task)); }

void IoThread::Resume(Exchange& exchange) {
  Exchange* newest = resumed_.load(std::memory_order_relaxed);
  do {
    exchange.resume_next_ = newest;
  } while (!resumed_.compare_exchange_weak(newest, &exchange, std::memory_order_acq_rel,
                                           std::memory_order_relaxed));
  if (newest == nullptr) asio::post(context_, ResumeTask{this});
}

void IoThread::RunResumed() {
  Exchange* newest = resumed_.exchange(nullptr, std::memory_order_acq_rel);
  Exchange* oldest = nullptr;
  while (newest != nullptr) {
    oldest = std::exchange(newest, std::exchange(newest->resume_next_, oldest));
  }
  while (oldest != nullptr) {
    Exchange& exchange = *oldest;
    oldest = exchange.resume_next_;
    const auto fn = exchange.resume_fn_;
    void* const argument = exchange.resume_argument_;
    exchange.resume_pending_.store(false, std::memory_order_release);
    fn(argument);
  }
}

void IoThread::ScheduleTick() {
  ticker_.expires_after(server_.tick());
  ticker_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    const MonotonicTime now = std::chrono::steady_clock::now();
    for (auto it = connections_.begin(); it != connections_.end();) {
      Connection& connection = **it++;
      connection.Tick(now);
      Reap(connection);
    }
    ScheduleTick();
  });
}

bool IoThread::CloseAcceptor() {
  if (!acceptor_.is_open()) return false;
  // What the kernel has accepted for us would be reset; it is served instead.
  boost::system::error_code ignored;
  acceptor_.cancel(ignored);
  AcceptSome(SOMAXCONN);
  acceptor_.close(ignored);
  accept_pause_.cancel();
  return true;
}

void IoThread::BeginDrain() {
  for (auto it = connections_.begin(); it != connections_.end();) {
    Connection& connection = **it++;
    connection.Drain();
    Reap(connection);
  }
}

uint32_t IoThread::Shutdown() {
  uint32_t lost = 0;
  for (auto it = connections_.begin(); it != connections_.end();) {
    Connection& connection = **it++;
    lost += connection.Cut() ? 1 : 0;
    Reap(connection);
  }
  context_.stop();
  return lost;
}

const Credentials* IoThread::CurrentCredentials() {
  const uint64_t version = server_.credentials_version();
  if (version != credentials_version_) {
    credentials_ = server_.credentials();
    credentials_version_ = version;
  }
  return credentials_.get();
}

std::string_view IoThread::Date() {
  const std::time_t now = std::time(nullptr);
  if (now != date_second_) {
    static constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed",
                                                         "Thu", "Fri", "Sat"};
    static constexpr std::array<const char*, 12> kMonths = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    date_ = fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                        kDays[static_cast<size_t>(utc.tm_wday)], utc.tm_mday,
                        kMonths[static_cast<size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                        utc.tm_min, utc.tm_sec);
    date_second_ = now;
  }
  return date_;
}

}  // namespace forebay::http::internal
