#include "wal/sealer.h"

#include <algorithm>
#include <utility>

#include "base/failpoint.h"
#include "base/log.h"
#include "wal/segment_format.h"

namespace forebay::wal {
namespace {

// Up to so many files are synced one by one; more are synced by one syncfs, which costs a few ms
// where a thousand fdatasync cost 190 (measured on ext4).
constexpr size_t kMaxSingleSyncs = 16;
// Rows of one series in one block; more make another block entry.
constexpr uint32_t kMaxRowsPerEntry = 65'536;
// Text of one version 1 block.
// Scratch memory above this is given back after a seal.
constexpr size_t kKeptScratchSamples = 4U << 20;
// Series, enough to hide what memory takes.
constexpr size_t kPrefetchAhead = 12;
// In positions_: the series is in active_ already.
constexpr uint32_t kOrdered = 0xffff'ffff;

}  // namespace

Sealer::Sealer(io::FileSystem& fs, const Clock& clock, table::SeriesTable& series,
               const table::TableRegistry& tables, std::string directory)
    : fs_(fs),
      clock_(clock),
      series_(series),
      tables_(tables),
      directory_(std::move(directory)),
      encoder_(series) {}

void Sealer::Trim() {
  if (timestamps_.capacity() <= kKeptScratchSamples) return;
  std::vector<int64_t>().swap(timestamps_);
  std::vector<uint64_t>().swap(values_);
}

void Sealer::CountSamples(const GenerationContents& contents) {
  counts_.resize(std::max<size_t>(counts_.size(), series_.capacity()), 0);
  positions_.resize(counts_.size());
  found_.clear();
  for (const auto& chunk : contents.chunks) {
    for (size_t i = 0; i < chunk->used; ++i) {
      const table::SeriesRef ref = chunk->refs[i];
      if (counts_[ref]++ == 0) found_.push_back(ref);
    }
  }
}

// Drops from active_ what is not in use now, or whose ref leads to another series by now. Marks the
// rest, in order, in positions_. Returns how many there are.
size_t Sealer::KeepOrder(uint64_t sequence) {
  size_t kept = 0;
  for (size_t i = 0; i < active_.size(); ++i) {
    if (i + kPrefetchAhead < active_.size()) {
      series_.PrefetchSeries(active_[i + kPrefetchAhead].ref);
    }
    const Active active = active_[i];
    if (counts_[active.ref] == 0) continue;
    const table::SeriesView view = series_.Get(active.ref);
    if (view.table != active.table || view.series_id != active.series_id) continue;
    series_.MarkUsed(active.ref, sequence);
    positions_[active.ref] = kOrdered;
    active_[kept++] = active;
  }
  active_.resize(kept);
  return kept;
}

void Sealer::Order(uint64_t sequence) {
  const auto before = [](const Active& a, const Active& b) {
    if (a.table != b.table) return a.table < b.table;
    if (a.series_id != b.series_id) return a.series_id < b.series_id;
    return a.ref < b.ref;
  };
  const size_t kept = KeepOrder(sequence);
  if (kept == found_.size()) return;
  for (const table::SeriesRef ref : found_) {
    if (positions_[ref] == kOrdered) continue;
    const table::SeriesView view = series_.Get(ref);
    series_.MarkUsed(ref, sequence);
    active_.push_back({view.table, ref, view.series_id});
  }
  const auto fresh = active_.begin() + static_cast<std::ptrdiff_t>(kept);
  std::sort(fresh, active_.end(), before);
  merged_.resize(active_.size());
  std::merge(active_.begin(), fresh, fresh, active_.end(), merged_.begin(), before);
  active_.swap(merged_);
}

void Sealer::Scatter(const GenerationContents& contents) {
  uint32_t position = 0;
  for (const Active& active : active_) {
    positions_[active.ref] = position;
    position += counts_[active.ref];
  }
  timestamps_.resize(position);
  values_.resize(position);
  for (const auto& chunk : contents.chunks) {
    for (size_t i = 0; i < chunk->used; ++i) {
      const uint32_t to = positions_[chunk->refs[i]]++;
      timestamps_[to] = chunk->timestamps[i];
      values_[to] = chunk->values[i];
    }
  }
}

Result<std::vector<SegmentInfo>> Sealer::Seal(uint64_t generation_id, uint64_t sequence,
                                              const GenerationContents& contents) {
  CountSamples(contents);
  Order(sequence);
  Scatter(contents);
  Result<std::vector<SegmentInfo>> segments = WriteAll(generation_id, contents);
  for (const Active& active : active_) {
    counts_[active.ref] = 0;
    positions_[active.ref] = 0;
  }
  if (segments.ok()) {
    FOREBAY_FAILPOINT("seal.before_sync");
    const Status synced = Sync(*segments);
    if (synced.ok()) return segments;
    segments = Error(synced.error());
  }
  RemoveScrap(generation_id);
  return segments;
}

// A table's samples, its text rows and what peers handed over of it share one segment: there is one
// name for all.
Result<std::vector<SegmentInfo>> Sealer::WriteAll(uint64_t generation_id,
                                                  const GenerationContents& contents) {
  std::vector<SegmentInfo> segments;
  size_t peers_written = 0;
  const auto write = [&](table::TableId table, TableParts parts) -> Status {
    const auto peers = contents.peers.find(tables_.Get(table).key);
    if (peers != contents.peers.end()) {
      parts.peers = &peers->second;
      ++peers_written;
    }
    parts.header_line = tables_.Get(table).schema.header_line();
    FOREBAY_ASSIGN_OR_RETURN(auto segment, WriteSegment(NameOf(table, generation_id), parts));
    segments.push_back(std::move(segment));
    return {};
  };
  const std::span<const Active> all(active_);
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin;
    while (end < all.size() && all[end].table == all[begin].table) ++end;
    TableParts parts;
    parts.series = all.subspan(begin, end - begin);
    const auto text = contents.texts.find(all[begin].table);
    if (text != contents.texts.end()) parts.text = &text->second;
    FOREBAY_RETURN_IF_ERROR(write(all[begin].table, parts));
    begin = end;
  }
  const auto has_samples = [this](table::TableId table) {
    const auto series = std::lower_bound(
        active_.begin(), active_.end(), table,
        [](const Active& active, table::TableId wanted) { return active.table < wanted; });
    return series != active_.end() && series->table == table;
  };
  for (const auto& [table, column] : contents.texts) {
    if (has_samples(table)) continue;  // written with them
    TableParts parts;
    parts.text = &column;
    FOREBAY_RETURN_IF_ERROR(write(table, parts));
  }
  if (peers_written == contents.peers.size()) return segments;
  for (const auto& [key, column] : contents.peers) {
    const auto table = tables_.Find(key);
    if (table && (has_samples(*table) || contents.texts.contains(*table))) continue;
    TableParts parts;
    parts.peers = &column;
    SegmentName name = column.name;
    name.id = generation_id;
    FOREBAY_ASSIGN_OR_RETURN(auto segment, WriteSegment(std::move(name), parts));
    segments.push_back(std::move(segment));
  }
  return segments;
}

SegmentName Sealer::NameOf(table::TableId table, uint64_t generation_id) const {
  const table::TableInfo& info = tables_.Get(table);
  return {info.database, info.name, info.schema.hash_text(), generation_id};
}

Result<Sealer::OpenSegment> Sealer::Open(SegmentName name) {
  OpenSegment segment;
  segment.info.name = std::move(name);
  segment.info.created = clock_.Now();
  FOREBAY_ASSIGN_OR_RETURN(segment.info.file_name, FormatSegmentName(segment.info.name));
  // Truncates: a failed attempt may have left the name.
  FOREBAY_ASSIGN_OR_RETURN(segment.file, fs_.Open(io::JoinPath(directory_, segment.info.file_name),
                                                  io::OpenMode::kCreateOrTruncate));
  writer_.Reset(*segment.file, segment.info.created);
  return segment;
}

Result<SegmentInfo> Sealer::Close(OpenSegment segment) {
  FOREBAY_ASSIGN_OR_RETURN(const SegmentSummary summary, writer_.Finish());
  SegmentInfo& info = segment.info;
  info.rows = summary.rows;
  info.row_bytes = summary.row_bytes;
  if (summary.has_timestamps()) {
    info.min_timestamp = summary.min_timestamp;
    info.max_timestamp = summary.max_timestamp;
  }
  info.known_since = clock_.Monotonic();
  FOREBAY_ASSIGN_OR_RETURN(info.file_bytes, segment.file->Size());
  FOREBAY_RETURN_IF_ERROR(segment.file->Close());
  return std::move(info);
}

Result<SegmentInfo> Sealer::WriteSegment(SegmentName name, const TableParts& parts) {
  FOREBAY_ASSIGN_OR_RETURN(OpenSegment segment, Open(std::move(name)));
  if (!parts.series.empty()) {
    FOREBAY_RETURN_IF_ERROR(WriteSeries(parts.series, parts.header_line));
  }
  if (parts.peers != nullptr) {
    FOREBAY_RETURN_IF_ERROR(WritePeers(*parts.peers));
    segment.info.stays = true;
  }
  if (parts.text != nullptr) FOREBAY_RETURN_IF_ERROR(WriteText(*parts.text, parts.header_line));
  return Close(std::move(segment));
}

Status Sealer::WritePeers(const PeerColumn& column) {
  writer_.MarkFromPeer();
  for (const PeerSegment& segment : column.segments) {
    const std::span<const char> bytes(segment.bytes);
    for (const PeerBlock& block : segment.blocks) {
      FOREBAY_RETURN_IF_ERROR(writer_.AppendEncoded(block.header, block.stats,
                                                    bytes.subspan(block.offset, block.bytes)));
    }
  }
  return {};
}

Status Sealer::WriteSeries(std::span<const Active> series, std::string_view header_line) {
  encoder_.Reset(header_line);
  for (size_t i = 0; i < series.size(); ++i) {
    if (i + kPrefetchAhead < series.size()) {
      series_.PrefetchSeries(series[i + kPrefetchAhead].ref);
    }
    if (i + kPrefetchAhead / 2 < series.size()) {
      series_.PrefetchValues(series[i + kPrefetchAhead / 2].ref);
    }
    const Active& active = series[i];
    const uint32_t count = counts_[active.ref];
    const uint32_t end = positions_[active.ref];
    for (uint32_t begin = end - count; begin < end;) {
      const uint32_t rows = std::min(end - begin, kMaxRowsPerEntry);
      encoder_.Add(active.ref, {timestamps_.data() + begin, rows}, {values_.data() + begin, rows});
      begin += rows;
      if (encoder_.payload_bytes() >= kTargetBlockBytes)
        FOREBAY_RETURN_IF_ERROR(FlushBlock(header_line));
    }
  }
  return FlushBlock(header_line);
}

Status Sealer::FlushBlock(std::string_view header_line) {
  if (encoder_.empty()) return {};
  const BlockStats stats{encoder_.row_bytes(), encoder_.min_timestamp(), encoder_.max_timestamp()};
  BlockHeader header;
  header.version = kBlockVersionSeries;
  header.type = BlockType::kMetric;
  header.row_count = encoder_.rows();
  FOREBAY_RETURN_IF_ERROR(writer_.Append(header, stats, encoder_.Finish()));
  encoder_.Reset(header_line);
  return {};
}

Status Sealer::WriteText(const TextColumn& column, std::string_view header_line) {
  std::string payload;
  for (size_t next = 0; next < column.chunks.size();) {
    payload = header_line;
    BlockHeader header;
    header.version = kBlockVersionRows;
    header.type = BlockType::kMetric;
    BlockStats stats;
    // Several, when those of the shards are small.
    do {
      const TextChunk& chunk = column.chunks[next++];
      payload += chunk.text.view();
      header.row_count += chunk.rows;
      stats.row_bytes += chunk.text.size();
    } while (next < column.chunks.size() &&
             stats.row_bytes + column.chunks[next].text.size() <= kTextChunkBytes);
    FOREBAY_RETURN_IF_ERROR(writer_.Append(header, stats, payload));
  }
  return {};
}

Status Sealer::Sync(const std::vector<SegmentInfo>& segments) {
  if (segments.size() <= kMaxSingleSyncs) {
    for (const SegmentInfo& segment : segments) {
      FOREBAY_ASSIGN_OR_RETURN(auto file, fs_.Open(io::JoinPath(directory_, segment.file_name),
                                                   io::OpenMode::kReadWrite));
      FOREBAY_RETURN_IF_ERROR(file->SyncData());
    }
  } else {
    FOREBAY_RETURN_IF_ERROR(fs_.SyncVolume(directory_));
  }
  return fs_.SyncDirectory(directory_);
}

// Best effort: what stays is scrap all the same while the journal exists.
void Sealer::RemoveScrap(uint64_t generation_id) {
  const auto entries = fs_.List(directory_);
  if (!entries.ok()) return;
  for (const io::DirectoryEntry& entry : *entries) {
    const Result<SegmentName> name = ParseSegmentName(entry.name);
    if (!name.ok() || name->id != generation_id) continue;
    const Status removed = fs_.Remove(io::JoinPath(directory_, entry.name));
    if (!removed.ok()) LogWarn("scrap segment stays", {{"error", removed.error().ToString()}});
  }
}

}  // namespace forebay::wal
