/* jwt_keys.c - the value that owns keys comes first, empty, and is filled then: whatever raises on the way, nothing is lost. */
#include "script/jwt_keys.h"

#include "base/err.h"
#include "base/mem.h"
#include "script/json.h"
#include <lauxlib.h>

static const char keys_type[] = "moontide.keys";

/* ---- life ---- */

struct jwt_keys *jwt_keys_ref(struct jwt_keys *k)
{
    k->refs++;
    return k;
}

void jwt_keys_unref(struct jwt_keys *k)
{
    if (!k || --k->refs > 0)
        return;
    for (size_t i = 0; i < JWT_KEYS_MAX; i++) { /* also one that was being read when memory ran out */
        jwa_key_destroy(k->items[i].key);
        mem_free(k->items[i].kid);
    }
    mem_free(k);
}

static int l_keys_gc(lua_State *L)
{
    struct jwt_keys **owner = lua_touserdata(L, 1);

    jwt_keys_unref(*owner);
    *owner = NULL;
    return 0;
}

static struct jwt_keys *push_owner(lua_State *L)
{
    struct jwt_keys **owner = lua_newuserdatauv(L, sizeof(struct jwt_keys *), 0);

    *owner = NULL;
    if (luaL_newmetatable(L, keys_type)) {
        lua_pushcfunction(L, l_keys_gc);
        lua_setfield(L, -2, "__gc");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    *owner = mem_zalloc(1, sizeof(**owner));
    if (!*owner)
        luaL_error(L, "not enough memory");
    (*owner)->refs = 1;
    return *owner;
}

struct jwt_keys *jwt_keys_at(lua_State *L, int index)
{
    return *(struct jwt_keys **)luaL_checkudata(L, index, keys_type);
}

/* ---- one key ---- */

/* The key of `k` is there: it may do what it is made for, until a JWK says less. */
static void allow_all(struct jwt_key *k)
{
    k->algorithms = jwa_key_algorithms(k->key);
    k->verifies = true;
    k->signs = jwa_key_signs(k->key);
}

static int refuse(const char *text, const char **why)
{
    *why = text;
    return MT_EINVALID;
}

static int check_memory(lua_State *L, int rc)
{
    return rc == MT_ENOMEM ? luaL_error(L, "not enough memory") : rc;
}

/* The string member of the table on top of the stack, which keeps it; data NULL when it has none of that name or kind. */
static struct slice member(lua_State *L, const char *name)
{
    struct slice s = {NULL, 0};

    lua_pushstring(L, name);
    if (lua_rawget(L, -2) == LUA_TSTRING)
        s.data = lua_tolstring(L, -1, &s.len);
    lua_pop(L, 1);
    return s;
}

static bool has(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    bool there = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 1);
    return there;
}

static bool list_holds(lua_State *L, const char *word)
{
    bool found = false;

    for (lua_Integer i = 1; !found && lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
        size_t len;
        const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
        found = text && slice_is((struct slice){text, len}, slice_of(word));
        lua_pop(L, 1);
    }
    if (!found)
        lua_pop(L, 1); /* the nil */
    return found;
}

/* RFC 7517, 4.2 to 4.4: what the JWK on top of the stack says that it is for. */
static int restrict_use(lua_State *L, struct jwt_key *k, const char **why)
{
    struct slice use = member(L, "use"), alg = member(L, "alg");

    if (has(L, "use") && !slice_is(use, SLICE("sig")))
        return refuse("its \"use\" is not \"sig\"", why);
    if (has(L, "key_ops")) {
        lua_pushliteral(L, "key_ops");
        if (lua_rawget(L, -2) == LUA_TTABLE) {
            k->verifies = list_holds(L, "verify");
            k->signs = k->signs && list_holds(L, "sign");
        } else {
            k->verifies = k->signs = false;
        }
        lua_pop(L, 1);
        if (!k->verifies && !k->signs)
            return refuse("its \"key_ops\" have neither \"verify\" nor \"sign\"", why);
    }
    if (has(L, "alg")) {
        int named = jwa_find(alg);
        k->algorithms &= named < 0 ? 0 : 1u << named;
        if (!k->algorithms)
            return refuse("its \"alg\" does not go with the key", why);
    }
    return 0;
}

static int take_kid(lua_State *L, struct jwt_key *k, const char **why)
{
    struct slice kid = member(L, "kid");

    if (!kid.data)
        return 0;
    if (kid.len > JWT_KID_MAX)
        return refuse("its \"kid\" is longer than 256 bytes", why);
    k->kid = mem_strdup(kid.data, kid.len);
    k->kid_len = kid.len;
    return k->kid ? 0 : MT_ENOMEM;
}

/* Fills *k from the JWK on top of the stack; what is in it already on a failure is the caller's. */
static int read_jwk(lua_State *L, struct jwt_key *k, const char **why)
{
    struct jwa_jwk jwk = {
        .kty = member(L, "kty"), .crv = member(L, "crv"), .n = member(L, "n"), .e = member(L, "e"),   .d = member(L, "d"),
        .p = member(L, "p"),     .q = member(L, "q"),     .x = member(L, "x"), .y = member(L, "y"),   .k = member(L, "k"),
        .dp = member(L, "dp"),   .dq = member(L, "dq"),   .qi = member(L, "qi")};
    int rc;

    if (has(L, "oth"))
        return refuse("RSA keys of more than two primes are not there", why);
    rc = jwa_key_from_jwk(&jwk, &k->key, why);
    if (rc == 0) {
        allow_all(k);
        rc = restrict_use(L, k, why);
    }
    return rc == 0 ? take_kid(L, k, why) : rc;
}

static void drop_key(struct jwt_key *k)
{
    jwa_key_destroy(k->key);
    mem_free(k->kid);
    *k = (struct jwt_key){0};
}

/* ---- texts ---- */

/* The set's table is on top of the stack. */
static int read_set(lua_State *L, struct jwt_keys *keys, bool secrets, const char **why)
{
    int rc = 0;

    lua_pushliteral(L, "keys");
    if (lua_rawget(L, -2) != LUA_TTABLE)
        return refuse("a JWK set without a list \"keys\"", why);
    keys->set = true;
    for (lua_Integer i = 1; rc != MT_ENOMEM && lua_rawgeti(L, -1, i) != LUA_TNIL; i++, lua_pop(L, 1)) {
        struct jwt_key *k = &keys->items[keys->count];
        const char *reason;

        if (keys->count == JWT_KEYS_MAX)
            return refuse("a JWK set of more than 64 keys", why);
        rc = lua_istable(L, -1) ? read_jwk(L, k, &reason) : MT_EINVALID;
        if (rc == 0 && (secrets || jwa_key_secret_bytes(k->key) == 0))
            keys->count++;
        else
            drop_key(k);
    }
    check_memory(L, rc == MT_ENOMEM ? rc : 0);
    return keys->count ? 0 : refuse("a JWK set without a key that is understood and for signatures", why);
}

static int read_json(lua_State *L, struct slice text, struct jwt_keys *keys, bool secrets, const char **why)
{
    const char *problem;

    if (text.len > JWT_SET_BYTES_MAX)
        return refuse("more than 256 KiB", why);
    if (json_decode(L, text.data, text.len, &problem) != 0)
        return refuse("neither a secret nor a JWK: it begins with a brace, but is not JSON", why);
    if (!lua_istable(L, -1))
        return refuse("not a JWK", why);
    if (has(L, "keys"))
        return read_set(L, keys, secrets, why);
    keys->count = 1;
    return check_memory(L, read_jwk(L, &keys->items[0], why));
}

static int read_text(lua_State *L, struct slice text, struct jwt_keys *keys, const char **why)
{
    struct jwt_key *k = &keys->items[0];
    bool pem = jwa_is_key_text(text);
    int rc;

    if (pem)
        rc = jwa_key_from_pem(text, &k->key, why);
    else
        rc = jwa_key_from_secret(text, &k->key);
    if (rc == MT_EINVALID && !pem)
        *why = "a secret of no bytes";
    if (rc == 0) {
        keys->count = 1;
        allow_all(k);
    }
    return check_memory(L, rc);
}

static bool is_json(struct slice text)
{
    size_t i = 0;

    while (i < text.len && memchr(" \t\r\n", text.data[i], 4))
        i++;
    return i < text.len && text.data[i] == '{';
}

static int push(lua_State *L, struct slice text, bool public, const char **why)
{
    int top = lua_gettop(L);
    struct jwt_keys *keys;

    luaL_checkstack(L, 12, "keys");
    keys = push_owner(L);
    int rc = public || is_json(text) ? read_json(L, text, keys, !public, why) : read_text(L, text, keys, why);
    lua_settop(L, rc == 0 ? top + 1 : top);
    return rc;
}

int jwt_keys_push(lua_State *L, struct slice text, const char **why)
{
    return push(L, text, false, why);
}

int jwt_keys_push_public(lua_State *L, struct slice text, const char **why)
{
    int rc = push(L, text, true, why);

    if (rc == 0 && !jwt_keys_at(L, -1)->set) {
        lua_pop(L, 1);
        return refuse("not a JWK set", why);
    }
    return rc;
}
