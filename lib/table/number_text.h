// Values as text: the shortest form that reads back as the same double.
// Not-a-number and infinity (docs/format/rows.md gives the reasons): the stale marker is an empty
// field, every other NaN is `NaN`, infinities are `Infinity` and `-Infinity`.
// Values travel as the bits of the double (u64), so that a NaN's payload is never touched.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace forebay::table {

// Prometheus' stale marker: the series ended here.
inline constexpr uint64_t kStaleMarkerBits = 0x7ff0000000000002;

// "-1.7976931348623157e+308"
inline constexpr size_t kMaxDoubleChars = 24;

inline bool IsStaleMarker(uint64_t bits) { return bits == kStaleMarkerBits; }
inline bool IsNan(uint64_t bits) { return (bits & 0x7fff'ffff'ffff'ffff) > 0x7ff0'0000'0000'0000; }

// Writes the text of the double with these bits at `out`, which must hold kMaxDoubleChars.
// Returns the end; equal to `out` for the stale marker. Threads: any.
char* WriteDouble(uint64_t bits, char* out);

// At least the length of WriteDouble's text, without making it: that of whole numbers below 2^53,
// of others with at most three places as if it had all three, else kMaxDoubleChars.
size_t DoubleCharsUpperBound(uint64_t bits);

}  // namespace forebay::table
