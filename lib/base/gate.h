// The stop protocol of a component: work enters and leaves, Close() turns new work away and waits
// until what is inside has left. After Seastar's gate. Place: members of every class that serves
// requests or runs tasks for others; Stop(deadline) closes the gate first, then drains, then joins.
// Limits: none of its own; the number inside is bounded by whoever enters.
#pragma once

#include <cstdint>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace forebay {

// Threads: any. The gate must outlive its holders; that is what Close() returning true tells.
class Gate {
 public:
  // One entry; leaves when destroyed. False when the gate was closed.
  class Holder {
   public:
    Holder() = default;
    Holder(Holder&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Holder& operator=(Holder&& other) noexcept {
      if (this != &other) {
        Release();
        gate_ = std::exchange(other.gate_, nullptr);
      }
      return *this;
    }
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    ~Holder() { Release(); }

    explicit operator bool() const { return gate_ != nullptr; }
    // Leaves early; a second call does nothing.
    void Release() {
      if (gate_ != nullptr) std::exchange(gate_, nullptr)->Leave();
    }

   private:
    friend class Gate;
    explicit Holder(Gate* gate) : gate_(gate) {}
    Gate* gate_ = nullptr;
  };

  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate() { FOREBAY_CHECK(inside() == 0); }

  // Returns an entry, or an empty holder when the gate is closed: the caller then refuses the work.
  [[nodiscard]] Holder Hold() EXCLUDES(mutex_) { return Enter() ? Holder(this) : Holder(); }

  // As Hold, for entries that do not follow a scope: each true is answered by one Leave().
  [[nodiscard]] bool Enter() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (closed_) return false;
    ++inside_;
    return true;
  }

  void Leave() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    FOREBAY_CHECK(inside_ > 0);
    // Notified under the lock: the closer cannot see zero, and destroy the gate, before we let go
    // of it.
    if (--inside_ == 0 && closed_) empty_.NotifyAll();
  }

  // Turns new entries away from now on and waits for the last to leave, at most until the deadline.
  // Idempotent: may be called again to wait longer.
  // Returns: true when nobody is inside; false when the deadline passed first.
  [[nodiscard]] bool Close(MonotonicTime deadline) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    closed_ = true;
    while (inside_ != 0) {
      if (!empty_.WaitUntil(lock, deadline)) break;
    }
    return inside_ == 0;
  }

  bool closed() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return closed_;
  }

  uint64_t inside() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return inside_;
  }

 private:
  mutable Mutex mutex_;
  CondVar empty_;
  uint64_t inside_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace forebay
