"""writes.py - the scenario `writes` of run.py: how long an echo takes while others write to the store (store.file) as fast as it goes.

Messages come at a fixed rate, far below what the server can do, so that latency shows what holds them up. Times with writes and
times without them take turns.
"""
import json
import pathlib
import sys
import tempfile
import time

import by_workers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support import server as program, storm  # noqa: E402
from support.wire import fetch  # noqa: E402

RATE = 2000  # echoes a second, over all connections
CONNECTIONS = 100
WRITERS = 64  # tasks of each worker that write
WINDOW = 0.5  # seconds with writes, then as many without
REST = 0.1  # until those are done that were begun

# What every worker does when it is told to: keys of its own, values of a hundred bytes.
WRITE = """
local value, written = ("v"):rep(100), 0
local function write(n)
  local i = 0
  while tide.state.writing do
    i = i + 1
    assert(tide.store:set(("key:%d:%d:%d"):format(tide.worker, n, i % 1000), value))
    written = written + 1
  end
end
function app.on_signal(name)
  tide.state.writing = name == "write"
  if tide.state.writing then for n = 1, WRITERS do tide.spawn(write, n) end end
end
function app.on_http(req)
  if req.path ~= "/count" then tide.signal(req.path:sub(2)) end
  return 200, { written = written }
end
"""


def alternate(server, load, count):
    """Writes a second, as one worker counts them; that is all of them where there is one."""
    written = lambda: json.loads(fetch(server.address, "/count").body)["written"]  # noqa: E731
    rates = []
    for _ in range(count):
        before, begin = written(), time.monotonic()
        load.tell("b")
        fetch(server.address, "/write")
        time.sleep(WINDOW)
        fetch(server.address, "/rest")
        rates.append((written() - before) / (time.monotonic() - begin))
        time.sleep(REST)
        load.tell("e")
        load.check()
        time.sleep(WINDOW)
    return sorted(rates)[len(rates) // 2]


def measure(bench, workers, count):
    """The thread that writes the file has a core beside those of the workers, as far as there are any."""
    with tempfile.TemporaryDirectory(prefix="moontide-", dir=bench.folder) as folder:
        script = pathlib.Path(folder, "app.lua")
        script.write_text(storm.version(1, rooms=CONNECTIONS, slow=0, app=WRITE.replace("WRITERS", str(WRITERS))))
        settings = {"workers": workers, "log.level": "warn", "store.file": f"{folder}/store.db"}
        server = program.Server(script, settings=settings, wrap=("taskset", "-c", ",".join(map(str, bench.cores[:workers + 1]))))
        bench.wait_for_quiet()
        with server, storm.Load(server.port, CONNECTIONS, CONNECTIONS, "rate", RATE,
                                wrap=("taskset", "-c", str(bench.load_core))) as load:
            load.wait("^ready$")
            time.sleep(bench.options.warm)
            rate = alternate(server, load, count)
            result = load.finish()
    return {"writes": rate, "with": result["reload"], "without": result["quiet"]}


def run(bench, progress):
    program.BIN, storm.LOAD = str(bench.servers.program), str(bench.folder / "storm_load")
    count = 4 if bench.options.quick else 20
    return by_workers.run("writes", lambda workers: measure(bench, workers, count), progress)


def rows(results):
    yield ["server", "writes/s", "latency ms p50", "p99", "max", "without: p50", "p99", "max"]
    for name, (result,) in results.items():
        if "error" in result:
            yield [name, "failed: " + result["error"]]
            continue
        times = [result[part][key] / 1000 for part in ("with", "without") for key in ("p50", "p99", "max")]
        yield [name, f"{result['writes']:,.0f}", *(f"{t:.2f}" for t in times)]
