#include "base/thread.h"

#include <pthread.h>

#include <utility>

namespace forebay {

std::jthread StartThread(std::string name, std::function<void(std::stop_token)> body) {
  return std::jthread([name = std::move(name), body = std::move(body)](std::stop_token stop) {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
    body(std::move(stop));
  });
}

}  // namespace forebay
