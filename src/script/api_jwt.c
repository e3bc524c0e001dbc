/* api_jwt.c - tide.jwt.verify and sign: options, the keys that were read before, and the wait for keys from elsewhere.
 *
 * Keys are read once: a VM remembers those of the last texts it saw. Verifying takes some 30 (RSA) to 100 (ECDSA) microseconds,
 * and so runs on the loop.
 */
#include "script/api_jwt.h"

#include "base/clock.h"
#include "script/api_help.h"
#include "script/json.h"
#include "script/jwks.h"
#include "script/jwt.h"
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

enum { AT_TOKEN = 1, AT_CLAIMS = 1, AT_OPTS = 2, REMEMBERED_MAX = 64, LEEWAY_MAX = 3600 };

static const char memory_key = 0; /* its address keys the table text -> owner of keys */

/* ---- options ---- */

static bool push_option(lua_State *L, const char *name)
{
    lua_getfield(L, AT_OPTS, name);
    return !lua_isnil(L, -1);
}

static int refuse(lua_State *L, const char *name, const char *why)
{
    return luaL_argerror(L, AT_OPTS, lua_pushfstring(L, "%s: %s", name, why));
}

static double check_number(lua_State *L, const char *name, double min, double max, double otherwise)
{
    bool given = push_option(L, name);
    double value = lua_tonumber(L, -1);

    if (given && (lua_type(L, -1) != LUA_TNUMBER || !(value >= min && value <= max)))
        refuse(L, name, lua_pushfstring(L, "a number from %f to %f", min, max));
    lua_pop(L, 1);
    return given ? value : otherwise;
}

/* Pushes the option, a string or a list of strings. Its place, 0 when it is not given. */
static int push_words(lua_State *L, const char *name)
{
    if (!push_option(L, name))
        return 0;
    int at = lua_gettop(L);
    bool fine = lua_type(L, at) == LUA_TSTRING;
    if (lua_istable(L, at)) {
        lua_Integer n = (lua_Integer)lua_rawlen(L, at);
        fine = n > 0;
        for (lua_Integer i = 1; fine && i <= n; i++) {
            fine = lua_rawgeti(L, at, i) == LUA_TSTRING;
            lua_pop(L, 1);
        }
    }
    if (!fine)
        refuse(L, name, "a string or a list of strings expected");
    return at;
}

/* The algorithm whose name is on top of the stack. */
static int check_algorithm(lua_State *L)
{
    struct slice name;

    name.data = lua_tolstring(L, -1, &name.len);
    int alg = jwa_find(name);
    return alg >= 0 ? alg : api_raise_unknown(L, AT_OPTS, "algorithm", name, jwa_names);
}

static unsigned check_algorithms(lua_State *L)
{
    int at = push_words(L, "algorithms");
    unsigned set = 0;

    if (at && lua_istable(L, at)) {
        for (lua_Integer i = 1; lua_rawgeti(L, at, i) != LUA_TNIL; i++) {
            set |= 1u << check_algorithm(L);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    } else if (at) {
        set = 1u << check_algorithm(L);
    }
    lua_pop(L, 1);
    return set;
}

/* Leaves what the rules point to on the stack. */
static void push_rules(lua_State *L, struct jwt_rules *r)
{
    static const char *const names[] = {"key", "jwks", "algorithms", "issuer", "audience", "leeway", "require", NULL};

    luaL_checktype(L, AT_OPTS, LUA_TTABLE);
    api_check_table(L, AT_OPTS, names);
    luaL_checkstack(L, 20, "jwt.verify");
    *r = (struct jwt_rules){.algorithms = check_algorithms(L),
                            .now = clock_wall(),
                            .leeway = check_number(L, "leeway", 0, LEEWAY_MAX, 0)};
    r->issuer = push_words(L, "issuer");
    r->audience = push_words(L, "audience");
    r->require = push_words(L, "require");
}

/* ---- keys ---- */

/* Pushes the table of keys that were read before; one that has become large is begun anew. */
static void push_memory(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &memory_key) == LUA_TTABLE) {
        lua_rawgeti(L, -1, 1); /* how many there are: texts are no numbers */
        lua_Integer count = lua_tointeger(L, -1);
        lua_pop(L, 1);
        if (count < REMEMBERED_MAX)
            return;
    }
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &memory_key);
}

static void warn_of_secret(lua_State *L, const struct jwt_keys *keys)
{
    size_t bytes = keys->set ? 0 : jwa_key_secret_bytes(keys->items[0].key);
    char text[160];
    int len;

    if (bytes == 0 || bytes >= JWT_SECRET_MIN)
        return;
    len = snprintf(text, sizeof(text),
                   "tide.jwt: who has a token can find a secret of %zu bytes by trying; take one of %d: moontide token secret", bytes,
                   JWT_SECRET_MIN);
    script_say(script_of(L), LOG_LEVEL_WARN, (struct slice){text, (size_t)len}, NULL, 0);
}

/* The text on top of the stack becomes the value that owns its keys. */
static struct jwt_keys *read_keys(lua_State *L, const char *option)
{
    int text = lua_gettop(L);
    struct slice s;
    const char *why;

    push_memory(L);
    lua_pushvalue(L, text);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pop(L, 1);
        s.data = lua_tolstring(L, text, &s.len);
        if (jwt_keys_push(L, s, &why) != 0)
            refuse(L, option, why);
        warn_of_secret(L, jwt_keys_at(L, -1));
        lua_pushvalue(L, text);
        lua_pushvalue(L, -2); /* text, memory, keys, text, keys */
        lua_rawset(L, -4);
        lua_rawgeti(L, -2, 1);
        lua_pushinteger(L, lua_tointeger(L, -1) + 1);
        lua_rawseti(L, -4, 1);
        lua_pop(L, 1);
    }
    lua_replace(L, text);
    lua_settop(L, text);
    return jwt_keys_at(L, -1);
}

/* A JWK or a set as a table is on top of the stack: it becomes its text. What the script changes in it is seen. */
static void encode_table(lua_State *L, const char *option)
{
    struct script *s = script_of(L);
    const char *why;

    buf_clear(&s->scratch);
    if (json_encode_as(L, -1, option, &s->scratch, &why) != 0)
        luaL_argerror(L, AT_OPTS, why);
    api_push_scratch(L);
    lua_replace(L, -2);
}

/* Pushes the value that owns the keys of the option, which is not nil. */
static struct jwt_keys *push_key(lua_State *L, const char *option)
{
    if (lua_istable(L, -1))
        encode_table(L, option);
    else if (lua_type(L, -1) != LUA_TSTRING)
        refuse(L, option, lua_pushfstring(L, "string or table expected, got %s", luaL_typename(L, -1)));
    struct jwt_keys *keys = read_keys(L, option);
    bool set = strcmp(option, "jwks") == 0;
    if (keys->set != set)
        refuse(L, option, set ? "a set expected, { keys = { ... } }; give one key as key =" : "this is a set: give it as jwks =");
    return keys;
}

/* ---- verify ---- */

static int verify(lua_State *L, bool waited);

static int finish_wait(lua_State *L, struct errand *e, int code)
{
    return verify(L, true);
}

/* The keys are in a file or at a URL. */
static int verify_by_source(lua_State *L, const struct jwt *t, const struct jwt_rules *rules, struct slice name, bool waited)
{
    static const struct errand_ops ops = {.finish = finish_wait};
    struct jwks_source *source = jwks_find(L, name);
    const struct jwt_keys *keys = jwks_keys(source);

    if (!waited && (!keys || jwks_is_old(source) || !jwt_knows(keys, t))) {
        script_check_acting(L, "tide.jwt.verify");
        if (jwks_fetches(source))
            return jwks_wait(L, source, &ops);
        keys = jwks_keys(source);
    }
    return keys ? jwt_verify(L, t, keys, rules, &script_of(L)->scratch) : jwks_push_failure(L, source);
}

/* Whether the option on top of the stack names a set that is elsewhere. */
static bool is_name(lua_State *L)
{
    return lua_type(L, -1) == LUA_TSTRING && lua_tostring(L, -1)[strspn(lua_tostring(L, -1), " \t\r\n")] != '{';
}

/* Pushes the keys, or leaves the name of where they are on the stack and gives NULL. */
static struct jwt_keys *push_keys(lua_State *L)
{
    bool key = push_option(L, "key"), jwks = push_option(L, "jwks");

    if (key == jwks)
        luaL_error(L, key ? "jwt.verify: either key or jwks" : "jwt.verify: no key");
    if (key)
        lua_pop(L, 1);
    return !key && is_name(L) ? NULL : push_key(L, key ? "key" : "jwks");
}

static int missing_or_malformed(lua_State *L)
{
    if (lua_isnil(L, AT_TOKEN))
        return script_push_failure(L, "no token", err_name(MT_EMISSING));
    return script_push_failure(L, "the token is not a string", err_name(MT_EMALFORMED));
}

/* Also after a wait: then the stack holds more than the arguments. */
static int verify(lua_State *L, bool waited)
{
    struct buf *scratch = &script_of(L)->scratch;
    struct jwt_rules rules;
    struct slice token, name;
    struct jwt t;

    push_rules(L, &rules);
    struct jwt_keys *keys = push_keys(L);
    name.data = keys ? NULL : lua_tolstring(L, -1, &name.len);
    if (lua_type(L, AT_TOKEN) != LUA_TSTRING)
        return missing_or_malformed(L);
    token.data = lua_tolstring(L, AT_TOKEN, &token.len);
    int n = jwt_open(L, token, scratch, &t);
    if (n == 0)
        n = keys ? jwt_verify(L, &t, keys, &rules, scratch) : verify_by_source(L, &t, &rules, name, waited);
    return n ? n : 1;
}

/* jwt.verify(token, {key= or jwks=, algorithms=, issuer=, audience=, leeway=, require=}) -> claims | nil, message, name */
static int l_jwt_verify(lua_State *L)
{
    lua_settop(L, 2);
    return verify(L, false);
}

/* ---- sign ---- */

/* jwt.sign(claims, {key=, algorithm=, expires_in=}) -> token */
static int l_jwt_sign(lua_State *L)
{
    static const char *const names[] = {"key", "algorithm", "expires_in", NULL};
    int alg = -1;

    lua_settop(L, 2);
    luaL_checktype(L, AT_CLAIMS, LUA_TTABLE);
    luaL_checktype(L, AT_OPTS, LUA_TTABLE);
    api_check_table(L, AT_OPTS, names);
    double expires_in = check_number(L, "expires_in", 1, 1e10, NAN);
    if (push_option(L, "algorithm")) {
        if (lua_type(L, -1) != LUA_TSTRING)
            refuse(L, "algorithm", "a string expected");
        alg = check_algorithm(L);
    }
    if (!push_option(L, "key"))
        luaL_error(L, "jwt.sign: no key");
    struct jwt_keys *keys = push_key(L, "key");
    jwt_sign(L, AT_CLAIMS, keys, alg, clock_wall(), expires_in, &script_of(L)->scratch);
    return 1;
}

static const luaL_Reg jwt_functions[] = {{"verify", l_jwt_verify}, {"sign", l_jwt_sign}, {NULL, NULL}};

void api_jwt_fill(lua_State *L)
{
    luaL_newlib(L, jwt_functions);
    lua_setfield(L, -2, "jwt");
}
