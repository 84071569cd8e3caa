// GET /status: the page for people. One document, made at build time of the files in status_page/;
// what it shows it asks of the JSON API of the same port, so it needs what these paths need
// (authentication, client certificates) and nothing else. No script or style but its own runs in
// it: the Content-Security-Policy names them by hash.
#pragma once

#include "http/message.h"

namespace forebay::server {

// 200 with the document, or 304 when If-None-Match names it. Threads: any.
http::Response StatusPage(const http::RequestHead& head);

}  // namespace forebay::server
