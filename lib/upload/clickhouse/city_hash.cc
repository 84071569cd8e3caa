// The state of long inputs is 56 bytes, fed 64 bytes at a time; the tail of fewer than 128 bytes is
// read backwards in pieces of 32. Short inputs take a way of their own.
#include "upload/clickhouse/city_hash.h"

#include <bit>
#include <cstring>
#include <utility>

namespace forebay::upload {
namespace {

constexpr uint64_t kMul0 = 0xc3a5c85c97cb3127;
constexpr uint64_t kMul1 = 0xb492b66fbe98f273;
constexpr uint64_t kMul2 = 0x9ae16a3b2f90404f;
constexpr uint64_t kMul3 = 0xc949d7c7509e6557;
constexpr uint64_t kMulPair = 0x9ddfea08eb382d69;

uint64_t Load64(const char* at) {
  uint64_t word = 0;
  std::memcpy(&word, at, sizeof(word));
  return word;
}
uint64_t Load32(const char* at) {
  uint32_t word = 0;
  std::memcpy(&word, at, sizeof(word));
  return word;
}
uint64_t Byte(const char* at) { return static_cast<unsigned char>(*at); }
uint64_t Mix(uint64_t word) { return word ^ (word >> 47); }

// 16 bytes to 8.
uint64_t Fold(uint64_t low, uint64_t high) {
  const uint64_t a = Mix((low ^ high) * kMulPair);
  return Mix((high ^ a) * kMulPair) * kMulPair;
}

uint64_t HashUpTo16(const char* at, size_t size) {
  if (size > 8) {
    const uint64_t first = Load64(at);
    const uint64_t last = Load64(at + size - 8);
    return Fold(first, std::rotr(last + size, static_cast<int>(size))) ^ last;
  }
  if (size >= 4) return Fold(size + (Load32(at) << 3), Load32(at + size - 4));
  if (size == 0) return kMul2;
  const uint64_t y = Byte(at) + (Byte(at + size / 2) << 8);
  const uint64_t z = size + (Byte(at + size - 1) << 2);
  return Mix((y * kMul2) ^ (z * kMul3)) * kMul2;
}

struct Pair {
  uint64_t first = 0;
  uint64_t second = 0;
};

// 32 bytes and two seeds to 16 bytes.
Pair Weak32(const char* at, uint64_t a, uint64_t b) {
  const uint64_t w = Load64(at);
  const uint64_t z = Load64(at + 24);
  a += w;
  b = std::rotr(b + a + z, 21);
  const uint64_t c = a;
  a += Load64(at + 8) + Load64(at + 16);
  b += std::rotr(a, 44);
  return {a + z, b + c};
}

// Below 128 bytes.
Hash128 HashShort(const char* at, size_t size, Hash128 seed) {
  uint64_t a = seed.low;
  uint64_t b = seed.high;
  uint64_t c = 0;
  uint64_t d = 0;
  if (size <= 16) {
    a = Mix(a * kMul1) * kMul1;
    c = b * kMul1 + HashUpTo16(at, size);
    d = Mix(a + (size >= 8 ? Load64(at) : c));
  } else {
    c = Fold(Load64(at + size - 8) + kMul1, a);
    d = Fold(b + size, c + Load64(at + size - 16));
    a += d;
    // All but the last 16 bytes, which are in c and d.
    for (size_t done = 0; done + 16 < size; done += 16, at += 16) {
      a = (a ^ (Mix(Load64(at) * kMul1) * kMul1)) * kMul1;
      b ^= a;
      c = (c ^ (Mix(Load64(at + 8) * kMul1) * kMul1)) * kMul1;
      d ^= c;
    }
  }
  a = Fold(a, c);
  b = Fold(d, b);
  return {a ^ b, Fold(b, a)};
}

// The state of inputs of 128 bytes and more.
struct State {
  uint64_t x, y, z;
  Pair v, w;

  void Feed(const char* at) {
    x = std::rotr(x + y + v.first + Load64(at + 16), 37) * kMul1;
    y = std::rotr(y + v.second + Load64(at + 48), 42) * kMul1;
    x ^= w.second;
    y ^= v.first;
    z = std::rotr(z ^ w.first, 33);
    v = Weak32(at, v.second * kMul1, x + w.first);
    w = Weak32(at + 32, z + w.second, y);
    std::swap(z, x);
  }
};

Hash128 HashLong(const char* at, size_t size, Hash128 seed) {
  State s{seed.low, seed.high, size * kMul1, {}, {}};
  s.v.first = std::rotr(s.y ^ kMul1, 49) * kMul1 + Load64(at);
  s.v.second = std::rotr(s.v.first, 42) * kMul1 + Load64(at + 8);
  s.w.first = std::rotr(s.y + s.z, 35) * kMul1 + s.x;
  s.w.second = std::rotr(s.x + Load64(at + 88), 53) * kMul1;
  for (; size >= 128; size -= 128, at += 128) {
    s.Feed(at);
    s.Feed(at + 64);
  }
  s.y += std::rotr(s.w.first, 37) * kMul0 + s.z;
  s.x += std::rotr(s.v.first + s.z, 49) * kMul0;
  for (size_t done = 0; done < size;) {
    done += 32;
    const char* piece = at + size - done;  // Reaches back into what was fed.
    s.y = std::rotr(s.y - s.x, 42) * kMul0 + s.v.second;
    s.w.first += Load64(piece + 16);
    s.x = std::rotr(s.x, 49) * kMul0 + s.w.first;
    s.w.first += s.v.first;
    s.v = Weak32(piece, s.v.first, s.v.second);
  }
  s.x = Fold(s.x, s.v.first);
  s.y = Fold(s.y, s.w.first);
  return {Fold(s.x + s.v.second, s.w.second) + s.y, Fold(s.x + s.w.second, s.y + s.v.second)};
}

}  // namespace

Hash128 CityHash128(std::string_view bytes) {
  const char* at = bytes.data();
  size_t size = bytes.size();
  Hash128 seed{kMul0, kMul1};
  if (size >= 16) {
    seed = {Load64(at) ^ kMul3, Load64(at + 8)};
    at += 16;
    size -= 16;
  } else if (size >= 8) {
    seed = {Load64(at) ^ (size * kMul0), Load64(at + size - 8) ^ kMul1};
    size = 0;
  }
  return size < 128 ? HashShort(at, size, seed) : HashLong(at, size, seed);
}

}  // namespace forebay::upload
