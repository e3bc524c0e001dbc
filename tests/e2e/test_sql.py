"""tide.sql: files that are there after the end, transactions, failures by name, and who waits for whom."""
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time

import pytest
from support.server import BIN, clean_environment, sanitized
from support.wire import Closed, fetch

# What most tests need: statements by message. A reply has the rows, or the message and name of the failure.
APP = """
local tide = require "moontide"
local app = { on = {} }
local db = tide.sql.open("%s" %s)

local function args(msg)
  local list, n = {}, msg.args and #msg.args or 0
  for i = 1, n do list[i] = msg.args[i] end
  return table.unpack(list, 1, n)
end

local function reply(rows, message, name)
  if not rows then return nil, message, name end
  return { rows = rows, changes = rows.changes, last_id = rows.last_id }
end

function app.on.query(conn, msg) return reply(db:query(msg.sql, args(msg))) end

function app.on.add(conn, msg)
  return db:transaction(function(tx)
    local row = assert(tx:row "SELECT n FROM counter")
    assert(tx:query("UPDATE counter SET n = ?", row.n + 1))
    return row.n + 1
  end)
end

-- A transaction that stays open until somebody says go, whatever worker that comes to.
local go = tide.store:open("go", { memory = true })
function app.on.go(conn, msg) go:set(msg.name, true) end
function app.on.hold(conn, msg)
  return db:transaction(function(tx)
    for _, sql in ipairs(msg.statements) do
      local rows, message, name = tx:query(sql)
      if not rows then return nil, message, name end
    end
    conn:send { holds = msg.name }
    while not go:get(msg.name) do tide.sleep(0.005) end
    if msg.last then
      local rows, message, name = tx:query(msg.last)
      if not rows then return nil, message, name end
    end
    return "held"
  end)
end

-- A statement of work that ends with the connection.
function app.on.spawn(conn, msg) conn:spawn(function() db:query(msg.sql) end) end

return app
"""
ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"


def app(name="test.db", options=""):
    return APP % (name, options and ", " + options)


class Failed(Exception):
    """An error reply; .name is its code."""

    def __init__(self, reply):
        super().__init__(f"{reply['code']}: {reply['message']}")
        self.name, self.message = reply["code"], reply["message"]


def answer(ws):
    got = ws.json()
    if got["type"] == "error":
        raise Failed(got)
    return got.get("data")


def call(ws, kind, **fields):
    ws.text({"type": kind, "id": 1, **fields})
    return answer(ws)


def query(ws, sql, *args):
    return call(ws, "query", sql=sql, args=list(args))


def fails(code, pattern, fn, *args, **fields):
    with pytest.raises(Failed) as why:
        fn(*args, **fields)
    assert why.value.name == code and re.search(pattern, why.value.message), why.value


def count(ws, table="t"):
    return query(ws, f"SELECT count(*) AS n FROM {table}")["rows"][0]["n"]


def stop(server, ws):
    ws.bye()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_a_file_that_is_there_after_the_end(serve, connect, tmp_path):
    server = serve(app())
    ws = connect(server)
    query(ws, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    values = [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, 1e300, "", "grün 🙂\n\0'\"", True, "'); DROP TABLE t; --"]
    for n, value in enumerate(values):
        assert query(ws, "INSERT INTO t (v) VALUES (?)", value) == {"rows": [], "changes": 1, "last_id": n + 1}
    expected = [{"id": n + 1, "v": 1 if v is True else v} for n, v in enumerate(values)]
    assert query(ws, "SELECT * FROM t ORDER BY id")["rows"] == expected
    assert query(ws, "SELECT NULL AS a, 1 AS b")["rows"] == [{"b": 1}]
    stop(server, ws)
    with sqlite3.connect(tmp_path / "test.db") as db:  # another program reads it
        assert [v for (v,) in db.execute("SELECT v FROM t ORDER BY id")] == [row["v"] for row in expected]
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert query(connect(serve(app())), "SELECT * FROM t ORDER BY id")["rows"] == expected


def test_the_folder_of_the_files(serve, connect, tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    server = serve(app("sub/x.db"), settings={"sql.folder": tmp_path / "data"})
    query(connect(server), "CREATE TABLE t (v)")
    assert (tmp_path / "data" / "sub" / "x.db").exists()


def test_constraints_and_injection(serve, connect):
    ws = connect(serve(app()))
    query(ws, "CREATE TABLE t (name TEXT UNIQUE)")
    evil = "x'); DELETE FROM t; --"
    query(ws, "INSERT INTO t VALUES (?)", evil)
    fails("constraint", "UNIQUE constraint failed: t.name", query, ws, "INSERT INTO t VALUES (?)", evil)
    assert query(ws, "SELECT * FROM t WHERE name = ?", evil)["rows"] == [{"name": evil}]
    assert query(ws, "SELECT * FROM t WHERE name = ?", "' OR 1 = 1 --")["rows"] == []
    fails("invalid", "one statement at a time", query, ws, "INSERT INTO t VALUES ('y'); DELETE FROM t")
    fails("denied", "its own database only", query, ws, "ATTACH '/tmp/other.db' AS other")


def test_all_workers_share_one_database(serve, connect):
    """Counting in transactions loses nothing, whichever worker a connection is at."""
    server = serve(app())
    sockets = [connect(server) for _ in range(12)]
    query(sockets[0], "CREATE TABLE counter (n)")
    query(sockets[0], "INSERT INTO counter VALUES (0)")
    for ws in sockets:
        for _ in range(20):
            ws.text({"type": "add", "id": 1})
    got = sorted(answer(ws) for ws in sockets for _ in range(20))
    assert got == list(range(1, 241))


def test_a_transaction_is_alone(serve, connect):
    server = serve(app())
    a, b = connect(server), connect(server)
    query(a, "CREATE TABLE t (v)")
    a.text({"type": "hold", "id": 1, "name": "x", "statements": ["INSERT INTO t VALUES (1)"], "last": "INSERT INTO t VALUES (2)"})
    a.expect(holds="x")
    b.text({"type": "query", "id": 1, "sql": "SELECT count(*) AS n FROM t"})
    b.expect_nothing()  # neither the half nor the state before: it waits
    call(connect(server), "go", name="x")
    assert answer(b)["rows"] == [{"n": 2}]
    assert answer(a) == "held"


def test_a_transaction_is_rolled_back_however_it_is_left(serve, connect):
    server = serve("""
    local tide = require "moontide"
    local app = { on = {} }
    local db = tide.sql.open "test.db"
    function app.on_start() assert(db:query "CREATE TABLE IF NOT EXISTS t (v)") end
    local function leave(how)
      return db:transaction(function(tx)
        assert(tx:query "INSERT INTO t VALUES (1)")
        if how == "reject" then tide.reject(409, "not now") end
        if how == "raise" then error "boom" end
        while how == "endless" do tostring(0.5) end -- with a call, or the signal of the watchdog does not come through TSan
        return how
      end)
    end
    function app.on_http(req)
      local done = leave(req.query.how)
      return 200, tostring(done)
    end
    function app.on.count() return db:row "SELECT count(*) AS n FROM t".n end
    return app""", settings={"script.time": 0.2})
    ws = connect(server)
    for how, status in (("reject", 409), ("raise", 500), ("endless", 500)):
        got = fetch(server.address, f"/?how={how}")
        assert got.status == status, got
        assert call(ws, "count") == 0, how
    assert fetch(server.address, "/?how=well").body == b"well"
    assert call(ws, "count") == 1


def test_a_check_touches_nothing(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "1_a.sql").write_text("CREATE TABLE t (v);")
    (tmp_path / "app.lua").write_text(app(options='{ migrations = "m" }'))
    subprocess.run([BIN, "check", tmp_path / "app.lua"], env=clean_environment(), check=True, timeout=20)
    assert sorted(os.listdir(tmp_path)) == ["app.lua", "m"]


def test_another_process_holds_the_file(serve, connect, tmp_path):
    server = serve(app())
    ws = connect(server)
    query(ws, "CREATE TABLE t (v)")
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    begin = time.monotonic()
    fails("busy", "locked", query, ws, "INSERT INTO t VALUES (1)")
    assert time.monotonic() - begin > 4
    ws.text({"type": "query", "id": 1, "sql": "INSERT INTO t VALUES (2)"})
    ws.expect_nothing()
    other.execute("COMMIT")
    assert answer(ws)["changes"] == 1  # it only had to wait
    other.close()


def test_an_endless_statement_is_stopped(serve, connect):
    server = serve(app(), settings={"sql.timeout": 0.3})
    a, b = connect(server), connect(server)
    a.text({"type": "query", "id": 1, "sql": ENDLESS})
    fails("timeout", "sql.timeout", answer, a)
    assert query(b, "SELECT 1 AS one")["rows"] == [{"one": 1}]
    a.text({"type": "query", "id": 1, "sql": ENDLESS})
    b.text({"type": "query", "id": 1, "sql": "SELECT 2 AS two"})  # the wait for others counts as well
    fails("timeout", "sql.timeout", answer, a)
    try:
        assert answer(b)["rows"] == [{"two": 2}]
    except Failed as why:
        assert why.name == "timeout"


def test_a_transaction_that_is_open_for_too_long(serve, connect):
    server = serve(app(), settings={"sql.transaction": 0.3})
    a, b = connect(server), connect(server)
    query(a, "CREATE TABLE t (v)")
    for last in (None, "INSERT INTO t VALUES (2)"):
        a.text({"type": "hold", "id": 1, "name": str(last), "statements": ["INSERT INTO t VALUES (1)"], "last": last})
        a.expect(holds=str(last))
        assert count(b) == 0  # comes through when the time is over
        call(b, "go", name=str(last))
        fails("timeout", "sql.transaction", answer, a)
    a.text({"type": "hold", "id": 1, "name": "endless", "statements": ["INSERT INTO t VALUES (1)", ENDLESS]})
    fails("timeout", "sql.transaction", answer, a)
    assert count(b) == 0


def test_work_that_ends_with_its_connection(serve, connect):
    """A cancelled statement is stopped while it runs, and skipped while it waits."""
    server = serve(app())
    a, b, c = connect(server), connect(server), connect(server)
    query(b, "CREATE TABLE t (v)")
    a.text({"type": "spawn", "sql": ENDLESS})
    a.fence()
    b.text({"type": "query", "id": 1, "sql": "SELECT 1 AS one"})
    b.expect_nothing()
    a.bye()
    assert answer(b)["rows"] == [{"one": 1}]  # long before sql.timeout
    b.text({"type": "hold", "id": 1, "name": "b", "statements": ["SELECT 1"]})
    b.expect(holds="b")
    c.text({"type": "spawn", "sql": "INSERT INTO t VALUES ('skipped')"})
    c.fence()
    c.bye()
    call(connect(server), "go", name="b")
    assert answer(b) == "held" and count(b) == 0


def test_a_handler_runs_to_its_end_without_its_connection(serve, connect, until):
    server = serve(app())
    a, b = connect(server), connect(server)
    query(a, "CREATE TABLE t (v)")
    a.text({"type": "hold", "id": 1, "name": "x", "statements": ["INSERT INTO t VALUES (1)"], "last": "INSERT INTO t VALUES (2)"})
    a.expect(holds="x")
    a.reset()
    call(b, "go", name="x")
    until(lambda: count(b) == 2, what="the commit")


def test_a_reload_while_a_transaction_is_open(serve, connect, until):
    text = app() + "\n-- %s"
    server = serve(text % "old", watch=True)
    a, b = connect(server), connect(server)
    query(a, "CREATE TABLE t (v)")
    a.text({"type": "hold", "id": 1, "name": "x", "statements": ["INSERT INTO t VALUES (1)"], "last": "INSERT INTO t VALUES (2)"})
    a.expect(holds="x")
    since = len(server.log)
    server.script.write_text(text % "new")
    server.log.wait("reloaded", since=since)
    b.text({"type": "query", "id": 1, "sql": "SELECT count(*) AS n FROM t"})
    b.expect_nothing()  # of the new version, and waits for the old one's transaction
    call(connect(server), "go", name="x")
    assert answer(b)["rows"] == [{"n": 2}] and answer(a) == "held"


@pytest.mark.parametrize("what", ["running", "queued", "inside"])
def test_shutdown(serve, connect, tmp_path, what):
    server = serve(app(), settings={"shutdown.timeout": 0.5})
    a, b = connect(server), connect(server)
    query(a, "CREATE TABLE t (v)")
    if what == "running":
        a.text({"type": "query", "id": 1, "sql": ENDLESS})
        a.expect_nothing()
    else:
        a.text({"type": "hold", "id": 1, "name": "never", "statements": ["INSERT INTO t VALUES (1)"]})
        a.expect(holds="never")
    if what == "queued":
        b.text({"type": "query", "id": 1, "sql": "INSERT INTO t VALUES (2)"})
        b.expect_nothing()
    begin = time.monotonic()
    server.signal(signal.SIGTERM)
    server.wait()
    assert time.monotonic() - begin < (10 if sanitized() else 4)
    server.codes = {0, 1}  # handlers that had to be cut are told so
    with sqlite3.connect(tmp_path / "test.db") as db:
        # one that waits for its turn may still get it, when the transaction before it is rolled back
        assert db.execute("SELECT count(*) FROM t WHERE v = 1").fetchone() == (0,)


def test_files_that_are_none(serve, connect, tmp_path):
    (tmp_path / "test.db").write_bytes(b"This is no database. " * 500)
    server = serve(app())
    fails("malformed", "test.db: file is not a database", query, connect(server), "SELECT 1")
    server.log.wait("ERROR tide.sql: .*test.db: file is not a database")
    server = serve(app("later/test.db"))
    ws = connect(server)
    fails("io", "later/test.db: unable to open", query, ws, "SELECT 1 AS one")
    (tmp_path / "later").mkdir()
    assert query(ws, "SELECT 1 AS one")["rows"] == [{"one": 1}]  # tried again, without a reload
    assert (tmp_path / "later" / "test.db").stat().st_mode & 0o777 == 0o600


def test_migrations_of_a_file_that_is_not_there_yet(serve, connect, tmp_path):
    """Nothing comes before them, however late the file can be opened."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "1_a.sql").write_text("CREATE TABLE t (v);")
    ws = connect(serve(app("later/test.db", '{ migrations = "m" }')))
    fails("io", "later/test.db: unable to open", query, ws, "SELECT 1")
    (tmp_path / "later").mkdir()
    assert count(ws) == 0


def test_another_process_holds_the_file_at_the_start(serve, connect, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "1_a.sql").write_text("CREATE TABLE t (v);")
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("BEGIN IMMEDIATE")
    server = serve(app(options='{ migrations = "m" }'))
    server.log.wait("ERROR tide.sql: .*locked", 20)
    other.execute("COMMIT")
    other.close()
    assert count(connect(server)) == 0


def test_a_file_that_was_damaged(serve, connect, tmp_path):
    with sqlite3.connect(tmp_path / "test.db") as db:
        db.execute("CREATE TABLE t (v)")
        db.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
    db.close()
    with open(tmp_path / "test.db", "r+b") as file:
        for page in range(2, 20):
            file.seek(page * 4096)
            file.write(os.urandom(4096))
    server = serve(app())
    fails("malformed", "malformed", query, connect(server), "SELECT sum(length(v)) FROM t")
    assert query(connect(server), "SELECT 1 AS one")["rows"] == [{"one": 1}]


def in_own_mounts(command, folder):
    """The words before a program so that it runs with mounts of its own, made by `command`."""
    wrap = ["unshare", "-rm", "sh", "-c", command + ' && shift 0 && exec "$@"', "sh"]
    done = subprocess.run([*wrap, "true"], env={**os.environ, "FOLDER": str(folder)}, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no mounts to be had: {done.stderr.decode()}")
    return {"wrap": wrap, "env": {"FOLDER": str(folder)}}


def test_a_full_disk(serve, connect, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    server = serve(app(), settings={"sql.folder": folder}, **in_own_mounts('mount -t tmpfs -o size=1m none "$FOLDER"', folder))
    ws = connect(server)
    query(ws, "CREATE TABLE t (v)")
    good = 0
    with pytest.raises(Failed) as why:
        while good < 100:
            query(ws, "INSERT INTO t VALUES (?)", "x" * 30000)
            good += 1
    assert why.value.name == "full" and good > 5
    assert count(ws) == good  # all that was said to be there is
    ws.text({"type": "hold", "id": 1, "name": "x", "statements": ["INSERT INTO t VALUES (zeroblob(900000))"]})
    ws.expect(holds="x")  # in memory still
    call(connect(server), "go", name="x")
    fails("full", "full", answer, ws)
    assert count(ws) == good


def test_a_file_that_may_only_be_read(serve, connect, tmp_path):
    folder = tmp_path / "fixed"
    folder.mkdir()
    with sqlite3.connect(folder / "test.db") as db:
        db.execute("CREATE TABLE t (v)")
        db.execute("INSERT INTO t VALUES (7)")
    db.close()
    mounts = in_own_mounts('mount --bind "$FOLDER" "$FOLDER" && mount -o remount,ro,bind "$FOLDER"', folder)
    ws = connect(serve(app(), settings={"sql.folder": folder}, **mounts))
    assert query(ws, "SELECT v FROM t")["rows"] == [{"v": 7}]
    fails("denied", "readonly", query, ws, "INSERT INTO t VALUES (8)")


def test_thousands_of_different_statements(serve, connect):
    ws = connect(serve(app()))
    query(ws, "CREATE TABLE t (v)")
    for n in range(3000):
        ws.text({"type": "query", "id": n, "sql": f"SELECT {n} AS n{n} FROM (SELECT 1)"})
    for n in range(3000):
        assert answer(ws)["rows"] == [{f"n{n}": n}]


def test_a_thousand_at_once(serve, connect):
    server = serve("""
    local tide = require "moontide"
    local db = tide.sql.open "test.db"
    local app = { on = {} }
    function app.on.go(conn)
      assert(db:query "CREATE TABLE t (v)")
      local tasks, sum = {}, 0
      for i = 1, 1000 do
        tasks[i] = tide.spawn(function()
          assert(db:query("INSERT INTO t VALUES (?)", i))
          return db:row("SELECT v FROM t WHERE v = ?", i).v
        end)
      end
      for i = 1, 1000 do sum = sum + tasks[i]:join() end
      return { sum = sum, count = db:row "SELECT count(*) AS n FROM t".n }
    end
    return app""")
    ws = connect(server)
    ws.set_timeout(60)
    assert call(ws, "go") == {"sum": 500500, "count": 1000}


def test_migrations(serve, connect, tmp_path):
    """Once over all workers, in the order of their numbers, and not again at the next start."""
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "10_c.sql").write_text("INSERT INTO log VALUES ('c', (SELECT count(*) FROM log));\n-- the end\n")
    (folder / "2_b.sql").write_text("INSERT INTO log VALUES ('b', (SELECT count(*) FROM log));")
    (folder / "001_a.sql").write_text("CREATE TABLE log (v, n);\nCREATE TABLE u (x);\nINSERT INTO log VALUES ('a', 0);")
    (folder / "README.md").write_text("no migration")
    text = app(options='{ migrations = "m" }')
    expected = [{"v": "a", "n": 0}, {"v": "b", "n": 1}, {"v": "c", "n": 2}]
    for _ in range(2):
        server = serve(text)
        ws = connect(server)
        assert query(ws, "SELECT * FROM log ORDER BY n")["rows"] == expected
        stop(server, ws)
    server = serve(text, watch=True)
    ws = connect(server)
    (folder / "011_d.sql").write_text("INSERT INTO log VALUES ('d', (SELECT count(*) FROM log));")
    since = len(server.log)
    server.script.write_text(text + "\n-- changed")
    server.log.wait("011_d.sql was applied", since=since)
    assert count(ws, "log") == 4
    assert query(ws, "SELECT number, name FROM moontide_migrations ORDER BY number")["rows"][1] == {"number": 2, "name": "2_b.sql"}


def test_a_migration_that_fails_and_is_mended(serve, connect, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "1_a.sql").write_text("CREATE TABLE t (v);")
    (folder / "2_b.sql").write_text("INSERT INTO t VALUES (1);\n\nINSERT INTO nowhere VALUES (2);\n")
    text = app(options='{ migrations = "m" }')
    server = serve(text, watch=True)
    ws = connect(server)
    why = r"m/2_b.sql:3: no such table: nowhere"
    fails("invalid", why, query, ws, "SELECT * FROM t")
    fails("invalid", why, call, ws, "hold", name="x", statements=[])
    server.log.wait("ERROR tide.sql: .*" + why)
    assert len(re.findall(why, server.log.text())) == 1, server.log.text()
    with sqlite3.connect(tmp_path / "test.db") as db:  # the first is there, the second not in part
        assert db.execute("SELECT count(*) FROM t").fetchone() == (0,)
    db.close()
    since = len(server.log)
    (folder / "2_b.sql").write_text("INSERT INTO t VALUES (1);\n\nINSERT INTO t VALUES (2);\n")
    server.script.write_text(text + "\n-- mended")
    server.log.wait("2_b.sql was applied", since=since)
    assert count(ws) == 2


@pytest.mark.parametrize("name, text, why", [
    ("1_a.sql", "CREATE TABLE other (v);", "1_a.sql: has changed since it was applied"),
    ("01_b.sql", "SELECT 1;", "01_b.sql.* the same number|1_a.sql and 01_b.sql"),
    ("second.sql", "SELECT 1;", "second.sql: the name of a migration is NUMBER_NAME.sql"),
    ("2_b.sql", "CREATE TABLE u (v); COMMIT;", "2_b.sql:1: transactions are begun and ended by"),
    ("2_b.sql", "CREATE TABLE u (v);\nATTACH 'x.db' AS x;", "2_b.sql:2: .*its own database only"),
    ("2_b.sql", "CREATE TABLE u (v);\n\n  -- a comment\n  CREATE TABL v (w);", '2_b.sql:4: near "TABL": syntax error'),
])
def test_migrations_that_are_refused(serve, connect, tmp_path, name, text, why):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "1_a.sql").write_text("CREATE TABLE t (v);")
    script = app(options='{ migrations = "m" }')
    server = serve(script)
    ws = connect(server)
    assert count(ws) == 0
    stop(server, ws)
    (folder / name).write_text(text)
    with pytest.raises(Failed, match=why):
        query(connect(serve(script)), "SELECT 1")
    with sqlite3.connect(tmp_path / "test.db") as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'u'").fetchone() == (0,)


def test_a_migration_with_much_data(serve, connect, tmp_path):
    """A statement is bounded by 1 MiB, a file is not; and many statements take no longer each than few."""
    folder = tmp_path / "m"
    folder.mkdir()
    row = "INSERT INTO t VALUES ('" + "x" * 100 + "');\n"
    (folder / "1_a.sql").write_text("\ufeffCREATE TABLE t (v);\r\n" + row * 30000)
    ws = connect(serve(app(options='{ migrations = "m" }')))
    assert count(ws) == 30000


def test_a_table_of_migrations_that_is_not_ours(serve, connect, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "1_a.sql").write_text("CREATE TABLE t (v);")
    with sqlite3.connect(tmp_path / "test.db") as db:
        db.execute("CREATE TABLE moontide_migrations (number, name, digest)")
        db.execute("INSERT INTO moontide_migrations VALUES (1, NULL, NULL)")
    db.close()
    ws = connect(serve(app(options='{ migrations = "m" }')))
    fails("invalid", "1_a.sql: has changed since it was applied", query, ws, "SELECT 1")
    fails("invalid", "1_a.sql: has changed since it was applied", query, ws, "SELECT 1")


def test_a_version_that_does_not_load_migrates_nothing(serve, connect, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    server = serve(app(), watch=True)
    ws = connect(server)
    query(ws, "CREATE TABLE t (v)")
    (folder / "1_a.sql").write_text("DROP TABLE t;")
    since = len(server.log)
    server.script.write_text(app(options='{ migrations = "m" }').replace("return app", "error 'not this one'"))
    server.log.wait("not this one", since=since)
    assert count(ws) == 0


def test_what_was_committed_survives_a_kill(serve, connect, tmp_path):
    """In the middle of writes, again and again: what was answered is there, and nothing in part."""
    text = app().replace("return app\n", """
    function app.on.pair(conn, msg)
      return db:transaction(function(tx)
        assert(tx:query("INSERT INTO pair VALUES (?)", msg.n))
        assert(tx:query("INSERT INTO pair VALUES (?)", -msg.n))
        return msg.n
      end)
    end
    return app
    """)
    answered, n, cut = set(), 0, 0
    for turn in range(6 if sanitized() else 24):
        server = serve(text)
        server.codes = {-signal.SIGKILL}
        ws = connect(server)
        query(ws, "CREATE TABLE IF NOT EXISTS pair (n)")
        for _ in range(200):
            n += 1
            ws.text({"type": "pair", "id": 1, "n": n})
        killer = threading.Timer(0.001 * (turn * 7 % 23), server.process.kill)
        killer.start()
        try:
            while True:
                answered.add(answer(ws))
        except Closed:
            cut += n not in answered
        killer.join()
        server.process.wait()
        with sqlite3.connect(tmp_path / "test.db") as db:
            there = [v for (v,) in db.execute("SELECT n FROM pair")]
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        assert answered <= set(there), f"turn {turn}: lost {answered - set(there)}"
        assert sum(there) == 0 and len(set(there)) == len(there)
    assert answered and cut, (len(answered), cut)
