"""A client of the control socket: words out, JSON lines in. It can also send what is no request."""
import json
import socket
from pathlib import Path

from support.wire import TIMEOUT


def control(server):
    """Where the control socket of a running server is."""
    return next(Path(server.env["XDG_RUNTIME_DIR"]).glob(f"moontide-{server.port}.sock"))


class Control:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(path))
        self.answers = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def line(self):
        got = self.answers.readline()
        assert got.endswith(b"\n"), f"closed after {got!r}"
        return json.loads(got)

    def ask(self, word):
        self.send(word.encode() + b"\n")
        return self.line()

    def closed(self):
        try:
            return self.answers.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.answers.close()
        self.sock.close()


def status(server):
    """What the server says of itself."""
    c = Control(control(server))
    try:
        return c.ask("status")
    finally:
        c.close()
