"""The load program of the reload storm (tests/storm) and the versions of the script that it talks to."""
import json
import os
import subprocess
from pathlib import Path

from support.server import REPO, Lines

LOAD = os.environ.get("MOONTIDE_STORM") or str(REPO / "build" / "bench" / "storm_load")
SCRIPT = (REPO / "tests" / "storm" / "storm.lua").read_text()


def _put(text, old, new):
    assert text.count(old) == 1, f"storm.lua has no {old!r}"
    return text.replace(old, new)


def version(generation, level=1, rooms=20, slow=16, chunk="", message="", app=""):
    """A script of its own generation, with Lua code put into the chunk, its handler of messages, and behind its handlers."""
    text = _put(SCRIPT, "GENERATION = 1\n", f"GENERATION = {generation}\n")
    text = _put(text, "LEVEL = 1 ", f"LEVEL = {level} ")
    text = _put(text, "ROOMS <const> = 20\n", f"ROOMS <const> = {rooms}\n")
    text = _put(text, "SLOW <const> = 16 ", f"SLOW <const> = {slow} ")
    for place, code in (("chunk", chunk), ("message", message), ("app", app)):
        text = _put(text, f"-- HERE: {place}\n", code + "\n")
    return text


class Load:
    """One run of the load program. Leaving `with` without `finish` ends it at once."""

    def __init__(self, port, connections, rooms, *how, wrap=()):
        command = [*wrap, LOAD, str(port), str(connections), str(rooms), *map(str, how)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out, self.errors = Lines(self.process.stdout), Lines(self.process.stderr)

    def wait(self, pattern, timeout=60):
        """A line of it; where it has ended instead, its reason."""
        try:
            return self.out.wait(pattern, timeout)
        except AssertionError:
            self.check()
            raise

    def check(self):
        """It still runs: nothing wrong was seen so far."""
        if self.process.poll() is not None:
            self.errors.wait_end(5)
            raise AssertionError(f"the load ended with {self.process.returncode}: {self.errors.text()}")

    def tell(self, word):
        self.process.stdin.write(word.encode())
        self.process.stdin.flush()

    def finish(self, timeout=120):
        """No more is sent; when all has come: the result."""
        self.process.stdin.close()
        code = self.process.wait(timeout)
        self.out.wait_end(5)
        self.errors.wait_end(5)
        assert code == 0, f"the load ended with {code}: {self.errors.text()}"
        return json.loads(self.out.lines[-1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
