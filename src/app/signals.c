/* signals.c - signals come to the loop as calls, but the second wish to stop must work even where the loop hangs. */
#include "app/signals.h"

#include "base/mem.h"
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    OTHER_FILES = 1024,   /* descriptors beside those of connections: listeners, files, the loop's own, stores */
    MOST_FILES = 1048576, /* libwebsockets 4.1 takes more for a mistake and allows 2560 */
    WATCHED = 3
};

struct signals {
    struct server *server;
    struct loop_signal *watches[WATCHED]; /* of SIGTERM, SIGINT, SIGHUP; NULL once closed */
};

/* Not the default action: that is none for the first process of a container. */
static void leave_at_once(int signum)
{
    _exit(128 + signum);
}

static void close_watch(struct signals *s, int i)
{
    if (s->watches[i])
        loop_signal_close(s->watches[i]);
    s->watches[i] = NULL;
}

static void on_stop(int signum, void *arg)
{
    struct signals *s = arg;
    struct sigaction action = {.sa_handler = leave_at_once};
    close_watch(s, 0);
    close_watch(s, 1);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    server_stop(s->server);
}

static void on_reload(int signum, void *arg)
{
    struct signals *s = arg;
    server_reload(s->server);
}

struct signals *signals_open(struct server *server)
{
    static const int numbers[WATCHED] = {SIGTERM, SIGINT, SIGHUP};
    struct signals *s = mem_zalloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->server = server;
    for (int i = 0; i < WATCHED; i++) {
        s->watches[i] = loop_signal_open(server_loop(server), numbers[i], numbers[i] == SIGHUP ? on_reload : on_stop, s);
        if (!s->watches[i]) {
            signals_close(s);
            return NULL;
        }
    }
    return s;
}

void signals_close(struct signals *s)
{
    if (!s)
        return;
    for (int i = 0; i < WATCHED; i++)
        close_watch(s, i);
    signal(SIGHUP, SIG_IGN); /* a late one must not end a process that is about to leave with 0 */
    mem_free(s);
}

size_t signals_prepare_process(size_t connections, size_t files)
{
    struct rlimit limit;
    size_t others = files + OTHER_FILES;
    rlim_t wanted = connections + others;
    signal(SIGPIPE, SIG_IGN);
    if (wanted > MOST_FILES)
        wanted = MOST_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    if (wanted > limit.rlim_max)
        wanted = limit.rlim_max;
    struct rlimit changed = {wanted, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &changed) == 0)
        limit = changed;
    return limit.rlim_cur > others ? (size_t)limit.rlim_cur - others : (size_t)limit.rlim_cur;
}
