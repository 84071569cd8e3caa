#include "receive/remote_write_2.h"

namespace forebay::receive::remote_write_2 {
namespace {

constexpr uint64_t kSymbolDomain = 0x73796d626f6c2d32;

uint32_t Clamp(uint64_t ref) {
  constexpr uint64_t kGreatest = 0xffff'ffff;
  return static_cast<uint32_t>(ref < kGreatest ? ref : kGreatest);
}

// Packed, or one by one.
void ReadRefs(WireReader& reader, Column<uint32_t>& refs, size_t most) {
  if (!reader.Is(WireType::kBytes)) {
    const uint32_t ref = Clamp(reader.VarintField());
    if (refs.size() < most) refs.push_back(ref);
    return;
  }
  WireReader packed(reader.BytesField());
  while (!packed.AtEnd() && refs.size() < most) refs.push_back(Clamp(packed.Varint()));
  if (packed.failed()) reader.Fail();
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
  database_label_ = database_label;
  has_database_label_ = false;
  texts_.clear();
  hashes_.clear();
}

void Symbols::Add(std::string_view text) {
  texts_.push_back(text);
  hashes_.push_back(series_->HashKey(text, kSymbolDomain).low);
  if (!database_label_.empty() && text == database_label_) has_database_label_ = true;
}

bool ReadSeries(std::string_view message, PendingSeries& series, Column<uint32_t>& refs,
                std::vector<SideItem>& side_items, SampleStager& stager, size_t most_refs) {
  series.first_ref = static_cast<uint32_t>(refs.size());
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        ReadRefs(reader, refs, most_refs);
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
  series.ref_count = static_cast<uint32_t>(refs.size()) - series.first_ref;
  return !reader.failed();
}

bool RefsAreValid(std::span<const uint32_t> refs, const Symbols& symbols) {
  if (refs.size() % 2 != 0) return false;
  for (const uint32_t ref : refs) {
    if (ref >= symbols.size()) return false;
  }
  return true;
}

void ReadLabels(std::span<const uint32_t> refs, const Symbols& symbols,
                std::vector<table::Label>& labels) {
  labels.clear();
  for (size_t i = 0; i + 1 < refs.size() && labels.size() <= kMaxLabelsRead; i += 2) {
    if (refs[i] >= symbols.size() || refs[i + 1] >= symbols.size()) continue;
    labels.push_back({symbols.text(refs[i]), symbols.text(refs[i + 1])});
  }
}

bool ReadExemplar(std::string_view message, const Symbols& symbols, Column<uint32_t>& refs,
                  ExemplarParts& exemplar) {
  exemplar.Clear();
  refs.clear();
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        ReadRefs(reader, refs, 2 * kMaxLabelsRead + 2);
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
  exemplar.refs_ok = RefsAreValid(refs.span(), symbols);
  if (exemplar.refs_ok) ReadLabels(refs.span(), symbols, exemplar.labels);
  return !reader.failed();
}

}  // namespace forebay::receive::remote_write_2
