#include "receive/remote_write_1.h"

#include <algorithm>

namespace forebay::receive::remote_write_1 {
namespace {

constexpr uint32_t kLabelsField = 1;

table::Label ReadLabel(std::string_view message, WireReader& parent) {
  table::Label label;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        label.name = reader.BytesField();
        break;
      case 2:
        label.value = reader.BytesField();
        break;
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) parent.Fail();
  return label;
}

// Reads labels as nearly all are written: a name and then a value, neither longer than a byte can
// say. Stops before the first that is not so. Returns: where.
const char* ReadPlainLabels(std::string_view label_fields, std::vector<table::Label>& labels) {
  constexpr int kLabelTag = kLabelsField << 3 | 2;
  constexpr int kNameTag = 1 << 3 | 2;
  constexpr int kValueTag = 2 << 3 | 2;
  constexpr ptrdiff_t kAround = 4;  // tags and lengths of name and value
  constexpr ptrdiff_t kMaxOneByte = 0x7f;
  const char* at = label_fields.data();
  const char* const end = at + label_fields.size();
  while (end - at >= 2 + kAround && labels.size() <= kMaxLabelsRead) {
    const ptrdiff_t size = static_cast<unsigned char>(at[1]);
    const ptrdiff_t name_size = static_cast<unsigned char>(at[3]);
    if (at[0] != kLabelTag || size > std::min(kMaxOneByte, end - at - 2) || at[2] != kNameTag ||
        name_size + kAround > size) {
      break;
    }
    const char* const name = at + kAround;
    const char* const value = name + name_size + 2;
    if (value[-2] != kValueTag || name_size + kAround + value[-1] != size) break;
    at += 2 + size;
    labels.push_back(
        {{name, static_cast<size_t>(name_size)}, {value, static_cast<size_t>(at - value)}});
  }
  return at;
}

// Copies the label fields of a series that has other fields between them.
std::string_view JoinLabels(std::string_view message, ByteBuffer& joined) {
  joined.clear();
  WireReader reader(message);
  while (reader.Next()) {
    reader.Skip();
    if (reader.field() != kLabelsField) continue;
    const auto size = static_cast<size_t>(reader.position() - reader.field_begin());
    joined.Append({reader.field_begin(), size});
  }
  return joined.view();
}

}  // namespace

bool ReadSeries(std::string_view message, PendingSeries& series, std::vector<SideItem>& side_items,
                SampleStager& stager, ByteBuffer& joined) {
  const char* labels_begin = nullptr;
  const char* labels_end = nullptr;
  bool contiguous = true;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case kLabelsField:
        reader.BytesField();
        reader.SkipShortBytesFields(kLabelsField);
        if (labels_begin == nullptr) {
          labels_begin = reader.field_begin();
        } else if (labels_end != reader.field_begin()) {
          contiguous = false;
        }
        labels_end = reader.position();
        break;
      case 2: {
        const SampleValue sample = ReadSample(reader.BytesField());
        if (!sample.ok) return false;
        stager.Add(sample, series.left_out);
        break;
      }
      case 3:
        side_items.push_back({SideItem::Kind::kExemplar, reader.BytesField()});
        break;
      case 4:
        side_items.push_back({SideItem::Kind::kHistogram, reader.BytesField()});
        break;
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) return false;
  if (!contiguous) {
    series.labels = JoinLabels(message, joined);
  } else if (labels_begin != nullptr) {
    series.labels = {labels_begin, static_cast<size_t>(labels_end - labels_begin)};
  }
  return true;
}

bool ReadLabels(std::string_view label_fields, std::vector<table::Label>& labels) {
  labels.clear();
  const char* const rest = ReadPlainLabels(label_fields, labels);
  WireReader reader(label_fields.substr(static_cast<size_t>(rest - label_fields.data())));
  while (reader.Next()) {
    const table::Label label = ReadLabel(reader.BytesField(), reader);
    if (labels.size() <= kMaxLabelsRead) labels.push_back(label);
  }
  return !reader.failed();
}

bool ReadExemplar(std::string_view message, ExemplarParts& exemplar) {
  exemplar.Clear();
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        if (exemplar.labels.size() > kMaxLabelsRead) {
          reader.Skip();
          break;
        }
        exemplar.labels.push_back(ReadLabel(reader.BytesField(), reader));
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
  return !reader.failed();
}

MetadataParts ReadMetadata(std::string_view message) {
  MetadataParts metadata;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        metadata.type = reader.VarintField();
        break;
      case 2:
        metadata.metric = reader.BytesField();
        break;
      case 4:
        metadata.help = reader.BytesField();
        break;
      case 5:
        metadata.unit = reader.BytesField();
        break;
      default:
        reader.Skip();
    }
  }
  metadata.ok = !reader.failed();
  return metadata;
}

}  // namespace forebay::receive::remote_write_1
