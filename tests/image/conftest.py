"""The image as `./dev image` makes it: built once by buildah, in a storage of its own, on a base that ./dev made."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from forebay_harness import binary
from processes import ROOT

# `./dev cross` has the image of another platform tested, whose programs can be run.
PLATFORM = os.environ.get("FOREBAY_IMAGE_PLATFORM", "")
BASE = os.environ.get("FOREBAY_IMAGE_BASE", ROOT / "build" / "tools" / "image-base.tar")


class Image:
    """A built image: `root` is the folder of its files, `config` and `architecture` what it says of itself."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        storage = self.folder / "storage.conf"
        storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/storage"\nrunroot = "{self.folder}/run"\n')
        self.environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"}
        base = self.buildah("from", "scratch")
        if PLATFORM:
            self.buildah("config", "--arch", PLATFORM.split("/")[1], base)
        self.buildah("add", "-q", base, BASE, "/")
        self.buildah("commit", "-q", base, "base")
        self.name = self.build()
        container = self.buildah("from", f"localhost/{self.name}")
        self.root = pathlib.Path(self.buildah("mount", container))
        about = json.loads(self.buildah("inspect", "--type", "image", f"localhost/{self.name}"))["OCIv1"]
        self.config, self.architecture = about["config"], about["architecture"]

    def buildah(self, *arguments):
        return self.run("buildah", *arguments)

    def build(self, *arguments):
        """./dev image; returns the name that it prints."""
        return self.run(ROOT / "dev", "image", "--builder", "buildah", "--binary", binary(), "--base", "localhost/base",
                        *(["--platform", PLATFORM] if PLATFORM else []), *arguments)

    def identity(self, name):
        return self.buildah("images", "--quiet", "--no-trunc", f"localhost/{name}")

    def run(self, *command):
        done = subprocess.run([str(word) for word in command], env=self.environment, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout.strip()


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    made = Image(folder)
    yield made
    made.buildah("umount", "--all")
    shutil.rmtree(folder / "storage", ignore_errors=True)
