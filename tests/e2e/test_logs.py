"""Logs: JSON lines with connection, peer, path and version; secrets masked; levels."""
import json
import re

import pytest
from support.wire import Refused, fetch

APP = """
local tide = require "moontide"
local app = {}
function app.on_connect(req) if req.path == "/no" then return nil, "no entry" end end
function app.on_message(conn, text)
  if text == "fail" then error "it broke" end
  tide.log.info("heard", { text = text, number = 5, on = true, list = { 1, 2 } })
  print("printed", text, 7)
end
function app.on_http(req) error "http broke" end
return app
"""


def lines(server):
    return [json.loads(line) for line in server.log.lines if line]


def test_json_lines(serve, connect):
    server = serve(APP, settings={"log.format": "json", "log.level": "debug"})
    ws = connect(server, "/where?name=ann")
    ws.text('with "quotes"\nand lines')
    ws.text("fail")
    ws.expect(type="error", code="internal")
    server.log.wait("it broke")
    got = lines(server)
    heard = next(line for line in got if line.get("msg", line.get("message")) == "heard")
    assert heard["level"] == "info" and heard["text"] == 'with "quotes"\nand lines' and heard["number"] == 5 and heard["on"] is True
    printed = next(line for line in got if "printed" in str(line.get("msg", line.get("message"))))
    assert printed["level"] == "info"
    failed = next(line for line in got if "it broke" in json.dumps(line))
    assert failed["level"] == "error" and re.search(r"app\.lua:5", json.dumps(failed))
    for line in (heard, failed):
        assert line["conn"].startswith("c") and line["peer"].startswith("127.0.0.1") and line["path"] == "/where", line
        assert re.fullmatch(r"[0-9a-f]{8}", line["version"]), line
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line["time"]), line


REQUESTS = """
local tide = require "moontide"
local app = {}
local function fail(req) error "it broke" end
function app.on_connect(req)
  tide.log.info "connecting"
  if req.query.fail then fail(req) end
  if req.query.cut then return { headers = { ["X-A"] = "cut\\r\\nhere" } } end
  if req.query.slow then
    tide.timeout(0.05, function()
      local x <close> = setmetatable({}, { __close = function() error "close broke" end })
      tide.log.info "in timeout"
      tide.sleep(60)
    end)
  end
  return { user = "ann" }
end
function app.on_http(req) print "printed" fail(req) end
return app
"""


def test_lines_about_requests(serve, connect):
    """Before there is a connection a line has the address and the path of the request."""
    server = serve(REQUESTS, settings={"log.format": "json"})

    def check(message, path):
        server.log.wait(message)
        line = next(line for line in lines(server) if message in line["message"] and line.get("path") == path)
        assert line["peer"].startswith("127.0.0.1") and re.fullmatch(r"[0-9a-f]{8}", line["version"]), line
        assert "conn" not in line

    for args, message in {"fail=1": "it broke", "cut=1": "a header"}.items():
        with pytest.raises(Refused):
            connect(server, f"/{args[:3]}?{args}")
        check(message, f"/{args[:3]}")
    connect(server, "/slow?slow=1")
    for message in ("connecting", "in timeout", "close broke"):
        check(message, "/slow")
    assert fetch(server.address, "/page?x=1").status == 500
    check("printed", "/page")
    check("it broke", "/page")


def test_line_about_a_ping_without_answer(serve, connect):
    server = serve(APP, settings={"log.format": "json", "log.level": "debug", "ping.interval": 0.2, "ping.timeout": 0.2})
    connect(server, "/silent?x=1")
    server.log.wait("no answer to a ping")
    line = next(line for line in lines(server) if line["message"] == "no answer to a ping")
    assert line["conn"].startswith("c") and line["peer"].startswith("127.0.0.1") and line["path"] == "/silent", line
    assert re.fullmatch(r"[0-9a-f]{8}", line["version"]), line


def test_secrets_are_masked(serve, connect):
    server = serve(APP, settings={"log.format": "json", "log.level": "debug"})
    secret = {"Authorization": "Bearer hush-header", "Cookie": "session=hush-cookie"}
    ws = connect(server, "/a?token=hush-query&room=open", headers=secret)
    ws.text("fail")
    ws.expect(type="error")
    try:
        connect(server, "/no?access_token=hush-query&password=hush-query", headers=secret)
    except Refused as why:
        assert why.status == 403
    assert fetch(server.address, "/http?token=hush-query&key=hush-query", headers=secret).status == 500
    server.log.wait("http broke")
    assert "hush" not in server.log.text()


def test_human_lines_and_levels(serve, connect):
    server = serve(APP, settings={"log.level": "error", "log.format": "text"})
    ws = connect(server)
    ws.text("quiet")
    ws.text("fail")
    ws.expect(type="error", code="internal")
    server.log.wait("it broke")
    assert "heard" not in server.log.text() and "printed" not in server.log.text()
    assert not server.log.lines[0].startswith("{")


def test_control_characters_from_clients_cannot_forge_lines(serve, connect):
    server = serve("""
    local tide = require "moontide"
    return { on_message = function(conn, text) tide.log.info(text) error(text) end }""", settings={"log.format": "text"})
    ws = connect(server)
    ws.text("line one\n2026-01-01T00:00:00Z error forged\x1b[31m\rover")
    ws.expect(type="error", code="internal")
    server.log.wait("line one")
    ws.fence()
    assert not [line for line in server.log.lines if line.startswith("2026-01-01T00:00:00Z error forged")]
    assert "\x1b[31m" not in server.log.text() and "\r" not in server.log.text()
