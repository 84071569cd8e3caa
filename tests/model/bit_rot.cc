// Damaged files. A disk with everything on it (journals of two generations, sealed segments with
// several blocks, batches made, half delivered and delivered, ledger files) is damaged at a random
// place of one file: bits flip, ranges become zeros, are cut off, are written over by other parts
// of the file, are there twice. Then a node starts: it must, and it delivers everything but what
// the damage touched, once; what it touched is in the quarantine or counted.
#include <catch2/catch.hpp>
#include <random>

#include "model/damage.h"
#include "model/node.h"
#include "model/seeds.h"
#include "wal/segment_writer.h"

namespace forebay::testing {
namespace {

constexpr uint64_t kMutations = 5000;

enum class Kind { kFlip, kZero, kCutOff, kOverwrite, kTwice, kCount };
constexpr const char* kKindNames[] = {"flip", "zero", "cut off", "overwrite", "twice"};

// The disk that is damaged, and what lies in each of its files.
struct Image {
  std::unique_ptr<io::MemoryFileSystem> disk = std::make_unique<io::MemoryFileSystem>();
  std::vector<std::string> paths;
  std::map<std::string, std::vector<StoredPart>> parts;
  std::vector<Account::Fate> fates;
};

void Send(Node& node, Account& account, size_t samples) {
  const auto request = RequestOf(account.Send(samples), samples, 6);
  REQUIRE(node.log().WriteOnce(std::vector{request}).front().ok());
  account.Answer(request, Account::Fate::kAcknowledged);
}

void Fail(io::MemoryFileSystem& disk, io::FileOperation operation, const char* path) {
  io::Fault fault;
  fault.operation = operation;
  fault.path_contains = path;
  fault.count = io::Fault::kForever;
  disk.AddFault(fault);
}

// The blocks of a segment of the sealer are large; one with a frame for every few series tells
// whether the blocks around a damaged one survive. Takes a segment's place, row by row.
void SplitBlocks(io::MemoryFileSystem& disk, const std::string& path) {
  auto reader = wal::SegmentReader::Open(disk, path);
  REQUIRE(reader.ok());
  auto file = disk.Open("data/split", io::OpenMode::kCreateOrTruncate);
  REQUIRE(file.ok());
  wal::SegmentWriter writer;
  writer.Reset(**file, SystemClock().Now());
  wal::SeriesBlockDecoder decoder;
  while (true) {
    const auto block = (*reader)->Next();
    REQUIRE(block.ok());
    if (!*block) break;
    const std::string_view payload((*block)->payload.data(), (*block)->payload.size());
    REQUIRE(decoder.Decode(payload, (*block)->header.row_count).ok());
    table::SeriesTable series({.max_series = 1000, .max_bytes = 1 << 20, .hash_seed = 1});
    wal::SeriesBlockEncoder encoder(series);
    for (size_t row = 0; row < decoder.values().size(); row += 3) {
      encoder.Reset(table::DefaultMetricsSchema().header_line());
      for (size_t i = row; i < std::min(row + 3, decoder.values().size()); ++i) {
        const auto number = static_cast<uint64_t>(std::bit_cast<double>(decoder.values()[i]));
        const TestSample sample = SampleOf(number);
        const std::string name = "s" + std::to_string(sample.series);
        const std::vector<table::Label> labels = {{"name", name}};
        table::NewSeries fresh;
        fresh.series_id = static_cast<int64_t>(sample.series * 7919 % 1000);
        fresh.labels = labels;
        const auto ref = series.Add(series.HashKey(name, 0), fresh, 1);
        REQUIRE(ref.ok());
        encoder.Add(*ref, std::span(&sample.timestamp, 1), std::span(&sample.value, 1));
      }
      const wal::BlockHeader header{wal::kBlockVersionSeries, wal::BlockType::kMetric,
                                    encoder.rows()};
      const wal::BlockStats stats{encoder.row_bytes(), encoder.min_timestamp(),
                                  encoder.max_timestamp()};
      REQUIRE(writer.Append(header, stats, encoder.Finish()).ok());
    }
  }
  REQUIRE(writer.Finish().ok());
  file->reset();
  REQUIRE(disk.Rename("data/split", path).ok());
}

Image MakeImage() {
  Image image;
  Account account;
  auto node = std::make_unique<Node>(*image.disk);
  REQUIRE(node->Open().ok());
  const auto seal = [&](int requests) {
    for (int i = 0; i < requests; ++i) Send(*node, account, 20);
    REQUIRE(node->Flush().ok());
  };
  seal(3);
  REQUIRE(node->Drain().ok());  // delivered; its ledger file stays
  seal(2);
  Fail(*image.disk, io::FileOperation::kRemove, "segments/");
  node->Work();  // delivered, and its segments and manifests cannot go
  seal(4);
  Fail(*image.disk, io::FileOperation::kWrite, "out/");
  node->Work();  // manifests without delivery
  seal(5);       // no manifests
  // Two journals: the first cannot be sealed.
  Fail(*image.disk, io::FileOperation::kOpen, "segments/");
  for (int i = 0; i < 6; ++i) Send(*node, account, 15);
  CHECK_FALSE(node->Flush(std::chrono::milliseconds(50)).ok());
  for (int i = 0; i < 6; ++i) Send(*node, account, 15);
  io::CrashOptions keep_all;
  keep_all.keep_probability = 1;
  image.disk = PowerCut(*image.disk, node, keep_all);
  std::map<std::string, int> kinds;
  for (const char* directory : {"journal", "segments", "batches", "ledger"}) {
    for (const auto& [path, bytes] : FilesOf(*image.disk, std::string("data/") + directory)) {
      if (std::string_view(directory) == "segments" && kinds["segments"] % 2 == 0) {
        SplitBlocks(*image.disk, path);
      }
      ++kinds[directory];
      image.paths.push_back(path);
      image.parts[path] = PartsOf(*image.disk, path);
    }
  }
  REQUIRE(kinds["journal"] >= 2);
  REQUIRE(kinds["segments"] >= 12);
  REQUIRE(kinds["batches"] >= 8);
  REQUIRE(kinds["ledger"] >= 3);
  REQUIRE(image.disk->SyncVolume(".").ok());
  image.fates = account.Fates();
  return image;
}

// A damage: the new bytes of the file, and which of the old ones are not what they were.
struct Mutation {
  std::string bytes;
  uint64_t begin = 0;
  uint64_t end = 0;
  // Old bytes that now stand at a second place too.
  uint64_t copied_begin = 0;
  uint64_t copied_end = 0;
  std::string text;
};

Mutation Mutate(const std::string& bytes, std::mt19937_64& random) {
  Mutation mutation;
  const auto kind = static_cast<Kind>(random() % static_cast<uint64_t>(Kind::kCount));
  const uint64_t at = random() % bytes.size();
  // Some touch a byte, some a sector, some most of the file.
  constexpr uint64_t kSizes[] = {1, 8, 64, 512, 4096};
  const uint64_t size =
      1 + random() % std::min<uint64_t>(kSizes[random() % std::size(kSizes)], bytes.size() - at);
  mutation.bytes = bytes;
  mutation.begin = at;
  mutation.end = at + size;
  switch (kind) {
    case Kind::kFlip:
      mutation.end = at + 1;
      mutation.bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
      break;
    case Kind::kZero:
      mutation.bytes.replace(at, size, size, '\0');
      break;
    case Kind::kCutOff:
      mutation.bytes.resize(at);
      mutation.end = bytes.size();
      break;
    case Kind::kOverwrite:
      mutation.copied_begin = random() % (bytes.size() - size + 1);
      mutation.copied_end = mutation.copied_begin + size;
      mutation.bytes.replace(at, size, bytes, mutation.copied_begin, size);
      break;
    case Kind::kTwice:
      mutation.copied_begin = at;
      mutation.copied_end = at + size;
      mutation.bytes.insert(at + size, bytes, at, size);
      break;
    case Kind::kCount:
      break;
  }
  mutation.text = std::string(kKindNames[static_cast<size_t>(kind)]) + " [" +
                  std::to_string(mutation.begin) + ", " + std::to_string(mutation.end) + ") of " +
                  std::to_string(bytes.size());
  return mutation;
}

bool SomethingWasPutAside(Node& node) {
  return node.log().quarantine().files() > 0 || node.log().wal().stats().quarantined_records > 0 ||
         node.log().store().Totals().unreadable > 0;
}

// Damage that cannot be told from a file that was always so: a journal's last record without the
// end behind it from a crash in mid-write, a segment that ends between two blocks (or in zeros
// behind one) from a shorter one.
bool LooksUndamaged(const std::vector<StoredPart>& parts, const Mutation& mutation,
                    size_t old_size) {
  uint64_t end = wal::kSegmentMagic.size();
  for (const StoredPart& part : parts) {
    const bool hit = part.begin < mutation.end && mutation.begin < part.end;
    const bool end_holds = mutation.end <= part.end && mutation.bytes.size() == old_size;
    if (hit && part.last && !end_holds) return true;
    if (part.end <= mutation.begin) end = part.end;
  }
  return mutation.bytes.size() >= end &&
         mutation.bytes.find_first_not_of('\0', end) == std::string::npos;
}

// A whole block of a segment that stands there twice is a good block at both places: segments may
// be put together of any blocks. Only the first delivery counts here. Records of journals have
// sequences: a copy counts for nothing.
void ForgiveCopies(const std::vector<StoredPart>& parts, const Mutation& mutation,
                   NumberCounts& delivered) {
  for (const StoredPart& part : parts) {
    if (part.begin < mutation.copied_begin || part.end > mutation.copied_end) continue;
    for (const uint64_t number : part.numbers) {
      const auto found = delivered.find(number);
      if (found != delivered.end()) found->second = 1;
    }
  }
}

std::string Try(const Image& image, uint64_t seed, Tally& tally) {
  std::mt19937_64 random(seed);
  auto disk = image.disk->Clone();
  const std::string& path = image.paths[random() % image.paths.size()];
  const size_t old_size = disk->Contents(path)->size();
  const Mutation mutation = Mutate(*disk->Contents(path), random);
  const Status replaced = disk->Replace(path, mutation.bytes);
  if (!replaced.ok()) return replaced.error().ToString();
  const std::string what = path + ", " + mutation.text + ": ";
  Node node(*disk);
  const Status opened = node.Open();
  if (!opened.ok()) return what + "the node does not start: " + opened.error().ToString();
  const Status drained = node.Drain(std::chrono::seconds(5));
  auto delivered = Delivered(*disk);
  if (!delivered.ok()) return what + delivered.error().ToString();
  const std::vector<StoredPart>& parts = image.parts.at(path);
  if (path.find("/segments/") != std::string::npos) ForgiveCopies(parts, mutation, *delivered);
  std::set<uint64_t> hit = NumbersIn(parts, mutation.begin, mutation.end);
  if (!drained.ok()) return what + "the node does not drain: " + drained.error().ToString();
  std::vector<Account::Fate> fates = image.fates;
  bool lost = false;
  for (const uint64_t number : hit) {
    if (fates[number - 1] != Account::Fate::kAcknowledged) continue;
    fates[number - 1] = Account::Fate::kDamaged;
    if (delivered->contains(number)) continue;
    lost = true;
    ++tally["samples lost to damage"];
  }
  const std::string wrong = CheckAccount(fates, *delivered);
  if (!wrong.empty()) return what + wrong;
  if (lost && !LooksUndamaged(parts, mutation, old_size) && !SomethingWasPutAside(node))
    return what + "lost without a trace";
  tally["samples accounted"] += fates.size();
  ++tally["mutations of " + path.substr(5, path.find('/', 5) - 5)];
  return {};
}

TEST_CASE("bit rot: damage costs what it touches, and nothing else") {
  const Image image = MakeImage();
  CHECK(RunSeeds("bit rot", kMutations,
                 [&](uint64_t seed, Tally& tally) { return Try(image, seed, tally); }) == 0);
}

}  // namespace
}  // namespace forebay::testing
