"""The alerts: each fires when it should and not near it, says what it means, and uses metrics that exist."""

import re
import subprocess

import pytest
import rules
import yaml
from processes import program

ALERTS = rules.alerts()
CASES = rules.cases()
RUNBOOKS = rules.ROOT / "docs" / "runbooks.md"


@pytest.fixture(scope="module")
def promtool_says(tmp_path_factory):
    """{case: promtool's words about it, empty when it is content}: one run for all, it takes seconds to start."""
    folder = tmp_path_factory.mktemp("rules")
    files = {}
    for number, name in enumerate(CASES):
        files[name] = folder / f"{number}.yaml"
        files[name].write_text(yaml.safe_dump(rules.promtool_test(name)))
    done = subprocess.run([program("promtool"), "test", "rules", *map(str, files.values())],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = done.stdout
    parts = dict(re.findall(r"Unit Testing: +(\S+)\n(.*?)(?=Unit Testing|\Z)", output, flags=re.DOTALL))
    assert len(parts) == len(files), output
    return {name: "" if parts[str(path)].strip() == "SUCCESS" else parts[str(path)] for name, path in files.items()}


@pytest.mark.parametrize("case", CASES)
def test_an_alert_fires_in_time_and_not_near_its_threshold(promtool_says, case):
    assert promtool_says[case] == ""


def test_every_alert_has_a_case():
    assert set(ALERTS) == {rules.alert_of(case) for case in CASES}


def test_promtool_finds_a_wrong_expectation(tmp_path):
    wrong = rules.promtool_test("ForebayDataOld")
    wrong["tests"][1]["input_series"][0]["values"] = "901x20"
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(wrong))
    assert subprocess.run([program("promtool"), "test", "rules", str(path)], capture_output=True).returncode != 0


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_its_runbook_is(name):
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    assert "for" in alert, "an alert that a single scrape can set off"


@pytest.mark.parametrize("case", CASES)
def test_the_words_of_an_alert_use_labels_that_it_has(case):
    annotations = ALERTS[rules.alert_of(case)]["annotations"]
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(annotations.values())))
    assert used <= set(CASES[case]["labels"])


def test_every_alert_has_a_runbook_with_symptom_meaning_commands_and_cure():
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text(), flags=re.MULTILINE | re.DOTALL))
    assert set(sections) == set(ALERTS)
    for name, text in sections.items():
        for part in ("**Symptom.**", "**Meaning.**", "**Look.**", "**Cure.**"):
            assert part in text, f"docs/runbooks.md: {name} has no {part}"


@pytest.mark.parametrize("rule", rules.rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_uses_metrics_and_labels_that_the_binary_exports(exported, rule):
    recorded = {one["record"] for one in rules.rules() if "record" in one}
    assert exported.problems(rule["expr"], recorded) == []
    waits = exported.missing(rule["expr"])
    if waits:
        pytest.skip("; ".join(f"{name} is not exported yet: {exported.awaited[name]['reason']}" for name in waits))


def test_a_query_with_an_unknown_metric_or_label_is_found(exported):
    assert exported.problems("rate(forebay_receive_request_total[5m])") == ["forebay_receive_request_total is not exported"]
    assert exported.problems('forebay_disk_bytes{kind="x"}') == ["forebay_disk_bytes has no label kind"]
    assert exported.problems("sum by (clas) (forebay_disk_bytes)") == ["no metric of the query has a label clas"]
    assert exported.problems("forebay:none:ratio > 1") == ["forebay:none:ratio is recorded by no rule"]


def test_metrics_that_were_awaited_and_came_are_named(exported):
    if exported.arrived:
        print(f"tests/deploy/awaited_metrics.yaml: exported by now: {', '.join(exported.arrived)}")
    assert all(one.get("reason") for one in exported.awaited.values())
