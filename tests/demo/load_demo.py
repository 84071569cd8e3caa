"""What the demos of the backends have in common: the load, its arguments, and how the result is printed."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from forebay_harness import binary


def load_parser(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--tables", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    return parser


def send_load(node, options):
    """The number of accepted samples."""
    command = [binary(), "load", "--url", node.write_url, "--json", "--series", options.series, "--tables", options.tables,
               "--samples", options.samples]
    done = subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return json.loads(done.stdout)["samples"]["accepted"]


def finish(run, options):
    """Ends the process: with 0 when the account holds."""
    with tempfile.TemporaryDirectory() as folder:
        result = run(options, pathlib.Path(folder))
    if options.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key.replace('_', ' '):22} {json.dumps(value)}")
    sys.exit(0 if result["account_holds"] else 1)
