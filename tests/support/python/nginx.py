"""nginx as the load balancer in front of several nodes, and as the TLS of a server that has none."""

import os
import socket

from processes import Process, free_port, program, wait_for

CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    upstream nodes {{
{servers}
        keepalive 16;
    }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_connect_timeout 2s;
            proxy_read_timeout 20s;
            # A node that answers 503 has stored nothing: the next one gets the request. One that does not answer
            # may have: the sender is told (502, 504), and no other node gets it.
            proxy_next_upstream http_503 non_idempotent;
        }}
    }}
}}
"""


class Nginx(Process):
    """Requests go to the nodes in turn; one that refuses or is not there gets none for a second."""

    def __init__(self, folder, nodes, address="127.0.0.1", prefix=()):
        super().__init__("nginx", folder)
        self.nodes = list(nodes)
        self.address = f"{address}:{free_port()}"
        self.prefix = list(prefix)

    @property
    def ingest_url(self):
        return f"http://{self.address}"

    @property
    def write_url(self):
        return f"{self.ingest_url}/api/v1/write"

    def start(self):
        servers = "\n".join(f"        server {node.ingest_address} max_fails=1 fail_timeout=1s;" for node in self.nodes)
        (self.folder / "nginx.conf").write_text(
            CONFIG.format(folder=self.folder, servers=servers, listen=self.address, user="user root;" if os.geteuid() == 0 else ""))
        self.spawn([*self.prefix, program("nginx"), "-p", self.folder, "-e", "stderr", "-c", self.folder / "nginx.conf"])
        host, port = self.address.rsplit(":", 1)

        def accepts():
            self.expect_running()
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0

        wait_for("nginx", accepts)
        return self


TLS_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        {clients}
        location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_request_buffering off; }}
    }}
}}
"""


class TlsFront(Process):
    """`with TlsFront(folder, port, authority) as front:` TLS at front.port for a server of plain HTTP; with mutual=True it
    wants certificates of the authority."""

    def __init__(self, folder, upstream, authority, mutual=True):
        super().__init__("nginx-tls", folder)
        self.port = free_port()
        certificate, key = authority.issue("front")
        clients = f"ssl_client_certificate {authority.file}; ssl_verify_client on;" if mutual else ""
        (self.folder / "nginx.conf").write_text(TLS_CONFIG.format(
            folder=self.folder, port=self.port, upstream=upstream, certificate=certificate, key=key, clients=clients,
            user="user root;" if os.geteuid() == 0 else ""))

    def __enter__(self):
        self.spawn([program("nginx"), "-p", self.folder, "-e", "stderr", "-c", self.folder / "nginx.conf"])
        wait_for("nginx", self.accepts)
        return self

    def __exit__(self, *_):
        self.stop()

    def accepts(self):
        self.expect_running()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
