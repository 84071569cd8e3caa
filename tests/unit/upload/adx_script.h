// A network whose answers a test writes down, with a clock that waits move.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "upload/adx/network.h"

namespace forebay::upload::adx::testing {

struct SentRequest {
  std::string method;
  std::string url;
  http::HeaderList headers;
  std::string body;

  std::string Header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (http::EqualsIgnoreCase(key, name)) return value;
    }
    return {};
  }
};

class Script {
 public:
  using Answer = std::function<Result<http::ClientResponse>(const SentRequest&)>;

  // Answers every request; may be called from several threads, one at a time.
  explicit Script(Answer answer = {}) : answer_(std::move(answer)) {}

  void set_answer(Answer answer) { answer_ = std::move(answer); }
  // Answered in this order before the function is asked.
  void Push(int status, std::string body = "", http::HeaderList headers = {}) {
    pushed_.push_back(http::ClientResponse{status, std::move(headers), std::move(body)});
  }
  void PushError(ErrorCode code) { pushed_.push_back(Error(code, "scripted")); }

  Network network() {
    return Network{[this](const http::ClientRequest& request) { return Send(request); },
                   [this](std::chrono::milliseconds time, const std::stop_token& stop) -> Status {
                     const std::lock_guard<std::mutex> lock(mutex_);
                     waits.push_back(time);
                     clock.Advance(time);
                     if (stop.stop_requested()) return Error(ErrorCode::kCancelled, "stopping");
                     return OkStatus();
                   },
                   [] { return 0.0; }, clock};
  }

  ManualClock clock{UnixMillis{1'793'577'600'000}};  // 2026-11-02T00:00:00Z
  std::vector<SentRequest> sent;
  std::vector<std::chrono::milliseconds> waits;

 private:
  Result<http::ClientResponse> Send(const http::ClientRequest& request) {
    const std::lock_guard<std::mutex> lock(mutex_);
    sent.push_back({request.method, request.url, request.headers,
                    std::string(request.body.begin(), request.body.end())});
    if (!pushed_.empty()) {
      auto answer = std::move(pushed_.front());
      pushed_.pop_front();
      return answer;
    }
    if (answer_) return answer_(sent.back());
    return Error(ErrorCode::kUnavailable, "nothing is scripted");
  }

  std::mutex mutex_;
  Answer answer_;
  std::deque<Result<http::ClientResponse>> pushed_;
};

inline http::ClientResponse Ok(std::string body) { return {200, {}, std::move(body)}; }

}  // namespace forebay::upload::adx::testing
