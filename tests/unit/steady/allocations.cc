#include "allocations.h"

#include <execinfo.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string_view>

extern "C" {
void* __libc_malloc(size_t bytes);                  // NOLINT
void* __libc_calloc(size_t count, size_t bytes);    // NOLINT
void* __libc_realloc(void* memory, size_t bytes);   // NOLINT
void* __libc_memalign(size_t align, size_t bytes);  // NOLINT
}

namespace forebay::testing {
namespace {

constexpr size_t kTraces = 3;
constexpr int kFrames = 12;  // from the allocator outwards

struct Trace {
  std::array<void*, kFrames> frames{};
  int count = 0;
};

std::atomic<bool> g_counting{false};
std::atomic<uint64_t> g_allocations{0};
std::array<Trace, kTraces> g_traces;
CountedThreads g_threads = CountedThreads::kThis;
thread_local bool t_begun_here = false;
thread_local bool t_tracing = false;  // backtrace may allocate

void Count() {
  if (!g_counting.load(std::memory_order_acquire) || t_tracing) return;
  if (t_begun_here != (g_threads == CountedThreads::kThis)) return;
  const uint64_t number = g_allocations.fetch_add(1);
  if (number >= kTraces) return;
  t_tracing = true;
  g_traces[number].count = ::backtrace(g_traces[number].frames.data(), kFrames);
  t_tracing = false;
}

}  // namespace

void StartCounting(CountedThreads threads) {
  g_threads = threads;
  g_allocations = 0;
  t_begun_here = true;
  // The first call loads a library.
  std::array<void*, 1> frame;
  (void)::backtrace(frame.data(), 1);
  g_counting.store(true, std::memory_order_release);
}

uint64_t StopCounting(uint64_t expected) {
  g_counting.store(false);
  t_begun_here = false;
  const uint64_t allocations = g_allocations;
  if (allocations <= expected) return allocations;
  for (size_t i = 0; i < kTraces && i < allocations; ++i) {
    constexpr std::string_view kTitle = "an allocation came from:\n";
    (void)!::write(STDERR_FILENO, kTitle.data(), kTitle.size());
    ::backtrace_symbols_fd(g_traces[i].frames.data(), g_traces[i].count, STDERR_FILENO);
  }
  return allocations;
}

}  // namespace forebay::testing

// The library's allocators call these, operator new among them.
extern "C" {
void* malloc(size_t bytes) noexcept {  // NOLINT
  forebay::testing::Count();
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) noexcept {  // NOLINT
  forebay::testing::Count();
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) noexcept {  // NOLINT
  forebay::testing::Count();
  return __libc_realloc(memory, bytes);
}
void* aligned_alloc(size_t align, size_t bytes) noexcept {  // NOLINT
  forebay::testing::Count();
  return __libc_memalign(align, bytes);
}
void* memalign(size_t align, size_t bytes) noexcept {  // NOLINT
  forebay::testing::Count();
  return __libc_memalign(align, bytes);
}
int posix_memalign(void** memory, size_t align, size_t bytes) noexcept {  // NOLINT
  forebay::testing::Count();
  *memory = __libc_memalign(align, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}
}
