/* test_script_jwt.c - keys from elsewhere, over hours: when they are fetched, what waits, what goes on without them, and memory
 * that runs out. The file stands for URLs too: from the fetch on they are the same. */
#include "fake_script.h"

#include "base/mem.h"
#include "script/jwks.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

/* A message names the key that a token is signed with; the answer is who it is for, or what went wrong. */
static const char app[] =
    "local app = {}\n"
    "local function key(kid) return { kty = 'oct', kid = kid, k = (kid):rep(44) } end\n"
    "function app.on_message(conn, kid)\n"
    "  local token = tide.jwt.sign({ sub = kid }, { key = key(kid) })\n"
    "  local claims, message, name = tide.jwt.verify(token, { jwks = 'file:%s/keys.json' })\n"
    "  conn:send(claims and claims.sub or name)\n"
    "end\n"
    "return app";

static void load(struct fake *f)
{
    char text[1024];

    snprintf(text, sizeof(text), app, f->folder);
    fake_load(f, text);
}

/* The file has a key for each letter of `kids`. */
static void publish(struct fake *f, const char *kids)
{
    char text[1024] = "{\"keys\":[", k[45] = "";

    for (; *kids; kids++) {
        memset(k, *kids, 44);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s{\"kty\":\"oct\",\"kid\":\"%c\",\"k\":\"%s\"}",
                 text[9] ? "," : "", *kids, k);
    }
    strcat(text, "]}");
    fake_write(f, "keys.json", text);
}

static void take_away(struct fake *f)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/keys.json", f->folder);
    assert_int_equal(unlink(path), 0);
}

/* Without waiting for the file. */
static void at_once(struct fake *f, struct session *s, const char *kid, const char *expected)
{
    char line[32];

    snprintf(line, sizeof(line), "%s\n", expected);
    fake_text(f, s, kid);
    fake_expect(s, line);
}

static void after_a_fetch(struct fake *f, struct session *s, const char *kid, const char *expected)
{
    char line[32];

    snprintf(line, sizeof(line), "%s\n", expected);
    fake_text(f, s, kid);
    while (!s->sent[0]) /* the thread may be that fast, and then the next wait ends at once */
        fake_await(f);
    fake_expect(s, line);
}

static void test_fetched_once(void **state)
{
    struct fake *f = *state;

    publish(f, "A");
    load(f);
    struct session *s = fake_open(f, "/"), *other = fake_open(f, "/");
    fake_text(f, s, "A");
    fake_text(f, other, "A");
    while (!other->sent[0])
        fake_await(f);
    fake_expect(s, "A\n");
    fake_expect(other, "A\n");
    at_once(f, s, "A", "A");
    fake_expect_no_log(f);
}

static void test_unknown_names(void **state)
{
    struct fake *f = *state;

    publish(f, "A");
    load(f);
    struct session *s = fake_open(f, "/");
    after_a_fetch(f, s, "A", "A");
    publish(f, "B");
    at_once(f, s, "B", "not_found"); /* so soon there is no second fetch */
    fake_advance(f, JWKS_PAUSE_MS - 1);
    at_once(f, s, "B", "not_found");
    fake_advance(f, 1);
    after_a_fetch(f, s, "B", "B");
    at_once(f, s, "A", "not_found");
    fake_advance(f, JWKS_PAUSE_MS);
    after_a_fetch(f, s, "C", "not_found");
    at_once(f, s, "C", "not_found");
    at_once(f, s, "B", "B");
}

static void test_renewed_in_the_background(void **state)
{
    struct fake *f = *state;

    publish(f, "A");
    load(f);
    struct session *s = fake_open(f, "/");
    after_a_fetch(f, s, "A", "A");
    publish(f, "AB");
    fake_advance(f, JWKS_FILE_MS * 3 / 4 - 1);
    at_once(f, s, "A", "A");
    fake_advance(f, 1);
    at_once(f, s, "A", "A"); /* and a fetch begins */
    after_a_fetch(f, s, "B", "B");
    fake_advance(f, JWKS_FILE_MS); /* nobody needed it meanwhile: who comes first waits, and a key that is gone is gone */
    publish(f, "B");
    after_a_fetch(f, s, "A", "not_found");
}

static void test_old_keys_stay(void **state)
{
    struct fake *f = *state;

    publish(f, "A");
    load(f);
    struct session *s = fake_open(f, "/");
    after_a_fetch(f, s, "A", "A");
    take_away(f);
    fake_advance(f, JWKS_FILE_MS);
    after_a_fetch(f, s, "A", "A");
    fake_expect_log(f, "/keys.json: not found; the keys of 30 s ago stay in use");
    at_once(f, s, "A", "A");
    fake_expect_no_log(f);
    fake_advance(f, JWKS_PAUSE_MS);
    at_once(f, s, "A", "A"); /* although the next attempt is under way */
    while (!strstr(fake_logged(f), "the keys of 40 s ago stay in use"))
        fake_await(f);
    fake_advance(f, JWKS_STALE_MS - JWKS_FILE_MS);
    after_a_fetch(f, s, "A", "not_found"); /* too old now: it is the file that is not found */
    at_once(f, s, "A", "not_found");
    publish(f, "A");
    fake_advance(f, JWKS_PAUSE_MS);
    after_a_fetch(f, s, "A", "A");
    fake_expect_log(f, "there again, with 1 keys");
}

static void test_no_keys(void **state)
{
    struct fake *f = *state;

    load(f);
    struct session *s = fake_open(f, "/");
    after_a_fetch(f, s, "A", "not_found");
    fake_expect_log(f, "not found; tokens cannot be verified");
    at_once(f, s, "A", "not_found");
    fake_expect_no_log(f);
    fake_write(f, "keys.json", "{\"keys\":[]}");
    fake_advance(f, JWKS_PAUSE_MS);
    after_a_fetch(f, s, "A", "malformed");
    publish(f, "A");
    fake_advance(f, JWKS_PAUSE_MS);
    after_a_fetch(f, s, "A", "A");
}

/* Who waits goes, or all does. */
static void test_gone_meanwhile(void **state)
{
    struct fake *f = *state;

    publish(f, "A");
    load(f);
    struct session *s = fake_open(f, "/"), *other = fake_open(f, "/");
    fake_text(f, s, "A");
    fake_text(f, other, "A");
    fake_close(f, s, 1001);
    while (!other->sent[0])
        fake_await(f);
    fake_expect(other, "A\n");
    fake_advance(f, JWKS_FILE_MS);
    fake_text(f, other, "A");
    fake_unload(f); /* the letter comes to nobody */
}

static void act(struct fake *f, struct session *s)
{
    struct script_stats stats;

    fake_text(f, s, "A");
    for (script_stats(f->script, &stats); stats.waiting; script_stats(f->script, &stats))
        fake_await(f);
}

static void forget_sessions(struct fake *f)
{
    for (size_t i = 0; i < f->session_count; i++) {
        if (!f->sessions[i]->gone)
            fake_close(f, f->sessions[i], 1001);
        fake_advance(f, JWKS_PAUSE_MS);
        free(f->sessions[i]);
    }
    f->session_count = 0;
}

static void test_memory(void **state)
{
    struct fake *f = *state;
    unsigned well = 0;

    publish(f, "A");
    for (unsigned long n = 1; well < 10; n++) {
        load(f);
        struct session *s = fake_open(f, "/");
        mem_fail_at(n);
        act(f, s);
        mem_fail_at(0);
        well = strcmp(s->sent, "A\n") == 0 ? well + 1 : 0;
        forget_sessions(f);
        after_a_fetch(f, fake_open(f, "/"), "A", "A"); /* the next time all is well */
        forget_sessions(f);
        fake_logged(f);
        fake_unload(f);
        assert_true(n < 2000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_fetched_once),
        TEST(test_unknown_names),
        TEST(test_renewed_in_the_background),
        TEST(test_old_keys_stay),
        TEST(test_no_keys),
        TEST(test_gone_meanwhile),
        TEST(test_memory),
    };
    return cmocka_run_group_tests_name("script_jwt", tests, NULL, NULL);
}
