"""Fixtures of the crash tests."""

from node_fixtures import make_forebay  # noqa: F401
