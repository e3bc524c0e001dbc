"""Clients that must just work: Python websockets and aiohttp, curl, Node's ws and wscat."""
import asyncio
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import aiohttp
import pytest
import websockets

HERE = Path(__file__).resolve().parent
MODULES = Path(os.environ.get("NODE_PATH") or HERE.parents[1] / "build" / "node" / "node_modules")
ECHO = """
local app = { protocols = { "chat" } }
function app.on_message(conn, text) conn:send(text) end
function app.on_binary(conn, bytes) conn:send_binary(bytes) end
function app.on_http(req) return 200, { path = req.path, got = req.body } end
return app
"""


def node(*args, timeout=60, **options):
    assert (MODULES / "ws").is_dir(), f"no npm modules in {MODULES}; ./dev test installs them"
    return subprocess.run(["node", *map(str, args)], env={**os.environ, "NODE_PATH": str(MODULES)}, timeout=timeout, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


# ---- Python ----

def test_websockets_messages(serve):
    server = serve(ECHO)

    async def talk():
        async with websockets.connect(server.ws_url, subprotocols=["chat"]) as ws:
            assert ws.subprotocol == "chat"
            for message in ("Test message", "", "κόσμε", "x" * 60000, b"\0\xff" * 1000, b""):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["one ", "two ", "three"])  # fragments
            assert await ws.recv() == "one two three"
            await asyncio.wait_for(await ws.ping("hello"), 5)
        assert ws.close_code == 1000
    asyncio.run(talk())


def test_websockets_without_compression_and_many(serve):
    server = serve(ECHO)

    async def one(n):
        async with websockets.connect(server.ws_url, compression=None) as ws:
            for i in range(20):
                await ws.send(f"{n}:{i}")
            assert [await ws.recv() for _ in range(20)] == [f"{n}:{i}" for i in range(20)]

    async def all_of_them():
        await asyncio.gather(*[one(n) for n in range(50)])
    asyncio.run(all_of_them())


def test_aiohttp(serve):
    server = serve(ECHO)

    async def talk():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(server.url, compress=15, heartbeat=0.2, protocols=["chat"]) as ws:
                assert ws.protocol == "chat"
                await ws.send_str("x" * 5000)
                assert (await ws.receive_str(timeout=5)) == "x" * 5000
                await ws.send_bytes(b"\xff\0")
                assert (await ws.receive_bytes(timeout=5)) == b"\xff\0"
                await ws.close(code=4000, message=b"bye")
                assert ws.close_code == 4000
            async with session.get(server.url + "/page?x=1") as response:
                assert response.status == 200 and (await response.json())["path"] == "/page"
            async with session.post(server.url + "/form", data=b"body") as response:
                assert (await response.json())["got"] == "body"

            async def chunks():
                for part in (b"a" * 1000, b"b" * 1000):
                    yield part
            async with session.post(server.url, data=chunks()) as response:
                assert (await response.json())["got"] == "a" * 1000 + "b" * 1000
    asyncio.run(talk())


# ---- curl ----

def test_curl_handshake(serve):
    """The handshake that people type to look at a server. curl shows the head once the first frame comes."""
    server = serve('return { on_open = function(conn) conn:send "hello curl" end }')
    curl = subprocess.Popen(["curl", "-sS", "-i", "-N", "--http1.1", "-m", "20", "-H", "Connection: Upgrade", "-H",
                             "Upgrade: websocket",
                             "-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                             server.url + "/"],
                            stdout=subprocess.PIPE)
    try:
        shown = b""
        while b"hello curl" not in shown:
            got = os.read(curl.stdout.fileno(), 4096)
            assert got, shown
            shown += got
    finally:
        curl.kill()
        curl.wait()
    assert shown.startswith(b"HTTP/1.1 101 ")
    assert re.search(rb"(?i)^sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r$", shown, re.M)


def test_curl_http(serve):
    server = serve(ECHO)

    def curl(*args, data=""):
        return subprocess.run(["curl", "-sS", "-m", "20", *args], check=True, stdout=subprocess.PIPE,
                              input=data.encode()).stdout.decode()

    assert '"path":"/a"' in curl(server.url + "/a")
    assert '"got":"x=1"' in curl("-d", "x=1", server.url + "/a")
    assert curl("-I", server.url + "/a").startswith("HTTP/1.1 200 OK")
    assert '"path":"/a"' in curl("--http2", server.url + "/a")  # asks for h2c and must not get it
    big = "y" * 200000  # curl asks with Expect: 100-continue before it sends this much
    assert big in curl("--data-binary", "@-", "-H", "Expect: 100-continue", server.url + "/a", data=big)
    refused = curl("-i", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 8", server.url)
    assert refused.startswith("HTTP/1.1 4") and "13" in refused


# ---- Node ----

def test_node_ws(serve):
    done = node(HERE / "node" / "ws_client.js", serve(ECHO).ws_url)
    assert done.returncode == 0 and done.stdout.count("\nok") + done.stdout.startswith("ok") == 5, done.stdout


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(NODE_PATH=str(MODULES), TERM="dumb")
            os.execvp(command[0], command)
        self.text = ""

    def expect(self, pattern, timeout=20):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"{pattern!r} is not in what the terminal shows:\n{self.text}"
            try:
                self.text += os.read(self.fd, 4096).decode("utf-8", "replace")
            except OSError:
                raise AssertionError(f"the program ended without {pattern!r}:\n{self.text}") from None

    def type(self, line):
        os.write(self.fd, line.encode() + b"\r")

    def end(self):
        """Ctrl-C, then the exit status."""
        os.write(self.fd, b"\x03")
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return status
            try:
                if select.select([self.fd], [], [], 0.05)[0]:
                    os.read(self.fd, 4096)
            except OSError:
                pass
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        raise AssertionError("wscat does not end")


@pytest.fixture
def wscat():
    program = MODULES / "wscat" / "bin" / "wscat"
    assert program.exists(), f"no wscat in {MODULES}; ./dev test installs it"
    return lambda *args: Terminal("node", str(program), *args)


def test_wscat(serve, wscat):
    server = serve(ECHO)
    terminal = wscat("-c", f"ws://localhost:{server.port}")
    terminal.expect("Connected")
    terminal.type("hello there")
    terminal.expect(r"< .*hello there")
    terminal.end()


def test_wscat_with_a_token(serve, shipped, wscat):
    """The second line of the manual: -H "Authorization: Bearer token123" against the script that wants one."""
    server = serve(shipped / "auth.lua")
    terminal = wscat("-c", f"ws://localhost:{server.port}", "-H", "Authorization: Bearer token123")
    terminal.expect("Connected")
    terminal.end()
    refused = wscat("-c", f"ws://localhost:{server.port}", "-H", "Authorization: Bearer wrong")
    refused.expect("401")
    refused.end()
