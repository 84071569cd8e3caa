// Checksums by ISA-L, which picks the fastest instructions of the machine at run time (folding
// multiply, about 10 GB/s; tables where there is nothing better).
#pragma once

#include <cstdint>
#include <span>

namespace forebay::io {

// CRC-32 of IEEE 802.3 (zlib, gzip, the ADXWAL container). `seed` is the CRC of the bytes before,
// so that a message can be checked in pieces. "123456789" gives 0xCBF43926. Threads: any.
uint32_t Crc32Ieee(std::span<const char> bytes, uint32_t seed = 0);

// CRC-32C of Castagnoli (iSCSI, the journal). `seed` as above. "123456789" gives 0xE3069283.
// Threads: any.
uint32_t Crc32c(std::span<const char> bytes, uint32_t seed = 0);

}  // namespace forebay::io
