/* fake_script.h - what the script layer stands on, for its tests: sessions that write down what they were sent, and a loop whose
 * time moves when told to. The hub is the real one.
 */
#ifndef MT_TESTS_FAKE_SCRIPT_H
#define MT_TESTS_FAKE_SCRIPT_H
#include "script/script.h"
#include "script/sources.h"

enum { FAKE_SENT_MAX = 16384 };

struct session {
    void *owner;
    bool accepted, closed, gone, answered, streaming, stream_whole;
    bool blocked; /* what is sent stays in the outbox */
    bool wants_drain;
    int pauses;
    unsigned close_code;      /* of session_close */
    int status;               /* of the answer; 101 when accepted */
    char protocol[64];        /* of the 101 */
    size_t message_limit;     /* of the 101 */
    struct rate message_rate, byte_rate; /* of the 101 */
    char head[2048];          /* extra header lines of the answer, or "name: value;" of the 101 */
    char body[FAKE_SENT_MAX]; /* of the answer */
    char sent[FAKE_SENT_MAX]; /* payloads, each with a newline behind */
    size_t len, body_len, buffered;
    unsigned messages;
};

struct fake {
    struct loop *loop;
    struct log *log;
    struct watchdog *watchdog;
    struct script *script;
    char folder[64]; /* with the script, app.lua */
    char path[96];
    char files[96];            /* the folder of tide.files, in `folder`; 1 MiB a file */
    struct folder *own_folder; /* open */
    char logged[65536]; /* what fake_logged read last */
    int log_fd;
    struct script_config config;
    struct session *sessions[64];
    size_t session_count;
    char *error; /* of the last load */
};

/* cmocka setup and teardown: *state is a struct fake without a script. */
int fake_setup(void **state);
int fake_teardown(void **state);
/* Write a file into the folder of the script. */
void fake_write(struct fake *f, const char *name, const char *text);
/* Write app.lua with `local tide = require "moontide"` on top (on the same line). */
void fake_write_app(struct fake *f, const char *text);
/* The same; load and start it; it must be fine. */
void fake_load(struct fake *f, const char *text);
/* The same, but it must fail; the error is in f->error. */
void fake_load_fails(struct fake *f, const char *text);
void fake_unload(struct fake *f);
/* Write app.lua, probe it and switch to it, as a server does: the result of the step that failed, with its error in f->error, or
 * 0. The old version stays as fallback. */
int fake_reload(struct fake *f, const char *text);
int fake_reload_again(struct fake *f);                    /* the same with the files as they are */
int fake_probe(struct fake *f, struct sources **sources); /* script_probe, with the error in f->error */
void fake_back(struct fake *f);                           /* a rollback to the fallback, as a server does it */

/* A handshake for "/path?query" with header lines "Name: value\n..." (NULL for none). The session may have been answered or not
 * yet. */
struct session *fake_connect(struct fake *f, const char *target, const char *headers);
/* The same, which must have been accepted. */
struct session *fake_open(struct fake *f, const char *target);
struct session *fake_http(struct fake *f, const char *method, const char *target, const char *headers, const char *body);
void fake_text(struct fake *f, struct session *s, const char *text);
void fake_binary(struct fake *f, struct session *s, const void *data, size_t len);
void fake_close(struct fake *f, struct session *s, unsigned code); /* on_closed, then on_gone */
void fake_gone(struct fake *f, struct session *s);                 /* on_gone of a request that waits */
void fake_drain(struct fake *f, struct session *s);                /* the outbox empties */
/* End of a turn, then time goes by: timers run in their order, each in a turn of its own. */
void fake_advance(struct fake *f, uint64_t ms);
void fake_turn(struct fake *f);      /* ends of turns, until nothing is left to do (a hundred at most) */
bool fake_turn_once(struct fake *f); /* true when there is more to do */
void fake_await(struct fake *f);     /* until another thread has sent something to the worker's inbox (ten seconds at most), and turns */

/* Inboxes of other workers, whose letters are opened when the test says so. */
struct inbox *fake_inbox(void);
bool fake_deliver(struct inbox *b); /* opens what waits; true when there was something */
void fake_inbox_free(struct inbox *b);

/* Compare and forget what was sent. */
void fake_expect(struct session *s, const char *expected);
/* The log since the last call. */
const char *fake_logged(struct fake *f);
void fake_forget_log(struct fake *f); /* the same unread, however long it is */
void fake_expect_log(struct fake *f, const char *part);
void fake_expect_no_log(struct fake *f);
#endif
