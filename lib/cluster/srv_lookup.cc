#include "cluster/srv_lookup.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <fmt/core.h>
#include <poll.h>

#include <array>
#include <utility>

namespace forebay::cluster {
namespace {

// What a callback of c-ares leaves.
struct Answer {
  bool done = false;
  int status = ARES_SUCCESS;
  std::vector<SrvRecord> records;
};

struct ReplyDeleter {
  void operator()(ares_srv_reply* reply) const { ::ares_free_data(reply); }
};

void OnAnswer(void* argument, int status, int /*timeouts*/, unsigned char* bytes, int length) {
  auto& answer = *static_cast<Answer*>(argument);
  answer.done = true;
  answer.status = status;
  if (status != ARES_SUCCESS) return;
  ares_srv_reply* first = nullptr;
  answer.status = ::ares_parse_srv_reply(bytes, length, &first);
  const std::unique_ptr<ares_srv_reply, ReplyDeleter> owned(first);
  for (const ares_srv_reply* reply = first; reply != nullptr; reply = reply->next) {
    answer.records.push_back({reply->host, reply->port});
  }
}

}  // namespace

class SrvLookup::Impl {
 public:
  explicit Impl(ares_channel channel) : channel_(channel) {}
  ~Impl() { ::ares_destroy(channel_); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Answer Ask(const std::string& name) {
    Answer answer;
    ::ares_query(channel_, name.c_str(), ns_c_in, ns_t_srv, &OnAnswer, &answer);
    while (!answer.done) Step();
    return answer;
  }

 private:
  // Waits for one of the sockets or the next timeout. c-ares ends every query by its own timeouts.
  void Step() {
    std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets{};
    const int wanted = ::ares_getsock(channel_, sockets.data(), ARES_GETSOCK_MAXNUM);
    std::array<pollfd, ARES_GETSOCK_MAXNUM> polled{};
    nfds_t count = 0;
    for (unsigned i = 0; i < sockets.size(); ++i) {
      const auto bits = static_cast<unsigned>(wanted);
      const bool reads = (bits & (1U << i)) != 0;
      const bool writes = (bits & (1U << (i + ARES_GETSOCK_MAXNUM))) != 0;
      if (!reads && !writes) continue;
      polled[count].fd = sockets[i];
      polled[count].events = static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
      ++count;
    }
    timeval longest{1, 0};
    timeval storage{};
    const timeval* wait = ::ares_timeout(channel_, &longest, &storage);
    const auto milliseconds = static_cast<int>(wait->tv_sec * 1000 + wait->tv_usec / 1000 + 1);
    (void)::poll(polled.data(), count, milliseconds);
    bool any = false;
    for (nfds_t i = 0; i < count; ++i) {
      const short seen = polled[i].revents;
      if (seen == 0) continue;
      any = true;
      const bool readable = (seen & (POLLIN | POLLERR | POLLHUP)) != 0;
      const bool writable = (seen & (POLLOUT | POLLERR)) != 0;
      ::ares_process_fd(channel_, readable ? polled[i].fd : ARES_SOCKET_BAD,
                        writable ? polled[i].fd : ARES_SOCKET_BAD);
    }
    if (!any) ::ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  }

  const ares_channel channel_;
};

SrvLookup::SrvLookup(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SrvLookup::~SrvLookup() = default;

Result<std::unique_ptr<SrvLookup>> SrvLookup::Create(const SrvLookupOptions& options) {
  ares_options wanted{};
  wanted.timeout = static_cast<int>(options.timeout.count());
  wanted.tries = options.tries;
  wanted.flags = ARES_FLAG_EDNS;  // answers of many members fit into one packet
  wanted.ednspsz = 4096;
  ares_channel channel = nullptr;
  const int status = ::ares_init_options(
      &channel, &wanted, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ);
  if (status != ARES_SUCCESS) {
    return Error(ErrorCode::kInternal, fmt::format("DNS: {}", ::ares_strerror(status)));
  }
  auto impl = std::make_unique<Impl>(channel);
  if (!options.servers.empty()) {
    const int set = ::ares_set_servers_ports_csv(channel, options.servers.c_str());
    if (set != ARES_SUCCESS) {
      return Error(
          ErrorCode::kInvalidArgument,
          fmt::format("DNS servers \"{}\": {}; give addresses as 10.0.0.10:53,[fd00::1]:53",
                      options.servers, ::ares_strerror(set)));
    }
  }
  return std::unique_ptr<SrvLookup>(new SrvLookup(std::move(impl)));
}

Result<std::vector<SrvRecord>> SrvLookup::Lookup(const std::string& name) {
  Answer answer = impl_->Ask(name);
  const auto error = [&](ErrorCode code) {
    return Error(code, fmt::format("DNS, SRV of {}: {}", name, ::ares_strerror(answer.status)));
  };
  switch (answer.status) {
    case ARES_SUCCESS:
      return std::move(answer.records);
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
      return std::vector<SrvRecord>();
    case ARES_EBADNAME:
      return error(ErrorCode::kInvalidArgument);
    case ARES_ETIMEOUT:
      return error(ErrorCode::kDeadlineExceeded);
    default:
      return error(ErrorCode::kUnavailable);
  }
}

}  // namespace forebay::cluster
