#include "table/series_id.h"

#include <xxhash.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace forebay::table {
namespace {

TEST_CASE("series id: known xxhash64 values") {
  CHECK(SeriesId({}) == static_cast<int64_t>(0xef46db3751d8e999));
  const std::vector<Label> one = {{"a", "bc"}};
  CHECK(SeriesId(one) == 0x44bc2cf5ad770999);
  // Names and values stand one after the other without separators.
  const std::vector<Label> other = {{"a", "b"}, {"c", ""}};
  CHECK(SeriesId(other) == 0x44bc2cf5ad770999);
}

TEST_CASE("series id: the bits are signed, as the column is") {
  const std::vector<Label> labels = {{"a", ""}};
  CHECK(SeriesId(labels) == static_cast<int64_t>(0xd24ec4f1a98c6e5b));
  CHECK(SeriesId(labels) < 0);
}

TEST_CASE("series id: short and long label sets hash alike, whatever way is taken") {
  for (size_t bytes = 1000; bytes <= 1050; ++bytes) {
    const std::string value(bytes, 'v');
    const std::vector<Label> labels = {{"__name__", "up"}, {"z", value}};
    const std::string joined = "__name__upz" + value;
    CHECK(SeriesId(labels) == static_cast<int64_t>(XXH64(joined.data(), joined.size(), 0)));
  }
}

TEST_CASE("series id: texts of any length are hashed one after the other") {
  for (size_t bytes = 0; bytes <= 80; ++bytes) {
    std::string name;
    for (size_t i = 0; i < bytes; ++i) name += static_cast<char>('0' + i);
    const std::string value = name + "v";
    const std::vector<Label> labels = {{name, value}, {"z", "1"}};
    const std::string joined = name + value + "z1";
    CHECK(SeriesId(labels) == static_cast<int64_t>(XXH64(joined.data(), joined.size(), 0)));
  }
}

}  // namespace
}  // namespace forebay::table
