"""A volume that can be frozen at a point in time: an ext4 image inside a btrfs image, both mounted by loop devices.

A snapshot is a reflink copy of the ext4 image. It holds what had reached the block device at that moment, and nothing
of the page cache above: what a power cut leaves. Mounted, ext4 replays its journal, and the daemon starts on it.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess

PROGRAMS = ("mkfs.btrfs", "mkfs.ext4", "losetup", "mount", "umount", "cp")
OUTER_BYTES = 4 << 30  # sparse
INNER_BYTES = 384 << 20
SEARCH = "/usr/sbin:/sbin:" + os.environ.get("PATH", "")


class NotPossible(Exception):
    """This machine does not allow it; the text says what is missing."""


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": SEARCH})
    if done.returncode != 0:
        raise NotPossible(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.returncode}")


class FrozenVolume:
    """The volume is at `path` while it is mounted; see mounted()."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.image = folder / "outer.img"
        self.outer = folder / "outer"
        self.path = folder / "volume"
        self.disk = self.outer / "disk.img"
        self.snapshots = []

    def __enter__(self):
        if os.geteuid() != 0:
            raise NotPossible("only root may mount")
        missing = [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]
        if missing:
            raise NotPossible(f"not installed: {', '.join(missing)}")
        self.outer.mkdir(parents=True)
        self.path.mkdir()
        make_file(self.image, OUTER_BYTES)
        run("mkfs.btrfs", "-q", self.image)
        run("mount", "-o", "loop", self.image, self.outer)
        try:
            make_file(self.disk, INNER_BYTES)
            run("mkfs.ext4", "-q", "-F", self.disk)
        except NotPossible:
            run("umount", self.outer)
            raise
        return self

    def __exit__(self, *_):
        run("umount", self.outer)
        self.image.unlink()

    @contextlib.contextmanager
    def mounted(self, image=None):
        """The disk, or a snapshot of it, at self.path."""
        run("mount", "-o", "loop", image or self.disk, self.path)
        try:
            yield self.path
        finally:
            run("umount", self.path)

    def snapshot(self):
        """Freezes the disk as it is now. Returns the image."""
        image = self.outer / f"snapshot{len(self.snapshots)}.img"
        run("cp", "--reflink=always", self.disk, image)
        self.snapshots.append(image)
        return image


def make_file(path, size):
    with open(path, "wb") as file:
        file.truncate(size)
