// MD5 (RFC 1321), for the hashmod rule only: Prometheus shards by it, and the same rule must pick
// the same shard here. Not for anything that needs security.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace forebay::table::internal {

// The digest of `bytes`. Threads: any.
std::array<uint8_t, 16> Md5(std::string_view bytes);

}  // namespace forebay::table::internal
