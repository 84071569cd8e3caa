"""What a query may use: metrics that the binary exports, with their labels, and those that are awaited."""

import re

# Added by Prometheus and its operator to every series.
SCRAPE_LABELS = {"job", "instance", "namespace", "pod", "le"}
WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
METRIC = re.compile(r"\b(?:forebay|process|up)(?:_\w+)?\b")
SELECTOR = re.compile(r"\b((?:forebay|process)_\w+)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


class Exported:
    """labels: {metric: names of its labels}; recorded: the names that rules record may be added."""

    def __init__(self, text, awaited):
        self.labels = {}
        for name, labels in re.findall(r"^([a-z_:][\w:]*)(?:\{(.*)\})? [^ ]+$", text, flags=re.MULTILINE):
            self.labels.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
        # A counter or gauge with labels that has not been touched has a head and no series.
        self.declared = set(re.findall(r"^# TYPE (\S+) ", text, flags=re.MULTILINE))
        self.awaited = {name: one for name, one in awaited.items() if name not in self.labels}
        self.arrived = sorted(set(awaited) - set(self.awaited))

    def problems(self, query, recorded=()):
        """What is wrong with a query: metrics that do not exist, labels that its metrics do not have."""
        bare = re.sub(r"\bforebay:[\w:]+", "", query)
        names = set(METRIC.findall(TEXT.sub('""', bare)))
        found, known = [], set(SCRAPE_LABELS)
        for name in re.findall(r"\bforebay:[\w:]+", query):
            if name not in recorded:
                found.append(f"{name} is recorded by no rule")
        for name in sorted(names):
            if name in self.labels:
                known |= self.labels[name]
            elif name in self.awaited:
                known |= set(self.awaited[name].get("labels", []))
            else:
                found.append(f"{name} is not exported")
        for name, selector in SELECTOR.findall(bare):
            own = SCRAPE_LABELS | self.labels.get(name, set()) | set(self.awaited.get(name, {}).get("labels", []))
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", TEXT.sub('""', selector)):
                if label not in own:
                    found.append(f"{name} has no label {label}")
        for group in GROUPING.findall(query):
            for label in WORD.findall(group):
                if label not in known:
                    found.append(f"no metric of the query has a label {label}")
        return found

    def missing(self, query):
        """The awaited metrics of a query that the binary does not export yet."""
        return sorted(set(METRIC.findall(TEXT.sub('""', query))) & set(self.awaited))
