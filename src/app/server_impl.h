/* server_impl.h - struct server, for the files of the server only: server.c (its life), server_reload.c (what is renewed while it
 * runs) and server_admin.c (the control socket). Worker 1's thread.
 */
#ifndef MT_APP_SERVER_IMPL_H
#define MT_APP_SERVER_IMPL_H
#include "app/admin.h"
#include "app/history.h"
#include "app/reload.h"
#include "app/server.h"
#include "app/watch.h"
#include "app/worker.h"
#include "base/list.h"
#include <stdatomic.h>

struct server {
    struct config *config;  /* as started: what only a restart can change is read here. Owned */
    struct config *current; /* as of the last reload, NULL before the first. Owned */
    struct log *log;
    struct watchdog *watchdog;
    struct static_root *files; /* NULL: none */
    struct net_shared *net;
    struct access *access;     /* who may connect, as of now; one reference */
    struct hub_crew *crew;
    struct services *services;
    char *script, *library;   /* owned */
    struct net_tls_file *tls; /* owned, texts too */
    size_t tls_count;
    struct worker_config worker_config; /* lent to every worker */
    struct worker **workers;            /* owned */
    size_t worker_count;
    struct reload *reload;
    struct loop_wake *wake;           /* on worker 1's loop */
    atomic_uint asks;                 /* ASK_* of server.c that nobody has carried out yet */
    atomic_size_t working;            /* workers that have not drained */
    struct watch *scripts, *certs;    /* NULL where watching is off or impossible */
    struct admin *admin;              /* NULL when there is no control socket */
    struct list_node tickets;         /* of server_admin.c: who waits for the end of a reload */
    struct list_node censuses;        /* of server_admin.c: who waits for the numbers of all workers */
    struct history history;           /* of the script's versions */
    double started;                   /* unix seconds */
    uint64_t reloads, reloads_failed, rollbacks; /* of the script */
    double last_pause;                /* seconds of the last switch */
    bool stopping;
};

/* The settings that hold now. */
static inline const struct config *server_settings(const struct server *s)
{
    return s->current ? s->current : s->config;
}

/* ---- server_reload.c ---- */
/* `ended` of struct reload_config. */
void server_reload_ended(void *arg, const struct reload_end *e);
/* What reload.c is to know of the settings that hold now. */
void server_set_reload_limits(struct server *s);
/* Settings, certificates and the log file, each by itself; what fails stays as it was and is told in *why (NULL: in the log
 * only). 0 or one of the failures. */
int server_renew(struct server *s, struct buf *why);
/* Pages in dev mode, of all workers: what is live, or (text not NULL) why a version did not stay. */
void server_tell_pages(struct server *s, const char *text, bool rolled_back);
/* Watch the files, where that is wanted. */
int server_open_watches(struct server *s);

/* ---- server_admin.c ---- */
/* Open the control socket where that is wanted. 0 or an error code with *error. */
int server_open_admin(struct server *s, char **error);
/* Tell those who waited for this end. */
void server_answer_reload(struct server *s, const struct reload_end *e);
/* Tell those who wait for a reload that there will be none. */
void server_refuse_tickets(struct server *s);
/* Before the workers are destroyed. Nobody is answered any more. */
void server_close_admin(struct server *s);
#endif
