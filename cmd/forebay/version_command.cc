#include "version_command.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <string_view>

namespace forebay::cmd {
namespace {

// All four come from the build, cmd/forebay/CMakeLists.txt; the libraries as "name version, name
// version".
constexpr std::string_view kVersion = FOREBAY_VERSION;
constexpr std::string_view kCompiler = FOREBAY_COMPILER;
constexpr std::string_view kBuildType = FOREBAY_BUILD_TYPE;
constexpr std::string_view kLibraries = FOREBAY_LIBRARIES;

std::string LibrariesJson() {
  std::string out;
  std::string_view rest = kLibraries;
  while (!rest.empty()) {
    const std::string_view item = rest.substr(0, rest.find(", "));
    rest.remove_prefix(item.size() == rest.size() ? item.size() : item.size() + 2);
    const size_t blank = item.find(' ');
    out += fmt::format(R"({}"{}":"{}")", out.empty() ? "" : ",", item.substr(0, blank),
                       item.substr(blank + 1));
  }
  return out;
}

void PrintVersion(bool json) {
  if (json) {
    fmt::print(R"({{"version":"{}","compiler":"{}","build_type":"{}","libraries":{{{}}}}})"
               "\n",
               kVersion, kCompiler, kBuildType, LibrariesJson());
  } else {
    fmt::print("forebay {}\ncompiler   {}\nbuild      {}\nlibraries  {}\n", kVersion, kCompiler,
               kBuildType, kLibraries);
  }
}

}  // namespace

void AddVersionCommand(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("version", "Print version, compiler, build type and libraries");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "print JSON");
  command->callback([json, &exit_code] {
    PrintVersion(*json);
    exit_code = 0;
  });
}

}  // namespace forebay::cmd
