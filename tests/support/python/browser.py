"""A headless Chromium of Debian's chromium-headless-shell, driven by its DevTools protocol over a pipe: no port, no driver.

    with Browser(tmp_path) as browser:
        page = browser.page(width=390, dark=True)
        page.go("http://127.0.0.1:9091/status")
        page.wait("document.title.includes('node')")
        page.requests   # every URL that the page asked for
        page.complaints # uncaught errors, console errors, blocked by the Content-Security-Policy
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import threading
import time

PROGRAM = "chromium-headless-shell"
# Nothing of its own may go out: what is asked for is what the page asks for.
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
         "--disable-default-apps", "--no-proxy-server", "--hide-scrollbars", "--mute-audio", "--remote-debugging-pipe"]
TIMEOUT = 30.0


def have_browser():
    return shutil.which(PROGRAM) is not None


class Browser:
    def __init__(self, folder):
        to_browser, self.output = os.pipe()
        self.input, from_browser = os.pipe()
        # The protocol is spoken on descriptors 3 and 4.
        command = ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", PROGRAM, *FLAGS,
                   f"--user-data-dir={folder / 'browser'}", "about:blank"]
        self.log = open(folder / "browser.log", "wb")
        self.process = subprocess.Popen(command, pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, cwd=folder,
                                        start_new_session=True, env={**os.environ, "HOME": str(folder)})
        os.close(to_browser)
        os.close(from_browser)
        self.answers, self.pages, self.number = {}, {}, 0
        self.changed = threading.Condition()
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.process.poll() is None:
            os.write(self.output, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)  # the program's own processes, too
                self.process.wait()
        self.reader.join(10)
        os.close(self.output)
        os.close(self.input)
        self.log.close()

    def _read(self):
        rest = b""
        while chunk := os.read(self.input, 1 << 20):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in map(json.loads, messages):
                with self.changed:
                    if "id" in message:
                        self.answers[message["id"]] = message
                    elif message.get("sessionId") in self.pages:
                        self.pages[message["sessionId"]]._event(message["method"], message["params"])
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def call(self, method, session=None, **parameters):
        self.number += 1
        number = self.number
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.output, json.dumps(message).encode() + b"\0")
        with self.changed:
            assert self.changed.wait_for(lambda: number in self.answers or self.ended, TIMEOUT), f"{method}: no answer"
            assert number in self.answers, f"{method}: the browser has ended"
            answer = self.answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def page(self, width=1280, height=900, dark=False, scale=1):
        return Page(self, width, height, dark, scale)


class Page:
    def __init__(self, browser, width, height, dark, scale):
        self.browser = browser
        self.requests, self.complaints = [], []
        self.target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        browser.pages[self.session] = self
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                  mobile=width < 600)
        self.dark(dark)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def _event(self, method, params):
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"]))

    def dark(self, on):
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if on else "light"},
                            {"name": "prefers-reduced-motion", "value": "reduce"}])

    def go(self, url):
        answer = self.call("Page.navigate", url=url)
        assert not answer.get("errorText"), answer["errorText"]
        self.wait("document.readyState == 'complete' && location.href != 'about:blank'")

    def js(self, expression):
        """The value of a JavaScript expression; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, expression, timeout=TIMEOUT):
        """Waits until the expression is true, and returns it."""
        deadline = time.monotonic() + timeout
        while True:
            value = self.js(expression)
            if value:
                return value
            assert time.monotonic() < deadline, f"never true: {expression}\n{self.text()}\n{self.complaints}"
            time.sleep(0.05)

    def text(self, selector="body"):
        """What is to be read there."""
        return self.js(f"(document.querySelector({json.dumps(selector)}) || {{innerText: ''}}).innerText")

    def type(self, selector, text):
        """Types into an emptied field, key by key as far as the page sees."""
        self.js(f"(() => {{ const field = document.querySelector({json.dumps(selector)}); field.focus(); field.select(); }})()")
        if text:
            self.call("Input.insertText", text=text)
        else:
            self.js(f"(() => {{ const field = document.querySelector({json.dumps(selector)}); field.value = ''; "
                    "field.dispatchEvent(new Event('input')); })()")

    def picture(self, path, whole=True):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)
        self.browser.pages.pop(self.session, None)
