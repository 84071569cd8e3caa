// DEPS: http
// The bytes of a connection through the reader that the server uses, with small limits: whatever
// comes, it neither reads nor writes beside its buffer, keeps its limits, and finds the same
// requests no matter how the bytes are cut into reads. Input: one byte of cut size, then the
// connection's bytes.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "http/internal/request_reader.h"

namespace {

using forebay::http::RequestHead;
using forebay::http::internal::RequestReader;

constexpr size_t kMaxHead = 512;
constexpr uint64_t kMaxBody = 2048;
// Heads that the server's admission would refuse have their bodies passed over.
constexpr std::string_view kRefusedMethod = "DELETE";

void Require(bool condition) {
  if (!condition) std::abort();
}

void NoteHead(const RequestHead& head, std::string& trace) {
  trace.append(head.method()).append(" ").append(head.path()).append("?").append(head.query());
  head.ForEachHeader([&](std::string_view name, std::string_view value) {
    trace.append("\n").append(name).append("=").append(value);
  });
  trace.append(head.QueryParameter("a").value_or("-"));
  trace.append(head.Header("host").value_or("-"));
}

// What the requests of the connection were, as text.
std::string Serve(std::string_view input, size_t cut) {
  RequestHead head;
  RequestReader reader(head, kMaxHead);
  std::string trace;
  for (;;) {
    switch (reader.Next()) {
      case RequestReader::Event::kNeedMore: {
        if (input.empty()) return trace;
        const auto room = reader.Prepare();
        Require(!room.empty());
        const size_t n = std::min({room.size(), input.size(), cut});
        std::memcpy(room.data(), input.data(), n);
        input.remove_prefix(n);
        reader.Commit(n);
        break;
      }
      case RequestReader::Event::kHead:
        NoteHead(head, trace);
        if (head.method() == kRefusedMethod && !head.chunked()) {
          reader.SkipBody();
        } else if (!reader.SetBodyLimit(kMaxBody)) {
          Require(head.content_length().value_or(0) > kMaxBody);
          return trace + "|too large";
        }
        break;
      case RequestReader::Event::kComplete:
        Require(reader.body().size() <= kMaxBody);
        Require(head.chunked() || reader.body().size() == head.content_length().value_or(0));
        // The head is still whole after the buffer has moved.
        NoteHead(head, trace);
        trace.append("\nbody:").append(reader.body().data(), reader.body().size());
        reader.FinishRequest();
        break;
      case RequestReader::Event::kSkipped:
        trace.append("|skipped");
        reader.FinishRequest();
        break;
      case RequestReader::Event::kError:
        Require(reader.error_status() >= 400 && reader.error_status() < 600);
        return trace + "|error";
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = Serve(input, input.size() + 1);
  const std::string pieces = Serve(input, data[0] % 64 + 1u);
  // An error may be seen before or after the bytes that follow it, everything before it is the
  // same.
  const bool failed = whole.ends_with("|error") || pieces.ends_with("|error");
  Require(failed || whole == pieces);
  return 0;
}
