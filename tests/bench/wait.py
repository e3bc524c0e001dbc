"""wait.py - the scenario `wait` of run.py: what a call that waits costs beside one that does not.

The same echo with one more call in its handler. What a call costs is the processor time of the server for each message, beyond that
of the plain echo in the same round.
"""
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support import server as program  # noqa: E402

PLAIN = "plain echo"
CALLS = {  # name: what the handler does before it answers
    PLAIN: "",
    "a function called through pcall": "pcall(work, 1)",
    "tide.spawn": "tide.spawn(work, 1)",
    "tide.spawn and join": "tide.spawn(work, 1):join()",
    "tide.timeout": "tide.timeout(1, work, 1)",
    "queue:put": "assert(queue:put(1) or true)",
    "tide.sleep(0)": "tide.sleep(0)",
    "store in memory, get": "memory:get(conn.id)",
    "store in memory, set": "memory:set(conn.id, text)",
}
DURABLE = {  # with store.file
    "store in a file, get (hot)": "tide.store:get 'hot'",
    "store in a file, set": "assert(tide.store:set(conn.id, text))",
}
SCRIPT = """
local tide = require "moontide"
local app = {}
local function work(n) return n end
local queue = tide.queue(work)
local memory = tide.store:open("bench", { memory = true })
%s
function app.on_message(conn, text)
  %s
  conn:send(text)
end
return app
"""
PREPARE = "function app.on_start() assert(tide.store:set('hot', 'value')) end"


def has_file_store(binary):
    told = subprocess.run([binary, "help", "config"], capture_output=True, text=True, check=False).stdout
    return re.search(r"\bstore\.file\b", told) is not None


def measure(bench, scenario, prepare, call):
    with tempfile.TemporaryDirectory(prefix="moontide-") as folder:
        script = pathlib.Path(folder, "app.lua")
        script.write_text(SCRIPT % (prepare, call))
        settings = {"log.level": "warn", **({"store.file": f"{folder}/store.db"} if prepare else {})}
        server = program.Server(script, settings=settings, wrap=("taskset", "-c", str(bench.cores[0])))
        bench.wait_for_quiet()
        try:
            with server:
                return bench.load(scenario, server.port, server.process.pid)
        except (AssertionError, OSError, RuntimeError) as error:
            return {"error": str(error).split("\n", 1)[0]}


def run(bench, scenario, progress):
    """{call: [results]}, one per round, the calls taking turns."""
    program.BIN = str(bench.servers.program)
    calls = {name: ("", call) for name, call in CALLS.items()}
    if has_file_store(program.BIN):
        calls.update({name: (PREPARE, call) for name, call in DURABLE.items()})
    results = {name: [] for name in calls}
    for number in range(bench.options.rounds):
        for name, (prepare, call) in calls.items():
            progress(f"wait: round {number + 1} of {bench.options.rounds}, {name}")
            results[name].append(measure(bench, scenario, prepare, call))
    progress("")
    return results


def micros(result):
    """Processor time of the server for one message, in microseconds."""
    return result["server_cpu"] / result["rate"] * 1e6


def rows(results):
    yield ["handler", "echoes/s", "of plain", "CPU us/message", "us for the call", "spread", "server core"]
    plain = results[PLAIN]
    for name, rounds in results.items():
        pairs = [(micros(r), micros(p), r, p) for r, p in zip(rounds, plain) if "error" not in r and "error" not in p]
        if not pairs:
            yield [name, "failed: " + next((r["error"] for r in rounds + plain if "error" in r), "no result")]
            continue
        costs = [cost for cost, *_ in pairs]
        yield [name, f"{statistics.median(r['rate'] for _, _, r, _ in pairs):,.0f}",
               f"{statistics.median(r['rate'] / p['rate'] for _, _, r, p in pairs):.2f}", f"{statistics.median(costs):.2f}",
               "" if name == PLAIN else f"{statistics.median(cost - base for cost, base, _, _ in pairs):.2f}",
               f"{(max(costs) - min(costs)) / statistics.median(costs):.0%}",
               f"{statistics.median(r['server_cpu'] for _, _, r, _ in pairs):.0%}"]
