"""Rooms full of connections that write at full speed while one version of the script after the other comes, good and bad.

The load program checks each message (tests/storm/storm.c: none lost, doubled, out of order or changed, no connection closed, all
state kept). This side saves the versions, and knows which of them should have been live, in what order.
"""
import dataclasses
import itertools
import os
import random

import pytest
from conftest import until
from support.control import Control, control
from support.server import sanitized
from support.storm import Load, version
from support.wire import fetch

CONNECTIONS, ROOMS, WINDOW = 200, 20, 4
SHORT, LONG = 60, 500  # reloads
WORKERS = (1, 4)
SETTINGS = {"reload.timeout": "50ms"}
UPGRADE = """
function app.on_upgrade(state, from)
  state.levels = state.levels or {}
  table.insert(state.levels, LEVEL)
  %s
end"""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A version of the script, and what becomes of it."""
    end: str  # live, failed, or rolled back
    why: str = ""  # what the refusal says
    by_hand: bool = False  # the rollback is asked for, where nothing is wrong
    upgrade: bool = False  # it has a higher level, and so an on_upgrade
    code: dict = dataclasses.field(default_factory=dict)  # what is put into the script


KINDS = {
    "good": Kind("live"),
    "another good": Kind("live"),
    "syntax error": Kind("failed", "app.lua:", code={"chunk": "local = 1"}),
    "endless chunk": Kind("failed", "app.lua:", code={"chunk": "while true do pcall(function() while true do end end) end"}),
    "raises in the chunk": Kind("failed", "no luck", code={"chunk": "error 'no luck'"}),
    "acts in the chunk": Kind("failed", "not while loading", code={"chunk": "tide.broadcast 'all'"}),
    "handler of a wrong name": Kind("failed", "on_mesage", code={"app": "app.on_mesage = app.on_message"}),
    "upgrades": Kind("live", upgrade=True, code={"app": UPGRADE % "return state"}),
    "raises in on_upgrade": Kind("failed", "no way", upgrade=True, code={"app": UPGRADE % "state.total = 0 error 'no way'"}),
    "on_upgrade returns nothing": Kind("failed", "on_upgrade", upgrade=True, code={"app": UPGRADE % "state.total = 0"}),
    "raises": Kind("rolled back", code={"message": "error 'always'"}),
    "raises now and then": Kind("rolled back", code={"message": "if math.random(4) == 1 then error 'sometimes' end"}),
    "raises after waiting": Kind("rolled back", code={"message": "tide.sleep(0.001) error 'late'"}),
    "upgrades and raises": Kind("rolled back", upgrade=True, code={"app": UPGRADE % "return state", "message": "error 'always'"}),
    "taken back": Kind("rolled back", by_hand=True),
}


@dataclasses.dataclass(frozen=True)
class Version:
    generation: int
    level: int
    hash: str


class Storm:
    """The reloads of one run, one after the other."""

    def __init__(self, server, load, seed):
        self.server, self.load, self.random = server, load, random.Random(seed)
        self.admin = Control(control(server))
        self.saved = 1  # generation
        self.live = Version(1, 1, self.admin.ask("status")["version"])
        self.timeline, self.hashes = [1], {"1": self.live.hash}
        self.levels = []  # the upgrades of the state that hold
        self.ends = {"live": 0, "failed": 0, "rolled back": 0}

    def reload(self, name):
        kind, before, levels = KINDS[name], self.live, self.levels
        self.saved += 1
        level = before.level + kind.upgrade
        self.server.script.write_text(version(self.saved, level, **kind.code))
        answer = self.admin.ask("reload")
        if kind.end == "failed":
            self.check_refusal(kind, answer)
        else:
            self.go_live(answer, Version(self.saved, level, answer["version"]))
        if (kind.end == "live" or kind.by_hand) and self.random.random() < 0.7:  # else the next comes before any of it is heard
            self.load.wait(f"^seen {self.saved}$")
        if kind.end == "rolled back":
            self.go_back(kind, before, levels)
        self.load.check()
        assert self.admin.ask("status")["version"] == self.live.hash, name
        self.ends[kind.end] += 1

    def check_refusal(self, kind, answer):
        assert not answer["ok"] and answer["version"] == self.live.hash and kind.why in answer["error"], answer
        assert self.admin.ask("versions")["versions"][0]["result"] == "failed"

    def go_live(self, answer, fresh):
        assert answer["ok"] and fresh.hash not in self.hashes.values(), answer
        self.timeline.append(fresh.generation)
        self.hashes[str(fresh.generation)] = fresh.hash
        if fresh.level > self.live.level:
            self.levels = [*self.levels, fresh.level]
        self.live = fresh

    def go_back(self, kind, before, levels):
        if kind.by_hand:
            answer = self.admin.ask("rollback")
            assert answer["ok"] and answer["version"] == before.hash, answer
        until(lambda: self.admin.ask("status")["version"] == before.hash, timeout=30, what=f"the rollback of {self.live}")
        results = {v["version"]: v["result"] for v in reversed(self.admin.ask("versions")["versions"])}
        assert results[self.live.hash] == "rolled back" and results[before.hash] == "live", results
        self.live, self.levels = before, levels
        self.timeline.append(before.generation)


def walk(path, timeline):
    """Whether a connection that saw these generations, each other than the one before, was never led back but by a rollback."""
    at = 0
    for generation in path:
        while at < len(timeline) and timeline[at] != generation:
            at += 1
        if at == len(timeline):
            return False
    return True


def test_walk():
    assert walk([1, 3], [1, 2, 3]) and walk([1, 2, 1, 3], [1, 2, 1, 3]) and walk([1, 3], [1, 2, 1, 3])
    assert not walk([2, 1], [1, 2, 3]) and not walk([1, 2, 1, 2], [1, 2, 1, 3]) and not walk([4], [1, 2])


def check_result(storm, result, workers):
    """What the load and the server say at the end is what the reloads should have led to."""
    assert result["generation"] == storm.live.generation
    assert result["hashes"].items() <= storm.hashes.items()
    for number, path in enumerate(result["paths"]):
        assert path[-1] == storm.live.generation
        assert walk(path, storm.timeline), f"connection {number} saw {path} while {storm.timeline} were live"
    assert len(result["workers"]) == workers and sum(result["workers"]) == result["answered"]
    assert result["sent"] == result["answered"] + result["failed"]
    assert (result["failed"] > 0) == (storm.ends["rolled back"] > 0)
    assert fetch(storm.server.address, "/").json() == {"levels": storm.levels}


def check_server(storm, answered):
    status = storm.admin.ask("status")
    reloads, net = status["reloads"], status["net"]
    assert (reloads["ok"], reloads["failed"]) == (storm.ends["live"] + storm.ends["rolled back"], storm.ends["failed"])
    assert net["refused"] == net["dropped"] == net["overflowed"] == net["malformed"] == 0
    assert status["handlers"]["events"] >= answered


def run(serve, reloads, workers):
    seed = int(os.environ.get("STORM_SEED", random.randrange(1 << 30)))
    print(f"STORM_SEED={seed}")  # shown where the test fails
    patient = {"reload.pause": "10s"} if sanitized() else {}  # a turn takes ten times as long there
    server = serve(version(1), settings={**SETTINGS, **patient, "workers": workers})
    with Load(server.port, CONNECTIONS, ROOMS, "window", WINDOW) as load:
        load.wait("^ready$")
        storm = Storm(server, load, seed)
        kinds = [name for name in KINDS if name != "endless chunk" or not sanitized(["tsan"])]  # nothing is killed there
        names = list(itertools.islice(itertools.cycle(kinds), reloads))  # each kind equally often
        storm.random.shuffle(names)
        for name in names:
            storm.reload(name)
        storm.reload("good")
        result = load.finish()
    check_result(storm, result, workers)
    check_server(storm, result["answered"])
    print(f"{reloads + 1} reloads in {result['seconds']:.1f} s: {storm.ends}; {result['answered']} messages, "
          f"{result['delivered']} deliveries, {result['failed']} failed")


@pytest.mark.parametrize("workers", WORKERS)
def test_storm(serve, workers):
    run(serve, SHORT // 4 if sanitized() else SHORT, workers)


@pytest.mark.slow
@pytest.mark.parametrize("workers", WORKERS)
def test_long_storm(serve, workers):
    run(serve, LONG, workers)


# ---- the load program itself: it finds out whoever does wrong ----

TWICE = """local head = stamp(conn)
  for _ = 1, 2 do tide.room(conn.data.room):send("R " .. head .. text) end
  return conn:send("A " .. head .. text)"""
LATE = """local head = stamp(conn)
  tide.after(0.01, function() tide.room(conn.data.room):send("R " .. head .. text) end)
  return conn:send("A " .. head .. text)"""
SENT = "tide.room(conn.data.room):send('R ' .. stamp(conn) .. text) "
TO_ALL_BUT_ONE = """local head, room = stamp(conn), tide.room(conn.data.room)
  local other = room:members()[1].id ~= conn.id and 1 or 2
  room:send("R " .. head .. text, { except = tide.conn(room:members()[other].id) })
  return conn:send("A " .. head .. text)"""
WRONG = {  # what happens to message 40: how the load calls it
    "lost": ("return conn:send('A ' .. stamp(conn) .. text)", "message 40 was answered before it came"),
    "lost to one": (TO_ALL_BUT_ONE, r"message 40 of \d+ was lost"),
    "doubled": (TWICE, r"message 40 of \d+ came twice or late"),
    "late": (LATE, "message 40 was answered before it came"),
    "not answered": (SENT + "return", "the answer to message 41, not to 40"),
    "failed and sent": (SENT + "conn.data.count = conn.data.count - 1 error 'x'",
                        r"message 40 of \d+ came although it failed"),
    "changed": ("text = text:upper()", "a message that nobody sent"),
    "to another room": ("if conn.data.room == 'room 2' then conn.data.room = 'room 1' end",
                        "who is in another room|message 40 was answered before it came"),  # whichever is read first
    "refused": ("return nil, 'not now', 'denied'", '"code":"denied"'),
    "closed": ("conn:close(4000, 'enough')", "close code 4000 'enough'"),
    "conn.data lost": ("conn.data.count = 1", "conn.data counts 2 messages after"),
    "tide.state lost": ("tide.state.total = tide.state.total - 1", r"worker 1: tide.state counts \d+ messages of \d+"),
    "version of two hashes": ("tide.version = 'fedcba98'", "generation 1 is version fedcba98 here and"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_server_is_found_out(serve, name):
    code, why = WRONG[name]
    server = serve(version(1, message=f"if number == 40 then {code} end"), settings={**SETTINGS, "log.level": "off"})
    with Load(server.port, CONNECTIONS, ROOMS, "window", WINDOW) as load:
        load.wait("^ready$")
        admin = Control(control(server))
        until(lambda: load.process.poll() is not None or admin.ask("status")["net"]["messages_in"] > 100 * CONNECTIONS, 30,
              "message 40")
        with pytest.raises(AssertionError, match=why):
            load.finish()
