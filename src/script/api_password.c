/* api_password.c - tide.password: hashing and checking passwords, on threads that do nothing else.
 *
 * Each costs a tenth of a second and 32 MiB, so few run at once and the others wait in the pool's line; when that is full the
 * call fails, which a login takes for a wrong password unless it looks.
 */
#include "script/api_password.h"

#include "base/err.h"
#include "crypt/password.h"
#include "loop/pool.h"
#include "script/api_help.h"
#include "script/errand.h"
#include <lauxlib.h>

struct password_errand {
    struct errand errand; /* first */
    struct pool_job job;
    struct inbox *inbox;     /* where it comes back */
    size_t len;              /* of text */
    char text[PASSWORD_MAX]; /* the password; wiped at the end */
    bool verify;             /* against `stored`; else it is hashed to `hash` */
    struct password_parts stored;
    bool same; /* what came out of it */
    char hash[PASSWORD_HASH_MAX];
};

static void run(struct pool_job *job)
{
    struct password_errand *e = list_entry(job, struct password_errand, job);
    struct slice text = {e->text, e->len};

    if (atomic_load(&e->errand.given_up))
        e->errand.code = MT_ECANCELLED;
    else
        e->errand.code = e->verify ? password_verify(text, &e->stored, &e->same) : password_hash(text, e->hash);
    inbox_post(e->inbox, &e->errand.letter);
}

static int finish(lua_State *L, struct errand *errand, int code)
{
    struct password_errand *e = (struct password_errand *)errand;

    if (code == MT_EBUSY)
        return script_push_failure(L, "too many passwords at once", err_name(code));
    if (code != 0)
        return script_push_result(L, code);
    if (e->verify)
        lua_pushboolean(L, e->same);
    else
        lua_pushstring(L, e->hash);
    return 1;
}

static void destroy(struct errand *errand)
{
    struct password_errand *e = (struct password_errand *)errand;

    explicit_bzero(e->text, e->len);
}

/* Sends the password at 1 to be hashed, or verified against *stored, and waits. */
static int send(lua_State *L, struct slice text, const struct password_parts *stored)
{
    static const struct errand_ops ops = {.finish = finish, .destroy = destroy};
    struct script *s = script_of(L);
    struct task *t = task_check_wait(L);
    struct password_errand *e = errand_push(L, sizeof(*e), &ops);

    e->job.run = run;
    e->inbox = s->inbox;
    e->len = text.len;
    memcpy(e->text, text.data, text.len);
    e->verify = stored != NULL;
    if (stored)
        e->stored = *stored;
    errand_start(t, &e->errand);
    int rc = pool_send(s->config.services.hashing, &e->job);
    if (rc != 0)
        errand_refuse(&e->errand, rc);
    return errand_wait(L, &e->errand, -1);
}

/* password.hash(text) -> string | nil, message, name */
static int l_password_hash(lua_State *L)
{
    struct slice text = api_check_string(L, 1);

    script_check_acting(L, "tide.password.hash");
    if (text.len > PASSWORD_MAX)
        return script_push_failure(L, "a password of more than 1024 bytes", err_name(MT_ETOO_LARGE));
    return send(L, text, NULL);
}

/* password.verify(text, hash) -> boolean | nil, message, name. A hash that is nil costs the time of one that is there: who tries
 * names does not learn which of them exist. */
static int l_password_verify(lua_State *L)
{
    bool no_text = lua_isnil(L, 1), no_hash = lua_isnil(L, 2);
    struct slice text = no_text ? SLICE("") : api_check_string(L, 1);
    struct password_parts stored;
    int rc = 0;

    luaL_checkany(L, 2);
    if (no_hash)
        password_unknown(&stored);
    else
        rc = password_parse(api_check_string(L, 2), &stored);
    script_check_acting(L, "tide.password.verify");
    if (rc != 0)
        return script_push_failure(L, rc == MT_ETOO_LARGE ? "this hash would take too long" : "not a hash of tide.password",
                                   err_name(rc));
    if (no_text || text.len > PASSWORD_MAX) { /* nothing that was hashed */
        lua_pushboolean(L, false);
        return 1;
    }
    return send(L, text, &stored);
}

static const luaL_Reg password_functions[] = {{"hash", l_password_hash}, {"verify", l_password_verify}, {NULL, NULL}};

void api_password_fill(lua_State *L)
{
    luaL_newlib(L, password_functions);
    lua_setfield(L, -2, "password");
}
