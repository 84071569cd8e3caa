// A blocking socket that speaks HTTP byte by byte, for clients that no library would let us be.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace forebay::http::test {

struct RawResponse {
  int status = 0;  // 0: the connection ended before a whole head
  std::string head;
  std::string body;
  // The value of a header, "" when there is none.
  std::string Header(const std::string& name) const;
};

class RawClient {
 public:
  explicit RawClient(uint16_t port);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return connected_; }
  // False: the peer is gone.
  bool Send(std::string_view bytes);
  // `head_request`: no body follows whatever Content-Length says.
  RawResponse Receive(bool head_request = false);
  // True: the peer closed or reset and nothing more came. Waits for it, at most 10 s.
  bool ReceivesEnd();
  void CloseWriting();
  // Ends with RST.
  void Reset();

 private:
  bool Fill();

  int fd_ = -1;
  bool connected_ = false;
  std::string buffer_;
};

}  // namespace forebay::http::test
