"""run.py - measures Moontide beside other servers; `./dev bench` starts it.

Every number comes from one run on one machine: the server has one core, the load generator another, and the servers take
turns (A B C, A B C, ...), so that whatever else the machine does hits all of them alike. docs/benchmark.md says how to read it.
"""
import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import resource
import socket
import statistics
import subprocess
import sys
import time

import abuse
import reload
import wait
import writes

HERE = pathlib.Path(__file__).resolve().parent
START_TIMEOUT = 15
WORKERS = {"moontide-2": 2}  # of servers that have more than one
BUSY = 0.1  # share of a core that other programs may use before a measurement counts as disturbed


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    unit: str  # what is counted
    mode: str  # which program the servers run: echo or room
    load: tuple  # arguments of the load generator
    tls: bool = False
    also: tuple = ()  # servers that are measured in this scenario and not in every one


SCENARIOS = (
    Scenario("echo-1", "Echo, 100 connections, 1 message of 32 bytes in flight on each", "echoes", "echo",
             ("echo", "--connections", "100", "--window", "1")),
    Scenario("echo-16", "Echo, 100 connections, 16 messages of 32 bytes in flight on each", "echoes", "echo",
             ("echo", "--connections", "100", "--window", "16"), also=("moontide-2",)),
    Scenario("room-1", "Room of 1,000, 10 publishers with 1 message of 32 bytes in flight each", "deliveries", "room",
             ("room", "--connections", "1000", "--publishers", "10", "--window", "1")),
    Scenario("room-16", "Room of 1,000, 10 publishers with 16 messages of 32 bytes in flight each", "deliveries", "room",
             ("room", "--connections", "1000", "--publishers", "10", "--window", "16"), also=("moontide-2",)),
    Scenario("connect", "Connect, upgrade, close: 32 clients in a loop", "connections", "echo",
             ("connect", "--connections", "32")),
    Scenario("idle", "Memory of an idle connection, 10,000 of them", "bytes", "echo", ("idle", "--connections", "10000")),
    Scenario("tls-echo-1", "Echo over TLS 1.3, 100 connections, 1 message of 32 bytes in flight on each", "echoes", "echo",
             ("echo", "--connections", "100", "--window", "1"), tls=True),
    Scenario("tls-echo-16", "Echo over TLS 1.3, 100 connections, 16 messages of 32 bytes in flight on each", "echoes", "echo",
             ("echo", "--connections", "100", "--window", "16"), tls=True),
    Scenario("wait", "Echo with one more call in its handler, 100 connections, 16 messages of 32 bytes in flight on each", "echoes",
             "wait", ("echo", "--connections", "100", "--window", "16")),
    Scenario("writes", "2,000 echoes a second while others write to the store", "", "writes", ()),
    Scenario("abuse", "A chat of 100 people beside 200 hostile clients", "", "abuse", ()),
    Scenario("reload", "Reloads of a script while its rooms are busy", "", "reload", ()),
)

OWN_WAYS = {"abuse": abuse, "reload": reload, "wait": wait, "writes": writes}  # of measuring, each in a file of its own


class Servers:
    """The programs that can be measured: name -> command line."""

    def __init__(self, folder, program):
        self.folder, self.program = folder, program
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        self.bun = folder / "node_modules/.bin/bun"
        self.commands = {"floor": self.floor, "moontide": self.moontide, "moontide-2": self.moontide_2, "bun": self.bun_server,
                         "ws": self.ws, "python": self.python}

    def pair(self, tls):
        return [str(self.certificate), str(self.key)] if tls else []

    def floor(self, port, mode, tls):
        return [str(self.folder / "bench_floor"), port, mode, *self.pair(tls)]

    def moontide(self, port, mode, tls):
        extra = ["--tls", ",".join(self.pair(tls))] if tls else []
        return [str(self.program), "run", str(HERE / f"{mode}.lua"), "--listen", f"127.0.0.1:{port}", "--no-watch", *extra]

    def moontide_2(self, port, mode, tls):
        return [*self.moontide(port, mode, tls), "--workers", "2"]

    def bun_server(self, port, mode, tls):
        return [str(self.bun), str(HERE / "bun_server.mjs"), port, mode, *self.pair(tls)]

    def ws(self, port, mode, tls):
        return ["node", str(HERE / "ws_server.mjs"), port, mode, *self.pair(tls)]

    def python(self, port, mode, tls):
        return [sys.executable, str(HERE / "python_server.py"), port, mode, *self.pair(tls)]

    def versions(self):
        asked = {"moontide": [str(self.program), "--version"], "bun": [str(self.bun), "--version"], "node": ["node", "--version"],
                 "python": [sys.executable, "--version"],
                 "websockets": [sys.executable, "-c", "import websockets.version as v; print(v.version)"]}
        return {name: first_line(command) for name, command in asked.items()} | {"ws": self.ws_version()}

    def ws_version(self):
        file = self.folder / "node_modules/ws/package.json"
        return json.loads(file.read_text())["version"] if file.exists() else None


def first_line(command):
    with contextlib.suppress(OSError, subprocess.SubprocessError, IndexError):
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.split("\n")[0].strip()
    return None


def pick_cores():
    """(cores for servers, one for each of their threads; core of the load generator)"""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        print("only one core: server and load generator share it, so the numbers mean little")
    elif len(cores) == 2:
        print("two cores: a server with two workers shares one of them with the load generator")
    return cores, cores[-1]


def on_cores(cores):
    def prepare():
        os.sched_setaffinity(0, cores)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return prepare


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until_listening(process, port):
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"ended at once with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"does not listen after {START_TIMEOUT} s")


@contextlib.contextmanager
def running(command, port, cores, folder, log):
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   preexec_fn=on_cores(cores))
    try:
        wait_until_listening(process, port)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def busy_seconds():
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[i]) for i in (0, 1, 2, 5, 6)) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, options, servers):
        self.options, self.servers = options, servers
        self.folder = servers.folder
        self.cores, self.load_core = pick_cores()

    def wait_for_quiet(self):
        """Wait until other programs use less than BUSY of a core, but not for ever: the table says how busy it was."""
        end = time.monotonic() + self.options.patience
        while time.monotonic() < end:
            before = busy_seconds()
            time.sleep(0.3)
            if (busy_seconds() - before) / 0.3 < BUSY:
                return

    def measure(self, name, scenario):
        """One measurement: what the load generator printed, or {"error": why}."""
        port = free_port()
        command = self.servers.commands[name](str(port), scenario.mode, scenario.tls)
        log = self.folder / f"{name}.log"
        self.wait_for_quiet()
        try:
            with running(command, port, self.cores[:WORKERS.get(name, 1)], self.folder, log) as process:
                return self.load(scenario, port, process.pid)
        except (OSError, RuntimeError) as error:
            return {"error": str(error)}

    def load(self, scenario, port, pid):
        command = [str(self.folder / "bench_load"), "--scenario", *scenario.load, "--port", str(port), "--pid", str(pid),
                   "--warm", str(self.options.warm), "--seconds", str(self.options.seconds), *(["--tls"] if scenario.tls else [])]
        try:
            done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
                                  preexec_fn=on_cores([self.load_core]))
        except subprocess.TimeoutExpired:
            raise RuntimeError("the load generator did not end") from None
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no reason"])[0])
        return json.loads(done.stdout)

    def run(self, scenario, names):
        """{server: [results]}, one per round, the servers taking turns."""
        if scenario.mode == "wait":
            return wait.run(self, scenario, progress)
        if scenario.mode in OWN_WAYS:
            return OWN_WAYS[scenario.mode].run(self, progress)
        names = [n for n in names if n in scenario.also or n not in WORKERS]
        results = {name: [] for name in names}
        for number in range(self.options.rounds):
            for name in names:
                progress(f"{scenario.name}: round {number + 1} of {self.options.rounds}, {name}")
                results[name].append(self.measure(name, scenario))
        progress("")
        return results


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def numbers(results, key):
    return [r[key] for r in results if "error" not in r]


def middle(results, key):
    values = numbers(results, key)
    return statistics.median(values) if values else None


def per_cpu(results):
    values = [r["rate"] / r["server_cpu"] for r in results if "error" not in r and r["server_cpu"] > 0]
    return statistics.median(values) if values else None


def spread(results, key):
    """How far the rounds lie apart, in percent of their median."""
    values = numbers(results, key)
    return f"{(max(values) - min(values)) / statistics.median(values):.0%}" if values else "-"


def ratio(value, other):
    return f"{value / other:.2f}" if value and other else "-"


def rate_rows(scenario, results):
    yield ["server", f"{scenario.unit}/s", "spread", "of floor", "of Bun", f"{scenario.unit}/CPU s", "of floor", "of Bun",
           "server core", "load core", "others"]
    reference = {name: (middle(results.get(name, []), "rate"), per_cpu(results.get(name, []))) for name in ("floor", "bun")}
    for name, rounds in results.items():
        rate, cpu = middle(rounds, "rate"), per_cpu(rounds)
        if rate is None:
            yield [name, "failed: " + rounds[-1]["error"]]
            continue
        yield [name, f"{rate:,.0f}", spread(rounds, "rate"), *(ratio(rate, reference[n][0]) for n in ("floor", "bun")),
               f"{cpu:,.0f}" if cpu else "-", *(ratio(cpu, reference[n][1]) for n in ("floor", "bun")),
               *(f"{middle(rounds, key):.0%}" for key in ("server_cpu", "load_cpu", "other_cpu"))]


def idle_rows(results):
    yield ["server", "bytes per connection", "spread", "of Bun", "resident after"]
    bun = middle(results.get("bun", []), "bytes")
    for name, rounds in results.items():
        size = middle(rounds, "bytes")
        if size is None:
            yield [name, "failed: " + rounds[-1]["error"]]
            continue
        yield [name, f"{size:,.0f}", spread(rounds, "bytes"), ratio(size, bun), f"{middle(rounds, 'after') / 2**20:.1f} MiB"]


def table_of(scenario, results):
    if scenario.mode in OWN_WAYS:
        return list(OWN_WAYS[scenario.mode].rows(results))
    return list(idle_rows(results) if scenario.name == "idle" else rate_rows(scenario, results))


def print_table(title, rows):
    widths = [max(len(row[i]) for row in rows if i < len(row) and len(row) > 2) for i in range(len(rows[0]))]
    print(f"\n{title}")
    for row in rows:
        cells = [row[0].ljust(max(widths[0], 9))] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  " + "  ".join(cells) if len(row) > 2 else f"  {row[0].ljust(9)}  {row[1]}")
    sys.stdout.flush()


def markdown_table(title, rows):
    width = len(rows[0])
    lines = [f"### {title}", "", "| " + " | ".join(rows[0]) + " |", "|---" + "|--:" * (width - 1) + "|"]
    lines += ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows[1:]]
    return "\n".join(lines) + "\n"


def machine():
    model = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return {"processor": model, "cores": os.cpu_count(), "kernel": platform.release(), "date": time.strftime("%Y-%m-%d"),
            "load": os.getloadavg()[0]}


def write_files(folder, record, tables):
    (folder / "results.json").write_text(json.dumps(record, indent=1) + "\n")
    m, versions = record["machine"], ", ".join(f"{name} {version}" for name, version in record["versions"].items() if version)
    head = (f"{m['date']}, {m['processor']}, {m['cores']} cores, Linux {m['kernel']}; {versions}; "
            f"{record['rounds']} rounds of {record['seconds']} s each, median; load average before the run {m['load']:.2f}.\n\n")
    (folder / "results.md").write_text(head + "\n".join(tables))


def parse():
    parser = argparse.ArgumentParser(prog="./dev bench", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Measure Moontide beside other servers.",
                                     epilog="scenarios: " + " ".join(s.name for s in SCENARIOS) +
                                     "\nservers:   floor moontide moontide-2 bun ws python")
    parser.add_argument("names", nargs="*", help="scenarios and servers to run; all of a kind when none of it is named")
    parser.add_argument("--quick", action="store_true", help="2 short rounds: to see whether something changed a lot")
    parser.add_argument("--rounds", type=int, help="how often each server is measured (5)")
    parser.add_argument("--seconds", type=float, help="length of one measurement (3)")
    parser.add_argument("--warm", type=float, help="seconds before it, not counted (1.5)")
    parser.add_argument("--patience", type=float, default=5, help="seconds to wait for a quiet machine each time (5)")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"), help="the build folder (build)")
    options = parser.parse_args()
    defaults = (2, 1, 0.7) if options.quick else (5, 3, 1.5)
    for name, value in zip(("rounds", "seconds", "warm"), defaults):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return parser, options


def choose(parser, options, servers):
    """The scenarios and servers that the names ask for."""
    known = {s.name for s in SCENARIOS} | set(servers.commands)
    for name in options.names:
        if name not in known:
            parser.error(f"there is no scenario or server '{name}'")
    scenarios = [s for s in SCENARIOS if s.name in options.names] or list(SCENARIOS)
    names = [n for n in servers.commands if n in options.names] or list(servers.commands)
    for name in list(names):
        program = servers.commands[name]("0", "echo", False)[0]
        if "/" in program and not os.path.exists(program):
            print(f"left out: {name} (there is no {os.path.relpath(program)})")
            names.remove(name)
    return scenarios, names


def main():
    parser, options = parse()
    build = options.build.resolve()
    servers = Servers(build / "bench", build / "moontide")
    scenarios, names = choose(parser, options, servers)
    record = {"machine": machine(), "versions": servers.versions(), "rounds": options.rounds, "seconds": options.seconds,
              "scenarios": {}}
    bench, tables = Bench(options, servers), []
    for scenario in scenarios:
        results = bench.run(scenario, names)
        rows = table_of(scenario, results)
        print_table(f"{scenario.name}: {scenario.title}", rows)
        tables.append(markdown_table(scenario.title, rows))
        record["scenarios"][scenario.name] = results
        write_files(servers.folder, record, tables)
    print(f"\nwritten: {os.path.relpath(servers.folder)}/results.json and results.md")
    return 1 if any("error" in r for s in record["scenarios"].values() for rounds in s.values() for r in rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
