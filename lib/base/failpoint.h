// Named places at which a test may kill the process: FOREBAY_FAILPOINT=name:count ends it, as kill
// -9 would, the count-th time that it passes the place. Compiled in by -DFOREBAY_FAILPOINTS=ON
// (presets dev, asan, tsan); in release builds the macro is nothing.
#pragma once

#include <array>
#include <string_view>

namespace forebay {

// Every name there is; a test walks through them.
inline constexpr std::array<std::string_view, 33> kFailpoints = {
    "acknowledge.before_write",   // the group is gathered
    "acknowledge.before_sync",    // written, not synced
    "acknowledge.before_wake",    // durable, nobody told
    "acknowledge.before_answer",  // appended, not answered
    "rotate.before_create",       // the next journal is not there yet
    "rotate.after_create",        // two journals, the old one still open
    "seal.before_sync",           // segments written, not synced
    "seal.before_commit",         // segments durable, journal still there
    "seal.after_commit",          // journal gone, store not told
    "manifest.before_write",      // batch planned
    "manifest.after_write",       // manifest durable, nothing tried
    "upload.before_rename",       // the file is written under its temporary name
    "upload.after_rename",        // delivered, the manifest does not know
    "clickhouse.before_insert",   // an insert is rendered, not sent
    "clickhouse.after_insert",    // it was answered, the manifest does not know
    "delete.before_segments",     // the manifest says delivered everywhere
    "delete.after_segments",      // segments gone, manifest still there
    "replay.before_record",       // a record is about to be replayed
    "replay.before_seal",         // all records replayed
    "shutdown.before_seal",       // SIGTERM, requests are through
    // To Azure Data Explorer.
    "adx.after_blob",      // the blob is there, nobody told
    "adx.after_announce",  // the cluster will ingest it, its end not awaited
    // Between nodes.
    "transfer.before_commit",   // a peer's segment is checked, not queued for the journal
    "transfer.before_answer",   // it is durable and in the generation, its sender not told
    "transfer.after_manifest",  // the sender has noted durably whom it gives segments, none is sent
    "transfer.after_answer",    // the peer has them, the sender still has them too
    "transfer.after_delete",    // the sender's segments are gone, the manifest is there
    // Of a node that leaves.
    "drain.before_seal",    // nothing new is taken, not all is sealed
    "drain.after_seal",     // all is in segments
    "drain.before_report",  // nothing is left, nobody is told
    // Of `wal replay --to`.
    "orphan.before_send",   // the segment is noted, not sent
    "orphan.after_answer",  // the other node has it, it is here too
    "orphan.after_delete",  // it is gone here
};

namespace internal {
// Counts a pass of `name`; does not return when the environment asks for the end here. Threads:
// any.
void PassFailpoint(std::string_view name);

constexpr bool IsFailpoint(std::string_view name) {
  for (const std::string_view known : kFailpoints) {
    if (known == name) return true;
  }
  return false;
}
}  // namespace internal

}  // namespace forebay

#if defined(FOREBAY_FAILPOINTS)
#define FOREBAY_FAILPOINT(name)                                                     \
  do {                                                                              \
    static_assert(::forebay::internal::IsFailpoint(name), "add it to kFailpoints"); \
    ::forebay::internal::PassFailpoint(name);                                       \
  } while (false)
#else
#define FOREBAY_FAILPOINT(name) \
  do {                          \
  } while (false)
#endif
