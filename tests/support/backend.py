"""HTTP servers for the client of the program: a real nginx, servers that do what a test says, byte by byte, and a proxy."""
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

TIMEOUT = float(os.environ.get("SUITE_TIMEOUT", "10"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def server_context(pair):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, pair))
    return context


class Peer:
    """One accepted connection."""

    def __init__(self, sock):
        self.sock, self.pending = sock, b""

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def fill(self):
        got = self.sock.recv(65536)
        self.pending += got
        return got

    def request(self):
        """(head without the empty line, headers by lower-case name, body), or None at the end of the connection."""
        while b"\r\n\r\n" not in self.pending:
            if not self.fill():
                return None
        head, self.pending = self.pending.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers.setdefault(name.lower(), []).append(value.strip())
        length = int(headers.get("content-length", ["0"])[0])
        while len(self.pending) < length:
            if not self.fill():
                return None
        body, self.pending = self.pending[:length], self.pending[length:]
        return lines[0], headers, body

    def answer(self, body="", status="200 OK", headers=""):
        body = body if isinstance(body, bytes) else body.encode()
        self.send(f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def wait_closed(self):
        """Until the other side has closed; what it still sends is dropped."""
        try:
            while self.sock.recv(65536):
                pass
        except (ConnectionError, ssl.SSLError):
            pass

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


class Backend:
    """Runs `handle(peer)` in a thread for each connection, which is closed when that returns. What it raises is kept in `errors`,
    and fails the test at the end; a connection that the client ended is no error."""

    def __init__(self, handle, tls=None, backlog=128):
        self.handle, self.tls, self.errors = handle, tls, []
        self.accepted, self.ended = 0, 0
        self.changed = threading.Condition()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.accepted += 1
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        sock.settimeout(TIMEOUT * 3)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self.handle(Peer(sock))
        except (ConnectionError, ssl.SSLError):
            pass
        except Exception as why:  # pylint: disable=broad-except
            self.errors.append(why)
        finally:
            sock.close()
            with self.changed:
                self.ended += 1
                self.changed.notify_all()

    def wait(self, check, what="it"):
        with self.changed:
            assert self.changed.wait_for(lambda: check(self), TIMEOUT), f"{what}: {self.accepted} accepted, {self.ended} ended"

    def wait_idle(self):
        """Until no connection is open."""
        self.wait(lambda b: b.ended == b.accepted, "connections stay open")

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def close(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        assert not self.errors, self.errors


def answering(respond):
    """A handler that keeps the connection and answers each request by respond(peer, line, headers, body)."""
    def handle(peer):
        while True:
            got = peer.request()
            if got is None:
                return
            respond(peer, *got)
    return handle


class Proxy(Backend):
    """An HTTP proxy: CONNECT to where `routes` says for "host:port" (403 for others), and whole URLs for plain HTTP."""

    def __init__(self, routes):
        self.routes, self.seen = routes, []
        super().__init__(self._proxy)

    def _proxy(self, peer):
        line, _, _ = peer.request() or ("", None, None)
        self.seen.append(line)
        method, target = line.split(" ")[:2]
        if method != "CONNECT":
            peer.answer("by proxy: " + target)
        elif target not in self.routes:
            peer.answer("no", "403 Forbidden")
        else:
            with socket.create_connection(self.routes[target]) as other:
                peer.send("HTTP/1.1 200 Connection established\r\n\r\n")
                self._pass_on(peer.sock, other)

    @staticmethod
    def _pass_on(a, b):
        def pump(source, target):
            try:
                while data := source.recv(65536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        back = threading.Thread(target=pump, args=(b, a), daemon=True)
        back.start()
        pump(a, b)
        back.join()


NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e; default_type text/plain;
  gzip on; gzip_types text/plain; gzip_min_length 100; client_max_body_size 64m;
  server {{
    listen 127.0.0.1:{port} backlog=1024; {tls}
    root {folder}/www; add_header X-Connection $connection; add_header X-Protocol $server_protocol;
    location = /hello {{ return 200 "hello"; }}
    location = /method {{ return 200 $request_method; }}
    location = /agent {{ return 200 $http_user_agent; }}
    location = /empty {{ return 204; }}
    location = /same {{ return 302 /hello; }}
    location = /loop {{ return 302 /loop; }}
    location /status/ {{ return 404 "nothing here"; }}
    {extra}
  }}
}}
"""


class Nginx:
    """A real server. `www` is its folder; each answer says in X-Connection on which connection it came."""

    def __init__(self, folder, tls=None, extra=""):
        self.folder, self.port, self.tls = folder, free_port(), tls
        self.www = folder / "www"
        self.www.mkdir(parents=True)
        pair = ""
        if tls:
            pair = f"listen 127.0.0.1:{(tls_port := free_port())} ssl http2; ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};"
            self.tls_port = tls_port
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=self.port, tls=pair, extra=extra, user=user))
        self.process = None

    def start(self):
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen([program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + TIMEOUT
        while True:
            assert self.process.poll() is None, self.process.stderr.read().decode()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except ConnectionRefusedError:
                assert time.monotonic() < end, "nginx does not listen"
                time.sleep(0.01)

    def stop(self):
        """At once: connections are cut."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(TIMEOUT)
        if self.process:
            self.process.stderr.close()
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self):
        return f"https://localhost:{self.tls_port}"
