"""Fixtures of the tests that drive the real binary; see tests/support/python/forebay_harness.py."""

import pytest
from node_fixtures import make_forebay  # noqa: F401
from sender_run import senders_run


@pytest.fixture
def forebay(make_forebay):
    """One running node with the harness's defaults."""
    return make_forebay()


@pytest.fixture(scope="session")
def senders(tmp_path_factory):
    """Prometheus and vmagent after more than a minute of writing to one node; see sender_run.py."""
    yield from senders_run(tmp_path_factory.mktemp("senders"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of its nodes' logs."""
    outcome = yield
    report = outcome.get_result()
    folder = item.funcargs.get("tmp_path") if hasattr(item, "funcargs") else None
    if report.when == "call" and report.failed and folder is not None:
        for log in sorted(path for path in folder.rglob("*.log") if path.parent.name != "journal"):
            lines = log.read_text(errors="replace").splitlines()[-40:]
            report.sections.append((str(log.relative_to(folder)), "\n".join(lines)))
