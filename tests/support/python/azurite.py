"""Azurite, Microsoft's storage emulator from npm, as a child process, and signatures for its containers and queues.

./dev unpacks it below build/tools/azurite; FOREBAY_AZURITE names another folder. Needs node of Debian.
"""
import base64
import hashlib
import hmac
import os
import pathlib
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request

from processes import ROOT, Process, free_port, wait_for

ACCOUNT = "forebaytests"
KEY = base64.b64encode(b"a key of this test account only, of 64 bytes and no more, you see").decode()
VERSION = "2020-10-02"


def script():
    folder = pathlib.Path(os.environ.get("FOREBAY_AZURITE", ROOT / "build" / "tools" / "azurite"))
    return folder / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"


def available():
    return script().exists() and shutil.which("node") is not None


def iso(seconds_from_now):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds_from_now))


def sign(text):
    return base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()


class Azurite(Process):
    """`with Azurite(folder) as storage:`; storage.blob_url, storage.queue_url."""

    def __init__(self, folder):
        super().__init__("azurite", folder)
        self.clusters = 0  # that use it
        self.blob_port, self.queue_port = free_port(), free_port()
        self.blob_url = f"http://127.0.0.1:{self.blob_port}/{ACCOUNT}"
        self.queue_url = f"http://127.0.0.1:{self.queue_port}/{ACCOUNT}"

    def __enter__(self):
        self.spawn(["node", script(), "--inMemoryPersistence", "--disableTelemetry", "--silent",
                    "--blobPort", self.blob_port, "--queuePort", self.queue_port, "--tablePort", free_port()],
                   {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"})
        wait_for("azurite", self.listens, timeout=60)
        return self

    def __exit__(self, *_):
        self.stop()

    def listens(self):
        self.expect_running()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.queue_port}/", timeout=5)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def account_signature(self):
        expiry = iso(3600)
        text = "\n".join([ACCOUNT, "rwdlacup", "bq", "sco", "", expiry, "", "", VERSION, ""])
        return urllib.parse.urlencode({"sv": VERSION, "ss": "bq", "srt": "sco", "sp": "rwdlacup", "se": expiry,
                                       "sig": sign(text)})

    def request(self, method, url, body=b"", headers=None):
        request = urllib.request.Request(url, data=body if method != "GET" else None, method=method,
                                         headers={"x-ms-version": VERSION, **(headers or {})})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def make_container(self, name):
        self.request("PUT", f"{self.blob_url}/{name}?restype=container&{self.account_signature()}")

    def make_queue(self, name):
        self.request("PUT", f"{self.queue_url}/{name}?{self.account_signature()}")

    def take_messages(self, queue):
        """The texts of up to 32 messages, which are then gone for a time."""
        import xml.etree.ElementTree as xml
        answer = self.request("GET", f"{self.queue_url}/{queue}/messages?numofmessages=32&{self.account_signature()}")
        return [base64.b64decode(text.text) for text in xml.fromstring(answer).iter("MessageText")]

    def container_signature(self, name, permissions="rwl", seconds=3600):
        expiry = iso(seconds)
        text = "\n".join([permissions, "", expiry, f"/blob/{ACCOUNT}/{name}", "", "", "", VERSION, "c", "", "", "", "", "", ""])
        return urllib.parse.urlencode({"sv": VERSION, "sr": "c", "sp": permissions, "se": expiry, "sig": sign(text)})

    def queue_signature(self, name, seconds=3600):
        expiry = iso(seconds)
        text = "\n".join(["a", "", expiry, f"/queue/{ACCOUNT}/{name}", "", "", "", VERSION])
        return urllib.parse.urlencode({"sv": VERSION, "sp": "a", "se": expiry, "sig": sign(text)})
