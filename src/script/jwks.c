/* jwks.c */
#include "script/jwks.h"

#include "base/ip.h"
#include "base/mem.h"
#include "loop/pool.h"
#include "script/state.h"
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that is being read, by a thread that waits for the disk. */
struct reading {
    struct letter letter;
    struct pool_job job;
    struct inbox *inbox;
    struct jwks_source *source; /* NULL: nobody wants to know any more. Loop thread */
    int code;                   /* 0 or MT_E* */
    struct buf data;
    char path[];                /* NUL-terminated */
};

struct jwks_source {
    struct list_node node; /* in jwks->sources */
    struct script *script;
    char *name;               /* owned */
    const char *path;         /* of the file, in name; NULL: it is a URL */
    struct jwt_keys *keys;    /* counted; NULL: none yet */
    uint64_t fetched, life;   /* when they came, and for how many milliseconds they are good */
    uint64_t begun;           /* when the last fetch began; 0: never */
    struct http_call *call;   /* one of the two is there while it is fetched. Owned */
    struct reading *reading;  /* the reader's own */
    struct loop_timer timer;  /* the fetch has ended, or takes too long */
    struct list_node waiters; /* struct waiter */
    int code;                 /* of the last fetch: 0 or MT_E* */
    char why[160];            /* a sentence for the code */
};

struct jwks {
    struct list_node sources;
    size_t count;
};

struct waiter {
    struct errand errand; /* first */
    struct list_node node;
};

/* ---- names ---- */

static bool begins(struct slice text, struct slice with)
{
    return text.len >= with.len && strncasecmp(text.data, with.data, with.len) == 0;
}

/* What stands between the scheme and the path of a URL. */
static struct slice authority(struct slice url)
{
    struct slice rest = {url.data + 7, url.len - 7}; /* http:// */
    size_t len = 0;

    if (rest.len && rest.data[0] == '/') { /* https:// */
        rest.data++;
        rest.len--;
    }
    while (len < rest.len && !memchr("/?#", rest.data[len], 3))
        len++;
    return (struct slice){rest.data, len};
}

/* Plain HTTP is for this machine alone: on the way anybody could put in keys. */
static bool is_local(struct slice host)
{
    struct ip ip;
    size_t len = host.len;
    const char *colon = len && host.data[0] != '[' ? memchr(host.data, ':', len) : NULL;

    if (colon)
        len = (size_t)(colon - host.data);
    if (len && host.data[0] == '[') {
        const char *end = memchr(host.data, ']', len);
        if (!end)
            return false;
        host = (struct slice){host.data + 1, (size_t)(end - host.data) - 1};
        len = host.len;
    }
    host.len = len;
    return slice_is_nocase(host, SLICE("localhost")) || (ip_parse(host, &ip) && ip_is_loopback(&ip));
}

/* Static text, or NULL when the name is fine; *path: where the path begins, 0 for URLs. */
static const char *check_name(struct slice name, size_t *path)
{
    bool https = begins(name, SLICE("https://")), http = begins(name, SLICE("http://"));

    *path = 0;
    if (name.len == 0 || name.len > JWKS_NAME_MAX || memchr(name.data, '\0', name.len))
        return "1 to 2048 bytes without a zero byte";
    if (https || http) {
        struct slice host = authority(name);
        if (host.len == 0 || memchr(host.data, '@', host.len))
            return "a URL has a host, and no password";
        return https || is_local(host) ? NULL : "https only, but for localhost";
    }
    if (memmem(name.data, name.len, "://", 3) && !begins(name, SLICE("file:///")))
        return "an https URL or a file";
    *path = begins(name, SLICE("file:///")) ? 7 : begins(name, SLICE("file:")) ? 5 : 0;
    return name.len == *path ? "the name of the file is missing" : NULL;
}

/* Without the query, which may hold a secret. */
static struct slice shown(const struct jwks_source *s)
{
    return (struct slice){s->name, s->path ? strlen(s->name) : strcspn(s->name, "?#")};
}

/* ---- the end of a fetch ---- */

static void set_result(struct jwks_source *s, int code, const char *why)
{
    s->code = code;
    snprintf(s->why, sizeof(s->why), "%s", why);
}

struct parse {
    struct slice text;
    bool public;
    struct jwt_keys *keys; /* out; counted */
    const char *why;       /* out; static */
};

static int parse(lua_State *L)
{
    struct parse *p = lua_touserdata(L, 1);
    int rc = p->public ? jwt_keys_push_public(L, p->text, &p->why) : jwt_keys_push(L, p->text, &p->why);

    if (rc == 0 && jwt_keys_at(L, -1)->set)
        p->keys = jwt_keys_ref(jwt_keys_at(L, -1));
    else if (rc == 0)
        p->why = "not a JWK set";
    return 0;
}

static void take_keys(struct jwks_source *s, struct slice text, uint64_t life)
{
    struct parse p = {.text = text, .public = !s->path, .why = err_text(MT_ENOMEM)};

    if (script_protect(s->script, parse, &p) != LUA_OK)
        lua_pop(s->script->L, 1);
    if (!p.keys) {
        set_result(s, MT_EMALFORMED, p.why);
        return;
    }
    jwt_keys_unref(s->keys);
    s->keys = p.keys;
    s->fetched = loop_now(s->script->loop);
    s->life = life;
    set_result(s, 0, "");
}

static void tell(struct jwks_source *s, int before)
{
    struct slice name = shown(s);
    uint64_t age = (loop_now(s->script->loop) - s->fetched) / 1000;

    s->script->stats.jwks_failures += s->code != 0;
    if (s->code == 0 && before != 0)
        log_info(s->script->log, NULL, "jwks %.*s: there again, with %zu keys", (int)name.len, name.data, s->keys->count);
    else if (s->code != 0 && s->keys)
        log_warn(s->script->log, NULL, "jwks %.*s: %s; the keys of %llu s ago stay in use", (int)name.len, name.data, s->why,
                 (unsigned long long)age);
    else if (s->code != 0)
        log_warn(s->script->log, NULL, "jwks %.*s: %s; tokens cannot be verified", (int)name.len, name.data, s->why);
}

/* Lets go of what fetched. The tasks that waited may begin the next fetch, and wait for that. */
static void end_fetch(struct jwks_source *s)
{
    struct list_node waiters;

    loop_timer_stop(s->script->loop, &s->timer);
    http_call_destroy(s->call);
    s->call = NULL;
    if (s->reading)
        s->reading->source = NULL;
    s->reading = NULL;
    list_init(&waiters);
    while (!list_empty(&s->waiters)) {
        struct list_node *first = s->waiters.next;
        list_remove(first);
        list_add_tail(&waiters, first);
    }
    while (!list_empty(&waiters)) {
        struct waiter *w = list_entry(waiters.next, struct waiter, node);
        list_remove(&w->node);
        errand_done(&w->errand);
    }
}

/* ---- from a URL ---- */

/* RFC 9111, 5.2.2 */
static uint64_t read_life(const struct http_call *call)
{
    struct slice name, value, element;
    unsigned long long seconds;
    uint64_t life = JWKS_LIFE_MS;
    size_t at = 0;

    while (http_call_next_header(call, &at, &name, &value)) {
        if (!slice_is_nocase(name, SLICE("cache-control")))
            continue;
        while (slice_next(&value, ',', &element)) {
            if (slice_is_nocase(element, SLICE("no-store")) || slice_is_nocase(element, SLICE("no-cache")))
                return JWKS_LIFE_MIN_MS;
            if (begins(element, SLICE("max-age=")) &&
                slice_to_uint((struct slice){element.data + 8, element.len - 8}, UINT32_MAX, &seconds))
                life = seconds * 1000;
        }
    }
    return life < JWKS_LIFE_MIN_MS ? JWKS_LIFE_MIN_MS : life > JWKS_LIFE_MAX_MS ? JWKS_LIFE_MAX_MS : life;
}

static void take_answer(struct jwks_source *s)
{
    char text[64];

    if (http_call_code(s->call) != 0) {
        set_result(s, http_call_code(s->call), http_call_text(s->call));
    } else if (http_call_status(s->call) != 200) {
        snprintf(text, sizeof(text), "the answer has status %d", http_call_status(s->call));
        set_result(s, MT_EMALFORMED, text);
    } else {
        take_keys(s, http_call_data(s->call), read_life(s->call));
    }
}

/* A call may not be destroyed from inside: the end is left to the timer. */
static void on_change(void *arg)
{
    struct jwks_source *s = arg;

    if (http_call_ended(s->call))
        loop_timer_start(s->script->loop, &s->timer, 0);
}

static void on_time(struct loop_timer *t)
{
    struct jwks_source *s = list_entry(t, struct jwks_source, timer);
    int before = s->code;

    if (s->call && http_call_ended(s->call))
        take_answer(s);
    else
        set_result(s, MT_ETIMEOUT, "no answer within 10 s");
    tell(s, before);
    end_fetch(s);
}

static int begin_call(struct jwks_source *s)
{
    struct http_client *client = script_http(s->script);
    struct http_call_config c = {.method = SLICE("GET"),
                                 .url = slice_of(s->name),
                                 .limit = JWT_SET_BYTES_MAX,
                                 .patience_ms = JWKS_FETCH_MS,
                                 .secure = true};

    s->call = client ? http_call_create(client, on_change, s) : NULL;
    if (!s->call || http_call_add_header(s->call, SLICE("Accept"), SLICE("application/jwk-set+json, application/json")) != 0) {
        set_result(s, MT_ENOMEM, err_text(MT_ENOMEM));
        return MT_ENOMEM;
    }
    int rc = http_call_start(s->call, &c);
    if (rc != 0)
        set_result(s, http_call_code(s->call), http_call_text(s->call));
    return rc;
}

/* ---- from a file ---- */

static int read_descriptor(int fd, struct buf *out)
{
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return MT_EINVALID;
    if (st.st_size > JWT_SET_BYTES_MAX)
        return MT_ETOO_LARGE;
    do {
        if (buf_reserve(out, 4096) != 0)
            return MT_ENOMEM;
        n = read(fd, out->data + out->len, 4096);
        if (n > 0)
            out->len += (size_t)n;
    } while ((n > 0 || (n < 0 && errno == EINTR)) && out->len <= JWT_SET_BYTES_MAX);
    return n < 0 ? MT_EIO : n > 0 ? MT_ETOO_LARGE : 0;
}

static int read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;

    if (fd < 0)
        return errno == ENOENT ? MT_ENOT_FOUND : errno == EACCES ? MT_EDENIED : MT_EIO;
    rc = read_descriptor(fd, out);
    close(fd);
    return rc;
}

static void run_reading(struct pool_job *job)
{
    struct reading *r = list_entry(job, struct reading, job);

    r->code = read_file(r->path, &r->data);
    inbox_post(r->inbox, &r->letter);
}

static void open_reading(struct letter *l, bool delivered)
{
    struct reading *r = list_entry(l, struct reading, letter);
    struct jwks_source *s = r->source;

    if (s && delivered) {
        int before = s->code;

        if (r->code == 0)
            take_keys(s, buf_slice(&r->data), JWKS_FILE_MS);
        else
            set_result(s, r->code, err_text(r->code));
        tell(s, before);
        end_fetch(s);
    }
    buf_fini(&r->data);
    mem_free(r);
}

static int begin_reading(struct jwks_source *s)
{
    size_t len = strlen(s->path) + 1;
    struct reading *r = mem_zalloc(1, sizeof(*r) + len);
    struct script *script = s->script;
    int rc = r ? MT_EIO : MT_ENOMEM;

    if (r) {
        memcpy(r->path, s->path, len);
        r->letter.open = open_reading;
        r->job.run = run_reading;
        r->inbox = script->inbox;
        r->source = s;
        rc = script->config.services.disk ? pool_send(script->config.services.disk, &r->job) : MT_EIO;
    }
    if (rc != 0) {
        mem_free(r);
        set_result(s, rc, err_text(rc));
        return rc;
    }
    s->reading = r;
    return 0;
}

/* ---- fetching ---- */

static bool is_fetching(const struct jwks_source *s)
{
    return s->call || s->reading;
}

bool jwks_fetches(struct jwks_source *s)
{
    uint64_t now = loop_now(s->script->loop);
    int before = s->code, rc;

    if (is_fetching(s))
        return true;
    if (s->begun && now - s->begun < JWKS_PAUSE_MS)
        return false;
    s->begun = now ? now : 1;
    loop_timer_start(s->script->loop, &s->timer, JWKS_FETCH_MS);
    rc = s->path ? begin_reading(s) : begin_call(s);
    if (rc == 0)
        return true;
    tell(s, before);
    end_fetch(s);
    return false;
}

static uint64_t age_of(const struct jwks_source *s)
{
    return loop_now(s->script->loop) - s->fetched;
}

bool jwks_is_old(const struct jwks_source *s)
{
    /* Where others were looked for in vain a moment ago, nobody waits for the next attempt. */
    bool in_vain = s->code != 0 && loop_now(s->script->loop) - s->begun < JWKS_LIFE_MIN_MS;

    return !s->keys || (age_of(s) >= s->life && !in_vain);
}

const struct jwt_keys *jwks_keys(struct jwks_source *s)
{
    if (s->keys && age_of(s) >= s->life - s->life / 4)
        jwks_fetches(s);
    return s->keys && age_of(s) < JWKS_STALE_MS ? s->keys : NULL;
}

int jwks_push_failure(lua_State *L, const struct jwks_source *s)
{
    /* Scripts hand the sentence on to clients: hosts and files are for the log. */
    return script_push_failure(L, "the keys cannot be fetched", err_name(s->code ? s->code : MT_EEXPIRED));
}

int jwks_wait(lua_State *L, struct jwks_source *s, const struct errand_ops *ops)
{
    struct task *t = task_check_wait(L);
    struct waiter *w = errand_push(L, sizeof(*w), ops);

    errand_start(t, &w->errand);
    list_add_tail(&s->waiters, &w->node);
    return errand_wait(L, &w->errand, -1);
}

/* ---- sources ---- */

static void destroy_source(struct jwks_source *s)
{
    end_fetch(s);
    list_remove(&s->node);
    jwt_keys_unref(s->keys);
    mem_free(s->name);
    mem_free(s);
}

static struct jwks_source *create_source(struct script *script, struct slice name, size_t path)
{
    struct jwks_source *s = mem_zalloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->script = script;
    list_init(&s->node);
    list_init(&s->waiters);
    loop_timer_init(&s->timer, on_time);
    s->name = mem_strdup(name.data, name.len);
    if (!s->name) {
        destroy_source(s);
        return NULL;
    }
    bool url = path == 0 && (begins(name, SLICE("https://")) || begins(name, SLICE("http://")));
    s->path = url ? NULL : s->name + path;
    return s;
}

static struct jwks *all_of(lua_State *L)
{
    struct script *script = script_of(L);

    if (!script->jwks && (script->jwks = mem_zalloc(1, sizeof(*script->jwks))) != NULL)
        list_init(&script->jwks->sources);
    if (!script->jwks)
        luaL_error(L, "not enough memory");
    return script->jwks;
}

struct jwks_source *jwks_find(lua_State *L, struct slice name)
{
    struct jwks *all = all_of(L);
    size_t path;

    list_each(node, &all->sources)
    {
        struct jwks_source *s = list_entry(node, struct jwks_source, node);
        if (slice_is(name, slice_of(s->name)))
            return s;
    }
    const char *problem = check_name(name, &path);
    if (problem)
        luaL_error(L, "jwt.verify: jwks: %s", problem);
    if (all->count == JWKS_SOURCES_MAX)
        luaL_error(L, "jwt.verify: jwks: more than %d sets; the name may not come from a client", JWKS_SOURCES_MAX);
    script_check_acting(L, "tide.jwt.verify");
    struct jwks_source *s = create_source(script_of(L), name, path);
    if (!s)
        luaL_error(L, "not enough memory");
    list_add_tail(&all->sources, &s->node);
    all->count++;
    return s;
}

void jwks_destroy(struct jwks *all)
{
    if (!all)
        return;
    while (!list_empty(&all->sources))
        destroy_source(list_entry(all->sources.next, struct jwks_source, node));
    mem_free(all);
}
