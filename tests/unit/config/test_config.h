// Short ways to load a text in tests.
#pragma once

#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "config/load.h"

namespace forebay::config::test {

using Pairs = std::vector<std::pair<std::string, std::string>>;

inline Config MustLoad(const std::string& yaml, Pairs overrides = {}, Pairs environment = {}) {
  LoadOptions options;
  options.overrides = std::move(overrides);
  options.environment = std::move(environment);
  auto loaded = LoadFromString(yaml, "f.yaml", options);
  if (!loaded.ok()) FAIL(loaded.error().message());
  return std::move(*loaded);
}

// The lines of the error; fails the test when the text loads.
inline std::vector<std::string> Errors(const std::string& yaml, Pairs overrides = {},
                                       Pairs environment = {}) {
  LoadOptions options;
  options.overrides = std::move(overrides);
  options.environment = std::move(environment);
  const auto loaded = LoadFromString(yaml, "f.yaml", options);
  REQUIRE_FALSE(loaded.ok());
  CHECK(loaded.error().code() == ErrorCode::kInvalidArgument);
  std::vector<std::string> lines;
  std::istringstream stream(loaded.error().message());
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

// The only line of the error.
inline std::string OneError(const std::string& yaml, Pairs overrides = {}, Pairs environment = {}) {
  const auto lines = Errors(yaml, std::move(overrides), std::move(environment));
  CAPTURE(lines);
  REQUIRE(lines.size() == 1);
  return lines.front();
}

}  // namespace forebay::config::test
