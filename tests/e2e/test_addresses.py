"""Who may connect by address: allow and deny, what proxies say of their clients, and reloads of both. All of 127/8 is this machine,
so clients here come from 127.0.0.2, 127.0.0.5 and so on."""
import signal
import ssl

import pytest
from support.control import status
from support.server import WORKERS, refuses
from support.wire import Closed, Refused, Response, Socket, Wire, fetch, head

APP = """
local tide = require "moontide"
local app = {}
function app.on_open(conn) conn:join "all" conn:send { ip = conn.ip } end
function app.on_message(conn, text) if text == "fail" then error "as asked" end conn:send(text) end
function app.on_close(conn, code) tide.room "all":send { gone = conn.ip, code = code } end
function app.on_http(req) return 200, { ip = req.ip } end
return app
"""
PROXY, OTHER, CLIENT = "127.0.0.2", "127.0.0.7", "203.0.113.9"


def ip(server, source=None, address=None, **headers):
    """What the server takes the client's address for."""
    got = fetch(address or server.address, source=source, headers={name.replace("_", "-"): v for name, v in headers.items()})
    assert got.status == 200, got
    return got.json()["ip"]


def is_shut_out(server, source, tls=None):
    """Whether a connection from there is closed without a word."""
    try:
        with Wire(server.address, source=source, tls=tls) as wire:
            wire.send(head(headers={"Connection": "close"}))
            return wire.take_eof() == b""
    except (ConnectionError, ssl.SSLError, Closed):
        return True


def write(path, **lists):
    items = (f"{key} = {{ {', '.join(repr(item) for item in value)} }}" for key, value in lists.items())
    path.write_text("return { " + ", ".join(items) + " }")


def reload(server, path, **lists):
    since = len(server.log)
    write(path, **lists)
    server.signal(signal.SIGHUP)
    server.log.wait("reloaded .*conf", since=since)


# ---- allow and deny ----

def test_deny(serve):
    server = serve(APP, settings={"deny": "127.0.0.4/31 10.0.0.0/8"})
    for _ in range(12):
        assert is_shut_out(server, "127.0.0.5")
    assert is_shut_out(server, "127.0.0.4")
    assert ip(server, "127.0.0.6") == "127.0.0.6"
    assert ip(server) == "127.0.0.1"
    net = status(server)["net"]
    assert net["denied"] == 13 and net["accepted"] == net["upgraded"] + 2, net
    lines = [line for line in server.log.lines if "do not admit" in line]
    assert 1 <= len(lines) <= WORKERS and "peer=127.0.0." in lines[0], lines


def test_allow_lists_all_who_may(serve):
    server = serve(APP, settings={"allow": "127.0.0.4/30", "deny": "127.0.0.6"})
    assert ip(server, "127.0.0.5") == "127.0.0.5"
    assert is_shut_out(server, "127.0.0.6")  # the smaller network counts
    assert is_shut_out(server, "127.0.0.1") and is_shut_out(server, "127.0.0.8")


def test_before_tls(serve, authority):
    chain, key = authority.issue("addresses", "127.0.0.1")
    server = serve(APP, "--tls", f"{chain},{key}", settings={"deny": "127.0.0.5"})
    with Wire(server.address, source="127.0.0.5") as wire:
        wire.expect_eof()  # it is not even asked for a hello
    assert is_shut_out(server, "127.0.0.5", tls=authority.client())
    assert fetch(server.address, source="127.0.0.6", tls=authority.client()).json() == {"ip": "127.0.0.6"}


def test_ipv6(serve):
    server = serve(APP, listen=("[::1]:0",), settings={"deny": "::1"})
    with Wire(("::1", server.port)) as wire:
        wire.expect_eof()
    server = serve(APP, listen=("[::1]:0",), settings={"allow": "::/64"})
    assert fetch(("::1", server.port)).json() == {"ip": "::1"}


def test_unix_sockets(serve, tmp_path):
    path = str(tmp_path / "a.sock")
    server = serve(APP, listen=("127.0.0.1:0", f"unix:{path}"), settings={"allow": "127.0.0.1"})
    with Wire(path) as wire:
        wire.expect_eof()
    assert ip(server) == "127.0.0.1"
    path = str(tmp_path / "b.sock")
    server = serve(APP, listen=("127.0.0.1:0", f"unix:{path}"), settings={"allow": "unix"})
    assert fetch(path).json() == {"ip": "unix"}
    assert is_shut_out(server, "127.0.0.1")


def test_thousands_of_networks(serve, tmp_path, until):
    conf = tmp_path / "moontide.conf.lua"
    many = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(20000)]
    write(conf, deny=many)
    server = serve(APP, "--config", conf)
    assert ip(server, "127.0.0.5") == "127.0.0.5"
    reload(server, conf, deny=many + ["127.0.0.5"])
    until(lambda: is_shut_out(server, "127.0.0.5"), what="the ban")
    assert ip(server, "127.0.0.6") == "127.0.0.6"


# ---- reloads ----

def test_who_is_banned_has_to_go(serve, connect, tmp_path, until):
    conf = tmp_path / "moontide.conf.lua"
    write(conf, deny=["10.0.0.0/8"])
    server = serve(APP, "--config", conf)
    bad, good = connect(server, source="127.0.0.5"), connect(server, source="127.0.0.6")
    assert bad.json() == {"ip": "127.0.0.5"} and good.json() == {"ip": "127.0.0.6"}
    with Wire(server.address, source="127.0.0.5") as idle, Wire(server.address, source="127.0.0.6") as kept:
        for wire in (idle, kept):
            wire.send(head())
            assert Response(wire).status == 200
        reload(server, conf, deny=["127.0.0.5"])
        bad.expect_close(1008, "this address is not admitted any more")
        good.expect(gone="127.0.0.5", code=1008)
        idle.expect_eof()
        kept.send(head())
        assert Response(kept).json() == {"ip": "127.0.0.6"}
    until(lambda: is_shut_out(server, "127.0.0.5"), what="the ban")
    good.text("still here")
    good.expect("still here")
    server.log.wait("allow and deny do not admit their addresses any more")
    reload(server, conf)
    until(lambda: not is_shut_out(server, "127.0.0.5"), what="the pardon")


def test_a_list_with_an_error_keeps_the_old_one(serve, connect, tmp_path):
    conf = tmp_path / "moontide.conf.lua"
    write(conf, deny=["127.0.0.5"])
    server = serve(APP, "--config", conf)
    ws = connect(server)
    ws.json()
    for lists in ({"deny": ["127.0.0.1/8"]}, {"allow": ["127.0.0.5"], "deny": ["127.0.0.5"]}, {"origins": ["app.example"]}):
        since = len(server.log)
        write(conf, **lists)
        server.signal(signal.SIGHUP)
        server.log.wait("the settings were not reloaded", since=since)
    assert is_shut_out(server, "127.0.0.5")
    ws.text("x")
    ws.expect("x")


@pytest.mark.one_worker  # the system decides whose line a client gets into
def test_who_is_banned_while_it_waits_in_line(serve, connect, tmp_path, until):
    conf = tmp_path / "moontide.conf.lua"
    write(conf)
    server = serve(APP, "--config", conf, settings={"limits.connections": 1, "limits.wait": 60})
    inside = connect(server, source="127.0.0.6")
    with Wire(server.address, source="127.0.0.5") as bad, Wire(server.address, source="127.0.0.7") as good:
        for wire in (bad, good):
            wire.send(head(headers={"Connection": "close"}))
        until(lambda: status(server)["now"]["in_line"] == 2, what="the line")
        reload(server, conf, deny=["127.0.0.5"])
        inside.close_socket()
        assert Response(good).json() == {"ip": "127.0.0.7"}
        try:
            assert bad.take_eof() == b""  # as one that comes now
        except ConnectionResetError:
            pass  # its request was never read
    assert status(server)["net"]["denied"] == 1


@pytest.mark.parametrize("setting,says", [
    ("deny=10.0.0.1/8", "did you mean 10.0.0.0/8?"), ("allow=localhost", 'allow = "localhost" is not an address or a network'),
    ("proxies=unix:/x", 'proxies = "unix:/x" is not'), ("origins=app.example", "did you mean https://app.example?"),
    ("origins=https://*", 'origins = "https://*" is not an origin')])
def test_check_names_what_is_wrong(apps, setting, says):
    for command in ("check", "run"):
        code, text = refuses(command, apps / "echo.lua", "--set", setting)
        assert code == 2 and says in text, text
    code, text = refuses("check", apps / "echo.lua", "--set", "allow=1.2.3.4 ::/8", "--set", "deny=::/8")
    assert code == 2 and 'deny = "::/8" is in allow too' in text, text


# ---- what proxies say ----

@pytest.mark.parametrize("headers,client", [
    ({"X_Forwarded_For": CLIENT}, CLIENT), ({"X_Real_IP": CLIENT}, CLIENT),
    ({"X_Forwarded_For": f"6.6.6.6, 127.0.0.1, {CLIENT}"}, CLIENT),           # whatever the client has put before it
    ({"X_Forwarded_For": f"6.6.6.6, {CLIENT}, {OTHER}, 127.0.0.2"}, CLIENT),  # a chain of proxies
    ({"X_Forwarded_For": "6.6.6.6, 2001:db8::1"}, "2001:db8::1"), ({"X_Forwarded_For": "[2001:db8::1]:4711"}, "2001:db8::1"),
    ({"X_Forwarded_For": f"6.6.6.6, {CLIENT}", "X_Real_IP": CLIENT}, CLIENT),
    ({"Forwarded": f"for={CLIENT}"}, PROXY), ({}, PROXY)])
def test_a_proxy_tells_who_the_client_is(serve, connect, headers, client):
    server = serve(APP, settings={"proxies": f"{PROXY} {OTHER}"})
    assert ip(server, PROXY, **headers) == client
    assert ip(server, "127.0.0.5", **headers) == "127.0.0.5"  # anybody can write that
    assert ip(server, **headers) == "127.0.0.1"
    ws = connect(server, source=PROXY, headers={name.replace("_", "-"): value for name, value in headers.items()})
    ws.expect(ip=client)


@pytest.mark.parametrize("headers", [
    {"X-Forwarded-For": "unknown"}, {"X-Forwarded-For": ""}, {"X-Forwarded-For": f"{CLIENT},"}, {"X-Real-IP": f"{CLIENT}, {CLIENT}"},
    {"X-Forwarded-For": "6.6.6.6", "X-Real-IP": CLIENT}, {"X-Forwarded-For": f"{CLIENT} {CLIENT}"}])
def test_a_proxy_that_names_nobody(serve, connect, headers):
    server = serve(APP, settings={"proxies": PROXY})
    got = fetch(server.address, source=PROXY, headers=headers)
    assert got.status == 400 and b"who the client is" in got.body, got
    with pytest.raises(Refused) as why:
        connect(server, source=PROXY, headers=headers)
    assert why.value.status == 400
    server.log.wait("a proxy named no client, or two.*peer=127.0.0.2")
    assert fetch(server.address, source="127.0.0.5", headers=headers).status == 200  # nobody listens to that one


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP"])
def test_a_proxy_on_this_machine_that_is_not_listed_is_told(serve, header):
    server = serve(APP, settings={"proxies": PROXY})
    said = {header: CLIENT}
    assert fetch(server.address, source=PROXY, headers=said).json() == {"ip": CLIENT}
    assert ip(server, "127.0.0.5") == "127.0.0.5"
    assert not [line for line in server.log.lines if "not in the setting proxies" in line]
    for _ in range(8 * WORKERS):
        assert fetch(server.address, source="127.0.0.5", headers=said).json() == {"ip": "127.0.0.5"}
    server.log.wait("its sender is not in the setting proxies.*limits per address do not hold.*peer=127.0.0.5")
    assert len([line for line in server.log.lines if "not in the setting proxies" in line]) <= WORKERS


def test_one_connection_for_many_clients(serve):
    server = serve(APP, settings={"proxies": PROXY, "deny": "203.0.113.66"})
    with Wire(server.address, source=PROXY) as wire:
        for client in ("203.0.113.1", "2001:db8::1", None, "203.0.113.2", "127.0.0.1"):
            wire.send(head(headers={"X-Forwarded-For": client}))
            assert Response(wire).json() == {"ip": client or PROXY}
        wire.send(b"".join(head(headers={"X-Forwarded-For": f"203.0.113.{n}"}) for n in range(10)))  # at once
        for n in range(10):
            assert Response(wire).json() == {"ip": f"203.0.113.{n}"}
        wire.send(head(headers={"X-Forwarded-For": "203.0.113.66"}))
        assert Response(wire).status == 403


def test_the_log_names_the_client(serve, connect):
    server = serve(APP, settings={"proxies": PROXY})
    ws = connect(server, source=PROXY, headers={"X-Forwarded-For": CLIENT})
    ws.json()
    ws.text("fail")
    server.log.wait(f"on_message.*peer={CLIENT}")


def test_a_denied_client_behind_a_proxy(serve, connect):
    server = serve(APP, settings={"proxies": PROXY, "deny": "203.0.113.0/24"})
    got = fetch(server.address, source=PROXY, headers={"X-Forwarded-For": CLIENT})
    assert got.status == 403 and got.body == b"this address may not use this server\n", got
    with pytest.raises(Refused) as why:
        connect(server, source=PROXY, headers={"X-Forwarded-For": f"8.8.8.8, {CLIENT}"})
    assert why.value.status == 403
    assert ip(server, PROXY, X_Forwarded_For=f"{CLIENT}, 8.8.8.8") == "8.8.8.8"
    assert ip(server, "127.0.0.5", X_Forwarded_For=CLIENT) == "127.0.0.5"
    assert status(server)["net"]["denied"] == 2
    server.log.wait(f"a request was refused: allow and deny do not admit its address.*peer={CLIENT}")


def test_only_clients_need_to_be_allowed(serve):
    server = serve(APP, settings={"proxies": PROXY, "allow": "203.0.113.0/24"})
    assert ip(server, PROXY, X_Forwarded_For=CLIENT) == CLIENT
    assert fetch(server.address, source=PROXY, headers={"X-Forwarded-For": "8.8.8.8"}).status == 403
    assert fetch(server.address, source=PROXY).status == 403  # as a client the proxy is nobody
    assert is_shut_out(server, "127.0.0.5")


def test_a_ban_of_one_client_of_a_proxy(serve, connect, tmp_path, until):
    conf = tmp_path / "moontide.conf.lua"
    write(conf, proxies=[PROXY])
    server = serve(APP, "--config", conf)
    bad, good = (connect(server, source=PROXY, headers={"X-Forwarded-For": f"203.0.113.{n}"}) for n in (1, 2))
    assert bad.json() == {"ip": "203.0.113.1"} and good.json() == {"ip": "203.0.113.2"}
    reload(server, conf, proxies=[PROXY], deny=["203.0.113.1"])
    bad.expect_close(1008)
    good.expect(gone="203.0.113.1", code=1008)
    good.expect_nothing()
    reload(server, conf, deny=["203.0.113.1"])  # nobody is a proxy any more
    until(lambda: ip(server, PROXY, X_Forwarded_For=CLIENT) == PROXY, what="the end of the proxy")
    good.expect_nothing()  # who it is was told when it came


def test_a_proxy_on_a_unix_socket(serve, connect, tmp_path):
    path = str(tmp_path / "tide.sock")
    serve(APP, listen=(f"unix:{path}",), settings={"proxies": "unix", "deny": "203.0.113.66 unix"})
    assert fetch(path, headers={"X-Forwarded-For": CLIENT}).json() == {"ip": CLIENT}
    assert fetch(path, headers={"X-Forwarded-For": "203.0.113.66"}).status == 403
    assert fetch(path, headers={"X-Forwarded-For": "::"}).json() == {"ip": "::"}
    assert fetch(path).status == 403
    with Socket(path, headers={"X-Real-IP": "2001:db8::5"}) as ws:
        ws.expect(ip="2001:db8::5")
        ws.bye()
