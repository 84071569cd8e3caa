"""The alert rules and their cases, and the tests that promtool runs made of them."""

import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "forebay.rules.yaml"
CASES = pathlib.Path(__file__).parent / "alert_cases.yaml"
COMMON = {"instance": "a:9091", "job": "forebay", "namespace": "monitoring"}


def groups():
    return yaml.safe_load(RULES.read_text())["groups"]


def rules():
    return [rule for group in groups() for rule in group["rules"]]


def alerts():
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def cases():
    return yaml.safe_load(CASES.read_text())


def alert_of(case):
    """A case is named after its alert, perhaps with words behind."""
    return case.split()[0]


def with_common_labels(series):
    name, _, written = series.rstrip("}").partition("{")
    labels = {**COMMON, **dict(re.findall(r'(\w+)="([^"]*)"', written))}
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"


def expectation(name, at, labels):
    query = f'ALERTS{{alertname="{alert_of(name)}",alertstate="firing"}}'
    samples = []
    if labels is not None:
        all_labels = {"__name__": "ALERTS", "alertname": alert_of(name), "alertstate": "firing", **labels}
        series = "{" + ",".join(f'{key}="{value}"' for key, value in sorted(all_labels.items())) + "}"
        samples = [{"labels": series, "value": 1}]
    return {"expr": query, "eval_time": at, "exp_samples": samples}


def promtool_test(name, rule_file=RULES):
    """The file for `promtool test rules` of one case: it fires, not too early, and near it does not fire."""
    case = cases()[name]
    interval = case.get("interval", "1m")
    firing = {**case["labels"], "severity": alerts()[alert_of(name)]["labels"]["severity"]}

    def group(series, *expectations):
        return {"interval": interval, "promql_expr_test": list(expectations),
                "input_series": [{"series": with_common_labels(one), "values": values}
                                 for one, values in series.items()]}

    # Without an order, promtool takes the groups at random: an alert before the record that it reads sees nothing.
    order = [one["name"] for one in groups()]
    return {"rule_files": [str(rule_file)], "evaluation_interval": interval, "group_eval_order": order, "tests": [
        group(case["fires"], expectation(name, case["early"], None), expectation(name, case["at"], firing)),
        group(case["quiet"], expectation(name, case["at"], None))]}
