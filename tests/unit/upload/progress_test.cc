#include "upload/progress.h"

#include <catch2/catch.hpp>

#include <chrono>
#include <optional>

namespace forebay::upload {
namespace {

TEST_CASE("progress board: shows deliveries while they run, oldest first") {
  ManualClock clock{UnixMillis{0}};
  ProgressBoard board(clock);
  CHECK(board.Snapshot().empty());
  std::optional<ProgressBoard::Delivery> first(std::in_place, board, "batch-1", "lake", 1000);
  clock.Advance(std::chrono::seconds(3));
  ProgressBoard::Delivery second(board, "batch-1", "archive", 1000);
  first->read_bytes().store(400);
  second.read_bytes().store(7000);  // More than there is: a damaged place was read twice.
  auto list = board.Snapshot();
  REQUIRE(list.size() == 2);
  CHECK(list[0].batch == "batch-1");
  CHECK(list[0].sink == "lake");
  CHECK(list[0].read_bytes == 400);
  CHECK(list[0].total_bytes == 1000);
  CHECK(list[0].seconds == 3);
  CHECK(list[1].read_bytes == 1000);
  CHECK(list[1].seconds == 0);
  first.reset();
  list = board.Snapshot();
  REQUIRE(list.size() == 1);
  CHECK(list[0].sink == "archive");
}

}  // namespace
}  // namespace forebay::upload
