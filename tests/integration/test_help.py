"""Help, manual page and shell completion say what the command line takes: the real shells complete."""

import re
import shutil
import subprocess

import pytest
from forebay_harness import binary


def forebay(*arguments):
    return subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=20)


def help_of(*command):
    done = forebay(*command, "--help")
    assert done.returncode == 0, done.stderr
    return done.stdout


def subcommands(text):
    section = text.partition("Subcommands:\n")[2]
    return re.findall(r"^  (\w+) ", section, flags=re.MULTILINE)


def all_commands(command=()):
    """{command: text of its --help}, found by asking each for those below it."""
    text = help_of(*command)
    found = {command: text}
    for name in subcommands(text):
        found.update(all_commands((*command, name)))
    return found


@pytest.fixture(scope="module")
def commands():
    found = all_commands()
    assert {("serve",), ("wal", "quarantine", "drop"), ("dlq", "replay"), ("help",)} <= found.keys()
    return found


def flags(text):
    return set(re.findall(r"^  (?:-\w,)?(--[\w-]+)", text, flags=re.MULTILINE))


def unescaped(roff):
    return re.sub(r"\\f[BIR]", "", roff).replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")


def test_help_says_of_every_command_what_its_flag_help_says(commands):
    for command, text in commands.items():
        done = forebay("help", *command)
        assert done.returncode == 0 and done.stderr == ""
        # The first lines tell the name with the program's or without it.
        assert done.stdout.split("\n")[2:][:len(text.split("\n")) - 3] == text.split("\n")[2:-1], command


def test_help_of_what_does_not_exist_fails_with_its_name():
    done = forebay("help", "wal", "nothing")
    assert done.returncode == 1 and 'no command "wal nothing"' in done.stderr


def test_version_is_a_flag_too():
    assert forebay("--version").stdout == forebay("version").stdout.splitlines()[0] + "\n"


def test_the_manual_page_has_every_flag_of_every_command(commands):
    page = forebay("help", "--man").stdout
    sections = {one.split("\n")[0]: one for one in unescaped(page).split(".SS forebay ")[1:]}
    for command, text in commands.items():
        if command and not subcommands(text):
            section = sections[" ".join(command)]
            assert flags(text) - {"--help"} == set(re.findall(r"^(--[\w-]+)", section, flags=re.MULTILINE)), command
    assert "--version" in unescaped(page).partition(".SH OPTIONS")[2].partition(".SH COMMANDS")[0]


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_man_finds_nothing_wrong_with_the_page():
    page = forebay("help", "--man").stdout
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""


def bash(line, folder):
    """What bash offers at the end of the line."""
    script = """source <("$1" completion bash) || exit 9
COMP_LINE=$2 COMP_POINT=${#2}
read -ra COMP_WORDS <<<"${2//=/ = }"
[[ $2 != *[\\ =] ]] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_forebay forebay "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash", "-c", script, "bash", binary(), line], capture_output=True, text=True, cwd=folder, timeout=20)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return set(done.stdout.split("\n")) - {""}


def fish(line, folder):
    script = f'"{binary()}" completion fish | source; complete -C "{line}"'
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, cwd=folder, timeout=20)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return {one.split("\t")[0] for one in done.stdout.splitlines()}


SHELLS = [bash, pytest.param(fish, marks=pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed"))]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "forebay.yaml").touch()
    (tmp_path / "forest").mkdir()
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_at_every_depth(shell, commands, folder):
    for command, text in commands.items():
        if subcommands(text):
            offered = shell(" ".join(["forebay", *command, ""]), folder)
            assert set(subcommands(text)) <= offered, command
    assert shell("forebay wal ex", folder) == {"export"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_the_flags_of_the_command_alone(shell, commands, folder):
    for command in [("serve",), ("load",), ("wal", "quarantine", "drop"), ("config", "print")]:
        offered = shell(" ".join(["forebay", *command, "--"]), folder)
        assert {one for one in offered if one.startswith("--")} == flags(commands[command]), command


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_what_stands_behind_a_flag(shell, folder):
    assert shell("forebay wal export --format ", folder) == {"csv", "ndjson"}
    assert {one.rstrip("/") for one in shell("forebay serve --config for", folder)} == {"forebay.yaml", "forest"}
    assert {one.rstrip("/") for one in shell("forebay wal ls --dir for", folder)} == {"forest"}
    assert shell("forebay serve --set batch.mi", folder) == {"batch.min_bytes="}
    assert {one.rstrip("/") for one in shell("forebay config check fore", folder)} == {"forebay.yaml", "forest"}
    assert {"bash", "zsh", "fish"} <= shell("forebay completion ", folder)
    assert shell("forebay load --rate ", folder) in (set(), {"forebay.yaml", "forest/"})


def test_bash_completes_a_value_behind_an_equals_sign(folder):
    assert bash("forebay wal export --format=nd", folder) == {"ndjson"}
    assert bash("forebay wal export --format=", folder) == {"csv", "ndjson"}


def zsh(line, folder):
    """What the script gives to zsh at the end of the line; zsh's own helpers are stood in for."""
    script = """compdef() { : }
compadd() { print -l -- "${@[$@[(i)--]+1,-1]}" }
_files() { print -l -- ${1:+directories}${1:-files} }
_describe() { print -l -- "${(@P)2%%:*}" }
source <("$1" completion zsh)
words=(${=2}); [[ $2 != *" " ]] || words+=("")
CURRENT=$#words PREFIX=$words[-1]
_forebay || true
"""
    done = subprocess.run(["zsh", "-f", "-c", script, "zsh", binary(), line], capture_output=True, text=True, cwd=folder, timeout=20)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_is_offered_commands_flags_and_values(commands, folder):
    for command, text in commands.items():
        offered = zsh(" ".join(["forebay", *command, "-"]), folder)
        assert set(subcommands(text)) | flags(text) <= offered, command
    assert zsh("forebay wal export --format ", folder) == {"csv", "ndjson"}
    assert "batch.min_bytes" in zsh("forebay serve --set ", folder)
    assert zsh("forebay serve --config ", folder) == {"files"} and zsh("forebay wal cat ", folder) == {"files"}
    assert zsh("forebay wal ls --dir ", folder) == {"directories-/"} and zsh("forebay load --rate ", folder) == set()


def test_a_shell_without_a_script_is_told_which_have_one():
    done = forebay("completion", "tcsh")
    assert done.returncode == 1 and "bash, zsh and fish" in done.stderr
