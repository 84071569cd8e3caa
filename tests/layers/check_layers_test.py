#!/usr/bin/env python3
"""Tests of check_layers.py: a small clean tree passes, and each kind of violation in it is caught."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True
import check_layers  # noqa: E402


class FakeTree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)
        self.write("docs/layers.md",
                   f"{check_layers.TABLE_BEGIN}\n{check_layers.tables()}\n{check_layers.TABLE_END}\n")
        for module, deps in (("base", ""), ("io", "base"), ("config", "base"), ("table", "base config"),
                             ("http", "base config"), ("wal", "base io table"), ("server", "base wal http")):
            self.write(f"lib/{module}/CMakeLists.txt",
                       f"forebay_module(NAME {module}" + (f" DEPS {deps}" if deps else "") + " LIBS x::y)\n")
            self.write(f"lib/{module}/{module}.h", "#pragma once\n#include <vector>\n")
            self.write(f"lib/{module}/{module}.cc", f'#include "{module}/{module}.h"\n#include <sys/stat.h>\n')
            self.write(f"lib/{module}/README.md", "# module\n")
            self.write(f"tests/unit/{module}/{module}_test.cc", "// test\n")
        self.write("cmd/forebay/main.cc", '#include <CLI/CLI.hpp>\n#include "server/server.h"\n')

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")

    def errors(self):
        checker = check_layers.Checker(self.root)
        checker.run()
        self.warnings = checker.warnings
        return checker.errors

    def expect(self, *parts):
        errors = self.errors()
        self.assertEqual(len(errors), 1, errors)
        for part in parts:
            self.assertIn(part, errors[0])

    def test_a_clean_tree_passes(self):
        self.assertEqual(self.errors(), [])

    def test_include_of_a_module_that_is_not_in_deps(self):
        self.write("lib/wal/block.cc", '#include "config/config.h"\n')
        self.expect("lib/wal/block.cc:1", "config is not in DEPS of wal")

    def test_deps_that_point_up(self):
        self.write("lib/io/CMakeLists.txt", "forebay_module(NAME io DEPS base wal)\n")
        self.expect("lib/io", "depends up on wal")

    def test_deps_that_point_sideways(self):
        self.write("lib/io/CMakeLists.txt", "forebay_module(NAME io\n  DEPS base # x\n config)\n")
        self.expect("lib/io", "depends sideways on config")

    def test_deps_on_a_module_that_does_not_exist(self):
        self.write("lib/io/CMakeLists.txt", "forebay_module(NAME io DEPS base utils)\n")
        self.expect("unknown module utils")

    def test_a_module_without_a_row(self):
        self.write("lib/utils/CMakeLists.txt", "forebay_module(NAME utils DEPS base)\n")
        self.expect("utils is in no row")

    def test_a_name_that_is_not_the_folder(self):
        self.write("lib/io/CMakeLists.txt", "forebay_module(NAME oi DEPS base)\n")
        self.expect("NAME is ['oi']")

    def test_a_library_outside_its_fence(self):
        self.write("lib/wal/block.cc", "#include <boost/asio.hpp>\n")
        self.expect("lib/wal/block.cc:1", "Boost is for http only")

    def test_a_fenced_library_in_quotes(self):
        self.write("lib/wal/block.cc", '#include "re2/re2.h"\n')
        self.expect("RE2 is for table only")

    def test_a_library_fenced_to_one_file(self):
        self.write("lib/base/log.cc", "#include <spdlog/spdlog.h>\n")
        self.assertEqual(self.errors(), [])
        self.write("lib/base/clock.cc", "#include <spdlog/spdlog.h>\n")
        self.expect("lib/base/clock.cc", "spdlog")

    def test_a_heavy_library_in_a_public_header(self):
        self.write("lib/http/internal/session.h", "#include <boost/asio.hpp>\n")
        self.write("lib/http/server.cc", "#include <boost/asio.hpp>\n")
        self.assertEqual(self.errors(), [])
        self.write("lib/http/server.h", "#include <boost/asio.hpp>\n")
        self.expect("lib/http/server.h:1", "too heavy")

    def test_fmt_core_is_light_enough_for_a_header_but_the_rest_is_not(self):
        self.write("lib/io/text.h", "#include <fmt/core.h>\n")
        self.assertEqual(self.errors(), [])
        self.write("lib/io/text.h", "#include <fmt/ranges.h>\n")
        self.expect("too heavy")

    def test_an_unknown_library(self):
        self.write("lib/wal/block.cc", "#include <absl/strings/str_cat.h>\n")
        self.expect("<absl/strings/str_cat.h>: unknown")

    def test_an_internal_header_of_another_module(self):
        self.write("lib/wal/internal/layout.h", "#pragma once\n")
        self.write("lib/wal/block.cc", '#include "wal/internal/layout.h"\n')
        self.assertEqual(self.errors(), [])
        self.write("lib/server/status.cc", '#include "wal/internal/layout.h"\n')
        self.expect("lib/server/status.cc:1", "internal headers belong to wal alone")

    def test_an_include_relative_to_its_own_folder(self):
        self.write("lib/wal/block.cc", '#include "wal.h"\n')
        self.expect('write it from lib/, as "wal/..."')

    def test_cli11_belongs_to_the_commands(self):
        self.write("lib/server/flags.cc", "#include <CLI/CLI.hpp>\n")
        self.expect("CLI11 is for cmd only")

    def test_a_module_without_readme_or_tests(self):
        (self.root / "lib/wal/README.md").unlink()
        self.expect("lib/wal", "README.md")
        self.write("lib/wal/README.md", "# wal\n")
        (self.root / "tests/unit/wal/wal_test.cc").unlink()
        self.expect("no unit tests in tests/unit/wal")

    def test_absolute_paths(self):
        for path in ("/" + "work/main", "/" + "tmp/x", "/" + "home/me/x"):
            self.write("docs/notes.md", f"See {path} for it.\n")
            self.expect("docs/notes.md:1", "absolute path")
        for text in ("api/" + "work/x", "https://example.org/" + "tmp/x", "/" + "workers", "$dir/" + "tmp/x"):
            self.write("docs/notes.md", text + "\n")
            self.assertEqual(self.errors(), [], text)

    def test_line_ends_and_encoding(self):
        self.write("docs/notes.md", "one\r\n")
        self.expect("CRLF")
        self.write("docs/notes.md", "one")
        self.expect("no newline at the end")
        (self.root / "docs/notes.md").write_bytes(b"caf\xe9\n")
        self.expect("not UTF-8")

    def test_long_files_warn_first_and_fail_at_twice_the_aim(self):
        self.write("lib/wal/long.h", "//\n" * 251)
        self.assertEqual(self.errors(), [])
        self.assertEqual(len(self.warnings), 1)
        self.write("lib/wal/long.h", "//\n" * 501)
        self.expect("lib/wal/long.h", "501 lines")
        self.write("lib/wal/long.h", "//\n")
        self.write("lib/wal/long.cc", "//\n" * 1001)
        self.expect("lib/wal/long.cc")

    def test_a_document_that_tells_other_rows(self):
        text = (self.root / "docs/layers.md").read_text().replace("| 0 | base |", "| 0 | base, io |")
        self.write("docs/layers.md", text)
        self.expect("docs/layers.md", "differs")
        (self.root / "docs/layers.md").unlink()
        self.expect("docs/layers.md", "no generated part")


if __name__ == "__main__":
    unittest.main()
