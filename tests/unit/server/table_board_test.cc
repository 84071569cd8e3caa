#include "server/table_board.h"

#include <catch2/catch.hpp>

#include <chrono>
#include <nlohmann/json.hpp>

#include "io/memory_file_system.h"

namespace forebay::server {
namespace {

using nlohmann::json;
using std::chrono::seconds;

struct BoardFixture {
  BoardFixture() {
    REQUIRE(fs.CreateDirectories("segments").ok());
    clock.Advance(seconds(100));
  }
  wal::SegmentInfo Seal(const std::string& table, uint64_t rows, const std::string& hash = "h") {
    wal::SegmentInfo info;
    info.name = {"Metrics", table, hash, ++id};
    info.file_name = *wal::FormatSegmentName(info.name);
    info.rows = rows;
    info.created = UnixMillis{1'793'491'200'000};
    store.Add({info});
    return info;
  }
  json Read(const TableQuery& query) {
    clock.Advance(TableBoard::kMaxAge);
    return json::parse(board.Json(query));
  }
  std::vector<std::string> Names(const TableQuery& query) {
    std::vector<std::string> names;
    const json answer = Read(query);
    for (const json& table : answer.at("tables")) names.push_back(table.at("table"));
    return names;
  }

  io::MemoryFileSystem fs;
  ManualClock clock{UnixMillis{1'793'491'200'000}};
  wal::TableActivity activity{{seconds(1), 100'000}, clock};
  wal::SegmentStore store{fs, clock, "segments", &activity};
  table::TableRegistry tables{100'000};
  metrics::Registry registry;
  cluster::Membership membership{"node-0", registry};
  std::vector<std::string> leaving;
  TableBoard board{{clock, store, activity, tables, membership, [this] { return leaving; }}};
  uint64_t id = 0;
};

using Names_ = std::vector<std::string>;

TEST_CASE_METHOD(BoardFixture, "table board: sorted by rate, by what waits and by name") {
  Seal("Busy", 900);
  Seal("Calm", 100);
  auto lease = store.Take(Seal("Gone", 1000).file_name);
  REQUIRE(store.DeleteSegments({&*lease, 1}).ok());
  CHECK(Names({}) == Names_{"Gone", "Busy", "Calm"});
  CHECK(Names({"", 50, TableOrder::kPending}) == Names_{"Busy", "Calm", "Gone"});
  CHECK(Names({"", 50, TableOrder::kName}) == Names_{"Busy", "Calm", "Gone"});
  const json gone = Read({"gone", 50, TableOrder::kRate}).at("tables")[0];
  CHECK(gone.at("segments") == 0);
  CHECK(gone.at("rows_per_second").get<double>() > 0);
  CHECK_FALSE(gone.contains("oldest"));
  CHECK(Read({"busy", 50, TableOrder::kRate}).at("tables")[0].at("oldest") ==
        "2026-11-01T00:00:00Z");
}

TEST_CASE_METHOD(BoardFixture, "table board: a search looks at database and table, in any case") {
  Seal("HttpRequestsTotal", 1);
  Seal("CpuSeconds", 1);
  CHECK(Names({"hTTPreq", 50, TableOrder::kRate}) == Names_{"HttpRequestsTotal"});
  CHECK(Names({"metrics.c", 50, TableOrder::kRate}) == Names_{"CpuSeconds"});
  const json none = Read({"<script>", 50, TableOrder::kRate});
  CHECK(none.at("matched") == 0);
  CHECK(none.at("total") == 2);
  CHECK(none.at("tables").empty());
}

TEST_CASE_METHOD(BoardFixture, "table board: of very many tables it lists a bounded part") {
  std::vector<wal::SegmentInfo> segments;
  for (uint64_t i = 1; i <= 20'000; ++i) {
    wal::SegmentInfo info;
    info.name = {"Metrics", "Table" + std::to_string(i), "h", i};
    info.file_name = *wal::FormatSegmentName(info.name);
    info.rows = i;
    segments.push_back(std::move(info));
  }
  store.Add(std::move(segments));
  const json answer = Read({"", 1'000'000, TableOrder::kRate});
  CHECK(answer.at("total") == 20'000);
  CHECK(answer.at("matched") == 20'000);
  REQUIRE(answer.at("tables").size() == TableBoard::kMaxTables);
  CHECK(answer.at("tables")[0].at("table") == "Table20000");
  CHECK(Read({"table1999", 50, TableOrder::kRate}).at("matched") == 11);
}

TEST_CASE_METHOD(BoardFixture, "table board: tables that were only seen, or only lie on disk") {
  REQUIRE(tables.Intern("Metrics", "Seen", table::DefaultMetricsSchema()).ok());
  Seal("OnDisk", 5, "");
  const json answer = Read({"", 50, TableOrder::kName});
  REQUIRE(answer.at("tables").size() == 2);
  CHECK(answer.at("tables")[0].at("table") == "OnDisk");
  CHECK(answer.at("tables")[1].at("table") == "Seen");
  // The same table under both is one.
  Seal("Seen", 3, table::DefaultMetricsSchema().hash_text());
  CHECK(Read({"", 50, TableOrder::kName}).at("tables").size() == 2);
}

TEST_CASE_METHOD(BoardFixture, "table board: owners are those of the members that stay") {
  CHECK(board.CountByOwner().empty());
  for (int i = 0; i < 300; ++i) {
    REQUIRE(tables.Intern("Metrics", "T" + std::to_string(i), table::DefaultMetricsSchema()).ok());
  }
  CHECK(board.CountByOwner() == std::map<std::string, uint64_t>{{"node-0", 300}});
  membership.Replace(cluster::MemberSet({{"node-0", "a:1"}, {"node-1", "b:1"}, {"node-2", "c:1"}}));
  auto counts = board.CountByOwner();
  REQUIRE(counts.size() == 3);
  CHECK(counts["node-0"] + counts["node-1"] + counts["node-2"] == 300);
  for (const auto& [member, count] : counts) CHECK(count > 60);
  leaving = {"node-1"};
  counts = board.CountByOwner();
  CHECK(counts.count("node-1") == 0);
  CHECK(counts["node-0"] + counts["node-2"] == 300);
  const json answer = Read({"", 500, TableOrder::kName});
  for (const json& table : answer.at("tables")) {
    const std::string key =
        tables
            .Get(*tables.Find("Metrics_" + table.at("table").get<std::string>() + "_" +
                              table.at("schema").get<std::string>()))
            .key;
    CHECK(table.at("owner") == membership.Snapshot()->OwnerOf(key, leaving)->name);
  }
  // Further tables are counted beside those of before.
  REQUIRE(tables.Intern("Metrics", "Late", table::DefaultMetricsSchema()).ok());
  counts = board.CountByOwner();
  CHECK(counts["node-0"] + counts["node-2"] == 301);
}

TEST_CASE_METHOD(BoardFixture, "table board: what is made is kept for a second") {
  Seal("First", 1);
  CHECK(Read({}).at("total") == 1);
  Seal("Second", 1);
  CHECK(json::parse(board.Json({})).at("total") == 1);
  CHECK(Read({}).at("total") == 2);
}

TEST_CASE_METHOD(BoardFixture, "table board: tables of others that are gone leave it in the end") {
  const auto bring = [this](uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      auto lease = store.Take(Seal("Passing" + std::to_string(i), 1, "").file_name);
      CHECK(Read({"", 1, TableOrder::kRate}).at("total") <= TableBoard::kMaxTables + 3);
      REQUIRE(store.DeleteSegments({&*lease, 1}).ok());
      if (i % 100 == 0) clock.Advance(std::chrono::hours(1));
    }
  };
  bring(TableBoard::kMaxTables + 50);
  Seal("Last", 1);
  CHECK(Names({"last", 50, TableOrder::kRate}) == Names_{"Last"});
}

TEST_CASE("table board: an unknown order is an error that names the known ones") {
  CHECK(*TableBoard::ParseOrder("pending") == TableOrder::kPending);
  const auto wrong = TableBoard::ParseOrder("size");
  REQUIRE_FALSE(wrong.ok());
  CHECK(wrong.error().message() == "sort=size: expected rate, pending or name");
}

}  // namespace
}  // namespace forebay::server
