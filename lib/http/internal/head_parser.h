// Beast's incremental parser with callbacks that note offsets into the caller's buffer instead of
// building a field list. Included by request_reader.cc only.
#pragma once

#include <boost/beast/http/basic_parser.hpp>
#include <cstring>
#include <functional>
#include <optional>
#include <string_view>

#include "http/message.h"

namespace forebay::http::internal {

class HeadParser {
 public:
  explicit HeadParser(RequestHead& head) : head_(head) {}

  // Ready for the next request.
  void Reset(uint32_t header_limit) {
    impl_.emplace(*this);
    impl_->header_limit(header_limit);
    impl_->body_limit(boost::none);
    impl_->eager(false);
    status_ = 0;
    hosts_ = 0;
    unknown_expectation_ = false;
    head_done_ = false;
  }

  // Parses from data + offset; base is where the head starts in the buffer at this moment.
  size_t Put(const char* base, const char* data, size_t size, boost::beast::error_code& error) {
    base_ = base;
    put_begin_ = data;
    put_end_ = data + size;
    return impl_->put(boost::asio::const_buffer(data, size), error);
  }

  // Where chunk data goes; moved on as they come.
  void StartChunks(uint64_t limit) {
    head_done_ = true;
    impl_->body_limit(limit);
    impl_->eager(true);
  }
  void set_chunk_target(char* target) { chunk_target_ = target; }
  char* chunk_target() const { return chunk_target_; }

  bool header_done() const { return impl_->is_header_done(); }
  bool done() const { return impl_->is_done(); }
  bool keep_alive() const { return impl_->keep_alive(); }
  bool chunked() const { return impl_->chunked(); }
  std::optional<uint64_t> content_length() const {
    const auto length = impl_->content_length();
    return length ? std::optional<uint64_t>(*length) : std::nullopt;
  }
  // A status that a callback decided on; 0: none.
  int status() const { return status_; }
  int hosts() const { return hosts_; }
  bool unknown_expectation() const { return unknown_expectation_; }

 private:
  using string_view = boost::beast::string_view;
  using error_code = boost::beast::error_code;
  using field = boost::beast::http::field;

  class Impl final : public boost::beast::http::basic_parser<true> {
   public:
    explicit Impl(HeadParser& owner) : owner_(owner) {}

   protected:
    void on_request_impl(boost::beast::http::verb, string_view method, string_view target,
                         int version, error_code&) override {
      owner_.OnRequest(method, target, version);
    }
    void on_response_impl(int, string_view, int, error_code&) override {}
    void on_field_impl(field name, string_view name_text, string_view value,
                       error_code& error) override {
      owner_.OnField(name, name_text, value, error);
    }
    void on_header_impl(error_code&) override {}
    void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
    size_t on_body_impl(string_view body, error_code&) override { return body.size(); }
    void on_chunk_header_impl(uint64_t, string_view, error_code&) override {}
    size_t on_chunk_body_impl(uint64_t, string_view body, error_code&) override {
      // The target never lies behind the bytes to parse: joined chunks are shorter than framed
      // ones.
      std::memmove(owner_.chunk_target_, body.data(), body.size());
      owner_.chunk_target_ += body.size();
      return body.size();
    }
    void on_finish_impl(error_code&) override {}

   private:
    HeadParser& owner_;
  };

  RequestHead::Range RangeOf(string_view text) const {
    return {text.empty() ? 0 : static_cast<uint32_t>(text.data() - base_),
            static_cast<uint32_t>(text.size())};
  }

  void OnRequest(string_view method, string_view target, int version) {
    head_.method_ = RangeOf(method);
    head_.target_ = RangeOf(target);
    head_.version_ = version;
  }

  void OnField(field name, string_view name_text, string_view value, error_code& error) {
    if (head_done_) return;  // Trailers say nothing that is needed here.
    if (!value.empty() &&
        (std::less<>()(value.data(), put_begin_) || !std::less<>()(value.data(), put_end_))) {
      // A folded value was put together elsewhere; RFC 9112 5.2 has servers refuse those.
      return Refuse(400, error);
    }
    if (head_.fields_.size() >= kMaxHeaderFields) return Refuse(431, error);
    head_.fields_.push_back({RangeOf(name_text), RangeOf(value)});
    const std::string_view text(value.data(), value.size());
    if (name == field::transfer_encoding) {
      if (!EqualsIgnoreCase(text, "chunked")) return Refuse(501, error);
    } else if (name == field::host) {
      ++hosts_;
    } else if (name == field::expect) {
      unknown_expectation_ = unknown_expectation_ || !EqualsIgnoreCase(text, "100-continue");
    }
  }

  void Refuse(int status, error_code& error) {
    status_ = status;
    error = boost::beast::http::error::bad_value;
  }

  RequestHead& head_;
  std::optional<Impl> impl_;
  const char* base_ = nullptr;
  const char* put_begin_ = nullptr;  // what the parser is looking at
  const char* put_end_ = nullptr;
  char* chunk_target_ = nullptr;
  int status_ = 0;
  int hosts_ = 0;
  bool unknown_expectation_ = false;
  bool head_done_ = false;
};

}  // namespace forebay::http::internal
