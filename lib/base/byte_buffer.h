// A growable buffer of bytes for text and block writers. Unlike std::string and std::vector it
// never zero-fills what it grows by, so a writer may ask for an upper bound, write through the
// pointer and say where it ended. Move-only; clear() keeps the memory, so a reused buffer does not
// allocate. Limits: none of its own; whoever fills it bounds it. Out of memory ends the process, as
// with new.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace forebay {

// Threads: one at a time.
class ByteBuffer {
 public:
  ByteBuffer() = default;
  explicit ByteBuffer(size_t capacity) { reserve(capacity); }
  ByteBuffer(ByteBuffer&& other) noexcept
      : data_(std::move(other.data_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  const char* data() const { return data_.get(); }
  char* data() { return data_.get(); }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {data_.get(), size_}; }

  // Forgets the bytes, keeps the memory. Views and pointers into the buffer are void.
  void clear() { size_ = 0; }

  // Makes the capacity at least `capacity`; never shrinks.
  void reserve(size_t capacity) {
    if (capacity > capacity_) Grow(capacity);
  }

  // Makes room for `extra` bytes behind the last one. Returns where the next byte goes: the caller
  // writes at most `extra` bytes there and tells with SetEnd where it stopped. The bytes are
  // uninitialised. Pointers into the buffer from before are void.
  char* Ensure(size_t extra) {
    if (extra > capacity_ - size_) [[unlikely]] {
      const size_t doubled = capacity_ < kMinCapacity / 2 ? kMinCapacity : capacity_ * 2;
      FOREBAY_CHECK(size_ + extra >= size_);
      Grow(size_ + extra > doubled ? size_ + extra : doubled);
    }
    return data_.get() + size_;
  }

  // Ends the bytes at `end`, which lies between data() and the end of what Ensure gave.
  void SetEnd(const char* end) { size_ = static_cast<size_t>(end - data_.get()); }

  // Drops the bytes from `size` on. `size` must not be above size().
  void Truncate(size_t size) {
    FOREBAY_CHECK(size <= size_);
    size_ = size;
  }

  void Append(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(Ensure(bytes.size()), bytes.data(), bytes.size());
    size_ += bytes.size();
  }

  void push_back(char byte) {
    *Ensure(1) = byte;
    ++size_;
  }

 private:
  struct Free {
    void operator()(char* bytes) const { std::free(bytes); }
  };
  static constexpr size_t kMinCapacity = 256;

  void Grow(size_t capacity) {
    char* bytes = static_cast<char*>(std::realloc(data_.get(), capacity));
    FOREBAY_CHECK(bytes != nullptr);
    (void)data_.release();
    data_.reset(bytes);
    capacity_ = capacity;
  }

  std::unique_ptr<char, Free> data_;  // null until the first byte
  size_t size_ = 0;                   // bytes in use
  size_t capacity_ = 0;               // bytes allocated
};

}  // namespace forebay
