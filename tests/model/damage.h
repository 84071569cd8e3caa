// What a damaged range of a stored file may cost: the samples of the records and blocks that it
// touches, found by reading the file before the damage.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "io/memory_file_system.h"

namespace forebay::testing {

// A record of a journal or a block of a segment, with the numbers of its samples. Also the parts
// without samples (headers, summaries), if they can be told.
struct StoredPart {
  uint64_t begin = 0;
  uint64_t end = 0;
  bool last = false;  // nothing that counts lies behind it: damage there looks like a torn tail
  std::set<uint64_t> numbers;
};

// The parts with samples of an undamaged file, in order; none for files that hold no samples.
std::vector<StoredPart> PartsOf(io::MemoryFileSystem& fs, const std::string& path);

// Numbers of all parts that [begin, end) touches.
std::set<uint64_t> NumbersIn(const std::vector<StoredPart>& parts, uint64_t begin, uint64_t end);

// Numbers in the records of journals below `directory` that do not count, since a later journal
// there says so.
std::set<uint64_t> AbandonedNumbers(io::MemoryFileSystem& fs, const std::string& directory);

}  // namespace forebay::testing
