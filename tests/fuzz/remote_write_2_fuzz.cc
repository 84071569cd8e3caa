// DEPS: receive
// Remote write 2.0 from both sides of snappy: the input is taken as a protobuf message and as a
// body as sent. Whatever it is, the columns must be of one length, the counts must add up, and
// replay with what was refused must stage the same.
#include "support/remote_write_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static forebay::testing::RemoteWriteFuzz fuzz(forebay::wal::RecordKind::kRemoteWrite2);
  fuzz.Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
