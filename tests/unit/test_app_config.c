/* test_app_config.c - settings: types, ranges, precedence, messages, and the printed tables. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/config.h"
#include "base/err.h"
#include "base/mem.h"
#include "fake_app_config.h"
#include <string.h>

static int setup(void **state)
{
    fake_config_file(NULL);
    *state = config_create();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    config_destroy(*state);
    return 0;
}

static void set(struct config *c, const char *key, const char *value)
{
    char *error = NULL;
    int rc = config_set(c, CONFIG_FLAG, key, value, false, &error);
    if (rc)
        fail_msg("%s=%s: %s", key, value, error);
}

/* Asserts that setting fails with `code` and that the message has every one of the words given. */
static void refuse(struct config *c, int code, const char *key, const char *value, const char *const *words)
{
    char *error = NULL;
    assert_int_equal(config_set(c, CONFIG_FLAG, key, value, false, &error), code);
    assert_non_null(error);
    for (; *words; words++)
        if (!strstr(error, *words))
            fail_msg("\"%s\" does not say \"%s\"", error, *words);
    mem_free(error);
}
#define REFUSE(c, code, key, value, ...) refuse(c, code, key, value, (const char *const[]){__VA_ARGS__, NULL})

static void expect_rate(struct config *c, const char *text, double per_second, double burst)
{
    set(c, "limits.rate.bytes", text);
    struct rate r = config_rate(c, CONFIG_LIMITS_RATE_BYTES);
    if (r.per_second != per_second || r.burst != burst)
        fail_msg("%s is %g a second, burst %g", text, r.per_second, r.burst);
}

static void test_rates(void **state)
{
    static const char *const wrong[] = {"", "fast", "/s", "20/", "20/d", "20/s burst", "20/s burst 0.5", "20/s burst x", "20 s",
                                        "20/s bursts 3", "20/s burst 3 4", "-1", "20//s"};
    struct config *c = *state;
    assert_true(config_rate(c, CONFIG_LIMITS_RATE_BYTES).per_second == 0);
    expect_rate(c, "20", 20, 40);
    expect_rate(c, "20/s", 20, 40);
    expect_rate(c, " 600/min ", 10, 20);
    expect_rate(c, "36000/h burst 7", 10, 7);
    expect_rate(c, "64k/s burst 1m", 65536, 1048576);
    expect_rate(c, "1.5/s", 1.5, 3);
    expect_rate(c, "off", 0, 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        REFUSE(c, MT_EINVALID, "limits.rate.bytes", wrong[i], "limits.rate.bytes", "20/s burst 100", wrong[i]);
    REFUSE(c, MT_EINVALID, "limits.rate.bytes", "0", "out of range", "up to 64g a second, or off");
    REFUSE(c, MT_EINVALID, "limits.rate.messages", "1g", "out of range");
}

static void test_defaults_are_those_of_the_design(void **state)
{
    struct config *c = *state;
    assert_string_equal(config_list(c, CONFIG_LISTEN)[0], "localhost:8765");
    assert_int_equal(config_list_count(c, CONFIG_LISTEN), 1);
    assert_int_equal(config_list_count(c, CONFIG_TLS), 0);
    assert_null(config_list(c, CONFIG_TLS)[0]);
    assert_null(config_text(c, CONFIG_STATIC));
    assert_true(config_bool(c, CONFIG_WATCH));
    assert_false(config_bool(c, CONFIG_DEV));
    assert_int_equal(config_number(c, CONFIG_LIMITS_MESSAGE), 65536);
    assert_int_equal(config_number(c, CONFIG_LIMITS_OUTBOX), 1048576);
    assert_int_equal(config_number(c, CONFIG_SCRIPT_MEMORY), 256 * 1048576);
    assert_int_equal(config_ms(c, CONFIG_RELOAD_TIMEOUT), 500);
    assert_int_equal(config_ms(c, CONFIG_PING_INTERVAL), 25000);
    assert_int_equal(config_ms(c, CONFIG_IDLE_TIMEOUT), 60000);
    assert_string_equal(config_text(c, CONFIG_LOG_LEVEL), "info");
    assert_int_equal(config_source(c, CONFIG_LOG_LEVEL), CONFIG_DEFAULT);
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        size_t bytes;
    } cases[] = {{"4096", 4096},       {"64k", 65536},    {"64K", 65536},     {"64kb", 65536},   {"64KiB", 65536},
                 {"1m", 1048576},      {"1MiB", 1048576}, {"1MB", 1048576},   {" 2m ", 2097152}, {"1.5k", 1536},
                 {"1g", 1073741824UL}, {"0.5m", 524288},  {"1024 k", 1048576}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        set(*state, "limits.message", cases[i].text);
        assert_int_equal(config_number(*state, CONFIG_LIMITS_MESSAGE), cases[i].bytes);
    }
}

static void test_wrong_sizes_are_refused_with_the_range(void **state)
{
    static const char *const wrong[] = {"", "k", "12q", "-1", "1e3", "64k64", "0x10", "1.2.3", "off", "1.5", "64 k k", "NaN"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        REFUSE(*state, MT_EINVALID, "limits.message", wrong[i], "limits.message", wrong[i], "1 to 1g", "64k");
    REFUSE(*state, MT_EINVALID, "limits.message", "0", "out of range", "1 to 1g");
    REFUSE(*state, MT_EINVALID, "limits.message", "2g", "out of range", "1 to 1g");
    REFUSE(*state, MT_EINVALID, "limits.message", "99999999999999999999999999", "limits.message");
    assert_int_equal(config_number(*state, CONFIG_LIMITS_MESSAGE), 65536);
}

static void test_off_is_the_largest_size_where_it_is_allowed(void **state)
{
    set(*state, "deflate.threshold", "off");
    assert_true(config_number(*state, CONFIG_DEFLATE_THRESHOLD) == SIZE_MAX);
    set(*state, "deflate.threshold", "0");
    assert_int_equal(config_number(*state, CONFIG_DEFLATE_THRESHOLD), 0);
    REFUSE(*state, MT_EINVALID, "deflate.threshold", "no", "0 to 1g, or off");
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        unsigned ms;
    } cases[] = {{"0.5", 500},    {"500ms", 500}, {"10s", 10000},  {"10 s", 10000},
                 {"1min", 60000}, {"0", 0},       {"1h", 3600000}, {"0.0001", 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        set(*state, "shutdown.timeout", cases[i].text);
        assert_int_equal(config_ms(*state, CONFIG_SHUTDOWN_TIMEOUT), cases[i].ms);
    }
    REFUSE(*state, MT_EINVALID, "shutdown.timeout", "5 minutes", "0.5, 500ms or 10s", "0 to 1h");
    REFUSE(*state, MT_EINVALID, "shutdown.timeout", "61min", "out of range");
    REFUSE(*state, MT_EINVALID, "ping.timeout", "0", "100ms to 1h");
}

static void test_bools_and_integers(void **state)
{
    static const char *const yes[] = {"true", "yes", "on", "1", "True"}, *const no[] = {"false", "no", "off", "0", "OFF"};
    for (size_t i = 0; i < 5; i++) {
        set(*state, "watch", no[i]);
        assert_false(config_bool(*state, CONFIG_WATCH));
        set(*state, "watch", yes[i]);
        assert_true(config_bool(*state, CONFIG_WATCH));
    }
    REFUSE(*state, MT_EINVALID, "watch", "maybe", "true or false");
    set(*state, "limits.connections", "42");
    assert_int_equal(config_number(*state, CONFIG_LIMITS_CONNECTIONS), 42);
    REFUSE(*state, MT_EINVALID, "limits.connections", "1k", "whole number", "1 to 1000000");
    REFUSE(*state, MT_EINVALID, "limits.connections", "1.5", "whole number");
    set(*state, "workers", "3");
    assert_int_equal(config_number(*state, CONFIG_WORKERS), 3);
    set(*state, "workers", "auto");
    assert_in_range(config_number(*state, CONFIG_WORKERS), 1, 64);
    REFUSE(*state, MT_EINVALID, "workers", "65", "workers", "65", "1 to 64, or auto");
    REFUSE(*state, MT_EINVALID, "limits.connections", "auto", "whole number");
}

static void test_choices_suggest_the_nearest(void **state)
{
    set(*state, "log.format", "json");
    assert_string_equal(config_text(*state, CONFIG_LOG_FORMAT), "json");
    REFUSE(*state, MT_EINVALID, "log.level", "debgu", "debug, info, warn, error or off", "did you mean debug?");
    set(*state, "sandbox.allow", "io os");
    assert_int_equal(config_list_count(*state, CONFIG_SANDBOX_ALLOW), 2);
    REFUSE(*state, MT_EINVALID, "sandbox.allow", "ffi", "io, os, process, debug or package");
}

static void test_unknown_keys_suggest_the_nearest(void **state)
{
    REFUSE(*state, MT_ENOT_FOUND, "limits.mesage", "1", "unknown key \"limits.mesage\"", "did you mean limits.message?");
    REFUSE(*state, MT_ENOT_FOUND, "zzz", "1", "unknown key \"zzz\"", "moontide help config");
    REFUSE(*state, MT_ENOT_FOUND, "limits", "1", "group of keys", "limits.message", "limits.connections");
    REFUSE(*state, MT_ENOT_FOUND, "", "1", "unknown key");
    REFUSE(*state, MT_EINVALID, "static[1]", "x", "one value, not a list");
    REFUSE(*state, MT_ENOT_FOUND, "nothing[1]", "x", "unknown key \"nothing\"");
}

static void test_long_values_do_not_make_endless_messages(void **state)
{
    char value[5000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    char *error = NULL;
    assert_int_equal(config_set(*state, CONFIG_FLAG, "watch", value, false, &error), MT_EINVALID);
    assert_true(strlen(error) < 600);
    assert_non_null(strstr(error, "..."));
    mem_free(error);
}

static void test_a_higher_source_wins_in_any_order(void **state)
{
    struct config *c = *state;
    assert_int_equal(config_set(c, CONFIG_FLAG, "log.level", "error", false, NULL), 0);
    assert_int_equal(config_set(c, CONFIG_ENV, "log.level", "warn", false, NULL), 0);
    assert_int_equal(config_set(c, CONFIG_FILE, "log.level", "debug", false, NULL), 0);
    assert_string_equal(config_text(c, CONFIG_LOG_LEVEL), "error");
    assert_int_equal(config_source(c, CONFIG_LOG_LEVEL), CONFIG_FLAG);
    assert_int_equal(config_set(c, CONFIG_FILE, "on_error", "keep", false, NULL), 0);
    assert_string_equal(config_text(c, CONFIG_ON_ERROR), "keep");
    assert_int_equal(config_set(c, CONFIG_ENV, "on_error", "close", false, NULL), 0);
    assert_string_equal(config_text(c, CONFIG_ON_ERROR), "close");
    /* also a value that loses is checked */
    assert_int_equal(config_set(c, CONFIG_FILE, "log.level", "loud", false, NULL), MT_EINVALID);
}

static void test_lists_add_up_within_a_source_and_replace_lower_ones(void **state)
{
    struct config *c = *state;
    assert_int_equal(config_set(c, CONFIG_FILE, "listen[1]", "8001", true, NULL), 0);
    assert_int_equal(config_set(c, CONFIG_FILE, "listen[2]", "8002", true, NULL), 0);
    assert_int_equal(config_list_count(c, CONFIG_LISTEN), 2);
    set(c, "listen", "127.0.0.1:1 [::1]:2");
    set(c, "listen", "unix:/tmp/x");
    assert_int_equal(config_set(c, CONFIG_ENV, "listen", "8003", false, NULL), 0);
    assert_int_equal(config_list_count(c, CONFIG_LISTEN), 3);
    assert_string_equal(config_list(c, CONFIG_LISTEN)[1], "[::1]:2");
    assert_string_equal(config_list(c, CONFIG_LISTEN)[2], "unix:/tmp/x");
    assert_null(config_list(c, CONFIG_LISTEN)[3]);
}

static void test_whole_items_keep_their_blanks(void **state)
{
    struct slice chain, key;
    assert_int_equal(config_set(*state, CONFIG_FLAG, "tls", "my cert.pem, my key.pem", true, NULL), 0);
    assert_int_equal(config_list_count(*state, CONFIG_TLS), 1);
    assert_true(config_split_pair(config_list(*state, CONFIG_TLS)[0], &chain, &key));
    assert_true(slice_is(chain, SLICE("my cert.pem")));
    assert_true(slice_is(key, SLICE("my key.pem")));
    REFUSE(*state, MT_EINVALID, "tls", "cert.pem", "CERT,KEY");
    REFUSE(*state, MT_EINVALID, "tls", "a,b,c", "CERT,KEY");
    REFUSE(*state, MT_EINVALID, "tls", ",b", "CERT,KEY");
}

static void test_addresses_are_checked_by_form(void **state)
{
    static const char *const good[] = {"127.0.0.1:0", "[::1]:65535", "localhost:1",   "*:80",      ":80",
                                       "80",          "unix:/tmp/s", "https://*:443", "http://80", "ws://127.0.0.1:1",
                                       "wss://[::]:2"};
    static const char *const bad[] = {
        "localhost", "127.0.0.1:", "127.0.0.1:65536", "a:-1",         "unix:",   "ftp://a", "http://",
        "80x",       "*",          "example.com:80",  "300.1.1.1:80", "[::1:80", "[]:1"};
    set(*state, "tls", "c,k");
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        set(*state, "listen", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        REFUSE(*state, MT_EINVALID, "listen", bad[i], bad[i], "is not an address");
}

static void test_which_listeners_speak_tls(void **state)
{
    struct config *c = *state;
    struct slice address;
    char *error = NULL;
    assert_false(config_wants_tls(c, "8765"));
    assert_true(config_wants_tls(c, "https://8765"));
    set(c, "listen", "https://8765");
    assert_int_equal(config_check(c, &error), MT_EINVALID);
    assert_non_null(strstr(error, "https://8765"));
    mem_free(error);
    set(c, "tls", "cert.pem,key.pem");
    assert_int_equal(config_check(c, NULL), 0);
    assert_true(config_wants_tls(c, "8765"));
    assert_true(config_wants_tls(c, "wss://8765"));
    assert_false(config_wants_tls(c, "http://8765"));
    assert_false(config_wants_tls(c, "unix:/tmp/s"));
    assert_int_equal(config_split_address("ws://*:1", &address), CONFIG_PLAIN);
    assert_true(slice_is(address, SLICE("*:1")));
}

static void test_listeners_for_proxies(void **state)
{
    struct config *c = *state;
    struct slice address;
    static const struct {
        const char *item, *address, *proxy;
        enum config_scheme scheme;
    } cases[] = {
        {"proxy+127.0.0.1:8765", "127.0.0.1:8765", "10.0.0.1", CONFIG_EITHER},
        {"proxy+8765", "8765", "10.0.0.0/8", CONFIG_EITHER},
        {"proxy+http://*:80", "*:80", "::1", CONFIG_PLAIN},
        {"proxy+https://[::1]:443", "[::1]:443", "::1", CONFIG_TLS_ONLY},
        {"proxy+unix:/run/s", "unix:/run/s", "unix", CONFIG_EITHER},
    };

    set(c, "tls", "cert.pem,key.pem");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_true(config_wants_proxy(cases[i].item));
        assert_int_equal(config_split_address(cases[i].item, &address), cases[i].scheme);
        assert_true(slice_is(address, slice_of(cases[i].address)));
    }
    assert_false(config_wants_proxy("unix:/run/proxy+x"));
    assert_true(config_wants_tls(c, "proxy+8765"));
    assert_false(config_wants_tls(c, "proxy+http://8765"));
    assert_false(config_wants_tls(c, "proxy+unix:/run/s"));
    REFUSE(c, MT_EINVALID, "listen", "proxy+", "proxy+", "is not an address");
    REFUSE(c, MT_EINVALID, "listen", "proxy+proxy+80", "proxy+proxy+80", "is not an address");
    REFUSE(c, MT_EINVALID, "listen", "https://proxy+80", "https://proxy+80", "is not an address");
}

static void check_proxies(const char *listen, const char *proxies, bool good)
{
    struct config *c = config_create();
    char *error = NULL;
    set(c, "listen", listen);
    set(c, "proxies", proxies);
    assert_int_equal(config_check(c, &error), good ? 0 : MT_EINVALID);
    if (!good)
        assert_true(strstr(error, "listen = \"proxy+") && strstr(error, "set proxies to"));
    mem_free(error);
    config_destroy(c);
}

static void test_a_listener_for_proxies_needs_one(void **state)
{
    check_proxies("proxy+127.0.0.1:8765", "10.0.0.1 unix", true);
    check_proxies("proxy+unix:/run/s", "10.0.0.1 unix", true);
    check_proxies("8765 proxy+127.0.0.1:8766", "::1", true);
    check_proxies("proxy+127.0.0.1:8765", "", false);
    check_proxies("8765 proxy+127.0.0.1:8766", "", false);
    check_proxies("proxy+127.0.0.1:8765", "unix", false);
    check_proxies("proxy+unix:/run/s", "127.0.0.1", false);
}

static void test_no_address_is_an_error(void **state)
{
    char *error = NULL;
    set(*state, "listen", "");
    assert_int_equal(config_check(*state, &error), MT_EINVALID);
    assert_non_null(strstr(error, "listen is empty"));
    mem_free(error);
}

static void test_environment(void **state)
{
    char *const env[] = {"HOME=/root",
                         "MOONTIDE_LIMITS_MESSAGE=128k",
                         "MOONTIDE_ON_ERROR=keep",
                         "MOONTIDE_LISTEN=1 2",
                         "MOONTIDE_TLS_PASSPHRASE=secret",
                         "MOONTIDEX=1",
                         NULL};
    assert_int_equal(config_read_env(*state, env, NULL), 0);
    assert_int_equal(config_number(*state, CONFIG_LIMITS_MESSAGE), 131072);
    assert_string_equal(config_text(*state, CONFIG_ON_ERROR), "keep");
    assert_int_equal(config_list_count(*state, CONFIG_LISTEN), 2);
    assert_int_equal(config_source(*state, CONFIG_LISTEN), CONFIG_ENV);
}

static void test_environment_errors_name_the_variable(void **state)
{
    char *const typo[] = {"MOONTIDE_LIMITS_MESAGE=1", NULL}, *const wrong[] = {"MOONTIDE_LIMITS_MESSAGE=big", NULL};
    char *error = NULL;
    assert_int_equal(config_read_env(*state, typo, &error), MT_ENOT_FOUND);
    assert_non_null(strstr(error, "MOONTIDE_LIMITS_MESAGE; did you mean MOONTIDE_LIMITS_MESSAGE?"));
    mem_free(error);
    error = NULL;
    assert_int_equal(config_read_env(*state, wrong, &error), MT_EINVALID);
    assert_ptr_equal(strstr(error, "MOONTIDE_LIMITS_MESSAGE: limits.message"), error);
    assert_non_null(strstr(error, "1 to 1g"));
    mem_free(error);
}

static void test_every_environment_name_sets_its_key(void **state)
{
    for (int id = 0; id < CONFIG_COUNT; id++) {
        struct buf entry = {0};
        assert_int_equal(config_env_name(config_keys[id].name, &entry), 0);
        assert_int_equal(buf_addf(&entry, "=%s", config_keys[id].initial), 0);
        assert_int_equal(buf_add_byte(&entry, 0), 0);
        char *const env[] = {(char *)entry.data, NULL};
        assert_int_equal(config_read_env(*state, env, NULL), 0);
        assert_int_equal(config_source(*state, (enum config_id)id), CONFIG_ENV);
        buf_fini(&entry);
    }
}

static void test_file(void **state)
{
    static const char *const file[] = {"listen[1]", "127.0.0.1:9", "limits.message", "131072", "watch", "false", NULL};
    fake_config_file(file);
    set(*state, "watch", "true");
    assert_int_equal(config_read_file(*state, "moontide.conf.lua", NULL), 0);
    assert_string_equal(config_list(*state, CONFIG_LISTEN)[0], "127.0.0.1:9");
    assert_int_equal(config_number(*state, CONFIG_LIMITS_MESSAGE), 131072);
    assert_true(config_bool(*state, CONFIG_WATCH));
}

static void test_file_errors_name_the_file(void **state)
{
    static const char *const file[] = {"log.levl", "info", NULL};
    char *error = NULL;
    fake_config_file(file);
    assert_int_equal(config_read_file(*state, "a.lua", &error), MT_ENOT_FOUND);
    assert_string_equal(error, "a.lua: unknown key \"log.levl\"; did you mean log.level?");
    mem_free(error);
    error = NULL;
    fake_config_failure("line 3: something is expected");
    assert_int_equal(config_read_file(*state, "a.lua", &error), MT_ESCRIPT);
    assert_string_equal(error, "a.lua: line 3: something is expected");
    mem_free(error);
    error = NULL;
    fake_config_failure("a.lua:3: something is expected");
    assert_int_equal(config_read_file(*state, "a.lua", &error), MT_ESCRIPT);
    assert_string_equal(error, "a.lua:3: something is expected");
    mem_free(error);
}

static void test_reload_reads_the_file_again_and_keeps_the_rest(void **state)
{
    static const char *const before[] = {"log.level", "warn", "limits.body", "2m", NULL};
    static const char *const after[] = {"limits.body", "3m", "watch", "false", "on_error", "close", NULL};
    struct config *fresh = NULL;
    char *error = NULL;
    fake_config_file(before);
    set(*state, "on_error", "keep");
    set(*state, "listen", "1 2");
    assert_int_equal(config_read_file(*state, "a.lua", NULL), 0);
    fake_config_file(after);
    assert_int_equal(config_reload(*state, &fresh, &error), 0);
    assert_string_equal(config_text(fresh, CONFIG_LOG_LEVEL), "info");
    assert_string_equal(config_text(fresh, CONFIG_ON_ERROR), "keep");
    assert_int_equal(config_number(fresh, CONFIG_LIMITS_BODY), 3 * 1048576);
    assert_true(config_equal(fresh, *state, CONFIG_LISTEN));
    assert_true(config_equal(fresh, *state, CONFIG_ON_ERROR));
    assert_false(config_equal(fresh, *state, CONFIG_LIMITS_BODY));
    assert_false(config_equal(fresh, *state, CONFIG_WATCH));
    config_destroy(fresh);
    fake_config_failure("broken");
    assert_int_equal(config_reload(*state, &fresh, &error), MT_ESCRIPT);
    assert_string_equal(error, "a.lua: broken");
    mem_free(error);
}

static void test_the_tables_name_every_key(void **state)
{
    struct buf help = {0}, markdown = {0};
    assert_int_equal(config_print_help(&help), 0);
    assert_int_equal(config_print_markdown(&markdown), 0);
    assert_int_equal(buf_add_byte(&help, 0) || buf_add_byte(&markdown, 0), 0);
    for (int id = 0; id < CONFIG_COUNT; id++) {
        struct buf row = {0};
        assert_non_null(strstr((char *)help.data, config_keys[id].name));
        assert_int_equal(buf_addf(&row, "| `%s` | ", config_keys[id].name) || buf_add_byte(&row, 0), 0);
        assert_non_null(strstr((char *)markdown.data, (char *)row.data));
        assert_non_null(strstr((char *)markdown.data, config_keys[id].help));
        buf_fini(&row);
    }
    assert_non_null(
        strstr((char *)markdown.data, "| `ping.interval` | seconds | `25s` | 0 to 24h | `MOONTIDE_PING_INTERVAL` | yes |"));
    buf_fini(&help);
    buf_fini(&markdown);
}

static void test_every_failed_allocation_is_reported(void **state)
{
    char *const env[] = {"MOONTIDE_LISTEN=1 2", "MOONTIDE_LIMITS_MESAGE=1", NULL};
    int rc = MT_ENOMEM;
    for (unsigned long n = 1; rc == MT_ENOMEM; n++) {
        struct config *c, *copy = NULL;
        char *error = NULL;
        mem_fail_at(n);
        rc = (c = config_create()) ? 0 : MT_ENOMEM;
        if (rc == 0)
            rc = config_set(c, CONFIG_FLAG, "tls", "a,b c,d", false, &error);
        if (rc == 0)
            rc = config_reload(c, &copy, &error);
        if (rc == 0)
            rc = config_read_env(c, env, &error);
        mem_fail_at(0);
        mem_free(error);
        config_destroy(copy);
        config_destroy(c);
        assert_true(n < 1000);
    }
    assert_int_equal(rc, MT_ENOT_FOUND);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_rates),
        T(test_defaults_are_those_of_the_design),
        T(test_sizes),
        T(test_wrong_sizes_are_refused_with_the_range),
        T(test_off_is_the_largest_size_where_it_is_allowed),
        T(test_times),
        T(test_bools_and_integers),
        T(test_choices_suggest_the_nearest),
        T(test_unknown_keys_suggest_the_nearest),
        T(test_long_values_do_not_make_endless_messages),
        T(test_a_higher_source_wins_in_any_order),
        T(test_lists_add_up_within_a_source_and_replace_lower_ones),
        T(test_whole_items_keep_their_blanks),
        T(test_addresses_are_checked_by_form),
        T(test_which_listeners_speak_tls),
        T(test_listeners_for_proxies),
        T(test_a_listener_for_proxies_needs_one),
        T(test_no_address_is_an_error),
        T(test_environment),
        T(test_environment_errors_name_the_variable),
        T(test_every_environment_name_sets_its_key),
        T(test_file),
        T(test_file_errors_name_the_file),
        T(test_reload_reads_the_file_again_and_keeps_the_rest),
        T(test_the_tables_name_every_key),
        T(test_every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
