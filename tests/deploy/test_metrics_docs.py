"""docs/metrics.md says what nodes export, and nodes export every metric that the sources name."""

import re

import metrics_docs
import pytest


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return metrics_docs.exported(tmp_path_factory.mktemp("metrics"))


def test_the_page_is_what_nodes_export(found):
    expected = metrics_docs.page(found)
    assert metrics_docs.PAGE.read_text() == expected, "regenerate: tests/deploy/metrics_docs.py > docs/metrics.md"


def test_every_metric_of_the_sources_is_exported_and_no_other(found):
    names = metrics_docs.names_in_sources()
    plain = {name for name in names if "{" not in name}
    patterns = [re.compile(name.replace("{}", "[a-z0-9_]+")) for name in names - plain]
    assert plain <= found.keys()
    assert len(plain) > 100 and all(any(pattern.fullmatch(name) for name in found) for pattern in patterns)
    made = {name for name in found if name in plain or name.startswith("process_") or any(one.fullmatch(name) for one in patterns)}
    assert made == found.keys()


def test_no_metric_has_a_label_for_tables_or_series(found):
    assert not [name for name, (_, _, labels) in found.items() if labels & {"table", "metric", "series", "segment", "batch"}]
