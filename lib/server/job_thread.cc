#include "server/job_thread.h"

#include <utility>

#include "base/thread.h"

namespace forebay::server {

JobThread::JobThread()
    : thread_(StartThread("admin-jobs", [this](const std::stop_token&) {
        while (auto job = jobs_.Pop()) (*job)();
      })) {}

JobThread::~JobThread() { Stop(); }

bool JobThread::Run(std::function<void()> job) { return jobs_.TryPush(std::move(job)); }

void JobThread::Stop() {
  jobs_.Close();
  if (thread_.joinable()) thread_.join();
}

}  // namespace forebay::server
