"""Readers that are slow or never read: queues stay bounded, keys keep the newest, the rest closes with 1013."""
import pytest
from support.server import sanitized

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


@pytest.fixture
def trio(serve, connect):
    """(server, slow, driver, log): `slow` has a small receive buffer and does not read."""
    server = serve(FLOOD)
    log = connect(server, "/log")
    slow = connect(server, "/slow", rcvbuf=4096)
    slow.fence()
    return server, slow, connect(server, "/driver"), log


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
