#include "table/series_id.h"

// The state is visible only so, and has to be: on the stack it costs no allocation.
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "table/internal/short_text.h"

namespace forebay::table {
namespace {

// Label sets up to here are gathered on the stack and hashed in one call, which costs half of many
// small updates.
constexpr size_t kGatherBytes = 1024;

int64_t HashStreaming(LabelSpan labels) {
  XXH64_state_t state;
  XXH64_reset(&state, 0);
  for (const Label& label : labels) {
    XXH64_update(&state, label.name.data(), label.name.size());
    XXH64_update(&state, label.value.data(), label.value.size());
  }
  return static_cast<int64_t>(XXH64_digest(&state));
}

}  // namespace

int64_t SeriesId(LabelSpan labels) {
  size_t bytes = 0;
  for (const Label& label : labels) bytes += label.name.size() + label.value.size();
  if (bytes > kGatherBytes) return HashStreaming(labels);

  char gathered[kGatherBytes];
  char* end = gathered;
  for (const Label& label : labels) {
    end = internal::CopyText(label.name, end);
    end = internal::CopyText(label.value, end);
  }
  return static_cast<int64_t>(XXH64(gathered, static_cast<size_t>(end - gathered), 0));
}

}  // namespace forebay::table
