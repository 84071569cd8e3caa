// std::mutex and friends with clang's thread-safety annotations.
#pragma once

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define FOREBAY_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define FOREBAY_THREAD_ANNOTATION(x)
#endif
// Abseil, which gRPC's headers bring, has the same names with the same meaning.
#undef GUARDED_BY
#undef REQUIRES
#undef EXCLUDES
#undef NO_THREAD_SAFETY_ANALYSIS
#define GUARDED_BY(x) FOREBAY_THREAD_ANNOTATION(guarded_by(x))
#define REQUIRES(...) FOREBAY_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) FOREBAY_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS FOREBAY_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace forebay {

class FOREBAY_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void Lock() FOREBAY_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void Unlock() FOREBAY_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds a Mutex for a scope; CondVar::Wait takes it.
class FOREBAY_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) FOREBAY_THREAD_ANNOTATION(acquire_capability(mutex))
      : lock_(mutex.mutex_) {}
  ~MutexLock() FOREBAY_THREAD_ANNOTATION(release_capability()) = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  // Releases early, and takes the mutex again, within the scope.
  void Unlock() FOREBAY_THREAD_ANNOTATION(release_capability()) { lock_.unlock(); }
  void Lock() FOREBAY_THREAD_ANNOTATION(acquire_capability()) { lock_.lock(); }

 private:
  friend class CondVar;
  std::unique_lock<std::mutex> lock_;
};

// Every wait has a deadline (WaitUntil) or is ended by Stop() of its owner (Wait); predicates are
// loops at the caller, so that the thread-safety analysis sees them.
class CondVar {
 public:
  void Wait(MutexLock& lock) { condition_.wait(lock.lock_); }
  // Returns false when the deadline passed.
  template <typename ClockType, typename Duration>
  bool WaitUntil(MutexLock& lock, std::chrono::time_point<ClockType, Duration> deadline) {
    return condition_.wait_until(lock.lock_, deadline) == std::cv_status::no_timeout;
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace forebay
