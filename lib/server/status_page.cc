#include "server/status_page.h"

#include <cstddef>
#include <string_view>

namespace forebay::server {

// status_page_bytes.cc, which the build makes.
namespace internal {
extern const unsigned char kStatusPageBytes[];  // NOLINT(modernize-avoid-c-arrays)
extern const size_t kStatusPageSize;
extern const char* const kStatusPageTag;
extern const char* const kStatusPagePolicy;
}  // namespace internal

http::Response StatusPage(const http::RequestHead& head) {
  http::Response response;
  response.headers = {{"ETag", internal::kStatusPageTag},
                      // Kept, and asked for again each time: a new release shows at once.
                      {"Cache-Control", "no-cache"},
                      {"Content-Security-Policy", internal::kStatusPagePolicy},
                      {"X-Content-Type-Options", "nosniff"},
                      {"Referrer-Policy", "no-referrer"}};
  const std::string_view known = head.Header("If-None-Match").value_or("");
  if (known == "*" || known.find(internal::kStatusPageTag) != std::string_view::npos) {
    response.status = 304;
    return response;
  }
  response.headers.emplace_back("Content-Type", "text/html; charset=utf-8");
  response.body.assign(internal::kStatusPageBytes,
                       internal::kStatusPageBytes + internal::kStatusPageSize);
  return response;
}

}  // namespace forebay::server
