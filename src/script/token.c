/* token.c - the Lua state holds a few tables, and ends with the call. */
#include "script/token.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "script/json.h"
#include "script/jwt.h"
#include <lauxlib.h>
#include <math.h>

struct job {
    const struct token_make *make; /* one of the two */
    const struct token_check *check;
    struct slice token;
    struct buf scratch;
    struct buf *out;
    int code; /* what became of it: 0 or MT_E* */
};

/* ---- inside of Lua; what goes wrong is raised as a sentence ---- */

static int refuse(lua_State *L, struct job *job, int code, const char *message)
{
    job->code = code;
    lua_pushstring(L, message);
    return lua_error(L);
}

static struct jwt_keys *push_keys(lua_State *L, struct job *job, struct slice key)
{
    const char *why;

    if (jwt_keys_push(L, key, &why) != 0)
        refuse(L, job, MT_EINVALID, lua_pushfstring(L, "the key: %s", why));
    return jwt_keys_at(L, -1);
}

/* -1 when there is no name. */
static int find_algorithm(lua_State *L, struct job *job, const char *name)
{
    int alg = name ? jwa_find(slice_of(name)) : -1;

    if (name && alg < 0)
        refuse(L, job, MT_EINVALID, lua_pushfstring(L, "there is no algorithm %s", name));
    return alg;
}

static void push_claims(lua_State *L, struct job *job)
{
    const struct token_make *m = job->make;
    const char *why;

    if (!m->claims.data)
        lua_newtable(L);
    else if (json_decode(L, m->claims.data, m->claims.len, &why) != 0)
        refuse(L, job, MT_EINVALID, lua_pushfstring(L, "the claims: %s", why));
    if (!lua_istable(L, -1) || json_is_array(L, -1))
        refuse(L, job, MT_EINVALID, "the claims: a JSON object expected");
    for (size_t i = 0; i < m->text_count; i++) {
        lua_pushlstring(L, m->texts[i].name.data, m->texts[i].name.len);
        lua_pushlstring(L, m->texts[i].value.data, m->texts[i].value.len);
        lua_rawset(L, -3);
    }
}

static int make(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    const struct token_make *m = job->make;
    struct jwt_keys *keys = push_keys(L, job, m->key);
    int alg = find_algorithm(L, job, m->algorithm);

    if (keys->set)
        refuse(L, job, MT_EINVALID, "the key: a set of keys does not sign");
    push_claims(L, job);
    jwt_sign(L, -1, keys, alg, clock_wall(), m->expires_in > 0 ? m->expires_in : NAN, &job->scratch);
    job->code = buf_add(job->out, job->scratch.data, job->scratch.len);
    return 0;
}

/* The place of the text on the stack; 0 when there is none. */
static int push_text(lua_State *L, const char *text)
{
    if (!text)
        return 0;
    lua_pushstring(L, text);
    return lua_gettop(L);
}

/* nil, message, name are on top. */
static int refuse_token(lua_State *L, struct job *job)
{
    for (int code = MT_ENOMEM; code >= MT_ESCRIPT; code--)
        if (strcmp(err_name(code), lua_tostring(L, -1)) == 0)
            job->code = code;
    lua_pop(L, 1);
    return lua_error(L);
}

static int check(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    const struct token_check *c = job->check;
    struct jwt_rules rules = {.now = clock_wall(), .leeway = c->leeway};
    struct jwt_keys *keys = push_keys(L, job, c->key);
    int alg = find_algorithm(L, job, c->algorithm);
    const char *why;
    struct jwt t;

    rules.algorithms = alg >= 0 ? 1u << alg : 0;
    rules.issuer = push_text(L, c->issuer);
    rules.audience = push_text(L, c->audience);
    if (jwt_open(L, job->token, &job->scratch, &t) != 0 || jwt_verify(L, &t, keys, &rules, &job->scratch) != 0)
        return refuse_token(L, job);
    if (json_encode_as(L, -1, "claims", job->out, &why) != 0)
        return refuse(L, job, MT_EINVALID, why);
    job->code = 0;
    return 0;
}

/* ---- outside ---- */

static int run(struct job *job, lua_CFunction fn, char **error)
{
    lua_State *L = luaL_newstate();

    *error = NULL;
    if (!L)
        return MT_ENOMEM;
    job->code = MT_EINVALID; /* for what is raised elsewhere */
    lua_pushcfunction(L, fn);
    lua_pushlightuserdata(L, job);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : err_text(job->code);
        if (strncmp(text, "jwt.sign: ", 10) == 0) /* the name of the call means nothing here */
            text += 10;
        *error = mem_strdup(text, strlen(text));
    }
    lua_close(L);
    if (job->scratch.data)
        explicit_bzero(job->scratch.data, job->scratch.cap);
    buf_fini(&job->scratch);
    return job->code;
}

int token_make(const struct token_make *spec, struct buf *out, char **error)
{
    struct job job = {.make = spec, .out = out};

    return run(&job, make, error);
}

int token_check(struct slice token, const struct token_check *spec, struct buf *out, char **error)
{
    struct job job = {.check = spec, .token = token, .out = out};

    return run(&job, check, error);
}

static int measure(lua_State *L)
{
    struct job *job = lua_touserdata(L, 1);
    struct jwt_keys *keys = push_keys(L, job, job->token);

    job->code = keys->set ? 0 : (int)jwa_key_secret_bytes(keys->items[0].key);
    return 0;
}

size_t token_secret_bytes(struct slice key)
{
    struct job job = {.token = key};
    char *error;
    int bytes = run(&job, measure, &error);

    mem_free(error);
    return bytes > 0 ? (size_t)bytes : 0;
}
