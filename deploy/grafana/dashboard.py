"""The panels of forebay.json: Grafana's JSON is 40 lines a panel, of which these are the ones that say something.

`python3 deploy/generate.py` writes the JSON; edit here, not there.
"""

NODE = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'
RATE = "$__rate_interval"
NOT_2XX = 'code!~"2.."'
PUT_ASIDE = 'state=~"quarantined|dead_lettered"'


def sel(metric, more=""):
    return f"{metric}{{{NODE}{',' + more if more else ''}}}"


def rate(metric, more=""):
    return f"rate({sel(metric, more)}[{RATE}])"


def quantile(q, metric, by=""):
    return f"histogram_quantile({q}, sum by (le{by}) ({rate(metric + '_bucket')}))"


# (title, kind, unit, help, [(query, legend)]). Kinds: lines, stack, stat, heat, table, text.
ROWS = [
    ("At a glance", [
        ("Ready", "stat", "none", "Nodes that take writes now, of all.",
         [(f"sum({sel('forebay_ready')})", "ready"), (f"count({sel('forebay_ready')})", "nodes")]),
        ("Received", "stat", "cps", "Samples a second.",
         [(f"sum({rate('forebay_receive_received_samples_total')})", "samples/s")]),
        ("Oldest data", "stat", "s", "Of any node; the promise is batch.max_age.",
         [(f"max({sel('forebay_batch_oldest_segment_age_seconds')})", "age")]),
        ("Disk in use", "stat", "percentunit", "The fullest node, of storage.max_disk.",
         [(f"max(sum without (class) ({sel('forebay_disk_bytes')}) / {sel('forebay_disk_limit_bytes')})", "used")]),
        ("Refused", "stat", "percentunit", "Requests that were not answered 2xx.",
         [(f"sum({rate('forebay_receive_requests_total', NOT_2XX)})"
           f" / sum({rate('forebay_receive_requests_total')})", "share")]),
        ("Dead letters", "stat", "none", "Batches that a sink refused for good, in the time shown.",
         [(f"sum(increase({sel('forebay_upload_dead_letter_batches_total')}[$__range]))", "batches")]),
    ]),
    ("Flow", [
        ("Stored by database", "stack", "cps", "Samples a second that were accepted.",
         [(f"sum by (database) ({rate('forebay_receive_samples_total')})", "{{database}}")]),
        ("Where the rows are", "lines", "short",
         "Since the nodes started. In is what came; out is where it is: at rest both sums are equal.",
         [(f"sum by (side, state) ({sel('forebay_conservation_rows')})", "{{side}}: {{state}}")]),
        ("Pending", "stack", "short", "Rows that are durable and not at every sink.",
         [(f"sum by (database) ({sel('forebay_wal_pending_rows')})", "{{database}}")]),
        ("In and out", "lines", "cps", "Rows a second received and delivered. A gap that stays fills the disk.",
         [(f"sum({rate('forebay_receive_received_samples_total')})", "received"),
          (f"sum by (sink) ({rate('forebay_upload_rows_total')})", "to {{sink}}")]),
        ("Requests by answer", "stack", "reqps", "",
         [(f"sum by (code) ({rate('forebay_receive_requests_total')})", "{{code}}")]),
        ("Refused samples by reason", "stack", "cps", "Samples that their sender will not send again.",
         [(f"sum by (reason) ({rate('forebay_receive_refused_samples_total')}) > 0", "{{reason}}")]),
        ("Quarantined and dead-lettered", "lines", "short", "Rows of damaged blocks, and of batches that a sink refused.",
         [(f"sum by (state) ({sel('forebay_conservation_rows', PUT_ASIDE)})", "{{state}}"),
          (f"sum({sel('forebay_quarantine_files')})", "items in quarantine")]),
        ("Network", "lines", "Bps", "Bodies as sent, and decoded.",
         [(f"sum by (state) ({rate('forebay_receive_bytes_total')})", "{{state}}")]),
    ]),
    ("Latency from end to end", [
        ("Write to acknowledgement", "lines", "s", "Most of it is the group commit: the disk.",
         [(quantile(0.5, "forebay_receive_request_duration_seconds"), "p50"),
          (quantile(0.99, "forebay_receive_request_duration_seconds"), "p99")]),
        ("Age of the oldest data", "lines", "s", "In memory and journal, then in segments until delivered.",
         [(f"max by (instance) ({sel('forebay_wal_oldest_unsealed_seconds')})", "{{instance}} unsealed"),
          (f"max by (instance) ({sel('forebay_batch_oldest_segment_age_seconds')})", "{{instance}} sealed")]),
        ("Upload of a batch", "lines", "s", "",
         [(quantile(0.5, "forebay_upload_duration_seconds", ", sink"), "p50 {{sink}}"),
          (quantile(0.99, "forebay_upload_duration_seconds", ", sink"), "p99 {{sink}}")]),
    ]),
    ("Batches", [
        ("Sizes", "heat", "bytes", "Rows of delivered batches, uncompressed. The target is batch.min_bytes.",
         [(f"sum by (le) (increase({sel('forebay_upload_batch_bytes_bucket')}[{RATE}]))", "{{le}}")]),
        ("Average size", "lines", "bytes", "",
         [(f"sum by (sink) ({rate('forebay_upload_batch_bytes_sum')})"
           f" / sum by (sink) ({rate('forebay_upload_batch_bytes_count')})", "{{sink}}")]),
        ("Planned by reason", "stack", "short", "size is what is wanted; age is small tables; disk, drain and flush are exceptions.",
         [(f"sum by (reason) (increase({sel('forebay_batch_planned_total')}[{RATE}]))", "{{reason}}")]),
        ("Live", "lines", "short", "Batches made and not yet delivered, and segments on disk.",
         [(f"sum({sel('forebay_batch_live')})", "batches"), (f"sum({sel('forebay_wal_segments')})", "segments")]),
    ]),
    ("Disk and memory", [
        ("Disk of the limit", "lines", "percentunit", "Writes are refused from storage.high_watermark (95 %).",
         [(f"sum without (class) ({sel('forebay_disk_bytes')}) / {sel('forebay_disk_limit_bytes')}", "{{instance}}")]),
        ("Disk by use", "stack", "bytes", "",
         [(f"sum by (class) ({sel('forebay_disk_bytes')})", "{{class}}")]),
        ("Free on the volume", "lines", "bytes", "Writes are refused below the reserve.",
         [(sel("forebay_disk_volume_free_bytes"), "{{instance}}"),
          (f"max({sel('forebay_disk_volume_reserve_bytes')})", "reserve")]),
        ("Quarantine of the limit", "lines", "percentunit", "",
         [(f"{sel('forebay_quarantine_bytes')} / {sel('forebay_quarantine_limit_bytes')}", "{{instance}}")]),
        ("Memory", "lines", "bytes", "Resident, of which samples not yet sealed and series.",
         [(sel("process_resident_memory_bytes"), "{{instance}} resident"),
          (sel("forebay_wal_memory_bytes"), "{{instance}} samples"),
          (sel("forebay_series_memory_bytes"), "{{instance}} series")]),
        ("Refusing for the disk", "lines", "none", "1 while writes are refused for this cause.",
         [(f"max by (instance, cause) ({sel('forebay_disk_full')})", "{{instance}} {{cause}}")]),
        ("CPU", "lines", "short", "Cores.", [(rate("process_cpu_seconds_total"), "{{instance}}")]),
        ("Group commits", "lines", "cps", "Syncs of the journal, and requests in them.",
         [(f"sum by (instance) ({rate('forebay_wal_journal_commits_total')})", "{{instance}} commits"),
          (f"sum by (instance) ({rate('forebay_wal_journal_records_total')})", "{{instance}} requests")]),
    ]),
    ("Transfer between nodes", [
        ("Members", "lines", "none", "As each node sees them.",
         [(f"max by (instance, state) ({sel('forebay_cluster_members')})", "{{instance}} {{state}}")]),
        ("Rows given and taken", "table", "cps", "Each node as giver and as owner. In sum both columns are equal.",
         [(f"sum by (instance) ({rate('forebay_transfer_sent_rows_total')})", "given"),
          (f"sum by (instance) ({rate('forebay_transfer_received_rows_total')})", "taken")]),
        ("Segments by outcome", "stack", "cps", "What peers answered to this node.",
         [(f"sum by (instance, outcome) ({rate('forebay_transfer_sent_segments_total')}) > 0", "{{instance}} {{outcome}}")]),
        ("Peers that are avoided", "lines", "none", "Given nothing after a failure; and failures a second.",
         [(sel("forebay_transfer_avoided_peers"), "{{instance}}"),
          (f"sum by (instance) ({rate('forebay_transfer_failures_total')})", "{{instance}} failures/s")]),
        ("In doubt", "lines", "short", "Rows that a peer may have, until it says so.",
         [(sel("forebay_transfer_open_rows"), "{{instance}}")]),
        ("adx-mon's collectors", "stack", "reqps", "POST /transfer by answer.",
         [(f"sum by (code) ({rate('forebay_transfer_http_requests_total')})", "{{code}}")]),
    ]),
    ("Sinks", [
        ("Rows delivered", "stack", "cps", "",
         [(f"sum by (database, sink) ({rate('forebay_upload_rows_total')})", "{{database}} {{sink}}")]),
        ("Bytes delivered", "lines", "Bps", "rows: uncompressed.",
         [(f"sum by (sink, state) ({rate('forebay_upload_bytes_total')})", "{{sink}} {{state}}")]),
        ("Batches by outcome", "stack", "short", "",
         [(f"sum by (sink, outcome) (increase({sel('forebay_upload_batches_total')}[{RATE}])) > 0", "{{sink}} {{outcome}}")]),
        ("Retries", "lines", "cps", "",
         [(f"sum by (database, sink) ({rate('forebay_upload_retries_total')})", "{{database}} {{sink}}")]),
    ]),
    ("Tables and series", [
        ("Top databases", "table", "cps", "Samples a second. Single tables are in /api/v1/status: metrics have no label for them.",
         [(f"topk(20, sum by (database) ({rate('forebay_receive_samples_total')}))", "samples/s")]),
        ("Top databases that wait", "table", "short", "Rows that are not delivered.",
         [(f"topk(20, sum by (database) ({sel('forebay_wal_pending_rows')}))", "rows")]),
        ("Tables", "lines", "short", "Of each node.", [(sel("forebay_tables"), "{{instance}}")]),
        ("Series", "lines", "short", "Known at once; above limits.series_max new ones are refused.",
         [(sel("forebay_series"), "{{instance}}")]),
    ]),
]


def target(query, legend, index, kind):
    one = {"refId": "ABCDEFGH"[index], "expr": query, "legendFormat": legend,
           "datasource": {"type": "prometheus", "uid": "$datasource"}}
    if kind in ("table", "stat"):
        one["instant"] = True
    if kind == "table":
        one["format"] = "table"
    if kind == "heat":
        one["format"] = "heatmap"
    return one


TYPES = {"lines": "timeseries", "stack": "timeseries", "stat": "stat", "heat": "heatmap", "table": "table"}


def panel(number, row_panel, place):
    title, kind, unit, text, queries = row_panel
    one = {"id": number, "title": title, "type": TYPES[kind], "gridPos": place,
           "datasource": {"type": "prometheus", "uid": "$datasource"},
           "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
           "targets": [target(query, legend, i, kind) for i, (query, legend) in enumerate(queries)]}
    if text:
        one["description"] = text
    if kind in ("lines", "stack"):
        custom = {"lineWidth": 1, "fillOpacity": 40 if kind == "stack" else 5, "showPoints": "never"}
        if kind == "stack":
            custom["stacking"] = {"mode": "normal"}
        one["fieldConfig"]["defaults"]["custom"] = custom
        one["options"] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if kind == "heat":
        one["options"] = {"calculate": False, "yAxis": {"unit": unit}}
    if kind == "table":
        names = {f"Value #{'ABCDEFGH'[i]}" if len(queries) > 1 else "Value": legend for i, (_, legend) in enumerate(queries)}
        one["transformations"] = [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}}]
    if kind == "stat":
        one["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "graphMode": "none"}
    return one


def variable(name, query, label):
    return {"name": name, "label": label, "type": "query", "datasource": {"type": "prometheus", "uid": "$datasource"},
            "query": {"query": query, "refId": name}, "refresh": 2, "multi": True, "includeAll": True, "allValue": ".*",
            "current": {"text": "All", "value": "$__all"}, "sort": 1}


def dashboard():
    panels, number, top = [], 0, 0
    for title, members in ROWS:
        number += 1
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
        top += 1
        small = all(kind == "stat" for _, kind, *_ in members)
        width, height = (4, 4) if small else (12, 8)
        for index, member in enumerate(members):
            number += 1
            column = index * width % 24
            panels.append(panel(number, member, {"x": column, "y": top, "w": width, "h": height}))
            if column + width == 24 or index == len(members) - 1:
                top += height
    return {
        "title": "Forebay", "uid": "forebay", "tags": ["forebay"], "schemaVersion": 39, "version": 1, "editable": True,
        "timezone": "", "refresh": "30s", "time": {"from": "now-3h", "to": "now"}, "graphTooltip": 1, "links": [],
        "annotations": {"list": []},
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1},
            variable("namespace", "label_values(forebay_build_info, namespace)", "Namespace"),
            variable("job", 'label_values(forebay_build_info{namespace=~"$namespace"}, job)', "Job"),
            variable("instance", 'label_values(forebay_build_info{namespace=~"$namespace",job=~"$job"}, instance)', "Node"),
        ]},
        "panels": panels,
    }
