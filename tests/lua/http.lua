-- tide.http: arguments, and the failures that need no other server (tests/e2e/test_http_*.py have those that do)

inside [[
  local get, post, request = tide.http.get, tide.http.post, tide.http.request
  local url = "http://127.0.0.1:1/"
  raises("string expected", get) raises("string expected, got number", get, 5) raises("string expected", request, "GET")
  for _, method in ipairs { "", "G ET", "get", "GET\r\n", "Get", "CONNECT", ("X"):rep(33), "G\0" } do raises("method:", request, method, url) end
  raises("string expected", request, 5, url)
  raises("table expected", get, url, 5) raises("options have names", get, url, { 5 })
  raises("unknown option 'timout'; did you mean timeout%?", get, url, { timout = 5 }) raises("unknown option", get, url, { redirects = 5 })
  for _, timeout in ipairs { "5", -1, 0/0, true } do raises("timeout: a number of seconds", get, url, { timeout = timeout }) end
  for _, size in ipairs { "5", -1, 1.5, true } do raises("max_body: a whole number", get, url, { max_body = size }) end
  raises("stream: true or false", get, url, { stream = 1 }) raises("private: true or false", get, url, { private = "no" })
]]

inside [[
  local post, url = tide.http.post, "http://127.0.0.1:1/"
  raises("body: a string", post, url, { body = 5 }) raises("body: a string", post, url, { body = { 1 } })
  raises("one of body, json and form", post, url, { body = "x", json = 1 }) raises("one of", post, url, { json = false, form = {} })
  raises("one of", post, url, { body = "", form = {} })
  raises("json.f: cannot be written", post, url, { json = { f = print } }) raises("JSON has no way to write nan", post, url, { json = 0/0 })
  raises("form: texts and numbers", post, url, { form = "a=b" }) raises("form: texts and numbers", post, url, { form = { a = {} } })
  raises("form: texts and numbers", post, url, { form = { a = true } })
  raises("HEAD request has no body", tide.http.request, "HEAD", url, { body = "" }) raises("no body", tide.http.request, "HEAD", url, { json = 1 })
]]

inside [[
  local get, url = tide.http.get, "http://127.0.0.1:1/"
  local function headers(t) return { headers = t } end
  raises("headers: a table", get, url, headers "x") raises("headers: a table of texts by name", get, url, headers { "x: y" })
  for _, name in ipairs { "", "a b", "a:", "a\r\n", "ä", "a\0b" } do raises("not a name of a header", get, url, headers { [name] = "x" }) end
  for _, value in ipairs { "a\r\nX: y", "a\nb", "\r", "a\0b", "\27[2J", "\127" } do raises("header X: line breaks and control", get, url, headers { X = value }) end
  for _, value in ipairs { true, print } do raises("header X: string expected", get, url, headers { X = value }) end
  raises("header X: line breaks", get, url, headers { X = { "fine", "a\nb" } }) raises("string expected", get, url, headers { X = { {} } })
  for _, name in ipairs { "Content-Length", "transfer-encoding", "Connection", "UPGRADE", "Keep-Alive", "Expect", "TE", "Trailer", "Proxy-Authorization" } do
    raises("the client writes it", get, url, headers { [name] = "x" })
  end
]]

-- what may have come from a client is no mistake
inside [[
  local bad = { "", "x", "http://", "http://a b/", "http://a\r\nX: y/", "http://a\0b/", "ftp://h/", "file:///etc/passwd", "//h/", "http://h:x/", "http://[::1/" }
  for _, url in ipairs(bad) do fails("invalid", tide.http.get(url)) fails("invalid", tide.http.post(url, { json = 1, stream = true })) end
  fails("invalid", tide.http.get("http://h/" .. ("x"):rep(16384)))
]]

-- where nobody can wait
inside [[
  raises("cannot wait here", coroutine.wrap(function() tide.http.get "http://127.0.0.1:1/" end))
  raises("cannot wait here", table.sort, { 1, 2 }, function() tide.http.get "http://127.0.0.1:1/" end)
]]
assert(app [[require "moontide".http.get "http://127.0.0.1:1/" return {}]]:find "tide.http: not while loading: use on_start")
