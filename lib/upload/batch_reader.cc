// Merges the segments of a batch. One cursor per segment stands at a series, a text block or the
// end. Neighbours whose blocks say the same of the same series, as those of successive generations
// mostly do, are one group: the first of them leads, it alone knows the series and has a place in
// the heap.
#include "upload/batch_reader.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "wal/segment_reader.h"
#include "wal/series_block.h"
#include "wal/text_rows.h"

namespace forebay::upload {

struct BatchReaderMemory::OfSegment {
  // A symbol whose text was compared, see Cursor::SymbolIs.
  struct Match {
    const char* text = nullptr;
    uint64_t epoch = 0;
  };

  wal::SegmentReaderMemory bytes;
  wal::SeriesBlockDecoder decoder;
  std::vector<Match> matches;  // by symbol of the block
};

BatchReaderMemory::BatchReaderMemory() = default;
BatchReaderMemory::~BatchReaderMemory() = default;

BatchReaderMemory::OfSegment& BatchReaderMemory::Of(size_t segment) {
  while (segments_.size() <= segment) segments_.push_back(std::make_unique<OfSegment>());
  return *segments_[segment];
}

void BatchReaderMemory::DropWhatIsTooMuch() {
  constexpr size_t kDecodedFactor = 4;  // the arrays of a block, beside its bytes
  size_t bytes = 0;
  size_t kept = 0;
  for (; kept < segments_.size(); ++kept) {
    const wal::SegmentReaderMemory& memory = segments_[kept]->bytes;
    bytes +=
        sizeof(OfSegment) + memory.window.capacity() + kDecodedFactor * memory.decoded.capacity();
    if (bytes > kBatchMemoryKept) break;
  }
  segments_.resize(kept);
}

// The place in one segment.
class BatchReader::Cursor {
 public:
  enum class State { kSeries, kText, kEnd };

  Cursor(const Source& source, bool has_schema, BatchReaderMemory::OfSegment& memory)
      : source_(source),
        has_schema_(has_schema),
        bytes_(memory.bytes),
        decoder_(memory.decoder),
        matches_(memory.matches) {}

  State state() const { return state_; }
  // Its series are those of the cursor that was given to NextBlock.
  bool follows() const { return follows_; }
  // Goes to the next series of the block. False: there is none.
  bool NextSeries() {
    if (index_ + 1 >= decoder_.series().size()) return false;
    ++index_;
    return true;
  }
  const wal::SeriesBlockDecoder::Series& series() const { return decoder_.series()[index_]; }
  const wal::SeriesBlockDecoder& decoder() const { return decoder_; }
  TextRun text() const { return text_; }
  // Whether the symbol's text is `text`, of the block that another cursor shows. A text that was
  // found equal is known by its place until some cursor goes to another block (`epoch`).
  bool SymbolIs(uint32_t symbol, std::string_view text, uint64_t epoch) {
    BatchReaderMemory::OfSegment::Match& match = matches_[symbol];
    if (match.text == text.data() && match.epoch == epoch) return true;
    if (decoder_.symbols()[symbol] != text) return false;
    match = {text.data(), epoch};
    return true;
  }

  Status Open(BatchReader& owner);
  // leader: a cursor at the begin of a block, or null.
  Status NextBlock(BatchReader& owner, const Cursor* leader);

 private:
  Status TakeBlock(BatchReader& owner, const wal::Block& block, const Cursor* leader);
  Status TakeSeries(BatchReader& owner, const wal::Block& block, const Cursor* leader);
  void TakeText(const wal::Block& block);
  Status KeepDamage(BatchReader& owner);
  Status Keep(BatchReader& owner, uint64_t offset, std::string_view bytes, std::string_view reason);
  void Close();

  const Source& source_;
  const bool has_schema_;
  State state_ = State::kEnd;
  wal::SegmentReaderMemory& bytes_;
  wal::SeriesBlockDecoder& decoder_;
  std::vector<BatchReaderMemory::OfSegment::Match>& matches_;
  std::unique_ptr<wal::SegmentReader> reader_;
  size_t index_ = 0;  // of the series within the block; not of one that follows
  bool follows_ = false;
  TextRun text_;
  std::string header_line_;   // seen last in this segment, so that the same is not parsed again
  size_t ranges_kept_ = 0;    // of reader_->damage()
  uint64_t last_length_ = 0;  // of the last range kept: the reader may widen it
  bool logged_ = false;
};

Status BatchReader::Cursor::Open(BatchReader& owner) {
  auto reader = wal::SegmentReader::Open(owner.fs_, source_.path, {.memory = &bytes_});
  if (reader.ok()) {
    reader_ = *std::move(reader);
    state_ = State::kText;
    return OkStatus();
  }
  if (reader.error().code() != ErrorCode::kCorruption) return reader.error();
  FOREBAY_ASSIGN_OR_RETURN(auto file, owner.fs_.Open(source_.path, io::OpenMode::kRead));
  FOREBAY_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  std::string bytes(std::min<uint64_t>(size, wal::kMaxQuarantineItem), '\0');
  FOREBAY_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, bytes));
  bytes.resize(got);
  return Keep(owner, 0, bytes, "not a segment");
}

Status BatchReader::Cursor::NextBlock(BatchReader& owner, const Cursor* leader) {
  if (state_ == State::kEnd) return OkStatus();
  follows_ = false;
  while (true) {
    auto block = reader_->Next();
    if (!block.ok()) return block.error().WithContext(source_.file_name);
    FOREBAY_RETURN_IF_ERROR(KeepDamage(owner));
    if (!*block) {
      Close();
      return OkStatus();
    }
    ++owner.stats_.blocks;
    owner.stats_.file_bytes += (*block)->frame.size();
    owner.ShowProgress();
    state_ = State::kEnd;
    FOREBAY_RETURN_IF_ERROR(TakeBlock(owner, **block, leader));
    if (state_ != State::kEnd) return OkStatus();
  }
}

// Leaves state_ at kEnd when there is nothing to hand out in the block.
Status BatchReader::Cursor::TakeBlock(BatchReader& owner, const wal::Block& block,
                                      const Cursor* leader) {
  switch (block.header.version) {
    case wal::kBlockVersionLegacy:
    case wal::kBlockVersionRows:
      TakeText(block);
      return OkStatus();
    case wal::kBlockVersionSeries:
      return TakeSeries(owner, block, leader);
    default:
      return Keep(owner, block.offset, {block.frame.data(), block.frame.size()},
                  fmt::format("unknown block version {}", block.header.version));
  }
}

Status BatchReader::Cursor::TakeSeries(BatchReader& owner, const wal::Block& block,
                                       const Cursor* leader) {
  const std::string_view payload(block.payload.data(), block.payload.size());
  Result<bool> follows = false;
  if (leader != nullptr) {
    follows = decoder_.DecodeLike(leader->decoder(), payload, block.header.row_count);
  }
  Status decoded = follows.ok() ? OkStatus() : Status(follows.error());
  if (decoded.ok() && !*follows) decoded = decoder_.Decode(payload, block.header.row_count);
  if (!decoded.ok()) {
    return Keep(owner, block.offset, {block.frame.data(), block.frame.size()},
                decoded.error().message());
  }
  follows_ = *follows;
  index_ = 0;
  if (follows_) {
    state_ = State::kSeries;
    return OkStatus();
  }
  ++owner.blocks_epoch_;
  matches_.assign(decoder_.symbols().size(), {});
  if (!decoder_.series().empty()) state_ = State::kSeries;
  return OkStatus();
}

void BatchReader::Cursor::TakeText(const wal::Block& block) {
  std::string_view text(block.payload.data(), block.payload.size());
  if (has_schema_) {
    if (!header_line_.empty() && text.starts_with(header_line_)) {
      text.remove_prefix(header_line_.size());
    } else {
      const size_t header = wal::HeaderLineBytes(text);
      if (header > 0 && text[header - 1] == '\n') header_line_ = text.substr(0, header);
      text.remove_prefix(header);
    }
  }
  if (text.empty()) return;
  text_.text = text;
  text_.rows = block.header.row_count != 0 ? block.header.row_count : wal::CountTextRows(text);
  state_ = State::kText;
}

Status BatchReader::Cursor::KeepDamage(BatchReader& owner) {
  const auto& damage = reader_->damage();
  if (ranges_kept_ > 0 && damage[ranges_kept_ - 1].length != last_length_) --ranges_kept_;
  for (; ranges_kept_ < damage.size(); ++ranges_kept_) {
    const wal::DamagedRange& range = damage[ranges_kept_];
    FOREBAY_ASSIGN_OR_RETURN(auto file, owner.fs_.Open(source_.path, io::OpenMode::kRead));
    std::string bytes(std::min<uint64_t>(range.length, wal::kMaxQuarantineItem), '\0');
    FOREBAY_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(range.offset, bytes));
    bytes.resize(got);
    FOREBAY_RETURN_IF_ERROR(Keep(owner, range.offset, bytes,
                                 fmt::format("{}: bytes {} to {}", Name(range.reason), range.offset,
                                             range.offset + range.length)));
    last_length_ = range.length;
  }
  return OkStatus();
}

Status BatchReader::Cursor::Keep(BatchReader& owner, uint64_t offset, std::string_view bytes,
                                 std::string_view reason) {
  ++owner.stats_.damaged_ranges;
  owner.stats_.damaged_bytes += bytes.size();
  const auto kept = owner.quarantine_.Keep(fmt::format("{}.{}", source_.file_name, offset), bytes,
                                           fmt::format("{}: {}", source_.file_name, reason));
  if (!kept.ok() && kept.error().code() != ErrorCode::kResourceExhausted) return kept.error();
  // A batch is read once per sink and try: what is in the quarantine already was counted then.
  if (kept.ok() && !*kept) return OkStatus();
  owner.damage_.Increment();
  if (std::exchange(logged_, true)) return OkStatus();
  LogError(kept.ok() ? "segment is damaged: the bytes are in the quarantine, good blocks go on"
                     : "segment is damaged and the quarantine is full: the bytes are lost",
           {{"segment", source_.file_name},
            {"offset", offset},
            {"bytes", bytes.size()},
            {"reason", reason}});
  return OkStatus();
}

void BatchReader::Cursor::Close() {
  state_ = State::kEnd;
  reader_.reset();
}

Result<std::unique_ptr<BatchReader>> BatchReader::Open(io::FileSystem& fs,
                                                       std::vector<Source> sources, bool has_schema,
                                                       wal::Quarantine& quarantine,
                                                       metrics::Counter& damage,
                                                       BatchReaderMemory* memory) {
  std::unique_ptr<BatchReader> reader(
      new BatchReader(fs, std::move(sources), has_schema, quarantine, damage, memory));
  FOREBAY_RETURN_IF_ERROR(reader->Start());
  return reader;
}

BatchReader::BatchReader(io::FileSystem& fs, std::vector<Source> sources, bool has_schema,
                         wal::Quarantine& quarantine, metrics::Counter& damage,
                         BatchReaderMemory* memory)
    : fs_(fs),
      sources_(std::move(sources)),
      has_schema_(has_schema),
      quarantine_(quarantine),
      damage_(damage),
      memory_(memory != nullptr ? *memory : own_memory_) {}

BatchReader::~BatchReader() {
  cursors_.clear();
  memory_.DropWhatIsTooMuch();
}

Status BatchReader::Start() {
  for (const Source& source : sources_) {
    cursors_.push_back(std::make_unique<Cursor>(source, has_schema_, memory_.Of(cursors_.size())));
    FOREBAY_RETURN_IF_ERROR(cursors_.back()->Open(*this));
  }
  group_ends_.resize(cursors_.size());
  return GoToNextBlocks(0, cursors_.size());
}

// Puts the cursors [begin, end) at their next blocks, and makes groups of them.
Status BatchReader::GoToNextBlocks(size_t begin, size_t end) {
  const Cursor* leader = nullptr;
  std::vector<Head> groups;
  for (size_t i = begin; i < end; ++i) {
    Cursor& cursor = *cursors_[i];
    FOREBAY_RETURN_IF_ERROR(cursor.NextBlock(*this, leader));
    if (cursor.state() != Cursor::State::kSeries) {
      leader = nullptr;
      continue;
    }
    if (!cursor.follows()) {
      leader = &cursor;
      groups.push_back({cursor.series().series_id, i});
    }
    group_ends_[groups.back().leader] = i + 1;
  }
  for (const Head& group : groups) {
    heap_.push_back(group);
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
  return OkStatus();
}

Status BatchReader::Rewind() {
  cursors_.clear();
  heap_.clear();
  advance_ = kNoCursor;
  member_ = kNoCursor;
  shown_ = kNoCursor;
  next_text_ = 0;
  stats_ = BatchReadStats();
  source_error_ = false;
  Status started = Start();
  source_error_ = !started.ok();
  return started;
}

// Moves what was handed out last: a cursor at text, or the group of the heap's first, whose next
// series is mostly not far.
Status BatchReader::AdvanceLast() {
  const size_t index = std::exchange(advance_, kNoCursor);
  Cursor& cursor = *cursors_[index];
  if (cursor.state() != Cursor::State::kSeries) return GoToNextBlocks(index, index + 1);
  if (cursor.NextSeries()) {
    heap_.front().series_id = cursor.series().series_id;
    SiftDown();
    return OkStatus();
  }
  if (index == shown_) shown_ = kNoCursor;
  std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
  heap_.pop_back();
  return GoToNextBlocks(index, group_ends_[index]);
}

// Puts the first of the heap, which may have grown, where it belongs.
void BatchReader::SiftDown() {
  const Head head = heap_.front();
  size_t at = 0;
  while (true) {
    size_t child = 2 * at + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1] < heap_[child]) ++child;
    if (head < heap_[child]) break;
    heap_[at] = heap_[child];
    at = child;
  }
  heap_[at] = head;
}

Result<RunKind> BatchReader::Next() {
  if (stop_.stop_requested()) {
    source_error_ = true;
    return Error(ErrorCode::kCancelled, "stopping").WithRetryable(true);
  }
  if (member_ != kNoCursor && ++member_ < group_ends_[advance_]) {
    series_.same_series = true;
    ShowRows(member_);
    return RunKind::kSeries;
  }
  member_ = kNoCursor;
  if (advance_ != kNoCursor) {
    if (const Status advanced = AdvanceLast(); !advanced.ok()) {
      source_error_ = true;
      return advanced.error();
    }
  }
  if (!heap_.empty()) {
    advance_ = heap_.front().leader;
    member_ = advance_;
    ShowSeries(advance_);
    ShowRows(advance_);
    return RunKind::kSeries;
  }
  while (next_text_ < cursors_.size() && cursors_[next_text_]->state() == Cursor::State::kEnd) {
    ++next_text_;
  }
  if (next_text_ == cursors_.size()) return RunKind::kEnd;
  advance_ = next_text_;
  text_ = cursors_[advance_]->text();
  stats_.rows += text_.rows;
  return RunKind::kText;
}

// Whether the cursor's series is the one in labels_ and lifted_. The id alone, a hash, is no proof.
bool BatchReader::IsShown(Cursor& cursor) const {
  const wal::SeriesBlockDecoder::Series& series = cursor.series();
  if (shown_ == kNoCursor || series.series_id != series_.series_id ||
      series.label_count != labels_.size() || series.lifted_count != lifted_.size()) {
    return false;
  }
  const auto names = cursor.decoder().NameSymbols(series);
  const auto values = cursor.decoder().ValueSymbols(series);
  for (size_t i = 0; i < labels_.size(); ++i) {
    if (!cursor.SymbolIs(values[i], labels_[i].value, blocks_epoch_) ||
        !cursor.SymbolIs(names[i], labels_[i].name, blocks_epoch_)) {
      return false;
    }
  }
  for (size_t i = 0; i < lifted_.size(); ++i) {
    if (!cursor.SymbolIs(values[labels_.size() + i], lifted_[i], blocks_epoch_)) return false;
  }
  return true;
}

void BatchReader::ShowSeries(size_t index) {
  Cursor& cursor = *cursors_[index];
  const wal::SeriesBlockDecoder& decoder = cursor.decoder();
  const wal::SeriesBlockDecoder::Series& series = cursor.series();
  series_.same_series = IsShown(cursor);
  if (!series_.same_series) {
    shown_ = index;
    labels_.clear();
    for (uint32_t i = 0; i < series.label_count; ++i) {
      labels_.push_back({decoder.LabelName(series, i), decoder.LabelValue(series, i)});
    }
    lifted_.clear();
    for (uint32_t i = 0; i < series.lifted_count; ++i) {
      lifted_.push_back(decoder.LiftedValue(series, i));
    }
  }
  series_.series_id = series.series_id;
  series_.labels = labels_;
  series_.lifted = lifted_;
}

// Of the series of the group at advance_, those of one of its members.
void BatchReader::ShowRows(size_t member) {
  const wal::SeriesBlockDecoder::Series& series = cursors_[advance_]->series();
  const wal::SeriesBlockDecoder& decoder = cursors_[member]->decoder();
  series_.timestamps = decoder.timestamps().subspan(series.first_row, series.rows);
  series_.values = decoder.values().subspan(series.first_row, series.rows);
  stats_.rows += series.rows;
}

Result<std::optional<table::Schema>> ReadSegmentSchema(io::FileSystem& fs,
                                                       const std::string& path) {
  std::optional<table::Schema> none;
  auto reader = wal::SegmentReader::Open(fs, path);
  if (!reader.ok()) {
    if (reader.error().code() == ErrorCode::kCorruption) return none;
    return reader.error();
  }
  FOREBAY_ASSIGN_OR_RETURN(const auto block, (*reader)->Next());
  if (!block) return none;
  std::string_view header(block->payload.data(), block->payload.size());
  wal::SeriesBlockDecoder decoder;
  if (block->header.version == wal::kBlockVersionSeries) {
    if (!decoder.Decode(header, block->header.row_count).ok()) return none;
    header = decoder.header_line();
  }
  auto schema = table::Schema::ParseHeaderLine(header);
  if (!schema.ok()) return none;
  return std::optional<table::Schema>(*std::move(schema));
}

}  // namespace forebay::upload
