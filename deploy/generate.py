#!/usr/bin/env python3
"""Makes what is made of something else below deploy/, and says what changed. tests/deploy checks that it is current.

  deploy/grafana/forebay.json          of deploy/grafana/dashboard.py
  deploy/helm/forebay/files/           copies of the alert rules and the dashboard: a chart holds its own files only
  deploy/helm/forebay/README.md        its table, of the comments in values.yaml
  tests/data/helm/<case>.yaml          what the chart renders for each ci/<case>-values.yaml (needs helm: ./dev setup)

usage: deploy/generate.py [--check] [--helm PATH]
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

DEPLOY = pathlib.Path(__file__).resolve().parent
ROOT = DEPLOY.parent
CHART = DEPLOY / "helm" / "forebay"
GOLDENS = ROOT / "tests" / "data" / "helm"
KUBERNETES = "1.31.0"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"

sys.path.insert(0, str(DEPLOY / "grafana"))
from dashboard import dashboard  # noqa: E402


def helm(given=None):
    """Path of helm: the given one, what ./dev built, or the system's."""
    built = ROOT / "build" / "tools" / "usr" / "bin" / "helm"
    return given or (str(built) if built.exists() else shutil.which("helm"))


def cases():
    return sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))


def render(program, case, *options):
    """What `helm template` makes of a case. Keys made at random are left out."""
    done = subprocess.run([program, "template", "forebay", str(CHART), "--namespace", "monitoring", "--kube-version",
                           KUBERNETES, "--values", str(CHART / "ci" / f"{case}-values.yaml"), *options],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"helm template with ci/{case}-values.yaml: {done.stderr}")
    return re.sub(r"^(  (?:ca\.crt|tls\.crt|tls\.key)): [A-Za-z0-9+/=]{100,}$", r"\1: bWFkZSBhdCByYW5kb20=", done.stdout,
                  flags=re.MULTILINE)


def values_table():
    """A row for each key of values.yaml that has a `# --` comment."""
    rows, path, comment = [], [], None
    lines = (CHART / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = stripped[5:]
        elif stripped.startswith("# ") and comment is not None:
            comment += " " + stripped[2:]
        elif match := re.match(r"^( *)([A-Za-z]\w*):(?: (.*))?$", line):
            depth = len(match[1]) // 2
            path[depth:] = [match[2]]
            if comment is not None:
                nested = match[3] is None
                default = "see values.yaml" if nested else f"`{match[3]}`"
                rows.append(f"| `{'.'.join(path)}` | {default} | {comment} |".replace("{{", "{ {"))
                comment = None
        else:
            assert comment is None, f"values.yaml:{number + 1}: a comment that no key follows"
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])


def readme():
    text = (CHART / "README.md").read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{values_table()}\n{END}{after}"


def outputs(program):
    """Path to text of everything that is made; without helm, no renderings."""
    board = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    made = {
        DEPLOY / "grafana" / "forebay.json": board,
        CHART / "files" / "forebay.json": board,
        CHART / "files" / "forebay.rules.yaml": (DEPLOY / "prometheus" / "forebay.rules.yaml").read_text(),
        CHART / "README.md": readme(),
    }
    if program:
        for path in (DEPLOY / "grafana" / "forebay.json", *(path for path in made if path.parent == CHART / "files")):
            assert path.exists(), f"{path} is not there yet: run this again"
        made.update({GOLDENS / f"{case}.yaml": render(program, case) for case in cases()})
    return made


def write(made):
    for path, text in made.items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(path.relative_to(ROOT))


def main():
    parser = argparse.ArgumentParser(description="Makes what is made of something else below deploy/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something is not current")
    parser.add_argument("--helm", help="program; default: as ./dev setup built it")
    arguments = parser.parse_args()
    program = helm(arguments.helm)
    if arguments.check:
        stale = [path for path, text in outputs(program).items() if not path.exists() or path.read_text() != text]
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not current: run deploy/generate.py")
        return 1 if stale else 0
    write(outputs(None))
    if program:
        write(outputs(program))
    else:
        print("no helm: tests/data/helm is as it was (./dev setup builds it)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
