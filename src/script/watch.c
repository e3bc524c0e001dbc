/* watch.c - the watchdog's thread, its signal handler and the hook that kills. */
#include "script/watch.h"

#include "base/mem.h"
#include "loop/loop.h"
#include "script/script.h"
#include "script/state.h"
#include "script/traceback.h"

#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* SIGURG is ignored by default and nothing here asks for urgent data; a stray one does no harm. */
enum { WATCH_SIGNAL = SIGURG, WATCH_PERIOD_MS = 10 };

struct watchdog {
    pthread_mutex_t lock; /* over slots and stop; held while a thread is signalled, so that it cannot go */
    pthread_cond_t wake;  /* stop was set */
    struct loop_thread *thread;
    struct watch_slot *slots; /* all that were ever joined; a signal may still be on its way to one that parted */
    bool stop;
};

/* Where the script was when the kill struck first: later the inner frames are gone. */
static void note_trace(lua_State *L, struct watch_slot *slot)
{
    size_t len;
    const char *text;

    traceback_push(L, L, NULL, 0);
    text = lua_tolstring(L, -1, &len);
    if (len >= WATCH_TRACE_MAX)
        len = WATCH_TRACE_MAX - 1;
    memcpy(slot->trace, text, len);
    slot->trace[len] = '\0';
    lua_pop(L, 1);
}

void watch_note(lua_State *L)
{
    struct script *s = script_of(L);
    struct watch_slot *slot = s->watch;

    if (!slot->killed || slot->trace[0])
        return;
    slot->trace[0] = ' '; /* a traceback may raise when memory is short: try it once */
    script_core_begin(s);
    note_trace(L, slot);
    script_core_end(s);
}

static void on_hook(lua_State *L, lua_Debug *ar)
{
    struct watch_slot *slot = script_of(L)->watch;

    if (!slot->killed) { /* armed in an entry that has ended */
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    watch_note(L);
    if (!lua_isyieldable(L))
        luaL_error(L, "killed");
    if (ar->event == LUA_HOOKCOUNT) /* Lua yields from no other hook; one comes with the next instruction */
        lua_yield(L, 0);
}

/* Once: lua_sethook walks all calls that are under way, which takes milliseconds where a script recurses deeply, and signals go on
 * coming. */
static void arm(lua_State *L)
{
    if (lua_gethook(L) != on_hook || lua_gethookmask(L) == 0) /* 0: this struck in the midst of taking the hook away */
        lua_sethook(L, on_hook, LUA_MASKCOUNT | LUA_MASKCALL, 1);
}

/* On the worker's thread, between two machine instructions of anything. lua_sethook is made for this. */
static void on_signal(int signum, siginfo_t *info, void *context)
{
    int saved = errno;

    if (info->si_code == SI_QUEUE && info->si_pid == getpid() && info->si_value.sival_ptr) {
        struct watch_slot *slot = info->si_value.sival_ptr;
        uint64_t entry = atomic_load_explicit(&slot->entry, memory_order_relaxed);

        if ((entry & 1) && entry == atomic_load_explicit(&slot->condemned, memory_order_relaxed)) {
            slot->killed = true;
            if (slot->running)
                arm(slot->running);
        }
    }
    errno = saved;
}

static void install_handler(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(WATCH_SIGNAL, &action, NULL);
}

/* Milliseconds that the thread has run on a processor: a machine that is busy with other things does not use up a script's
 * budget. */
static uint64_t running_ms(pthread_t thread)
{
    struct timespec used;
    clockid_t clock;

    if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return 0;
    return (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
}

static void look_at(struct watch_slot *slot)
{
    uint64_t entry = atomic_load_explicit(&slot->entry, memory_order_acquire), now;
    pthread_t thread;

    if (!(entry & 1))
        return;
    thread = (pthread_t)atomic_load_explicit(&slot->thread, memory_order_relaxed);
    now = running_ms(thread);
    if (entry != slot->seen) {
        slot->seen = entry;
        slot->since_ms = now;
    }
    if (now - slot->since_ms >= atomic_load_explicit(&slot->budget_ms, memory_order_relaxed)) {
        atomic_store_explicit(&slot->condemned, entry, memory_order_release);
        pthread_sigqueue(thread, WATCH_SIGNAL, (union sigval){.sival_ptr = slot}); /* again each period, until the entry ends */
    }
}

static void watch_thread(void *arg)
{
    struct watchdog *w = arg;

    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct timespec until;

        for (struct watch_slot *slot = w->slots; slot; slot = slot->next)
            if (slot->used)
                look_at(slot);
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WATCH_PERIOD_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000L;
        }
        pthread_cond_timedwait(&w->wake, &w->lock, &until);
    }
    pthread_mutex_unlock(&w->lock);
}

struct watchdog *script_watchdog_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_condattr_t attributes;
    struct watchdog *w = mem_zalloc(1, sizeof(*w));

    if (!w)
        return NULL;
    pthread_once(&once, install_handler);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    w->thread = loop_thread_start(watch_thread, w);
    if (!w->thread) {
        script_watchdog_stop(w);
        return NULL;
    }
    return w;
}

void script_watchdog_stop(struct watchdog *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (w->thread)
        loop_thread_join(w->thread);
    for (struct watch_slot *slot = w->slots, *next; slot; slot = next) {
        next = slot->next;
        mem_free(slot);
    }
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

static struct watch_slot *find_free(struct watchdog *w)
{
    for (struct watch_slot *slot = w->slots; slot; slot = slot->next)
        if (!slot->used)
            return slot;
    return NULL;
}

struct watch_slot *watch_join(struct watchdog *w)
{
    struct watch_slot *slot = NULL;

    if (!w)
        return mem_zalloc(1, sizeof(*slot));
    pthread_mutex_lock(&w->lock);
    slot = find_free(w);
    if (!slot && (slot = mem_zalloc(1, sizeof(*slot))) != NULL) {
        slot->next = w->slots;
        w->slots = slot;
    }
    if (slot)
        slot->used = true;
    pthread_mutex_unlock(&w->lock);
    return slot;
}

void watch_part(struct watchdog *w, struct watch_slot *slot)
{
    if (!slot)
        return;
    if (!w) {
        mem_free(slot);
        return;
    }
    pthread_mutex_lock(&w->lock);
    slot->used = false;
    pthread_mutex_unlock(&w->lock);
}

void watch_admit_thread(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, WATCH_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void watch_begin(struct watch_slot *slot, uint32_t budget_ms)
{
    uint64_t entry = atomic_load_explicit(&slot->entry, memory_order_relaxed);

    atomic_store_explicit(&slot->thread, (unsigned long)pthread_self(), memory_order_relaxed);
    atomic_store_explicit(&slot->budget_ms, budget_ms, memory_order_relaxed);
    atomic_store_explicit(&slot->entry, entry + 1, memory_order_release);
}

void watch_end(struct watch_slot *slot)
{
    uint64_t entry = atomic_load_explicit(&slot->entry, memory_order_relaxed);

    atomic_store_explicit(&slot->entry, entry + 1, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst); /* from here on the handler does nothing more for this entry */
    if (slot->killed) {
        if (slot->running)
            lua_sethook(slot->running, NULL, 0, 0);
        slot->killed = false;
        slot->trace[0] = '\0';
    }
    slot->running = NULL;
}

void watch_follow(struct watch_slot *slot, lua_State *L)
{
    slot->running = L;
    atomic_signal_fence(
        memory_order_seq_cst); /* a handler that comes before this line has set killed; after it, it arms L itself */
    if (slot->killed && L)
        arm(L);
}
