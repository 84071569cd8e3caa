// Tells whether a function ends the process, for tests of FOREBAY_CHECK: it runs in a forked child.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace forebay::test {

// Returns true when `body` ended the child by SIGABRT. The child's standard error is discarded.
template <typename Body>
bool Dies(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    // Catch2's handler would report the abort as a failed test, and a core file would be in the
    // way.
    std::signal(SIGABRT, SIG_DFL);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    const int null = open("/dev/null", O_WRONLY);
    if (null >= 0) dup2(null, STDERR_FILENO);
    body();
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

}  // namespace forebay::test
