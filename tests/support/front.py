"""Real proxies in front of the program: nginx and HAProxy, each with a configuration, a folder and a pid file of its own. No root."""
import os
import shutil
import subprocess
import time

from .backend import TIMEOUT

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  include {folder}/site.conf;
}}
"""


def listens(port):
    """Whether a socket of this machine does, without connecting to it."""
    for table in ["/proc/net/tcp", "/proc/net/tcp6"]:
        with open(table, encoding="ascii") as f:
            for line in list(f)[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    return True
    return False


class Front:
    """A proxy that listens on `ports` once it has started."""

    def __init__(self, folder, command, check, ports):
        self.command, self.check, self.ports = list(map(str, command)), list(map(str, check)), ports
        self.said = folder / "said"
        self.process = None

    def start(self):
        done = subprocess.run(self.check, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        assert done.returncode == 0 and b"[WARNING]" not in done.stdout, done.stdout.decode()
        with open(self.said, "wb") as f:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=f, stderr=f)
        end = time.monotonic() + TIMEOUT
        while not all(map(listens, self.ports)):
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < end, f"{self.command} does not listen"
            time.sleep(0.01)
        return self

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(TIMEOUT)
        self.process = None


def nginx(folder, site, ports):
    """site: what stands in the http block."""
    folder.mkdir()
    (folder / "site.conf").write_text(site)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user))
    command = [shutil.which("nginx") or "/usr/sbin/nginx", "-p", folder, "-c", folder / "nginx.conf"]
    return Front(folder, command, [*command, "-t"], ports)


def haproxy(folder, text, ports):
    """text: the whole configuration."""
    folder.mkdir()
    (folder / "haproxy.cfg").write_text(text)
    command = [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", folder / "haproxy.cfg"]
    return Front(folder, command, [*command, "-c"], ports)
