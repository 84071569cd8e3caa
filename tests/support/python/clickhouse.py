"""A real ClickHouse server in a folder of its own, and a proxy that spoils requests on their way to it."""

import json
import os
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from xml.sax.saxutils import escape

from oracle import Oracle
from processes import ROOT, Process, free_port, program

LIBRARIES = [ROOT / "build" / "tools" / folder / "lib" / "x86_64-linux-gnu" for folder in ("usr", "")]
USER, PASSWORD = "writer", "p@ss:w/rd"


class ClickHouseError(Exception):
    """An answer that is no success; `status` and `text` are the server's."""

    def __init__(self, status, text):
        super().__init__(f"HTTP {status}: {text}")
        self.status, self.text = status, text


class ClickHouse(Process):
    """profile: settings of every query of the user `writer`."""

    def __init__(self, folder, profile=None):
        super().__init__("clickhouse", folder)
        self.port, self.native_port = free_port(), free_port()
        self.profile = dict(profile or {})

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def dsn(self, database="default", port=None, parameters=""):
        secret = urllib.parse.quote(PASSWORD, safe="")
        return f"http://{USER}:{secret}@127.0.0.1:{port or self.port}/{database}{parameters}"

    def start(self, timeout=60):
        for name in ("data", "tmp", "schemas"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "config.xml").write_text(f"""<yandex>
<logger><level>information</level><console>1</console></logger>
<http_port>{self.port}</http_port><tcp_port>{self.native_port}</tcp_port><listen_host>127.0.0.1</listen_host>
<path>{self.folder}/data/</path><tmp_path>{self.folder}/tmp/</tmp_path>
<format_schema_path>{self.folder}/schemas/</format_schema_path><users_config>users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>67108864</mark_cache_size><keep_alive_timeout>10</keep_alive_timeout></yandex>""")
        settings = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in self.profile.items())
        networks = "<networks><ip>127.0.0.1</ip></networks><profile>{0}</profile><quota>default</quota>"
        (self.folder / "users.xml").write_text(f"""<yandex>
<profiles><default></default><limited>{settings}</limited></profiles><quotas><default></default></quotas><users>
<default><password></password>{networks.format("default")}</default>
<{USER}><password>{escape(PASSWORD)}</password>{networks.format("limited")}</{USER}></users></yandex>""")
        self.spawn([program("clickhouse-server"), f"--config-file={self.folder / 'config.xml'}"],
                   {"LD_LIBRARY_PATH": ":".join(map(str, LIBRARIES))})
        self.wait_ready(f"{self.url}/ping", timeout)
        return self

    def query(self, sql, timeout=60):
        """The answer as text."""
        request = urllib.request.Request(f"{self.url}/?output_format_json_quote_64bit_integers=0", sql.encode(),
                                         method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.read().decode("utf-8", "surrogateescape")
        except urllib.error.HTTPError as error:
            raise ClickHouseError(error.code, error.read().decode("utf-8", "replace")) from None

    def rows(self, sql):
        """Rows as dicts. Integers of 64 bits are integers."""
        return [json.loads(line) for line in self.query(f"{sql} FORMAT JSONEachRow").splitlines()]

    def number(self, sql):
        return int(self.query(sql))

    def tables(self, database):
        return self.query(f"SELECT name FROM system.tables WHERE database = '{database}' ORDER BY name").split()


class ServerOracle(Oracle):
    """The rows of all tables of a database, in place of files. Each look reads all of them."""

    def __init__(self, server, database):
        super().__init__(server.folder)
        self.server, self.database = server, database

    def read_new(self):
        self.rows, self.first, self.again, self.unchecked = 0, {}, {}, []
        for table in self.server.tables(self.database):
            for row in self.server.rows(f"SELECT toInt64(Value) AS v, Timestamp AS t, Labels AS l "
                                        f"FROM {self.database}.{table}"):
                self.rows += 1
                if row["v"] in self.first:
                    self.again.setdefault(row["v"], []).append(table)
                    continue
                labels = tuple(sorted(json.loads(row["l"]).items()))
                self.first[row["v"]] = (table, labels, row["t"], table)
                self.unchecked.append(row["v"])


def have_clickhouse():
    try:
        program("clickhouse-server")
    except FileNotFoundError:
        return False
    return os.uname().machine == "x86_64"


class FaultProxy:
    """Passes HTTP requests on to a port and spoils inserts as `faults` say, one fault for each, first one first.

    Faults: "lost_answer" (the server has it, its answer is thrown away), "cut" (half of the request is passed on, then
    both sides are closed), "half_close" (passed on; our side for sending is then closed, and no answer comes), "refuse" (closed unread), "hang" (never answered, never passed on), "hang_answer" (passed on,
    never answered), a number (answered with that status, not passed on), "500 late" (passed on, then answered 500),
    or a tuple (status, headers, body).
    """

    def __init__(self, port):
        self.upstream = port
        self.faults = []
        self.seen = []  # faults that were used
        self.inserts = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for connection in self.open:
            connection.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.open.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def next_fault(self, head):
        # The statement may be in the compressed body; then only the setting tells an insert.
        if b"decompress=1" not in head.split(b"\r\n", 1)[0]:
            return None
        with self.lock:
            self.inserts += 1
            fault = self.faults.pop(0) if self.faults else None
            if fault is not None:
                self.seen.append(fault)
            return fault

    def serve(self, connection):
        try:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    got = connection.recv(65536)
                    if not got:
                        return
                    head += got
                head, body = head.split(b"\r\n\r\n", 1)
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n")
                               if line.lower().startswith(b"content-length:")), 0)
                fault = self.next_fault(head)
                if fault == "refuse":
                    return
                while len(body) < length:
                    got = connection.recv(1 << 20)
                    if not got:
                        return
                    body += got
                if not self.handle(connection, head, body, fault):
                    return
        except OSError:
            pass
        finally:
            connection.close()

    def handle(self, connection, head, body, fault):
        """False: the connection is over."""
        if isinstance(fault, int):
            fault = (fault, {}, b"spoiled by the proxy")
        if isinstance(fault, tuple):
            connection.sendall(answer_bytes(*fault))
            return True
        if fault == "hang":
            threading.Event().wait(60)
            return False
        if fault == "cut":
            with socket.create_connection(("127.0.0.1", self.upstream)) as upstream:
                upstream.sendall(head + b"\r\n\r\n" + body[:len(body) // 2])
            return False
        answer = self.ask(head, body)
        if fault == "lost_answer":
            return False
        if fault == "half_close":
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
            return False
        if fault == "hang_answer":
            threading.Event().wait(60)
            return False
        if fault == "500 late":
            answer = answer_bytes(500, {}, b"late")
        connection.sendall(answer)
        return True

    def ask(self, head, body):
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        with socket.create_connection(("127.0.0.1", self.upstream)) as upstream:
            upstream.sendall(b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body)
            answer = b""
            while True:
                got = upstream.recv(1 << 20)
                if not got:
                    return answer
                answer += got


def answer_bytes(status, headers, body):
    lines = [f"HTTP/1.1 {status} Spoiled", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


__all__ = ["ClickHouse", "ClickHouseError", "FaultProxy", "PASSWORD", "ServerOracle", "USER", "have_clickhouse"]
