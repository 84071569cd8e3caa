#include "base/byte_buffer.h"

#include <random>
#include <string>
#include <utility>

#include <catch2/catch.hpp>

#include "support/death.h"

namespace forebay {
namespace {

TEST_CASE("byte buffer: holds what was appended, over any number of growths") {
  std::mt19937 random(5);
  ByteBuffer buffer;
  std::string expected;
  for (int i = 0; i < 500; ++i) {
    const std::string part(random() % 300, static_cast<char>('a' + i % 26));
    buffer.Append(part);
    buffer.push_back('.');
    expected += part + '.';
    REQUIRE(buffer.size() == expected.size());
  }
  CHECK(buffer.view() == expected);
}

TEST_CASE("byte buffer: an empty one has an empty view and takes nothing for nothing") {
  ByteBuffer buffer;
  buffer.Append("");
  CHECK(buffer.empty());
  CHECK(buffer.view().empty());
  CHECK(buffer.capacity() == 0);
}

TEST_CASE("byte buffer: the writer that asks for a bound keeps only what it wrote") {
  ByteBuffer buffer;
  buffer.Append("ab");
  char* out = buffer.Ensure(1000);
  CHECK(buffer.capacity() >= 1002);
  out[0] = 'c';
  buffer.SetEnd(out + 1);
  CHECK(buffer.view() == "abc");
  buffer.Truncate(1);
  CHECK(buffer.view() == "a");
}

TEST_CASE("byte buffer: clear keeps the memory, so a reused buffer does not allocate") {
  ByteBuffer buffer(100);
  buffer.Append(std::string(5000, 'x'));
  const char* data = buffer.data();
  const size_t capacity = buffer.capacity();
  buffer.clear();
  CHECK(buffer.empty());
  buffer.Append(std::string(5000, 'y'));
  CHECK(buffer.data() == data);
  CHECK(buffer.capacity() == capacity);
}

TEST_CASE("byte buffer: moving takes the bytes and leaves an empty, usable buffer") {
  ByteBuffer first;
  first.Append("abc");
  ByteBuffer second(std::move(first));
  CHECK(second.view() == "abc");
  ByteBuffer third;
  third.Append("old");
  third = std::move(second);
  CHECK(third.view() == "abc");
  second = ByteBuffer();
  second.Append("new");
  CHECK(second.view() == "new");
}

TEST_CASE("byte buffer: truncating to more than there is ends the process") {
  CHECK(test::Dies([] {
    ByteBuffer buffer;
    buffer.Append("abc");
    buffer.Truncate(4);
  }));
}

}  // namespace
}  // namespace forebay
