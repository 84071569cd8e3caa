#include "upload/adx/network.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <utility>

namespace forebay::upload::adx {
namespace {

constexpr std::chrono::milliseconds kMaxWish{60'000};

Status WaitFor(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any condition;
  std::unique_lock<std::mutex> lock(mutex);
  condition.wait_for(lock, stop, time, [] { return false; });
  if (stop.stop_requested()) {
    return Error(ErrorCode::kCancelled, "stopping").WithRetryable(true);
  }
  return OkStatus();
}

double Random() {
  thread_local std::minstd_rand engine{std::random_device{}()};
  return std::uniform_real_distribution<double>(0.0, 1.0)(engine);
}

}  // namespace

ClientPool::ClientPool(http::ClientOptions options) : options_(std::move(options)) {}

Result<http::ClientResponse> ClientPool::Do(const http::ClientRequest& request) {
  std::unique_ptr<http::Client> client;
  {
    MutexLock lock(mutex_);
    if (!idle_.empty()) {
      client = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (client == nullptr) {
    FOREBAY_ASSIGN_OR_RETURN(client, http::Client::Create(options_));
  }
  auto response = client->Do(request);
  MutexLock lock(mutex_);
  if (idle_.size() < kMaxIdleClients) idle_.push_back(std::move(client));
  return response;
}

Network MakeNetwork(const http::ClientOptions& options, const Clock& clock) {
  auto pool = std::make_shared<ClientPool>(options);
  return Network{[pool](const http::ClientRequest& request) { return pool->Do(request); }, &WaitFor,
                 &Random, clock};
}

std::chrono::milliseconds RetryRule::Delay(int failed, double random,
                                           std::optional<std::chrono::milliseconds> wish) const {
  std::chrono::milliseconds wait = first;
  for (int i = 1; i < failed && wait < most; ++i) wait *= 2;
  wait = std::min(wait, most);
  wait += std::chrono::milliseconds(
      static_cast<int64_t>(static_cast<double>(wait.count()) * random / 2));
  return wish ? std::max(wait, std::min(*wish, kMaxWish)) : wait;
}

}  // namespace forebay::upload::adx
