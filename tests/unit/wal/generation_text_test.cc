#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "wal/generation.h"

namespace forebay::wal {
namespace {

struct TextFixture {
  TextFixture()
      : pool(4), generation(std::make_shared<Generation>(Generation::Identity{}, 1, pool, [] {})) {}
  void Append(const std::vector<std::string>& rows) {
    std::string text;
    std::vector<uint32_t> ends;
    for (const std::string& row : rows) {
      text += row;
      ends.push_back(static_cast<uint32_t>(text.size()));
    }
    generation->AppendText(0, {7, text, ends});
  }
  std::vector<TextChunk> Chunks() {
    generation->Close();
    return std::move(generation->Take().texts[7].chunks);
  }
  ChunkPool pool;
  std::shared_ptr<Generation> generation;
};

TEST_CASE("generation: rows of text are never cut by a chunk, and none is longer but for one row") {
  TextFixture fixture;
  std::string all;
  std::vector<std::string> rows;
  for (int i = 0; i < 40; ++i) {
    // Some longer than a chunk, some that fill one to the byte.
    const size_t size = i % 13 == 12 ? kTextChunkBytes + 1000
                        : i % 7 == 6 ? kTextChunkBytes
                                     : 10'000 + static_cast<size_t>(i) * 1777;
    rows.push_back(std::string(size - 1, static_cast<char>('a' + i % 26)) + "\n");
    all += rows.back();
  }
  fixture.Append({rows.begin(), rows.begin() + 17});
  for (size_t i = 17; i < rows.size(); ++i) fixture.Append({rows[i]});
  std::string found;
  uint32_t count = 0;
  for (const TextChunk& chunk : fixture.Chunks()) {
    CHECK(chunk.rows > 0);
    CHECK((chunk.text.size() <= kTextChunkBytes || chunk.rows == 1));
    CHECK(chunk.text.view().back() == '\n');
    found += chunk.text.view();
    count += chunk.rows;
  }
  CHECK(count == rows.size());
  CHECK(found == all);
}

TEST_CASE("generation: a table of few rows takes little, chunks beyond the first are reused") {
  TextFixture small;
  small.Append({"a\n"});
  CHECK(small.Chunks().at(0).text.capacity() < 1000);
  ChunkPool pool(1);
  ByteBuffer first = pool.TakeText();
  ByteBuffer second = pool.TakeText();
  CHECK(first.capacity() == kTextChunkBytes);
  const char* memory = first.data();
  pool.GiveText(std::move(first));
  pool.GiveText(std::move(second));  // one too many is freed
  CHECK(pool.TakeText().data() == memory);
  ByteBuffer odd(100);
  pool.GiveText(std::move(odd));
  CHECK(pool.TakeText().capacity() == kTextChunkBytes);
}

}  // namespace
}  // namespace forebay::wal
