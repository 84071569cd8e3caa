#include "receive/remote_write_2.h"

namespace forebay::receive::remote_write_2 {
namespace {

constexpr uint64_t kSymbolDomain = 0x73796d626f6c2d32;
constexpr uint64_t kPositionDomain = 0x706f736974696f6e;
constexpr uint32_t kLabelRefsField = 1;  // of TimeSeries and Exemplar

// More of an exemplar's are not looked at.
constexpr size_t kMaxExemplarRefs = 2 * kMaxLabelsRead + 2;

__extension__ using Wide = unsigned __int128;

// Appends the refs of the field that was just found, packed or not, as packed ones.
void JoinRefs(WireReader& reader, ByteBuffer& joined) {
  if (reader.Is(WireType::kBytes)) {
    const std::string_view packed = reader.BytesField();
    // What follows must not end a varint that this one began.
    if (!packed.empty() && static_cast<signed char>(packed.back()) < 0) reader.Fail();
    joined.Append(packed);
    return;
  }
  uint64_t ref = reader.VarintField();
  for (; ref >= 0x80; ref >>= 7) joined.push_back(static_cast<char>(ref | 0x80));
  joined.push_back(static_cast<char>(ref));
}

// Label refs of a series that has them in several fields, or one by one.
bool JoinRefsOf(std::string_view message, ByteBuffer& joined) {
  joined.clear();
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == kLabelRefsField) {
      JoinRefs(reader, joined);
    } else {
      reader.Skip();
    }
  }
  return !reader.failed();
}

// The varint of two bytes or more that begins with `byte` and goes on at `at`; the greatest there
// is when it is longer than any. The bytes end with the end of a varint.
inline uint64_t LongRef(uint64_t byte, const unsigned char*& at) {
  uint64_t ref = (byte & 0x7f) | static_cast<uint64_t>(*at & 0x7f) << 7;
  if (*at++ < 0x80) [[likely]]
    return ref;
  for (int shift = 14; shift < 70; shift += 7) {
    ref |= static_cast<uint64_t>(*at & 0x7f) << shift;
    if (*at++ < 0x80) return ref;
  }
  return UINT64_MAX;
}

MetadataRefs ReadMetadata(std::string_view message) {
  MetadataRefs metadata;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        metadata.type = reader.VarintField();
        break;
      case 3:
        metadata.help = reader.VarintField();
        break;
      case 4:
        metadata.unit = reader.VarintField();
        break;
      default:
        reader.Skip();
    }
  }
  metadata.ok = !reader.failed();
  return metadata;
}

}  // namespace

void Symbols::Begin(const table::SeriesTable& series, std::string_view database_label) {
  series_ = &series;
  if (!has_keys_) MakeKeys();
  database_label_ = database_label;
  has_database_label_ = false;
  texts_.clear();
  hashes_.clear();
}

// Secret and fixed for the process, as the series table's own: all workers make the same keys.
void Symbols::MakeKeys() {
  for (uint64_t i = 0; i < kKeyedRefs; i += 2) {
    const auto pair =
        series_->HashKey({reinterpret_cast<const char*>(&i), sizeof i}, kPositionDomain);
    keys_[i] = pair.low;
    keys_[i + 1] = pair.high;
  }
  has_keys_ = true;
}

void Symbols::Add(std::string_view text) {
  texts_.push_back(text);
  hashes_.push_back(series_->HashKey(text, kSymbolDomain).low);
  if (!database_label_.empty() && text == database_label_) has_database_label_ = true;
}

// The hash is NH of UMAC over the symbols' 64-bit hashes: the sum of (name + k) * (value + k') to
// 128 bits, k and k' secret and other ones at each place. Two different lists of hashes have one
// sum, or sums that differ by the domains, with a probability of at most 2^-64 over the secrets,
// whoever chose the lists; and as the hashes are themselves secret, in practice that happens only
// when one factor is zero, which is 2^-64 for each pair of name and place and not for each two
// series. Two symbols having one hash, 2^-64 for each two of them, is as likely or more so: the key
// is as good as any hash of the symbols' hashes can be. What follows the sum loses nothing of it,
// and spreads it over all bits, of which the series table compares 96.
// Source: Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC: Fast and Secure Message
// Authentication".
LabelRefs Symbols::ReadRefs(std::string_view packed, uint64_t domain, size_t most) {
  const auto* at = reinterpret_cast<const unsigned char*>(packed.data());
  const auto* const end = at + packed.size();
  if (packed.empty() || end[-1] >= 0x80) return ReadOddRefs(packed, domain, most);
  const uint64_t* const hashes = hashes_.span().data();
  const size_t symbols = hashes_.size();
  const uint64_t* key = keys_.data();
  Wide sum = 0;
  do {
    uint64_t name = *at++;
    if (name >= 0x80) name = LongRef(name, at);
    if (name >= symbols || at == end || key == keys_.data() + kKeyedRefs) [[unlikely]]
      return ReadOddRefs(packed, domain, most);
    uint64_t value = *at++;
    if (value >= 0x80) value = LongRef(value, at);
    if (value >= symbols) [[unlikely]]
      return ReadOddRefs(packed, domain, most);
    sum += static_cast<Wide>(hashes[name] + key[0]) * (hashes[value] + key[1]);
    key += 2;
  } while (at != end);
  LabelRefs refs;
  refs.count = static_cast<size_t>(key - keys_.data());
  const uint64_t low = Mix(static_cast<uint64_t>(sum) + domain);
  refs.key.high = Mix((static_cast<uint64_t>(sum >> 64) ^ low) + refs.count);
  refs.key.low = low + refs.key.high;
  return refs;
}

// None, very many, or not as they should be.
LabelRefs Symbols::ReadOddRefs(std::string_view packed, uint64_t domain, size_t most) {
  LabelRefs refs;
  gathered_.clear();
  WireReader reader(packed);
  while (!reader.AtEnd() && refs.count < most) {
    const uint64_t ref = reader.Varint();
    ++refs.count;
    if (ref >= size()) {
      refs.state = LabelRefs::State::kBad;
    } else if (refs.state == LabelRefs::State::kGood) {
      gathered_.push_back(hashes_[static_cast<size_t>(ref)]);
    }
  }
  if (refs.count % 2 != 0) refs.state = LabelRefs::State::kBad;
  if (reader.failed()) refs.state = LabelRefs::State::kMalformed;
  const auto bytes = std::as_bytes(gathered_.span());
  refs.key = series_->HashKey({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, domain);
  return refs;
}

bool ReadSeries(std::string_view message, PendingSeries& series, std::vector<SideItem>& side_items,
                SampleStager& stager, ByteBuffer& joined) {
  bool together = true;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case kLabelRefsField:
        if (reader.Is(WireType::kBytes) && series.labels.data() == nullptr) [[likely]] {
          series.labels = reader.BytesField();
        } else {
          together = false;
          reader.Skip();
        }
        break;
      case 2: {
        const SampleValue sample = ReadSample(reader.BytesField());
        if (!sample.ok) return false;
        stager.Add(sample, series.left_out);
        break;
      }
      case 3:
        side_items.push_back({SideItem::Kind::kHistogram, reader.BytesField()});
        break;
      case 4:
        side_items.push_back({SideItem::Kind::kExemplar, reader.BytesField()});
        break;
      case 5:
        series.metadata = ReadMetadata(reader.BytesField());
        series.has_metadata = true;
        if (!series.metadata.ok) return false;
        break;
      case 6:
        series.start_timestamp = static_cast<int64_t>(reader.VarintField());
        break;
      default:
        reader.Skip();
    }
  }
  if (!together) {
    if (!JoinRefsOf(message, joined)) return false;
    series.labels = joined.view();
  }
  return !reader.failed();
}

void ReadLabels(std::string_view packed, const Symbols& symbols,
                std::vector<table::Label>& labels) {
  labels.clear();
  WireReader reader(packed);
  while (!reader.AtEnd() && labels.size() <= kMaxLabelsRead) {
    const uint64_t name = reader.Varint();
    if (reader.AtEnd()) break;
    const uint64_t value = reader.Varint();
    if (name >= symbols.size() || value >= symbols.size()) continue;
    labels.push_back({symbols.text(name), symbols.text(value)});
  }
}

bool ReadExemplar(std::string_view message, const Symbols& symbols, ByteBuffer& joined,
                  ExemplarParts& exemplar) {
  exemplar.Clear();
  joined.clear();
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case kLabelRefsField:
        JoinRefs(reader, joined);
        break;
      case 2:
        exemplar.value_bits = reader.Fixed64Field();
        break;
      case 3:
        exemplar.timestamp = static_cast<int64_t>(reader.VarintField());
        break;
      default:
        reader.Skip();
    }
  }
  WireReader refs(joined.view());
  size_t count = 0;
  for (; !refs.AtEnd() && count < kMaxExemplarRefs; ++count) {
    if (refs.Varint() >= symbols.size()) exemplar.refs_ok = false;
  }
  if (count % 2 != 0) exemplar.refs_ok = false;
  if (exemplar.refs_ok) ReadLabels(joined.view(), symbols, exemplar.labels);
  return !reader.failed() && !refs.failed();
}

}  // namespace forebay::receive::remote_write_2
