#include "config/internal/expand.h"
#include "config/internal/overlay.h"
#include "config/internal/suggest.h"
#include "config/internal/utf8.h"
#include "unit/config/test_config.h"

namespace forebay::config::internal {
namespace {

TEST_CASE("suggest: edits are counted, case and separators are not") {
  CHECK(EditDistance("dir", "dri") == 1);
  CHECK(EditDistance("max_disk", "maxDisk") == 0);
  CHECK(EditDistance("", "abc") == 3);
  CHECK(EditDistance("kitten", "sitting") == 3);
  CHECK(Nearest("lvel", {"format", "level"}) == "level");
  CHECK_FALSE(Nearest("colour", {"format", "level"}).has_value());
}

TEST_CASE("expand: escaped text expands to itself, whatever the environment") {
  const Environment environment = {{"A", "x"}, {"_b1", "y"}};
  for (const char* text : {"", "$", "$$", "$$$", "$1", "${1}", "${A}", "$${A}", "$$$${A}", "a$",
                           "${", "${A", "$A", "${_b1:-z}", "$${", "${}", "$\n{A}"}) {
    CAPTURE(text);
    const auto expanded = Expand(EscapeDollars(text), environment);
    REQUIRE(expanded.ok());
    CHECK(*expanded == text);
  }
  CHECK(EscapeDollars("$1-${2}") == "$1-${2}");
  CHECK(Expand("${A}${_b1}${C:-d}${C:-}${1a}", environment).value() == "xyd${1a}");
}

TEST_CASE("overlay: variables with separators in their names find their keys") {
  CHECK(PathOfEnvironmentName("FOREBAY_LISTEN_ADMIN") == "listen.admin");
  CHECK(PathOfEnvironmentName("FOREBAY_LISTEN_ADMIN_TLS_CERT_FILE") ==
        "listen.admin_tls.cert_file");
  CHECK(PathOfEnvironmentName("FOREBAY_DATABASES_12_SINKS_0_FILE_ROOT") ==
        "databases.12.sinks.0.file.root");
  CHECK(PathOfEnvironmentName("FOREBAY_DATABASES_0") == "databases.0");
  CHECK(PathOfEnvironmentName("FOREBAY_DATABASES") == "databases");
  for (const char* name :
       {"FOREBAY_", "FOREBAY_DATABASES_X_NAME", "FOREBAY_STORAGE_", "FOREBAY_DATABASES_",
        "FOREBAY_DATABASES_0_", "STORAGE_DIR", "FOREBAY_STORAGE_DIR_X", "FOREBAY_storage_dir"}) {
    CAPTURE(name);
    CHECK_FALSE(PathOfEnvironmentName(name).has_value());
  }
}

TEST_CASE("overlay: what fails leaves the tree as it was") {
  Node root = ParseYaml("storage: {dir: a}", "f").root;
  CHECK(Overlay(root, "databases.5.name", "x", "test").size() == 1);
  CHECK(root.FindValue("databases") == nullptr);
  CHECK(Overlay(root, "storage.dir", "b", "test").empty());
  CHECK(root.FindValue("storage")->FindValue("dir")->text == "b");
}

TEST_CASE("utf8: well-formed text passes, the first bad byte is placed") {
  CHECK_FALSE(FindBadCharacter("\ufeff a\t\r\n\u00e9\u20ac\U0001F600").has_value());
  for (const char* bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80",
                          "\xf4\x90\x80\x80", "\xf8", "\x01", "\x7f"}) {
    CAPTURE(bad);
    const auto found = FindBadCharacter(std::string("ab\nc") + bad);
    REQUIRE(found.has_value());
    CHECK(found->line == 2);
    CHECK(found->column == 2);
  }
}

}  // namespace
}  // namespace forebay::config::internal
