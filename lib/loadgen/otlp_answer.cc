#include "loadgen/otlp_answer.h"

#include <algorithm>
#include <protozero/pbf_reader.hpp>

namespace forebay::loadgen {
namespace {

constexpr std::string_view kRetryInfoType = "type.googleapis.com/google.rpc.RetryInfo";
constexpr int64_t kMaxRetrySeconds = 3600;

std::string_view OtlpView(protozero::data_view view) { return {view.data(), view.size()}; }

}  // namespace

std::optional<PartialSuccess> ParseExportResponse(std::string_view bytes) {
  PartialSuccess partial;
  try {
    protozero::pbf_reader response(bytes.data(), bytes.size());
    while (response.next()) {
      if (response.tag_and_type() !=
          protozero::tag_and_type(1, protozero::pbf_wire_type::length_delimited)) {
        response.skip();
        continue;
      }
      protozero::pbf_reader message = response.get_message();
      while (message.next()) {
        if (message.tag() == 1) {
          partial.rejected = static_cast<uint64_t>(std::max<int64_t>(0, message.get_int64()));
        } else if (message.tag() == 2) {
          partial.message = message.get_string();
        } else {
          message.skip();
        }
      }
    }
  } catch (const std::exception&) {
    return std::nullopt;
  }
  return partial;
}

std::optional<std::chrono::milliseconds> ParseRetryInfo(std::string_view bytes) {
  try {
    protozero::pbf_reader status(bytes.data(), bytes.size());
    while (status.next(3)) {
      protozero::pbf_reader any = status.get_message();
      std::string_view type;
      std::string_view value;
      while (any.next()) {
        if (any.tag() == 1) {
          type = OtlpView(any.get_view());
        } else if (any.tag() == 2) {
          value = OtlpView(any.get_view());
        } else {
          any.skip();
        }
      }
      if (type != kRetryInfoType) continue;
      int64_t seconds = 0;
      int32_t nanos = 0;
      protozero::pbf_reader info(value.data(), value.size());
      while (info.next(1)) {
        protozero::pbf_reader delay = info.get_message();
        while (delay.next()) {
          if (delay.tag() == 1) {
            seconds = delay.get_int64();
          } else if (delay.tag() == 2) {
            nanos = delay.get_int32();
          } else {
            delay.skip();
          }
        }
      }
      return std::chrono::seconds(std::clamp<int64_t>(seconds, 0, kMaxRetrySeconds)) +
             std::chrono::milliseconds(std::max(nanos, 0) / 1'000'000);
    }
  } catch (const std::exception&) {
    return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace forebay::loadgen
