// What the log does with a sample: columns of the generation, journal, seal; and what reading
// segments costs, one's own and those that a peer sends. Files lie in memory (pipeline.h).
#include <algorithm>
#include <cstring>
#include <memory>

#include "bench/floors.h"
#include "bench/sealed.h"
#include "bench/steps.h"
#include "wal/peer_segment.h"
#include "wal/s2_decoder.h"

namespace forebay::bench {
namespace {

constexpr size_t kGroupCommit = 8;  // requests of one write
constexpr size_t kWriteBytes = wal::kSegmentWriteBytes;

Step Append() {
  struct State {
    Payload payload;
    Pipeline pipeline;
    std::vector<receive::StagedWrite> staged;
    std::unique_ptr<wal::Generation> generation;
    FlatColumns columns{kRounds * payload.samples()};
  };
  const auto state = std::make_shared<State>();
  for (const std::string& message : state->payload.Messages(0)) {
    state->pipeline.DecodeMessage(state->payload.kind(), message, state->staged.emplace_back());
  }
  state->generation = state->pipeline.NewGeneration();
  Step step;
  step.items = kRounds * state->payload.samples();
  step.bytes = step.items * receive::kStagedSampleBytes;
  step.product.before = [state] { state->generation->Discard(); };
  step.product.run = [state, items = step.items] {
    for (uint64_t round = 0; round < kRounds; ++round) {
      for (const receive::StagedWrite& staged : state->staged) {
        state->generation->Append(0, staged.sample_columns());
      }
    }
    return state->generation->samples() == items;
  };
  step.floor.run = [state, items = step.items] {
    size_t at = 0;
    for (uint64_t round = 0; round < kRounds; ++round) {
      for (const receive::StagedWrite& staged : state->staged) {
        const wal::SampleColumns from = staged.sample_columns();
        std::memcpy(&state->columns.refs[at], from.refs.data(), from.refs.size_bytes());
        std::memcpy(&state->columns.timestamps[at], from.timestamps.data(),
                    from.timestamps.size_bytes());
        std::memcpy(&state->columns.values[at], from.values.data(), from.values.size_bytes());
        at += from.refs.size();
      }
    }
    return at == items;
  };
  return step;
}

// Into a spare file, as in steady state. Nothing is synced: that is waiting, not work.
Step Journal() {
  struct State {
    Payload payload;
    std::vector<std::string> bodies = payload.Bodies(0);
    std::vector<wal::PendingRecord> records{bodies.size()};
    ScratchDirectory directory;
    io::PosixFileSystem fs;
    std::unique_ptr<wal::JournalWriter> writer;
    uint64_t empty_bytes = 0;
    std::vector<char> buffer = ResidentBuffer(TotalBytes(bodies));
    uint32_t checksum = 0;

    // Begins the journal in the file of the one before.
    void Begin() {
      wal::JournalWriter::Options options;
      options.identity = {1, 2};
      options.durable = false;
      options.reserve_max = 64U << 20;
      const std::string name = directory.path() + "/" + wal::JournalFileName(options.identity);
      if (writer != nullptr) {
        options.spare = directory.path() + "/" + wal::SpareFileName(1);
        MustOk(fs.Rename(name, options.spare));
      }
      writer = Must(wal::JournalWriter::Create(fs, directory.path(), options));
      empty_bytes = writer->bytes();
    }
  };
  const auto state = std::make_shared<State>();
  Step step;
  step.items = state->payload.samples();
  step.bytes = TotalBytes(state->bodies);
  step.product.before = [state] { state->Begin(); };
  step.product.run = [state, bytes = step.bytes] {
    for (size_t begin = 0; begin < state->bodies.size(); begin += kGroupCommit) {
      const size_t end = std::min(begin + kGroupCommit, state->bodies.size());
      for (size_t i = begin; i < end; ++i) {
        wal::PendingRecord& record = state->records[i];
        record.kind = state->payload.kind();
        record.body = state->bodies[i];
        record.next = i + 1 < end ? &state->records[i + 1] : nullptr;
      }
      if (!state->writer->Append(&state->records[begin]).ok()) return false;
    }
    return state->writer->bytes() ==
           state->empty_bytes + bytes + state->bodies.size() * wal::kRecordHeaderBytes;
  };
  step.floor.run = [state] {
    char* to = state->buffer.data();
    for (const std::string& body : state->bodies) {
      state->checksum ^= io::Crc32c(body);
      std::memcpy(to, body.data(), body.size());
      to += body.size();
    }
    return true;
  };
  return step;
}

// Every generation's samples go to their places by series; checksum and write of as many bytes as
// the segments have.
bool SealFlat(Sealed& sealed, std::vector<std::vector<uint32_t>>& starts, FlatColumns& ordered,
              io::File& file) {
  for (size_t g = 0; g < sealed.contents.size(); ++g) {
    std::vector<uint32_t> positions = starts[g];
    for (const auto& chunk : sealed.contents[g].chunks) {
      for (size_t i = 0; i < chunk->used; ++i) {
        const uint32_t to = positions[chunk->refs[i]]++;
        ordered.timestamps[to] = chunk->timestamps[i];
        ordered.values[to] = chunk->values[i];
      }
    }
  }
  if (!file.Truncate(0).ok()) return false;
  uint64_t offset = 0;
  std::vector<char>& buffer = sealed.file_buffer;
  buffer.resize(2 * kWriteBytes);
  size_t used = 0;
  for (const auto& segment : sealed.files) {
    std::memcpy(buffer.data() + used, segment->bytes.data(), segment->bytes.size());
    segment->checksum = io::Crc32Ieee({buffer.data() + used, segment->bytes.size()});
    used += segment->bytes.size();
    if (used < kWriteBytes && segment != sealed.files.back()) continue;
    if (!file.WriteAt(offset, {buffer.data(), used}).ok()) return false;
    offset += used;
    used = 0;
  }
  return offset == sealed.file_bytes;
}

Step Seal(uint64_t samples_per_generation) {
  const auto sealed = SealedOf(samples_per_generation);
  struct State {
    std::vector<std::vector<uint32_t>> starts;
    std::unique_ptr<FlatColumns> ordered;
    std::unique_ptr<io::File> file;
  };
  const auto state = std::make_shared<State>();
  uint64_t largest = 0;
  for (const wal::GenerationContents& contents : sealed->contents) {
    std::vector<uint32_t>& starts = state->starts.emplace_back(sealed->pipeline.series.capacity());
    for (const auto& chunk : contents.chunks) {
      for (size_t i = 0; i < chunk->used; ++i) ++starts[chunk->refs[i]];
    }
    uint32_t next = 0;
    for (uint32_t& start : starts) next += std::exchange(start, next);
    largest = std::max<uint64_t>(largest, next);
  }
  state->ordered = std::make_unique<FlatColumns>(largest);
  state->file = Must(sealed->pipeline.fs.Open(sealed->pipeline.directory.path() + "/floor",
                                              io::OpenMode::kCreateOrTruncate));
  Step step;
  step.items = sealed->rows;
  step.product.run = [sealed] {
    uint64_t rows = 0;
    for (size_t g = 0; g < sealed->contents.size(); ++g) {
      const auto segments = sealed->sealer.Seal(g + 1, 1, sealed->contents[g]);
      if (!segments.ok()) return false;
      for (const wal::SegmentInfo& segment : *segments) rows += segment.rows;
    }
    return rows == sealed->rows;
  };
  step.floor.run = [sealed, state] {
    return SealFlat(*sealed, state->starts, *state->ordered, *state->file);
  };
  return step;
}

bool UncompressAll(Sealed& sealed) {
  uint64_t bytes = 0;
  for (const auto& segment : sealed.files) bytes += segment->Uncompress(sealed.decoded_buffer);
  return bytes == sealed.decoded_bytes;
}

Step S2(uint64_t samples_per_generation) {
  const auto sealed = SealedOf(samples_per_generation);
  Step step;
  step.items = sealed->rows;
  step.bytes = sealed->decoded_bytes;
  step.product.run = [sealed] {
    std::vector<char>& out = sealed->decoded_buffer;
    uint64_t bytes = 0;
    for (const auto& segment : sealed->files) {
      for (const std::span<const char> block : segment->blocks) {
        const auto size = wal::S2DecodedLength(block);
        if (!size.ok()) return false;
        if (out.size() < *size) out.resize(*size);
        if (!wal::S2Decode(block, {out.data(), *size}).ok()) return false;
        bytes += *size;
      }
    }
    return bytes == sealed->decoded_bytes;
  };
  step.floor.run = [sealed] { return UncompressAll(*sealed); };
  return step;
}

Step ReadSegments(uint64_t samples_per_generation) {
  const auto sealed = SealedOf(samples_per_generation);
  Step step;
  step.items = sealed->rows;
  step.bytes = sealed->file_bytes;
  step.product.run = [sealed] {
    uint64_t rows = 0;
    for (const auto& batch : sealed->batches) {
      for (const wal::SegmentInfo& segment : batch) {
        auto reader = wal::SegmentReader::Open(
            sealed->pipeline.fs,
            io::JoinPath(sealed->pipeline.segments_directory(), segment.file_name));
        if (!reader.ok()) return false;
        while (true) {
          const auto block = (*reader)->Next();
          if (!block.ok()) return false;
          if (!*block) break;
          rows += (*block)->header.row_count;
        }
      }
    }
    return rows == sealed->rows;
  };
  step.floor.run = [sealed] { return sealed->ReadFlat(); };
  return step;
}

Step Verify(uint64_t samples_per_generation) {
  const auto sealed = SealedOf(samples_per_generation);
  const auto segments = std::make_shared<std::vector<wal::PeerSegment>>();
  for (const auto& file : sealed->files) {
    wal::PeerSegment& segment = segments->emplace_back();
    segment.name = sealed->segments[0][0].name;
    segment.bytes = file->bytes;
  }
  Step step;
  step.items = sealed->rows;
  step.bytes = sealed->file_bytes;
  step.product.run = [sealed, segments] {
    uint64_t rows = 0;
    for (wal::PeerSegment& segment : *segments) {
      if (wal::CheckBlocks(segment)) return false;
      rows += segment.rows;
    }
    return rows == sealed->rows;
  };
  step.floor.run = [sealed] {
    for (const auto& segment : sealed->files) segment->checksum = io::Crc32Ieee(segment->bytes);
    return true;
  };
  return step;
}

}  // namespace

void AddWalSteps() {
  AddStep({"append to the generation", "sample", "three copies"}, [] { return Append(); });
  AddStep({"journal", "sample", "CRC and one copy"}, [] { return Journal(); });
  for (const uint64_t samples : {kRounds, uint64_t{1}}) {
    const std::string of = ", " + std::to_string(samples) + " per generation";
    AddStep({"seal" + of, "sample", "samples to their places, CRC and write of the bytes"},
            [samples] { return Seal(samples); });
    AddStep({"S2 decode" + of, "sample", "snappy alone"}, [samples] { return S2(samples); });
    AddStep({"read segments" + of, "sample", "one copy, CRC, snappy"},
            [samples] { return ReadSegments(samples); });
    AddStep({"verify segments of a peer" + of, "sample", "CRC"},
            [samples] { return Verify(samples); });
  }
}

}  // namespace forebay::bench
