#include "load_command.h"

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/units.h"
#include "fail.h"
#include "interrupts.h"
#include "io/posix_file_system.h"
#include "loadgen/options.h"
#include "loadgen/report.h"
#include "loadgen/run.h"

namespace forebay::cmd {
namespace {

struct LoadFlags {
  loadgen::LoadOptions load;
  std::string protocol = "1.0";
  std::string signal = "metrics";
  uint32_t series_per_request = 0;  // 0: the signal's default
  std::string values = "counter";
  std::string churn_clock = "wall";
  std::string duration;
  std::string timeout = "30s";
  std::string drain = "10s";
  std::string step;
  int64_t start = -1;
  std::vector<std::string> headers;
  bool no_retry = false;
  bool json = false;
  std::string dump;
};

// Flags that CLI11 gives as text become typed options.
Result<loadgen::LoadOptions> MakeOptions(const LoadFlags& flags) {
  loadgen::LoadOptions options = flags.load;
  FOREBAY_ASSIGN_OR_RETURN(options.protocol, loadgen::ParseProtocol(flags.protocol));
  FOREBAY_ASSIGN_OR_RETURN(options.signal, loadgen::ParseSignal(flags.signal));
  options.series_per_request = flags.series_per_request > 0
                                   ? flags.series_per_request
                                   : loadgen::DefaultSeriesPerRequest(options.signal);
  FOREBAY_ASSIGN_OR_RETURN(options.values, loadgen::ParseValueMode(flags.values));
  FOREBAY_ASSIGN_OR_RETURN(options.churn_clock, loadgen::ParseChurnClock(flags.churn_clock));
  if (!flags.duration.empty()) {
    FOREBAY_ASSIGN_OR_RETURN(options.duration, ParseDuration(flags.duration));
  }
  FOREBAY_ASSIGN_OR_RETURN(options.request_timeout, ParseDuration(flags.timeout));
  FOREBAY_ASSIGN_OR_RETURN(options.drain, ParseDuration(flags.drain));
  if (!flags.step.empty()) {
    FOREBAY_ASSIGN_OR_RETURN(options.step, ParseDuration(flags.step));
  }
  if (flags.start >= 0) options.start = UnixMillis{flags.start};
  options.retry = !flags.no_retry;
  options.user_agent = "forebay-load/" FOREBAY_VERSION;
  for (const std::string& header : flags.headers) {
    const size_t colon = header.find(':');
    if (colon == std::string::npos || colon == 0) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("header: '{}' is not Name: value", header));
    }
    const size_t value = header.find_first_not_of(' ', colon + 1);
    options.headers.emplace_back(header.substr(0, colon),
                                 value == std::string::npos ? "" : header.substr(value));
  }
  return options;
}

int Run(const LoadFlags& flags) {
  const auto options = MakeOptions(flags);
  if (!options.ok()) return Fail("forebay load", options.error());
  if (!flags.dump.empty()) {
    io::PosixFileSystem fs;
    const auto written = loadgen::DumpBodies(*options, fs, flags.dump);
    if (!written.ok()) return Fail("forebay load", written.error());
    fmt::print("{} bodies in {}\n", *written, flags.dump);
    return 0;
  }
  const InterruptWatch interrupts;  // they end the run; the account is printed all the same
  const auto report = loadgen::RunLoad(*options, interrupts.token());
  if (!report.ok()) return Fail("forebay load", report.error());
  const std::string text = flags.json ? loadgen::FormatJson(*report) : loadgen::FormatText(*report);
  std::fputs(text.c_str(), stdout);
  return report->complete() ? 0 : 2;
}

void AddShape(CLI::App& command, LoadFlags& flags) {
  loadgen::LoadOptions& load = flags.load;
  const char* const group = "Shape of the load";
  command.add_option("--protocol", flags.protocol, "version of remote write, or OTLP")
      ->type_name("1.0|2.0|otlp-http|otlp-grpc")
      ->capture_default_str()
      ->group(group);
  command.add_option("--signal", flags.signal, "what OTLP carries")
      ->type_name("metrics|logs|traces")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--record-bytes", load.record_bytes, "size of a log record or span, as encoded")
      ->capture_default_str()
      ->group(group);
  command.add_option("--series", load.series, "active series")->capture_default_str()->group(group);
  command.add_option("--tables", load.tables, "metrics; default series / 500, at most 200")
      ->group(group);
  command.add_option("--labels", load.labels, "labels of a series, with __name__")
      ->capture_default_str()
      ->group(group);
  command.add_option("--samples-per-series", load.samples_per_series, "in a request")
      ->capture_default_str()
      ->group(group);
  command
      .add_option("--series-per-request", flags.series_per_request,
                  "series in a request; default 2000, of logs and traces 512")
      ->check(CLI::PositiveNumber)
      ->group(group);
  command
      .add_option("--churn", load.churn_percent_per_minute,
                  "percent of the series replaced a minute")
      ->group(group);
  command
      .add_option("--churn-clock", flags.churn_clock,
                  "minutes of the run (wall) or of the timestamps (sample)")
      ->type_name("wall|sample")
      ->capture_default_str()
      ->group(group);
  command.add_option("--values", flags.values, "counter, or unique: no value twice")
      ->type_name("counter|unique")
      ->capture_default_str()
      ->group(group);
  command.add_option("--start", flags.start, "first timestamp, Unix ms; needs --step")
      ->group(group);
  command
      .add_option("--step", flags.step,
                  "time between samples of a series, as 15s; default: real time")
      ->group(group);
  command
      .add_option("--histograms", load.histogram_share, "share of native histogram series, 0 to 1")
      ->group(group);
  command.add_option("--exemplars", load.exemplar_share, "share of series with exemplars, 0 to 1")
      ->group(group);
}

void AddPace(CLI::App& command, LoadFlags& flags) {
  loadgen::LoadOptions& load = flags.load;
  const char* const group = "Pace and end";
  command.add_option("--connections", load.connections, "connections, a thread each")
      ->capture_default_str()
      ->group(group);
  command.add_option("--rate", load.rate, "samples a second; 0: as fast as possible")
      ->capture_default_str()
      ->group(group);
  command.add_option("--duration", flags.duration, "end after; default 30s, with --samples 1h")
      ->group(group);
  command.add_option("--samples", load.samples, "end after so many samples, whole requests")
      ->group(group);
  command.add_option("--timeout", flags.timeout, "of one attempt")
      ->capture_default_str()
      ->group(group);
  command.add_option("--drain", flags.drain, "what is under way at the end may take so long")
      ->capture_default_str()
      ->group(group);
  command.add_flag("--no-retry", flags.no_retry, "do not repeat after 5xx, 429 and network errors")
      ->group(group);
}

}  // namespace

void AddLoadCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "load", "Send made-up remote-write or OTLP load and account for every sample");
  auto flags = std::make_shared<LoadFlags>();
  loadgen::LoadOptions& load = flags->load;
  command->add_option("--url", load.url,
                      "receiver; default: the protocol's port and path on this machine");
  AddShape(*command, *flags);
  AddPace(*command, *flags);
  const char* const group = "Identity and TLS";
  command->add_option("--tenant", load.tenant, "tenant")->group(group);
  command->add_option("--tenant-header", load.tenant_header, "its header")
      ->capture_default_str()
      ->group(group);
  command->add_option("--basic", load.basic, "user:password")->group(group);
  command->add_option("--bearer", load.bearer, "token")->group(group);
  command->add_option("--header", flags->headers, "further header, as 'Name: value'; repeatable")
      ->group(group);
  command->add_option("--ca", load.tls.ca_file, "PEM file of the authority to trust")
      ->type_name("FILE")
      ->group(group);
  command->add_option("--cert", load.tls.certificate_file, "PEM file of the client certificate")
      ->type_name("FILE")
      ->group(group);
  command->add_option("--key", load.tls.key_file, "PEM file of its key")
      ->type_name("FILE")
      ->group(group);
  command->add_flag("--insecure", load.tls.insecure_skip_verify, "accept any server certificate")
      ->group(group);
  command->add_flag("--json", flags->json, "print the outcome as JSON");
  command->add_option("--dump", flags->dump, "write the bodies into this directory, send nothing")
      ->type_name("DIR");
  command->callback([flags, &exit_code] { exit_code = Run(*flags); });
}

}  // namespace forebay::cmd
