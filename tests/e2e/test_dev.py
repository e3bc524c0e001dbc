"""Dev mode: a save that does not load is told with the lines of the source, in the log and to the pages of the server."""
import os
import signal
import time

import pytest
from support.wire import Refused, fetch

GOOD = """
local app = {}
function app.on_message(conn, text) conn:send("one " .. text) end
function app.on_http(req) return 200, "http " .. req.path end
return app
"""
BETTER = GOOD.replace("one", "two")
BAD = GOOD.replace("function app.on_http", "local x = nil + 1\nfunction app.on_http")
EXCERPT = [{"line": 1, "text": ""}, {"line": 2, "text": "local app = {}"},
           {"line": 3, "text": 'function app.on_message(conn, text) conn:send("one " .. text) end'},
           {"line": 4, "text": "local x = nil + 1"},
           {"line": 5, "text": 'function app.on_http(req) return 200, "http " .. req.path end'},
           {"line": 6, "text": "return app"}]


def save(server, text):
    draft = server.script.with_suffix(".tmp")
    draft.write_text(text)
    os.replace(draft, server.script)


def listen(connect, server, **options):
    """As a page of the server does it."""
    host = f"127.0.0.1:{server.port}"
    return connect(server, "/_moontide/dev", host=host, headers={"Origin": f"http://{host}"}, **options)


def test_pages_hear_of_bad_and_good_saves(serve, connect):
    server = serve(GOOD, "--dev", watch=True)
    page = listen(connect, server)
    first = page.expect(type="live")["version"]
    save(server, BAD)
    told = page.expect(type="failed", script="app.lua", file="app.lua", line=4, version=first, rolled_back=False, excerpt=EXCERPT)
    assert "app.lua:4: attempt to perform arithmetic on a nil value\nstack traceback:\n" in told["text"], told["text"]
    late = listen(connect, server)
    assert late.json() == told
    chat = connect(server)
    chat.text("x")
    chat.expect("one x")
    save(server, BETTER)
    for ws in (page, late):
        assert ws.expect(type="live")["version"] != first
    chat.text("x")
    chat.expect("two x")
    page.expect_nothing()


def test_the_log_has_the_lines(serve):
    server = serve(GOOD, "--dev")
    save(server, BAD)
    server.signal(signal.SIGHUP)
    server.log.wait("main chunk")
    text = server.log.text()
    assert 'conn:send("one " .. text) end\n    > 4 | local x = nil + 1\n      5 | function' in text, text
    assert text.index("> 4 |") < text.index("stack traceback"), text


def test_without_dev_there_is_none_of_it(serve, connect):
    server = serve(GOOD)
    save(server, BAD)
    server.signal(signal.SIGHUP)
    server.log.wait("main chunk")
    assert " 4 | " not in server.log.text()
    assert fetch(server.address, "/_moontide/dev.js").body == b"http /_moontide/dev.js"
    listen(connect, server).expect_nothing()  # a connection as any other


def test_what_is_served(serve):
    server = serve(GOOD, "--dev")
    answer = fetch(server.address, "/_moontide/dev.js")
    assert answer.status == 200 and answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.body.startswith(b"// dev.js")
    assert fetch(server.address, "/_moontide/dev.js", method="HEAD").headers["content-length"] == str(len(answer.body))
    assert fetch(server.address, "/_moontide/dev").status == 426
    assert fetch(server.address, "/_moontide/other").status == 404
    assert fetch(server.address, "/other").body == b"http /other"


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:1"}])
def test_other_pages_hear_nothing(serve, connect, headers):
    server = serve(GOOD, "--dev")
    with pytest.raises(Refused) as refused:
        connect(server, "/_moontide/dev", headers=headers)
    assert refused.value.status == 403


def test_open_pages_do_not_hold_up_the_end(serve, connect):
    server = serve(GOOD, "--dev", settings={"shutdown.timeout": 60})
    pages = [listen(connect, server) for _ in range(3)]
    for page in pages:
        page.expect(type="live")
    begin = time.monotonic()
    server.signal(signal.SIGTERM)
    for page in pages:
        page.expect_close(1001)
    assert server.wait() == 0
    assert time.monotonic() - begin < 15
