"""A strict stand-in for the part of the Kubernetes API that discovery uses: list, watch and patch of pods.

It refuses what the real one refuses: a missing or wrong token (401), a verb that the role lacks (403), another namespace or
path (404), a resource version that is compacted (410), a patch of another content type (415), a continue token that it did
not give. Lists come in pages, watches as chunked lines with bookmarks, and end when told.
"""
import http.server
import json
import queue
import threading
import urllib.parse

NAMESPACE = "monitoring"


class FakeKubernetes:
    """`with FakeKubernetes() as api:`; api.url, api.put_pod(...), api.delete_pod(...), api.end_watches(), api.compact()."""

    def __init__(self, token="first-token", verbs=("list", "watch", "patch")):
        self.lock = threading.RLock()
        self.token = token
        self.verbs = set(verbs)
        self.version = 100
        self.oldest = 100  # versions below are compacted
        self.pods = {}
        self.history = []  # (version, type, pod)
        self.watches = []
        self.requests = []  # (verb, status)
        self.broken = False  # 500 for everything
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                api.get(self)

            def do_PATCH(self):
                api.patch(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.end_watches()
        self.server.shutdown()
        self.server.server_close()

    # ---- what tests do

    def put_pod(self, name, ip="10.0.0.1", ready=True, stateful_set="forebay", annotations=None, deleting=False,
                labels=None):
        """Adds the pod or replaces it."""
        with self.lock:
            kind = "MODIFIED" if name in self.pods else "ADDED"
            self.version += 1
            metadata = {"name": name, "namespace": NAMESPACE, "resourceVersion": str(self.version),
                        "labels": labels or {"app.kubernetes.io/name": "forebay"}, "annotations": annotations or {},
                        "ownerReferences": [{"kind": "StatefulSet", "name": stateful_set}]}
            if deleting:
                metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            status = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(bool(ready))}]}
            if ip:
                status["podIP"] = ip
            pod = {"metadata": metadata, "spec": {}, "status": status}
            self.pods[name] = pod
            self.emit(kind, pod)

    def delete_pod(self, name):
        with self.lock:
            pod = json.loads(json.dumps(self.pods.pop(name)))
            self.version += 1
            pod["metadata"]["resourceVersion"] = str(self.version)
            self.emit("DELETED", pod)

    def bookmark(self):
        """Moves the version on without a change of a pod, and tells the watches."""
        with self.lock:
            self.version += 10
            pod = {"kind": "Pod", "metadata": {"resourceVersion": str(self.version)}}
            for watch in self.watches:
                watch.put({"type": "BOOKMARK", "object": pod})

    def compact(self):
        """Forgets every version before the newest."""
        with self.lock:
            self.version += 1
            self.oldest = self.version
            self.history.clear()

    def end_watches(self):
        """Ends all open watches, as the real one does at timeoutSeconds."""
        with self.lock:
            for watch in self.watches:
                watch.put(None)

    def count(self, verb, status):
        with self.lock:
            return self.requests.count((verb, status))

    # ---- the API

    def emit(self, kind, pod):
        event = {"type": kind, "object": json.loads(json.dumps(pod))}
        self.history.append((self.version, event))
        for watch in self.watches:
            watch.put(event)

    def answer(self, request, verb, status, body):
        with self.lock:
            self.requests.append((verb, status))
        data = json.dumps(body).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def refuse(self, request, verb, status, reason, message):
        self.answer(request, verb, status,
                    {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message})

    def admitted(self, request, verb, path):
        """Whether the request may go on; answers it otherwise."""
        if self.broken:
            self.refuse(request, verb, 500, "InternalError", "etcd is away")
        elif request.headers.get("Authorization") != f"Bearer {self.token}":
            self.refuse(request, verb, 401, "Unauthorized", "Unauthorized")
        elif verb not in self.verbs:
            self.refuse(request, verb, 403, "Forbidden", f"pods is forbidden: cannot {verb} resource pods")
        elif path[:5] != ["api", "v1", "namespaces", NAMESPACE, "pods"]:
            self.refuse(request, verb, 404, "NotFound", "the server could not find the requested resource")
        else:
            return True
        return False

    def selected(self, selector):
        key, _, value = selector.partition("=")
        return [pod for _, pod in sorted(self.pods.items()) if pod["metadata"]["labels"].get(key) == value]

    def get(self, request):
        url = urllib.parse.urlsplit(request.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        path = url.path.strip("/").split("/")
        watches = query.get("watch") == "1"
        if not self.admitted(request, "watch" if watches else "list", path):
            return
        assert query["labelSelector"] == "app.kubernetes.io/name=forebay", query
        if watches:
            self.watch(request, query)
        else:
            self.list(request, query)

    def list(self, request, query):
        with self.lock:
            pods = self.selected(query["labelSelector"])
            begin = int(query.get("continue", "0"))
            page = pods[begin:begin + min(int(query["limit"]), 2)]  # small pages, so that they are used
            metadata = {"resourceVersion": str(self.version)}
            if begin + len(page) < len(pods):
                metadata["continue"] = str(begin + len(page))
            body = {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": page}
        self.answer(request, "list", 200, body)

    def watch(self, request, query):
        assert query["allowWatchBookmarks"] == "true" and int(query["timeoutSeconds"]) > 0, query
        begin = int(query["resourceVersion"])
        events = queue.Queue()
        with self.lock:
            self.requests.append(("watch", 200))
            if begin < self.oldest:
                status = {"kind": "Status", "code": 410, "reason": "Expired", "message": f"too old: {begin}"}
                events.put({"type": "ERROR", "object": status})
                events.put(None)
            else:
                for version, event in self.history:
                    if version > begin:
                        events.put(event)
                self.watches.append(events)
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        try:
            while (event := events.get()) is not None:
                line = json.dumps(event).encode() + b"\n"
                # In two chunks: an event is not always one piece.
                for part in (line[:7], line[7:]):
                    request.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                request.wfile.flush()
            request.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass
        with self.lock:
            if events in self.watches:
                self.watches.remove(events)

    def patch(self, request):
        path = urllib.parse.urlsplit(request.path).path.strip("/").split("/")
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if not self.admitted(request, "patch", path):
            return
        if request.headers.get("Content-Type") != "application/strategic-merge-patch+json":
            self.refuse(request, "patch", 415, "UnsupportedMediaType", "the body is of another type")
            return
        with self.lock:
            pod = self.pods.get(path[5])
            if pod is not None:
                pod["metadata"]["annotations"].update(json.loads(body)["metadata"]["annotations"])
                self.version += 1
                pod["metadata"]["resourceVersion"] = str(self.version)
                self.emit("MODIFIED", pod)
        if pod is None:
            self.refuse(request, "patch", 404, "NotFound", f"pods {path[5]} not found")
        else:
            self.answer(request, "patch", 200, pod)
