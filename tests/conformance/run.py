#!/usr/bin/python3
"""Protocol conformance over raw sockets: every case on a connection of its own, many at a time.

    run.py [--jobs N] [--list] [--bin PATH] [PATTERN]

One line for each case that fails, with what was sent, expected and got; the last line counts.
"""
import argparse
import os
import re
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from support import certs, server as program, wire  # noqa: E402

TABLES = ("handshake", "frames", "utf8", "close", "limits", "deflate", "http")
SETTINGS = {"plain": {}, "middle": {"limits.message": 1 << 20, "limits.outbox": 4 << 20},
            "big": {"limits.message": 16 << 20, "limits.outbox": 64 << 20}}


class Bench:
    """What a case gets: ways to connect to its server."""

    def __init__(self, address, tls):
        self.address, self.tls = address, tls

    def raw(self, tls=True):
        return wire.Wire(self.address, tls=self.tls if tls else None)

    def connect(self, **how):
        return wire.Socket(self.address, tls=self.tls, **how)

    def upgrade(self, extra):
        return wire.head("/", [*wire.UPGRADE.items(), *extra])

    def connect_raw(self, request):
        """A WebSocket whose handshake is these bytes."""
        ws = wire.Socket.__new__(wire.Socket)
        wire.Wire.__init__(ws, self.address, tls=self.tls)
        ws.send(request)
        ws.response = wire.Response(ws)
        assert ws.response.status == 101, ws.response
        ws.extensions = ws.response.headers.get("sec-websocket-extensions")
        return ws

    @staticmethod
    def payload(ws, got):
        """Payload of a frame, inflated with the window that the server promised."""
        if not got.rsv:
            return got.payload
        assert got.rsv == wire.RSV1 and ws.extensions, f"{got!r} without deflate"
        bits = re.search(r"server_max_window_bits=(\d+)", ws.extensions)
        inflate = zlib.decompressobj(-int(bits.group(1)) if bits else -15)
        return inflate.decompress(got.payload + b"\0\0\xff\xff")

    @staticmethod
    def close_of(ws):
        """The close frame that waits among what the server sent."""
        while True:
            got = ws.frame()
            if got.op == wire.CLOSE:
                return got

    def still_serves(self):
        with self.connect() as ws:
            ws.text("still there?")
            ws.expect("still there?")
            ws.bye()


def run_case(case, bench):
    """None, or one line that says what went wrong."""
    try:
        case.run(bench)
        return None
    except Exception as why:  # a case may fail in any way; all of them are told the same way
        text = str(why) or type(why).__name__
        return f"FAIL {case.server}: {case.name}: {type(why).__name__ + ': ' if not isinstance(why, AssertionError) else ''}{text}"


def gather(pattern):
    for table in TABLES:
        __import__(f"conformance.{table}")
    from conformance.core import CASES
    return [c for c in CASES if re.search(pattern, f"{c.server}: {c.name}")]


def start(needed, folder):
    """The servers that these cases need: name -> (server, bench)."""
    script, running = HERE / "echo.lua", {}
    quiet = {"log.level": "warn"}
    for name in SETTINGS.keys() & needed:
        running[name] = program.Server(script, settings={**quiet, **SETTINGS[name]})
    context = None
    if "tls" in needed:
        authority = certs.Authority(folder)
        chain, key = authority.issue("server", "localhost", "127.0.0.1")
        running["tls"] = program.Server(script, "--tls", f"{chain},{key}", settings=quiet)
        context = authority.client()
    return {name: (s.start(), Bench(s.address, context if name == "tls" else None)) for name, s in running.items()}


def stop(running):
    """Lines of what went wrong at the end: each server must still live and leave with 0."""
    wrong = []
    for name, (server, _) in running.items():
        try:
            server.__exit__(None, None, None)
        except AssertionError as why:
            wrong.append(f"FAIL {name}: the server: {why}")
    return wrong


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("pattern", nargs="?", default="")
    options.add_argument("--jobs", type=int, default=32)
    options.add_argument("--list", action="store_true")
    options.add_argument("--bin", help="the program to test (else MOONTIDE_BIN, else build/moontide)")
    given = options.parse_args()
    if given.bin:
        program.BIN = os.path.abspath(given.bin)
    cases = gather(given.pattern)
    if given.list:
        print("\n".join(f"{c.server}: {c.name}" for c in cases))
        return 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="moontide-") as folder:
        running = start({c.server for c in cases}, Path(folder))
        with ThreadPoolExecutor(given.jobs) as pool:
            results = list(pool.map(lambda c: run_case(c, running[c.server][1]), cases))
        failures = [r for r in results if r] + stop(running)
    print("\n".join(failures), end="\n" if failures else "")
    total = len(cases) + len(running)
    print(f"conformance: {time.monotonic() - begin:.1f} s")
    print(f"{total - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
