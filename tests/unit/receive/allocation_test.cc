// The receive path allocates nothing in steady state. operator new and realloc (ByteBuffer grows by
// it) are replaced in this test program and count per thread.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <new>

#include "handler_harness.h"
#include "receive/decode_worker.h"

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

using namespace forebay;           // NOLINT
using namespace forebay::receive;  // NOLINT
using namespace forebay::testing;  // NOLINT

TEST_CASE("receive: decoding and appending known series allocates nothing") {
  io::MemoryFileSystem fs;
  HandlerNode node(fs);
  DecodeWorker worker(*node.state);
  StagedWrite staged;
  // One request of each protocol, with what senders put into every request.
  std::string first;
  Request2 second;
  for (int i = 0; i < 60; ++i) {
    const TextLabels labels = {
        {"__name__", "metric_" + std::to_string(i % 7)}, {"n", std::to_string(i)}, {"job", "x"}};
    first += Series1(labels, i);
    second.Add(labels, Sample2(i) + Sample2(i + 1));
  }
  const std::string body1 = HandlerNode::Compress(first);
  const std::string body2 = HandlerNode::Compress(second.Encode());
  auto lease = HandlerNode::Must(node.real_wal->Enter());
  const auto decode = [&](wal::RecordKind kind, const std::string& body) {
    DecodeInput input;
    input.kind = kind;
    input.body = body;
    input.received = {kTime};
    input.generation = lease.sequence();
    const bool ok = worker.Decode(input, staged).ok();
    staged.AppendTo(lease, 0);
    return ok && !staged.anything_refused();
  };
  for (int i = 0; i < 5; ++i) {
    REQUIRE(decode(wal::RecordKind::kRemoteWrite1, body1));
    REQUIRE(decode(wal::RecordKind::kRemoteWrite2, body2));
  }
  bool ok = true;
  const uint64_t before = g_allocations;
  for (int i = 0; i < 20; ++i) {
    ok = decode(wal::RecordKind::kRemoteWrite1, body1) && ok;
    ok = decode(wal::RecordKind::kRemoteWrite2, body2) && ok;
  }
  const uint64_t allocations = g_allocations - before;
  CHECK(ok);
  CHECK(allocations == 0);
  // The counter counts.
  const uint64_t own = g_allocations;
  ByteBuffer buffer(100);
  CHECK(g_allocations == own + 1);
  CHECK(std::make_unique<int>(1) != nullptr);
  CHECK(g_allocations > own + 1);
}

#endif  // FOREBAY_COUNTS_ALLOCATIONS
