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
    {site}
}}
"""

BALANCER = """
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
"""

TLS = """
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        {clients}
        location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_request_buffering off; }}
    }}
"""


class Server(Process):
    """nginx with what is to be in its http block, at an address."""

    def __init__(self, name, folder, host, port):
        super().__init__(name, folder)
        self.host, self.port = host, port
        self.prefix = []

    def run(self, site):
        (self.folder / "nginx.conf").write_text(CONFIG.format(
            folder=self.folder, site=site, user="user root;" if os.geteuid() == 0 else ""))
        self.spawn([*self.prefix, program("nginx"), "-p", self.folder, "-e", "stderr", "-c", self.folder / "nginx.conf"])
        wait_for("nginx", self.accepts)
        return self

    def accepts(self):
        self.expect_running()
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0


class Nginx(Server):
    """Requests go to the nodes in turn; one that refuses or is not there gets none for a second."""

    def __init__(self, folder, nodes, address="127.0.0.1", prefix=()):
        super().__init__("nginx", folder, address, free_port())
        self.nodes = list(nodes)
        self.address = f"{self.host}:{self.port}"
        self.prefix = list(prefix)

    @property
    def ingest_url(self):
        return f"http://{self.address}"

    @property
    def write_url(self):
        return f"{self.ingest_url}/api/v1/write"

    def start(self):
        servers = "\n".join(f"        server {node.ingest_address} max_fails=1 fail_timeout=1s;" for node in self.nodes)
        return self.run(BALANCER.format(servers=servers, listen=self.address))


class TlsFront(Server):
    """`with TlsFront(folder, port, authority) as front:` TLS at front.port for a server of plain HTTP; with mutual=True it
    wants certificates of the authority."""

    def __init__(self, folder, upstream, authority, mutual=True):
        super().__init__("nginx-tls", folder, "127.0.0.1", free_port())
        certificate, key = authority.issue("front")
        clients = f"ssl_client_certificate {authority.file}; ssl_verify_client on;" if mutual else ""
        self.site = TLS.format(port=self.port, upstream=upstream, certificate=certificate, key=key, clients=clients)

    def __enter__(self):
        return self.run(self.site)

    def __exit__(self, *_):
        self.stop()
