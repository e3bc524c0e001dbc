/* admin.c - clients of the control socket: a fixed buffer for what they ask, one answer at a time for what they hear. */
#include "app/admin.h"

#include "app/control.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PER_TURN = 16, /* clients accepted in one go */
    PAUSE_MS = 100 /* until accepting is tried again after descriptors ran out */
};

struct admin {
    struct loop *loop;
    char *path;               /* owned */
    struct control_file file; /* while watch is not NULL */
    struct loop_fd *watch;    /* of the listener; NULL once retired */
    struct loop_timer pause;  /* runs while accepting rests */
    struct list_node clients; /* oldest first */
    size_t count;             /* of clients */
    uint64_t tickets;         /* last one given out */
    admin_fn *fn;
    void *arg;
};

struct client {
    struct list_node node; /* in admin->clients */
    struct admin *admin;
    struct loop_fd *watch;
    char in[ADMIN_WORD_MAX + 2]; /* what it asked and nobody took yet; room for \r\n */
    size_t in_len;
    struct buf out;  /* the answer that goes out */
    size_t sent;     /* bytes of it that have gone */
    uint64_t ticket; /* of the request under way, 0 when there is none */
    bool stepping;   /* client_step is further up the stack */
    bool ending;     /* goes when the answer is out */
};

static void client_destroy(struct client *c)
{
    int fd = loop_fd_fileno(c->watch);
    loop_fd_close(c->watch);
    close(fd);
    list_remove(&c->node);
    c->admin->count--;
    buf_fini(&c->out);
    mem_free(c);
}

/* ---- requests ---- */

static void put_answer(struct client *c, struct slice json)
{
    c->ticket = 0;
    c->sent = 0;
    buf_clear(&c->out);
    if (buf_add(&c->out, json.data, json.len) || buf_add_byte(&c->out, '\n')) {
        buf_clear(&c->out); /* half a line would be worse than none */
        c->ending = true;
    }
}

/* Cuts the first line off what has come. */
static bool take_line(struct client *c, char *out, size_t *len)
{
    char *end = memchr(c->in, '\n', c->in_len);
    if (!end)
        return false;
    size_t used = (size_t)(end - c->in) + 1;
    *len = used - 1;
    memcpy(out, c->in, *len);
    if (*len && out[*len - 1] == '\r')
        --*len;
    c->in_len -= used;
    memmove(c->in, end + 1, c->in_len);
    return true;
}

/* Whether all of the answer has gone; false with *broken when the client has. */
static bool flush(struct client *c, bool *broken)
{
    *broken = false;
    while (c->sent < c->out.len) {
        ssize_t n = send(loop_fd_fileno(c->watch), c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            *broken = errno != EAGAIN;
            return false;
        }
        c->sent += (size_t)n;
    }
    buf_fini(&c->out); /* a client that only waits holds no memory but its own struct */
    c->sent = 0;
    return true;
}

static void ask(struct client *c)
{
    char line[sizeof(c->in)];
    size_t len = 0;
    if (take_line(c, line, &len)) {
        c->ticket = ++c->admin->tickets;
        c->admin->fn(c->admin->arg, c->ticket, (struct slice){line, len});
        return;
    }
    c->ending = true;
    put_answer(c, SLICE("{\"ok\":false,\"error\":\"a request is one word and the end of the line\"}"));
}

/* As far as it goes now; may destroy the client. */
static void client_step(struct client *c)
{
    int want = -1;
    bool broken = false;
    c->stepping = true;
    while (want < 0 && !broken) {
        if (!flush(c, &broken))
            want = LOOP_WRITE;
        else if (c->ending)
            broken = true;
        else if (c->ticket)
            want = 0;
        else if (c->in_len < sizeof(c->in) && !memchr(c->in, '\n', c->in_len))
            want = LOOP_READ;
        else
            ask(c);
    }
    c->stepping = false;
    if (broken || loop_fd_want(c->watch, want))
        client_destroy(c);
}

static void on_client(struct loop_fd *w, int events, void *arg)
{
    struct client *c = arg;
    if (events & LOOP_READ && c->in_len < sizeof(c->in)) {
        ssize_t n = recv(loop_fd_fileno(w), c->in + c->in_len, sizeof(c->in) - c->in_len, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            client_destroy(c);
            return;
        }
        c->in_len += (size_t)n;
    }
    client_step(c);
}

void admin_answer(struct admin *a, uint64_t ticket, struct slice json)
{
    list_each(node, &a->clients)
    {
        struct client *c = list_entry(node, struct client, node);
        if (c->ticket != ticket)
            continue;
        put_answer(c, json);
        if (!c->stepping)
            client_step(c);
        return;
    }
}

/* ---- the listener ---- */

/* Takes fd. */
static void add_client(struct admin *a, int fd)
{
    struct client *c = control_peer_is_trusted(fd) ? mem_zalloc(1, sizeof(*c)) : NULL;
    if (c)
        c->watch = loop_fd_open(a->loop, fd, on_client, c);
    if (!c || !c->watch) {
        mem_free(c);
        close(fd);
        return;
    }
    c->admin = a;
    list_add_tail(&a->clients, &c->node);
    if (++a->count > ADMIN_CLIENTS)
        client_destroy(list_entry(a->clients.next, struct client, node));
    client_step(c);
}

static void on_listener(struct loop_fd *w, int events, void *arg)
{
    struct admin *a = arg;
    for (int i = 0; i < PER_TURN; i++) {
        int fd = accept4(a->file.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            add_client(a, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN) { /* without descriptors the poll would report the same client for ever */
                loop_fd_want(a->watch, 0);
                loop_timer_start(a->loop, &a->pause, PAUSE_MS);
            }
            return;
        }
    }
}

static void on_pause_over(struct loop_timer *t)
{
    struct admin *a = list_entry(t, struct admin, pause);
    loop_fd_want(a->watch, LOOP_READ);
}

int admin_open(struct loop *loop, const char *path, admin_fn *fn, void *arg, struct admin **out, char **error)
{
    struct admin *a = mem_zalloc(1, sizeof(*a));
    if (!a)
        return MT_ENOMEM;
    *a = (struct admin){.loop = loop, .fn = fn, .arg = arg, .path = mem_strdup(path, strlen(path))};
    list_init(&a->clients);
    loop_timer_init(&a->pause, on_pause_over);
    int rc = a->path ? control_listen(path, &a->file, error) : MT_ENOMEM;
    if (rc == 0) {
        a->watch = loop_fd_open(loop, a->file.fd, on_listener, a);
        if (!a->watch || loop_fd_want(a->watch, LOOP_READ)) {
            loop_fd_close(a->watch);
            control_unlisten(path, &a->file);
            rc = MT_ENOMEM;
        }
    }
    if (rc) {
        mem_free(a->path);
        mem_free(a);
        return rc;
    }
    *out = a;
    return 0;
}

void admin_retire(struct admin *a)
{
    if (!a->watch)
        return;
    loop_timer_stop(a->loop, &a->pause);
    loop_fd_close(a->watch);
    a->watch = NULL;
    control_unlisten(a->path, &a->file);
}

void admin_close(struct admin *a)
{
    if (!a)
        return;
    admin_retire(a);
    list_each_safe(node, next, &a->clients) client_destroy(list_entry(node, struct client, node));
    mem_free(a->path);
    mem_free(a);
}
