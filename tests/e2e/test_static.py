"""Static files over the wire: types, ETag and 304, HEAD, ranges; nothing outside of the folder and no dot files."""
import os

import pytest
from support.server import refuses
from support.wire import Response, Wire, fetch, head

APP = 'return { on_http = function(req) if req.path == "/api" then return 200, { method = req.method } end end }'


@pytest.fixture
def site(tmp_path, serve):
    root = tmp_path / "site"
    (root / "sub").mkdir(parents=True)
    (root / "bare").mkdir()
    (root / ".git").mkdir()
    for name, data in {"index.html": b"<p>home", "app.js": b"let x", "style.css": b"p{}", "data.json": b"{}",
                       "pic.png": b"\x89PNG", "pic.svg": b"<svg/>",
                       "note.txt": "grün".encode(), "mod.wasm": b"\0asm", "what.ever": b"?", "digits": b"0123456789",
                       "empty.txt": b"",
                       "sub/index.html": b"<p>sub", "with space.txt": b"space", ".secret": b"no", ".git/config": b"no",
                       "big.bin": os.urandom(3 << 20)}.items():
        (root / name).write_bytes(data)
    (tmp_path / "outside.txt").write_text("outside")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    server = serve(APP, "--static", root)
    server.root = root
    return server


def get(server, target, method="GET", **headers):
    return fetch(server.address, target, method, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize("name,kind", [
    ("index.html", "text/html"), ("app.js", "text/javascript"), ("style.css", "text/css"), ("data.json", "application/json"),
    ("pic.png", "image/png"),
    ("pic.svg", "image/svg+xml"), ("note.txt", "text/plain"), ("mod.wasm", "application/wasm"),
    ("what.ever", "application/octet-stream")])
def test_types(site, name, kind):
    got = get(site, "/" + name)
    assert got.status == 200 and got.headers["content-type"].split(";")[0] == kind
    assert got.body == (site.root / name).read_bytes()
    if kind.startswith("text/"):
        assert "charset=utf-8" in got.headers["content-type"].lower()


def test_index_and_folders(site):
    assert get(site, "/").body == b"<p>home"
    assert get(site, "/?x=1").body == b"<p>home"
    assert get(site, "/sub/").body == b"<p>sub"
    moved = get(site, "/sub")
    assert moved.status == 301 and moved.headers["location"].endswith("/sub/")
    assert get(site, "/bare/").status == 404
    assert get(site, "/with%20space.txt").body == b"space"
    assert get(site, "/empty.txt").body == b""


def test_head(site):
    got = get(site, "/digits", "HEAD")
    assert got.status == 200 and got.headers["content-length"] == "10" and got.body == b""


def test_etag_and_304(site):
    first = get(site, "/digits")
    tag, date = first.headers["etag"], first.headers["last-modified"]
    for headers in ({"If_None_Match": tag}, {"If_None_Match": f'"other", {tag}'}, {"If_None_Match": "*"},
                    {"If_Modified_Since": date}):
        got = get(site, "/digits", **headers)
        assert got.status == 304 and not got.body and got.headers["etag"] == tag, headers
    for headers in ({"If_None_Match": '"other"'}, {"If_None_Match": '"other"', "If_Modified_Since": date},
                    {"If_Modified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
                    {"If_Modified_Since": "rubbish"}):
        assert get(site, "/digits", **headers).status == 200, headers
    (site.root / "digits").write_bytes(b"9876543210!")
    assert get(site, "/digits", If_None_Match=tag).status == 200


@pytest.mark.parametrize("value,part", [("bytes=0-0", b"0"), ("bytes=2-4", b"234"), ("bytes=5-", b"56789"), ("bytes=-3", b"789"),
                                        ("bytes=0-99", b"0123456789"), ("bytes=-99", b"0123456789")])
def test_ranges(site, value, part):
    got = get(site, "/digits", Range=value)
    assert got.status == 206 and got.body == part
    begin = b"0123456789".index(part)
    assert got.headers["content-range"] == f"bytes {begin}-{begin + len(part) - 1}/10"


def test_ranges_that_cannot_be_met_or_read(site):
    for value in ("bytes=10-", "bytes=99-100", "bytes=-0"):
        got = get(site, "/digits", Range=value)
        assert got.status == 416 and got.headers["content-range"] == "bytes */10", value
    for value in ("bytes=a-b", "bytes=4-2", "lines=1-2", "bytes", "bytes=", "bytes=1"):
        assert (get(site, "/digits", Range=value).status, get(site, "/digits", Range=value).body) == (200, b"0123456789"), value
    tag = get(site, "/digits").headers["etag"]
    assert get(site, "/digits", Range="bytes=0-1", If_Range=tag).status == 206
    assert get(site, "/digits", Range="bytes=0-1", If_Range='"old"').status == 200


@pytest.mark.parametrize("target", ["/.secret", "/.git/config", "/../outside.txt", "/sub/../../outside.txt",
                                    "/%2e%2e/outside.txt", "/..%2foutside.txt",
                                    "/%2e%2e%2foutside.txt", "/sub/%2e%2e/%2e%2e/outside.txt", "/..\\outside.txt", "/link.txt",
                                    "//etc/passwd", "/etc/passwd",
                                    "/sub/.%00/x", "/note.txt%00.html", "/%zz", "/%", "/....//outside.txt", "/nothing.html",
                                    "/sub/nothing"])
def test_no_way_out(site, target):
    got = get(site, target)
    assert got.status in (400, 403, 404), got
    assert b"outside" not in got.body.replace(b"outside.txt", b"") and b"root:" not in got.body


def test_other_methods_and_the_script(site):
    assert get(site, "/api").json() == {"method": "GET"}
    assert get(site, "/digits", "DELETE").status in (404, 405)


def test_large_file_and_clients_that_leave(site):
    data = (site.root / "big.bin").read_bytes()
    with Wire(site.address) as wire:
        wire.send(head("/big.bin") + head("/digits"))
        assert Response(wire).body == data
        assert Response(wire).body == b"0123456789"
    for _ in range(20):
        wire = Wire(site.address, rcvbuf=4096)
        wire.send(head("/big.bin"))
        wire.take(1000)
        wire.reset()
    slow = Wire(site.address, rcvbuf=4096)
    slow.send(head("/big.bin"))
    assert get(site, "/digits").status == 200  # while another reads slowly
    assert Response(slow).body == data
    slow.close_socket()


def test_file_that_changes_shows_at_once(site):
    (site.root / "index.html").write_bytes(b"<p>changed")
    assert get(site, "/").body == b"<p>changed"
    (site.root / "new.html").write_bytes(b"new")
    assert get(site, "/new.html").body == b"new"


def test_missing_folder_refuses_to_start(tmp_path, apps):
    _, text = refuses("run", apps / "echo.lua", "--listen", "127.0.0.1:0", "--static", tmp_path / "nowhere")
    assert "nowhere" in text
