// Turns the bytes of one connection into requests, one after the other, without any I/O: the caller
// reads into Prepare(), calls Commit() and then Next() until it says kNeedMore. Head and body share
// one flat buffer that the connection keeps, so a request whose size is known costs no copy and, in
// steady state, no allocation and one read.
//
//   buffer:  | consumed | head | body (chunks joined in place) | not yet parsed | free |
//                       start_  head_end_                body_end_  parsed_      end_    capacity_
//
// Limits: head by max_head, body by SetBodyLimit(), one chunk-size line or the trailers by
// kMaxChunkLine, fields by kMaxHeaderFields. Memory: at most twice what has arrived plus
// kReservedAtOnce. Beast's basic_parser does the grammar; Content-Length bodies do not pass through
// it. Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "http/message.h"

namespace forebay::http::internal {

class HeadParser;

inline constexpr size_t kFirstBuffer = 4096;
inline constexpr size_t kReservedAtOnce = 1 << 20;
inline constexpr size_t kMaxChunkLine = 16 << 10;

class RequestReader {
 public:
  enum class Event {
    kNeedMore,  // read more bytes
    kHead,      // head() is complete; SetBodyLimit() or SkipBody() must follow
    kComplete,  // body() is complete; FinishRequest() must follow
    kSkipped,   // the body was read and thrown away; FinishRequest() must follow
    kError,     // error_status() and error_text(); nothing more can be read from this connection
  };

  RequestReader(RequestHead& head, size_t max_head);
  ~RequestReader();
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  // Room for at least one byte at the end of the buffer; moves or grows the buffer when needed.
  std::span<char> Prepare();
  void Commit(size_t bytes) { end_ += bytes; }
  Event Next();

  // After kHead. False: the body is known to be larger (nothing was read of it).
  bool SetBodyLimit(uint64_t limit);
  // After kHead: the body's bytes are thrown away as they come. Only when the length is known.
  void SkipBody();
  // Ends the request; bytes of the next one stay.
  void FinishRequest();
  // Forgets everything buffered, for throwing away what a closing connection still sends.
  void DropBuffered();

  std::span<const char> body() const;
  // While a body is read: the part of it that is here; forgets that part.
  std::span<const char> body_here() const;
  void ConsumeBody();
  // Bytes of the body that are here, while it is being read.
  uint64_t body_bytes_here() const;
  // Of the complete head: what the sender asked for by version and Connection.
  bool keep_alive() const { return keep_alive_; }
  // True when a part of a head has been read.
  bool in_head() const { return state_ == State::kHead && end_ > start_; }
  // Bytes of the body that have not been read yet; SIZE_MAX when chunked and not at its end.
  uint64_t body_bytes_missing() const;
  int error_status() const { return error_status_; }
  std::string_view error_text() const { return error_text_; }

  size_t capacity() const { return capacity_; }
  // Gives the buffer back; only when nothing is buffered.
  void ReleaseBuffer();
  // Between requests: gives back what the bytes that are buffered do not need.
  void Shrink();

 private:
  enum class State { kHead, kHeadDone, kLengthBody, kChunkedBody, kSkip, kDone, kFailed };

  Event NextHead();
  Event NextChunked();
  Event Fail(int status, std::string_view text);
  // Makes room for `total` bytes from start_ on.
  void Reserve(size_t total);
  // Puts what is held to the front of a buffer of so many bytes.
  void MoveTo(size_t capacity);
  void RebaseToFront();

  RequestHead& head_;
  const size_t max_head_;
  std::unique_ptr<HeadParser> parser_;
  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
  size_t start_ = 0;
  size_t head_end_ = 0;
  size_t body_end_ = 0;
  size_t parsed_ = 0;
  size_t end_ = 0;
  uint64_t body_length_ = 0;  // of a body of known length
  uint64_t skip_left_ = 0;
  State state_ = State::kHead;
  bool keep_alive_ = false;
  int error_status_ = 0;
  std::string_view error_text_;
};

}  // namespace forebay::http::internal
