"""A real redis-server of a test's own on a free port of loopback, which can be killed, stopped, and started again: `Redis`."""
import signal
import socket
import subprocess


class Redis:
    def __init__(self, folder, *options):
        self.folder, self.options = folder, options
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                   "--appendonly", "yes", "--appendfsync", "always", *self.options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            assert self.process.poll() is None, "redis-server did not start"
            try:
                if self.command("PING").startswith((b"+PONG", b"-NOAUTH")):
                    return self
            except OSError:
                pass  # it does not listen yet

    def command(self, *words):
        """The reply as it comes, for short ones."""
        text = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
            s.sendall(text)
            return s.recv(65536)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.kill()
        self.start()

    def signal(self, number):
        self.process.send_signal(number)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)
        self.kill()
