/* fake_script.c - sessions and a loop for the tests of the script layer. */
#include "fake_script.h"

#include "base/err.h"
#include "base/mem.h"
#include "fake_inbox.h"
#include "loop/pool.h"
#include "store/folder.h"
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- net/session.h ---- */

void session_set_owner(struct session *s, void *owner)
{
    s->owner = owner;
}

void *session_owner(const struct session *s)
{
    return s->owner;
}

static int answer(struct session *s, int status, struct slice head, struct slice body)
{
    if (s->gone)
        return MT_ECLOSED;
    assert_false(s->answered);
    s->answered = true;
    s->status = status;
    assert_true(head.len < sizeof(s->head) && body.len < sizeof(s->body));
    if (head.len)
        memcpy(s->head, head.data, head.len);
    s->head[head.len] = '\0';
    if (body.len)
        memcpy(s->body, body.data, body.len);
    s->body_len = body.len;
    return 0;
}

int session_respond(struct session *s, int status, struct slice head, struct slice body)
{
    return answer(s, status, head, body);
}

bool session_respond_file(struct session *s)
{
    return false;
}

int session_stream_begin(struct session *s, int status, struct slice head)
{
    int rc = answer(s, status, head, (struct slice){0});

    s->streaming = rc == 0;
    return rc;
}

int session_stream_write(struct session *s, struct slice piece)
{
    if (s->gone)
        return MT_ECLOSED;
    assert_true(s->streaming);
    if (s->body_len + piece.len < sizeof(s->body)) {
        memcpy(s->body + s->body_len, piece.data, piece.len);
        s->body_len += piece.len;
    }
    if (s->blocked)
        s->buffered += piece.len;
    return 0;
}

int session_stream_end(struct session *s, bool complete)
{
    assert_true(s->streaming);
    s->streaming = false;
    s->stream_whole = complete;
    return 0;
}

int session_accept(struct session *s, const struct session_accept *a)
{
    if (s->gone)
        return MT_ECLOSED;
    assert_false(s->answered);
    for (size_t i = 0; i < a->header_count; i++)
        if (memchr(a->headers[i].value.data, '\n', a->headers[i].value.len))
            return MT_EINVALID;
    s->answered = s->accepted = true;
    s->status = 101;
    snprintf(s->protocol, sizeof(s->protocol), "%s", a->protocol ? a->protocol : "");
    s->message_limit = a->message_limit;
    s->message_rate = a->messages;
    s->byte_rate = a->bytes;
    for (size_t i = 0; i < a->header_count; i++)
        snprintf(s->head + strlen(s->head), sizeof(s->head) - strlen(s->head), "%.*s: %.*s;", (int)a->headers[i].name.len,
                 a->headers[i].name.data, (int)a->headers[i].value.len, a->headers[i].value.data);
    return 0;
}

int session_send(struct session *s, enum frame_op op, const void *data, size_t len, const struct outbox_opts *opts)
{
    if (s->closed || s->gone)
        return MT_ECLOSED;
    s->messages++;
    if (s->blocked)
        s->buffered += len;
    if (s->len + len + 2 < sizeof(s->sent)) {
        memcpy(s->sent + s->len, data, len);
        s->len += len;
        s->sent[s->len++] = '\n';
        s->sent[s->len] = '\0';
    }
    return 0;
}

int session_send_packet(struct session *s, struct packet *p, const struct outbox_opts *opts)
{
    return session_send(s, p->op, p->plain->data + p->head, p->plain->len - p->head, opts);
}

void session_send_many(struct session *const *list, size_t count, struct packet *p, const struct outbox_opts *opts)
{
    for (size_t i = 0; i < count; i++)
        if (list[i])
            (void)session_send_packet(list[i], p, opts);
}

int session_close(struct session *s, unsigned code, struct slice reason)
{
    if (s->closed || s->gone)
        return MT_ECLOSED;
    s->closed = true;
    s->close_code = code;
    return 0;
}

void session_abort(struct session *s)
{
    s->closed = true;
    s->close_code = 1006;
}

void session_pause(struct session *s)
{
    s->pauses++;
}

void session_resume(struct session *s)
{
    s->pauses--;
    assert_true(s->pauses >= 0);
}

void session_want_drain(struct session *s)
{
    s->wants_drain = true;
}

size_t session_buffered(const struct session *s)
{
    return s->buffered;
}

uint32_t session_missed(const struct session *s)
{
    return 0;
}

double session_latency(const struct session *s)
{
    return -1;
}

struct slice session_peer(const struct session *s)
{
    return SLICE("203.0.113.9");
}

bool session_is_open(const struct session *s)
{
    return s->accepted && !s->closed;
}

bool session_tls(const struct session *s, struct session_tls *out)
{
    return false;
}

int session_client(const struct session *s, struct session_client *out)
{
    *out = (struct session_client){0};
    return MT_ENOT_FOUND;
}

void session_client_fini(struct session_client *c) {}

/* ---- loop/loop.h ---- */

struct fake_work {
    struct fake_work *next;
    loop_work_fn *fn;
    loop_work_done_fn *done;
    void *arg;
};

struct loop {
    uint64_t now;
    struct fake_work *work, **last_work; /* what the thread pool would do: done in the next turn, in order */
    struct list_node timers;             /* by due */
    loop_hook_fn *flush;
    void *flush_arg;
    bool again;
};

struct loop *loop_create(void)
{
    struct loop *l = calloc(1, sizeof(*l));

    list_init(&l->timers);
    l->last_work = &l->work;
    l->now = 1000;
    return l;
}

int loop_work(struct loop *l, loop_work_fn *fn, loop_work_done_fn *done, void *arg)
{
    struct fake_work *w = calloc(1, sizeof(*w));

    *w = (struct fake_work){NULL, fn, done, arg};
    *l->last_work = w;
    l->last_work = &w->next;
    l->again = true;
    return 0;
}

static void run_work(struct loop *l, bool cancelled)
{
    while (l->work) {
        struct fake_work *w = l->work;

        l->work = w->next;
        if (!l->work)
            l->last_work = &l->work;
        if (!cancelled)
            w->fn(w->arg);
        w->done(w->arg, cancelled);
        free(w);
    }
}

void loop_destroy(struct loop *l)
{
    assert_true(list_empty(&l->timers));
    run_work(l, true);
    free(l);
}

void loop_timer_init(struct loop_timer *t, loop_timer_fn *fn)
{
    list_init(&t->node);
    t->fn = fn;
}

void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t ms)
{
    struct list_node *before;

    list_remove(&t->node);
    t->due = l->now + ms;
    for (before = l->timers.next; before != &l->timers; before = before->next)
        if (list_entry(before, struct loop_timer, node)->due > t->due)
            break;
    list_add_tail(before, &t->node);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    list_remove(&t->node);
}

bool loop_timer_active(const struct loop_timer *t)
{
    return !list_empty(&t->node);
}

uint64_t loop_now(const struct loop *l)
{
    return l->now;
}

int loop_add_flush(struct loop *l, loop_hook_fn *fn, void *arg)
{
    l->flush = fn;
    l->flush_arg = arg;
    return 0;
}

void loop_remove_flush(struct loop *l, loop_hook_fn *fn, void *arg)
{
    l->flush = NULL;
}

void loop_again(struct loop *l)
{
    l->again = true;
}

struct loop_thread {
    pthread_t id;
    void (*fn)(void *arg);
    void *arg;
};

static void *run_thread(void *arg)
{
    struct loop_thread *t = arg;

    t->fn(t->arg);
    return NULL;
}

struct loop_thread *loop_thread_start(void (*fn)(void *arg), void *arg)
{
    struct loop_thread *t = malloc(sizeof(*t));

    t->fn = fn;
    t->arg = arg;
    assert_int_equal(pthread_create(&t->id, NULL, run_thread, t), 0);
    return t;
}

void loop_thread_join(struct loop_thread *t)
{
    pthread_join(t->id, NULL);
    free(t);
}

bool fake_turn_once(struct fake *f)
{
    f->loop->again = false;
    run_work(f->loop, false);
    fake_inbox_open(f->config.inbox, true);
    if (f->loop->flush)
        f->loop->flush(f->loop->flush_arg);
    return f->loop->again;
}

void fake_turn(struct fake *f)
{
    for (int i = 0; i < 100 && fake_turn_once(f); i++)
        ;
}

void fake_await(struct fake *f)
{
    fake_turn(f);
    assert_true(fake_inbox_await(f->config.inbox));
    fake_turn(f);
}

struct inbox *fake_inbox(void)
{
    return fake_inbox_create();
}

bool fake_deliver(struct inbox *b)
{
    return fake_inbox_open(b, true);
}

void fake_inbox_free(struct inbox *b)
{
    fake_inbox_destroy(b);
}

void fake_advance(struct fake *f, uint64_t ms)
{
    struct loop *l = f->loop;
    uint64_t until = l->now + ms;

    fake_turn(f);
    while (!list_empty(&l->timers) && list_entry(l->timers.next, struct loop_timer, node)->due <= until) {
        struct loop_timer *t = list_entry(l->timers.next, struct loop_timer, node);

        l->now = t->due;
        list_remove(&t->node);
        t->fn(t);
        fake_turn(f);
    }
    l->now = until;
}

/* ---- the world ---- */

int fake_setup(void **state)
{
    struct fake *f = calloc(1, sizeof(*f));
    char log[96];

    f->loop = loop_create();
    /* In memory where there is such a place: fsync on a disk that is busy with other things takes seconds. */
    snprintf(f->folder, sizeof(f->folder), "%s/moontide-test-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof(f->path), "%s/app.lua", f->folder);
    snprintf(log, sizeof(log), "%s/log", f->folder);
    f->log_fd = open(log, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    snprintf(f->files, sizeof(f->files), "%s/files", f->folder);
    assert_int_equal(mkdir(f->files, 0700), 0);
    assert_int_equal(folder_open(f->files, 1 << 20, &f->own_folder), 0);
    f->log = log_create(f->log_fd, LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
    f->watchdog = script_watchdog_start();
    script_defaults(&f->config);
    f->config.loop = f->loop;
    f->config.inbox = fake_inbox_create();
    f->config.log = f->log;
    f->config.watchdog = f->watchdog;
    f->config.path = f->path;
    f->config.services.folder = f->own_folder;
    f->config.services.disk = pool_create(2, SIZE_MAX);
    f->config.services.hashing = pool_create(1, 4);
    f->config.time_budget = 60; /* for tools that make everything slow; test_script_watch is about the real one */
    f->config.load_budget = 30;
    *state = f;
    return 0;
}

void fake_unload(struct fake *f)
{
    if (!f->script)
        return;
    for (size_t i = 0; i < f->session_count; i++) {
        if (!f->sessions[i]->gone)
            fake_close(f, f->sessions[i], 1001);
    }
    script_destroy(f->script);
    f->script = NULL;
    for (size_t i = 0; i < f->session_count; i++) {
        assert_int_equal(f->sessions[i]->pauses, 0);
        free(f->sessions[i]);
    }
    f->session_count = 0;
    assert_true(list_empty(&f->loop->timers));
}

int fake_teardown(void **state)
{
    struct fake *f = *state;
    char command[128];

    fake_unload(f);
    script_watchdog_stop(f->watchdog);
    pool_destroy(f->config.services.disk);
    pool_destroy(f->config.services.hashing);
    log_destroy(f->log);
    close(f->log_fd);
    mem_free(f->error);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    fake_inbox_destroy(f->config.inbox);
    folder_close(f->own_folder);
    loop_destroy(f->loop);
    free(f);
    return 0;
}

void fake_write(struct fake *f, const char *name, const char *text)
{
    char path[192];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", f->folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

void fake_write_app(struct fake *f, const char *text)
{
    char *whole = malloc(strlen(text) + 64);

    sprintf(whole, "local tide = require \"moontide\" %s", text);
    fake_write(f, "app.lua", whole);
    free(whole);
}

static int load(struct fake *f, const char *text)
{
    fake_unload(f);
    mem_free(f->error);
    f->error = NULL;
    fake_write_app(f, text);
    return script_create(&f->config, NULL, &f->script, &f->error);
}

void fake_load(struct fake *f, const char *text)
{
    if (load(f, text) != 0)
        fail_msg("%s", f->error);
    script_begin(f->script, "start");
    fake_turn(f);
}

void fake_load_fails(struct fake *f, const char *text)
{
    assert_int_not_equal(load(f, text), 0);
    assert_null(f->script);
    assert_non_null(f->error);
}

int fake_probe(struct fake *f, struct sources **sources)
{
    struct script_failure failure;
    int rc = script_probe(&f->config, sources, &failure);

    mem_free(f->error);
    f->error = failure.text;
    failure.text = NULL;
    script_failure_fini(&failure);
    return rc;
}

/* The whole transaction; the error of the step that failed is in *error. */
static int reload(struct fake *f, struct sources *sources)
{
    int rc;

    mem_free(f->error);
    rc = script_prepare(f->script, sources, &f->error);
    if (rc != 0)
        return rc;
    script_hold(f->script);
    rc = script_upgrade(f->script, 30, &f->error);
    if (rc == 0)
        script_commit(f->script, script_spoiled(f->script));
    else
        script_abandon(f->script);
    if (rc == 0)
        script_begin(f->script, "reload");
    script_release(f->script);
    return rc;
}

int fake_reload_again(struct fake *f)
{
    struct sources *sources;
    int rc = fake_probe(f, &sources);

    if (rc == 0) {
        rc = reload(f, sources);
        sources_unref(sources);
    }
    fake_turn(f);
    return rc;
}

int fake_reload(struct fake *f, const char *text)
{
    fake_write_app(f, text);
    return fake_reload_again(f);
}

void fake_back(struct fake *f)
{
    script_hold(f->script);
    script_back(f->script);
    script_begin(f->script, "rollback");
    script_release(f->script);
    fake_turn(f);
}

/* ---- clients ---- */

static struct session *make_session(struct fake *f)
{
    assert_true(f->session_count < 64);
    return f->sessions[f->session_count++] = calloc(1, sizeof(struct session));
}

static struct session *request(struct fake *f, const char *method, const char *target, const char *headers, const char *body,
                               bool upgrade)
{
    struct session *s = make_session(f);
    struct http_request http;
    char *text = malloc(strlen(target) + (headers ? strlen(headers) : 0) + 256);
    const char *reason, *line = headers;
    size_t scanned = 0;
    long used;
    int n = sprintf(text, "%s %s HTTP/1.1\r\nHost: example.org\r\n", method, target);

    while (line && *line) { /* "\n" to CRLF */
        size_t len = strcspn(line, "\n");

        n += sprintf(text + n, "%.*s\r\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
    n += sprintf(text + n, "\r\n");
    used = http_parse_head(text, (size_t)n, HTTP_HEAD_MAX, &scanned, &http, &reason);
    assert_int_equal(used, n);
    struct session_request r = {.http = &http, .body = slice_of(body), .upgrade = upgrade};
    script_events()->on_request(f->script, s, &r);
    memset(text, 'x', (size_t)n); /* what the script needs later it has copied */
    free(text);
    fake_turn(f);
    return s;
}

struct session *fake_connect(struct fake *f, const char *target, const char *headers)
{
    return request(f, "GET", target, headers, NULL, true);
}

struct session *fake_open(struct fake *f, const char *target)
{
    struct session *s = fake_connect(f, target, NULL);

    assert_int_equal(s->status, 101);
    return s;
}

struct session *fake_http(struct fake *f, const char *method, const char *target, const char *headers, const char *body)
{
    return request(f, method, target, headers, body, false);
}

static void message(struct fake *f, struct session *s, enum frame_op op, const void *data, size_t len)
{
    char *copy = malloc(len + 1); /* borrowed for the call only */

    memcpy(copy, data, len);
    script_events()->on_message(f->script, s, op, copy, len);
    free(copy);
    fake_turn(f);
}

void fake_text(struct fake *f, struct session *s, const char *text)
{
    message(f, s, FRAME_TEXT, text, strlen(text));
}

void fake_binary(struct fake *f, struct session *s, const void *data, size_t len)
{
    message(f, s, FRAME_BINARY, data, len);
}

void fake_close(struct fake *f, struct session *s, unsigned code)
{
    s->closed = true;
    if (s->accepted)
        script_events()->on_closed(f->script, s, code, SLICE("bye"));
    fake_gone(f, s);
}

void fake_gone(struct fake *f, struct session *s)
{
    s->gone = true;
    script_events()->on_gone(f->script, s);
    assert_null(s->owner);
    fake_turn(f);
}

void fake_drain(struct fake *f, struct session *s)
{
    s->buffered = 0;
    s->blocked = false;
    if (s->wants_drain) {
        s->wants_drain = false;
        script_events()->on_drain(f->script, s);
    }
    fake_turn(f);
}

/* ---- what came out ---- */

void fake_expect(struct session *s, const char *expected)
{
    assert_string_equal(s->sent, expected);
    s->sent[0] = '\0';
    s->len = 0;
}

const char *fake_logged(struct fake *f)
{
    off_t end = lseek(f->log_fd, 0, SEEK_END);
    ssize_t n;

    assert_true(end < (off_t)sizeof(f->logged));
    n = pread(f->log_fd, f->logged, sizeof(f->logged) - 1, 0);
    assert_true(n >= 0);
    f->logged[n] = '\0';
    assert_int_equal(ftruncate(f->log_fd, 0), 0);
    return f->logged;
}

void fake_forget_log(struct fake *f)
{
    assert_int_equal(ftruncate(f->log_fd, 0), 0);
}

void fake_expect_log(struct fake *f, const char *part)
{
    const char *text = fake_logged(f);

    if (!strstr(text, part))
        fail_msg("expected in the log: %s\ngot: %s", part, text);
}

void fake_expect_no_log(struct fake *f)
{
    assert_string_equal(fake_logged(f), "");
}
