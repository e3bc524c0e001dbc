"""Tokens: in all four places, plain and under TLS; against another implementation; keys from files and URLs as they change and
fail; the end of a connection whose token expires; `moontide token`."""
import base64
import json
import signal
import subprocess
import threading
import time

import pytest
from support import jose
from support.backend import server_context
from support.control import status
from support.server import BIN, WORKERS, clean_environment
from support.wire import Refused, Socket, Wire, head, Response

APP = """
local tide = require "moontide"
local env = tide.env
local app = { on = {}, accepts = { refresh = { token = "string" } } }
local OPTS = { key = env.KEY, jwks = env.JWKS, algorithms = env.ALGORITHM }
function app.on_connect(req)
  local claims, message, name = tide.jwt.verify(req:token(), OPTS)
  if not claims then tide.reject(401, name .. ": " .. message) end
  return { user = claims.sub, expires = claims.exp }
end
function app.on.who(conn) return { user = conn.user, protocol = conn.protocol } end
function app.on.refresh(conn, msg)
  local claims, message, name = tide.jwt.verify(msg.token, OPTS)
  if not claims then return nil, message, name end
  conn.expires = claims.exp
  return true
end
return app
"""


def who(ws):
    ws.text({"type": "who", "id": 1})
    return ws.expect(type="reply", id=1)["data"]


def refused(connect, server, token, **options):
    with pytest.raises(Refused) as why:
        connect(server, f"/?token={token}" if token else "/", **options)
    assert why.value.status == 401
    return why.value.response.body.decode()


# ---- where tokens come from ----

PLACES = {
    "header": lambda t: {"headers": {"Authorization": f"Bearer {t}"}},
    "query": lambda t: {"target": f"/?token={t}"},
    "cookie": lambda t: {"headers": {"Cookie": f"a=b; token={t}"}},
    "protocols": lambda t: {"protocols": ["bearer", t]},
    "protocol": lambda t: {"protocols": [f"bearer.{t}"]},
}


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("jwt", "localhost", "127.0.0.1")


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("place", PLACES)
def test_places(serve, connect, authority, pair, place, secure):
    key = jose.Key("HS256")
    flags = ("--tls", f"{pair[0]},{pair[1]}") if secure else ()
    server = serve(APP, *flags, env={"KEY": key.public})
    options = {"tls": authority.client()} if secure else {}
    token = key.token(sub="ann")
    ws = connect(server, **PLACES[place](token), **options)
    answer = who(ws)
    assert answer["user"] == "ann"
    # browsers want one of their protocols chosen, and it is never the token
    assert ws.protocol == answer.get("protocol") == ("bearer" if place == "protocols" else None)
    assert token not in ws.response.raw
    for bad in (token[:-4] + "AAAA", key.token(-5, sub="ann"), jose.Key("ES256").token(sub="ann")):
        with pytest.raises(Refused) as why:
            connect(server, **PLACES[place](bad), **options)
        assert why.value.status == 401
        assert bad not in server.log.text()
    assert "missing: no token" in refused(connect, server, None, **options)
    assert token not in server.log.text()


def test_the_protocol_of_the_app_is_chosen_beside_a_token(serve, connect):
    key = jose.Key("HS256")
    server = serve(APP.replace("local app = {", 'local app = { protocols = { "chat" },'), env={"KEY": key.public})
    token = key.token(sub="ann")
    assert connect(server, protocols=["bearer", token, "chat"]).protocol == "chat"
    assert connect(server, protocols=["chat", "bearer." + token]).protocol == "chat"
    assert connect(server, protocols=["bearer", token]).protocol == "bearer"


def test_no_token_is_logged(serve, connect):
    """Also where the script fails, at the level that tells most."""
    key = jose.Key("HS256")
    app = APP.replace("function app.on.who(conn)", "function app.on.who(conn) if conn.query.fail then error 'on purpose' end")
    server = serve(app, "--log-level", "debug", env={"KEY": key.public})
    token = key.token(sub="ann")
    ws = connect(server, f"/?token={token}&fail=1")
    ws.text({"type": "who", "id": 1})
    ws.expect(type="error", code="internal")
    server.log.wait("on purpose")
    refused(connect, server, token + "x")
    assert token[-20:] not in server.log.text()


# ---- the other implementation ----

@pytest.mark.parametrize("alg", jose.ALGORITHMS)
def test_other_implementation(serve, connect, alg):
    """What cryptography signs is verified, by PEM and by JWK, and the other way."""
    key = jose.Key(alg)
    server = serve("""
    local tide = require "moontide"
    local env, app = tide.env, { on = {} }
    function app.on.verify(_, msg) return (assert(tide.jwt.verify(msg.token, { key = msg.jwk and env.JWK or env.PUBLIC, algorithms = msg.algorithms }))) end
    function app.on.try(_, msg) return (select(3, tide.jwt.verify(msg.token, { key = env.PUBLIC }))) end
    function app.on.sign() return tide.jwt.sign({ sub = "ann" }, { key = env.PRIVATE, algorithm = env.ALG, expires_in = 60 }) end
    return app
    """, env={"PUBLIC": key.public, "PRIVATE": key.private, "JWK": json.dumps(key.jwk()), "ALG": alg})
    ws = connect(server)

    def ask(**message):
        ws.text({"id": 1, **message})
        return ws.expect(type="reply", id=1)["data"]

    token = key.token(sub="bob", text="Grüße", list=[1, 2.5, {"a": None}])
    for jwk in (False, True):
        claims = ask(type="verify", token=token, jwk=jwk)
        assert claims["sub"] == "bob" and claims["text"] == "Grüße" and claims["list"][:2] == [1, 2.5]
    mine = ask(type="sign")
    assert key.claims(mine)["sub"] == "ann"
    assert ask(type="verify", token=mine)["sub"] == "ann"
    other = jose.Key(alg) if not alg.startswith("HS") else None
    if other:
        assert ask(type="try", token=other.token(sub="bob")) == "invalid"
    for text in (token[:-8], token + "AAAA"):
        assert ask(type="try", token=text) in ("invalid", "malformed")


def test_certificate(serve, connect, authority):
    cert, private = authority.issue("signer", "signer.example", kind="rsa")
    server = serve(APP, env={"KEY": cert.read_text()})
    made = subprocess.run([BIN, "token", "make", "--key-file", private, "--sub", "ann"], check=True, capture_output=True, text=True)
    assert who(connect(server, f"/?token={made.stdout.strip()}"))["user"] == "ann"


# ---- the end of a token ----

def test_a_token_expires(serve, connect):
    key = jose.Key("HS256")
    server = serve(APP, env={"KEY": key.public})
    begin = time.time()
    ws = connect(server, f"/?token={key.token(2, sub='ann')}")
    kept = connect(server, f"/?token={key.token(2, sub='bob')}")
    kept.text({"type": "refresh", "token": key.token(3600, sub="bob"), "id": 1})
    kept.expect(type="reply", id=1)
    ws.expect_close(4401, "expired")
    assert 0.9 < time.time() - begin < 6
    assert who(kept)["user"] == "bob"
    kept.text({"type": "refresh", "token": key.token(-5, sub="bob"), "id": 2})
    kept.expect(type="error", id=2, code="expired")
    assert who(kept)["user"] == "bob"  # what failed changed nothing


def test_an_expiry_in_the_past(serve, connect):
    server = serve("local app = {} function app.on_connect() return { expires = 1 } end return app")
    connect(server).expect_close(4401, "expired")


def test_the_code_of_the_end_is_a_setting(serve, connect, tmp_path):
    """It changes with the configuration, for connections that are open too; a reload of the script keeps the clock."""
    conf = tmp_path / "moontide.conf.lua"
    conf.write_text("return { auth = { expired = 4000 } }")
    key = jose.Key("HS256")
    server = serve(APP, "--config", conf, env={"KEY": key.public})
    connect(server, f"/?token={key.token(1, sub='ann')}").expect_close(4000, "expired")
    ws = connect(server, f"/?token={key.token(4, sub='ann')}")
    conf.write_text("return { auth = { expired = 4999 } }")
    server.script.write_text(APP + "-- new\n")
    server.signal(signal.SIGHUP)
    server.log.wait("reloaded .*moontide.conf.lua")
    server.log.wait("reloaded .*version|reloaded app")
    ws.expect_close(4999, "expired")


# ---- keys from elsewhere ----

class Issuer:
    """Publishes keys. `gate` holds answers back; `answer` is what comes."""

    def __init__(self, *keys):
        self.keys, self.count, self.lock = list(keys), 0, threading.Lock()
        self.gate, self.asked = threading.Event(), threading.Event()
        self.gate.set()
        self.headers, self.status, self.body, self.location = "", "200 OK", None, None

    def __call__(self, peer):
        while peer.request():
            with self.lock:
                self.count += 1
            self.asked.set()
            self.gate.wait(20)
            peer.answer(self.body if self.body is not None else jose.key_set(*self.keys), self.status, self.headers)


@pytest.fixture
def issue(backend, serve):
    def make(*keys, settings=None, **env):
        issuer = Issuer(*keys)
        issuer.backend = backend(issuer)
        issuer.url = f"http://127.0.0.1:{issuer.backend.port}/keys"
        issuer.server = serve(APP, env={"JWKS": issuer.url, **env}, settings=settings or {})
        return issuer
    return make


def test_keys_from_a_url(issue, connect):
    one, two = jose.Key("ES256", "one"), jose.Key("EdDSA", "two")
    issuer = issue(one, two)
    for key in (one, two, one):
        assert who(connect(issuer.server, f"/?token={key.token(sub=key.kid)}"))["user"] == key.kid
    assert issuer.count <= WORKERS  # a worker asks once
    assert "invalid" in refused(connect, issuer.server, jose.Key("ES256", "one").token(sub="eve"))
    assert "denied" in refused(connect, issuer.server, one.token(sub="eve", header={"alg": "HS256"}))
    assert issuer.count <= WORKERS


@pytest.mark.one_worker
def test_keys_are_rotated(issue, connect):
    """A kid that is not known makes one fetch, and no more however many such tokens come."""
    old, new = jose.Key("ES256", "old"), jose.Key("ES256", "new")
    issuer = issue(old)
    who(connect(issuer.server, f"/?token={old.token(sub='ann')}"))
    issuer.keys = [new]
    end = time.monotonic() + 30
    while time.monotonic() < end:  # the pause between two fetches is 10 s
        try:
            assert who(connect(issuer.server, f"/?token={new.token(sub='bob')}"))["user"] == "bob"
            break
        except Refused as why:
            assert "not_found" in why.response.body.decode()
            assert issuer.count == 1
            time.sleep(0.2)
    assert issuer.count == 2
    assert "not_found" in refused(connect, issuer.server, old.token(sub="ann"))  # it is gone
    for n in range(50):
        assert "not_found" in refused(connect, issuer.server, jose.Key("EdDSA", f"evil{n}").token(sub="eve"))
    assert issuer.count == 2
    assert who(connect(issuer.server, f"/?token={new.token(sub='bob')}"))["user"] == "bob"


def ask_in(server, token):
    wire = Wire(server.address)
    wire.send(head(f"/?token={token}", {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                                         "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}))
    return wire


def test_a_stampede_makes_one_fetch(issue, connect):
    """200 handshakes wait for the same answer."""
    key = jose.Key("EdDSA", "k")
    issuer = issue(key)
    issuer.gate.clear()
    token = key.token(sub="ann")
    wires = []
    for _ in range(200):
        wires.append(ask_in(issuer.server, token))
    assert issuer.asked.wait(10)
    issuer.gate.set()
    assert all(Response(wire).status == 101 for wire in wires)
    assert issuer.count <= WORKERS
    for wire in wires:
        wire.close_socket()


@pytest.mark.one_worker
def test_a_reload_while_keys_are_fetched(issue):
    """Who waits is let in by the keys when they come, the new version waits for the same fetch, and who has gone does no harm."""
    key = jose.Key("EdDSA", "k")
    issuer = issue(key)
    issuer.gate.clear()
    waits, goes = (ask_in(issuer.server, key.token(sub=name)) for name in ("ann", "eve"))
    assert issuer.asked.wait(10)
    issuer.server.script.write_text(APP.replace("user = conn.user,", "user = conn.user, version = 2,"))
    at = len(issuer.server.log)
    issuer.server.signal(signal.SIGHUP)
    issuer.server.log.wait("reloaded .*version=", since=at)
    goes.close_socket()
    late = ask_in(issuer.server, key.token(sub="bob"))
    bad = ask_in(issuer.server, jose.Key("EdDSA", "k").token(sub="bob"))
    issuer.gate.set()
    assert [Response(wire).status for wire in (waits, late, bad)] == [101, 101, 401]
    assert issuer.count == 1
    for wire in (waits, late, bad):
        wire.close_socket()


def test_a_stop_while_keys_are_fetched(issue):
    key = jose.Key("EdDSA", "k")
    issuer = issue(key)
    issuer.gate.clear()
    wire = ask_in(issuer.server, key.token(sub="ann"))
    assert issuer.asked.wait(10)
    issuer.server.signal(signal.SIGTERM)
    assert issuer.server.wait() == 0
    issuer.gate.set()
    wire.close_socket()


def test_who_publishes_is_down(issue, connect):
    """Without keys nobody gets in, and it is told why; the log has it, not once per client."""
    key = jose.Key("EdDSA", "k")
    issuer = issue(key)
    issuer.backend.close()
    for _ in range(20):
        assert "refused: the keys cannot be fetched" in refused(connect, issuer.server, key.token(sub="ann"))
    issuer.server.log.wait("jwks http://127.0.0.1.*tokens cannot be verified")
    assert issuer.server.log.text().count("tokens cannot be verified") <= 2 * WORKERS


def test_who_publishes_does_not_answer(issue, connect):
    key = jose.Key("EdDSA", "k")
    issuer = issue(key)
    issuer.gate.clear()
    assert refused(connect, issuer.server, key.token(sub="ann"), timeout=40) == "timeout: the keys cannot be fetched"
    issuer.server.log.wait("no answer within 10 s; tokens cannot be verified")
    assert status(issuer.server)["handlers"]["jwks_failures"] == 1
    issuer.gate.set()


@pytest.mark.parametrize("line, body, name", [("200 OK", "{", "malformed"), ("200 OK", "[]", "malformed"), ("200 OK", '{"keys":[]}', "malformed"),
                                                ("200 OK", '{"kty":"oct","k":"AAAA"}', "malformed"), ("500 No", "", "malformed"),
                                                ("200 OK", jose.key_set(jose.Key("HS256", "k")), "malformed"), ("200 OK", " " * 300000, "too_large")],
                         ids=["broken", "list", "empty", "one key", "status", "secrets", "large"])
def test_answers_that_are_no_keys(issue, connect, line, body, name):
    """A secret that everybody can read is none."""
    issuer = issue()
    issuer.status, issuer.body = line, body
    assert refused(connect, issuer.server, jose.Key("HS256", "k").token(sub="ann")).startswith(name + ": the keys cannot be fetched")


def test_a_malformed_token_fetches_nothing(issue, connect):
    issuer = issue(jose.Key("EdDSA", "k"))
    for token in ("x", "a.b.c", jose.b64('{"alg":"none"}') + ".e30.", "a" * 5000):
        refused(connect, issuer.server, token)
    assert issuer.count == 0


def test_redirects_do_not_lead_out_of_https(serve, connect, backend, authority, pair):
    key = jose.Key("EdDSA", "k")
    plain = Issuer(key)
    plain_url = f"http://127.0.0.1:{backend(plain).port}/keys"
    secure = Issuer(key)
    secure.status, secure.headers = "302 Found", f"Location: {plain_url}\r\n"
    url = f"https://localhost:{backend(secure, tls=server_context(pair)).port}/keys"
    server = serve(APP, env={"JWKS": url}, settings={"http.ca": authority.root[0]})
    assert "denied: the keys cannot be fetched" in refused(connect, server, key.token(sub="ann"))
    assert plain.count == 0


def test_keys_over_https(serve, connect, backend, authority, pair):
    key = jose.Key("EdDSA", "k")
    url = f"https://localhost:{backend(Issuer(key), tls=server_context(pair)).port}/keys?secret=1"
    server = serve(APP, env={"JWKS": url}, settings={"http.ca": authority.root[0]})
    assert who(connect(server, f"/?token={key.token(sub='ann')}"))["user"] == "ann"
    stranger = serve(APP, env={"JWKS": url})
    assert "tls: the keys cannot be fetched" in refused(connect, stranger, key.token(sub="ann"))
    stranger.log.wait("jwks https://localhost:.*tokens cannot be verified")
    assert "secret=1" not in stranger.log.text()


def test_the_guard_of_tide_http_holds(issue, connect):
    key = jose.Key("EdDSA", "k")
    issuer = issue(key, settings={"http.private": "false"})
    assert "denied" in refused(connect, issuer.server, key.token(sub="ann"))
    assert issuer.count == 0


def test_keys_from_a_file(serve, connect, tmp_path):
    key = jose.Key("ES384", "k")
    path = tmp_path / "keys.json"
    path.write_text(jose.key_set(key, jose.Key("HS256", "h")))
    for name in (str(path), f"file:{path}", f"file://{path}", "keys.json"):
        server = serve(APP, env={"JWKS": name}, cwd=tmp_path)
        assert who(connect(server, f"/?token={key.token(sub='ann')}"))["user"] == "ann"
        assert who(connect(server, f"/?token={jose.Key('HS256', 'h').token(sub='bob')}"))["user"] == "bob"  # a file may hold secrets
    for name, what in (("missing.json", "not_found"), (".", "invalid")):
        server = serve(APP, env={"JWKS": name}, cwd=tmp_path)
        assert refused(connect, server, key.token(sub="ann")).startswith(what)


@pytest.mark.one_worker
def test_old_keys_stay_while_others_cannot_be_fetched(issue, connect):
    """Cache-Control cannot make it ask all the time; after a failed fetch for a kid the keys that are there go on."""
    key = jose.Key("EdDSA", "k")
    issuer = issue(key)
    issuer.headers = "Cache-Control: max-age=0\r\n"
    who(connect(issuer.server, f"/?token={key.token(sub='ann')}"))
    issuer.status = "503 Away"
    end = time.monotonic() + 30
    while issuer.count < 2:
        assert time.monotonic() < end
        assert "not_found" in refused(connect, issuer.server, jose.Key("EdDSA", "x").token(sub="eve"))
        time.sleep(0.2)
    issuer.server.log.wait("jwks .*status 503; the keys of .* stay in use")
    assert who(connect(issuer.server, f"/?token={key.token(sub='ann')}"))["user"] == "ann"


# ---- the command line ----

def token(*args, given=None, env=None):
    done = subprocess.run([BIN, "token", *args], input=given, capture_output=True, text=True, timeout=30, check=False,
                          env={**clean_environment(), **(env or {})})
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def test_command_makes_and_checks(tmp_path):
    secret = token("secret")[1]
    assert len(jose.unb64(secret)) == 32 and secret != token("secret")[1]
    env = {"JWT_KEY": secret}
    code, made, err = token("make", "--sub", "ann", "--expires", "1h", "--claim", "role=admin", "--claims", '{"n": 1}', "--issuer", "me",
                            "--audience", "us", env=env)
    assert (code, err) == (0, "")
    code, out, _ = token("check", made, "--audience", "us", env=env)
    claims = json.loads(out)
    assert code == 0 and claims["sub"] == "ann" and claims["role"] == "admin" and claims["n"] == 1 and claims["exp"] == claims["iat"] + 3600
    assert token("check", "--audience", "us", given=made + "\n", env=env)[0] == 0
    assert token("verify", "-", "--audience=us", "--issuer=me", given=made, env=env)[0] == 0
    for args, what in (((made,), "none was given"), ((made, "--audience", "them"), "another audience"),
                       ((made, "--audience", "us", "--issuer", "you"), "another issuer"), ((made[:-1],), "base64url|wrong"), (("x",), "not a signed token"),
                       ((made, "--audience", "us", "--algorithm", "HS512"), "not allowed")):
        code, out, err = token("check", *args, env=env)
        assert code == 1 and out == "" and any(part in err for part in what.split("|")), err
    assert token("check", made, env={"JWT_KEY": "other"})[2].endswith("the signature of the token is wrong")
    path = tmp_path / "key"
    path.write_text(secret + "\n")  # as an editor leaves it
    assert token("check", made, "--audience", "us", "--key-file", str(path))[0] == 0
    assert token("make", "--key-file", "-", given=secret)[0] == 0
    assert token("make", "--key-env", "MINE", env={"MINE": secret})[0] == 0


@pytest.mark.parametrize("alg", ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_command_with_keys(tmp_path, alg):
    key = jose.Key(alg, "k")
    private, public, keys = (tmp_path / name for name in ("private.pem", "public.pem", "keys.json"))
    private.write_text(key.private)
    public.write_text(key.public)
    keys.write_text(jose.key_set(key))
    code, made, _ = token("make", "--key-file", str(private), "--sub", "ann", "--algorithm", alg)
    assert code == 0 and key.claims(made)["sub"] == "ann"
    assert token("check", made, "--key-file", str(public))[0] == 0
    assert token("check", key.token(sub="ann"), "--key-file", str(keys))[0] == 0
    code, out, err = token("make", "--key-file", str(public))
    assert (code, out) == (1, "") and "does not sign" in err


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_a_key_without_its_lines_is_no_secret(tmp_path, alg):
    """Everybody has the public key: an HMAC with its text would let everybody sign."""
    key = jose.Key(alg)
    body = "".join(line for line in key.public.splitlines() if "-----" not in line)
    jwk = json.dumps(key.jwk())
    path = tmp_path / "key"
    for text in (body, "\n".join(key.public.splitlines()[1:-1]) + "\n", base64.b64decode(body), base64.b64encode(key.public.encode()),
                 "\ufeff" + jwk, f"[{jwk}]"):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        code, out, err = token("make", "--sub", "eve", "--key-file", str(path))
        assert (code, out) == (1, ""), text
        assert "the key:" in err
    for _ in range(20):  # and no secret is taken for one
        assert token("make", env={"JWT_KEY": token("secret")[1]})[0] == 0


def test_command_mistakes():
    env = {"JWT_KEY": "k" * 32}
    for args, code, what in (((), 2, "moontide token make, check or secret"), (("mkae",), 2, "did you mean make?"), (("make", "--subb", "x"), 2, "did you mean --sub?"),
                             (("make", "--key", "abc"), 2, "can be seen by everybody"), (("make", "--sub"), 2, "needs a value"), (("make", "x"), 2, "unexpected"),
                             (("make", "--leeway", "5"), 2, "not for this"), (("make", "--expires", "soon"), 2, "is not a time"), (("make", "--expires", "0"), 2, "has expired already"),
                             (("make", "--expires", "0d"), 2, "has expired already"), (("check", "x", "--leeway", "-1"), 2, "is not a time"), (("make", "--claim", "x"), 2, "NAME=TEXT"),
                             (("make", "--claims", "[]"), 1, "a JSON object"), (("make", "--claims", "{"), 1, "not valid JSON"), (("make", "--algorithm", "none"), 1, "no algorithm none"),
                             (("make", "--algorithm", "RS256"), 1, "not for RS256"), (("make", "--key-env", "NONE"), 1, "NONE is not set"),
                             (("make", "--key-file", "/nowhere"), 1, "/nowhere"), (("make", "--key-file", "-", "--key-env", "X"), 2, "either")):
        got, out, err = token(*args, env=env, given="")
        assert got == code and out == "" and what in err, (args, got, err)
    for verb in ("make", "secret"):  # what nobody gets was not made
        with open("/dev/full", "w", encoding="ascii") as full:
            assert subprocess.run([BIN, "token", verb], stdout=full, stderr=subprocess.DEVNULL, check=False, env={**clean_environment(), **env}).returncode == 1
    assert "can find a secret of 1 bytes" in token("make", env={"JWT_KEY": "k"})[2]
    assert "moontide token make" in token("--help")[1] and "moontide token make" in token("make", "-h")[1]


# ---- a browser's way, once more from outside: the page cannot set headers ----

def test_two_sockets_of_one_token(serve):
    key = jose.Key("HS256")
    server = serve(APP, env={"KEY": key.public})
    with Socket(server.address, protocols=["bearer", key.token(sub="ann")]) as a, Socket(server.address, protocols=["bearer", key.token(sub="ann")]) as b:
        assert who(a)["user"] == who(b)["user"] == "ann"
