"""The chat that ships with the server, a crowd of 100 who talk, and 200 hostile clients beside them or not."""
import json
import os
import subprocess
import sys

from support.server import REPO, Lines, Server

# What an operator sets who expects such clients. They come from this machine, so the limits by address do not hold for them.
SETTINGS = {"limits.message": "16k", "limits.rate.messages": "20/s burst 40", "limits.rate.bytes": "64k/s burst 256k",
            "handshake.timeout": "5s", "body.timeout": "2s", "close.timeout": "1s", "limits.outbox": "256k", "log.level": "error"}


def start(chain, key, workers=None, wrap=()):
    """The server, with a plain and a TLS address. Use it with `with`."""
    settings = {**SETTINGS, "tls": f"{chain},{key}", **({"workers": workers} if workers else {})}
    return Server(REPO / "scripts" / "chat.lua", listen=("http://127.0.0.1:0", "https://127.0.0.1:0"), settings=settings, wrap=wrap)


class Program:
    """A module of support/ at work in a process of its own."""

    def __init__(self, module, *args):
        self.process = subprocess.Popen([sys.executable, "-m", f"support.{module}", *map(str, args)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPO / "tests",
                                        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        self.module, self.lines, self.errors = module, Lines(self.process.stdout), Lines(self.process.stderr)
        try:
            self.wait("^ready$", 60)
        except AssertionError:
            self.end()
            raise

    def wait(self, pattern, timeout):
        try:
            return self.lines.wait(pattern, timeout)
        except AssertionError as why:
            self.errors.wait_end(1)  # where it has ended, it said why
            raise AssertionError(f"{self.module}: {why}\n{self.errors.text()}") from None

    def end(self):
        self.process.kill()
        self.process.wait()

    def finish(self, timeout):
        """Its result. The end of its input tells the hostile ones to stop."""
        self.process.stdin.close()
        try:
            return json.loads(self.wait("^{.*}$", timeout).group(0))
        finally:
            self.end()


def talk(server, ca, count, patience=30):
    """What the crowd saw, see crowd.py. `count`: messages of each, two a second."""
    urls = [url.replace("http", "ws", 1) for url in server.urls if url.startswith("http")]
    return Program("crowd", *urls, "--ca", ca, "--count", count, "--patience", patience).finish(count / 2 + patience + 30)


def ports(server):
    return [next(url for url in server.urls if url.startswith(scheme + ":")).rsplit(":", 1)[1] for scheme in ("http", "https")]


def measure(server, ca, count):
    """(the crowd alone, the crowd beside the hostile ones, what those did)"""
    alone = talk(server, ca, count)
    hostile = Program("hostile", *ports(server))
    try:
        beside = talk(server, ca, count)
    finally:
        done = hostile.finish(30)
    return alone, beside, done
