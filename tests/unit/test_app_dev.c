/* test_app_dev.c - what dev mode answers by itself, what it hands on, and who hears the news. The loop is a real one. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/dev.h"
#include "app/dev_js.h"
#include "base/err.h"
#include "base/mem.h"
#include "fake_app_dev.h"
#include <stdio.h>
#include <stdlib.h>

struct world {
    struct loop *loop;
    struct dev *dev;
    char inner[256]; /* what the inner events heard, a letter and the session's number each */
    struct session *sessions;
    const char *until; /* run_until stops when session 0 has heard this; NULL: it has */
};

enum { SESSIONS = DEV_PAGES_MAX + 2, PATIENCE_MS = 20000 };

/* ---- the inner events ---- */

static void note(void *arg, char what, const struct session *s)
{
    struct world *w = arg;
    size_t len = strlen(w->inner);
    snprintf(w->inner + len, sizeof(w->inner) - len, "%c%d ", what, (int)(s - w->sessions));
}

static void inner_request(void *arg, struct session *s, const struct session_request *r)
{
    note(arg, 'r', s);
}

static void inner_message(void *arg, struct session *s, enum frame_op op, const char *data, size_t len)
{
    assert_int_equal(op, FRAME_BINARY);
    assert_memory_equal(data, "hi", len);
    note(arg, 'm', s);
}

static void inner_drain(void *arg, struct session *s)
{
    note(arg, 'd', s);
}

static void inner_silent(void *arg, struct session *s)
{
    note(arg, 's', s);
}

static void inner_closed(void *arg, struct session *s, unsigned code, struct slice reason)
{
    assert_int_equal(code, 1000);
    assert_true(slice_is(reason, SLICE("bye")));
    note(arg, 'c', s);
}

static void inner_gone(void *arg, struct session *s)
{
    note(arg, 'g', s);
}

static const struct session_events inner = {inner_request, inner_message, inner_drain, inner_silent, inner_closed, inner_gone};

static void expect_inner(struct world *w, const char *expected)
{
    assert_string_equal(w->inner, expected);
    w->inner[0] = '\0';
}

static int setup(void **state)
{
    struct world *w = mem_zalloc(1, sizeof(*w));
    w->sessions = mem_zalloc(SESSIONS, sizeof(*w->sessions));
    w->loop = loop_create();
    w->dev = dev_create(w->loop, &inner, w);
    *state = w;
    return w->dev ? 0 : 1;
}

static int teardown(void **state)
{
    struct world *w = *state;
    dev_destroy(w->dev);
    loop_destroy(w->loop);
    mem_free(w->sessions);
    mem_free(w);
    return 0;
}

/* ---- requests ---- */

static struct session *request(struct world *w, int n, const char *method, const char *path, bool upgrade, const char *host,
                               const char *origin)
{
    struct http_request http = {
        .method = slice_of(method), .path = slice_of(path), .host = slice_of(host), .header_count = origin != NULL};
    const struct session_request r = {.http = &http, .upgrade = upgrade};
    struct session *s = &w->sessions[n];
    s->status = 0;
    memset(s->head, 0, sizeof(s->head));
    memset(s->body, 0, sizeof(s->body));
    http.headers[0] = (struct http_header){SLICE("origin"), slice_of(origin)};
    dev_events()->on_request(w->dev, s, &r);
    return s;
}

static struct session *get(struct world *w, int n, const char *path)
{
    return request(w, n, "GET", path, false, "localhost:8765", NULL);
}

static struct session *open_page(struct world *w, int n)
{
    return request(w, n, "GET", "/_moontide/dev", true, "localhost:8765", "http://localhost:8765");
}

static void end_page(struct world *w, int n)
{
    dev_events()->on_closed(w->dev, &w->sessions[n], 1001, SLICE(""));
    dev_events()->on_gone(w->dev, &w->sessions[n]);
}

static void test_other_paths_are_the_scripts(void **state)
{
    static const char *const paths[] = {"/", "/chat", "/_moontide", "/_moontid/dev.js", "/x/_moontide/dev.js"};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        assert_int_equal(get(w, 3, paths[i])->status, 0);
        expect_inner(w, "r3 ");
    }
    request(w, 4, "GET", "/chat", true, "localhost", "http://localhost");
    dev_events()->on_message(w->dev, &w->sessions[4], FRAME_BINARY, "hi", 2);
    dev_events()->on_drain(w->dev, &w->sessions[4]);
    dev_events()->on_silent(w->dev, &w->sessions[4]);
    dev_events()->on_closed(w->dev, &w->sessions[4], 1000, SLICE("bye"));
    dev_events()->on_gone(w->dev, &w->sessions[4]);
    expect_inner(w, "r4 m4 d4 s4 c4 g4 ");
}

static void test_the_overlay_is_served(void **state)
{
    struct world *w = *state;
    struct session *s = get(w, 0, "/_moontide/dev.js");
    assert_int_equal(s->status, 200);
    assert_non_null(strstr(s->head, "Content-Type: text/javascript; charset=utf-8\r\n"));
    assert_non_null(strstr(s->head, "Cache-Control: no-cache\r\n"));
    assert_int_equal(s->body_len, dev_js_size);
    assert_memory_equal(s->body, dev_js, dev_js_size);
    assert_non_null(strstr(s->body, "// dev.js"));
    assert_string_equal(s->body + s->body_len - 6, "})();\n");
    assert_int_equal(request(w, 0, "HEAD", "/_moontide/dev.js", false, "x", NULL)->status, 200);
    /* the connection may go on with a request for the script */
    get(w, 0, "/");
    dev_events()->on_gone(w->dev, s);
    expect_inner(w, "r0 g0 ");
}

static void test_what_is_not_there_is_not_the_scripts_either(void **state)
{
    struct world *w = *state;
    struct session *s = request(w, 0, "POST", "/_moontide/dev.js", false, "x", NULL);
    assert_int_equal(s->status, 405);
    assert_non_null(strstr(s->head, "Allow: GET, HEAD\r\n"));
    assert_int_equal(get(w, 0, "/_moontide/")->status, 404);
    assert_int_equal(get(w, 0, "/_moontide/dev.js.map")->status, 404);
    assert_int_equal(request(w, 0, "GET", "/_moontide/dev.js", true, "x", "http://x")->status, 404);
    s = get(w, 0, "/_moontide/dev");
    assert_int_equal(s->status, 426);
    assert_non_null(strstr(s->head, "Upgrade: websocket\r\n"));
    expect_inner(w, "");
}

static void test_only_pages_of_this_server_may_listen(void **state)
{
    static const struct {
        const char *host, *origin;
        bool may;
    } cases[] = {
        {"localhost:8765", "http://localhost:8765", true},
        {"LocalHost:8765", "https://localhost:8765", true},
        {"[::1]:8765", "http://[::1]:8765", true},
        {"192.168.1.7", "http://192.168.1.7", true},
        {"localhost:8765", NULL, false},
        {"localhost:8765", "", false},
        {"localhost:8765", "null", false},
        {"localhost:8765", "http://", false},
        {"localhost:8765", "http:/localhost:8765", false},
        {"localhost:8765", "http://localhost:3000", false},
        {"localhost:8765", "http://localhost", false},
        {"localhost:8765", "http://evil.example", false},
        {"localhost:8765", "http://localhost:8765.evil.example", false},
        {"evil.example:8765", "http://evil.example:8765", false}, /* its name, but our address */
        {"", "http://", false},
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        int status = request(w, 0, "GET", "/_moontide/dev", true, cases[i].host, cases[i].origin)->status;
        if (status != (cases[i].may ? 101 : 403))
            fail_msg("%s at %s: %d", cases[i].origin, cases[i].host, status);
        if (cases[i].may)
            end_page(w, 0);
    }
}

static void test_names_that_strangers_cannot_have(void **state)
{
    static const char *const near[] = {"localhost", "mybox:80",    "[fe80::1]:80",  "127.0.0.1:8765",
                                       "10.0.0.3",  "a.localhost", "shop.TEST:443", "my-mac.local"};
    static const char *const far[] = {"",          ":80", "example.com", "1.2.3.4.example.com", "local.example", "xlocalhost.com",
                                      "127.0.0.1x"};
    for (size_t i = 0; i < sizeof(near) / sizeof(*near); i++)
        if (!dev_is_near(slice_of(near[i])))
            fail_msg("%s is far", near[i]);
    for (size_t i = 0; i < sizeof(far) / sizeof(*far); i++)
        if (dev_is_near(slice_of(far[i])))
            fail_msg("%s is near", far[i]);
}

/* ---- news ---- */

static void stop_when_heard(void *arg)
{
    struct world *w = arg;
    if (!w->until || strcmp(w->sessions[0].heard, w->until) != 0)
        return;
    w->until = NULL; /* the hook runs once more, and a second stop would end the next run */
    loop_stop(w->loop);
}

static void give_up(struct loop_timer *t)
{
    fail_msg("the page has heard nothing");
}

/* Runs the loop until the page of session 0 has heard `text`. */
static void run_until(struct world *w, const char *text)
{
    struct loop_timer patience;
    w->until = text;
    loop_timer_init(&patience, give_up);
    loop_timer_start(w->loop, &patience, PATIENCE_MS);
    assert_int_equal(loop_add_flush(w->loop, stop_when_heard, w), 0);
    loop_run(w->loop);
    loop_remove_flush(w->loop, stop_when_heard, w);
    loop_timer_stop(w->loop, &patience);
}

static void test_every_page_hears_the_news(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_page(w, 0)->messages, 0);
    open_page(w, 1);
    open_page(w, 2);
    get(w, 3, "/");
    assert_int_equal(dev_tell(w->dev, SLICE("{\"n\":1}")), 0);
    assert_int_equal(w->sessions[0].messages, 0); /* not inside the call */
    run_until(w, "{\"n\":1}");
    assert_string_equal(w->sessions[1].heard, "{\"n\":1}");
    assert_string_equal(w->sessions[2].heard, "{\"n\":1}");
    assert_int_equal(w->sessions[3].messages, 0);
    end_page(w, 1);
    assert_int_equal(dev_tell(w->dev, SLICE("{\"n\":2}")), 0);
    run_until(w, "{\"n\":2}");
    assert_string_equal(w->sessions[1].heard, "{\"n\":1}");
    assert_string_equal(w->sessions[2].heard, "{\"n\":2}");
    expect_inner(w, "r3 ");
}

static void test_who_comes_later_hears_the_newest(void **state)
{
    struct world *w = *state;
    dev_tell(w->dev, SLICE("old"));
    dev_tell(w->dev, SLICE("new"));
    struct session *s = open_page(w, 1);
    assert_string_equal(s->heard, "new");
    assert_int_equal(s->messages, 1);
}

static void test_what_pages_say_and_how_they_end_stays_here(void **state)
{
    struct world *w = *state;
    open_page(w, 0);
    dev_events()->on_message(w->dev, &w->sessions[0], FRAME_TEXT, "noise", 5);
    dev_events()->on_drain(w->dev, &w->sessions[0]);
    dev_events()->on_silent(w->dev, &w->sessions[0]);
    end_page(w, 0);
    expect_inner(w, "");
}

static void test_pages_are_bounded(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < DEV_PAGES_MAX; i++)
        assert_int_equal(open_page(w, i)->status, 101);
    assert_int_equal(open_page(w, DEV_PAGES_MAX)->status, 503);
    end_page(w, 5);
    assert_int_equal(open_page(w, DEV_PAGES_MAX)->status, 101);
    assert_int_equal(open_page(w, DEV_PAGES_MAX + 1)->status, 503);
}

static void test_a_server_that_goes_closes_its_pages(void **state)
{
    struct world *w = *state;
    open_page(w, 0);
    open_page(w, 1);
    dev_retire(w->dev);
    assert_int_equal(w->sessions[0].closed, 1001);
    assert_int_equal(w->sessions[1].closed, 1001);
    assert_int_equal(open_page(w, 2)->status, 503);
    end_page(w, 0);
    end_page(w, 1);
    assert_int_equal(get(w, 3, "/_moontide/dev.js")->status, 200);
    expect_inner(w, "");
}

static void test_a_page_that_cannot_be_accepted_is_told(void **state)
{
    struct world *w = *state;
    w->sessions[0].accept_fails = true;
    assert_int_equal(open_page(w, 0)->status, 500);
    w->sessions[0].accept_fails = false;
    assert_int_equal(open_page(w, 0)->status, 101);
}

enum { TELLERS = 3, TOLD = 2000 };

static void tell_much(void *arg)
{
    for (int i = 0; i < TOLD; i++)
        assert_int_equal(dev_tell(arg, SLICE("busy")), 0);
}

static void end_telling(void *arg)
{
    struct loop_thread *const *threads = ((void **)arg)[1];
    for (int i = 0; i < TELLERS; i++)
        loop_thread_join(threads[i]);
    assert_int_equal(dev_tell(((void **)arg)[0], SLICE("done")), 0);
}

static void test_any_thread_may_tell(void **state)
{
    struct world *w = *state;
    struct loop_thread *threads[TELLERS];
    void *both[] = {w->dev, threads};
    open_page(w, 0);
    for (int i = 0; i < TELLERS; i++)
        assert_non_null(threads[i] = loop_thread_start(tell_much, w->dev));
    struct loop_thread *last = loop_thread_start(end_telling, both);
    run_until(w, "done");
    loop_thread_join(last);
    assert_true(w->sessions[0].messages <= TELLERS * TOLD + 1);
}

static void test_memory_may_run_out(void **state)
{
    struct world *w = *state;
    dev_tell(w->dev, SLICE("before"));
    mem_fail_at(1);
    assert_int_equal(dev_tell(w->dev, SLICE("lost")), MT_ENOMEM);
    mem_fail_at(0);
    assert_string_equal(open_page(w, 1)->heard, "before");
    mem_fail_at(1);
    get(w, 2, "/_moontide/dev.js");
    mem_fail_at(0);
    assert_int_equal(w->sessions[2].status, 0);
    assert_int_equal(w->sessions[2].closed, 1006);
    for (unsigned long n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_null(dev_create(w->loop, &inner, w));
        mem_fail_at(0);
    }
    dev_destroy(NULL);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_other_paths_are_the_scripts),
        TEST(test_the_overlay_is_served),
        TEST(test_what_is_not_there_is_not_the_scripts_either),
        TEST(test_only_pages_of_this_server_may_listen),
        TEST(test_names_that_strangers_cannot_have),
        TEST(test_every_page_hears_the_news),
        TEST(test_who_comes_later_hears_the_newest),
        TEST(test_what_pages_say_and_how_they_end_stays_here),
        TEST(test_pages_are_bounded),
        TEST(test_a_server_that_goes_closes_its_pages),
        TEST(test_a_page_that_cannot_be_accepted_is_told),
        TEST(test_any_thread_may_tell),
        TEST(test_memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
