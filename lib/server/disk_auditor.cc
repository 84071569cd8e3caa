#include "server/disk_auditor.h"

#include <chrono>

#include "base/log.h"

namespace forebay::server {
namespace {

// Between the two looks of an audit: longer than any write or rename is on its way.
constexpr std::chrono::milliseconds kSettle{200};

}  // namespace

DiskAuditor::DiskAuditor(wal::DiskAccount& account, wal::Quarantine& quarantine,
                         metrics::Registry& registry)
    : account_(account),
      quarantine_(quarantine),
      audits_(registry.AddCounter("forebay_disk_audits_total",
                                  "Comparisons of the account of bytes with the disk.")),
      failures_(registry.AddCounter("forebay_disk_audit_failures_total",
                                    "Audits that could not list a directory.")),
      differences_(registry.AddCounter(
          "forebay_disk_audit_differences_total",
          "Files of which account and disk said different things; deleted by hand, mostly.")),
      corrected_(registry.AddCounter("forebay_disk_audit_corrected_bytes_total",
                                     "Bytes by which the account was off and was corrected.")) {}

Result<wal::AuditReport> DiskAuditor::Run() {
  MutexLock lock(mutex_);
  auto report = account_.Audit(kSettle);
  if (report.ok()) {
    if (Status counted = quarantine_.Recount(); !counted.ok()) report = Error(counted.error());
  }
  if (!report.ok()) {
    failures_->Increment();
    LogError("the account of bytes on disk cannot be compared with the disk",
             {{"error", report.error().ToString()}});
    return report;
  }
  audits_->Increment();
  if (report->differences == 0) return report;
  differences_->Increment(report->differences);
  corrected_->Increment(report->corrected_bytes);
  std::string examples;
  for (const std::string& example : report->examples) {
    examples += (examples.empty() ? "" : "; ") + example;
  }
  LogWarn(
      "the account of bytes on disk differed from the disk and was corrected",
      {{"files", report->differences}, {"bytes", report->corrected_bytes}, {"examples", examples}});
  return report;
}

}  // namespace forebay::server
