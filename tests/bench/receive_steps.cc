// From the body of a request to staged columns, of series that are known: snappy, parsing, parsing
// with look-up, all of it; the look-up alone, and a series' first time. Payload: payload.h.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>

#include "bench/floors.h"
#include "bench/pipeline.h"
#include "bench/steps.h"
#include "receive/remote_write_1.h"
#include "receive/remote_write_2.h"

namespace forebay::bench {
namespace {

using loadgen::Protocol;

constexpr size_t kGroup = 32;   // look-ups under way at once, as in the product
constexpr uint64_t kKnown = 1;  // domains of keys
constexpr uint64_t kUnknown = 2;

// Requests of one shape and a pipeline that knows their series.
struct Received {
  explicit Received(Protocol protocol, uint32_t samples_per_series = 1)
      : payload({.protocol = protocol, .samples_per_series = samples_per_series}),
        messages(payload.Messages(0)),
        bodies(Payload::Compressed(messages)),
        table(2 * payload.options().series),
        columns(payload.samples()) {
    uint32_t number = 0;
    for (size_t i = 0; i < messages.size(); ++i) {
      pipeline.Decode(payload.kind(), bodies[i], pipeline.staged);
      known.emplace_back(payload.kind(), messages[i]);
      std::vector<uint64_t> hashes;
      for (const KnownSeries& series : known.back().series) {
        table.Insert(Hash(known.back(), series, SymbolHashes(known.back())), number++);
      }
    }
    out = ResidentBuffer(1U << 21);
  }

  // The hashes of a 2.0 request's symbols; of a 1.0 request none.
  const std::vector<uint64_t>& SymbolHashes(const KnownRequest& request) {
    symbol_hashes.resize(request.symbols.size());
    for (size_t i = 0; i < request.symbols.size(); ++i) {
      symbol_hashes[i] = HashOf(request.symbols[i]);
    }
    return symbol_hashes;
  }
  static uint64_t Hash(const KnownRequest& request, const KnownSeries& series,
                       const std::vector<uint64_t>& symbols) {
    if (request.symbols.empty()) return HashOf(series.identity);
    uint64_t hashes[64];
    for (size_t i = 0; i < series.refs.size(); ++i) hashes[i] = symbols[series.refs[i]];
    return HashOf({reinterpret_cast<const char*>(hashes), series.refs.size() * sizeof(uint64_t)});
  }

  // Hashes, finds and stores; what is where in the message is known.
  bool StageFlat(const KnownRequest& request, size_t& samples) {
    const std::vector<uint64_t>* symbols = &symbol_hashes;
    if (!request.symbols.empty()) symbols = &SymbolHashes(request);
    const auto& series = request.series;
    uint64_t hashes[kGroup];
    for (size_t begin = 0; begin < series.size(); begin += kGroup) {
      const size_t count = std::min(kGroup, series.size() - begin);
      for (size_t i = 0; i < count; ++i) {
        hashes[i] = Hash(request, series[begin + i], *symbols);
        table.Prefetch(hashes[i]);
      }
      for (size_t i = 0; i < count; ++i) {
        const uint32_t number = table.Find(hashes[i]);
        if (number == FlatTable::kNone) return false;
        for (uint32_t j = 0; j < series[begin + i].samples; ++j) {
          columns.refs[samples] = number;
          columns.timestamps[samples] = request.timestamps[series[begin + i].first_sample + j];
          columns.values[samples] = request.values[series[begin + i].first_sample + j];
          ++samples;
        }
      }
    }
    return true;
  }

  Payload payload;
  std::vector<std::string> messages;
  std::vector<std::string> bodies;
  Pipeline pipeline;
  std::vector<KnownRequest> known;
  FlatTable table;
  FlatColumns columns;
  std::vector<char> out;
  std::vector<uint64_t> symbol_hashes;
};

const std::shared_ptr<Received>& Received1() {
  static const auto received = std::make_shared<Received>(Protocol::kRemoteWrite1);
  return received;
}
const std::shared_ptr<Received>& Received2() {
  static const auto received = std::make_shared<Received>(Protocol::kRemoteWrite2);
  return received;
}
const std::shared_ptr<Received>& Received1Of4() {
  static const auto received = std::make_shared<Received>(Protocol::kRemoteWrite1, 4);
  return received;
}

// The message as one unknown field, which is skipped at once: decoding such a body is
// decompression.
std::string Wrapped(const std::string& message) {
  std::string wrapped = "\x7a";  // field 15, bytes
  for (uint64_t rest = message.size(); true; rest >>= 7) {
    wrapped += static_cast<char>((rest & 0x7f) | (rest >= 0x80 ? 0x80 : 0));
    if (rest < 0x80) break;
  }
  return wrapped + message;
}

bool UncompressFlat(Received& received, const std::vector<std::string>& bodies) {
  for (const std::string& body : bodies) {
    if (!snappy::RawUncompress(body.data(), body.size(), received.out.data())) return false;
  }
  return true;
}

Step Snappy(const std::shared_ptr<Received>& received) {
  std::vector<std::string> wrapped;
  for (const std::string& message : received->messages) wrapped.push_back(Wrapped(message));
  const auto bodies =
      std::make_shared<const std::vector<std::string>>(Payload::Compressed(wrapped));
  Step step;
  step.items = received->payload.samples();
  step.bytes = TotalBytes(wrapped);
  step.product.run = [received, bodies, bytes = step.bytes] {
    uint64_t decoded = 0;
    for (const std::string& body : *bodies) {
      received->pipeline.Decode(received->payload.kind(), body, received->pipeline.staged);
      decoded += received->pipeline.staged.decoded_bytes;
    }
    return decoded == bytes;
  };
  step.floor.run = [received, bodies] { return UncompressFlat(*received, *bodies); };
  return step;
}

bool StageAllFlat(Received& received) {
  size_t samples = 0;
  for (const KnownRequest& request : received.known) {
    if (!received.StageFlat(request, samples)) return false;
  }
  return samples == received.payload.samples();
}

// Message to views and samples: what comes before a series is looked for.
Step Parse(const std::shared_ptr<Received>& received) {
  struct State {
    receive::StagedWrite staged;
    std::vector<receive::SideItem> side_items;
    ByteBuffer joined;
  };
  const auto state = std::make_shared<State>();
  const bool version_2 = received->payload.kind() == wal::RecordKind::kRemoteWrite2;
  const auto read = [received, state, version_2](const std::string& message) {
    using namespace receive;  // NOLINT
    state->staged.Clear();
    SampleStager stager(state->staged, {}, SIZE_MAX);
    const uint32_t field =
        version_2 ? remote_write_2::kTimeSeriesField : remote_write_1::kTimeSeriesField;
    WireReader reader(message);
    while (reader.Next()) {
      if (reader.field() != field) {
        reader.Skip();
        continue;
      }
      PendingSeries series;
      const std::string_view bytes = reader.BytesField();
      const bool ok =
          version_2
              ? remote_write_2::ReadSeries(bytes, series, state->side_items, stager, state->joined)
              : remote_write_1::ReadSeries(bytes, series, state->side_items, stager, state->joined);
      if (!ok) return false;
      benchmark::DoNotOptimize(series);
    }
    return !reader.failed();
  };
  Step step;
  step.items = received->payload.samples();
  step.bytes = TotalBytes(received->messages);
  step.product.run = [received, state, read] {
    uint64_t samples = 0;
    for (const std::string& message : received->messages) {
      if (!read(message)) return false;
      samples += state->staged.timestamps.size();
    }
    return samples == received->payload.samples() && state->side_items.empty();
  };
  step.floor.run = [received] {
    FlatColumns& columns = received->columns;
    size_t samples = 0;
    for (size_t i = 0; i < received->messages.size(); ++i) {
      const std::string& message = received->messages[i];
      std::memcpy(received->out.data(), message.data(), message.size());
      const KnownRequest& known = received->known[i];
      for (size_t sample = 0; sample < known.values.size(); ++sample, ++samples) {
        columns.timestamps[samples] = known.timestamps[sample];
        columns.values[samples] = known.values[sample];
      }
    }
    return samples == received->payload.samples();
  };
  return step;
}

Step ParseAndStage(const std::shared_ptr<Received>& received) {
  Step step;
  step.items = received->payload.samples();
  step.bytes = TotalBytes(received->messages);
  step.product.run = [received] {
    Pipeline& pipeline = received->pipeline;
    uint64_t samples = 0;
    for (const std::string& message : received->messages) {
      pipeline.DecodeMessage(received->payload.kind(), message, pipeline.staged);
      samples += pipeline.staged.refs.size();
    }
    return samples == received->payload.samples();
  };
  step.floor.run = [received] { return StageAllFlat(*received); };
  return step;
}

Step DecodeAll(const std::shared_ptr<Received>& received) {
  Step step;
  step.items = received->payload.samples();
  step.bytes = TotalBytes(received->bodies);
  step.product.run = [received] {
    Pipeline& pipeline = received->pipeline;
    uint64_t samples = 0;
    for (const std::string& body : received->bodies) {
      pipeline.Decode(received->payload.kind(), body, pipeline.staged);
      samples += pipeline.staged.refs.size();
    }
    return samples == received->payload.samples();
  };
  step.floor.run = [received] {
    return UncompressFlat(*received, received->bodies) && StageAllFlat(*received);
  };
  return step;
}

// A series table of the size of the payload's, by keys of the domain kKnown.
struct Lookups {
  Lookups() : received(Received1()), series({.hash_seed = 7}) {
    int64_t number = 0;
    for (const KnownRequest& request : received->known) {
      for (const KnownSeries& known : request.series) {
        table::NewSeries added;
        added.series_id = ++number;
        (void)Must(series.Add(series.HashKey(known.identity, kKnown), added, 1));
      }
    }
  }
  uint64_t Find(uint64_t domain) const {
    uint64_t found = 0;
    table::SeriesKey keys[kGroup];
    for (const KnownRequest& request : received->known) {
      const auto& all = request.series;
      for (size_t begin = 0; begin < all.size(); begin += kGroup) {
        const size_t count = std::min(kGroup, all.size() - begin);
        for (size_t i = 0; i < count; ++i) {
          keys[i] = series.HashKey(all[begin + i].identity, domain);
          series.Prefetch(keys[i]);
        }
        for (size_t i = 0; i < count; ++i) found += series.Find(keys[i]) != table::kUnknownSeries;
      }
    }
    return found;
  }
  uint64_t FindFlat(uint64_t salt) const {
    uint64_t found = 0;
    uint64_t hashes[kGroup];
    for (const KnownRequest& request : received->known) {
      const auto& all = request.series;
      for (size_t begin = 0; begin < all.size(); begin += kGroup) {
        const size_t count = std::min(kGroup, all.size() - begin);
        for (size_t i = 0; i < count; ++i) {
          hashes[i] = HashOf(all[begin + i].identity) ^ salt;
          received->table.Prefetch(hashes[i]);
        }
        for (size_t i = 0; i < count; ++i) {
          found += received->table.Find(hashes[i]) != FlatTable::kNone;
        }
      }
    }
    return found;
  }
  std::shared_ptr<Received> received;
  table::SeriesTable series;
};

Step Lookup(bool hit) {
  static const auto lookups = std::make_shared<Lookups>();
  Step step;
  step.items = lookups->received->payload.options().series;
  const uint64_t wanted = hit ? step.items : 0;
  step.product.run = [hit, wanted] { return lookups->Find(hit ? kKnown : kUnknown) == wanted; };
  step.floor.run = [hit, wanted] {
    return lookups->FindFlat(hit ? 0 : 0x5555'5555'5555'5555) == wanted;
  };
  return step;
}

// Each run begins with a node that knows nothing.
Step NewSeries() {
  struct State {
    std::shared_ptr<Received> received = Received1();
    std::unique_ptr<Pipeline> pipeline;
    FlatTable table{2 * received->payload.options().series};
    std::vector<char> arena = ResidentBuffer(TotalBytes(received->messages));
  };
  const auto state = std::make_shared<State>();
  Step step;
  step.items = state->received->payload.options().series;
  step.product.before = [state] {
    state->pipeline.reset();
    state->pipeline = std::make_unique<Pipeline>();
  };
  step.product.run = [state, items = step.items] {
    Pipeline& pipeline = *state->pipeline;
    for (const std::string& message : state->received->messages) {
      pipeline.DecodeMessage(wal::RecordKind::kRemoteWrite1, message, pipeline.staged);
    }
    return pipeline.series.size() == items;
  };
  step.floor.before = [state] { state->table.Clear(); };
  step.floor.run = [state, items = step.items] {
    uint32_t number = 0;
    char* to = state->arena.data();
    for (const KnownRequest& request : state->received->known) {
      for (const KnownSeries& series : request.series) {
        const uint64_t hash = HashOf(series.identity);
        if (state->table.Find(hash) != FlatTable::kNone) return false;
        std::memcpy(to, series.identity.data(), series.identity.size());
        to += series.identity.size();
        state->table.Insert(hash, number++);
      }
    }
    return number == items;
  };
  return step;
}

}  // namespace

void AddReceiveSteps() {
  const std::string stage = "labels hashed, one look-up, columns stored";
  AddStep({"snappy, 1.0", "sample", "snappy alone"}, [] { return Snappy(Received1()); });
  AddStep({"snappy, 2.0", "sample", "snappy alone"}, [] { return Snappy(Received2()); });
  const std::string parse = "the message copied, columns stored";
  AddStep({"parse, 1.0", "sample", parse}, [] { return Parse(Received1()); });
  AddStep({"parse, 2.0", "sample", parse}, [] { return Parse(Received2()); });
  AddStep({"parse, look up, stage, 1.0", "sample", stage},
          [] { return ParseAndStage(Received1()); });
  AddStep({"parse, look up, stage, 2.0", "sample", stage},
          [] { return ParseAndStage(Received2()); });
  AddStep({"parse, look up, stage, 1.0, 4 per series", "sample", stage},
          [] { return ParseAndStage(Received1Of4()); });
  AddStep({"snappy, parse, look up, stage, 1.0", "sample", "snappy alone; " + stage},
          [] { return DecodeAll(Received1()); });
  AddStep({"snappy, parse, look up, stage, 2.0", "sample", "snappy alone; " + stage},
          [] { return DecodeAll(Received2()); });
  AddStep({"series look-up, hit", "series", "labels hashed, one cache miss"},
          [] { return Lookup(true); });
  AddStep({"series look-up, miss", "series", "labels hashed, one cache miss"},
          [] { return Lookup(false); });
  AddStep({"new series", "series", "labels hashed and copied, entry in a flat table"},
          [] { return NewSeries(); });
}

}  // namespace forebay::bench
