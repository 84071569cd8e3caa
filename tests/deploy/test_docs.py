"""Links of the documentation lead somewhere, and the metrics, keys and commands that it names exist."""

import re
import subprocess

import pytest
from forebay_harness import binary
from processes import ROOT

NO_METRICS = {"forebay_batch", "forebay_row", "forebay_module"}  # columns of ClickHouse, a command of CMake
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "lib").glob("*/README.md"), *(ROOT / "deploy").rglob("*.md")])
CODE = re.compile(r"```.*?```|`[^`]*`", flags=re.DOTALL)


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), flags=re.MULTILINE):
        text = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (name := text if number == 0 else f"{text}-{number}") in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", page.read_text())):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: no such file"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}: no such heading; there are {sorted(anchors(target))}"


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    missing = [page.name for page in (ROOT / "docs").rglob("*.md") if page.name != "README.md" and f"{page.relative_to(ROOT / 'docs')})" not in index]
    assert not missing


def test_metrics_that_are_named_exist():
    known = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs" / "metrics.md").read_text(), flags=re.MULTILINE))
    known |= {name + suffix for name in known for suffix in ("_bucket", "_sum", "_count")}
    for page in PAGES:
        # One that ends in _ stands for those that begin so.
        for name in re.findall(r"`[^`\n]*?\b(forebay_[a-z0-9_]+[a-z0-9])\b(?!_|\*|\.)", page.read_text()):
            assert name in known or any(one.startswith(f"{name}_") for one in known) or name in NO_METRICS, f"{page}: {name}"


def test_commands_that_are_shown_exist():
    shown = 0
    for page in PAGES:
        for line in re.findall(r"^    (?:\$ )?forebay (.*)$", page.read_text(), flags=re.MULTILINE):
            words = re.split(r"\s{2,}|[|>&#\\]", line)[0].split()
            command = [word for word in words[:3] if re.fullmatch("[a-z]+", word)]
            flags = {word.split("=")[0] for word in words if word.startswith("--")}
            help_text = help_of(tuple(command))
            assert help_text, f"{page}: forebay {line}"
            known = set(re.findall(r"--[\w-]+", help_text)) | (ADX_MON if command in (["serve"], ["config", "print"]) else set())
            assert flags <= known, f"{page}: forebay {line}: {flags - known}"
            shown += 1
    assert shown > 20


ADX_MON = set(re.findall(r"^\| `(--[\w-]+)`", (ROOT / "docs" / "configuration.md").read_text(), flags=re.MULTILINE))
KNOWN = {}


def help_of(command):
    """The help of the longest beginning of the words that is a command; "" when the first is none."""
    if command not in KNOWN:
        done = subprocess.run([binary(), "help", *command], capture_output=True, text=True)
        KNOWN[command] = done.stdout if done.returncode == 0 else help_of(command[:-1]) if len(command) > 1 else ""
    return KNOWN[command]
