// The batch policy as plain functions over values.
#include "batch/policy.h"

#include <algorithm>
#include <utility>

#include "wal/batch_queue.h"

namespace forebay::batch {
namespace {

// Takes segments from `first` on into one batch, as many as fit.
PlannedBatch Cut(const std::vector<wal::SegmentPointer>& segments, size_t first,
                 const config::Batch& limits) {
  PlannedBatch batch;
  const size_t max_segments = std::max<size_t>(limits.max_segments, 1);
  for (size_t i = first; i < segments.size() && batch.segments.size() < max_segments; ++i) {
    if (!batch.segments.empty() &&
        batch.row_bytes + segments[i]->row_bytes > limits.max_bytes.value) {
      break;
    }
    batch.rows += segments[i]->rows;
    batch.row_bytes += segments[i]->row_bytes;
    batch.segments.push_back(segments[i]);
  }
  return batch;
}

// Of what does not fill a batch: the segments that the table's owner should have.
PlannedBatch TakeMovable(std::vector<wal::SegmentPointer>& segments, const PlanOptions& options) {
  PlannedBatch transfer;
  transfer.outcome = Outcome::kTransfer;
  const auto moves = [&](const wal::SegmentPointer& segment) {
    return !segment->stays && options.now - segment->known_since < *options.transfer_max_age &&
           segment->file_bytes <= options.transfer_max_segment.value;
  };
  for (const wal::SegmentPointer& segment : segments) {
    if (!moves(segment)) continue;
    transfer.rows += segment->rows;
    transfer.row_bytes += segment->row_bytes;
    transfer.segments.push_back(segment);
  }
  std::erase_if(segments, moves);
  return transfer;
}

}  // namespace

std::vector<PlannedBatch> Plan(const wal::TableBacklog& backlog, const PlanOptions& options) {
  std::vector<wal::SegmentPointer> segments = backlog.segments;
  std::sort(segments.begin(), segments.end(), [](const auto& a, const auto& b) {
    return a->name.id != b->name.id ? a->name.id < b->name.id : a->file_name < b->file_name;
  });
  std::vector<PlannedBatch> batches;
  std::vector<wal::SegmentPointer> rest;  // what is not as large as it gets
  for (size_t next = 0; next < segments.size();) {
    PlannedBatch batch = Cut(segments, next, options.limits);
    next += batch.segments.size();
    // A batch that was ended by a bound is as large as it gets, also below min_bytes: waiting does
    // not help.
    const bool full = next < segments.size() || batch.row_bytes >= options.limits.min_bytes.value;
    if (!full) {
      rest = std::move(batch.segments);
      break;
    }
    batch.reason = wal::BatchReason::kSize;
    batches.push_back(std::move(batch));
  }
  // A flush wants everything in the sinks; who leaves wants it off this volume.
  const bool gives =
      options.flush == wal::BatchReason::kSize || options.flush == wal::BatchReason::kDrain;
  if (options.transfer_max_age && gives) {
    PlannedBatch transfer = TakeMovable(rest, options);
    if (!transfer.segments.empty()) batches.push_back(std::move(transfer));
  }
  if (rest.empty()) return batches;
  PlannedBatch last = Cut(rest, 0, options.limits);
  // What is left after full batches is judged by its own longest wait.
  const bool old = std::any_of(rest.begin(), rest.end(), [&](const wal::SegmentPointer& segment) {
    return options.now - segment->known_since >= options.limits.max_age;
  });
  if (options.flush != wal::BatchReason::kSize) {
    last.reason = options.flush;
  } else if (old) {
    last.reason = wal::BatchReason::kAge;
  } else {
    last.outcome = Outcome::kWait;
  }
  batches.push_back(std::move(last));
  return batches;
}

std::vector<size_t> PickOrder(const std::vector<PlannedBatch>& batches,
                              uint32_t oldest_share_percent, uint64_t pick) {
  std::vector<size_t> by_age(batches.size());
  for (size_t i = 0; i < by_age.size(); ++i) by_age[i] = i;
  std::stable_sort(by_age.begin(), by_age.end(), [&](size_t a, size_t b) {
    return batches[a].segments.front()->name.id < batches[b].segments.front()->name.id;
  });
  std::vector<size_t> order;
  order.reserve(by_age.size());
  size_t oldest = 0;
  size_t newest = by_age.size();
  while (oldest < newest) {
    const bool take_oldest = wal::PicksOldest(pick, oldest_share_percent);
    order.push_back(take_oldest ? by_age[oldest++] : by_age[--newest]);
    ++pick;
  }
  return order;
}

}  // namespace forebay::batch
