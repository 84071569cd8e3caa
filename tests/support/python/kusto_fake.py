"""A strict stand-in for Azure Data Explorer: data management, engine and token endpoints, and a proxy before the storage.

It refuses what the real one refuses, downloads every blob by the very URL that it is given, unpacks by the name's end
only, parses the rows by the mapping, and keeps them with their tags. What no correct client does is noted in `problems`;
check() fails when there is any.

    with KustoFake(storage) as kusto:
        kusto.inject("queued", status=503, times=2)
        kusto.rows("Metrics", "Cpu")
"""
import collections
import contextlib
import csv
import datetime
import gzip
import http.client
import http.server
import io
import json
import re
import socket
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid
import zlib

import azurite

csv.field_size_limit(sys.maxsize)
API_VERSION = "2024-12-12"
FORMATS = {"csv"}
PROPERTIES = {"format": str, "enableTracking": bool, "tags": list, "skipBatching": bool, "deleteAfterDownload": bool,
              "ingestionMappingReference": str, "creationTime": str, "ingestIfNotExists": list, "ignoreFirstRecord": bool,
              "validationPolicy": str, "zipPattern": str}
STREAMING_LIMIT = 4 << 20
RESOURCE = "https://kusto.kusto.windows.net"

Row = collections.namedtuple("Row", "values tags path")


class Refused(Exception):
    def __init__(self, status, code, message, permanent=True, kind=""):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": "Request is invalid and cannot be executed.", "@type": kind,
                               "@message": message, "@permanent": permanent,
                               "@context": {"timestamp": "now", "activityId": "a"}}}


class Fault:
    def __init__(self, place, times=1, after=0, status=None, body=None, headers=None, action=None, match=None):
        self.place, self.times, self.after = place, times, after
        self.status, self.body, self.headers = status, body, headers or {}
        # action: reset; lost (done, then reset); stall (never answered); half (a head and no body); drip (done, a byte of
        # the answer every second); hangup (done, then closed without a word)
        self.action, self.match = action, match


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, socket.timeout):
            self.close_connection = True

    def serve(self):
        if "Transfer-Encoding" in self.headers:
            self.server.kusto.problem(f"{self.command} {self.path}: chunked")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.serve(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = serve

    def answer(self, status, body=b"", headers=None):
        if not isinstance(body, bytes):
            body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_badly(self, action, status, body):
        """Announces a body of which nothing comes, or a byte a second."""
        body = json.dumps(body).encode() + b" "
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.flush()
        for byte in body[:20] if action == "drip" else b"":
            time.sleep(1)
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
        if action == "half":
            time.sleep(3)
        self.reset()

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close_connection = True
        self.connection.close()
        raise ConnectionError


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, kusto, role, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.kusto, self.role = kusto, role
        if kusto.authority:
            # The handshake is the business of the connection's own thread.
            self.socket = kusto.authority.server_context(role).wrap_socket(self.socket, server_side=True,
                                                                           do_handshake_on_connect=False)
        self.url = f"http{'s' if kusto.authority else ''}://127.0.0.1:{self.server_port}"

    def listen(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def end(self):
        self.shutdown()
        self.server_close()

    def serve(self, request):
        self.kusto.serve(self.role, request)

    def handle_error(self, *_):
        if not isinstance(sys.exc_info()[1], OSError):
            import traceback
            self.kusto.problem(traceback.format_exc())


class KustoFake:
    def __init__(self, storage, databases=("Metrics",), containers=3, auth=True, streaming=True, rest=True, emulator=False,
                 authority=None):
        """authority: everything but the storage's queues speaks TLS, with certificates of it."""
        self.storage, self.authority = storage, authority
        self.databases = set(databases)
        self.auth, self.streaming, self.rest, self.emulator = auth, streaming, rest, emulator
        self.lock, self.ingesting = threading.RLock(), threading.Lock()
        self.problems, self.faults = [], []
        self.requests = []  # (time, place, status)
        self.ids = collections.defaultdict(set)  # place: ids of requests, also of those that got no answer
        self.tables, self.mappings, self.data = {}, {}, collections.defaultdict(list)
        self.operations, self.source_ids, self.blob_urls = {}, {}, set()
        self.failures = []  # of queued ingestion, taken in order: dicts of errorCode, failureStatus, details
        self.refuses = lambda values: False  # rows that make the cluster refuse all of their blob
        self.polls = 1      # looks that are answered InProgress
        self.status_spelling = "yaml"
        self.tokens, self.token_life, self.request_ids = {}, 3600, set()
        self.refresh, self.max_blobs = "01:00:00", 20
        self.preferred, self.edit_configuration = "Storage", lambda body: body
        # Folders of a lake, and the files in them: path: (bytes so far, whether it was flushed).
        self.lakes, self.lake_files = [], {}
        self.containers = [f"cont-{i}" for i in range(containers)]
        self.used = collections.Counter()  # containers
        self.queues = ["queue-0", "queue-1"]
        self.signature = lambda name: storage.container_signature(name, "rwl")
        self.streamed = []  # (table, bytes)
        self.blob_sizes = []
        # True: rows are counted and not kept or looked at, for large runs.
        self.only_count = False
        self.counted = collections.Counter()  # (database, table): rows
        self.servers = {role: Server(self, role) for role in ("engine", "dm", "login", "storage")}
        self.engine_url, self.dm_url = self.servers["engine"].url, self.servers["dm"].url
        self.login_url, self.storage_url = self.servers["login"].url, self.servers["storage"].url

    def __enter__(self):
        if self.storage:
            for name in self.containers:
                self.storage.make_container(name)
            for name in self.queues:
                self.storage.make_queue(name)
        for server in self.servers.values():
            server.listen()
        return self

    def __exit__(self, *_):
        for server in self.servers.values():
            server.end()

    # ---- what tests do

    def sink(self, **over):
        """The configuration of a sink."""
        return {"adx": {"endpoint": self.engine_url, "ingest_endpoint": self.dm_url, "status_interval": "100ms",
                        "auth": {"kind": "client_secret" if self.auth else "none", "client_id": "client-1",
                                 "tenant_id": "tenant 1", "authority": self.login_url}, **over}}

    def inject(self, place, **fault):
        with self.lock:
            self.faults.append(Fault(place, **fault))

    @contextlib.contextmanager
    def away(self, role):
        """Within this, nobody listens there."""
        port = self.servers[role].server_port
        self.servers[role].end()
        yield
        self.servers[role] = Server(self, role, port)
        self.servers[role].listen()

    def rows(self, database, table):
        with self.lock:
            return list(self.data[(database, table)])

    def count(self, place, status=None):
        with self.lock:
            return sum(1 for _, p, s in self.requests if p == place and status in (None, s))

    def times(self, place):
        with self.lock:
            return [t for t, p, _ in self.requests if p == place]

    def problem(self, text):
        with self.lock:
            self.problems.append(text)

    def check(self):
        with self.lock:
            assert not self.problems, "\n".join(self.problems[:20])

    # ---- requests

    def serve(self, role, request):
        url = urllib.parse.urlsplit(request.path)
        parts = [urllib.parse.unquote(part, errors="strict") for part in url.path.split("/")[1:]]
        place, act = self.route(role, request, parts, url)
        fault = self.take_fault(place, request)
        with self.lock:
            self.ids[place].add(request.headers.get("x-ms-client-request-id"))
        status = 0
        try:
            if fault and fault.action == "reset":
                request.reset()
            if fault and fault.action == "stall":
                time.sleep(float(fault.body or 3))
                request.reset()
            if fault and fault.status:
                status = fault.status
                return request.answer(fault.status, fault.body if fault.body is not None else b"", fault.headers)
            try:
                if role in ("engine", "dm"):
                    self.check_headers(role, request, place)
                status, body, headers = act()
            except Refused as refused:
                status, body, headers = refused.status, refused.body, {"x-ms-activity-id": str(uuid.uuid4())}
            if fault and fault.action in ("half", "drip"):
                with self.lock:
                    self.request_ids.discard(request.headers.get("x-ms-client-request-id"))
                request.answer_badly(fault.action, status, body)
            if fault and fault.action == "lost":
                with self.lock:  # A client's library may repeat a request that got no answer as it was.
                    self.request_ids.discard(request.headers.get("x-ms-client-request-id"))
                request.reset()
            request.answer(status, body, headers)
            if fault and fault.action == "hangup":
                request.close_connection = True
        finally:
            with self.lock:
                self.requests.append((time.monotonic(), place, status))

    def take_fault(self, place, request):
        with self.lock:
            for fault in self.faults:
                if fault.place != place or fault.times == 0 or (fault.match and not fault.match(request)):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def route(self, role, request, parts, url):
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True, strict_parsing=bool(url.query))
        method, head = request.command, parts[:3]
        if role == "storage" and parts[0] == "lake":
            return f"lake.{method.lower()}", lambda: self.lake(request, url.path, query)
        if role == "storage":
            return f"storage.{method.lower()}", lambda: self.forward(request)
        if role == "login":
            if method == "POST" and parts[1:] == ["oauth2", "v2.0", "token"]:
                return "token", lambda: self.give_token(request, parts[0])
            if method == "GET" and "api-version" in query:
                return "token", lambda: self.give_managed_token(request, query)
            return "unknown", lambda: self.unknown(role, request)
        if head == ["v1", "rest", "auth"] and method == "GET":
            return "metadata", self.metadata
        if head == ["v1", "rest", "mgmt"] and method == "POST":
            return "mgmt", lambda: self.command(role, request)
        if role == "dm" and head == ["v1", "rest", "ingestion"] and self.rest:
            if parts[3:] == ["configuration"] and method == "GET":
                return "configuration", self.configuration
            if parts[3:4] == ["queued"] and len(parts) == 6 and method == "POST":
                return "queued", lambda: self.queued(request, parts[4], parts[5])
            if parts[3:4] == ["queued"] and len(parts) == 7 and method == "GET":
                return "status", lambda: self.status(parts[4], parts[5], parts[6], query)
        if role == "dm" and head == ["v1", "rest", "ingestion"]:
            return "configuration", lambda: (404, {}, {})
        if role == "engine" and head == ["v1", "rest", "ingest"] and len(parts) == 5 and method == "POST":
            return "streaming", lambda: self.stream(request, parts[3], parts[4], query)
        return "unknown", lambda: self.unknown(role, request)

    def unknown(self, role, request):
        self.problem(f"{role}: unknown request {request.command} {request.path.split('?')[0]}")
        return 404, {}, {}

    def check_headers(self, role, request, place):
        headers = request.headers
        where = f"{role} {place}"
        if place == "metadata":
            if "Authorization" in headers:
                self.problem(f"{where}: a token where none is needed")
            return
        expected = {"Accept": "application/json", "x-ms-version": API_VERSION}
        for name, value in expected.items():
            if headers.get_all(name) != [value]:
                self.problem(f"{where}: {name} is {headers.get_all(name)}")
        for name in ("x-ms-app", "x-ms-user", "x-ms-client-version"):
            if not headers.get(name):
                self.problem(f"{where}: no {name}")
        identifier = headers.get("x-ms-client-request-id", "")
        prefix, _, tail = identifier.partition(";")
        if not prefix or str(uuid.UUID(tail)) != tail:
            self.problem(f"{where}: request id {identifier!r}")
        with self.lock:
            if identifier in self.request_ids:
                self.problem(f"{where}: request id {identifier} comes again")
            self.request_ids.add(identifier)
        kind = headers.get("Content-Type", "")
        wanted = {"streaming": "application/octet-stream"}.get(place, "application/json")
        if request.command == "POST" and not kind.startswith(wanted) and "sourceKind" not in request.path:
            self.problem(f"{where}: Content-Type {kind!r}")
        if not self.auth:
            if "Authorization" in headers:
                self.problem(f"{where}: a token for a cluster without")
            return
        token = headers.get("Authorization", "").removeprefix("Bearer ")
        known = self.tokens.get(token)
        if not token:
            self.problem(f"{where}: no token")
        if known is None or known["until"] < time.time():
            raise Refused(401, "Unauthorized", "the token is unknown or has expired")
        if known["resource"] != RESOURCE:
            self.problem(f"{where}: a token for {known['resource']}")

    # ---- tokens

    def metadata(self):
        return 200, {"AzureAD": {"LoginEndpoint": self.login_url, "LoginMfaRequired": False, "KustoClientAppId": "x",
                                 "KustoServiceResourceId": RESOURCE}}, {}

    def new_token(self, resource):
        token = "token-" + uuid.uuid4().hex
        with self.lock:
            self.tokens[token] = {"until": time.time() + self.token_life, "resource": resource}
        return token

    def give_token(self, request, tenant):
        form = urllib.parse.parse_qs(request.body.decode(), strict_parsing=True)
        if tenant != "tenant 1" or form.get("client_id") != ["client-1"] or form.get("grant_type") != ["client_credentials"]:
            return 400, {"error": "invalid_client", "error_description": "unknown client"}, {}
        secret, assertion = form.get("client_secret"), form.get("client_assertion")
        if assertion is not None:
            kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            if form.get("client_assertion_type") != [kind]:
                self.problem(f"client_assertion_type is {form.get('client_assertion_type')}")
        if secret != ["se cret&=+"] and assertion != ["federated"]:
            return 401, {"error": "invalid_client", "error_description": "AADSTS7000215: wrong secret"}, {}
        scope = form["scope"][0]
        if not scope.endswith("/.default"):
            self.problem(f"scope is {scope}")
        return 200, {"token_type": "Bearer", "expires_in": self.token_life,
                     "access_token": self.new_token(scope.removesuffix("/.default"))}, {}

    def give_managed_token(self, request, query):
        if request.headers.get("Metadata") != "true":
            return 400, {"error": "invalid_request", "error_description": "no Metadata header"}, {}
        return 200, {"token_type": "Bearer", "expires_in": str(self.token_life),
                     "expires_on": str(int(time.time()) + self.token_life),
                     "access_token": self.new_token(query["resource"][0])}, {}

    # ---- commands

    @staticmethod
    def result(columns, rows):
        return 200, {"Tables": [{"TableName": "Table_0", "Columns": [{"ColumnName": name, "DataType": "String"}
                                                                     for name in columns], "Rows": rows}]}, {}

    def command(self, role, request):
        body = json.loads(request.body)
        if set(body) - {"db", "csl", "properties"} or not isinstance(body.get("csl"), str):
            self.problem(f"command with {sorted(body)}")
        text, database = body["csl"], body.get("db", "")
        if role == "dm":
            return self.dm_command(text)
        if text == ".show cluster details":
            return self.result(["NodeId", "Name"], [["1", "KustoPersonal" if self.emulator else "KEngine0"]])
        if database not in self.databases:
            raise Refused(400, "BadRequest_DatabaseNotExist", f"database {database!r} does not exist")
        name = r"\['((?:[^'\\]|\\.)*)'\]"
        with self.lock:
            if match := re.fullmatch(rf"\.show database {name} ingestion mappings", text):
                return self.result(["Name", "Kind", "Mapping", "LastUpdatedOn", "Database", "Table"],
                                   [[n, "Csv", json.dumps(m), "now", d, t] for (d, t, n), m in self.mappings.items()
                                    if d == database])
            if match := re.fullmatch(rf"\.create-merge table {name} \((.*)\)", text, re.S):
                return self.create_merge(database, unquote(match[1]), match[2])
            literal = r"'((?:[^'\\]|\\.)*)'"
            if match := re.fullmatch(rf"\.create-or-alter table {name} ingestion csv mapping {literal} {literal}", text, re.S):
                return self.create_mapping(database, *(unquote(match[i]) for i in (1, 2, 3)))
            pattern = rf"\.ingest inline into table {name} with \(format='csv', tags={literal}, ingestIfNotExists={literal}\) <\|\n"
            if match := re.match(pattern, text):
                return self.ingest_inline(database, match, text[match.end():])
        self.problem(f"unknown command {text[:200]}")
        raise Refused(400, "BadRequest_SyntaxError", "syntax error")

    def dm_command(self, text):
        if text == ".get ingestion resources":
            rows = [["TempStorage", f"{self.storage_url}/{azurite.ACCOUNT}/{name}?{self.signature(name)}"]
                    for name in self.containers]
            rows += [["SecuredReadyForAggregationQueue", f"{self.storage.queue_url}/{name}?{self.storage.queue_signature(name)}"]
                     for name in self.queues]
            return self.result(["ResourceTypeName", "StorageRoot"], rows + [["SomethingNew", "https://x/y"]])
        if text == ".get kusto identity token":
            return self.result(["AuthorizationContext"], [["identity-token"]])
        self.problem(f"unknown command {text[:200]}")
        raise Refused(400, "BadRequest_SyntaxError", "syntax error")

    def create_merge(self, database, table, columns):
        wanted = re.findall(r"\['((?:[^'\\]|\\.)*)'\]:(\w+)", columns)
        if ", ".join(f"['{name}']:{kind}" for name, kind in wanted) != columns:
            self.problem(f"columns of {table}: {columns}")
        present = self.tables.get((database, table), {})
        for name, kind in wanted:
            if present.get(name, kind) != kind:
                raise Refused(400, "BadRequest_EntityAlreadyExists", f"column {name} is of another type")
        self.tables[(database, table)] = {**present, **dict(wanted)}
        return self.result(["TableName"], [[table]])

    def create_mapping(self, database, table, name, text):
        if (database, table) not in self.tables:
            raise Refused(400, "BadRequest_EntityNotFound", f"table {table} does not exist")
        mapping = json.loads(text)
        columns = self.tables[(database, table)]
        if [int(m["Properties"]["Ordinal"]) for m in mapping] != list(range(len(mapping))):
            self.problem(f"ordinals of mapping {name}")
        for item in mapping:
            if columns.get(item["column"]) != item["datatype"]:
                self.problem(f"mapping {name}: {item} is no column of {columns}")
        self.mappings[(database, table, name)] = mapping
        return self.result(["Name"], [[name]])

    # ---- queued

    def configuration(self):
        return 200, self.edit_configuration({"containerSettings": {
            "containers": [{"path": f"{self.storage_url}/{azurite.ACCOUNT}/{name}?{self.signature(name)}"}
                           for name in self.containers],
            "lakeFolders": [{"path": f"{self.storage_url}/lake/{urllib.parse.quote(name)}"} for name in self.lakes],
            "refreshInterval": self.refresh, "preferredUploadMethod": self.preferred},
            "ingestionSettings": {"maxBlobsPerBatch": self.max_blobs, "maxDataSize": 6442450944,
                                  "preferredIngestionMethod": "Rest"}, "somethingNew": 1}), {}

    def queued(self, request, database, table):
        body = json.loads(request.body)
        self.check_queued(body)
        properties = body["properties"]
        operation = "op/" + uuid.uuid4().hex + "?=&"  # must be encoded in a path
        states = [self.ingest_blob(database, table, blob, properties) for blob in body["blobs"]]
        with self.lock:
            self.operations[operation] = {"table": (database, table), "states": states, "looks": 0}
        return 200, {"ingestionOperationId": operation}, {}

    def check_queued(self, body):
        if set(body) - {"timestamp", "blobs", "properties"}:
            self.problem(f"queued request with {sorted(body)}")
        sent = datetime.datetime.fromisoformat(body["timestamp"].replace("Z", "+00:00"))
        if abs(sent.timestamp() - time.time()) > 300:
            self.problem(f"timestamp {body['timestamp']} is not of now")
        for name, value in body["properties"].items():
            if not isinstance(value, PROPERTIES.get(name, ())):
                self.problem(f"property {name} is unknown or of a wrong type")
        if body["properties"].get("format") not in FORMATS:
            self.problem(f"format is {body['properties'].get('format')}")
        tags = body["properties"].get("tags", [])
        for value in body["properties"].get("ingestIfNotExists", []):
            if f"ingest-by:{value}" not in tags:
                self.problem(f"ingestIfNotExists {value} without its tag: {tags}")
        urls = [blob["url"].split("?")[0] for blob in body["blobs"]]
        if len(set(urls)) != len(urls) or not 0 < len(urls) <= self.max_blobs:
            self.problem(f"{len(urls)} blobs, {len(set(urls))} different ones")

    def ingest_blob(self, database, table, blob, properties):
        if set(blob) != {"url", "sourceId", "rawSize"} or type(blob["rawSize"]) is not int:
            self.problem(f"blob with {sorted(blob)}")
        identifier = str(uuid.UUID(blob["sourceId"]))
        with self.lock:
            if self.source_ids.setdefault(identifier, blob["url"]) != blob["url"]:
                self.problem(f"source id {identifier} is of two blobs")
            failure = self.failures.pop(0) if self.failures else None
        state = {"sourceId": identifier, "status": "Succeeded", "startedAt": "2026-01-01T00:00:00Z",
                 "lastUpdateTime": "2026-01-01T00:00:00Z", "errorCode": None, "failureStatus": None, "details": None}
        if failure is None:
            failure = self.load(database, table, blob["url"], blob["rawSize"], properties)
        if failure:
            state.update({"status": "Failed", "details": "no detail", **failure})
        return state

    def load(self, database, table, url, raw_size, properties):
        """None, or why it failed."""
        path = url.split("?")[0]
        try:
            stored = self.download(url)
        except OSError as error:
            return {"errorCode": "Download_Forbidden", "failureStatus": "Permanent", "details": str(error)}
        if self.only_count:
            return self.count_rows(database, table, path, stored, raw_size, properties)
        is_gzip = stored[:2] == b"\x1f\x8b"
        if path.endswith(".gz") != is_gzip:
            self.problem(f"{path}: the name's end and the bytes differ")
        raw = gzip.decompress(stored) if path.endswith(".gz") else stored
        if raw_size is not None and len(raw) != raw_size:
            self.problem(f"{path}: rawSize {raw_size}, in truth {len(raw)}")
        with self.lock:
            self.blob_sizes.append((len(stored), len(raw)))
            if path not in self.blob_urls:
                self.used[path.split("/")[-2]] += 1
            self.blob_urls.add(path)
        with self.ingesting:  # one after the other: the tags decide
            return self.take_rows(database, table, raw, properties.get("ingestionMappingReference"),
                                  properties.get("tags", []), properties.get("ingestIfNotExists", []), "queued")

    def download(self, url):
        """By the very URL. Files of the lake are the cluster's to read, once they are flushed."""
        path = urllib.parse.urlsplit(url).path
        if path.startswith("/lake/"):
            with self.lock:
                data, whole = self.lake_files.get(path, (b"", False))
            if not whole:
                raise OSError(f"{path} is not there")
            return bytes(data)
        context = self.authority.client_context() if self.authority else None
        with urllib.request.urlopen(url, timeout=60, context=context) as answer:
            return answer.read()

    def count_rows(self, database, table, path, stored, raw_size, properties):
        unpack, size, rows = zlib.decompressobj(31), 0, 0
        while stored and not unpack.eof:
            piece = unpack.decompress(stored, 4 << 20)
            stored = unpack.unconsumed_tail
            size += len(piece)
            rows += piece.count(b"\n")
        tag = (database, table, *properties["tags"])
        with self.lock:
            if size != raw_size:
                self.problem(f"{path}: rawSize {raw_size}, in truth {size}")
            self.blob_sizes.append((0, size))
            if tag in self.source_ids:
                return {"errorCode": "Skipped_IngestByTagAlreadyExists", "failureStatus": "Permanent"}
            self.source_ids[tag] = path
            self.counted[(database, table)] += rows
        return None

    def take_rows(self, database, table, raw, mapping_name, tags, unless, path):
        with self.lock:
            if (database, table) not in self.tables:
                return {"errorCode": "BadRequest_TableNotExist", "failureStatus": "Permanent"}
            present = {tag for row in self.data[(database, table)] for tag in row.tags}
            if any(f"ingest-by:{value}" in present for value in unless):
                return {"errorCode": "Skipped_IngestByTagAlreadyExists", "failureStatus": "Permanent"}
            mapping = self.mappings.get((database, table, mapping_name))
            if mapping_name and mapping is None:
                return {"errorCode": "BadRequest_MappingReferenceWasNotFound", "failureStatus": "Permanent"}
            kinds = [m["datatype"] for m in mapping] if mapping else list(self.tables[(database, table)].values())
        if not raw:
            return {"errorCode": "BadRequest_NoRecordsOrWrongFormat", "failureStatus": "Permanent"}
        rows = []
        for values in csv.reader(io.StringIO(raw.decode("utf-8"), newline=""), strict=True):
            if len(values) != len(kinds):
                return {"errorCode": "Stream_WrongNumberOfFields", "failureStatus": "Permanent",
                        "details": f"{len(values)} for {len(kinds)}"}
            if self.refuses(values):
                return {"errorCode": "Stream_ClosedQuoteMissing", "failureStatus": "Permanent", "details": "a bad row"}
            for kind, value in zip(kinds, values):
                self.check_value(kind, value)
            rows.append(Row(tuple(values), tuple(tags), path))
        with self.lock:
            self.data[(database, table)].extend(rows)
        return None

    def check_value(self, kind, value):
        try:
            if kind == "datetime":
                datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
            elif kind == "long":
                assert -(1 << 63) <= int(value) < 1 << 63
            elif kind == "real" and value:
                float(value)
            elif kind == "dynamic":
                json.loads(value)
        except (ValueError, AssertionError):
            self.problem(f"{value!r} is no {kind}")

    def status(self, database, table, operation, query):
        with self.lock:
            known = self.operations.get(operation)
            if known is None or known["table"] != (database, table):
                raise Refused(404, "NotFound", "no such operation")
            known["looks"] += 1
            states = known["states"]
            if known["looks"] <= self.polls:
                states = [{**state, "status": "InProgress", "errorCode": None, "failureStatus": None} for state in states]
        counts = collections.Counter(state["status"] for state in states)
        details = states if query.get("details") == ["true"] else []
        names = {"succeeded": "Succeeded", "failed": "Failed", "inProgress": "InProgress", "canceled": "Canceled"}
        body = {"startTime": "2026-01-01T00:00:00Z", "lastUpdated": "2026-01-01T00:00:00Z",
                "status": {key: counts[value] for key, value in names.items()}, "details": details}
        if self.status_spelling == "docs":
            body["status"] = {value: counts[value] for value in names.values()}
            body["details"] = [{**{k[0].upper() + k[1:]: v for k, v in state.items()}} for state in details]
        if self.status_spelling == "counters":
            del body["details"]
        return 200, body, {}

    def take_classic(self):
        """Ingests what lies in the storage queues. Returns the number of messages."""
        taken = 0
        for queue in self.queues:
            for text in self.storage.take_messages(queue):
                taken += 1
                message = json.loads(text)
                more = message["AdditionalProperties"]
                if more["authorizationContext"] != "identity-token" or str(uuid.UUID(message["Id"])) != message["Id"]:
                    self.problem(f"queue message {sorted(message)}")
                properties = {**more, "tags": json.loads(more["tags"]),
                              "ingestIfNotExists": json.loads(more["ingestIfNotExists"])}
                failure = self.load(message["DatabaseName"], message["TableName"], message["BlobPath"],
                                    message["RawDataSize"], properties)
                if failure and failure["errorCode"] != "Skipped_IngestByTagAlreadyExists":
                    self.problem(f"classic ingestion failed: {failure}")
        return taken

    # ---- engine

    def stream(self, request, database, table, query):
        if set(query) - {"streamFormat", "mappingName", "sourceKind"} or query.get("streamFormat") != ["Csv"]:
            self.problem(f"streaming with {query}")
        if not self.streaming:
            raise Refused(400, "BadRequest_StreamingIngestionPolicyNotEnabled", "streaming ingestion is off",
                          kind="Kusto.DataNode.Exceptions.StreamingIngestionRequestException")
        encoding = request.headers.get("Content-Encoding")
        if (request.body[:2] == b"\x1f\x8b") != (encoding == "gzip"):
            self.problem(f"streaming: Content-Encoding {encoding} for other bytes")
        raw = gzip.decompress(request.body) if encoding == "gzip" else request.body
        if len(raw) > STREAMING_LIMIT:
            raise Refused(413, "KustoRequestPayloadTooLargeException", "too large")
        with self.lock:
            self.streamed.append(((database, table), len(raw)))
        failure = self.take_rows(database, table, raw, query.get("mappingName", [None])[0], [], [], "streamed")
        if failure:
            raise Refused(400, failure["errorCode"], "refused")
        return 200, {}, {}

    def ingest_inline(self, database, match, rows):
        table, tags, unless = unquote(match[1]), json.loads(unquote(match[2])), json.loads(unquote(match[3]))
        if unless != [tag.removeprefix("ingest-by:") for tag in tags]:
            self.problem(f"inline tags {tags} and {unless}")
        failure = self.take_rows(database, table, rows.encode(), None, tags, unless, "inline")
        if failure and failure["errorCode"] != "Skipped_IngestByTagAlreadyExists":
            raise Refused(400, failure["errorCode"], "refused")
        return self.result(["ExtentId"], [["x"]])

    # ---- storage

    def lake(self, request, path, query):
        """Files are made empty, grow at any places, and are there when they are flushed at their length."""
        if request.headers.get("x-ms-version") is None:
            self.problem("lake: no x-ms-version")
        token = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if token is None or token["until"] < time.time():
            return 401, {}, {}
        if token["resource"] != "https://storage.azure.com":
            self.problem(f"lake: a token for {token['resource']}")
        if not any(path.startswith(f"/lake/{urllib.parse.quote(folder)}/") for folder in self.lakes):
            return 404, {}, {"x-ms-error-code": "PathNotFound"}
        with self.lock:
            if request.command == "PUT" and query == {"resource": ["file"]} and not request.body:
                self.lake_files[path] = (bytearray(), False)
                return 201, b"", {}
            data, whole = self.lake_files.get(path, (None, False))
            if data is None or whole or request.command != "PATCH":
                return 404, {}, {"x-ms-error-code": "PathNotFound"}
            at = int(query["position"][0])
            if query["action"] == ["append"]:
                if len(data) < at + len(request.body):
                    data.extend(bytes(at + len(request.body) - len(data)))
                data[at:at + len(request.body)] = request.body
                return 202, b"", {}
            if query["action"] != ["flush"] or at != len(data):
                return 400, {}, {"x-ms-error-code": "InvalidFlushPosition"}
            self.lake_files[path] = (data, True)
            self.used[path.split("/")[2]] += 1
            return 200, b"", {}

    def forward(self, request):
        if "Authorization" in request.headers:
            self.problem("a token was sent to the storage")
        if request.command == "PUT" and len(request.body) > (4 << 20):
            self.problem(f"a request of {len(request.body)} bytes to the storage")
        connection = http.client.HTTPConnection("127.0.0.1", self.storage.blob_port, timeout=60)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "connection")}
            connection.request(request.command, request.path, request.body or None, headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        kept = {k: v for k, v in answer.getheaders() if k.lower().startswith("x-ms")}
        return answer.status, body, kept


def unquote(text):
    """A literal of Kusto without its quotes."""
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), text)
