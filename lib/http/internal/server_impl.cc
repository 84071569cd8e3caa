#include "http/internal/server_impl.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "base/thread.h"
#include "http/internal/io_thread.h"
#include "http/internal/tls.h"

namespace forebay::http::internal {
namespace {

constexpr std::chrono::milliseconds kLongestTick{500};
constexpr std::chrono::milliseconds kShortestTick{5};
constexpr uint32_t kMaxIoThreads = 256;

// Timeouts are met with a quarter of the shortest as tolerance, at most half a second.
std::chrono::milliseconds TickFor(const config::Http& limits) {
  const auto shortest = std::min(
      {limits.header_timeout, limits.body_timeout, limits.idle_timeout, limits.write_timeout});
  return std::clamp(shortest / 4, kShortestTick, kLongestTick);
}

}  // namespace

ServerImpl::ServerImpl(ServerOptions options)
    : options_(std::move(options)), tick_(TickFor(options_.limits)) {}

ServerImpl::~ServerImpl() {
  const Status stopped = Stop(std::chrono::steady_clock::now());
  if (!stopped.ok()) LogWarn("HTTP server destroyed while serving", {{"server", options_.name}});
}

Status ServerImpl::Init() {
  FOREBAY_ASSIGN_OR_RETURN(const SecurityPtr security, LoadSecurity(options_.tls, options_.auth));
  UseSecurity(*security);
  FOREBAY_ASSIGN_OR_RETURN(ListenAddress address, ParseListenAddress(options_.listen));
  uint32_t count = options_.limits.io_threads;
  if (count == 0) count = std::max(1u, std::thread::hardware_concurrency());
  count = std::min(count, kMaxIoThreads);
  for (uint32_t i = 0; i < count; ++i) {
    FOREBAY_ASSIGN_OR_RETURN(BoundSocket bound, BindSocket(address, i == 0));
    address.port = port_ = bound.port;
    threads_.push_back(std::make_unique<IoThread>(*this, static_cast<int>(i)));
    sockets_.push_back(std::move(bound));
  }
  return OkStatus();
}

void ServerImpl::Route(std::string_view method, std::string_view path, Handler* handler) {
  FOREBAY_CHECK(!started_ && handler != nullptr);
  PathRoutes& routes = routes_[std::string(path)];
  const bool added = routes.methods.emplace(std::string(method), handler).second;
  FOREBAY_CHECK(added);
  if (method == "GET") routes.methods.emplace("HEAD", handler);
  routes.allow.clear();
  for (const auto& [name, unused] : routes.methods) {
    if (!routes.allow.empty()) routes.allow += ", ";
    routes.allow += name;
  }
}

ServerImpl::Target ServerImpl::Find(std::string_view method, std::string_view path) const {
  Target target;
  const auto routes = routes_.find(path);
  if (routes == routes_.end()) return target;
  const auto found = routes->second.methods.find(method);
  if (found == routes->second.methods.end()) {
    target.status = 405;
    target.allow = routes->second.allow;
    return target;
  }
  target.handler = found->second;
  return target;
}

bool ServerImpl::IsOpenPath(std::string_view path) const {
  return std::find(options_.open_paths.begin(), options_.open_paths.end(), path) !=
         options_.open_paths.end();
}

Status ServerImpl::Start() {
  if (started_) return Error(ErrorCode::kFailedPrecondition, "HTTP server was started before");
  started_ = true;
  for (size_t i = 0; i < threads_.size(); ++i) {
    FOREBAY_RETURN_IF_ERROR(threads_[i]->Listen(std::move(sockets_[i])));
  }
  sockets_.clear();
  {
    const MutexLock lock(mutex_);
    acceptors_open_ = threads_.size();
  }
  for (size_t i = 0; i < threads_.size(); ++i) {
    IoThread* const thread = threads_[i].get();
    running_.push_back(StartThread(fmt::format("{:.10}-{}", options_.name, i),
                                   [thread](std::stop_token) { thread->Run(); }));
  }
  return OkStatus();
}

void ServerImpl::CloseAcceptors() {
  bool on_io_thread = false;
  for (const auto& thread : threads_) {
    IoThread* const io = thread.get();
    on_io_thread = on_io_thread || io->IsCurrent();
    io->Post([this, io] {
      if (!io->CloseAcceptor()) return;
      const MutexLock lock(mutex_);
      --acceptors_open_;
      changed_.NotifyAll();
    });
  }
  // An io thread would wait for itself.
  if (on_io_thread) return;
  const auto deadline = std::chrono::steady_clock::now() + kCloseAcceptorsTimeout;
  MutexLock lock(mutex_);
  while (acceptors_open_ > 0 && changed_.WaitUntil(lock, deadline)) {
  }
}

void ServerImpl::StopAccepting() {
  {
    const MutexLock lock(mutex_);
    if (acceptors_open_ == 0) return;
  }
  CloseAcceptors();
}

Status ServerImpl::Stop(MonotonicTime deadline) {
  if (stopped_) return OkStatus();
  stopped_ = true;
  started_ = true;
  sockets_.clear();
  if (running_.empty()) return OkStatus();
  CloseAcceptors();
  draining_.store(true);
  for (const auto& thread : threads_) {
    IoThread* const io = thread.get();
    io->Post([io] { io->BeginDrain(); });
  }
  {
    MutexLock lock(mutex_);
    while (connections_.load() > 0 && changed_.WaitUntil(lock, deadline)) {
    }
  }
  std::atomic<uint32_t> lost{0};
  for (const auto& thread : threads_) {
    IoThread* const io = thread.get();
    io->Post([io, &lost] { lost += io->Shutdown(); });
  }
  running_.clear();  // joins
  if (lost > 0) {
    return Error(ErrorCode::kDeadlineExceeded,
                 fmt::format("HTTP server {}: {} requests cut", options_.name, lost.load()));
  }
  return OkStatus();
}

void ServerImpl::ConnectionEnded() {
  if (connections_.load() > 0) return;
  const MutexLock lock(mutex_);
  changed_.NotifyAll();
}

IoThread& ServerImpl::LeastLoaded(IoThread& self) const {
  IoThread* best = &self;
  for (const auto& thread : threads_) {
    if (thread->load().load(std::memory_order_relaxed) <
        best->load().load(std::memory_order_relaxed)) {
      best = thread.get();
    }
  }
  return *best;
}

ServerImpl::TlsContext ServerImpl::tls() const {
  const MutexLock lock(mutex_);
  return tls_;
}

std::shared_ptr<const Credentials> ServerImpl::credentials() const {
  const MutexLock lock(mutex_);
  return credentials_;
}

Result<SecurityPtr> LoadSecurity(const config::Tls& tls, const config::Auth& auth) {
  auto security = std::make_shared<Security>();
  if (tls.enabled()) {
    FOREBAY_ASSIGN_OR_RETURN(security->tls, MakeServerContext(tls));
  }
  if (auth.enabled()) {
    FOREBAY_ASSIGN_OR_RETURN(security->credentials, Credentials::Load(auth));
  }
  return SecurityPtr(std::move(security));
}

void ServerImpl::UseSecurity(const Security& security) {
  const MutexLock lock(mutex_);
  tls_ = security.tls;
  credentials_ = security.credentials;
  version_.fetch_add(1, std::memory_order_release);
}

ServerStats ServerImpl::stats() const {
  ServerStats stats;
  stats.connections_open = connections_.load(std::memory_order_relaxed);
  for (const auto& thread : threads_) {
    const Counters& counters = thread->counters();
    stats.connections_accepted += counters.accepted.value();
    stats.connections_refused += counters.refused.value();
    stats.accept_errors += counters.accept_errors.value();
    stats.tls_handshake_failures += counters.tls_failures.value();
    stats.requests += counters.requests.value();
    stats.requests_in_flight += counters.in_flight.value();
    stats.requests_malformed += counters.malformed.value();
    stats.requests_unauthenticated += counters.unauthenticated.value();
    stats.requests_refused_early += counters.refused_early.value();
    stats.requests_abandoned += counters.abandoned.value();
    stats.timeouts += counters.timeouts.value();
    stats.bytes_received += counters.bytes_received.value();
    stats.bytes_sent += counters.bytes_sent.value();
    stats.idle_buffer_bytes += counters.idle_buffers.value();
    for (size_t i = 0; i < std::size(stats.responses); ++i) {
      stats.responses[i] += counters.responses[i].value();
    }
  }
  if (const TlsContext context = tls()) {
    stats.certificate_end = EndOf(::SSL_CTX_get0_certificate(context->native_handle()));
  }
  return stats;
}

}  // namespace forebay::http::internal
