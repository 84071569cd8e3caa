"""The dashboard: every query is PromQL, uses what the binary exports, and is drawn somewhere of its own."""

import json
import re
import subprocess

import pytest
import yaml
from chart import ROOT
from processes import program

BOARD = json.loads((ROOT / "deploy" / "grafana" / "forebay.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
VARIABLES = {one["name"] for one in BOARD["templating"]["list"]}


def plain(query):
    """As Grafana sends it."""
    for name, value in {"$__rate_interval": "5m", "$__range": "1h", "$namespace": ".*", "$job": ".*", "$instance": ".*"}.items():
        query = query.replace(name, value)
    return query


@pytest.mark.parametrize("title, query", QUERIES)
def test_a_query_uses_metrics_and_labels_that_the_binary_exports(exported, title, query):
    assert exported.problems(plain(query)) == []
    assert not exported.missing(query), "a panel would be empty"


def test_every_query_is_promql(tmp_path):
    groups = [{"name": "panels", "rules": [{"record": f"panel:{i}", "expr": plain(q)} for i, (_, q) in enumerate(QUERIES)]}]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": groups}))
    done = subprocess.run([program("promtool"), "check", "rules", str(path)], capture_output=True, text=True)
    assert done.returncode == 0 and f"{len(QUERIES)} rules found" in done.stdout, done.stdout + done.stderr


def test_queries_use_the_variables_of_the_dashboard_and_no_others():
    used = set(re.findall(r"\$(\w+)", " ".join(query for _, query in QUERIES))) - {"__rate_interval", "__range"}
    assert used == VARIABLES - {"datasource"}
    assert all(panel["datasource"]["uid"] == "$datasource" for panel in PANELS)


def test_panels_do_not_overlap_and_have_titles_of_their_own():
    taken = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_names_in_legends_are_labels_of_the_query():
    for panel in PANELS:
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                grouped = re.search(r"\b(?:by|without)\b", target["expr"])
                assert not grouped or label in target["expr"] or "without" in target["expr"], (panel["title"], label)
