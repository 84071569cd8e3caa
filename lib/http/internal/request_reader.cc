#include "http/internal/request_reader.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "http/internal/head_parser.h"

namespace forebay::http::internal {
namespace {

namespace beast_http = boost::beast::http;

// Buffers grow in steps of this.
constexpr size_t kGrain = 4096;
// Free bytes below which the buffer's front is used again before reading on.
constexpr size_t kSmallTail = 1024;

}  // namespace

RequestReader::RequestReader(RequestHead& head, size_t max_head)
    : head_(head), max_head_(max_head), parser_(std::make_unique<HeadParser>(head)) {
  parser_->Reset(static_cast<uint32_t>(max_head_));
}

RequestReader::~RequestReader() = default;

void RequestReader::Reserve(size_t total) {
  if (start_ + total <= capacity_) return;
  const size_t held = end_ - start_;
  if (total <= capacity_) {
    std::memmove(data_.get(), data_.get() + start_, held);
  } else {
    return MoveTo((total + kGrain - 1) / kGrain * kGrain);
  }
  RebaseToFront();
}

void RequestReader::MoveTo(size_t capacity) {
  const size_t held = end_ - start_;
  std::unique_ptr<char[]> data(new char[capacity]);  // left uninitialised on purpose
  if (held > 0) std::memcpy(data.get(), data_.get() + start_, held);
  data_ = std::move(data);
  capacity_ = capacity;
  RebaseToFront();
}

void RequestReader::RebaseToFront() {
  head_end_ -= std::min(head_end_, start_);
  body_end_ -= std::min(body_end_, start_);
  parsed_ -= start_;
  end_ -= start_;
  start_ = 0;
  head_.base_ = data_.get();
}

void RequestReader::Shrink() {
  FOREBAY_CHECK(state_ == State::kHead);
  if (start_ == end_) return ReleaseBuffer();
  const size_t wanted = std::max(kFirstBuffer, (end_ - start_ + kGrain - 1) / kGrain * kGrain);
  if (wanted < capacity_) MoveTo(wanted);
}

std::span<char> RequestReader::Prepare() {
  const size_t held = end_ - start_;
  switch (state_) {
    case State::kHead:
    case State::kHeadDone:
    case State::kDone:
      // The first read of a fresh connection is small; afterwards the buffer is as large as the
      // requests before have made it.
      if (capacity_ - end_ < kSmallTail || capacity_ == 0) {
        Reserve(std::max(kFirstBuffer, capacity_ - end_ >= kSmallTail ? held : 2 * held));
      }
      break;
    case State::kLengthBody: {
      const uint64_t whole = head_end_ - start_ + body_length_;
      const uint64_t soon = std::max<uint64_t>(kReservedAtOnce, 2 * held);
      Reserve(static_cast<size_t>(std::min(whole, soon)));
      break;
    }
    case State::kChunkedBody:
      if (capacity_ - end_ < kSmallTail) {
        // Close the gap between the joined chunks and what is not parsed yet, then grow.
        const size_t gap = parsed_ - body_end_;
        if (gap >= held / 2) {
          std::memmove(data_.get() + body_end_, data_.get() + parsed_, end_ - parsed_);
          parsed_ = body_end_;
          end_ -= gap;
        }
        if (capacity_ - end_ < kSmallTail) Reserve(std::max(2 * (end_ - start_), kFirstBuffer));
      }
      break;
    case State::kSkip:
    case State::kFailed:
      FOREBAY_CHECK(start_ == end_);
      if (capacity_ == 0) Reserve(kFirstBuffer);
      break;
  }
  if (end_ == capacity_) Reserve(end_ - start_ + kGrain);
  return {data_.get() + end_, capacity_ - end_};
}

RequestReader::Event RequestReader::Next() {
  switch (state_) {
    case State::kHead:
      return NextHead();
    case State::kHeadDone:
      FOREBAY_CHECK(false);  // SetBodyLimit() or SkipBody() was forgotten.
      return Event::kError;
    case State::kLengthBody:
      if (end_ - head_end_ < body_length_) return Event::kNeedMore;
      body_end_ = head_end_ + static_cast<size_t>(body_length_);
      parsed_ = body_end_;
      state_ = State::kDone;
      return Event::kComplete;
    case State::kChunkedBody:
      return NextChunked();
    case State::kSkip: {
      const size_t skipped = static_cast<size_t>(std::min<uint64_t>(skip_left_, end_ - parsed_));
      skip_left_ -= skipped;
      parsed_ += skipped;
      if (skip_left_ > 0) {
        start_ = parsed_ = end_ = 0;
        return Event::kNeedMore;
      }
      state_ = State::kDone;
      return Event::kSkipped;
    }
    case State::kDone:
      return Event::kNeedMore;
    case State::kFailed:
      return Event::kError;
  }
  return Event::kError;
}

RequestReader::Event RequestReader::Fail(int status, std::string_view text) {
  state_ = State::kFailed;
  error_status_ = status;
  error_text_ = text;
  return Event::kError;
}

RequestReader::Event RequestReader::NextHead() {
  if (parsed_ == start_) {
    // RFC 9112 2.2: an empty line before the request line is passed over.
    while (end_ - start_ >= 2 && data_[start_] == '\r' && data_[start_ + 1] == '\n') start_ += 2;
    parsed_ = start_;
    if (end_ - start_ == 1 && data_[start_] == '\r') return Event::kNeedMore;
  }
  if (end_ == start_) {
    start_ = parsed_ = end_ = 0;
    return Event::kNeedMore;
  }
  head_.base_ = data_.get() + start_;
  boost::beast::error_code error;
  // The parser goes in steps of a structured element; it stops by itself after the head.
  parsed_ += parser_->Put(data_.get() + start_, data_.get() + parsed_, end_ - parsed_, error);
  if (error) {
    if (parser_->status() != 0) {
      switch (parser_->status()) {
        case 431:
          return Fail(431, "too many header fields");
        case 501:
          return Fail(501, "this transfer encoding is not supported, only chunked is");
        default:
          return Fail(400, "folded header line");
      }
    }
    if (error == beast_http::error::need_more) {
      if (end_ - start_ >= max_head_) return Fail(431, "request head too large");
      return Event::kNeedMore;
    }
    if (error == beast_http::error::header_limit) return Fail(431, "request head too large");
    if (error == beast_http::error::bad_version) return Fail(505, "HTTP version not supported");
    return Fail(400, "malformed request head");
  }
  if (!parser_->header_done()) return Event::kNeedMore;
  head_end_ = parsed_;
  body_end_ = head_end_;
  if (head_end_ - start_ > max_head_) return Fail(431, "request head too large");
  keep_alive_ = parser_->keep_alive();
  head_.chunked_ = parser_->chunked();
  head_.content_length_ = parser_->content_length();
  if (head_.version_ >= 11 && parser_->hosts() != 1) return Fail(400, "exactly one Host is needed");
  if (head_.version_ < 11 && head_.chunked_) return Fail(400, "chunked body in HTTP/1.0");
  if (parser_->unknown_expectation()) return Fail(417, "unknown expectation");
  if (!head_.SplitTarget()) return Fail(400, "request target has no path");
  body_length_ = head_.content_length_.value_or(0);
  state_ = State::kHeadDone;
  return Event::kHead;
}

bool RequestReader::SetBodyLimit(uint64_t limit) {
  FOREBAY_CHECK(state_ == State::kHeadDone);
  if (head_.chunked_) {
    parser_->StartChunks(limit);
    parser_->set_chunk_target(data_.get() + body_end_);
    state_ = State::kChunkedBody;
    return true;
  }
  if (body_length_ > limit) return false;
  state_ = State::kLengthBody;
  return true;
}

void RequestReader::SkipBody() {
  FOREBAY_CHECK(state_ == State::kHeadDone && !head_.chunked_);
  skip_left_ = body_length_;
  state_ = State::kSkip;
}

RequestReader::Event RequestReader::NextChunked() {
  boost::beast::error_code error;
  const size_t waiting = end_ - parsed_;
  if (waiting == 0) return Event::kNeedMore;
  parser_->set_chunk_target(data_.get() + body_end_);
  parsed_ += parser_->Put(data_.get() + start_, data_.get() + parsed_, waiting, error);
  body_end_ = static_cast<size_t>(parser_->chunk_target() - data_.get());
  if (error == beast_http::error::body_limit) return Fail(413, "request body too large");
  if (error && error != beast_http::error::need_more) return Fail(400, "malformed chunk");
  if (parser_->done()) {
    state_ = State::kDone;
    return Event::kComplete;
  }
  if (end_ - parsed_ > kMaxChunkLine) return Fail(400, "chunk line or trailers too long");
  return Event::kNeedMore;
}

void RequestReader::FinishRequest() {
  FOREBAY_CHECK(state_ == State::kDone);
  start_ = parsed_;
  if (start_ == end_) start_ = parsed_ = end_ = 0;
  head_end_ = body_end_ = start_;
  body_length_ = 0;
  state_ = State::kHead;
  head_.Clear();
  parser_->Reset(static_cast<uint32_t>(max_head_));
}

void RequestReader::DropBuffered() {
  start_ = head_end_ = body_end_ = parsed_ = end_ = 0;
  state_ = State::kFailed;
}

std::span<const char> RequestReader::body() const {
  return {data_.get() + head_end_, body_end_ - head_end_};
}

uint64_t RequestReader::body_bytes_here() const {
  return state_ == State::kLengthBody ? end_ - head_end_ : body_end_ - head_end_;
}

std::span<const char> RequestReader::body_here() const {
  return {data_.get() + head_end_, static_cast<size_t>(body_bytes_here())};
}

void RequestReader::ConsumeBody() {
  FOREBAY_CHECK(state_ == State::kLengthBody || state_ == State::kChunkedBody);
  if (state_ == State::kLengthBody) {
    body_length_ -= end_ - head_end_;
    parsed_ = end_ = head_end_;
  } else {
    const size_t waiting = end_ - parsed_;
    std::memmove(data_.get() + head_end_, data_.get() + parsed_, waiting);
    parsed_ = head_end_;
    end_ = head_end_ + waiting;
  }
  body_end_ = head_end_;
}

uint64_t RequestReader::body_bytes_missing() const {
  if (state_ == State::kDone) return 0;
  if (head_.chunked_) return std::numeric_limits<uint64_t>::max();
  const uint64_t here = end_ - head_end_;
  return body_length_ - std::min(body_length_, here);
}

void RequestReader::ReleaseBuffer() {
  FOREBAY_CHECK(start_ == end_);
  data_.reset();
  capacity_ = start_ = head_end_ = body_end_ = parsed_ = end_ = 0;
}

}  // namespace forebay::http::internal
