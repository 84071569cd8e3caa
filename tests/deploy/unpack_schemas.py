"""usage: unpack_schemas.py WHEEL FOLDER: the strict schemas of the versions below, out of PyPI's kubernetes-validate."""

import pathlib
import sys
import zipfile

# The oldest that the chart takes, the one that the goldens are for, and the newest with a schema.
VERSIONS = ("1.25.0", "1.31.0", "1.37.0")


def main(wheel, folder):
    prefixes = {f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/": f"v{version}" for version in VERSIONS}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            for prefix, short in prefixes.items():
                if name.startswith(prefix) and name.endswith(".json"):
                    path = pathlib.Path(folder) / short / name.removeprefix(prefix)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(archive.read(name))


if __name__ == "__main__":
    main(*sys.argv[1:])
