"""The status page of the real binary in a headless Chromium, with real data."""

import base64
import hashlib
import json
import re

import pytest
from browser import Browser, have_browser
from forebay_harness import HttpClient, Sample, Series, merge, wait_for

pytestmark = pytest.mark.skipif(not have_browser(), reason="no browser: run ./dev setup")

PHONE = {"width": 390, "height": 844}
NOW = 1_793_491_200_000
NAMED = {"cluster": {"member": "node-0"}}
READY = "document.querySelector('#state').textContent === 'ready'"
# Markup that would show if it were taken for markup.
HOSTILE = "<img src=x onerror=document.title='taken'><script>document.title='taken'<"
PROGRESS_ROWS = 1_200_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def open_page(browser):
    """open_page(node, **options): the page once it shows the node. At the end: no complaint, no request to elsewhere."""
    opened = []

    def make(node, ready=READY, **options):
        page = browser.page(**options)
        opened.append((page, node))
        page.go(f"{node.admin_url}/status")
        page.wait(ready)
        return page

    yield make
    for page, node in opened:
        try:
            # What a node that was stopped on purpose does not answer is no complaint.
            assert [text for text in page.complaints if "ERR_CONNECTION" not in text] == []
            assert [url for url in page.requests if not url.startswith((node.admin_url + "/", "data:"))] == []
        finally:
            page.close()


def send(node, *metrics, count=1, database=None):
    labels = {"adxmon_database": database} if database else {}
    series = [Series({"__name__": metric, "n": str(n), **labels}, [Sample(float(n), NOW)])
              for metric in metrics for n in range(count)]
    response = node.writer().send_v1(series)
    assert response.status == 204, response.text


def seal(node):
    with node.admin() as client:
        assert client.post("/-/flush?upload=false").status == 200


def get(node, path, **headers):
    with node.admin() as client:
        return client.request("GET", path, headers=headers)


def color(page, selector, name="color"):
    """(red, green, blue) of what is really shown."""
    text = page.js(f"getComputedStyle(document.querySelector({json.dumps(selector)}))['{name}']")
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def contrast(one, other):
    def luminance(rgb):
        parts = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def table_names(page):
    return page.js("[...document.querySelectorAll('#tables .name')].map((cell) => cell.textContent)")


def test_one_answer_with_a_policy_that_names_what_is_in_it(forebay):
    response = get(forebay, "/status")
    assert response.status == 200 and response.headers["content-type"] == "text/html; charset=utf-8"
    text = response.body.decode()
    policy = response.headers["content-security-policy"]
    for tag, kind in (("script", "script-src"), ("style", "style-src")):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert "unsafe" not in policy and "default-src 'none'" in policy
    again = get(forebay, "/status", **{"If-None-Match": response.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    root = get(forebay, "/")
    assert (root.status, root.headers["location"]) == (302, "status")


def test_the_page_obeys_the_authentication_of_the_port(make_forebay, tmp_path, browser):
    users = tmp_path / "users"
    users.write_text("ops:secret word\n")
    node = make_forebay({"listen": {"admin_auth": {"basic_file": str(users)}}}, start=False)
    node.opaque = True
    node.start()
    for path in ("/", "/status", "/api/v1/status", "/api/v1/tables", "/api/v1/history", "/api/v1/config"):
        assert get(node, path).status == 401, path
    page = browser.page()
    page.call("Network.setExtraHTTPHeaders",
              headers={"Authorization": "Basic " + base64.b64encode(b"ops:secret word").decode()})
    page.go(f"{node.admin_url}/")
    page.wait(READY)
    assert page.js("location.pathname") == "/status"
    # The credentials are changed: the page says so.
    users.write_text("ops:another word\n")
    with HttpClient(node.admin_url) as client:
        header = {"Authorization": "Basic " + base64.b64encode(b"ops:secret word").decode()}
        assert client.request("POST", "/-/reload", headers=header).status == 200
    page.js("poll()")
    page.wait("!document.querySelector('#banner').hidden")
    assert "refuses to answer: 401" in page.text("#banner")
    page.close()


def test_what_the_node_has_and_does_is_on_the_page(make_forebay, open_page, tmp_path):
    node = make_forebay(merge(NAMED, {"databases": [
        {"name": "Metrics", "sinks": [{"name": "lake", "file": {"root": str(tmp_path / "out")}}],
         "relabel_configs": [{"source_labels": ["a"], "regex": "https://user:word@host/", "action": "drop"}]}]}))
    send(node, "http_requests_total", "cpu_seconds_total", count=3)
    seal(node)
    page = open_page(node)
    assert page.text("#name") == "node-0" and "node-0" in page.js("document.title")
    assert "durability sync" in page.text("#facts").replace("\n", " ")
    assert page.text("#sinks .pill") == "not used yet" and "lake" in page.text("#sinks .name")
    assert "this node" in page.text("#members") or "alone" in page.text("#members")
    assert "node-0" in page.text("#members") and "100" in page.text("#members")
    assert sorted(table_names(page)) == ["CpuSecondsTotal", "HttpRequestsTotal"]
    assert "node-0" in page.text("#tables .owner")
    for name in ("Disk", "Memory of generations", "Bodies in flight", "Connections", "Series", "Tables", "Quarantine"):
        assert name in page.text("#limits")
    assert "2, 6 rows" in page.text("#storage")
    assert page.js("document.querySelectorAll('#plots .plot').length") == 5
    # The first point of the history is there after 5 s, drawn where it belongs.
    page.wait("document.querySelector('#plot-received_rows_per_second path.line').getAttribute('d').startsWith('M')")
    assert float(page.js("history_.column('received_rows_per_second')[0]")) > 0
    page.js("document.querySelector('#config').open = true")
    page.wait("document.querySelector('#config-text').textContent.includes('durability: sync')")
    assert "https://***@host/" in page.text("#config-text") and "word" not in page.text("#config-text")


def test_tables_are_searched_on_the_node(forebay, open_page):
    send(forebay, *(f"first_{n}_total" for n in range(30)), "second_total")
    send(forebay, "second_total", count=50)
    seal(forebay)
    page = open_page(forebay)
    page.wait("document.querySelectorAll('#tables .name').length === 20")
    assert table_names(page)[0] == "SecondTotal"  # by rate
    assert "31" in page.text("#tables-note")
    page.js("document.querySelector('#more').click()")
    page.wait("document.querySelectorAll('#tables .name').length === 31")
    assert page.js("document.querySelector('#more').hidden")
    page.type("#search", "sEcOnd")
    page.wait("document.querySelectorAll('#tables .name').length === 1")
    assert table_names(page) == ["SecondTotal"] and "1 found of 31" in page.text("#tables-note")
    assert page.js("document.activeElement.id") == "search"
    page.type("#search", "<script>")
    page.wait("document.querySelector('#tables').innerText.includes('No table has that in its name')")
    page.type("#search", "")
    page.js("(() => { const sort = document.querySelector('#sort'); sort.value = 'name'; "
            "sort.dispatchEvent(new Event('change')); })()")
    page.wait("document.querySelectorAll('#tables .name').length === 20")
    assert table_names(page)[0] == "First0Total"


def test_the_page_follows_the_node_and_says_when_it_is_gone(make_forebay, open_page):
    node = make_forebay(NAMED)
    page = open_page(node)
    assert "No table has been seen yet" in page.text("#tables")
    send(node, "late_total")
    seal(node)
    page.wait("document.querySelector('#tables').innerText.includes('LateTotal')")  # by itself
    # Hidden: it asks no more; shown again: at once.
    page.js("Object.defineProperty(document, 'hidden', {value: true, configurable: true}); "
            "document.dispatchEvent(new Event('visibilitychange'))")
    assert page.text("#live") == "paused"
    asked = len(page.requests)
    page.js("new Promise((done) => setTimeout(done, EVERY + 700))")
    assert len(page.requests) == asked
    # Nor does an answer that comes while it is hidden make it ask again.
    page.js("window.armed = 0; window.later = setTimeout; "
            "window.setTimeout = (work, wait) => { armed += wait === EVERY; return later(work, wait); }; poll(); 0")
    page.wait("!polling")
    assert page.js("armed") == 0
    asked = len(page.requests)
    page.js("window.setTimeout = later; delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    wait_for("a further request", lambda: len(page.requests) > asked)
    node.kill9()
    page.js("poll()")
    page.wait("document.querySelector('#live').classList.contains('off')")
    assert "does not answer" in page.text("#banner") and not page.js("document.querySelector('#banner').hidden")
    assert contrast(color(page, "#banner"), color(page, "#banner", "backgroundColor")) > 4.5
    assert "LateTotal" in page.text("#tables")  # what it said last
    node.start()
    page.js("poll()")
    page.wait("document.querySelector('#live').classList.contains('on')")
    assert page.js("document.querySelector('#banner').hidden")


def test_a_dead_sink_is_red_and_its_error_is_text(make_forebay, open_page, tmp_path):
    root = tmp_path / HOSTILE.replace("/", "")
    root.write_text("in the way")
    node = make_forebay({"databases": [{"name": "Metrics", "sinks": [
        {"name": "lake", "file": {"root": str(tmp_path / "out")}}, {"name": "archive", "file": {"root": str(root)}}]}],
        "upload": {"retry_initial": "20ms", "retry_max": "50ms"}})
    send(node, "<script>alert(1)</script>")
    with node.admin() as client:
        assert client.post("/-/flush").status == 503
    wait_for("the second failure",
             lambda: any(not sink["healthy"] for sink in node.status()["sinks"]))
    page = open_page(node)
    page.wait("document.querySelector('.sink.dead') !== null")
    assert page.js("document.querySelector('#sinks .sink').dataset.sink") == "archive"  # dead ones first
    assert page.text(".sink.dead .pill") == "does not work"
    red, green, blue = color(page, ".sink.dead .pill")
    assert red > 1.5 * max(green, blue)
    assert page.text("[data-sink=lake] .pill") == "working"
    assert HOSTILE in page.text(".sink.dead .error")
    assert HOSTILE in page.text("#batches .error")
    assert "failed" in page.text("#batches .pill")
    assert table_names(page) == ["ScriptAlert1Script"]
    page.js("document.querySelector('#config').open = true")
    page.wait(f"document.querySelector('#config-text').textContent.includes({json.dumps(HOSTILE[:20])})")
    assert page.js("document.querySelectorAll('main img, main script').length") == 0
    assert page.js("document.title") != "taken"


def test_a_batch_under_way_shows_how_far_it_is(make_forebay, open_page):
    node = make_forebay({"batch": {"max_age": "1h", "max_segments": 4096}})
    page = open_page(node)
    load = node.run("load", "--url", node.write_url, "--series", "20000", "--tables", "1", "--samples", PROGRESS_ROWS,
                    "--samples-per-series", "4")
    assert load.returncode == 0, load.stderr
    seal(node)
    seen = []
    page.js("fetch('-/flush', {method: 'POST'}); 0")

    def progress():
        page.js("poll()")
        bar = page.js("(() => { const bar = document.querySelector('#batches .meter'); "
                      "return bar ? Number(bar.getAttribute('aria-valuenow')) : null; })()")
        if bar is not None:
            seen.append(bar)
        return any(0 < value < 100 for value in seen) or node.status()["segments"]["count"] == 0

    wait_for("a batch under way", progress, 30)
    assert any(0 < value < 100 for value in seen), seen
    assert seen == sorted(seen)
    wait_for("the end of the upload", lambda: node.status()["segments"]["count"] == 0)
    page.js("poll()")
    page.wait("document.querySelector('#batches').innerText.includes('No batch is on its way')")


@pytest.mark.parametrize("width", [390, 320])
def test_nothing_is_wider_than_a_phone(make_forebay, open_page, tmp_path, width):
    blocked = tmp_path / ("long" * 50)
    blocked.write_text("in the way")
    node = make_forebay(merge({"cluster": {"member": "a-member-with-a-very-long-name-0123456789-0123456789"}}, {
        "databases": [{"name": "Metrics", "sinks": [{"file": {"root": str(blocked)}}]}]}))
    send(node, "w" * 150, "short_total", count=20)
    node.admin().post("/-/flush")
    page = open_page(node, **{**PHONE, "width": width})
    page.wait("document.querySelector('#batches .error') !== null")
    page.js("document.querySelector('#config').open = true")
    page.wait("document.querySelector('#config-text').textContent.includes('durability')")
    # Points as large as they come: the numbers must fit into their cards.
    page.js("""history_.add({first: 0, next: 2, interval_seconds: 5, max_points: 180, points: Object.fromEntries(
        ['time_ms', ...PLOTS.map((plot) => plot.column)].map((name) =>
            [name, name === 'time_ms' ? [Date.now() - 5000, Date.now()] : [1, 888888888888]]))}); showPlots()""")
    assert page.js("document.documentElement.scrollWidth") == width
    wider = page.js("[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > "
                    f"{width} + 0.5 && !e.closest('svg')).map((e) => e.outerHTML.slice(0, 120))")
    assert wider == []
    clipped = page.js("[...document.querySelectorAll('.plot .now, .plot footer')].filter((e) => "
                      "e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)")
    assert clipped == []


def test_dark_and_light_can_be_read(make_forebay, open_page, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("in the way")
    node = make_forebay({"databases": [{"name": "Metrics", "sinks": [{"file": {"root": str(blocked)}}]}]})
    send(node, "up")
    node.admin().post("/-/flush")
    page = open_page(node)
    page.wait("document.querySelector('#batches .error') !== null")
    shades = {}
    for dark in (False, True):
        page.dark(dark)
        panel = color(page, ".panel", "backgroundColor")
        shades[dark] = sum(panel)
        for selector, ground in (("#name", color(page, "header", "backgroundColor")), (".plot h3", panel),
                                 ("#storage dt", panel), ("#batches .error", panel), ("h2 small", color(page, "body", "backgroundColor")),
                                 ("#state", color(page, "#state", "backgroundColor")),
                                 (".pill.bad", color(page, ".pill.bad", "backgroundColor"))):
            assert contrast(color(page, selector), ground) > 4.5, (dark, selector)
    assert shades[True] < 150 < 600 < shades[False]


def test_numbers_are_short_whatever_their_size(forebay, open_page):
    page = open_page(forebay)
    gap = "\u202f"
    for expression, text in {
            "count(0)": "0", "count(999)": "999", "count(999.7)": f"1{gap}k", "count(1234567)": f"1.23{gap}M",
            "count(18446744073709551615)": f"18.4{gap}E", "count(1e300)": "1.0e+300", "count(NaN)": "\u2013",
            "count(undefined)": "\u2013", "count(Infinity)": "\u2013", "count(-1500)": f"-1.5{gap}k", "count(0.125)": "0.13",
            "bytes(1023)": f"1023{gap}B", "bytes(1536)": f"1.5{gap}KiB", "bytes(18446744073709551615)": f"16{gap}EiB",
            "duration(59.9)": f"59{gap}s", "duration(3600)": f"1{gap}h", "duration(90061)": f"1{gap}d 1{gap}h",
            "duration(-5)": f"0{gap}s", "percentText(percent(5, 0))": f"0{gap}%", "percentText(percent(1, 1000))": f"<1{gap}%",
            "percentText(percent(7, 5))": f"100{gap}%"}.items():
        assert page.js(expression) == text, expression


def test_points_of_another_run_replace_those_of_the_last(forebay, open_page):
    page = open_page(forebay)
    kept = page.js("""(() => {
        const h = new History();
        const answer = (first, values) => ({first, next: first + values.length, interval_seconds: 5, max_points: 4,
                                            points: {v: values}});
        const seen = [];
        h.add(answer(0, [1, 2])); seen.push([...h.column('v')]);
        h.add(answer(2, [3, 4, 5])); seen.push([...h.column('v')]);   // no more than the ring
        h.add(answer(9, [9])); seen.push([...h.column('v')]);         // some were missed
        h.add(answer(0, [7])); seen.push([...h.column('v')]);         // another run
        return seen;
    })()""")
    assert kept == [[1, 2], [2, 3, 4, 5], [9], [7]]


def test_members_and_owners_of_several_nodes(make_forebay, open_page):
    members = [{"name": f"node-{n}", "address": f"127.0.0.1:{port}"} for n, port in enumerate((1, 2, 3))]
    node = make_forebay(merge(NAMED, {"listen": {"transfer": "127.0.0.1:0"},
                                      "cluster": {"discovery": "static", "members": members,
                                                  "transfer": {"enabled": False}}}))
    send(node, *(f"table_{n}" for n in range(60)))
    seal(node)
    page = open_page(node)
    page.wait("document.querySelectorAll('#members tbody tr').length === 3")
    assert "this node" in page.text("#members") and "leader" in page.text("#members")
    owned = page.js("[...document.querySelectorAll('#members td.n')].map((cell) => parseInt(cell.textContent))")
    assert sum(owned) == 60 and min(owned) > 5
    page.type("#search", "table")
    page.js("tablesShown = 100; poll()")
    page.wait("document.querySelectorAll('#tables .owner').length === 60")
    owners = page.js("[...document.querySelectorAll('#tables .owner')].map((cell) => cell.textContent)")
    assert [owners.count(f"node-{n}") for n in range(3)] == owned
    assert page.js("document.querySelectorAll('#plots .plot').length") == 7
