"""reload.py - the scenario `reload` of run.py: what a reload costs those who are connected.

Messages come at a fixed rate, far below what the server can do, so that latency shows what holds them up and not how long the
queue is. After each reload comes the same time without one, to compare with.
"""
import dataclasses
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support import server as program, storm  # noqa: E402
from support.control import Control, control  # noqa: E402

RATE = 2000  # messages a second, each to a room of 10
WINDOW = 0.05  # seconds: one such with a reload, then one without


@dataclasses.dataclass(frozen=True)
class Crowd:
    workers: int
    connections: int
    rooms: int

    @property
    def name(self):
        return f"{self.workers} worker{'s' * (self.workers > 1)}, {self.connections:,} connections, {self.rooms:,} rooms"


CROWDS = (Crowd(1, 200, 20), Crowd(1, 10000, 1000), Crowd(2, 200, 20), Crowd(2, 10000, 1000))


def pinned(*cores):
    return ("taskset", "-c", ",".join(map(str, cores)))


def reloads(server, script, load, crowd, count):
    """The pauses in milliseconds as the server tells them."""
    admin, pauses = Control(control(server)), []
    for generation in range(2, count + 2):
        script.write_text(storm.version(generation, rooms=crowd.rooms, slow=0))
        begin = time.monotonic()
        load.tell("wb")
        answer = admin.ask("reload")
        load.tell("e")
        load.check()
        if not answer["ok"]:
            raise RuntimeError(answer["error"])
        time.sleep(max(0, begin + WINDOW - time.monotonic()))
        load.tell("w")
        pauses.append(admin.ask("status")["reloads"]["pause_ms"])
        time.sleep(WINDOW)
    load.tell("w")
    return pauses


def measure(bench, crowd, count):
    with tempfile.TemporaryDirectory(prefix="moontide-") as folder:
        script = pathlib.Path(folder, "app.lua")
        script.write_text(storm.version(1, rooms=crowd.rooms, slow=0))
        server = program.Server(script, settings={"workers": crowd.workers, "log.level": "warn"},
                                wrap=pinned(*bench.cores[:crowd.workers]))
        bench.wait_for_quiet()
        with server, storm.Load(server.port, crowd.connections, crowd.rooms, "rate", RATE, wrap=pinned(bench.load_core)) as load:
            load.wait("^ready$")
            time.sleep(bench.options.warm)
            pauses = reloads(server, script, load, crowd, count)
            result = load.finish()
    return {"pauses": pauses, **{key: result[key] for key in ("quiet", "reload", "gaps")}}


def run(bench, progress):
    """{crowd: [result]}"""
    program.BIN, storm.LOAD = str(bench.servers.program), str(bench.folder / "storm_load")
    count, results = 40 if bench.options.quick else 200, {}
    for crowd in CROWDS:
        progress(f"reload: {crowd.name}")
        try:
            results[crowd.name] = [measure(bench, crowd, count)]
        except (AssertionError, OSError, RuntimeError) as error:
            results[crowd.name] = [{"error": str(error).split("\n", 1)[0]}]
    progress("")
    return results


def shares(values, scale, *parts):
    values = sorted(values)
    return [f"{values[int((len(values) - 1) * part)] / scale:.2f}" for part in parts]


def rows(results):
    yield ["server", "reloads", "pause ms p50", "p99", "max", "silence ms p99", "max", "without: p99", "max", "latency ms p99",
           "without"]
    for name, (result,) in results.items():
        if "error" in result:
            yield [name, "failed: " + result["error"]]
            continue
        gaps = result["gaps"][1:]  # the first window ended with the first reload
        yield [name, str(len(result["pauses"])), *shares(result["pauses"], 1, 0.5, 0.99, 1), *shares(gaps[::2], 1000, 0.99, 1),
               *shares(gaps[1::2], 1000, 0.99, 1), f"{result['reload']['p99'] / 1000:.2f}", f"{result['quiet']['p99'] / 1000:.2f}"]
