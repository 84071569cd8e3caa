#include "cluster/pods.h"

#include <catch2/catch.hpp>
#include <string>

namespace forebay::cluster {
namespace {

// A pod as the API writes it, with what the tests vary.
std::string PodJson(const std::string& metadata, const std::string& status) {
  return R"({"metadata":{"name":"forebay-0","namespace":"monitoring","resourceVersion":"812",)"
         R"("ownerReferences":[{"kind":"StatefulSet","name":"forebay","controller":true}])" +
         metadata + R"(},"spec":{"nodeName":"n1"},"status":)" + status + "}";
}

const std::string kRunning =
    R"({"phase":"Running","podIP":"10.1.2.3","conditions":[{"type":"Initialized","status":"True"},)"
    R"({"type":"Ready","status":"True"}]})";

std::string Event(const std::string& type, const std::string& object) {
  return R"({"type":")" + type + R"(","object":)" + object + "}";
}

}  // namespace

TEST_CASE("pods: a list gives each pod's name, address, owner and readiness") {
  const std::string json =
      R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"900","continue":"xyz"},"items":[)" +
      PodJson("", kRunning) + "," +
      PodJson(R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")", kRunning) + "," +
      PodJson(R"(,"annotations":{"shutdown-requested":"","other":"x"})", R"({"phase":"Pending"})") +
      "]}";
  const auto page = ParsePodList(json);
  REQUIRE(page.ok());
  REQUIRE(page->resource_version == "900");
  REQUIRE(page->continue_token == "xyz");
  REQUIRE(page->pods.size() == 3);
  REQUIRE(page->pods[0].name == "forebay-0");
  REQUIRE(page->pods[0].ip == "10.1.2.3");
  REQUIRE(page->pods[0].stateful_set == "forebay");
  REQUIRE(page->pods[0].ready);
  REQUIRE_FALSE(page->pods[0].shutdown_requested);
  REQUIRE_FALSE(page->pods[1].ready);
  REQUIRE_FALSE(page->pods[2].ready);
  REQUIRE(page->pods[2].shutdown_requested);
  REQUIRE_FALSE(MemberOf(page->pods[2], 9092).has_value());
}

TEST_CASE("pods: a pod is ready only when it runs and its Ready condition is true") {
  const auto ready = [](const std::string& status) {
    return ParseWatchEvent(Event("MODIFIED", PodJson("", status)))->pod.ready;
  };
  REQUIRE(ready(kRunning));
  REQUIRE_FALSE(ready(R"({"phase":"Running","podIP":"10.1.2.3"})"));
  REQUIRE_FALSE(ready(R"({"phase":"Failed","conditions":[{"type":"Ready","status":"True"}]})"));
  REQUIRE_FALSE(ready(R"({"phase":"Running","conditions":[{"type":"Ready","status":"False"}]})"));
  REQUIRE_FALSE(ready(R"({"phase":"Running","conditions":[{"type":"Ready","status":"Unknown"}]})"));
}

TEST_CASE("pods: events of a watch") {
  using Kind = WatchEvent::Kind;
  REQUIRE(ParseWatchEvent(Event("ADDED", PodJson("", kRunning)))->kind == Kind::kChanged);
  const auto deleted = ParseWatchEvent(Event("DELETED", PodJson("", kRunning)));
  REQUIRE(deleted->kind == Kind::kDeleted);
  REQUIRE(deleted->pod.name == "forebay-0");
  REQUIRE(deleted->resource_version == "812");
  const auto bookmark =
      ParseWatchEvent(Event("BOOKMARK", R"({"kind":"Pod","metadata":{"resourceVersion":"999"}})"));
  REQUIRE(bookmark->kind == Kind::kBookmark);
  REQUIRE(bookmark->resource_version == "999");
  const auto gone = ParseWatchEvent(Event(
      "ERROR",
      R"({"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"})"));
  REQUIRE(gone->kind == Kind::kGone);
  REQUIRE(gone->message == "410 Expired: too old resource version");
  REQUIRE(ParseWatchEvent(Event("ERROR", R"({"kind":"Status","code":500})"))->kind == Kind::kError);
}

TEST_CASE("pods: what is not the API's answer is an error that says so") {
  for (const std::string& text :
       {std::string(""), std::string("<html>"), std::string("[]"), std::string("{}"),
        std::string(R"({"kind":"PodList","metadata":{}})"),
        std::string(R"({"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[{}]})")}) {
    INFO(text);
    REQUIRE(ParsePodList(text).error().code() == ErrorCode::kInvalidArgument);
  }
  for (const std::string& text :
       {std::string(""), std::string(R"({"type":"ADDED"})"), Event("ADDED", "{}"),
        Event("BOOKMARK", R"({"metadata":{}})"), Event("NEW", PodJson("", kRunning))}) {
    INFO(text);
    REQUIRE(ParseWatchEvent(text).error().code() == ErrorCode::kInvalidArgument);
  }
}

TEST_CASE("pods: a list without items is empty") {
  const auto page =
      ParsePodList(R"({"kind":"PodList","metadata":{"resourceVersion":"5"},"items":null})");
  REQUIRE(page.ok());
  REQUIRE(page->pods.empty());
}

TEST_CASE("pods: a member's address has an IPv6 address in brackets") {
  Pod pod;
  pod.name = "a";
  pod.ip = "fd00::7";
  pod.ready = true;
  REQUIRE(*MemberOf(pod, 9092) == Member{"a", "[fd00::7]:9092", true});
  pod.ip = "10.0.0.7";
  REQUIRE(MemberOf(pod, 1)->address == "10.0.0.7:1");
}

TEST_CASE("pods: the text of a Status object is its reason and message") {
  REQUIRE(StatusText(R"({"kind":"Status","reason":"Forbidden","message":"no"})") ==
          "Forbidden: no");
  REQUIRE(StatusText("bad gateway") == "bad gateway");
}

}  // namespace forebay::cluster
