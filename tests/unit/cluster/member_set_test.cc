#include "cluster/member_set.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "cluster/membership.h"

namespace forebay::cluster {
namespace {

MemberSet Pods(int count) {
  std::vector<Member> members;
  for (int i = 0; i < count; ++i) {
    const std::string name = "ingestor-" + std::to_string(i);
    members.push_back({name, name + ":9092"});
  }
  return MemberSet(std::move(members));
}

}  // namespace

TEST_CASE("member set: members are in the order of their names, a name is there once") {
  const MemberSet set({{"b", "1"}, {"a", "2"}, {"b", "3"}});
  REQUIRE(set.members() == std::vector<Member>{{"a", "2"}, {"b", "1"}});
  REQUIRE(set.Find("b")->address == "1");
  REQUIRE(set.Find("c") == nullptr);
}

TEST_CASE("member set: the leader is the least ready member") {
  REQUIRE(MemberSet().Leader() == nullptr);
  const MemberSet set({{"c", ""}, {"b", ""}, {"a", "", false}});
  REQUIRE(set.Leader()->name == "b");
  REQUIRE(set.ready_count() == 2);
}

// Computed with a separate implementation of XXH64 over key + name, greatest score first.
TEST_CASE("member set: owners are those that adx-mon computes") {
  const MemberSet set = Pods(3);
  const auto key = GENERATE(table<std::string, std::string>({
      {"Metrics_Up", "ingestor-2"},
      {"Metrics_HttpRequestsTotal", "ingestor-2"},
      {"Metrics_ContainerCpuUsageSecondsTotal_2cawzsrvl4mw4", "ingestor-2"},
      {"Logs_Kubelet", "ingestor-1"},
      {"Traces_Spans", "ingestor-0"},
      {"A_B", "ingestor-0"},
  }));
  REQUIRE(set.OwnerOf(std::get<0>(key))->name == std::get<1>(key));
}

TEST_CASE("member set: only ready members own") {
  std::vector<Member> members = Pods(3).members();
  const std::string owner = Pods(3).OwnerOf("Metrics_Up")->name;
  for (Member& member : members) member.ready = member.name != owner;
  REQUIRE(MemberSet(members).OwnerOf("Metrics_Up")->name != owner);
  for (Member& member : members) member.ready = false;
  REQUIRE(MemberSet(members).OwnerOf("Metrics_Up") == nullptr);
}

TEST_CASE("member set: those left out own nothing, and nobody else's keys move") {
  const MemberSet set({{"a", "a:1"}, {"b", "b:1"}, {"c", "c:1"}});
  const MemberSet rest({{"a", "a:1"}, {"c", "c:1"}});
  const std::vector<std::string> without = {"b"};
  int moved = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string key = "Metrics_T" + std::to_string(i);
    CHECK(set.OwnerOf(key, without)->name == rest.OwnerOf(key)->name);
    moved += set.OwnerOf(key)->name == "b" ? 1 : 0;
  }
  CHECK(moved > 0);
  const std::vector<std::string> all = {"a", "b", "c"};
  CHECK(set.OwnerOf("Metrics_T", all) == nullptr);
}

TEST_CASE("member set: a member that leaves moves the keys that it owned and no others") {
  const MemberSet five = Pods(5);
  const MemberSet four = Pods(4);
  std::map<std::string, int> owned;
  int moved = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string key = "Metrics_Table" + std::to_string(i);
    const Member* before = five.OwnerOf(key);
    ++owned[before->name];
    if (before->name == "ingestor-4") {
      ++moved;
    } else {
      REQUIRE(four.OwnerOf(key)->name == before->name);
    }
  }
  REQUIRE(moved == owned["ingestor-4"]);
  for (const auto& [name, count] : owned) {
    INFO(name << " owns " << count);
    REQUIRE(count > 300);
    REQUIRE(count < 500);
  }
}

TEST_CASE("membership: a set that differs counts as a change, the same one does not") {
  metrics::Registry registry;
  Membership membership("ingestor-1", registry);
  REQUIRE_FALSE(membership.known());
  REQUIRE(membership.Owns("Metrics_Up"));
  const auto before = membership.Snapshot();
  REQUIRE(membership.Replace(Pods(3)));
  REQUIRE_FALSE(membership.Replace(Pods(3)));
  REQUIRE(membership.changes() == 1);
  REQUIRE(membership.known());
  REQUIRE(before->members().empty());
  REQUIRE_FALSE(membership.IsLeader());
  REQUIRE(membership.Owns("Metrics_Up") == (Pods(3).OwnerOf("Metrics_Up")->name == "ingestor-1"));
  const std::string text = registry.Expose();
  REQUIRE(text.find("forebay_cluster_members{state=\"ready\"} 3") != std::string::npos);
  REQUIRE(text.find("forebay_cluster_changes_total 1") != std::string::npos);
}

TEST_CASE("membership: an empty set that comes first is known and no change") {
  metrics::Registry registry;
  Membership membership("a", registry);
  REQUIRE_FALSE(membership.Replace(MemberSet()));
  REQUIRE(membership.known());
  REQUIRE(membership.Owns("x"));
}

}  // namespace forebay::cluster
