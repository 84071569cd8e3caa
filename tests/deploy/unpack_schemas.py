"""usage: unpack_schemas.py WHEELS FOLDER: JSON schemas out of packages of PyPI, below FOLDER.

kubernetes-schemas/v<version>/: the strict schemas of some versions, of kubernetes-validate. openapi/schema.json: OpenAPI 3.0, of
openapi-spec-validator.
"""

import pathlib
import sys
import zipfile

# The oldest that the chart takes, the one that the goldens are for, and the newest with a schema.
VERSIONS = ("1.25.0", "1.31.0", "1.37.0")
PLACES = {"openapi_spec_validator/resources/schemas/v3.0/": "openapi"}
PLACES.update({f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/": f"kubernetes-schemas/v{version}"
               for version in VERSIONS})


def main(wheels, folder):
    for wheel in pathlib.Path(wheels).glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                for prefix, place in PLACES.items():
                    if name.startswith(prefix) and name.endswith(".json"):
                        path = pathlib.Path(folder) / place / name.removeprefix(prefix)
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_bytes(archive.read(name))


if __name__ == "__main__":
    main(*sys.argv[1:])
