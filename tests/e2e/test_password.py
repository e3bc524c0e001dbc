"""tide.password: hashes that others can check, and storms of logins that delay nobody else."""
import base64
import hashlib
import time

from support.server import sanitized

LOGIN = """
local tide = require "moontide"
local app, users = { on = {} }, {}
function app.on.register(conn, msg)
  local hash, why, name = tide.password.hash(msg.password)
  if not hash then return nil, why, name end
  users[msg.name] = hash
  return { hash = hash }
end
function app.on.login(conn, msg)
  local same, why, name = tide.password.verify(msg.password, users[msg.name] or msg.hash)
  if name then tide.room "refused":send { refused = name } end
  if same == nil then return nil, why, name end
  return { welcome = same }
end
function app.on.watch(conn) conn:join "refused" end
function app.on_message(conn, text) conn:send(text) end
return app
"""


def ask(ws, kind, **fields):
    ws.text({"type": kind, "id": 1, **fields})
    got = ws.expect(id=1)
    return got["data"] if got["type"] == "reply" else got["code"]


def decode(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def test_python_agrees(serve, connect):
    ws = connect(serve(LOGIN))
    text = ask(ws, "register", name="ann", password="pässword")["hash"]
    _, scheme, cost, salt, digest = text.split("$")
    assert (scheme, cost) == ("scrypt", "ln=15,r=8,p=1")
    want = hashlib.scrypt("pässword".encode(), salt=decode(salt), n=1 << 15, r=8, p=1, maxmem=1 << 27, dklen=len(decode(digest)))
    assert want == decode(digest)
    assert ask(ws, "login", name="ann", password="pässword") == {"welcome": True}
    assert ask(ws, "login", name="ann", password="password") == {"welcome": False}
    foreign = hashlib.scrypt(b"secret", salt=b"saltsalt", n=1 << 12, r=8, p=2, dklen=32)
    text = "$scrypt$ln=12,r=8,p=2$" + "$".join(base64.b64encode(b).decode().rstrip("=") for b in (b"saltsalt", foreign))
    assert ask(ws, "login", hash=text, password="secret") == {"welcome": True}
    assert ask(ws, "login", hash=text.replace("ln=12", "ln=40"), password="secret") == "too_large"
    assert ask(ws, "login", hash="secret", password="secret") == "malformed"


def test_a_name_that_is_not_there_takes_as_long(serve, connect):
    ws = connect(serve(LOGIN))
    ask(ws, "register", name="ann", password="x")

    def seconds(name):
        begin = time.monotonic()
        assert ask(ws, "login", name=name, password="wrong") == {"welcome": False}
        return time.monotonic() - begin
    ann, nobody = (min(seconds(name) for _ in range(5)) for name in ("ann", "nobody"))
    assert nobody > ann / 2, (ann, nobody)


def test_a_storm_of_logins(serve, connect):
    """More than may wait: the rest is refused at once, others are served, and memory stays bounded."""
    server = serve(LOGIN)
    quick, log = connect(server), connect(server, timeout=60)
    log.text({"type": "watch"})
    before = server.rss()
    clients = [connect(server) for _ in range(300)]
    for ws in clients:
        ws.text({"type": "login", "name": "ann", "password": "wrong", "id": 1})
    for _ in range(100):
        quick.text("x")
        quick.expect("x")
    assert server.rss() - before < (200 << 20) or sanitized()
    for _ in range(20):
        log.expect(refused="busy")
    for ws in clients:
        ws.close_socket()
    server.signal(15)  # what waits in the line is not hashed any more
    begin = time.monotonic()
    assert server.wait() == 0
    assert time.monotonic() - begin < 15
