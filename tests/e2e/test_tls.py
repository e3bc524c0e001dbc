"""TLS: versions, chains, several certificates by name, passphrases, and a changed certificate without a restart."""
import shutil
import signal
import ssl

import pytest
from support.control import status
from support.server import refuses
from support.wire import Socket, Wire, fetch

ECHO = """
local app = {}
function app.on_message(conn, text) conn:send(text) end
function app.on_http(req) return 200, { tls = req.tls and true or false } end
return app
"""
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def pair(files):
    return f"{files[0]},{files[1]}"


def names(wire):
    return [value for _, value in wire.sock.getpeercert()["subjectAltName"]]


def echo(address, context, **how):
    """A message there and back; the names in the certificate that the server showed."""
    with Socket(address, tls=context, **how) as ws:
        ws.text("over TLS")
        ws.expect("over TLS")
        shown, version = names(ws), ws.sock.version()
        ws.bye()
    return shown, version


@pytest.fixture(scope="module")
def local(authority):
    return authority.issue("local", "localhost", "127.0.0.1")


@pytest.mark.parametrize("version", [V12, V13])
def test_versions(serve, authority, local, version):
    server = serve(ECHO, "--tls", pair(local))
    assert server.url.startswith("https://")
    assert echo(server.address, authority.client(version, version))[1] == {V12: "TLSv1.2", V13: "TLSv1.3"}[version]
    assert fetch(server.address, tls=authority.client()).json() == {"tls": True}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_and_weak_ciphers_are_refused(serve, authority, local):
    server = serve(ECHO, "--tls", pair(local))
    for change in ({"maximum_version": ssl.TLSVersion.TLSv1_1}, {"ciphers": "AES128-SHA"}, {"ciphers": "ECDHE-ECDSA-AES128-SHA"}):
        context = authority.client()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        if "ciphers" in change:
            context.set_ciphers(change["ciphers"] + ":@SECLEVEL=0")
            context.maximum_version = V12
        else:
            context.maximum_version = change["maximum_version"]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            echo(server.address, context)
    echo(server.address, authority.client())


def test_large_and_compressed_messages(serve, authority, local):
    server = serve(ECHO, "--tls", pair(local))
    with Socket(server.address, tls=authority.client(), extensions="permessage-deflate") as ws:
        for size in (16383, 16384, 16385, 65536):
            ws.text("x" * size)
            got = ws.frame()
            assert got.rsv and len(got.payload) < 1000
        ws.bye()


def test_a_byte_a_record(serve, authority, local):
    server = serve(ECHO, "--tls", pair(local))
    with Socket(server.address, tls=authority.client()) as ws:
        ws.send_chopped(b"\x81\x85\0\0\0\0hello", 1)
        ws.expect("hello")


def test_certificate_by_name(serve, authority, local):
    rsa = authority.issue("other", "other.example", "*.wild.example", kind="rsa")
    server = serve(ECHO, "--tls", pair(local), "--tls", pair(rsa))
    context = authority.client()
    assert "localhost" in echo(server.address, context, name="localhost")[0]
    assert "other.example" in echo(server.address, context, name="other.example")[0]
    assert "other.example" in echo(server.address, context, name="a.wild.example")[0]
    stranger = authority.client()
    stranger.check_hostname = False
    assert "localhost" in echo(server.address, stranger, name="unknown.example")[0], "the first pair is the default"
    assert "localhost" in echo(server.address, stranger)[0], "no name at all"


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_key_with_passphrase(serve, authority, kind):
    files = authority.issue(f"locked-{kind}", "localhost", kind=kind, passphrase="open sesame")
    server = serve(ECHO, "--tls", pair(files), env={"MOONTIDE_TLS_PASSPHRASE": "open sesame"})
    echo(server.address, authority.client(), name="localhost")
    server.log.wait_end(0)
    assert "sesame" not in server.log.text()


def test_bad_pairs_refuse_to_start(authority, local, tmp_path, apps):
    other = authority.issue("stray", "localhost")
    locked = authority.issue("locked", "localhost", passphrase="open sesame")
    empty, rubbish = tmp_path / "empty.pem", tmp_path / "rubbish.pem"
    empty.write_text("")
    rubbish.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    for chain, key, names_it in ((local[0], other[1], "stray.key"), (tmp_path / "no.pem", local[1], "no.pem"),
                                 (local[0], tmp_path / "no.key", "no.key"),
                                 (empty, local[1], "empty.pem"), (rubbish, local[1], "rubbish.pem"),
                                 (local[0], local[0], "local.chain.pem")):
        _, text = refuses("run", apps / "echo.lua", "--listen", "127.0.0.1:0", "--tls", f"{chain},{key}")
        assert names_it in text, text
    for passphrase in ({}, {"MOONTIDE_TLS_PASSPHRASE": "wrong"}):
        _, text = refuses("run", apps / "echo.lua", "--listen", "127.0.0.1:0", "--tls", pair(locked), env=passphrase)
        assert "locked.key" in text and "passphrase" in text.lower(), text


@pytest.mark.parametrize("watch", [False, True])
@pytest.mark.parametrize("kinds", [("ec", "rsa"), ("rsa", "ec")])
def test_changed_certificate(serve, authority, tmp_path, until, kinds, watch):
    """New handshakes see the new certificate, by SIGHUP or by watching; the old connection lives on under its own."""
    old = authority.issue("old-" + kinds[0], "localhost", "old.example", kind=kinds[0])
    new = authority.issue("new-" + kinds[1], "localhost", "new.example", kind=kinds[1])
    chain, key = (shutil.copy(f, tmp_path / n) for f, n in zip(old, ("chain.pem", "key.pem")))
    server = serve(ECHO, "--tls", f"{chain},{key}", watch=watch)
    context = authority.client()
    before = Socket(server.address, tls=context, name="localhost")
    assert "old.example" in names(before)
    shutil.copy(new[0], chain)
    shutil.copy(new[1], key)
    if not watch:
        server.signal(signal.SIGHUP)
    until(lambda: "new.example" in echo(server.address, context, name="localhost")[0], what="the new certificate")
    before.text("still")
    before.expect("still")
    before.bye()


def test_changed_certificate_while_somebody_waits_in_line(serve, authority, tmp_path, until):
    """Nothing of TLS was done for who has no place yet."""
    old, new = authority.issue("line-old", "localhost", "old.example"), authority.issue("line-new", "localhost", "new.example")
    chain, key = (shutil.copy(f, tmp_path / n) for f, n in zip(old, ("chain.pem", "key.pem")))
    server = serve(ECHO, "--tls", f"{chain},{key}", settings={"limits.connections": 1, "limits.wait": 60})
    context = authority.client()
    inside = Socket(server.address, tls=context, name="localhost")
    with Wire(server.address) as waiting:
        until(lambda: status(server)["now"]["in_line"] == 1, what="somebody in line")
        shutil.copy(new[0], chain)
        shutil.copy(new[1], key)
        server.signal(signal.SIGHUP)
        server.log.wait("reloaded the certificates")
        inside.bye()
        waiting.sock = context.wrap_socket(waiting.sock, server_hostname="localhost")
        assert "new.example" in names(waiting)


def test_stop_while_others_shake_hands_or_wait_in_line(serve, authority, local, until):
    server = serve(ECHO, "--tls", pair(local), settings={"limits.connections": 3, "limits.wait": 60, "handshake.timeout": 60})
    context = authority.client()
    inside, silent, half, waiting = Socket(server.address, tls=context), *(Wire(server.address) for _ in range(3))
    hello, client = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(hello, client, server_hostname="localhost").do_handshake()
    said = client.read()
    half.send(said)
    assert half.take(1) == b"\x16"  # its answer, RFC 8446 5.1
    waiting.send(said)
    until(lambda: status(server)["now"]["in_line"] == 1, what="somebody in line")
    server.signal(signal.SIGTERM)
    inside.expect_close(1001)
    for wire in (silent, half, waiting):
        wire.take_eof()
        wire.close_socket()
    assert server.wait() == 0
    server.log.wait("stopped$")


def test_changed_certificate_that_does_not_fit_keeps_the_old(serve, authority, local, tmp_path, until):
    other = authority.issue("misfit", "localhost", "misfit.example")
    chain, key = (shutil.copy(f, tmp_path / n) for f, n in zip(local, ("chain.pem", "key.pem")))
    server = serve(ECHO, "--tls", f"{chain},{key}")
    context = authority.client()
    for broken in (other[0].read_text(), "", "rubbish"):
        seen = len(server.log)
        (tmp_path / "chain.pem").write_text(broken)
        server.signal(signal.SIGHUP)
        server.log.wait(r"(chain|key)\.pem", since=seen)
        assert "misfit.example" not in echo(server.address, context, name="localhost")[0]
    shutil.copy(other[0], chain)
    shutil.copy(other[1], key)
    server.signal(signal.SIGHUP)
    until(lambda: "misfit.example" in echo(server.address, context, name="localhost")[0], what="the pair that fits")


def test_sessions_resume_and_wrong_clients_do_no_harm(serve, authority, local):
    server = serve(ECHO, "--tls", pair(local), settings={"handshake.timeout": 0.3})
    context = authority.client(V12, V12)
    first = Socket(server.address, tls=context)
    session = first.sock.session
    first.bye()
    raw = Wire(server.address)
    again = context.wrap_socket(raw.sock, server_hostname="127.0.0.1", session=session)
    assert again.session_reused
    again.close()
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 1000, b"\x16\x03\x01\x02\x00\x01", b"\0" * 64,
                    b""):
        with Wire(server.address) as wire:
            wire.send(garbage)
            wire.take_eof()  # half a handshake ends by handshake.timeout
    echo(server.address, authority.client())


def test_plain_and_tls_listeners_at_once(serve, authority, local):
    server = serve(ECHO, "--tls", pair(local), listen=("http://127.0.0.1:0", "https://127.0.0.1:0"))
    plain = next(u for u in server.urls if u.startswith("http://"))
    secure = next(u for u in server.urls if u.startswith("https://"))
    address = ("127.0.0.1", int(plain.rsplit(":", 1)[1]))
    assert fetch(address).json() == {"tls": False}
    assert fetch(("127.0.0.1", int(secure.rsplit(":", 1)[1])), tls=authority.client()).json() == {"tls": True}
