"""Certificates of clients (mTLS): who gets in, what the script hears of it, lists of revoked ones, and files that change."""
import json
import shutil
import signal
import ssl
import subprocess
import time

import pytest
from support import certs, control
from support.server import refuses
from support.wire import Closed, Socket, Wire, fetch

APP = """
local app = {}
function app.on_connect(req)
  return { data = { client = req.tls and req.tls.client or false } }
end
function app.on_open(conn) conn:send { type = "hello", client = conn.data.client } end
function app.on_http(req) return 200, { client = req.tls and req.tls.client or false } end
return app
"""
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
PAST = "20200102000000Z"


@pytest.fixture(scope="module")
def local(authority):
    chain, key = authority.issue("mtls-server", "localhost", "127.0.0.1")
    return f"{chain},{key}"


@pytest.fixture(scope="module")
def people(authority, tmp_path_factory):
    """Certificates by what is right or wrong with them."""
    stranger = certs.Authority(tmp_path_factory.mktemp("other-ca"))
    alice = authority.issue_client("alice", "/O=Example/CN=alice", "DNS:alice.example", "URI:spiffe://example/alice",
                                   "email:alice@example.org")
    return {
        "alice": alice,
        "any": authority.issue_client("any-usage", usage=None),
        "evil": authority.issue_self_signed("evil"),
        "stranger": stranger.issue_client("alice2", "/O=Example/CN=alice"),
        "expired": authority.issue_client("expired", days=-1),
        "revoked": authority.issue_client("revoked"),
        "server": authority.issue_client("serverish", usage="serverAuth"),
        "none": None,
    }


@pytest.fixture(scope="module")
def crl(authority, people):
    return authority.revoke("now", people["revoked"][0])


@pytest.fixture
def start(serve, authority, local, crl):
    def make(client="required", *flags, script=APP, **settings):  # pylint: disable=keyword-arg-before-vararg
        wanted = {"tls.client": client, "tls.ca": authority.root[0], "tls.crl": crl, **settings}
        return serve(script, "--tls", local, *flags, settings={k: v for k, v in wanted.items() if v})
    return make


def hello(server, context, **how):
    """What the script heard of the client, by a WebSocket."""
    with Socket(server.address, tls=context, **how) as ws:
        heard = ws.expect(type="hello")["client"]
        ws.bye()
    return heard


def refused(server, context, **how):
    """No answer, whatever is asked. In TLS 1.3 the client has sent its request before it can hear of the refusal."""
    with pytest.raises((ssl.SSLError, ConnectionError, Closed)) as why:
        print(fetch(server.address, tls=context, **how))
    return str(why.value)


def fingerprint(chain):
    text = subprocess.run(["openssl", "x509", "-in", chain, "-noout", "-fingerprint", "-sha256"], capture_output=True, check=True)
    return text.stdout.decode().split("=")[1].strip().replace(":", "").lower()


@pytest.mark.parametrize("version", [V12, V13])
def test_what_a_script_hears(start, authority, people, version):
    server = start()
    context = authority.client(version, version, show=people["alice"])
    heard = hello(server, context)
    assert heard.pop("not_after") == pytest.approx(time.time() + 30 * 86400, abs=3600)
    assert len(heard["serial"]) >= 2 and int(heard["serial"], 16) > 0 and heard.pop("serial").isupper()
    assert heard == {"cn": "alice", "subject": "CN=alice,O=Example", "issuer": "CN=Test intermediate",
                     "fingerprint": fingerprint(people["alice"][0]),
                     "san": ["DNS:alice.example", "URI:spiffe://example/alice", "email:alice@example.org"]}
    assert fetch(server.address, tls=context).json()["client"]["cn"] == "alice"
    assert hello(server, authority.client(version, version, show=people["any"]))["cn"] == "any-usage", "any usage is fine"


BAD = ["evil", "stranger", "expired", "revoked", "server"]


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("who", [*BAD, "none"])
def test_required_refuses(start, authority, people, who, version):
    server = start()
    context = authority.client(version, version, show=people[who])
    refused(server, context)
    for name in ("plain", "secure", "localhost"):  # names of virtual hosts inside the server
        context.check_hostname = False
        refused(server, context, name=name)
    server.log.wait("a client certificate was refused: .*peer=127.0.0.1")
    assert hello(server, authority.client(show=people["alice"]))["cn"] == "alice"


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("who", [*BAD, "none"])
def test_optional_refuses_bad_ones_and_takes_none(start, authority, people, who, version):
    server = start("optional")
    context = authority.client(version, version, show=people[who])
    if who == "none":
        assert hello(server, context) is False
    else:
        refused(server, context)
    assert hello(server, authority.client(show=people["alice"]))["cn"] == "alice"


def test_off_asks_nobody(serve, authority, local, people):
    server = serve(APP, "--tls", local)
    assert hello(server, authority.client(show=people["alice"])) is False
    assert hello(server, authority.client(show=people["evil"])) is False


def test_refusals_are_counted(start, authority, people):
    server = start()
    for who in ("evil", "none", "revoked"):
        refused(server, authority.client(show=people[who]))
    assert control.status(server)["net"]["certs_refused"] == 3
    server.log.wait("a client certificate was refused")
    reasons = [line for line in server.log.lines if "a client certificate was refused" in line]
    assert 1 <= len(reasons) <= 3


def test_openssl_and_curl(start, authority, people):
    server = start()
    host, port = server.address

    def ask(show):
        curl = ["curl", "-sS", "--cacert", authority.root[0], f"https://{host}:{port}/"]
        if show:
            curl += ["--cert", show[0], "--key", show[1]]
        return subprocess.run(curl, capture_output=True, timeout=20, check=False)

    good = ask(people["alice"])
    assert json.loads(good.stdout)["client"]["cn"] == "alice", good.stderr
    for who in (*BAD, "none"):
        bad = ask(people[who])
        assert bad.returncode in (16, 35, 52, 55, 56, 58) and not bad.stdout, (who, bad)
    shown = subprocess.run(["openssl", "s_client", "-connect", f"{host}:{port}"], input=b"", capture_output=True, timeout=20, check=False)
    assert b"Acceptable client certificate CA names\nCN = Test root" in shown.stdout, shown.stdout
    done = subprocess.run(["openssl", "s_client", "-connect", f"{host}:{port}", "-quiet"],
                          input=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", capture_output=True, timeout=20, check=False)
    assert b"HTTP/1.1" not in done.stdout and b"alert" in done.stderr, done


def test_sessions_do_not_resume(start, authority, people):
    """Who connects is checked against the files as they are now, whoever it was before."""
    server = start()
    for version in (V12, V13):
        context = authority.client(version, version, show=people["alice"])
        with Socket(server.address, tls=context) as first:
            first.expect(type="hello")
            session = first.sock.session
            assert not session or not session.has_ticket
            first.bye()
        raw = Wire(server.address)
        again = context.wrap_socket(raw.sock, server_hostname="127.0.0.1", session=session) if session else None
        assert not again or not again.session_reused
        raw.sock.close()


@pytest.mark.parametrize("watch", [False, True])
def test_a_new_list_counts_at_once(serve, authority, local, people, tmp_path, until, crl, watch):
    """Revoked meanwhile: no new connection, by a session neither; the open one stays."""
    mallory = authority.issue_client(f"mallory-{watch}", "/CN=mallory")
    live = shutil.copy(crl, tmp_path / "crl.pem")
    server = serve(APP, "--tls", local, watch=watch,
                   settings={"tls.client": "required", "tls.ca": authority.root[0], "tls.crl": live})
    context = authority.client(show=mallory)
    with Socket(server.address, tls=context) as ws:
        ws.expect(type="hello")
        new = authority.revoke(f"later-{watch}", people["revoked"][0], mallory[0])
        seen = len(server.log)
        shutil.copy(new, live)
        if not watch:
            server.signal(signal.SIGHUP)
        server.log.wait("reloaded the certificates", since=seen)
        refused(server, context)
        assert hello(server, authority.client(show=people["alice"]))["cn"] == "alice"
        ws.fence()
        ws.bye()


def test_files_that_are_wrong_keep_the_old(serve, authority, local, people, tmp_path, crl):
    ca, live = shutil.copy(authority.root[0], tmp_path / "ca.pem"), shutil.copy(crl, tmp_path / "crl.pem")
    server = serve(APP, "--tls", local, settings={"tls.client": "required", "tls.ca": ca, "tls.crl": live})
    old, middle = authority.revoke("old", until=PAST), authority.middle[0].read_text()
    good = {ca: authority.root[0].read_text(), live: crl.read_text()}
    broken = middle.replace("\nMII", "\nAAA")
    for file, text, says in ((live, "", "tls.crl"), (live, "rubbish", "no list"), (live, old.read_text(), "out of date"),
                             (live, good[live] + broken.replace("CERTIFICATE", "X509 CRL"), "broken list"),
                             (live, authority.revoke("half", without_root=True).read_text(), "no list by it"),
                             (ca, "", "no certificate"), (ca, middle, "signed by itself"), (ca, good[ca] + broken, "broken")):
        seen = len(server.log)
        file.write_text(text)
        server.signal(signal.SIGHUP)
        server.log.wait(f"not reloaded, the old ones go on: .*{says}", since=seen)
        assert hello(server, authority.client(show=people["alice"]))["cn"] == "alice"
        refused(server, authority.client(show=people["revoked"]))
        refused(server, authority.client(show=people["evil"]))
        file.write_text(good[file])


def test_an_authority_that_was_revoked(start, authority, people):
    """The whole chain is looked for in the lists, and not the client's own certificate only."""
    server = start(**{"tls.crl": authority.revoke("no-middle", middle=True)})
    refused(server, authority.client(show=people["alice"]))
    server.log.wait("a client certificate was refused: certificate revoked")


def test_another_authority_by_a_reload(serve, authority, local, people, tmp_path, tmp_path_factory):
    other = certs.Authority(tmp_path_factory.mktemp("next-ca"))
    bob = other.issue_client("bob")
    ca = shutil.copy(authority.root[0], tmp_path / "ca.pem")
    server = serve(APP, "--tls", local, settings={"tls.client": "required", "tls.ca": ca})
    assert hello(server, authority.client(show=people["alice"]))["cn"] == "alice"
    refused(server, authority.client(show=bob))
    ca.write_text(other.root[0].read_text())
    server.signal(signal.SIGHUP)
    server.log.wait("reloaded the certificates")
    assert hello(server, authority.client(show=bob))["cn"] == "bob"
    refused(server, authority.client(show=people["alice"]))


def test_names_that_are_meant_to_confuse(start, authority):
    server = start()
    tricky = authority.issue_client("tricky", "/O=a\\, CN\\=admin/CN=eve\n\x01admin")
    heard = hello(server, authority.client(show=tricky))
    assert "cn" not in heard and heard["subject"] == "CN=eve\\0A\\01admin,O=a\\, CN=admin", heard
    two = authority.issue_client("two", "/CN=admin/CN=eve")
    heard = hello(server, authority.client(show=two))
    assert "cn" not in heard and heard["subject"] == "CN=eve,CN=admin"
    far = authority.issue_client("far", "/CN=Zoë Ω", "DNS:xn--zo-jma.example")
    heard = hello(server, authority.client(show=far))
    assert heard["cn"] == "Zoë Ω" and heard["subject"] == "CN=Zo\\C3\\AB \\CE\\A9" and heard["san"] == ["DNS:xn--zo-jma.example"]
    long = authority.issue_client("long", "/O=" + "/OU=".join(["x" * 64] * 100) + "/CN=long")
    assert len(hello(server, authority.client(show=long))["subject"]) > 6400


def test_settings_that_do_not_fit(authority, local, apps, tmp_path, crl):
    root, empty, old = authority.root[0], tmp_path / "empty.pem", authority.revoke("start-old", until=PAST)
    empty.write_text("")
    tls = ("--tls", local)
    cases = [
        (tls, {"tls.client": "required"}, ["tls.client", "required", "set tls.ca"]),
        (tls, {"tls.ca": root}, ["tls.ca", str(root), "tls.client is off", "optional or required"]),
        (tls, {"tls.crl": crl}, ["tls.crl", str(crl), "tls.client is off"]),
        ((), {"tls.client": "optional", "tls.ca": root}, ["tls.client", "optional", "no listener speaks TLS", "set tls"]),
        (tls, {"tls.client": "yes", "tls.ca": root}, ["tls.client", "yes", "off"]),
        (tls, {"tls.client": "required", "tls.ca": "/none.pem"}, ["tls.ca", "/none.pem", "No such file"]),
        (tls, {"tls.client": "required", "tls.ca": empty}, ["tls.ca", str(empty), "no certificate"]),
        (tls, {"tls.client": "required", "tls.ca": root, "tls.crl": "/none.pem"}, ["tls.crl", "/none.pem", "No such file"]),
        (tls, {"tls.client": "required", "tls.ca": root, "tls.crl": root}, ["tls.crl", str(root), "no list"]),
        (tls, {"tls.client": "required", "tls.ca": root, "tls.crl": old}, ["tls.crl", str(old), "out of date", "get a new one"]),
        (tls, {"tls.client": "required", "tls.ca": authority.middle[0]}, ["tls.ca", "add the root"]),
    ]
    for command in ("check", "run"):
        for flags, settings, says in cases:
            sets = [a for k, v in settings.items() for a in ("--set", f"{k}={v}")]
            _, text = refuses(command, apps / "echo.lua", "--listen", "127.0.0.1:0", *flags, *sets)
            assert all(s in text for s in says), (says, text)
