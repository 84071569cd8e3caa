// Series blocks: what goes in comes out bit for bit; damage gives an error or bounded output; the
// announced row bytes hold every row that is really rendered.
#include "wal/series_block.h"

#include <catch2/catch.hpp>

#include <bit>
#include <limits>
#include <random>

#include "table/csv_row.h"
#include "table/json_text.h"
#include "wal/internal/varint.h"

namespace forebay::wal {
namespace {

constexpr std::string_view kHeaderLine = "Timestamp:datetime,SeriesId:long\n";
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

struct TestSeries {
  int64_t series_id = 0;
  std::vector<std::pair<std::string, std::string>> labels;
  std::vector<std::string> lifted;
  std::vector<int64_t> timestamps;
  std::vector<uint64_t> values;
};

// Adds series to a table and blocks, and compares blocks with what was added.
class Blocks {
 public:
  Blocks() : table_(Options()), encoder_(table_) {}

  std::string Encode(const std::vector<TestSeries>& all,
                     std::string_view header_line = kHeaderLine) {
    encoder_.Reset(header_line);
    CHECK(encoder_.empty());
    for (const TestSeries& series : all)
      encoder_.Add(Ref(series), series.timestamps, series.values);
    return std::string(encoder_.Finish());
  }

  const SeriesBlockEncoder& encoder() const { return encoder_; }

 private:
  static table::SeriesTable::Options Options() {
    table::SeriesTable::Options options;
    options.hash_seed = 3;
    return options;
  }

  table::SeriesRef Ref(const TestSeries& series) {
    const std::vector<table::Label> labels(Views(series));
    const std::vector<std::string_view> lifted(series.lifted.begin(), series.lifted.end());
    table::NewSeries added;
    added.series_id = series.series_id;
    added.labels = labels;
    added.lifted = lifted;
    const auto ref = table_.Add({++next_key_, next_key_ << 32}, added, 1);
    REQUIRE(ref.ok());
    return *ref;
  }

 public:
  static std::vector<table::Label> Views(const TestSeries& series) {
    std::vector<table::Label> labels;
    for (const auto& [name, value] : series.labels) labels.push_back({name, value});
    return labels;
  }

 private:
  table::SeriesTable table_;
  SeriesBlockEncoder encoder_;
  uint64_t next_key_ = 0;
};

uint32_t Rows(const std::vector<TestSeries>& all) {
  size_t rows = 0;
  for (const TestSeries& series : all) rows += series.timestamps.size();
  return static_cast<uint32_t>(rows);
}

void RequireEqual(const SeriesBlockDecoder& decoder, const std::vector<TestSeries>& all) {
  REQUIRE(decoder.series().size() == all.size());
  REQUIRE(decoder.timestamps().size() == Rows(all));
  REQUIRE(decoder.values().size() == Rows(all));
  uint32_t row = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const TestSeries& expected = all[i];
    const SeriesBlockDecoder::Series& series = decoder.series()[i];
    REQUIRE(series.series_id == expected.series_id);
    REQUIRE(series.first_row == row);
    REQUIRE(series.rows == expected.timestamps.size());
    REQUIRE(series.label_count == expected.labels.size());
    REQUIRE(series.lifted_count == expected.lifted.size());
    for (uint32_t label = 0; label < series.label_count; ++label) {
      REQUIRE(decoder.LabelName(series, label) == expected.labels[label].first);
      REQUIRE(decoder.LabelValue(series, label) == expected.labels[label].second);
    }
    for (uint32_t lifted = 0; lifted < series.lifted_count; ++lifted) {
      REQUIRE(decoder.LiftedValue(series, lifted) == expected.lifted[lifted]);
    }
    for (size_t k = 0; k < expected.timestamps.size(); ++k, ++row) {
      REQUIRE(decoder.timestamps()[row] == expected.timestamps[k]);
      REQUIRE(decoder.values()[row] == expected.values[k]);
    }
  }
}

// Random series of one table: few shapes or many, regular or wild timestamps, values of all kinds.
class RandomSeries {
 public:
  explicit RandomSeries(uint64_t seed) : random_(seed) {}

  std::vector<TestSeries> Make() {
    const size_t lifted = Below(4);
    const uint64_t shapes = 1 + Below(5);
    std::vector<TestSeries> all(1 + Below(20));
    for (TestSeries& series : all) {
      series.series_id = static_cast<int64_t>(random_());
      const uint64_t shape = Below(shapes);
      for (uint64_t i = 0; i < shape * 3; ++i) {
        series.labels.emplace_back("name" + std::to_string(shape) + std::to_string(100 + i),
                                   Text());
      }
      for (size_t i = 0; i < lifted; ++i) series.lifted.push_back(Text());
      const size_t rows = Below(8) == 0 ? 1 + Below(2000) : 1 + Below(4);
      int64_t timestamp = 1'700'000'000'000 + static_cast<int64_t>(Below(100'000));
      const uint64_t kind = Below(4);
      for (size_t row = 0; row < rows; ++row) {
        series.timestamps.push_back(Timestamp(timestamp, kind));
        series.values.push_back(Value(series.values));
      }
    }
    return all;
  }

  uint64_t Below(uint64_t bound) { return random_() % bound; }

 private:
  std::string Text() {
    constexpr std::string_view kPieces[] = {"",  "a",        "\"",   "\\",  "\n",
                                            ",", "\xc3\xa4", "pod-", "\x01"};
    std::string text;
    for (uint64_t pieces = Below(5); pieces > 0; --pieces) text += kPieces[Below(9)];
    return Below(50) == 0 ? std::string(1000, 'x') + text : text;
  }

  int64_t Timestamp(int64_t& regular, uint64_t kind) {
    regular += 15'000 + static_cast<int64_t>(kind == 0 ? 0 : Below(40));
    if (kind == 2 && Below(4) == 0) regular -= static_cast<int64_t>(Below(1'000'000));
    if (kind != 3) return regular;
    constexpr int64_t kWild[] = {kMin, kMax, 0, -1, 1, kMin + 1, kMax - 1};
    return Below(3) == 0 ? static_cast<int64_t>(random_()) : kWild[Below(7)];
  }

  uint64_t Value(const std::vector<uint64_t>& before) {
    switch (Below(6)) {
      case 0:
        return before.empty() ? 0 : before.back();
      case 1:
        return std::bit_cast<uint64_t>(static_cast<double>(Below(100'000)));
      case 2:
        return std::bit_cast<uint64_t>(static_cast<double>(Below(1'000'000)) / -1000.0);
      case 3:
        return table::kStaleMarkerBits;
      case 4:
        return 0x7ff0'0000'0000'0001 | random_();  // a NaN with a payload, or its negative
      default:
        return random_();
    }
  }

  std::mt19937_64 random_;
};

// Decodes a copy that ends where its memory ends, so that a sanitizer sees any step beyond.
Status DecodeExact(SeriesBlockDecoder& decoder, std::vector<char>& memory, std::string_view payload,
                   uint32_t rows) {
  memory = std::vector<char>(payload.begin(), payload.end());
  memory.shrink_to_fit();
  return decoder.Decode({memory.data(), memory.size()}, rows);
}

// What a reader may rely on after a successful Decode, whatever the bytes were.
void RequireConsistent(const SeriesBlockDecoder& decoder, std::string_view payload, uint32_t rows) {
  REQUIRE(decoder.timestamps().size() == rows);
  REQUIRE(decoder.values().size() == rows);
  uint32_t next = 0;
  const auto require_inside = [&](std::string_view text) {
    REQUIRE(text.size() <= payload.size());
    if (text.empty()) return;
    REQUIRE(text.data() >= payload.data());
    REQUIRE(text.data() + text.size() <= payload.data() + payload.size());
  };
  require_inside(decoder.header_line());
  for (const SeriesBlockDecoder::Series& series : decoder.series()) {
    REQUIRE(series.first_row == next);
    REQUIRE(series.rows > 0);
    next += series.rows;
    for (uint32_t i = 0; i < series.label_count; ++i) {
      require_inside(decoder.LabelName(series, i));
      require_inside(decoder.LabelValue(series, i));
    }
    for (uint32_t i = 0; i < series.lifted_count; ++i) {
      require_inside(decoder.LiftedValue(series, i));
    }
  }
  REQUIRE(next == rows);
}

std::vector<TestSeries> SmallBlock() {
  const std::vector<std::pair<std::string, std::string>> labels = {{"a", "b"}, {"c", "d"}};
  return {{-5, labels, {"lift"}, {1000, 2000, 2999}, {1, 2, 3}},
          {7, labels, {""}, {1001, 5}, {0x3ff0'0000'0000'0000, 0x4000'0000'0000'0000}},
          {9, {}, {"x"}, {kMax, kMin}, {~uint64_t{0}, 0}}};
}

// A payload's fields by hand.
class Handmade {
 public:
  Handmade& Byte(uint8_t byte) {
    bytes_ += static_cast<char>(byte);
    return *this;
  }
  Handmade& Varint(uint64_t value) {
    char buffer[internal::kMaxVarintBytes];
    bytes_.append(buffer, internal::PutVarint(buffer, value));
    return *this;
  }
  Handmade& Zeros(size_t count) {
    bytes_.append(count, '\0');
    return *this;
  }
  // Layout, row bytes, no header line, and the four counts.
  static Handmade Counts(uint64_t symbols, uint64_t shapes, uint64_t series, uint64_t lifted) {
    Handmade made;
    made.Byte(1).Varint(0).Varint(0).Varint(symbols).Varint(shapes).Varint(series).Varint(lifted);
    return made;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

std::string Reason(std::string_view payload, uint32_t rows) {
  SeriesBlockDecoder decoder;
  std::vector<char> memory;
  const Status status = DecodeExact(decoder, memory, payload, rows);
  if (status.ok()) return "ok";
  CHECK(status.error().code() == ErrorCode::kCorruption);
  return std::string(status.error().message());
}

}  // namespace

TEST_CASE("series block: random series come back as they went in, block after block") {
  RandomSeries random(1);
  Blocks blocks;
  SeriesBlockDecoder decoder;
  for (int round = 0; round < 200; ++round) {
    INFO("round " << round);
    const std::vector<TestSeries> all = random.Make();
    const std::string payload = blocks.Encode(all);
    REQUIRE(blocks.encoder().rows() == Rows(all));
    REQUIRE(decoder.Decode(payload, Rows(all)).ok());
    RequireEqual(decoder, all);
    REQUIRE(decoder.header_line() == kHeaderLine);
    REQUIRE(decoder.row_bytes() == blocks.encoder().row_bytes());
    int64_t least = kMax;
    int64_t greatest = kMin;
    for (const int64_t timestamp : decoder.timestamps()) {
      least = std::min(least, timestamp);
      greatest = std::max(greatest, timestamp);
    }
    REQUIRE(blocks.encoder().min_timestamp() == least);
    REQUIRE(blocks.encoder().max_timestamp() == greatest);
  }
}

TEST_CASE("series block: the payload size that is told while adding is near the real one") {
  RandomSeries random(2);
  Blocks blocks;
  for (int round = 0; round < 50; ++round) {
    const std::string payload = blocks.Encode(random.Make());
    CHECK(blocks.encoder().payload_bytes() <= payload.size());
    CHECK(payload.size() - blocks.encoder().payload_bytes() <= kHeaderLine.size() + 70);
  }
}

TEST_CASE("series block: the row bytes hold every rendered row, with at most 25 bytes to spare") {
  RandomSeries random(3);
  Blocks blocks;
  for (int round = 0; round < 100; ++round) {
    const std::vector<TestSeries> all = random.Make();
    blocks.Encode(all);
    ByteBuffer rows;
    table::SeriesRowRenderer renderer;
    for (const TestSeries& series : all) {
      ByteBuffer labels;
      ByteBuffer lifted;
      table::AppendLabelsJsonCsv(Blocks::Views(series), labels);
      table::AppendLiftedFields(
          std::vector<std::string_view>(series.lifted.begin(), series.lifted.end()), lifted);
      renderer.Begin(series.series_id, labels.view(), lifted.view());
      for (size_t i = 0; i < series.values.size(); ++i) {
        renderer.Append(UnixMillis{series.timestamps[i]}, series.values[i], rows);
      }
    }
    REQUIRE(rows.size() <= blocks.encoder().row_bytes());
    REQUIRE(blocks.encoder().row_bytes() <= rows.size() + uint64_t{25} * Rows(all));
  }
}

TEST_CASE("series block: a text or a list of names that many series share is stored once") {
  Blocks blocks;
  std::vector<TestSeries> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back({i, {{std::string(200, 'n'), std::string(300, 'v')}}, {}, {i}, {0}});
  }
  const std::string payload = blocks.Encode(all);
  CHECK(payload.size() < 500 + 100 * 16 + kHeaderLine.size());
  CHECK(blocks.Encode(all) == payload);
}

TEST_CASE("series block: equal steps and equal values cost two bytes a row") {
  TestSeries series{1, {}, {}, {}, {}};
  for (int i = 0; i < 1000; ++i) {
    series.timestamps.push_back(1'700'000'000'000 + 15'000 * i);
    series.values.push_back(0x4059'0000'0000'0000);
  }
  Blocks blocks;
  CHECK(blocks.Encode({series}).size() < 2 * 1000 + kHeaderLine.size() + 60);
}

TEST_CASE("series block: every payload that is cut short is an error") {
  Blocks blocks;
  const std::string payload = blocks.Encode(SmallBlock());
  SeriesBlockDecoder decoder;
  std::vector<char> memory;
  for (size_t size = 0; size < payload.size(); ++size) {
    INFO("size " << size);
    const Status status = DecodeExact(decoder, memory, payload.substr(0, size), 7);
    REQUIRE_FALSE(status.ok());
    REQUIRE(status.error().code() == ErrorCode::kCorruption);
  }
  CHECK_FALSE(DecodeExact(decoder, memory, payload + '\0', 7).ok());
  CHECK(DecodeExact(decoder, memory, payload, 7).ok());  // the decoder is as good as new
  RequireEqual(decoder, SmallBlock());
}

TEST_CASE("series block: a flipped bit gives an error or rows that can be read") {
  Blocks blocks;
  const std::string payload = blocks.Encode(SmallBlock());
  SeriesBlockDecoder decoder;
  std::vector<char> memory;
  size_t errors = 0;
  for (size_t at = 0; at < payload.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      INFO("byte " << at << " bit " << bit);
      std::string damaged = payload;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      if (DecodeExact(decoder, memory, damaged, 7).ok()) {
        RequireConsistent(decoder, {memory.data(), memory.size()}, 7);
      } else {
        ++errors;
      }
    }
  }
  CHECK(errors > payload.size());
}

TEST_CASE("series block: one that says the same of its series gives its columns alone") {
  RandomSeries random(7);
  Blocks blocks;
  for (int round = 0; round < 100; ++round) {
    INFO("round " << round);
    std::vector<TestSeries> all = random.Make();
    const std::string first = blocks.Encode(all);
    for (TestSeries& series : all) {
      for (int64_t& timestamp : series.timestamps) timestamp ^= 0x55;
      for (uint64_t& value : series.values) value = value * 3 + 1;
    }
    const std::string second = blocks.Encode(all);
    SeriesBlockDecoder model;
    SeriesBlockDecoder decoder;
    REQUIRE(model.Decode(first, Rows(all)).ok());
    std::vector<char> memory(second.begin(), second.end());
    const auto like = decoder.DecodeLike(model, {memory.data(), memory.size()}, Rows(all));
    REQUIRE(like.ok());
    REQUIRE(*like);
    CHECK(decoder.series().empty());
    CHECK(decoder.row_bytes() == blocks.encoder().row_bytes());
    SeriesBlockDecoder plain;
    REQUIRE(plain.Decode(second, Rows(all)).ok());
    REQUIRE(std::equal(plain.timestamps().begin(), plain.timestamps().end(),
                       decoder.timestamps().begin(), decoder.timestamps().end()));
    REQUIRE(std::equal(plain.values().begin(), plain.values().end(), decoder.values().begin(),
                       decoder.values().end()));
    // It knows no series, so nothing can be like it.
    CHECK_FALSE(*plain.DecodeLike(decoder, first, Rows(all)));
  }
}

TEST_CASE("series block: one that differs in a bit of its series is not like another") {
  Blocks blocks;
  const std::string payload = blocks.Encode(SmallBlock());
  SeriesBlockDecoder model;
  REQUIRE(model.Decode(payload, 7).ok());
  SeriesBlockDecoder decoder;
  std::vector<char> memory;
  const auto like = [&](std::string_view bytes, uint32_t rows) {
    memory = std::vector<char>(bytes.begin(), bytes.end());
    memory.shrink_to_fit();
    return decoder.DecodeLike(model, {memory.data(), memory.size()}, rows);
  };
  CHECK(*like(payload, 7));
  CHECK_FALSE(*like(payload, 6));
  CHECK_FALSE(*like(payload, 8));
  for (size_t size = 0; size < payload.size(); ++size) {
    INFO("size " << size);
    const auto cut = like(std::string_view(payload).substr(0, size), 7);
    CHECK((!cut.ok() || !*cut));
  }
  CHECK_FALSE(like(payload + '\0', 7).ok());
  size_t accepted = 0;
  for (size_t at = 0; at < payload.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      INFO("byte " << at << " bit " << bit);
      std::string changed = payload;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      const auto found = like(changed, 7);
      if (!found.ok() || !*found) continue;
      ++accepted;
      // Then it is a block of the same series by the plain way too.
      SeriesBlockDecoder plain;
      REQUIRE(plain.Decode(changed, 7).ok());
      REQUIRE(plain.series().size() == model.series().size());
      for (size_t i = 0; i < plain.series().size(); ++i) {
        REQUIRE(plain.series()[i].series_id == model.series()[i].series_id);
        REQUIRE(plain.LabelValue(plain.series()[i], 0) == model.LabelValue(model.series()[i], 0));
      }
      REQUIRE(std::equal(plain.values().begin(), plain.values().end(), decoder.values().begin(),
                         decoder.values().end()));
    }
  }
  CHECK(accepted > 0);
  // A model that was refused is none.
  CHECK_FALSE(model.Decode(payload.substr(0, payload.size() - 1), 7).ok());
  CHECK_FALSE(*like(payload, 7));
}

TEST_CASE("series block: another row count than the block header's is an error") {
  Blocks blocks;
  const std::string payload = blocks.Encode(SmallBlock());
  for (const uint32_t rows : {0U, 1U, 6U, 8U, 0xffff'ffffU}) CHECK(Reason(payload, rows) != "ok");
  CHECK(Reason(payload, 7) == "ok");
}

TEST_CASE("series block: counts beyond the block are refused before the dictionary is read") {
  const std::string beyond = "series block: counts beyond the block";
  constexpr uint64_t kHuge = uint64_t{1} << 60;
  const auto reason = [](Handmade made, uint32_t rows = 1) {
    return Reason(made.Zeros(50).bytes(), rows);
  };
  CHECK(reason(Handmade::Counts(kHuge, 0, 0, 0)) == beyond);
  CHECK(reason(Handmade::Counts(51, 0, 0, 0)) == beyond);
  CHECK(reason(Handmade::Counts(1, kHuge, 0, 0)) == beyond);
  CHECK(reason(Handmade::Counts(1, 1, kHuge, 0)) == beyond);
  CHECK(reason(Handmade::Counts(1, 1, 6, 0)) == beyond);  // a series has at least ten bytes
  CHECK(reason(Handmade::Counts(1, 1, 1, kHuge)) == beyond);
  CHECK(reason(Handmade::Counts(1, 1, 1, 0), 26) == beyond);  // a row has at least two
  CHECK(reason(Handmade::Counts(1, 1, 1, 0), kMaxBlockRows + 1) == beyond);
  CHECK(reason(Handmade().Byte(1).Varint(0).Varint(kHuge)) == "series block: header");
  CHECK(reason(Handmade().Byte(2)) == "series block: unknown layout");
}

TEST_CASE("series block: counts inside the dictionary and the series are checked before use") {
  constexpr uint64_t kHuge = uint64_t{1} << 60;
  const auto reason = [](Handmade made) { return Reason(made.Zeros(50).bytes(), 1); };
  CHECK(reason(Handmade::Counts(1, 0, 0, 0).Varint(kHuge)) == "series block: dictionary");
  CHECK(reason(Handmade::Counts(1, 1, 0, 0).Varint(0).Varint(kHuge)) ==
        "series block: label names");
  CHECK(reason(Handmade::Counts(1, 1, 0, 0).Varint(0).Varint(1).Varint(1)) ==
        "series block: label name");
  const auto with_shape = [] { return Handmade::Counts(1, 1, 1, 0).Varint(0).Varint(1).Varint(0); };
  CHECK(reason(with_shape().Zeros(8).Varint(1)) == "series block: shape");
  CHECK(reason(with_shape().Zeros(8).Varint(kHuge)) == "series block: label values");
  CHECK(reason(with_shape().Zeros(8).Varint(0).Varint(1)) == "series block: label value");
  CHECK(reason(with_shape().Zeros(8).Varint(0).Varint(0).Varint(kHuge)) ==
        "series block: row count");
  CHECK(reason(with_shape().Zeros(8).Varint(0).Varint(0).Varint(0)) == "series block: row count");
  CHECK(reason(with_shape().Zeros(8).Varint(0).Varint(0).Varint(1).Varint(0).Byte(0x99)) ==
        "series block: value");
  // Many series that refer to one long list of names: each has to bring its values.
  Handmade many = Handmade::Counts(1, 1, 3, 0).Varint(0).Varint(40).Zeros(40);
  CHECK(reason(many.Zeros(8).Varint(0)) == "series block: row count");
}

}  // namespace forebay::wal
