"""Nodes of both machines: of this one (FOREBAY_BIN), and of arm64 under emulation (FOREBAY_ARM64). `./dev cross` sets both."""

import os
import pathlib

import pytest
from forebay_harness import binary
from node_fixtures import make_forebay  # noqa: F401

PROGRAMS = {"amd64": binary(), "arm64": pathlib.Path(os.environ.get("FOREBAY_ARM64", "/not-set"))}


@pytest.fixture
def make_node(make_forebay):  # noqa: F811
    """make_node(machine, config=None, name=machine): as make_forebay, of that machine."""
    if not PROGRAMS["arm64"].exists():
        pytest.fail("FOREBAY_ARM64 names no program: ./dev cross")

    def make(machine, config=None, name=None, **options):
        return make_forebay(config, name=name or machine, program=PROGRAMS[machine], **options)

    return make
