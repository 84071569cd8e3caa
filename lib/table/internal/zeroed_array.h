// A fixed array of zeroes that asks for huge pages when it is large: a look-up in 8 MB of small
// pages misses the TLB nearly every time, which costs more than the miss of the cache (measured: 40
// ns of a look-up's 60, 100000 series).
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>

namespace forebay::table::internal {

inline constexpr size_t kHugePageBytes = 2U << 20;

// T: all bits zero is a value of it, and it needs no destructor. Memory: that of the elements,
// rounded up to huge pages when they fill one. Errors: std::bad_alloc. Threads: as T's.
template <typename T>
class ZeroedArray {
 public:
  explicit ZeroedArray(size_t size) : bytes_(size * sizeof(T)) {
    if (bytes_ >= kHugePageBytes) {
      bytes_ = (bytes_ + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    }
    // One page more than needed, so that a part of it begins at a huge page.
    const size_t slack = bytes_ >= kHugePageBytes ? kHugePageBytes : 0;
    void* const mapped =
        mmap(nullptr, bytes_ + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    auto* begin = static_cast<char*>(mapped);
    if (slack != 0) {
      const size_t over = reinterpret_cast<uintptr_t>(begin) % kHugePageBytes;
      const size_t head = over == 0 ? 0 : kHugePageBytes - over;
      if (head != 0) (void)munmap(begin, head);
      begin += head;
      if (slack != head) (void)munmap(begin + bytes_, slack - head);
      // Without it all works, at another speed.
      (void)madvise(begin, bytes_, MADV_HUGEPAGE);
    }
    data_ = reinterpret_cast<T*>(begin);
  }
  ZeroedArray(const ZeroedArray&) = delete;
  ZeroedArray& operator=(const ZeroedArray&) = delete;
  ~ZeroedArray() { (void)munmap(data_, bytes_); }

  T& operator[](size_t i) const { return data_[i]; }

 private:
  size_t bytes_;
  T* data_;
};

}  // namespace forebay::table::internal
