// What the clients of Azure Data Explorer need of the world: a way to send a request, time, and a
// wait that ends when the process stops. A seam of functions, so that tests script it. Limits: the
// pool keeps kMaxIdleClients connections' clients; each request has the pool's time limit.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "http/client.h"

namespace forebay::upload::adx {

inline constexpr size_t kMaxIdleClients = 32;

struct Network {
  std::function<Result<http::ClientResponse>(const http::ClientRequest&)> send;
  // Waits. Errors: kCancelled when a stop was asked for.
  std::function<Status(std::chrono::milliseconds, const std::stop_token&)> wait;
  // Uniform in [0, 1).
  std::function<double()> random;
  const Clock& clock;
};

// Blocking clients that are handed out to one thread at a time. Threads: any.
class ClientPool {
 public:
  explicit ClientPool(http::ClientOptions options);
  Result<http::ClientResponse> Do(const http::ClientRequest& request) EXCLUDES(mutex_);

 private:
  const http::ClientOptions options_;
  Mutex mutex_;
  std::vector<std::unique_ptr<http::Client>> idle_ GUARDED_BY(mutex_);
};

// The real network. The clock outlives it.
Network MakeNetwork(const http::ClientOptions& options, const Clock& clock);

// Waits before a repeated try.
struct RetryRule {
  std::chrono::milliseconds first{1000};  // doubled each time, with jitter of half of it on top
  std::chrono::milliseconds most{30'000};
  int tries = 5;  // in all

  // Before the try after `failed` ones (1 for the first). wish: of the server, cut to 60 s.
  std::chrono::milliseconds Delay(int failed, double random,
                                  std::optional<std::chrono::milliseconds> wish) const;
};

}  // namespace forebay::upload::adx
