"""A real DNS server for the records of a headless service, as they come and go with its pods."""

import shutil

from processes import Process, wait_for

DOMAIN = "forebay-headless.monitoring.svc.cluster.local"
SERVICE = f"_transfer._tcp.{DOMAIN}"


def pod_host(number):
    return f"forebay-{number}.{DOMAIN}"


class Dnsmasq(Process):
    """Serves SRV records of SERVICE, given as (target, port), and addresses of hosts."""

    def __init__(self, folder, port, address="127.0.0.1", hosts=None):
        super().__init__("dnsmasq", folder)
        self.address = address
        self.port = port
        self.hosts = dict(hosts or {})  # name -> IPv4 address

    def serve(self, records):
        self.stop_if_running()
        command = [shutil.which("dnsmasq"), "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
                   f"--listen-address={self.address}", "--bind-interfaces", f"--port={self.port}", "--local=/cluster.local/",
                   "--pid-file=", "--user=", "--log-facility=-"]
        command += [f"--srv-host={SERVICE},{target},{port}" for target, port in records]
        command += [f"--host-record={name},{address}" for name, address in self.hosts.items()]
        self.spawn(command)
        wait_for("dnsmasq", lambda: "started" in self.log_path.read_text()[self.log_start:], timeout=10)

    def stop_if_running(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
