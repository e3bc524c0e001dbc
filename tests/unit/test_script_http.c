/* test_script_http.c - handshakes and requests: routes, on_connect, on_http, the req object. */
#include "fake_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

static void expect_answer(struct session *s, int status, const char *body)
{
    assert_int_equal(s->status, status);
    s->body[s->body_len] = '\0';
    assert_string_equal(s->body, body);
}

/* What on_connect returns, and the status that the client gets for it. */
static void test_results_of_on_connect(void **state)
{
    struct fake *f = *state;
    static const struct {
        const char *body;
        int status;
        const char *text;
        bool error; /* a failure of the script, which is logged */
    } cases[] = {
        {"", 101, "", false},
        {"return nil", 101, "", false},
        {"return {}", 101, "", false},
        {"return { user = 'ann', data = {}, expires = tide.now() + 5, protocol = nil, headers = {} }", 101, "", false},
        {"return nil, 'go away'", 403, "go away", false},
        {"return false", 500, "internal error", true},
        {"return true", 500, "internal error", true},
        {"return 'ann'", 500, "internal error", true},
        {"return { usr = 'ann' }", 500, "internal error", true},
        {"return { user = 5 }", 500, "internal error", true},
        {"return { user = '' }", 500, "internal error", true},
        {"return { user = ('x'):rep(257) }", 500, "internal error", true},
        {"return { data = 5 }", 500, "internal error", true},
        {"return { expires = 'soon' }", 500, "internal error", true},
        {"return { headers = { x = 1 } }", 500, "internal error", true},
        {"return { headers = { x = 'a\\r\\nb: c' } }", 500, "internal error", true},
        {"return { 1 }", 500, "internal error", true},
        {"error('x')", 500, "internal error", true},
        {"tide.reject(401, 'who?')", 401, "who?", false},
        {"pcall(tide.reject, 401)", 401, "Unauthorized", false},
        {"pcall(pcall, coroutine.wrap(function() tide.reject(402) end))", 402, "Payment Required", false},
        {"tide.timeout(5, function() tide.reject(404, 'inner') end)", 404, "inner", false},
        {"tide.reject(200)", 500, "internal error", true},
        {"tide.sleep(1) return { user = 'late' }", 101, "", false},
        {"tide.sleep(1) tide.reject(429, 'late')", 429, "late", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        struct session *s;
        struct script_stats stats;

        snprintf(text, sizeof(text), "return { on_connect = function(req) %s end }", cases[i].body);
        fake_load(f, text);
        s = fake_connect(f, "/", NULL);
        fake_advance(f, 1000);
        if (s->status != cases[i].status)
            fail_msg("%s: %d", cases[i].body, s->status);
        expect_answer(s, cases[i].status, cases[i].text);
        script_stats(f->script, &stats);
        if ((stats.errors > 0) != cases[i].error)
            fail_msg("%s: %d errors", cases[i].body, (int)stats.errors);
        assert_int_equal(hub_count(script_hub_of(f->script)), s->status == 101);
        if (cases[i].error)
            fake_expect_log(f, "on_connect");
    }
}

static void test_reject_headers(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "return { on_connect = function(req) tide.reject(401, 'x', { ['WWW-Authenticate'] = 'Bearer', ['Retry-After'] = "
                 "5 }) end }");
    s = fake_connect(f, "/", NULL);
    assert_non_null(strstr(s->head, "WWW-Authenticate: Bearer\r\n"));
    assert_non_null(strstr(s->head, "Retry-After: 5\r\n"));
    assert_non_null(strstr(s->head, "Content-Type: text/plain; charset=utf-8\r\n"));
}

static void test_accepted(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "return { protocols = { 'v2', 'v1' }, limits = { message_bytes = 12345 },\n"
                 "on_connect = function(req) return { user = 'ann', data = { n = 5 }, headers = { ['X-A'] = 'b' } } end,\n"
                 "on_open = function(conn) conn:send(conn.user .. conn.data.n .. tostring(conn.protocol)) end }");
    s = fake_connect(f, "/", "Sec-WebSocket-Protocol: v1, v2\n");
    fake_expect(s, "ann5v2\n");
    assert_string_equal(s->protocol, "v2");
    assert_string_equal(s->head, "X-A: b;");
    assert_int_equal(s->message_limit, 12345);
    assert_true(s->message_rate.per_second == 0 && s->byte_rate.per_second == 0);
    s = fake_connect(f, "/", "Sec-WebSocket-Protocol: v3\n");
    assert_string_equal(s->protocol, "");
    fake_load(f, "return { on_connect = function(req) return { protocol = req.protocols[2] } end }");
    s = fake_connect(f, "/", "Sec-WebSocket-Protocol: a\nSec-WebSocket-Protocol: b\n");
    assert_string_equal(s->protocol, "b");
}

/* Those of a route count, else the app's, each for itself. */
static void test_rates(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local function quiet() end\n"
                 "return { limits = { messages_per_second = 20, bytes_per_second = 0.25 }, routes = {\n"
                 "['/'] = { on_message = quiet },\n"
                 "['/fast'] = { on_message = quiet, limits = { messages_per_second = 2.5, messages_burst = 50 } } } }");
    s = fake_connect(f, "/", NULL);
    assert_true(s->message_rate.per_second == 20 && s->message_rate.burst == 40);
    assert_true(s->byte_rate.per_second == 0.25 && s->byte_rate.burst == 1);
    s = fake_connect(f, "/fast", NULL);
    assert_true(s->message_rate.per_second == 2.5 && s->message_rate.burst == 50);
    assert_true(s->byte_rate.per_second == 0.25 && s->byte_rate.burst == 1);
}

/* What cleans up behind a rejection may use pcall, wait for nothing, and changes nothing. */
static void test_reject_cleans_up(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(
        f,
        "local function guard(name) return setmetatable({}, { __close = function() print(name, pcall(error, 'x', 0)) end }) end\n"
        "return { on_connect = function(req) local a <close> = guard 'outer'\n"
        "coroutine.wrap(function() local b <close> = guard 'inner' pcall(tide.reject, 401, 'who') end)() end }");
    s = fake_connect(f, "/", NULL);
    expect_answer(s, 401, "who");
    {
        const char *log = fake_logged(f);
        const char *inner = strstr(log, "inner    false    x"), *outer = strstr(log, "outer    false    x");

        assert_true(inner && outer && inner < outer);
    }
}

/* The client goes while on_connect waits: it runs to its end, nobody is connected. */
static void test_gone_while_connecting(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "return { on_connect = function(req) tide.sleep(1) print('ran', req.path, req.headers.host, req.ip) return { "
                 "user = 'x' } end,\n"
                 "on_open = function() print('never') end, on_http = function(req) tide.sleep(1) print('http', req.body) return "
                 "200 end }");
    s = fake_connect(f, "/p%61th", NULL);
    fake_gone(f, s);
    fake_advance(f, 1000);
    fake_expect_log(f, "ran    /path    example.org    203.0.113.9");
    assert_int_equal(hub_count(script_hub_of(f->script)), 0);
    s = fake_http(f, "POST", "/", "Content-Length: 4\n", "body");
    fake_gone(f, s);
    fake_advance(f, 1000);
    fake_expect_log(f, "http    body");
    assert_int_equal(s->status, 0);
}

static void test_routes(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "local function level(name) return { on_open = function(conn) local t = {} for k, v in pairs(conn.params) do "
                 "t[#t + 1] = k .. '=' .. v end table.sort(t)\n"
                 "conn:send(name .. ' ' .. table.concat(t, ' ')) end } end\n"
                 "local app = level 'app' app.on_connect = function(req) if req.query.no then tide.reject(403) end return { user "
                 "= 'u', data = { a = 1 } } end\n"
                 "local board = level 'board' board.on_connect = function(req) if req.params.id == '8' then return nil, req.user "
                 ".. req.data.a end return { data = { b = 2 } } end\n"
                 "app.routes = { ['/'] = app, ['/board/:id'] = board, ['/board/new'] = level 'new', ['/files/*'] = level "
                 "'files', ['/:a/x/:b'] = level 'two', ['/*/y'] = level 'star' }\n"
                 "return app");
    static const struct {
        const char *path, *first;
    } cases[] = {
        {"/", "app \n"},
        {"/board/7", "board id=7\n"},
        {"/board/new", "new \n"},
        {"/board/n%65w", "new \n"},
        {"/board/a%2Fb", "board id=a/b\n"},
        {"/files/a/b%20c", "files *=a/b c\n"},
        {"/files/", "files *=\n"},
        {"/1/x/2", "two a=1 b=2\n"},
        {"/1/y", "star *=1\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        s = fake_connect(f, cases[i].path, NULL);
        assert_int_equal(s->status, 101);
        fake_expect(s, cases[i].first);
    }
    static const char *const missing[] = {"/nowhere", "/board", "/board/", "/board/7/8", "/files", "/1/x/", "//"};
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        s = fake_connect(f, missing[i], NULL);
        if (s->status != 404)
            fail_msg("%s: %d", missing[i], s->status);
    }
    expect_answer(fake_connect(f, "/board/8", NULL), 403, "u1");
    assert_int_equal(fake_connect(f, "/board/7?no=1", NULL)->status, 403);
    assert_int_equal(fake_connect(f, "/board/%ff", NULL)->status, 400);
    assert_int_equal(fake_connect(f, "/board/%zz", NULL)->status, 400);
    assert_int_equal(fake_connect(f, "/board/%00", NULL)->status, 400);
}

/* Connections of a route that a reload takes away stay, without handlers. */
static void test_route_taken_away(void **state)
{
    struct fake *f = *state;
    struct session *gone, *kept;

    fake_load(f,
              "local a = { on_message = function(conn) conn:send('a') end } return { routes = { ['/a'] = a, ['/k/:id'] = a } }");
    gone = fake_open(f, "/a");
    kept = fake_open(f, "/k/1");
    assert_int_equal(
        fake_reload(f, "return { routes = { ['/b'] = {}, ['/k/*'] = { on_message = function(c) c:send('k') end } } }"), 0);
    assert_int_equal(gone->close_code, 1012);
    assert_false(kept->closed);
    fake_text(f, kept, "x");
    fake_expect(kept, "k\n");
    fake_close(f, gone, 1012);
    assert_int_equal(hub_count(script_hub_of(f->script)), 1);
    assert_int_equal(fake_reload(f, "return { on_message = function(conn) conn:send('all') end }"),
                     0); /* no routes: every path */
    fake_text(f, kept, "x");
    fake_expect(kept, "all\n");
}

/* A handshake whose on_connect waits while its route goes away is not accepted any more. */
static void test_route_taken_away_from_a_handshake(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "return { on_connect = function() tide.sleep(1) end, routes = { ['/a'] = {} } }");
    s = fake_connect(f, "/a", NULL);
    assert_int_equal(fake_reload(f, "return { routes = { ['/b'] = {} } }"), 0);
    fake_advance(f, 1000);
    assert_false(s->accepted);
    assert_int_equal(s->status, 404);
}

static void test_on_http(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(
        f,
        "return { on_http = function(req) local p = req.path\n"
        "if p == '/text' then return 200, 'hello' end if p == '/json' then return 201, { a = { 1, 2.5 } }, { ['X-Y'] = 'z' } "
        "end\n"
        "if p == '/typed' then return 200, '<p>', { ['content-type'] = 'text/html', ['Set-Cookie'] = { 'a=1', 'b=2' } } end\n"
        "if p == '/none' then return 204 end if p == '/wait' then tide.sleep(1) return 200, 5 end\n"
        "if p == '/post' then local v = req:json { n = 'integer' } return 200, { got = v.n } end\n"
        "if p == '/raise' then error('x') end if p == '/bad' then return 'x' end if p == '/fn' then return 200, { print } end\n"
        "if p == '/split' then return 200, '', { a = 'b\\r\\nc: d' } end if p == '/reject' then tide.reject(409, 'no') end end "
        "}");
    s = fake_http(f, "GET", "/text", NULL, NULL);
    expect_answer(s, 200, "hello");
    assert_string_equal(s->head, "Content-Type: text/plain; charset=utf-8\r\n");
    s = fake_http(f, "GET", "/json", NULL, NULL);
    expect_answer(s, 201, "{\"a\":[1,2.5]}");
    assert_non_null(strstr(s->head, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(s->head, "X-Y: z\r\n"));
    s = fake_http(f, "GET", "/typed", NULL, NULL);
    assert_null(strstr(s->head, "text/plain"));
    assert_non_null(strstr(s->head, "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"));
    expect_answer(fake_http(f, "GET", "/none", NULL, NULL), 204, "");
    s = fake_http(f, "GET", "/wait", NULL, NULL);
    assert_int_equal(s->status, 0);
    fake_advance(f, 1000);
    expect_answer(s, 200, "5");
    expect_answer(fake_http(f, "POST", "/post", "Content-Length: 7\n", "{\"n\":5}"), 200, "{\"got\":5}");
    expect_answer(fake_http(f, "POST", "/post", "Content-Length: 9\n", "{\"n\":\"5\"}"), 400, "n: integer expected, got string");
    assert_int_equal(fake_http(f, "POST", "/post", NULL, NULL)->status, 400);
    expect_answer(fake_http(f, "GET", "/raise", NULL, NULL), 500, "internal error");
    expect_answer(fake_http(f, "GET", "/bad", NULL, NULL), 500, "internal error");
    expect_answer(fake_http(f, "GET", "/fn", NULL, NULL), 500, "internal error");
    expect_answer(fake_http(f, "GET", "/split", NULL, NULL), 500, "internal error");
    expect_answer(fake_http(f, "GET", "/reject", NULL, NULL), 409, "no");
    expect_answer(fake_http(f, "GET", "/other", NULL, NULL), 404, "not found");
    fake_load(f, "return {}");
    expect_answer(fake_http(f, "GET", "/", NULL, NULL), 404, "not found");
}

static void test_stream(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "return { on_http = function(req) local n = 0 return 200, function() n = n + 1\n"
                 "if req.path == '/slow' then tide.sleep(1) end if req.path == '/raise' and n == 2 then error('x') end\n"
                 "if req.path == '/big' then print(n) return n <= 10 and ('x'):rep(100000) or nil end\n"
                 "if n <= 3 then return 'p' .. n .. ' ' end end, { ['Content-Type'] = 'text/event-stream' } end }");
    s = fake_http(f, "GET", "/", NULL, NULL);
    expect_answer(s, 200, "p1 p2 p3 ");
    assert_true(s->stream_whole);
    s = fake_http(f, "GET", "/slow", NULL, NULL);
    fake_advance(f, 2000);
    assert_true(s->streaming);
    expect_answer(s, 200, "p1 p2 ");
    fake_advance(f, 2000);
    assert_true(s->stream_whole);
    s = fake_http(f, "GET", "/raise", NULL, NULL);
    expect_answer(s, 200, "p1 ");
    assert_false(s->streaming);
    assert_false(s->stream_whole);
    s = fake_http(f, "HEAD", "/", NULL, NULL);
    expect_answer(s, 200, "");
    fake_logged(f);
    {
        struct session *slow = fake_http(f, "GET", "/slow", NULL, NULL);

        fake_gone(f, slow); /* who streams stops */
        fake_advance(f, 9000);
    }
    fake_expect_no_log(f);
}

/* The iterator is asked for no more than the reader takes. */
static void test_stream_is_paced(void **state)
{
    struct fake *f = *state;
    struct script_stats stats;
    struct session *s;

    fake_load(f, "return { on_connect = print, on_http = function(req) local n = 0 return 200, function() n = n + 1 "
                 "tide.sleep(0.001) if n <= 10 then return ('x'):rep(100000) end end end }");
    s = fake_http(f, "GET", "/", NULL, NULL);
    s->blocked = true;
    fake_advance(f, 1000);
    assert_int_equal(s->buffered, 300000);
    assert_true(s->streaming);
    fake_drain(f, s);
    fake_advance(f, 1000);
    assert_true(s->stream_whole);
    s = fake_http(f, "GET", "/", NULL, NULL);
    s->blocked = true;
    fake_advance(f, 1000);
    fake_gone(f, s);
    fake_advance(f, 1000);
    script_stats(f->script, &stats);
    assert_int_equal(stats.tasks, 0);
}

static void test_req(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(
        f,
        "return { routes = { ['/a/:id'] = { on_http = function(req)\n"
        "assert(req.method == 'GET' and req.path == '/a/\\u{e9} x' and req.params.id == '\\u{e9} x' and req.query.q == '1 +' and "
        "req.query.empty == '')\n"
        "assert(req.headers.HOST == 'example.org' and req.headers['X-Two'] == 'a, b' and req.headers.nope == nil)\n"
        "assert(req.cookies.sid == '1' and req.cookies.b == 'x y' and req.origin == 'https://o' and req.ip == '203.0.113.9' and "
        "req.tls == nil)\n"
        "assert(#req.protocols == 0 and req.body == '' and req.user == nil and req.data == nil and req.headers == req.headers)\n"
        "local ok, e = pcall(function() return req.metod end) assert(not ok and e:find 'did you mean method')\n"
        "local ok, e = pcall(function() req.user = 'x' end) assert(not ok and e:find 'cannot be set')\n"
        "assert(getmetatable(req) == false) return 200, 'fine' end } } }");
    s = fake_http(f, "GET", "/a/%c3%a9%20x?q=1+%2b&empty=&bad=%zz",
                  "X-Two: a\nx-two: b\nCookie: sid=1; b=\"x y\"\nCookie: sid=2\nOrigin: https://o\n", NULL);
    expect_answer(s, 200, "fine");
}

static void test_token(void **state)
{
    struct fake *f = *state;

    fake_load(f, "return { on_http = function(req) return 200, tostring(req:token()) .. ' ' .. tostring(req:token 'key') end }");
    expect_answer(fake_http(f, "GET", "/?token=q&key=k", NULL, NULL), 200, "q k");
    expect_answer(fake_http(f, "GET", "/?token=q", "Authorization: bearer  abc \n", NULL), 200, "abc abc");
    expect_answer(fake_http(f, "GET", "/", "Authorization: Basic abc\nCookie: token=c\n", NULL), 200, "c nil");
    expect_answer(fake_http(f, "GET", "/", "Sec-WebSocket-Protocol: chat, bearer.xyz\n", NULL), 200, "xyz xyz");
    expect_answer(fake_http(f, "GET", "/", "Sec-WebSocket-Protocol: bearer, xyz\n", NULL), 200, "xyz xyz");
    expect_answer(fake_http(f, "GET", "/?token=", NULL, NULL), 200, "nil nil");
}

/* A script may keep req; it stays whole over the answer, the client and the version. */
static void test_req_is_kept(void **state)
{
    struct fake *f = *state;
    struct session *s;

    fake_load(f, "return { routes = { ['/:id'] = { on_http = function(req) tide.state.req = req return 200 end } } }");
    s = fake_http(f, "GET", "/x?a=b", NULL, NULL);
    fake_gone(f, s);
    assert_int_equal(fake_reload(f, "return { on_message = function(conn) local r = tide.state.req conn:send(r.params.id .. "
                                    "r.query.a .. r.path .. r.headers.host) end }"),
                     0);
    s = fake_open(f, "/");
    fake_text(f, s, "x");
    fake_expect(s, "xb/xexample.org\n");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_results_of_on_connect),
        TEST(test_reject_headers),
        TEST(test_accepted),
        TEST(test_rates),
        TEST(test_reject_cleans_up),
        TEST(test_gone_while_connecting),
        TEST(test_routes),
        TEST(test_route_taken_away),
        TEST(test_route_taken_away_from_a_handshake),
        TEST(test_on_http),
        TEST(test_stream),
        TEST(test_stream_is_paced),
        TEST(test_req),
        TEST(test_token),
        TEST(test_req_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
