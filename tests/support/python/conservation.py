"""The equation of the rows of a node, from its own metrics: what came in is what went out and what is still there.

It holds for each run of the process, per database, whenever no request is in flight; see lib/wal/row_account.h.
"""
import time

FAMILY = "forebay_conservation_rows"
RECEIVED = [f"forebay_receive_received_{kind}_total" for kind in ("samples", "histograms", "exemplars", "metadata", "logs", "spans")]
COMES_IN = ("received", "from_peers", "recovered")
GOES_OUT = ("deduplicated", "dropped", "refused", "uploaded", "transferred", "pending", "quarantined", "dead_lettered")
NAMES = ("in", *COMES_IN, "out", *GOES_OUT)


def rows_by_state(metrics):
    """{database: {state: rows}} of parsed metrics; the states "in" and "out" are the sums of the sides."""
    result = {}
    for (name, labels), value in metrics.items():
        if name != FAMILY:
            continue
        labels = dict(labels)
        states = result.setdefault(labels["database"], {"in": 0, "out": 0})
        states[labels["state"]] = int(value)
        states[labels["side"]] += int(value)
    return result


def differences(metrics):
    """What does not add up, as text; empty when all does."""
    problems, received = [], 0
    for database, states in sorted(rows_by_state(metrics).items()):
        received += states["received"]
        if states["in"] != states["out"]:
            problems.append(f"database {database}: " + ", ".join(f"{name} {states[name]}" for name in NAMES))
    counted = sum(value for (name, _), value in metrics.items() if name in RECEIVED)
    if counted != received:
        problems.append(f"{received} rows received by database, {counted:.0f} by kind")
    mismatches = sum(value for (name, _), value in metrics.items() if name == "forebay_upload_row_mismatch_total")
    if mismatches:
        problems.append(f"{mismatches:.0f} batches gave another number of rows than their segments say")
    return problems


def check(node, timeout=10.0):
    """Asserts the equation as soon as no request is in flight. Returns the rows by database and state."""
    deadline = time.monotonic() + timeout
    while True:
        metrics = node.metrics()
        problems = differences(metrics)
        busy = any(value for (name, _), value in metrics.items() if name == "forebay_receive_in_flight_requests")
        if not problems and not busy:
            return rows_by_state(metrics)
        if time.monotonic() > deadline:
            assert not problems, f"{node.name}: rows do not add up: {'; '.join(problems)}\n{node.tail()}"
            return rows_by_state(metrics)
        time.sleep(0.05)
