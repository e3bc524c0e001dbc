"""`moontide new`: what it makes runs as it is, keeps what was said, and nothing that was there is touched."""
import os
import subprocess

import pytest
from support.server import BIN, Server, clean_environment, refuses
from support.wire import fetch


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "chat"
    done = subprocess.run([BIN, "new", folder], capture_output=True, text=True, env=clean_environment(), timeout=20, check=True)
    assert str(folder) in done.stdout and "moontide run app.lua --config moontide.conf.lua" in done.stdout and done.stderr == ""
    return folder


def run(folder):
    return Server("app.lua", "--config", "moontide.conf.lua", cwd=folder)


def join(ws):
    ws.text({"type": "join", "room": "lobby", "id": 1})
    while True:
        got = ws.json()
        if got["type"] == "reply":
            return got["data"]


def test_it_runs_and_remembers(made, connect):
    with run(made) as server:
        ann, bob = connect(server, "/?name=ann"), connect(server, "/?name=bob")
        assert join(ann)["lines"] == []
        assert sorted(m["user"] for m in join(bob)["members"]) == ["ann", "bob"]
        while ann.expect(type="joined")["user"] != "bob":
            pass  # her own may come behind the reply, from the worker that has the room
        for n in range(1, 61):
            bob.text({"type": "say", "room": "lobby", "text": f"line {n}"})
            ann.expect(type="line", n=n, text=f"line {n}", **{"from": "bob"})
        ann.text({"type": "say", "room": "garden", "text": "x"})
        ann.expect(type="error", code="denied")
        ann.text({"type": "say", "room": "lobby"})
        ann.expect(type="error", code="invalid")
        page = fetch(server.address, "/")
        assert page.status == 200 and b"<title>Moontide</title>" in page.body
        for hidden in ("/app.lua", "/data/store.db", "/../data/store.db"):
            assert fetch(server.address, hidden).status == 404
        ann.bye()
        bob.bye()
    with run(made) as server:
        eve = connect(server, "/?name=eve")
        lines = join(eve)["lines"]
        eve.bye()
        assert [line["text"] for line in lines] == [f"line {n}" for n in range(11, 61)]


@pytest.mark.parametrize("name", ["my chat", "-x", "it's $HOME", "a;b"])
def test_the_command_that_it_names_is_for_a_shell(tmp_path, name):
    done = subprocess.run([BIN, "new", "--", name], cwd=tmp_path, capture_output=True, text=True, env=clean_environment(),
                          timeout=20, check=True)
    there = next(line for line in done.stdout.splitlines() if "cd " in line).split(" && ")[0]
    ran = subprocess.run(["sh", "-c", f"{there} && ls"], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True)
    assert "app.lua" in ran.stdout.split()


def test_its_check_is_fine(made):
    done = subprocess.run([BIN, "check", "app.lua", "--config", "moontide.conf.lua"], cwd=made, capture_output=True, text=True,
                          env=clean_environment(), timeout=20, check=False)
    assert done.returncode == 0 and "is fine" in done.stderr and "WARN" not in done.stderr, done.stderr


def test_git_takes_no_data(made):
    assert (made / ".gitignore").read_text().split() == ["/data/*", "!/data/.gitkeep"]
    assert (made / "data" / ".gitkeep").read_bytes() == b""


@pytest.mark.one_worker
def test_nothing_is_written_over(made, tmp_path):
    before = {p: p.read_bytes() for p in made.rglob("*") if p.is_file()}
    code, text = refuses("new", made)
    assert code == 1 and "not empty" in text
    assert {p: p.read_bytes() for p in made.rglob("*") if p.is_file()} == before
    empty = tmp_path / "empty"
    empty.mkdir()
    subprocess.run([BIN, "new", empty], capture_output=True, env=clean_environment(), timeout=20, check=True)
    assert (empty / "app.lua").read_bytes() == (made / "app.lua").read_bytes()
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / ".git").mkdir()
    assert refuses("new", hidden)[0] == 1 and os.listdir(hidden) == [".git"]
    assert refuses("new", made / "app.lua")[0] == 1
    assert refuses("new", tmp_path / "none" / "chat")[0] == 1
    for wrong in (("new",), ("new", "a", "b"), ("new", "a", "--json"), ("new", "a", "--listen", "1")):
        assert refuses(*wrong)[0] == 2
    assert not os.path.exists("a")
