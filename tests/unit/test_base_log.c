/* test_base_log.c - lines as people and machines read them, and what nobody may smuggle into them. */
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static int pipe_fds[2];
static char got[1 << 16]; /* what the log wrote, NUL-terminated */

static struct log *open_log(enum log_format format)
{
    assert_int_equal(pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC), 0);
    struct log *l = log_create(pipe_fds[1], LOG_LEVEL_DEBUG, format);
    assert_non_null(l);
    return l;
}

static void read_all(void)
{
    size_t len = 0;
    ssize_t n;
    while ((n = read(pipe_fds[0], got + len, sizeof(got) - 1 - len)) > 0)
        len += (size_t)n;
    got[len] = '\0';
}

/* What was written since the last time, behind the time stamp, which is checked for its form. */
static const char *read_behind_time(size_t at)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    read_all();
    assert_true(strlen(got) > at + sizeof(form) - 1);
    for (size_t i = 0; i < sizeof(form) - 1; i++) {
        char c = got[at + i];
        assert_true(form[i] == 'd' ? c >= '0' && c <= '9' : c == form[i]);
    }
    return got + at + sizeof(form) - 1;
}

static void close_log(struct log *l)
{
    log_destroy(l);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static const struct log_about about = {
    .conn = SLICE("c1"), .peer = SLICE("127.0.0.1"), .path = SLICE("/x"), .version = SLICE("ab12cd34")};

static void text_lines(void **state)
{
    struct log *l = open_log(LOG_FORMAT_TEXT);
    const struct log_field fields[] = {{SLICE("room"), SLICE("red"), false}, {SLICE("n"), SLICE("5"), true}};

    log_info(l, NULL, "listening on %s:%d", "localhost", 8765);
    assert_string_equal(read_behind_time(0), " INFO  listening on localhost:8765\n");
    log_warn(l, &about, "slow");
    assert_string_equal(read_behind_time(0), " WARN  slow  conn=c1 peer=127.0.0.1 path=/x version=ab12cd34\n");
    log_write_fields(l, LOG_LEVEL_ERROR, &(struct log_about){.conn = SLICE("c1")}, SLICE("m"), fields, 2);
    assert_string_equal(read_behind_time(0), " ERROR m  room=red n=5 conn=c1\n");
    log_debug(l, &(struct log_about){.path = SLICE("/a b")}, "d");
    assert_string_equal(read_behind_time(0), " DEBUG d  path=\"/a b\"\n");
    close_log(l);
}

static void json_lines(void **state)
{
    struct log *l = open_log(LOG_FORMAT_JSON);
    const struct log_field fields[] = {{SLICE("room"), SLICE("r\"ed"), false}, {SLICE("n"), SLICE("{\"a\":\n[1]}"), true}};

    log_write_fields(l, LOG_LEVEL_WARN, &about, SLICE("two\nlines \x1b"), fields, 2);
    assert_string_equal(read_behind_time(9), "\",\"level\":\"warn\",\"message\":\"two\\nlines \\u001b\",\"conn\":\"c1\","
                                             "\"peer\":\"127.0.0.1\",\"path\":\"/x\",\"version\":\"ab12cd34\","
                                             "\"room\":\"r\\\"ed\",\"n\":{\"a\": [1]}}\n");
    assert_memory_equal(got, "{\"time\":\"", 9);
    log_info(l, NULL, "plain");
    assert_string_equal(read_behind_time(9), "\",\"level\":\"info\",\"message\":\"plain\"}\n");
    close_log(l);
}

/* Every way in: message, key, value, raw value, about. */
static void nobody_forges_a_line(void **state)
{
    static const char evil[] = "x\r\x1b[2J\x07\x7f\xC2\x9B[0m\xFF=\" y";
    struct slice s = SLICE(evil);
    const struct log_field fields[] = {{s, s, false}, {SLICE("raw"), s, true}, {SLICE("break"), SLICE("a\nb"), false}};
    const struct log_about bad = {s, s, SLICE("p\n2026-11-23T00:00:00.000Z INFO  forged"), s};

    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        struct log *l = open_log((enum log_format)format);
        log_write_fields(l, LOG_LEVEL_INFO, &bad, s, fields, format == LOG_FORMAT_TEXT ? 3 : 1);
        read_all();
        char *end = strchr(got, '\n');
        assert_ptr_equal(end, got + strlen(got) - 1);
        for (char *p = got; p < end; p++)
            assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
        if (format == LOG_FORMAT_TEXT)
            assert_null(strstr(got, "\xC2\x9B"));
        close_log(l);
    }
}

static void text_messages_of_several_lines(void **state)
{
    struct log *l = open_log(LOG_FORMAT_TEXT);
    log_error(l, &(struct log_about){.conn = SLICE("c1")}, "boom\nstack traceback:\n\tchat.lua:3: in f\n");
    assert_string_equal(read_behind_time(0), " ERROR boom  conn=c1\n    stack traceback:\n        chat.lua:3: in f\n");
    log_error(l, NULL, "%s", "");
    assert_string_equal(read_behind_time(0), " ERROR \n");
    close_log(l);
}

static void fields_cannot_take_the_loggers_names(void **state)
{
    static const char *const names[] = {"time", "level", "message", "conn", "peer", "path", "version"};
    struct log *l = open_log(LOG_FORMAT_TEXT);
    for (size_t i = 0; i < 7; i++) {
        char want[40];
        log_write_fields(l, LOG_LEVEL_INFO, NULL, SLICE("m"), &(struct log_field){slice_of(names[i]), SLICE("v"), false}, 1);
        snprintf(want, sizeof(want), " INFO  m  %s_=v\n", names[i]);
        assert_string_equal(read_behind_time(0), want);
    }
    close_log(l);
    l = open_log(LOG_FORMAT_JSON);
    log_write_fields(l, LOG_LEVEL_INFO, NULL, SLICE("m"), &(struct log_field){SLICE("level"), SLICE("v"), false}, 1);
    assert_string_equal(read_behind_time(9), "\",\"level\":\"info\",\"message\":\"m\",\"level_\":\"v\"}\n");
    close_log(l);
}

static int evaluated;
static const char *expensive(void)
{
    evaluated++;
    return "x";
}

static void levels_filter(void **state)
{
    struct log *l = open_log(LOG_FORMAT_TEXT);
    log_set_level(l, LOG_LEVEL_WARN);
    assert_false(log_wants(l, LOG_LEVEL_INFO));
    assert_true(log_wants(l, LOG_LEVEL_WARN));
    log_info(l, NULL, "no");
    log_debug(l, NULL, "%s", expensive());
    assert_int_equal(evaluated, 0);
    log_set_level(l, LOG_LEVEL_OFF);
    log_error(l, NULL, "no");
    assert_false(log_wants(l, LOG_LEVEL_OFF));
    read_all();
    assert_string_equal(got, "");
    log_set_level(l, LOG_LEVEL_DEBUG);
    log_debug(l, NULL, "%s", expensive());
    assert_string_equal(read_behind_time(0), " DEBUG x\n");
    close_log(l);
}

static void levels_parse(void **state)
{
    static const char *const names[] = {"debug", "info", "warn", "error", "off"};
    enum log_level level = LOG_LEVEL_DEBUG;
    for (int i = 0; i < 5; i++) {
        assert_true(log_level_parse(slice_of(names[i]), &level));
        assert_int_equal(level, i);
    }
    assert_false(log_level_parse(SLICE("INFO"), &level));
    assert_false(log_level_parse(SLICE("warning"), &level));
    assert_false(log_level_parse(SLICE(""), &level));
    assert_int_equal(level, LOG_LEVEL_OFF);
}

static void failed_writes_are_counted(void **state)
{
    struct log *l = log_create(-1, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    assert_int_equal(log_lost(l), 0);
    log_info(l, NULL, "nobody hears this");
    assert_int_equal(log_lost(l), 1);
    mem_fail_at(1);
    log_info(l, NULL, "no memory");
    mem_fail_at(0);
    assert_int_equal(log_lost(l), 2);
    log_destroy(l);
}

/* A full pipe takes a part of a line: the next line must not continue it. */
static void a_torn_line_ends_before_the_next(void **state)
{
    struct log *l = open_log(LOG_FORMAT_TEXT);
    static char big[20000];

    assert_int_equal(fcntl(pipe_fds[1], F_SETPIPE_SZ, 8192), 8192);
    memset(big, 'b', sizeof(big));
    log_write_fields(l, LOG_LEVEL_INFO, NULL, (struct slice){big, sizeof(big) - 1}, NULL, 0);
    assert_int_equal(log_lost(l), 1);
    read_all();
    assert_null(strchr(got, '\n'));
    log_info(l, NULL, "whole");
    read_all();
    assert_int_equal(got[0], '\n');
    assert_non_null(strstr(got, " INFO  whole\n"));
    log_info(l, NULL, "next");
    assert_string_equal(read_behind_time(0), " INFO  next\n");
    assert_int_equal(log_lost(l), 1);
    close_log(l);
}

enum { WRITERS = 4, LINES = 100 };

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++) {
        log_set_level(arg, LOG_LEVEL_INFO);
        log_info(arg, NULL, "%s", "the same line from every thread");
    }
    return NULL;
}

static void threads_do_not_mix_lines(void **state)
{
    struct log *l = open_log(LOG_FORMAT_TEXT);
    pthread_t threads[WRITERS];
    int lines = 0;

    assert_true(fcntl(pipe_fds[1], F_SETPIPE_SZ, sizeof(got)) >= WRITERS * LINES * 80);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, l), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    read_all();
    for (char *line = strtok(got, "\n"); line; line = strtok(NULL, "\n"), lines++)
        assert_string_equal(line + 24, " INFO  the same line from every thread");
    assert_int_equal(lines, WRITERS * LINES);
    assert_int_equal(log_lost(l), 0);
    close_log(l);
}

/* ---- log files ---- */

static char folder[32];

static const char *file_in(const char *name)
{
    static char path[2][64];
    static int turn;

    turn = !turn; /* two at a time */
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    return path[turn];
}

static void make_folder(void)
{
    strcpy(folder, "/tmp/moontide-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

/* The text of a file, in `got`; how many lines it has. */
static int read_file(const char *name)
{
    FILE *f = fopen(file_in(name), "r");
    int lines = 0;

    assert_non_null(f);
    got[fread(got, 1, sizeof(got) - 1, f)] = '\0';
    fclose(f);
    for (const char *p = got; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    return lines;
}

static void a_file_takes_over_and_gives_back(void **state)
{
    struct log *l = open_log(LOG_FORMAT_TEXT);
    char *error;
    struct stat st;

    make_folder();
    mode_t mask = umask(0);
    assert_int_equal(log_reopen(l, file_in("log"), &error), 0);
    umask(mask);
    log_info(l, NULL, "one");
    assert_int_equal(rename(file_in("log"), file_in("log.1")), 0); /* rotation */
    log_info(l, NULL, "two");
    assert_int_equal(log_reopen(l, file_in("log"), &error), 0);
    log_info(l, NULL, "three");
    assert_int_equal(log_reopen(l, file_in("log"), &error), 0); /* the same file: at its end */
    log_info(l, NULL, "four");
    assert_int_equal(log_reopen(l, NULL, &error), 0);
    log_info(l, NULL, "five");
    assert_string_equal(read_behind_time(0), " INFO  five\n"); /* and nothing before */
    assert_int_equal(read_file("log.1"), 2);
    assert_non_null(strstr(got, "two\n"));
    assert_int_equal(read_file("log"), 2);
    assert_non_null(strstr(got, "four\n"));
    assert_int_equal(stat(file_in("log.1"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    close_log(l);
    unlink(file_in("log"));
    unlink(file_in("log.1"));
    rmdir(folder);
}

/* Half a line at the end of what was left is no reason for an empty one in a new file. */
static void a_torn_line_stays_where_it_was(void **state)
{
    struct log *l = open_log(LOG_FORMAT_TEXT);
    static char big[20000];
    char *error;

    make_folder();
    assert_int_equal(fcntl(pipe_fds[1], F_SETPIPE_SZ, 8192), 8192);
    memset(big, 'b', sizeof(big));
    log_write_fields(l, LOG_LEVEL_INFO, NULL, (struct slice){big, sizeof(big) - 1}, NULL, 0);
    assert_int_equal(log_lost(l), 1);
    assert_int_equal(log_reopen(l, file_in("log"), &error), 0);
    log_info(l, NULL, "whole");
    assert_int_equal(read_file("log"), 1);
    assert_int_not_equal(got[0], '\n');
    close_log(l);
    unlink(file_in("log"));
    rmdir(folder);
}

static void a_file_that_cannot_be_opened_changes_nothing(void **state)
{
    struct log *l = open_log(LOG_FORMAT_TEXT);
    char *error;

    make_folder();
    assert_int_equal(mkfifo(file_in("fifo"), 0600), 0);
    const struct {
        const char *path;
        int code;
    } cases[] = {{"none/log", MT_ENOT_FOUND}, {"", MT_EIO}, {"fifo", MT_EIO}, {"fifo/log", MT_ENOT_FOUND}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(log_reopen(l, file_in(cases[i].path), &error), cases[i].code);
        assert_non_null(strstr(error, file_in(cases[i].path)));
        mem_free(error);
    }
    mem_fail_at(1);
    assert_int_equal(log_reopen(l, file_in("none/log"), &error), MT_ENOT_FOUND);
    assert_null(error);
    mem_fail_at(0);
    log_info(l, NULL, "goes on");
    assert_string_equal(read_behind_time(0), " INFO  goes on\n");
    close_log(l);
    unlink(file_in("fifo"));
    rmdir(folder);
}

/* Every line lands in one of the files, whole. */
static void files_change_while_threads_write(void **state)
{
    enum { FILES = 20 };
    struct log *l = open_log(LOG_FORMAT_TEXT);
    pthread_t threads[WRITERS];
    char *error, name[8];
    int lines = 0;

    make_folder();
    assert_int_equal(log_reopen(l, file_in("0"), &error), 0);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, l), 0);
    for (int i = 1; i < FILES; i++) {
        snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(log_reopen(l, file_in(name), &error), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "%d", i);
        read_file(name);
        for (char *line = strtok(got, "\n"); line; line = strtok(NULL, "\n"), lines++)
            assert_string_equal(line + 24, " INFO  the same line from every thread");
        unlink(file_in(name));
    }
    assert_int_equal(lines, WRITERS * LINES);
    assert_int_equal(log_lost(l), 0);
    close_log(l);
    rmdir(folder);
}

/* Colour belongs to terminals. A pseudo terminal is one. */
static void colour_on_terminals_only(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (master < 0)
        skip();
    assert_int_equal(grantpt(master) | unlockpt(master), 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    char *error;
    assert_true(terminal >= 0);
    for (int no_colour = 0; no_colour < 2; no_colour++) {
        if (no_colour)
            setenv("NO_COLOR", "1", 1);
        else
            unsetenv("NO_COLOR");
        struct log *l = log_create(terminal, LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
        log_warn(l, NULL, "hot");
        ssize_t n = read(master, got, sizeof(got) - 1);
        assert_true(n > 0);
        got[n] = '\0';
        assert_non_null(strstr(got, "hot"));
        assert_int_equal(strchr(got, '\x1b') == NULL, no_colour);
        make_folder();
        assert_int_equal(log_reopen(l, file_in("log"), &error), 0);
        log_warn(l, NULL, "cold");
        assert_int_equal(read_file("log"), 1);
        assert_null(strchr(got, '\x1b'));
        unlink(file_in("log"));
        rmdir(folder);
        log_destroy(l);
    }
    unsetenv("NO_COLOR");
    close(terminal);
    close(master);
}

static void no_memory_loses_the_line_only(void **state)
{
    struct log *l = open_log(LOG_FORMAT_JSON);
    const struct log_field field = {SLICE("level"), SLICE("v"), false};
    uint64_t lost = 0;
    for (unsigned long n = 1;; n++) {
        mem_fail_at(n);
        log_write_fields(l, LOG_LEVEL_WARN, &about, SLICE("a message of some length\n\n\n\n"), &field, 1);
        mem_fail_at(0);
        read_all();
        if (log_lost(l) == lost)
            break;
        assert_int_equal(log_lost(l), ++lost);
        assert_string_equal(got, "");
    }
    assert_true(lost > 1);
    assert_int_equal(got[strlen(got) - 1], '\n');
    mem_fail_at(1);
    assert_null(log_create(1, LOG_LEVEL_INFO, LOG_FORMAT_TEXT));
    close_log(l);
    log_destroy(NULL);
}

static void names_of_secrets(void **state)
{
    static const char *const secret[] = {
        "token",
        "accessToken",
        "Access_Token",
        "id-token",
        "secret",
        "client_secret",
        "password",
        "passwd",
        "pwd",
        "pass",
        "user_pass",
        "passphrase",
        "apikey",
        "api_key",
        "X-Api-Key",
        "apiKey",
        "access_key",
        "privateKey",
        "credentials",
        "signature",
        "X-Amz-Signature",
        "Authorization",
        "Proxy-Authorization",
        "cookie",
        "Set-Cookie",
        "jwt",
        "auth",
        "X-Auth",
        "pin",
        "otp",
        "sid",
        "session",
        "session_id",
        "PHPSESSION-session",
        "sig",
        "ticket",
        "bearer",
        "hmac",
    };
    static const char *const open[] = {
        "",       "key",     "code",   "author", "sessions", "tickets", "bypass", "compass",
        "pinned", "sidebar", "monkey", "design", "name",     "-",       "signal",
    };

    for (size_t i = 0; i < sizeof(secret) / sizeof(*secret); i++)
        if (!log_name_is_secret(slice_of(secret[i])))
            fail_msg("not secret: %s", secret[i]);
    for (size_t i = 0; i < sizeof(open) / sizeof(*open); i++)
        if (log_name_is_secret(slice_of(open[i])))
            fail_msg("secret: %s", open[i]);
}

static void secret_fields_are_hidden(void **state)
{
    static const struct log_field fields[] = {{SLICE("token"), SLICE("hush"), false},
                                              {SLICE("pin"), SLICE("1234"), true},
                                              {SLICE("authorized"), SLICE("true"), true},
                                              {SLICE("password"), SLICE("true"), false},
                                              {SLICE("user"), SLICE("ann"), false}};
    struct log *l = open_log(LOG_FORMAT_TEXT);

    log_write_fields(l, LOG_LEVEL_INFO, NULL, SLICE("m"), fields, 5);
    assert_string_equal(read_behind_time(0), " INFO  m  token=*** pin=*** authorized=true password=*** user=ann\n");
    close_log(l);
    l = open_log(LOG_FORMAT_JSON);
    log_write_fields(l, LOG_LEVEL_INFO, NULL, SLICE("m"), fields, 5);
    assert_string_equal(read_behind_time(9), "\",\"level\":\"info\",\"message\":\"m\",\"token\":\"***\",\"pin\":\"***\","
                                             "\"authorized\":true,\"password\":\"***\",\"user\":\"ann\"}\n");
    close_log(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines),
        cmocka_unit_test(json_lines),
        cmocka_unit_test(nobody_forges_a_line),
        cmocka_unit_test(text_messages_of_several_lines),
        cmocka_unit_test(fields_cannot_take_the_loggers_names),
        cmocka_unit_test(levels_filter),
        cmocka_unit_test(levels_parse),
        cmocka_unit_test(failed_writes_are_counted),
        cmocka_unit_test(a_torn_line_ends_before_the_next),
        cmocka_unit_test(threads_do_not_mix_lines),
        cmocka_unit_test(a_file_takes_over_and_gives_back),
        cmocka_unit_test(a_torn_line_stays_where_it_was),
        cmocka_unit_test(a_file_that_cannot_be_opened_changes_nothing),
        cmocka_unit_test(files_change_while_threads_write),
        cmocka_unit_test(colour_on_terminals_only),
        cmocka_unit_test(no_memory_loses_the_line_only),
        cmocka_unit_test(names_of_secrets),
        cmocka_unit_test(secret_fields_are_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
