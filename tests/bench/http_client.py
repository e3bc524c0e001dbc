"""http_client.py - keep-alive GETs of tide.http beside Python's aiohttp, against one local nginx: http_client.py [PROGRAM]

The client has the first core, nginx the last. Both take turns, and do the same number of requests with the same number at once.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from support.backend import Nginx  # noqa: E402
from support.wire import Socket  # noqa: E402

ROUNDS, LOADS = 5, {1: 8000, 32: 16000}  # requests by how many are under way at once
PEER = """
import asyncio, sys, time, aiohttp
async def main(url, tasks, count):
    async def ask(session):
        for _ in range(count // tasks):
            async with session.get(url) as res:
                assert res.status == 200
                await res.read()
    async with aiohttp.ClientSession() as session:
        await ask_all(session, ask, tasks)
        began, cpu = time.monotonic(), time.process_time()
        await ask_all(session, ask, tasks)
        print(time.monotonic() - began, time.process_time() - cpu)
async def ask_all(session, ask, tasks):
    await asyncio.gather(*(ask(session) for _ in range(tasks)))
asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def pinned(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def moontide(program, url, tasks, count):
    server = subprocess.Popen(pinned(0, [program, "run", HERE / "http_client.lua", "--listen", "127.0.0.1:0", "--no-watch"]),
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        port = int(server.stdout.readline().split()[-1].rsplit(b":", 1)[1])
        ws = Socket(("127.0.0.1", port), timeout=120)
        for _ in range(2):  # the first is the warm-up
            before = cpu(server.pid)
            ws.text({"type": "run", "id": 1, "url": url, "tasks": tasks, "count": count})
            seconds = ws.json()["data"]["seconds"]
        used = cpu(server.pid) - before
        ws.close_socket()
        return count / seconds, count / used
    finally:
        server.terminate()
        server.wait()


def aiohttp(url, tasks, count):
    done = subprocess.run(pinned(0, ["/usr/bin/python3", "-c", PEER, url, tasks, count]), stdout=subprocess.PIPE, check=True)
    return [count / float(seconds) for seconds in done.stdout.split()]


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else HERE.parents[1] / "build" / "moontide"
    with tempfile.TemporaryDirectory() as folder:
        os.sched_setaffinity(0, {os.cpu_count() - 1})  # nginx inherits it
        nginx = Nginx(pathlib.Path(folder) / "nginx").start()
        try:
            for tasks, count in LOADS.items():
                rates = {"moontide": [], "aiohttp": []}
                for _ in range(ROUNDS):
                    rates["moontide"].append(moontide(program, nginx.url + "/hello", tasks, count))
                    rates["aiohttp"].append(aiohttp(nginx.url + "/hello", tasks, count))
                for name, got in rates.items():
                    rate, per_cpu = zip(*got)
                    print(json.dumps({"client": name, "at_once": tasks, "per_second": round(statistics.median(rate)), "lowest": round(min(rate)),
                                      "highest": round(max(rate)), "per_cpu_second": round(statistics.median(per_cpu))}), flush=True)
        finally:
            nginx.stop()


main()
