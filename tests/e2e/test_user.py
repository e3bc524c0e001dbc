"""`user` and `group`: a server that root starts takes its ports and certificates, and is somebody else before the script is read."""
import grp
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.server import BIN, clean_environment, refuses
from support.wire import Socket, fetch

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
USER = "nobody"
SECRET = "/etc/shadow"  # which root may read, and nobody else
APP = """
local app = {}
local io = io
local function read(path)
  local file, why = io.open(path)
  return file and file:read("a") or why
end
function app.on_http(req) return 200, { text = read(req.query.file) } end
function app.on_message(conn, text) conn:send(text) end
return app
"""


@pytest.fixture
def entry():
    return pwd.getpwnam(USER)


@pytest.fixture
def folder(entry):
    """A folder that the user can read, and one inside that is its own. Those of pytest are for their owner only."""
    path = Path(tempfile.mkdtemp(prefix="moontide-user-"))
    path.chmod(0o755)
    (path / "own").mkdir()
    os.chown(path / "own", entry.pw_uid, entry.pw_gid)
    (path / "app.lua").write_text(APP)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start(serve, folder):
    def make(*flags, settings=None, **options):
        # the leak checker traces the process, which nobody may once it has changed its user
        env = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        wanted = {"user": USER, "sandbox.allow": "io", **(settings or {})}
        return serve(folder / "app.lua", *flags, settings={k: v for k, v in wanted.items() if v}, env=env, **options)
    return make


def threads(server):
    """What /proc says of every thread, by name."""
    for status in Path(f"/proc/{server.process.pid}/task").glob("*/status"):
        yield dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)


def low_port():
    import socket  # pylint: disable=import-outside-toplevel
    for port in range(1023, 600, -1):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no port below 1024 is free")


def ids(text):
    return {int(word) for word in text.split()}


@root_only
@pytest.mark.parametrize("workers", [1, 3])
def test_every_thread_is_the_user_for_good(start, entry, workers):
    server = start(listen=(f"127.0.0.1:{low_port()}", "127.0.0.1:0"), settings={"workers": workers})
    with Socket(server.address) as ws:
        ws.text("hello")
        ws.expect("hello")
        ws.bye()
    seen = list(threads(server))
    assert len(seen) >= workers
    for t in seen:
        assert ids(t["Uid"]) == {entry.pw_uid} and ids(t["Gid"]) == {entry.pw_gid}, t
        assert ids(t["Groups"]) == set(os.getgrouplist(USER, entry.pw_gid)), t
        assert t["NoNewPrivs"] == "1" and int(t["CapEff"], 16) == 0 and int(t["CapPrm"], 16) == 0, t
    assert server.port < 1024
    assert "root" not in server.log.text()


@root_only
def test_a_script_reads_no_more_than_the_user(start):
    server = start()
    assert "Permission denied" in fetch(server.address, f"/?file={SECRET}").json()["text"]
    rooted = start(settings={"user": "root"})
    assert "root:" in fetch(rooted.address, f"/?file={SECRET}").json()["text"], "the file is there"


@root_only
@pytest.mark.parametrize("group", [None, "daemon", str(grp.getgrnam("daemon").gr_gid)])
def test_group(start, entry, group):
    server = start(settings={"group": group})
    want = grp.getgrnam("daemon").gr_gid if group else entry.pw_gid
    assert all(ids(t["Gid"]) == {want} and want in ids(t["Groups"]) for t in threads(server))


@root_only
def test_numbers_without_a_name(start, folder):
    server = start(settings={"user": "54321", "group": "54322", "admin": "false"})
    assert all(ids(t["Uid"]) == {54321} and ids(t["Gid"]) == {54322} == ids(t["Groups"]) for t in threads(server))
    _, text = refuses("run", folder / "app.lua", "--listen", "127.0.0.1:0", "--set", "user=54321")
    assert "54321" in text and "set group too" in text


@root_only
def test_keys_that_only_root_may_read(start, authority, folder, entry, until):
    """They are read before; after a change by the user, and the log says so when that cannot be."""
    old, new = authority.issue("root-old", "localhost", "old.example"), authority.issue("root-new", "localhost", "new.example")
    chain, key = folder / "chain.pem", folder / "key.pem"
    for source, target in zip(old, (chain, key)):
        shutil.copy(source, target)
        target.chmod(0o600)
    server = start("--tls", f"{chain},{key}", listen=(f"127.0.0.1:{low_port()}",))
    context = authority.client()

    def names():
        with Socket(server.address, tls=context, name="localhost") as ws:
            shown = [value for _, value in ws.sock.getpeercert()["subjectAltName"]]
            ws.bye()
        return shown

    assert "old.example" in names()
    shutil.copy(new[0], chain)
    shutil.copy(new[1], key)
    server.signal(signal.SIGHUP)
    server.log.wait("the old ones go on: .*key.pem: it cannot be read: Permission denied .this is not root any more")
    assert "old.example" in names()
    seen = len(server.log)
    chain.chmod(0o644)
    chain.write_text("rubbish")
    server.signal(signal.SIGHUP)
    server.log.wait("the old ones go on: .*chain.pem: no certificate", since=seen)
    assert "not root" not in "".join(server.log.lines[seen:]), "that has another reason"
    shutil.copy(new[0], chain)
    for file in (chain, key):
        os.chown(file, entry.pw_uid, entry.pw_gid)
    server.signal(signal.SIGHUP)
    until(lambda: "new.example" in names(), what="the new certificate")


@root_only
def test_settings_that_only_root_may_read(start, folder, entry):
    conf = folder / "moontide.conf.lua"
    conf.write_text("return {}")
    conf.chmod(0o600)
    server = start("--config", conf)
    server.signal(signal.SIGHUP)
    server.log.wait("the settings were not reloaded, the old ones go on: .*conf.lua.*Permission denied .this is not root any more")
    os.chown(conf, entry.pw_uid, entry.pw_gid)
    server.signal(signal.SIGHUP)
    server.log.wait("reloaded .*conf.lua")


@root_only
def test_files_belong_to_the_user(start, folder, entry, until):
    """The log, the control socket and unix sockets; and what a reload opens again."""
    log, sock = folder / "own" / "server.log", folder / "own" / "s"
    server = start(listen=(f"unix:{sock}", "127.0.0.1:0"), settings={"log.file": log})
    with Socket(str(sock)) as ws:
        ws.text("by file")
        ws.expect("by file")
        ws.bye()
    steering = Path(f"/tmp/moontide-{entry.pw_uid}/moontide-{server.port}.sock")  # the runtime folder here is root's
    for path in (log, sock, steering):
        assert os.stat(path).st_uid == entry.pw_uid, path
    for who in ([], ["setpriv", "--reuid", USER, "--clear-groups"]):
        shown = subprocess.run([*who, BIN, "status", "--control", str(steering)], capture_output=True, timeout=20, check=True).stdout
        assert str(folder / "app.lua") in shown.decode(), who
    log.rename(folder / "own" / "server.log.1")
    server.signal(signal.SIGHUP)
    until(log.exists, what="a new log file")
    assert os.stat(log).st_uid == entry.pw_uid and stat.S_ISREG(os.stat(log).st_mode)
    server.signal(signal.SIGTERM)
    server.wait()
    assert not sock.exists(), "the user may unlink what is its own"


@root_only
@pytest.mark.parametrize("command", ["run", "check"])
def test_what_the_user_cannot_read_stops_the_start(folder, command):
    base = [command, folder / "app.lua", "--listen", "127.0.0.1:0", "--set", f"user={USER}"]
    (folder / "app.lua").chmod(0o600)
    _, text = refuses(*base)
    assert "app.lua" in text and "Permission denied" in text, text
    (folder / "app.lua").chmod(0o644)
    (folder / "public").mkdir(mode=0o700)
    for key, value in (("static", folder / "public"), ("log.file", folder / "not-yours.log")):
        _, text = refuses(*base, "--set", f"{key}={value}")
        assert key in text or str(value) in text, text


@root_only
def test_names_that_do_not_exist(folder):
    for command in ("run", "check"):
        for sets, says in (({"user": "nobdy"}, ('user = "nobdy"', "did you mean nobody?")),
                           ({"user": USER, "group": "daemno"}, ('group = "daemno"', "did you mean daemon?")),
                           ({"group": "daemon"}, ('group = "daemon"', "without user"))):
            flags = [a for k, v in sets.items() for a in ("--set", f"{k}={v}")]
            _, text = refuses(command, folder / "app.lua", "--listen", "127.0.0.1:0", *flags)
            assert all(s in text for s in says), text


@root_only
def test_who_is_not_root_stays_who_it_is(serve, folder, entry):
    wrap = ("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
    server = serve(folder / "app.lua", wrap=wrap, settings={"user": USER})
    assert "root" not in server.log.text()
    for sets, says in ((["user=root"], "only root can become another user"), ([f"user={USER}", "group=daemon"], "only root can change")):
        flags = [a for s in sets for a in ("--set", s)]
        done = subprocess.run([*wrap, BIN, "run", folder / "app.lua", "--listen", "127.0.0.1:0", *flags], capture_output=True,
                              env=clean_environment(), timeout=20, check=False)
        assert done.returncode != 0 and says in done.stderr.decode(), done


def test_root_is_warned(serve, folder):
    server = serve(folder / "app.lua")
    if os.geteuid() == 0:
        server.log.wait("this runs as root, and so does the script: set user")
    else:
        server.signal(signal.SIGTERM)
        server.wait()
        assert "root" not in server.log.text()


@root_only
def test_a_port_in_use_is_told_as_ever(start, folder):
    server = start()
    _, text = refuses("run", folder / "app.lua", "--listen", f"127.0.0.1:{server.port}", "--set", f"user={USER}")
    assert "the port is in use" in text
