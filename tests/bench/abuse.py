"""abuse.py - the scenario `abuse` of run.py: how long the messages of a chat take beside 200 hostile clients, and without them.

The server stays on processors of its own as the others do in this benchmark; crowd and hostile clients share what there is, and the hostile
ones yield.
"""
import pathlib
import sys
import tempfile

import by_workers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support import abuse, certs, server as program  # noqa: E402


def measure(bench, workers, count):
    with tempfile.TemporaryDirectory(prefix="moontide-") as folder:
        authority = certs.Authority(pathlib.Path(folder))
        chain, key = authority.issue("server", "127.0.0.1")
        cores = ",".join(map(str, bench.cores[:workers]))
        bench.wait_for_quiet()
        with abuse.start(chain, key, workers, wrap=("taskset", "-c", cores)) as server:
            alone, beside, hostile = abuse.measure(server, authority.root[0], count)
    return {"alone": alone, "beside": beside, "hostile": hostile["done"]}


def run(bench, progress):
    program.BIN = str(bench.servers.program)
    count = 12 if bench.options.quick else 60
    return by_workers.run("abuse", lambda workers: measure(bench, workers, count), progress)


def rows(results):
    yield ["server", "messages", "lost", "ms p50", "p99", "max", "alone: p50", "p99", "max", "hostile: connections", "messages"]
    for name, (result,) in results.items():
        if "error" in result:
            yield [name, "failed: " + result["error"]]
            continue
        beside, done = result["beside"], dict(result["hostile"])
        messages = sum(done.pop(key, 0) for key in list(done) if " " in key)
        times = [result[part][key] for part in ("beside", "alone") for key in ("p50", "p99", "max")]
        yield [name, f"{beside['delivered']:,}", str(beside["lost"]), *(f"{t:.1f}" for t in times), f"{sum(done.values()):,}",
               f"{messages:,}"]
