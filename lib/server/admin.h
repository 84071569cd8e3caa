// The admin port: metrics, health, status, flush, reload. Paths and answers: docs/http-api.md.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/server.h"
#include "server/job_thread.h"

namespace forebay::server {

class Node;

// Registers its routes with a server, which must not outlive it.
class AdminHandlers {
 public:
  AdminHandlers(Node& node, JobThread& jobs);
  ~AdminHandlers();

  void RouteAll(http::Server& server);
  // Paths that stay open when the admin port asks for authentication: the probes.
  static std::vector<std::string> OpenPaths();

 private:
  class Simple;
  class Job;
  void Get(const std::string& path, std::function<http::Response(const http::RequestHead&)> answer);
  void PostJob(const std::string& path,
               std::function<http::Response(const http::RequestHead&)> job);

  Node& node_;
  JobThread& jobs_;
  struct Route {
    std::string method;
    std::string path;
    std::unique_ptr<http::Handler> handler;
  };
  std::vector<Route> routes_;
};

}  // namespace forebay::server
