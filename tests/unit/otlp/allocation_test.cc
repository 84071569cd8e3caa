// Decoding OTLP allocates nothing in steady state. operator new and realloc (ByteBuffer grows by
// it) are replaced in this test program and count per thread.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <new>

#include "worker_harness.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FOREBAY_COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FOREBAY_COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef FOREBAY_COUNTS_ALLOCATIONS
#define FOREBAY_COUNTS_ALLOCATIONS 1
#endif

#if FOREBAY_COUNTS_ALLOCATIONS

namespace {
thread_local uint64_t g_allocations = 0;

void* Allocate(size_t bytes) {
  ++g_allocations;
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) std::abort();
  return memory;
}
}  // namespace

void* operator new(size_t bytes) { return Allocate(bytes); }
void* operator new[](size_t bytes) { return Allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

extern "C" void* __libc_realloc(void* memory, size_t bytes);     // NOLINT
extern "C" void* realloc(void* memory, size_t bytes) noexcept {  // NOLINT
  ++g_allocations;
  return __libc_realloc(memory, bytes);
}

namespace forebay {
namespace {

using namespace testing::otlp_wire;  // NOLINT: the builders are what these tests are written in
using otlp::Signal;
using testing::WorkerHarness;

TEST_CASE("otlp: decoding what tables and series are known for allocates nothing") {
  auto config = WorkerHarness::DefaultConfig();
  config.otlp.logs.lift_attributes = {{"host.name", ""}};
  config.otlp.logs.columns = "full";
  WorkerHarness node(config);
  const std::string resource =
      Attribute(1, "service.name", Text("shop")) + Attribute(1, "host.name", Text("h"));
  std::string logs;
  std::string spans;
  std::string points;
  for (int i = 0; i < 60; ++i) {
    const std::string number = std::to_string(i);
    const std::string table = Attribute(6, "kusto.table", Text(i % 3 == 0 ? "Odd" : "Even"));
    logs += Record(Fixed64(1, kNanos + static_cast<uint64_t>(i)) +
                   Bytes(5, Text("line \"" + number + "\"\n")) + table +
                   Attribute(6, "map", Bytes(6, Attribute(1, "k", Int(i)))));
    spans += Record(Fixed64(7, kNanos) + Bytes(5, "work") + Attribute(9, "n", Int(i)) +
                    Bytes(11, Bytes(2, "event") + Attribute(3, "a", Text("b"))));
    points += Bytes(1, Fixed64(3, kNanos) + Double(4, i) + Attribute(7, "n", Int(i)));
  }
  const std::string metrics = Record(Bytes(1, "m") + Bytes(5, points));
  const std::string bodies[] = {Request(resource, metrics, Bytes(1, "lib")),
                                Request(resource, logs, Bytes(1, "lib")),
                                Request(resource, spans, Bytes(1, "lib"))};
  const auto decode = [&] {
    bool good = true;
    for (size_t s = 0; s < 3; ++s) {
      good = good && node.Decode(static_cast<Signal>(s), bodies[s]).ok() &&
             !node.staged.anything_refused();
    }
    return good;
  };
  for (int i = 0; i < 5; ++i) REQUIRE(decode());
  const uint64_t before = g_allocations;
  const bool good = decode();
  const uint64_t during = g_allocations - before;
  CHECK(good);
  CHECK(during == 0);
  // The counter counts.
  const uint64_t own = g_allocations;
  CHECK(std::make_unique<int>(1) != nullptr);
  CHECK(g_allocations > own);
}

}  // namespace
}  // namespace forebay

#endif
