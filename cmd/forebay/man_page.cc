#include "man_page.h"

#include <fmt/core.h>

#include <string_view>

namespace forebay::cmd {
namespace {

constexpr std::string_view kEnd = R"(.SH ENVIRONMENT
.TP
.B FOREBAY_CONFIG
the configuration file where no \-\-config names one
.TP
.BI FOREBAY_ KEY
sets a key of the configuration: FOREBAY_LISTEN_INGEST is listen.ingest. Flags win over variables, these over the file.
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
.B forebay serve
stops: with other members it drains, alone it delivers what is due; what is left goes at the next start. A second one
ends it at once, which loses nothing that was acknowledged.
.TP
.B SIGHUP
reads configuration, certificates and credentials again, all or nothing.
.SH EXIT STATUS
.TP
.B 0
done
.TP
.B 1
an error, said on standard error; of
.BR "wal verify" :
something is damaged
.TP
.B 2
of
.BR load :
some samples were refused or their fate is unknown; of
.BR "wal replay" :
something is left
.TP
.B above 100
the command line is wrong
.SH FILES
.TP
.I ./data
state, where storage.dir does not say otherwise: journals, segments, batches, quarantine, dead letters. One process at a time.
.SH EXAMPLES
.nf
forebay serve \-\-config forebay.yaml \-\-set log.level=debug
forebay config check forebay.yaml
forebay config print \-\-comments
forebay load \-\-url http://127.0.0.1:9090/api/v1/write \-\-series 10000 \-\-duration 10s
forebay wal export \-\-table Metrics_Up \-\-out up.csv
.fi
)";

// A line that begins with a dot or a quote would be a command of man's.
std::string Escape(std::string_view text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    line_begins = c == '\n';
  }
  return out;
}

std::string OptionText(const CommandOption& option) {
  std::string names;
  for (const std::string& name : option.names) {
    if (!names.empty()) names += ", ";
    names += fmt::format("\\fB{}\\fR", Escape(name));
  }
  if (!option.positional && !option.value.empty()) {
    names += fmt::format(" \\fI{}\\fR", Escape(option.value));
  }
  if (option.repeatable) names += " ...";
  std::string text = option.description;
  if (option.required) text += "; required";
  if (!option.default_text.empty()) text += fmt::format(" (default: {})", option.default_text);
  return fmt::format(".TP\n{}\n{}\n", names, Escape(text));
}

std::string CommandText(const Command& command) {
  std::string out =
      fmt::format(".SS forebay {}\n{}.\n", Escape(command.PathText()), Escape(command.description));
  for (const CommandOption& option : command.options) {
    if (option.names.front() != "--help") out += OptionText(option);
  }
  if (!command.footer.empty()) out += fmt::format(".PP\n{}\n", Escape(command.footer));
  return out;
}

}  // namespace

std::string ManPage(const std::vector<Command>& commands, const std::string& version) {
  const Command& program = commands.front();
  std::string out = fmt::format(
      ".TH FOREBAY 1 \"\" \"forebay {}\" \"Forebay\"\n.SH NAME\nforebay \\- many small telemetry "
      "writes in, few large batches out\n.SH SYNOPSIS\n.B forebay\n.I COMMAND\n[\\fIoptions\\fR]\n"
      ".SH DESCRIPTION\nForebay takes Prometheus remote write, answers when the request is on "
      "disk, gathers the samples per table and delivers batches of up to 1 GB to Azure Data "
      "Explorer, ClickHouse or files.\n.B forebay serve\nis the daemon; the other commands look "
      "at what it has on disk, check its configuration and send test load. Every command takes "
      "\\fB\\-h\\fR or \\fB\\-\\-help\\fR.\n",
      Escape(version));
  out += ".SH OPTIONS\n";
  for (const CommandOption& option : program.options) out += OptionText(option);
  out += ".SH COMMANDS\n";
  for (const Command& command : commands) {
    // A group says nothing that its commands do not.
    if (!command.path.empty() && command.subcommands.empty()) out += CommandText(command);
  }
  return out + std::string(kEnd);
}

}  // namespace forebay::cmd
