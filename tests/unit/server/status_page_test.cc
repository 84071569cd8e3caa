#include "server/status_page.h"

#include <catch2/catch.hpp>

#include <string>

#include "base/mutex.h"
#include "server/housekeeper.h"

namespace forebay::server {
namespace {

std::string HeaderOf(const http::Response& response, const std::string& wanted) {
  for (const auto& [name, value] : response.headers) {
    if (name == wanted) return value;
  }
  return {};
}

TEST_CASE("status page: one document that names no other host and holds no second script") {
  const http::Response page = StatusPage(http::RequestHead::Make("GET", "/status"));
  CHECK(page.status == 200);
  CHECK(page.body.starts_with("<!doctype html>"));
  CHECK(page.body.find("{{") == std::string::npos);
  size_t scripts = 0;
  for (size_t at = 0; (at = page.body.find("</script", at)) != std::string::npos; ++at) ++scripts;
  CHECK(scripts == 1);
  CHECK(page.body.find("src=") == std::string::npos);
  CHECK(page.body.find("https://") == std::string::npos);
  CHECK(page.body.find(" style=") == std::string::npos);  // The policy would leave it out.
  CHECK(page.body.find("innerHTML") == std::string::npos);
  CHECK(page.body.size() < 64 * 1024);
}

TEST_CASE(
    "status page: its policy allows its own script and style by hash, and the node's answers") {
  const http::Response page = StatusPage(http::RequestHead::Make("GET", "/status"));
  const std::string policy = HeaderOf(page, "Content-Security-Policy");
  CHECK(policy.starts_with("default-src 'none'; connect-src 'self';"));
  CHECK(policy.find("unsafe") == std::string::npos);
  // 32 bytes as base64.
  const size_t script = policy.find("script-src 'sha256-");
  REQUIRE(script != std::string::npos);
  CHECK(policy.substr(script + 19 + 43, 2) == "='");
  CHECK(policy.find("frame-ancestors 'none'") != std::string::npos);
}

TEST_CASE("status page: who has it is not sent it again") {
  const http::Response page = StatusPage(http::RequestHead::Make("GET", "/status"));
  const std::string tag = HeaderOf(page, "ETag");
  CHECK(tag.size() == 18);
  CHECK(HeaderOf(page, "Cache-Control") == "no-cache");
  const http::Response same =
      StatusPage(http::RequestHead::Make("GET", "/status", {{"If-None-Match", "\"x\", W/" + tag}}));
  CHECK(same.status == 304);
  CHECK(same.body.empty());
  CHECK(HeaderOf(same, "ETag") == tag);
  CHECK(HeaderOf(same, "Content-Security-Policy") == HeaderOf(page, "Content-Security-Policy"));
  const http::Response other =
      StatusPage(http::RequestHead::Make("GET", "/status", {{"If-None-Match", "\"0\""}}));
  CHECK(other.status == 200);
}

TEST_CASE("housekeeper: duties are done again and again, those without an interval never") {
  Mutex mutex;
  CondVar changed;
  int done = 0;
  bool never = false;
  Housekeeper keeper;
  keeper.Add(std::chrono::milliseconds(1), [&] {
    MutexLock lock(mutex);
    ++done;
    changed.NotifyAll();
  });
  keeper.Add(std::chrono::milliseconds(0), [&] { never = true; });
  keeper.Add(std::chrono::hours(1), [&] { never = true; });
  keeper.Start();
  {
    MutexLock lock(mutex);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (done < 3 && changed.WaitUntil(lock, deadline)) {
    }
    CHECK(done >= 3);
  }
  keeper.Stop();
  keeper.Stop();
  const int at_stop = done;
  CHECK_FALSE(never);
  CHECK(done == at_stop);
}

TEST_CASE("housekeeper: without duties it has no thread to stop") {
  Housekeeper keeper;
  keeper.Add(std::chrono::milliseconds(0), [] {});
  keeper.Start();
  keeper.Stop();
}

}  // namespace
}  // namespace forebay::server
