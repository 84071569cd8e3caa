// The members of a cluster at one moment, and who of them owns a table.
//
// Owner: rendezvous hashing. The score of a member for a key is XXH64 (seed 0) of the key's bytes
// followed by the member's name; the highest score owns, of equal ones the lesser name. Members
// that come or go move only the keys that they own. Source: reference adx-mon, so that a
// collector or peer of its kind computes the same owner.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace forebay::cluster {

// More are cut off, the greatest names first: a discovery that returns so many is mistaken.
inline constexpr size_t kMaxMembers = 1024;

struct Member {
  std::string name;     // unique; a pod's name
  std::string address;  // host:port of its transfer service; an IPv6 host in brackets
  bool ready = true;    // takes data; others own nothing

  bool operator==(const Member&) const = default;
};

// Immutable. Threads: any.
class MemberSet {
 public:
  MemberSet() = default;
  // Sorts by name; of several with one name the first stays.
  explicit MemberSet(std::vector<Member> members);

  const std::vector<Member>& members() const { return members_; }
  size_t ready_count() const;
  // Null when there is none of that name.
  const Member* Find(std::string_view name) const;
  // The ready member with the least name: it does what only one may do. Null when none is ready.
  const Member* Leader() const;
  // The ready member that owns the key. Shape: key is a segment name's prefix,
  // `<db>_<table>[_<schema>]`. Null when none is ready.
  const Member* OwnerOf(std::string_view key) const { return OwnerOf(key, {}); }
  // The same among all but those named, which are few: who leaves owns nothing any more.
  const Member* OwnerOf(std::string_view key, std::span<const std::string> without) const;

  bool operator==(const MemberSet&) const = default;

 private:
  std::vector<Member> members_;
};

}  // namespace forebay::cluster
