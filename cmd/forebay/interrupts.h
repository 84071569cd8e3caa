// SIGINT and SIGTERM as a stop token, for commands that take long. They are taken by a thread that
// waits for them, since nothing useful may be done in a handler.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <stop_token>
#include <thread>

#include "base/thread.h"

namespace forebay::cmd {

class InterruptWatch {
 public:
  InterruptWatch() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    thread_ = StartThread("signals", [this](const std::stop_token& done) {
      const timespec wait{0, 100'000'000};
      while (!done.stop_requested()) {
        if (sigtimedwait(&signals_, nullptr, &wait) > 0) stop_.request_stop();
      }
    });
  }
  ~InterruptWatch() {
    thread_ = {};
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;
  std::stop_token token() const { return stop_.get_token(); }

 private:
  sigset_t signals_;
  sigset_t before_;
  std::stop_source stop_;
  std::jthread thread_;
};

}  // namespace forebay::cmd
