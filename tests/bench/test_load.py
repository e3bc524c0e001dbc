"""The load generator must work against a right server, and must not accept what a wrong one sends.

BENCH_FOLDER is where bench_load and bench_floor were built.
"""
import asyncio
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest
import websockets

FOLDER = pathlib.Path(os.environ["BENCH_FOLDER"])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def load(port, scenario, *more, seconds=0.5):
    command = [FOLDER / "bench_load", "--port", str(port), "--scenario", scenario, "--warm", "0", "--seconds", str(seconds)]
    command += more
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def start_floor(*arguments):
    port = free_port()
    process = subprocess.Popen([FOLDER / "bench_floor", str(port), *arguments])
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, port
        except ConnectionRefusedError:
            time.sleep(0.01)
    process.kill()
    raise TimeoutError("bench_floor does not listen")


@pytest.fixture
def floor(request):
    process, port = start_floor(*request.param)
    yield process, port
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x",
                    "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def rate_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rate"]


@pytest.mark.parametrize("floor", [("echo",)], indirect=True)
@pytest.mark.parametrize("more", [("--window", "1"), ("--window", "16"), ("--size", "200"), ("--size", "4096", "--window", "8")])
def test_echo(floor, more):
    assert rate_of(load(floor[1], "echo", "--connections", "10", *more)) > 0


def test_echo_over_tls(pair):
    process, port = start_floor("echo", *pair)
    try:
        assert rate_of(load(port, "echo", "--connections", "10", "--tls", "--window", "16")) > 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("floor", [("room",)], indirect=True)
def test_room(floor):
    assert rate_of(load(floor[1], "room", "--connections", "50", "--window", "4")) > 0


@pytest.mark.parametrize("floor", [("echo",)], indirect=True)
def test_connect(floor):
    assert rate_of(load(floor[1], "connect", "--connections", "4")) > 0


@pytest.mark.parametrize("floor", [("echo",)], indirect=True)
def test_idle(floor):
    done = load(floor[1], "idle", "--connections", "500", "--pid", str(floor[0].pid))
    assert done.returncode == 0, done.stderr
    assert 0 < json.loads(done.stdout)["bytes"] < 4096


class LyingServer(threading.Thread):
    """A server whose answer to a text message is what `answer(number of the message, text)` returns; None closes."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.answer, self.port = answer, free_port()
        self.ready, self.loop = threading.Event(), asyncio.new_event_loop()

    async def serve(self, connection):
        number = 0
        async for text in connection:
            out = self.answer(number, text)
            number += 1
            if out is None:
                return
            await connection.send(out)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(websockets.serve(self.serve, "127.0.0.1", self.port, compression=None))
        self.ready.set()
        self.loop.run_forever()


def changed(number, text):
    return text[:-1] + "!" if number == 5 else text


def shorter(number, text):
    return text[:-1] if number == 5 else text


def repeated(number, text):
    return repeated.last if number == 5 else setattr(repeated, "last", text) or text


def binary(number, text):
    return text.encode() if number == 5 else text


def closing(number, text):
    return None if number == 5 else text


@pytest.mark.parametrize("answer, reason", [
    (changed, "came back changed"), (shorter, "came back changed"), (repeated, "got message 4 of 0, not its own number 5"),
    (binary, "unexpected frame 0x82"), (closing, "unexpected frame 0x88"),
])
def test_a_wrong_server_is_found_out(answer, reason):
    server = LyingServer(answer)
    server.start()
    assert server.ready.wait(10)
    done = load(server.port, "echo", "--connections", "1", seconds=30)  # ends at the first wrong answer
    server.loop.call_soon_threadsafe(server.loop.stop)
    assert done.returncode == 1
    assert reason in done.stderr
