// Named threads. Every thread of the daemon is a std::jthread started here, and joined by its
// owner.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <thread>

namespace forebay {

// Starts a thread whose name in ps, gdb and /proc is `name` (15 characters at most).
std::jthread StartThread(std::string name, std::function<void(std::stop_token)> body);

}  // namespace forebay
