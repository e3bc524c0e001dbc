"""Start the real program, wait for it, read its logs, stop it. Shared by every suite that talks to a running server."""
import atexit
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

REPO = Path(__file__).resolve().parents[2]
BIN = os.environ.get("MOONTIDE_BIN") or str(REPO / "build" / "moontide")
READY = re.compile(r"^moontide: ready (.+)$")
# What a sanitizer or valgrind leaves in the log. No test may end with one of these in it.
REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|==\d+== (Invalid|Conditional|Use of)")
WORKERS = int(os.environ.get("MOONTIDE_WORKERS", "1"))  # of every server whose test does not say how many
START_TIMEOUT = 20.0
STOP_TIMEOUT = 20.0


RUNTIME = tempfile.mkdtemp(prefix="moontide-run-")  # control sockets go here, away from servers that the user runs
atexit.register(shutil.rmtree, RUNTIME, ignore_errors=True)


def clean_environment():
    """Ours without MOONTIDE_*: those names are settings of the program, and the suites use some for themselves. The number of
    workers is both."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MOONTIDE_")}
    return {**kept, "XDG_RUNTIME_DIR": RUNTIME, "MOONTIDE_WORKERS": str(WORKERS)}


class Lines:
    """The lines of a pipe as they come. `wait` blocks until one matches."""

    def __init__(self, pipe):
        self.lines, self.ended, self.changed = [], False, threading.Condition()
        threading.Thread(target=self._read, args=(pipe,), daemon=True).start()

    def _read(self, pipe):
        for line in iter(pipe.readline, b""):
            with self.changed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait(self, pattern, timeout=10.0, since=0):
        """The first match of `pattern` in a line from `since` on; AssertionError with what there is when none comes."""
        regex, until, at = re.compile(pattern), time.monotonic() + timeout, since
        with self.changed:
            while True:
                while at < len(self.lines):
                    match = regex.search(self.lines[at])
                    at += 1
                    if match:
                        return match
                left = until - time.monotonic()
                if left <= 0 or self.ended:
                    raise AssertionError(f"no line matches {pattern!r} ({'ended' if self.ended else 'timeout'}):\n{self.text(since)}")
                self.changed.wait(left)

    def wait_end(self, timeout):
        with self.changed:
            self.changed.wait_for(lambda: self.ended, timeout)

    def text(self, since=0):
        return "\n".join(self.lines[since:])

    def __len__(self):
        return len(self.lines)


class Server:
    """One run of the program. Used with `with`: leaving it stops the server and checks how it ended."""

    def __init__(self, script, *args, listen=("127.0.0.1:0",), env=None, cwd=None, wrap=(), watch=False, settings=None):
        command = [*wrap, BIN, "run", str(script)]
        for address in listen:
            command += ["--listen", address]
        for key, value in (settings or {}).items():
            command += ["--set", f"{key}={value}"]
        if not watch:
            command.append("--no-watch")
        self.command = command + [str(a) for a in args]
        self.env = {**clean_environment(), **(env or {})}
        self.cwd, self.process, self.urls = cwd, None, []
        self.codes = {0}  # exit codes that are no failure

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=self.env, cwd=self.cwd)
        self.out, self.log = Lines(self.process.stdout), Lines(self.process.stderr)
        try:
            self.urls = self.out.wait(READY.pattern, START_TIMEOUT).group(1).split()
        except AssertionError as why:
            self.kill()
            raise AssertionError(f"{' '.join(self.command)} did not get ready\n{why}\nlog:\n{self.log.text()}") from None
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, _value, _trace):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.wait()
        if kind is None:
            assert code in self.codes, f"the server ended with {code}\n{self.log.text()}"
            self.check_reports()

    def wait(self, timeout=STOP_TIMEOUT):
        """The exit code. A server that does not end in time is killed and that is a failure."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not end in {timeout} s\n{self.log.text()}") from None
        self.log.wait_end(5)
        return code

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.wait_end(5)

    def signal(self, number):
        self.process.send_signal(number)

    def check_reports(self):
        bad = [line for line in self.log.lines if REPORT.search(line)]
        assert not bad, "a sanitizer reports:\n" + self.log.text()

    @property
    def url(self):
        return next(u for u in self.urls if u.startswith("http"))

    @property
    def ws_url(self):
        return self.url.replace("http", "ws", 1)

    @property
    def port(self):
        return urlsplit(self.url).port

    @property
    def address(self):
        parts = urlsplit(self.url)
        return parts.hostname, parts.port

    def alive(self):
        return self.process.poll() is None

    def rss(self):
        """Resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def sockets(self):
        """Number of sockets that the process has open, listeners included."""
        folder = f"/proc/{self.process.pid}/fd"
        count = 0
        for name in os.listdir(folder):
            try:
                count += os.readlink(f"{folder}/{name}").startswith("socket:")
            except FileNotFoundError:
                pass  # closed in between
        return count

    def cpu(self):
        """Seconds of processor time so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def refuses(*args, env=None, timeout=20.0):
    """Run the program with arguments it must refuse: (exit code, everything it said)."""
    done = subprocess.run([BIN, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**clean_environment(), **(env or {})}, timeout=timeout, check=False)
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert not REPORT.search(text), text
    assert done.returncode > 0, f"exit code {done.returncode}\n{text}"
    return done.returncode, text


def sanitized(names=("asan", "tsan")):
    """Whether the program was built with one of these sanitizers: memory and time bounds do not hold there."""
    nm = shutil.which("nm")
    if not nm:
        return False
    symbols = subprocess.run([nm, "-D", BIN], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    return any(f"__{name}_init".encode() in symbols for name in names)
