/* lws_host.c - libwebsockets inside our loop: it adopts accepted sockets in its raw role, does TLS, owns wsi and SSL.
 *
 * libwebsockets 4.1 and 4.2 take a foreign event loop only from a plugin that they load themselves. We hand them ours by defining
 * lws_plugins_init in the program: the library calls it through the PLT, so ours is found first (link with -rdynamic). From 4.3 on
 * event_lib_custom does the same in public. Start-up checks that our operations are really called and refuses to run otherwise.
 * Once a socket is taken over by its session, libwebsockets hears nothing of it until host_close.
 */
#include "base/err.h"
#include "base/mem.h"
#include "net/net_impl.h"

#include <dlfcn.h>
#include <libwebsockets.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HOST_NEW_API (LWS_LIBRARY_VERSION_NUMBER >= 4003000)

enum { EV_READ = 1, EV_WRITE = 2, EV_START = 4, EV_STOP = 8 };
/* Stops both at once only when it forgets the descriptor. 4.1 adds a flag for that, 4.3 does not any more. */
enum { EV_FORGET = EV_STOP | EV_READ | EV_WRITE };

#if HOST_NEW_API
typedef unsigned int host_io_flags;
#else
typedef int host_io_flags;
/* Private in 4.1 and 4.2 (lib/event-libs/private-lib-event-libs.h), copied by layout. */
struct lws_event_loop_ops {
    const char *name;
    int (*init_context)(struct lws_context *, const struct lws_context_creation_info *);
    int (*destroy_context1)(struct lws_context *);
    int (*destroy_context2)(struct lws_context *);
    int (*init_vhost_listen_wsi)(struct lws *);
    int (*init_pt)(struct lws_context *, void *, int);
    int (*wsi_logical_close)(struct lws *);
    int (*check_client_connect_ok)(struct lws *);
    void (*close_handle_manually)(struct lws *);
    int (*sock_accept)(struct lws *);
    void (*io)(struct lws *, int);
    void (*run_pt)(struct lws_context *, int);
    void (*destroy_pt)(struct lws_context *, int);
    void (*destroy_wsi)(struct lws *);
    uint8_t flags;
    uint16_t evlib_size_ctx, evlib_size_pt, evlib_size_vh, evlib_size_wsi;
};
#endif

/* What we know of a descriptor of the context. */
struct host_fd {
    struct loop_fd *watch; /* NULL: not in the loop */
    struct lws *wsi;
    struct session *session; /* NULL for libwebsockets' own descriptors */
    int want;              /* LOOP_* as libwebsockets wants it */
    int ready;             /* LOOP_* that came while the session waits for its turn */
};

struct lws_host {
    struct net *net;
    struct lws_context *context;
    struct lws_vhost *plain, *secure; /* secure: NULL without certificates */
    struct host_fd *fds;              /* by descriptor */
    int fd_count;
    struct session *adopting;         /* while lws_adopt_descriptor_vhost runs */
    lws_dll2_owner_t *timers;         /* the context's timer lists (two of them) */
    lws_sorted_usec_list_t probe;     /* the timer that told us where they are */
    struct loop_timer wake;           /* for libwebsockets' own timers */
    long sockfd_at;                   /* offset of the descriptor in struct lws, -1 when unknown */
    bool ops_called;                  /* init_pt came: our loop is in */
};

static _Thread_local struct lws_host *creating; /* while lws_create_context runs on this thread */
static pthread_mutex_t create_lock = PTHREAD_MUTEX_INITIALIZER;
static bool ssl_is_up; /* once per process; under create_lock. LWS.md section 2, rule 1 */

static struct lws_host *host_of(struct lws *wsi)
{
    struct lws_host *h = lws_context_user(lws_get_context(wsi));
    return h ? h : creating;
}

static struct host_fd *host_fd_at(struct lws_host *h, int fd)
{
    if (fd >= h->fd_count) {
        int count = h->fd_count ? h->fd_count : 256;
        while (count <= fd)
            count *= 2;
        struct host_fd *fds = mem_resize(h->fds, (size_t)count * sizeof *fds);
        if (!fds)
            return NULL;
        memset(fds + h->fd_count, 0, (size_t)(count - h->fd_count) * sizeof *fds);
        h->fds = fds;
        h->fd_count = count;
    }
    return &h->fds[fd];
}

/* ---- events of descriptors that libwebsockets still serves: TLS handshakes and its own wake-up ---- */

static void host_check_taken(struct lws_host *h, int fd)
{
    struct session *s = h->fds[fd].session;
    if (!s || s->state != SESSION_TLS || !s->wsi)
        return;
    s->ssl = lws_get_ssl(s->wsi);
    lws_set_timeout(s->wsi, NO_PENDING_TIMEOUT, 0); /* each step starts one; that of the session is the one that counts */
    if (s->ssl && SSL_is_init_finished(s->ssl)) {
        s->net->stats.tls_handshakes++;
        s->fd = h->fds[fd].watch;
        loop_fd_set(s->fd, session_fd_event, s);
        session_start(s);
    }
}

/* What we know of a descriptor that is to be closed, or has been. */
static void host_forget(struct lws_host *h, int fd)
{
    struct host_fd *f = &h->fds[fd];

    if (f->watch)
        loop_fd_close(f->watch);
    memset(f, 0, sizeof *f);
}

/* Let libwebsockets have the socket, with the first step of a TLS handshake. 0, or MT_EIO: it has closed the socket. */
static int host_give(struct lws_host *h, struct session *s, int fd)
{
    lws_sock_file_fd_type desc = {.sockfd = fd};
    lws_adopt_desc_t info = {
        .vh = s->secure ? h->secure : h->plain,
        .type = LWS_ADOPT_SOCKET | (s->secure ? LWS_ADOPT_ALLOW_SSL : 0),
        .fd = desc,
        .vh_prot_name = "moontide",
        .opaque = s,
    };

    h->adopting = s;
    s->wsi = lws_adopt_descriptor_vhost_via_info(&info);
    h->adopting = NULL;
    if (s->wsi)
        return 0;
    if (fd < h->fd_count)
        host_forget(h, fd);
    s->fd = NULL;
    session_kill(s);
    return MT_EIO;
}

static void host_service(struct lws_host *h, int fd, int events)
{
    struct lws_pollfd p = {.fd = fd};

    if (events & (LOOP_READ | LOOP_HANGUP))
        p.events |= LWS_POLLIN;
    if (events & LOOP_WRITE)
        p.events |= LWS_POLLOUT;
    p.revents = p.events;
    lws_service_fd_tsi(h->context, &p, 0);
}

static void host_fd_event(struct loop_fd *w, int events, void *arg)
{
    struct lws_host *h = arg;
    int fd = loop_fd_fileno(w);
    struct host_fd *f = &h->fds[fd];

    if (f->session && f->session->state == SESSION_TLS) {
        f->ready |= events;
        tls_line_join(f->session, events);
    } else if (!f->session) {
        host_service(h, fd, events);
    }
}

void host_handshake(struct session *s)
{
    struct lws_host *h = s->net->host;
    struct loop_fd *watch = s->fd;
    int fd = loop_fd_fileno(watch), ready = h->fds[fd].ready;

    h->fds[fd].ready = 0;
    if (s->wsi)
        host_service(h, fd, ready);
    else if (host_give(h, s, fd))
        return;
    if (h->fds[fd].watch != watch)
        return; /* it failed, and libwebsockets has closed the socket */
    host_check_taken(h, fd);
    if (s->state == SESSION_TLS && loop_fd_want(watch, h->fds[fd].want))
        session_kill(s);
}

static void host_io(struct lws *wsi, host_io_flags flags)
{
    struct lws_host *h = host_of(wsi);
    int fd = lws_get_socket_fd(wsi);
    struct host_fd *f = fd < 0 ? NULL : host_fd_at(h, fd);

    if (!f)
        return;
    int events = ((flags & EV_READ) ? LOOP_READ : 0) | ((flags & EV_WRITE) ? LOOP_WRITE : 0);
    if (flags & EV_START) {
        if (!f->watch && !(f->watch = loop_fd_open(h->net->loop, fd, host_fd_event, h)))
            return; /* the handshake timer of the session ends it */
        f->wsi = wsi;
        f->want |= events;
    } else {
        f->want &= ~events;
    }
    if ((flags & EV_FORGET) == EV_FORGET) {
        host_forget(h, fd);
    } else if (f->watch && !(f->session && f->session->state != SESSION_TLS)) {
        loop_fd_want(f->watch, f->want);
    }
}

/* Plain sockets are closed here, before libwebsockets does it: its debug build then looks through a table as large as the
 * descriptor limit at every close (LWS.md 0.1). It skips that for an invalid descriptor. */
static int host_logical_close(struct lws *wsi)
{
    struct lws_host *h = host_of(wsi);
    int fd = lws_get_socket_fd(wsi);

    if (h->sockfd_at >= 0 && fd >= 0 && !lws_is_ssl(wsi)) {
        *(int *)((char *)wsi + h->sockfd_at) = -1;
        close(fd);
    }
    return 0;
}

/* Where struct lws keeps the descriptor, found by changing a candidate and asking; done once, on a fresh wsi. */
static void host_find_sockfd(struct lws_host *h, struct lws *wsi)
{
    int fd = lws_get_socket_fd(wsi);
    size_t size = malloc_usable_size(wsi);

    h->sockfd_at = -1;
    for (size_t at = 0; at + sizeof(int) <= size; at += sizeof(int)) {
        int *p = (int *)((char *)wsi + at);
        if (*p != fd)
            continue;
        *p = fd ^ 0x40000000;
        bool hit = lws_get_socket_fd(wsi) == (fd ^ 0x40000000);
        *p = fd;
        if (hit) {
            h->sockfd_at = (long)at;
            return;
        }
    }
}

static int host_sock_accept(struct lws *wsi)
{
    struct lws_host *h = host_of(wsi);

    if (h->sockfd_at == -2)
        host_find_sockfd(h, wsi);
    int fd = lws_get_socket_fd(wsi);
    struct host_fd *f = host_fd_at(h, fd);
    if (!f)
        return 1;
    f->session = h->adopting;
    return 0;
}

static int host_init_pt(struct lws_context *context, void *loop, int tsi)
{
    creating->ops_called = true;
    return 0;
}

/* Has to exist: without it libwebsockets leaves its event pipe for wsi_logical_close to free. */
static void host_destroy_wsi(struct lws *wsi) {}
static void host_run_pt(struct lws_context *context, int tsi) {}
static void host_destroy_pt(struct lws_context *context, int tsi) {}

static const struct lws_event_loop_ops host_ops = {
    .name = "moontide",
    .init_pt = host_init_pt,
    .wsi_logical_close = host_logical_close,
    .sock_accept = host_sock_accept,
    .io = host_io,
    .run_pt = host_run_pt,
    .destroy_pt = host_destroy_pt,
    .destroy_wsi = host_destroy_wsi,
};

static const lws_plugin_evlib_t host_plugin = {
    .hdr = {.name = "moontide loop",
            ._class = "lws_evlib_plugin",
#if LWS_LIBRARY_VERSION_NUMBER >= 4002000
            .lws_build_hash = LWS_BUILD_HASH,
#endif
            .api_magic = LWS_PLUGIN_API_MAGIC},
    .ops = &host_ops,
};

/* ---- functions of the library that ours take the place of ---- */

#if !HOST_NEW_API
int lws_plugins_init(struct lws_plugin **list, const char *const *dirs, const char *class_name, const char *filter,
                     each_plugin_cb_t each, void *each_user);
/* Exported, declared in a private header only: libwebsockets frees the plugin with its own allocator. */
void *lws_realloc(void *ptr, size_t size, const char *reason);

int lws_plugins_init(struct lws_plugin **list, const char *const *dirs, const char *class_name, const char *filter,
                     each_plugin_cb_t each, void *each_user)
{
    if (!creating || strcmp(class_name, "lws_evlib_plugin") != 0) {
        int (*real)(struct lws_plugin **, const char *const *, const char *, const char *, each_plugin_cb_t, void *) = NULL;
        *(void **)&real = dlsym(RTLD_NEXT, "lws_plugins_init");
        return real ? real(list, dirs, class_name, filter, each, each_user) : 1;
    }
    struct lws_plugin *p = lws_realloc(NULL, sizeof *p, "evlib");
    if (!p)
        return 1;
    memset(p, 0, sizeof *p);
    p->hdr = &host_plugin.hdr;
    p->u.l = dlopen(NULL, RTLD_NOW);
    p->list = *list;
    *list = p;
    return 0;
}
#endif

/* The library's would write to an event pipe for every adopted socket; all our calls come from the loop's thread. */
void lws_cancel_service_pt(struct lws *wsi);
void lws_cancel_service_pt(struct lws *wsi) {}

/* ---- the protocol that sockets are adopted into ---- */

static int host_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    switch ((int)reason) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
        if (creating && creating->net->shared->tls)
            tls_store_attach(creating->net->shared->tls, user, creating->net);
        return 0;
    case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION:
        /* OpenSSL itself checks client certificates (tls_clients.c), so this is not asked. Were it, its result would replace
         * OpenSSL's, and 0 accept everything (LWS.md section 9): `len` is what OpenSSL found. */
        return len ? 0 : 1;
    case LWS_CALLBACK_RAW_CLOSE: {
        struct session *s = lws_get_opaque_user_data(wsi);
        if (s)
            session_on_host_closed(s);
        return 0;
    }
    case LWS_CALLBACK_RAW_RX:
        /* Bytes that came with the last flight of the handshake: kept for the session, which starts right after. */
        if (lws_get_opaque_user_data(wsi)) {
            struct session *s = lws_get_opaque_user_data(wsi);
            return buf_add(&s->unread, in, len) ? -1 : 0;
        }
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols host_protocols[] = {
    {.name = "moontide", .callback = host_callback, .rx_buffer_size = 128},
    {.name = NULL},
};

/* ---- timers: libwebsockets' own (handshakes, housekeeping) are served from our loop ---- */

static void host_serve(void *arg)
{
    struct lws_host *h = arg;
    lws_usec_t us = __lws_sul_service_ripe(h->timers, 2, lws_now_usecs());

    if (!lws_service_adjust_timeout(h->context, 1, 0)) { /* TLS bytes wait inside the library */
        _lws_plat_service_forced_tsi(h->context, 0);
        loop_again(h->net->loop);
    }
    if (us > 0) {
        uint64_t ms = (uint64_t)(us / 1000) + 1;
        if (!loop_timer_active(&h->wake) || h->wake.due > loop_now(h->net->loop) + ms)
            loop_timer_start(h->net->loop, &h->wake, ms);
    }
}

static void host_wake(struct loop_timer *t) {} /* the flush hook of the turn does the work */

static void probe_fired(lws_sorted_usec_list_t *sul) {}

/* ---- life ---- */

/* The library's own adds up what is allocated in a variable that all contexts write to. It is compatible with this one. */
static void *host_realloc(void *ptr, size_t size, const char *reason)
{
    if (size > 0)
        return realloc(ptr, size);
    free(ptr);
    return NULL;
}

static void host_log(int level, const char *line)
{
    fprintf(stderr, "libwebsockets: %s", line); /* errors only: our mistakes or a full machine */
}

static int host_create_vhost(struct lws_host *h, bool secure)
{
    static const lws_retry_bo_t no_retry; /* zeroed: no validity timers, they are O(n) each (LWS.md 0.3) */
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = host_protocols,
        .alpn = "http/1.1",
        .retry_and_idle_policy = &no_retry,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .vhost_name = secure ? "secure" : "plain",
    };
    if (secure)
        info.options |= LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX; /* what is in it comes from tls.c, which has read the files */
    struct lws_vhost *vhost = lws_create_vhost(h->context, &info);
    if (secure)
        h->secure = vhost;
    else
        h->plain = vhost;
    return vhost ? 0 : secure ? MT_ETLS : MT_EIO;
}

static int host_create_context(struct lws_host *h)
{
    static const lws_retry_bo_t no_retry;
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = host_protocols,
        .retry_and_idle_policy = &no_retry,
        .timeout_secs = (unsigned)((h->net->options.handshake_timeout + 999) / 1000) + 1, /* ours fires first */
        .user = h,
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_LIBUV,
    };
#if HOST_NEW_API
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    info.event_lib_custom = &host_plugin;
#endif
    if (!ssl_is_up) {
        lws_set_allocator(host_realloc);
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    }
    h->context = lws_create_context(&info);
    if (!h->context || !h->ops_called)
        return MT_EIO;
    ssl_is_up = true;
    lws_sul_schedule(h->context, 0, &h->probe, probe_fired, 1);
    h->timers = (lws_dll2_owner_t *)h->probe.list.owner;
    return h->timers ? 0 : MT_EIO;
}

static int host_create_locked(struct lws_host *h)
{
    lws_set_log_level(LLL_ERR, host_log);
    int rc = host_create_context(h);
    if (!rc)
        rc = host_create_vhost(h, false);
    if (!rc && h->net->shared->tls)
        rc = host_create_vhost(h, true);
    return rc;
}

int host_create(struct net *n, char **error)
{
    struct lws_host *h = mem_zalloc(1, sizeof *h);
    if (!h)
        return MT_ENOMEM;
    h->net = n;
    h->sockfd_at = -2; /* not looked for yet */
    loop_timer_init(&h->wake, host_wake);
    n->host = h;

    pthread_mutex_lock(&create_lock);
    creating = h;
    int rc = host_create_locked(h);
    creating = NULL;
    pthread_mutex_unlock(&create_lock);

    if (!rc)
        rc = loop_add_flush(n->loop, host_serve, h);
    if (rc) {
        const char *text = rc == MT_ETLS           ? "libwebsockets could not use the certificate"
                           : !h->ops_called        ? "libwebsockets did not take our event loop: the program must be linked with -rdynamic"
                                                   : "libwebsockets could not make its context";
        *error = mem_strdup(text, strlen(text));
    }
    return rc;
}

void host_destroy(struct lws_host *h)
{
    if (!h)
        return;
    loop_remove_flush(h->net->loop, host_serve, h);
    loop_timer_stop(h->net->loop, &h->wake);
    if (h->context) {
        lws_sul_cancel(&h->probe);
        pthread_mutex_lock(&create_lock);
        lws_context_destroy(h->context);
        pthread_mutex_unlock(&create_lock);
    }
    for (int fd = 0; fd < h->fd_count; fd++)
        if (h->fds[fd].watch)
            loop_fd_close(h->fds[fd].watch);
    mem_free(h->fds);
    mem_free(h);
}

/* A socket with TLS is watched by us until its turn; what it said first is still unread. */
static int host_wait_for_hello(struct lws_host *h, struct session *s, int fd)
{
    struct host_fd *f = host_fd_at(h, fd);

    if (f)
        s->fd = f->watch = loop_fd_open(h->net->loop, fd, host_fd_event, h);
    if (!s->fd) {
        close(fd);
        return MT_EIO;
    }
    f->session = s;
    return loop_fd_want(s->fd, LOOP_READ);
}

int host_adopt(struct lws_host *h, struct session *s, int fd)
{
    if (s->secure)
        return host_wait_for_hello(h, s, fd);
    int rc = host_give(h, s, fd);
    if (rc)
        return rc;
    struct host_fd *f = host_fd_at(h, fd);
    if (!f || !f->watch)
        return MT_EIO;
    s->fd = f->watch;
    lws_set_timeout(s->wsi, NO_PENDING_TIMEOUT, 0);
    loop_fd_set(s->fd, session_fd_event, s);
    return 0;
}

struct session *host_session(const struct lws_host *h, int fd)
{
    return fd >= 0 && fd < h->fd_count ? h->fds[fd].session : NULL;
}

void host_close(struct session *s)
{
    struct lws *wsi = s->wsi;
    struct loop_fd *watch = s->fd;

    s->wsi = NULL;
    s->ssl = NULL;
    s->fd = NULL;
    if (wsi) {
        lws_set_opaque_user_data(wsi, NULL);
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
    } else {
        int fd = loop_fd_fileno(watch);
        host_forget(s->net->host, fd);
        close(fd);
    }
}
