"""Whose pages may use the server: same origin by default, what is listed besides; by plain sockets, by TLS, and behind a proxy that
ends TLS."""
import signal

import pytest
from support.control import status
from support.server import WORKERS
from support.wire import Refused, Response, Wire, fetch, head

APP = """
local app = {}
function app.on_message(conn, text) conn:send(text) end
function app.on_http(req) return 200, { method = req.method, origin = req.origin, secure = req.secure } end
return app
"""
WHY = b"pages of this origin may not use this server\n"


def get(server, origin, host="app.example", **options):
    headers = {"Host": host, "Origin": origin, **options.pop("headers", {})}
    return fetch(server.address, headers=headers, **options)


def check(server, connect, origin, welcome, host="app.example", tls=None, **headers):
    """By HTTP and by a handshake, which must have one answer."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    got = get(server, origin, host, tls=tls, headers=headers)
    assert got.status == (200 if welcome else 403), f"{origin} at {host}: {got}"
    if welcome:
        ws = connect(server, headers={"Origin": origin, **headers}, host=host, tls=tls)
        ws.text("hello")
        ws.expect("hello")
        return
    assert got.body == WHY and got.headers["content-type"].startswith("text/plain"), got
    with pytest.raises(Refused) as why:
        connect(server, headers={"Origin": origin, **headers}, host=host, tls=tls)
    assert why.value.status == 403 and why.value.response.body == WHY


def test_same_origin_only(serve, connect):
    server = serve(APP)
    for origin, host in [("http://app.example", "app.example"), ("http://app.example:8765", "app.example:8765"),
                         ("https://app.example", "app.example"),  # TLS ends at a proxy that does not tell
                         ("http://APP.example", "app.EXAMPLE:80"), ("http://[::1]:8765", "[::1]:8765")]:
        check(server, connect, origin, True, host)
    for origin, host in [("http://evil.example", "app.example"), ("http://app.example:8766", "app.example:8765"),
                         ("https://app.example:8443", "app.example"), ("http://app.example.evil.example", "app.example"),
                         ("http://www.app.example", "app.example"), ("null", "app.example"), ("file://", "app.example"),
                         ("http://app.example/", "app.example"), ("app.example", "app.example"), ("", "app.example")]:
        check(server, connect, origin, False, host)
    assert fetch(server.address).status == 200  # no browser, or its own page


def test_every_kind_of_request(serve):
    server = serve(APP)
    for method, body in [("POST", b"x=1"), ("PUT", b""), ("DELETE", None), ("OPTIONS", None), ("HEAD", None)]:
        got = get(server, "https://evil.example", method=method, body=body)
        assert got.status == 403 and got.body == (b"" if method == "HEAD" else WHY), (method, got)
        assert get(server, "http://app.example", method=method, body=body).status == 200
    with Wire(server.address) as wire:  # several lines, even of the right one
        wire.send(head(headers=[("Host", "app.example"), ("Origin", "http://app.example"), ("Origin", "http://app.example")]))
        assert Response(wire).status == 403
    with Wire(server.address) as wire:  # the host of an absolute target goes before the header's
        wire.send(head("http://evil.example/", headers=[("Host", "app.example"), ("Origin", "http://app.example")]))
        assert Response(wire).status == 403
    with Wire(server.address) as wire:  # no host at all
        wire.send(head(version="HTTP/1.0", host=None, headers={"Origin": "http://app.example"}))
        assert Response(wire).status == 403


def test_static_files(serve, tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").write_text("mine")
    server = serve(APP, "--static", tmp_path / "pages")
    assert get(server, "http://app.example").body == b"mine"
    assert get(server, "http://evil.example").status == 403


def test_listed(serve, connect):
    server = serve(APP, settings={"origins": "https://other.example http://localhost:3000 https://*.wild.example capacitor://localhost"})
    for origin in ("https://other.example", "https://other.example:443", "http://localhost:3000", "https://a.wild.example",
                   "https://A.Wild.Example", "capacitor://localhost", "http://app.example"):
        check(server, connect, origin, True)
    for origin in ("http://other.example", "https://other.example:8443", "http://localhost:3001", "https://wild.example",
                   "https://a.b.wild.example", "http://a.wild.example", "https://evilwild.example", "null", "capacitor://evil"):
        check(server, connect, origin, False)


def test_null_and_any(serve, connect):
    server = serve(APP, settings={"origins": "null"})
    check(server, connect, "null", True)
    check(server, connect, "https://evil.example", False)
    server = serve(APP, settings={"origins": "*"})
    for origin in ("null", "https://evil.example", "http://evil.example:1"):
        check(server, connect, origin, True)
    check(server, connect, "evil.example", False)


def test_tls(serve, connect, authority):
    chain, key = authority.issue("origins", "127.0.0.1")
    server = serve(APP, "--tls", f"{chain},{key}", settings={"origins": "http://old.example"})
    tls = authority.client()
    check(server, connect, "https://app.example:8443", True, "app.example:8443", tls)
    check(server, connect, "https://app.example", True, "app.example:443", tls)
    check(server, connect, "http://app.example", False, "app.example", tls)  # whoever is on the way can change that page
    check(server, connect, "http://app.example:8443", False, "app.example:8443", tls)
    check(server, connect, "http://old.example", True, "app.example", tls)
    assert fetch(server.address, tls=tls).json()["secure"] is True


def test_a_proxy_that_ends_tls(serve, connect):
    server = serve(APP, settings={"proxies": "127.0.0.1"})
    check(server, connect, "https://app.example", True, X_Forwarded_Proto="https")
    check(server, connect, "http://app.example", False, X_Forwarded_Proto="https")
    check(server, connect, "http://app.example", True, X_Forwarded_Proto="http")
    for word, secure in [("https", True), ("http", False), ("https, http", False), ("nonsense", False)]:
        assert fetch(server.address, headers={"X-Forwarded-Proto": word}).json()["secure"] is secure
    server = serve(APP)  # from others the header says nothing
    check(server, connect, "http://app.example", True, X_Forwarded_Proto="https")
    assert fetch(server.address, headers={"X-Forwarded-Proto": "https"}).json()["secure"] is False


def test_told_and_counted(serve):
    server = serve(APP, settings={"origins": "https://secret-tenant.example"})
    for n in range(12):
        got = get(server, f"https://evil{n}.example\x01" if n % 2 else f"https://evil{n}.example", "app.example:8765")
        assert got.status in (400, 403) and b"tenant" not in got.body
    refused = 6
    assert status(server)["net"]["foreign"] == refused
    lines = [line for line in server.log.lines if "another origin" in line]
    assert 1 <= len(lines) <= WORKERS, lines
    for part in ('"https://evil', "http://app.example:8765", "origins", "peer=127.0.0.1"):
        assert part in lines[0], lines


def test_live(serve, connect, tmp_path, until):
    conf = tmp_path / "moontide.conf.lua"
    conf.write_text("return {}")
    server = serve(APP, "--config", conf)
    check(server, connect, "https://other.example", False)
    conf.write_text('return { origins = { "https://other.example" } }')
    server.signal(signal.SIGHUP)

    def agreed(wanted):  # by each of the workers
        return all(get(server, "https://other.example").status == wanted for _ in range(20))
    until(lambda: agreed(200), what="the new list")
    check(server, connect, "https://other.example", True)
    conf.write_text("return {}")
    server.signal(signal.SIGHUP)
    until(lambda: agreed(403), what="the old list")


def test_thousands(serve, connect, tmp_path):
    conf = tmp_path / "moontide.conf.lua"
    conf.write_text("return { origins = {" + ",".join(f"'https://tenant-{n}.example'" for n in range(5000)) + "} }")
    server = serve(APP, "--config", conf)
    check(server, connect, "https://tenant-4999.example", True)
    check(server, connect, "https://tenant-5000.example", False)


def test_dev_pages_are_the_servers_own(serve, connect):
    server = serve(APP, "--dev", settings={"origins": "*"})
    own = f"127.0.0.1:{server.port}"
    connect(server, "/_moontide/dev", host=own, headers={"Origin": f"http://{own}"}).expect(type="live")
    for origin, host in [("http://evil.example", own), ("null", own), (None, own), ("http://evil.example", "evil.example")]:
        with pytest.raises(Refused) as why:
            connect(server, "/_moontide/dev", host=host, headers={"Origin": origin})
        assert why.value.status == 403
