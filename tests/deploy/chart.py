"""The chart as helm renders it, and the Kubernetes schemas that it must fit."""

import base64
import functools
import json
import pathlib
import re
import subprocess
import sys

import jsonschema
import yaml
from unpack_schemas import VERSIONS

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy"))
import generate  # noqa: E402

SCHEMAS = ROOT / "build" / "tools" / "kubernetes-schemas"
CUSTOM = pathlib.Path(__file__).parent / "custom_resources.yaml"
CASES = generate.cases()
SELECTOR = ("app.kubernetes.io/name", "app.kubernetes.io/instance")


class Rendered:
    """The objects of one case: find("Service", "forebay-headless")."""

    def __init__(self, text):
        self.objects = [one for one in yaml.safe_load_all(text) if one]

    def all(self, kind):
        return [one for one in self.objects if one["kind"] == kind]

    def find(self, kind, name=None):
        found = [one for one in self.all(kind) if name in (None, one["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} objects {kind} {name or ''}"
        return found[0]

    @property
    def set(self):
        return self.find("StatefulSet")

    @property
    def pod(self):
        return self.set["spec"]["template"]

    @property
    def container(self):
        return next(one for one in self.pod["spec"]["containers"] if one["name"] == "forebay")

    @property
    def config_text(self):
        return self.find("ConfigMap", self.set["metadata"]["name"])["data"]["forebay.yaml"]

    @property
    def config(self):
        return yaml.safe_load(self.config_text)

    @property
    def environment(self):
        """Variables of the container that have a value."""
        return {one["name"]: one["value"] for one in self.container.get("env", []) if "value" in one}

    def secret_files(self, name):
        return {key: base64.b64decode(value) for key, value in self.find("Secret", name)["data"].items()}


@functools.lru_cache(maxsize=None)
def render(case, kubernetes=generate.KUBERNETES, *options):
    """With certificates as they were made, unlike the goldens."""
    program = generate.helm()
    assert program, "no helm: ./dev setup builds it"
    done = subprocess.run([program, "template", "forebay", str(generate.CHART), "--namespace", "monitoring",
                           "--kube-version", kubernetes, "--values",
                           str(generate.CHART / "ci" / f"{case}-values.yaml"), *options],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Rendered(done.stdout)


def schema_file(version, one):
    group, _, api = one["apiVersion"].rpartition("/")
    middle = f"-{group.split('.')[0]}" if group else ""
    return SCHEMAS / f"v{version}" / f"{one['kind'].lower()}{middle}-{api}.json"


@functools.lru_cache(maxsize=None)
def definitions(version):
    return json.loads((SCHEMAS / f"v{version}" / "_definitions.json").read_text())["$defs"]


@functools.lru_cache(maxsize=None)
def validator(path, version):
    schema = json.loads(path.read_text().replace("/api/_definitions.json#", "#"))
    return jsonschema.Draft7Validator({**schema, "$defs": definitions(version)})


def described(one, errors):
    return [f"{one['kind']} {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors]


def kubernetes_errors(version, one):
    """What a Kubernetes of that version has against an object; None when the kind is not one of its own."""
    path = schema_file(version, one)
    return described(one, validator(path, version).iter_errors(one)) if path.exists() else None


def custom_errors(one):
    """The same for kinds of operators, by custom_resources.yaml; None when that does not know it."""
    known = yaml.safe_load(CUSTOM.read_text())
    schema = known["kinds"].get(f"{one['apiVersion']} {one['kind']}")
    if schema is None:
        return None
    return described(one, jsonschema.Draft7Validator({"definitions": known["definitions"], **schema}).iter_errors(one))


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


def quantity(text):
    """Bytes of a Kubernetes quantity or a size of Forebay's."""
    number, unit = re.fullmatch(r"([0-9.]+) ?([A-Za-z]*)", str(text)).groups()
    unit = unit.removesuffix("B").removesuffix("b")
    powers = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
              "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    return int(float(number) * powers[unit])


__all__ = ["VERSIONS", "CASES", "SELECTOR", "Rendered", "render", "kubernetes_errors", "custom_errors", "matches",
           "quantity", "generate"]
