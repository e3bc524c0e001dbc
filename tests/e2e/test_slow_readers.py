"""Readers that are slow or never read: queues stay bounded, keys keep the newest, a burst has its grace, the rest closes with 1013."""
import pytest
from support.control import status
from support.server import sanitized
from support.wire import BINARY, PONG, TEXT

FLOOD = """
local tide = require "moontide"
local app = { on = {} }
function app.on_open(conn)
  if conn.path == "/slow" then tide.state.slow = conn end
  if conn.path == "/log" then conn:join "log" end
end
function app.on_close(conn, code) tide.room "log":send { closed = conn.path, code = code } end
local filler = ("x"):rep(50000)
function app.on.plain(conn, msg)
  for n = 1, msg.count do
    local ok, _, name = tide.state.slow:send { n = n, filler = filler }
    if not ok then return { n = n, name = name, after = select(3, tide.state.slow:send "more") } end
  end
  return { buffered = tide.state.slow.buffered }
end
function app.on.large(conn, msg)
  local ok = tide.state.slow:send(("x"):rep(msg.size))
  return { ok = ok or false, name = select(3, tide.state.slow:send "more") }
end
function app.on.large_to_me(conn, msg) conn:send(("x"):rep(msg.size)) end
function app.on.keyed(conn, msg)
  for n = 1, msg.count do assert(tide.state.slow:send({ n = n, filler = filler }, { key = "k" .. n % 3 })) end
  return { buffered = tide.state.slow.buffered }
end
function app.on.volatile(conn, msg)
  local dropped = 0
  for n = 1, msg.count do
    local ok, _, name = tide.state.slow:send({ n = n, filler = filler }, { volatile = true })
    if not ok then assert(name == "dropped", name) dropped = dropped + 1 end
  end
  return { dropped = dropped, buffered = tide.state.slow.buffered }
end
function app.on.both(conn, msg)
  local sent = 0
  for n = 1, msg.count do
    sent = sent + (tide.state.slow:send_binary(filler, { volatile = true }) and 1 or 0)
    assert(tide.state.slow:send({ key = n, filler = filler }, { key = "k" }))
  end
  return { sent = sent }
end
function app.on.fill(conn, msg)
  while tide.state.slow.buffered < msg.bytes do -- behind what the system takes, which is megabytes
    assert(tide.state.slow:send { filler = filler })
    tide.sleep(0)
  end
  return { buffered = tide.state.slow.buffered }
end
function app.on.buffered() return { buffered = tide.state.slow.buffered } end
function app.on.send(conn, msg) tide.state.slow:send(msg.text) end
function app.on.drain(conn, msg)
  local conn2 = tide.state.slow
  tide.spawn(function()
    for n = 1, msg.count do
      local ok, _, name = conn2:send { n = n, filler = filler }
      if not ok then tide.room "log":send { failed = name } return end
      assert(conn2:drain(30))
    end
    tide.room "log":send { drained = msg.count }
  end)
end
function app.on.drain_timeout()
  while tide.state.slow.buffered < 400000 do
    tide.state.slow:send { filler = filler }
    tide.sleep(0)
  end
  local ok, _, name = tide.state.slow:drain(0.05)
  return { ok = ok or false, name = name }
end
return app
"""
OUTBOX = 1 << 20


@pytest.fixture(scope="module")
def local(authority):
    return ",".join(map(str, authority.issue("reader", "localhost", "127.0.0.1")))


@pytest.fixture
def make_trio(serve, connect, authority, local):
    """make_trio(grace, tls=False, **options) -> (server, slow, driver, log): `slow` has a small receive buffer and does not read."""
    def make(grace, tls=False, **options):
        flags = ["--tls", local] if tls else []
        server = serve(FLOOD, *flags, settings={"limits.outbox_grace": grace})
        context = authority.client() if tls else None
        log = connect(server, "/log", tls=context)
        slow = connect(server, "/slow", rcvbuf=4096, tls=context, **options)
        slow.fence()
        return server, slow, connect(server, "/driver", tls=context), log
    return make


@pytest.fixture
def trio(make_trio):
    """Without grace."""
    return make_trio(0)


def call(ws, kind, **fields):
    ws.text({"type": kind, "id": 1, **fields})
    return ws.expect(type="reply", id=1).get("data")


@pytest.mark.one_worker
def test_reader_that_never_reads_is_closed_with_1013(trio):
    server, slow, driver, log = trio
    got = call(driver, "plain", count=1000)
    assert got["name"] == "overflow" and got["after"] == "closed"
    assert got["n"] * 50000 < 12 << 20, "much more was queued than the limit and the kernel's buffers"
    log.expect(closed="/slow", code=1013)
    assert slow.take_eof() is not None
    assert call(driver, "plain", count=1)["name"] == "closed"


@pytest.mark.one_worker
def test_one_message_may_be_larger_than_the_limit(trio):
    """A reader is slow who has others waiting; with nothing queued a message of any size goes out."""
    _, slow, driver, log = trio
    assert call(driver, "large", size=3 * OUTBOX) == {"ok": True, "name": "overflow"}
    log.expect(closed="/slow", code=1013)
    driver.text({"type": "large_to_me", "size": 3 * OUTBOX})
    assert len(driver.frame().payload) == 3 * OUTBOX
    driver.fence()


@pytest.mark.one_worker
def test_reader_that_stalls_within_the_limit_gets_everything(trio):
    _, slow, driver, _ = trio
    call(driver, "plain", count=15)
    for n in range(1, 16):
        slow.expect(n=n)


@pytest.mark.one_worker
def test_keys_keep_the_newest_in_their_place(trio):
    server, slow, driver, _ = trio
    before = server.rss()
    got = call(driver, "keyed", count=3000)  # 150 MB
    assert got["buffered"] <= OUTBOX
    if not sanitized():
        assert server.rss() - before < 40 << 20
    seen = [slow.json()["n"]]
    while seen[-3:] != [2998, 2999, 3000] and sorted(seen[-3:]) != [2998, 2999, 3000]:
        seen.append(slow.json()["n"])
    assert len(seen) < 1000
    slow.expect_nothing()


@pytest.mark.one_worker
def test_volatile_is_dropped_first_and_counted(trio):
    """What is dropped is told once the reader reads again: nothing is missing without a number for it."""
    _, slow, driver, _ = trio
    got = call(driver, "volatile", count=1000)  # 50 MB
    assert got["buffered"] <= OUTBOX + 60000
    call(driver, "send", text='{"kept":true}')
    messages = [slow.json()]
    while {"kept": True} not in messages or not any("count" in m for m in messages):
        messages.append(slow.json())
    numbers = [m["n"] for m in messages if "n" in m]
    dropped = sum(m["count"] for m in messages if m.get("type") == "dropped")
    assert numbers == sorted(numbers) and numbers[-1] == 1000
    assert dropped > 500 and len(numbers) + dropped == 1000


@pytest.mark.one_worker
def test_drain_paces_a_sender(trio):
    """40 MB go to a reader that is slower than the sender; nothing overflows and nothing is lost."""
    _, slow, driver, log = trio
    call(driver, "drain", count=800)
    for n in range(1, 801):
        slow.expect(n=n)
    log.expect(drained=800)


@pytest.mark.one_worker
def test_drain_gives_up_in_time_and_at_the_end(trio):
    _, slow, driver, log = trio
    assert call(driver, "drain_timeout") == {"ok": False, "name": "timeout"}
    slow.reset()
    log.expect(closed="/slow", code=1006)


def test_room_member_that_never_reads_harms_no_other(serve, connect):
    server = serve("""
    local tide = require "moontide"
    local app, filler = {}, ("y"):rep(20000)
    function app.on_open(conn) conn:join "r" end
    function app.on_message(conn, text) tide.room "r":send { text = text, filler = filler } end
    return app""")
    dead = connect(server, rcvbuf=4096)
    dead.fence()
    good = connect(server)
    for n in range(1000):
        good.text(str(n))
        good.expect(text=str(n))
    assert dead.take_eof() is not None


# ---- the grace of a burst ----

@pytest.mark.one_worker
@pytest.mark.parametrize("tls", [False, True])
def test_burst_up_to_twice_the_limit_arrives(make_trio, tls):
    server, slow, driver, _ = make_trio(60, tls)
    got = call(driver, "fill", bytes=OUTBOX * 3 // 2)
    assert got["buffered"] >= OUTBOX * 3 // 2
    assert status(server)["net"]["slow"] == 1
    while call(driver, "buffered")["buffered"]:
        slow.json()
    assert status(server)["net"]["slow"] == 0
    call(driver, "send", text='{"last":true}')
    while "last" not in slow.json():
        pass


@pytest.mark.one_worker
@pytest.mark.parametrize("tls", [False, True])
def test_burst_that_is_not_read_in_time_ends_with_1013(make_trio, tls):
    server, slow, driver, log = make_trio(0.3, tls)
    call(driver, "fill", bytes=OUTBOX * 3 // 2)
    log.expect(closed="/slow", code=1013)
    server.log.wait(r"read too slowly: \d+ messages for it were dropped.*path=/slow")
    net = status(server)["net"]
    assert net["overflowed"] == 1 and net["dropped"] > 10 and net["slow"] == 0
    slow.take_eof()


@pytest.mark.one_worker
def test_twice_the_limit_is_never_passed(make_trio):
    _, _, driver, log = make_trio(60)
    got = call(driver, "plain", count=1000)
    assert got["name"] == "overflow"
    log.expect(closed="/slow", code=1013)


@pytest.mark.one_worker
def test_volatile_goes_first_when_the_grace_is_over(make_trio, until):
    """The connection stays, with no more than the limit; what was dropped is told once it reads, and there is no second grace
    before."""
    server, slow, driver, _ = make_trio(0.3)
    call(driver, "fill", bytes=100000)
    first = call(driver, "volatile", count=1000)
    assert OUTBOX < first["buffered"] <= 2 * OUTBOX
    until(lambda: call(driver, "buffered")["buffered"] <= OUTBOX, what="the end of the grace")
    assert call(driver, "volatile", count=100)["buffered"] <= OUTBOX
    call(driver, "send", text='{"kept":true}')
    messages = [slow.json()]
    while {"kept": True} not in messages or messages[-1].get("type") != "dropped":
        messages.append(slow.json())
    dropped = messages[-1]["count"]
    assert dropped == status(server)["net"]["dropped"]
    assert len([m for m in messages if "n" in m]) + dropped == 1100
    assert call(driver, "volatile", count=1)["dropped"] == 0
    slow.expect(n=1)
    until(lambda: call(driver, "buffered")["buffered"] == 0, what="an empty outbox")
    call(driver, "fill", bytes=100000)
    assert OUTBOX < call(driver, "volatile", count=200)["buffered"], "a new grace behind an empty outbox"


@pytest.mark.one_worker
def test_dropped_counts_neither_keys_nor_pings_and_is_text_among_binary(make_trio):
    """A client of binary messages tells it by its being text."""
    server, slow, driver, _ = make_trio(0)
    call(driver, "fill", bytes=100000)
    for n in range(100):
        slow.ping(str(n))
    sent = call(driver, "both", count=400)["sent"]
    for n in range(100, 200):
        slow.ping(str(n))
    got, pongs, binaries = slow.frame(), [], 0
    while b'"dropped"' not in got.payload[:100]:
        pongs += [got.payload] if got.op == PONG else []
        binaries += got.op == BINARY
        got = slow.frame()
    assert got.op == TEXT
    count = int(got.payload.split(b":")[-1].strip(b"}"))
    assert binaries + count == 400 and binaries <= sent
    assert count == status(server)["net"]["dropped"]
    while b"199" not in pongs:
        got = slow.frame()
        pongs += [got.payload] if got.op == PONG else []
    slow.expect_nothing()


@pytest.mark.one_worker
def test_newest_ping_is_answered_after_a_stall(make_trio):
    """Pings of a client that does not read are not answered without end; the last one is, when it reads again."""
    _, slow, driver, _ = make_trio(60)
    call(driver, "fill", bytes=OUTBOX * 3 // 2)
    for n in range(2000):
        slow.ping(f"{n:0100}")
    pongs = []
    while not pongs or pongs[-1] != b"%0100d" % 1999:
        got = slow.frame()
        pongs += [got.payload] if got.op == PONG else []
    assert len(pongs) < 1000 and pongs == sorted(pongs)
    slow.expect_nothing()


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
def test_many_that_never_read_harm_no_other(serve, connect, authority, local, until, tls, deflate):
    """40 that never read, in a room of 3 who do: those get everything in order, and what the others cost is bounded."""
    flags = ["--tls", local] if tls else []
    server = serve("""
    local tide = require "moontide"
    local app = {}
    local function filler() return tide.crypto.random(15000, "base64") end
    function app.on_open(conn) conn:join "r" end
    function app.on_message(conn, text) tide.room "r":send { text = text, filler = filler() } end
    return app""", *flags, settings={"limits.outbox": "128k", "limits.outbox_grace": 0.2})
    options = {"tls": authority.client() if tls else None, "extensions": "permessage-deflate" if deflate else None}
    dead = [connect(server, rcvbuf=4096, **options) for _ in range(40)]
    for ws in dead:
        ws.fence()
    options["extensions"] = None
    good = [connect(server, **options) for _ in range(3)]
    before = server.rss()
    for n in range(400):
        good[0].text(str(n))
        for ws in good:
            ws.expect(text=str(n))
    if not sanitized():
        assert server.rss() - before < 40 * (2 * (128 << 10) + (64 << 10)) + (30 << 20)
    for ws in good:
        ws.expect_nothing()
    until(lambda: status(server)["net"]["overflowed"] == 40, what="the end of those that never read")
    told = sum("read too slowly" in line for line in server.log.lines)
    assert 0 < told < 40, "one line a second, with the number of the others"
