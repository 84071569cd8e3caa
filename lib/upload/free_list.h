// Objects whose memory is worth keeping, for whoever needs one next: without it each batch takes a
// few MB from the system, which clears them, and gives them back.
// Limits: at most `most` wait here; how large one may be is its maker's business.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace forebay::upload {

// Threads: any. It outlives its loans.
template <typename T>
class FreeList {
 public:
  struct GiveBack {
    void operator()(T* object) const { list->Keep(std::unique_ptr<T>(object)); }
    FreeList* list = nullptr;
  };
  // Comes back by its destructor.
  using Loan = std::unique_ptr<T, GiveBack>;

  explicit FreeList(size_t most) : most_(most) {}

  // The one that came back last, in the state it was left in; a new one when there is none.
  template <typename... Arguments>
  Loan Take(Arguments&&... arguments) {
    {
      MutexLock lock(mutex_);
      if (!free_.empty()) {
        Loan loan(free_.back().release(), GiveBack{this});
        free_.pop_back();
        return loan;
      }
    }
    return Loan(std::make_unique<T>(std::forward<Arguments>(arguments)...).release(),
                GiveBack{this});
  }

 private:
  void Keep(std::unique_ptr<T> object) {
    MutexLock lock(mutex_);
    if (free_.size() < most_) free_.push_back(std::move(object));
  }

  const size_t most_;
  Mutex mutex_;
  std::vector<std::unique_ptr<T>> free_ GUARDED_BY(mutex_);
};

}  // namespace forebay::upload
