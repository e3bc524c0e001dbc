/* jwt.c */
#include "script/jwt.h"

#include "base/err.h"
#include "base/text.h"
#include "script/json.h"
#include "script/state.h"
#include <lauxlib.h>
#include <math.h>

/* ---- texts ---- */

static int fail(lua_State *L, int code, const char *message)
{
    return script_push_failure(L, message, err_name(code));
}

/* Strict: no padding, no bits that are not used (RFC 7515, 2). */
static int decode(lua_State *L, struct slice text, struct buf *out, const char *message)
{
    buf_clear(out);
    int rc = memchr(text.data, '=', text.len) ? MT_EMALFORMED : text_unbase64(out, text, true);

    if (rc == MT_ENOMEM)
        return luaL_error(L, "not enough memory");
    return rc == 0 ? 0 : fail(L, MT_EMALFORMED, message);
}

struct members {
    size_t count, nulls;
};

/* Of an object, which is valid JSON: its own members, not those of values inside. A null becomes a true. */
static struct members count_members(struct buf *json)
{
    struct members m = {0, 0};
    int depth = 0;

    for (size_t i = 0; i < json->len; i++) {
        unsigned char c = json->data[i];
        if (c == '"') {
            while (json->data[++i] != '"')
                i += json->data[i] == '\\';
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (depth == 1 && c == ':') {
            m.count++;
        } else if (depth == 1 && c == 'n') {
            memcpy(json->data + i, "true", 4);
            m.nulls++;
        }
    }
    return m;
}

static size_t count_fields(lua_State *L)
{
    size_t count = 0;

    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        count++;
    return count;
}

/* Pushes the object (stack: +1) and spoils its text. RFC 7515, 4 and RFC 7519, 4: each name once, so that nobody can read it in
 * another way. A table keeps no nulls, so these are looked for in a second one where they are something else. */
static int read_object(lua_State *L, struct buf *json, struct members *m, const char *message)
{
    const char *why;

    if (json_decode(L, (const char *)json->data, json->len, &why) != 0)
        return fail(L, MT_EMALFORMED, message);
    if (!lua_istable(L, -1) || json_is_array(L, -1))
        return fail(L, MT_EMALFORMED, message);
    *m = count_members(json);
    if (m->nulls && json_decode(L, (const char *)json->data, json->len, &why) != 0)
        return fail(L, MT_EMALFORMED, message);
    size_t count = count_fields(L);
    lua_pop(L, m->nulls ? 1 : 0);
    return count == m->count ? 0 : fail(L, MT_EMALFORMED, "the token has a member twice");
}

/* Pushes a field of the table at `index` (stack: +1), which is not asked for metamethods. */
static int push_field(lua_State *L, int index, const char *name)
{
    index = lua_absindex(L, index);
    lua_pushstring(L, name);
    return lua_rawget(L, index);
}

static struct slice string_at(lua_State *L, int index)
{
    struct slice s;

    s.data = lua_tolstring(L, index, &s.len);
    return s;
}

/* ---- the header ---- */

/* header.payload.signature, all of them there. Five parts are a JWE. */
static int split(lua_State *L, struct slice token, struct slice *header, struct jwt *t)
{
    const char *end = token.data + token.len, *first, *second;

    if (token.len > JWT_MAX)
        return fail(L, MT_ETOO_LARGE, "the token is longer than 16 KiB");
    first = token.len ? memchr(token.data, '.', token.len) : NULL;
    second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (!second || memchr(second + 1, '.', (size_t)(end - second - 1)))
        return fail(L, MT_EMALFORMED, "not a signed token: it has not three parts");
    *header = (struct slice){token.data, (size_t)(first - token.data)};
    t->payload = (struct slice){first + 1, (size_t)(second - first - 1)};
    t->signature = (struct slice){second + 1, (size_t)(end - second - 1)};
    t->signed_part = (struct slice){token.data, (size_t)(second - token.data)};
    if (header->len == 0 || t->payload.len == 0)
        return fail(L, MT_EMALFORMED, "not a signed token: a part is empty");
    if (header->len > JWT_HEADER_MAX)
        return fail(L, MT_ETOO_LARGE, "the header of the token is longer than 4 KiB");
    return 0;
}

/* The header's table is on top. */
static int read_header(lua_State *L, struct jwt *t)
{
    int header = lua_gettop(L), alg = -1;

    if (push_field(L, header, "crit") != LUA_TNIL) /* RFC 7515, 4.1.11: extensions, none of which is there */
        return fail(L, MT_EDENIED, "the token has critical extensions (crit)");
    if (push_field(L, header, "b64") != LUA_TNIL) /* RFC 7797, 7: not in tokens */
        return fail(L, MT_EDENIED, "the token is not encoded (b64)");
    if (push_field(L, header, "alg") == LUA_TSTRING)
        alg = jwa_find(string_at(L, -1));
    if (alg < 0)
        return fail(L, MT_EDENIED, "the algorithm of the token is not one of those that are there");
    t->alg = (enum jwa)alg;
    int type = push_field(L, header, "kid");
    if (type != LUA_TNIL && type != LUA_TSTRING)
        return fail(L, MT_EMALFORMED, "the kid of the token is not a string");
    if (type == LUA_TSTRING)
        t->kid = string_at(L, -1);
    if (t->kid.len > JWT_KID_MAX)
        return fail(L, MT_ETOO_LARGE, "the kid of the token is longer than 256 bytes");
    lua_settop(L, header);
    return 0;
}

int jwt_open(lua_State *L, struct slice token, struct buf *scratch, struct jwt *t)
{
    static const char not_json[] = "the header of the token is not a JSON object";
    struct slice header = {NULL, 0};
    struct members m;
    int n;

    luaL_checkstack(L, 12, "token");
    *t = (struct jwt){.kid = {NULL, 0}};
    if ((n = split(L, token, &header, t)) != 0 ||
        (n = decode(L, header, scratch, "the header of the token is not base64url")) != 0 ||
        (n = read_object(L, scratch, &m, not_json)) != 0)
        return n;
    return m.nulls ? fail(L, MT_EMALFORMED, "the header of the token has a null") : read_header(L, t);
}

/* ---- keys ---- */

unsigned jwt_usual_algorithms(const struct jwt_key *k)
{
    size_t secret = jwa_key_secret_bytes(k->key);
    unsigned set = k->algorithms;

    if (secret == 0)
        return set;
    for (int alg = JWA_HS384; alg <= JWA_HS512; alg++)
        if (secret < jwa_hash_bytes((enum jwa)alg))
            set &= ~(1u << alg);
    return set ? set : k->algorithms; /* a JWK has named the one */
}

/* Whether the token means this key: of a set by the kid, where both have one. */
static bool is_meant(const struct jwt_keys *keys, const struct jwt_key *k, const struct jwt *t)
{
    return !keys->set || !t->kid.data || !k->kid || slice_is(t->kid, (struct slice){k->kid, k->kid_len});
}

static bool fits(const struct jwt_keys *keys, const struct jwt_key *k, const struct jwt *t)
{
    return is_meant(keys, k, t) && k->verifies && k->algorithms & 1u << t->alg;
}

bool jwt_knows(const struct jwt_keys *keys, const struct jwt *t)
{
    for (size_t i = 0; i < keys->count; i++)
        if (is_meant(keys, &keys->items[i], t))
            return true;
    return false;
}

/* No key fits: why. */
static int refuse_key(lua_State *L, const struct jwt_keys *keys, const struct jwt *t)
{
    if (!jwt_knows(keys, t))
        return fail(L, MT_ENOT_FOUND, "there is no key with the kid of the token");
    lua_pushfstring(L, "the key is not for %s", jwa_names[t->alg]);
    return fail(L, MT_EDENIED, lua_tostring(L, -1));
}

/* ---- the signature ---- */

static int check_algorithm(lua_State *L, const struct jwt *t, const struct jwt_rules *rules)
{
    if (!rules->algorithms || rules->algorithms & 1u << t->alg)
        return 0;
    lua_pushfstring(L, "the algorithm %s is not allowed", jwa_names[t->alg]);
    return fail(L, MT_EDENIED, lua_tostring(L, -1));
}

static int refuse_short(lua_State *L, enum jwa alg)
{
    lua_pushfstring(L, "%s takes a secret of %d bytes", jwa_names[alg], (int)jwa_hash_bytes(alg));
    return fail(L, MT_EDENIED, lua_tostring(L, -1));
}

/* Without a kid each key that is for the algorithm is tried. */
static int check_signature(lua_State *L, const struct jwt *t, const struct jwt_keys *keys, const struct jwt_rules *rules,
                           struct slice signature)
{
    bool tried = false;

    for (size_t i = 0; i < keys->count; i++) {
        const struct jwt_key *k = &keys->items[i];
        if (!fits(keys, k, t))
            continue;
        if (!rules->algorithms && !(jwt_usual_algorithms(k) & 1u << t->alg))
            return refuse_short(L, t->alg);
        tried = true;
        int rc = jwa_verify(k->key, t->alg, t->signed_part, signature);
        if (rc == 0)
            return 0;
        if (rc == MT_ENOMEM)
            return luaL_error(L, "not enough memory");
    }
    return tried ? fail(L, MT_EINVALID, "the signature of the token is wrong") : refuse_key(L, keys, t);
}

/* ---- claims; the table is at the place `claims` ---- */

/* Pushes a claim that must be a number where it is there. *value is NaN where it is not. */
static int read_time(lua_State *L, int claims, const char *name, double *value)
{
    int type = push_field(L, claims, name);

    *value = type == LUA_TNUMBER ? lua_tonumber(L, -1) : NAN;
    lua_pop(L, 1);
    if (type == LUA_TNIL || (type == LUA_TNUMBER && isfinite(*value)))
        return 0;
    lua_pushfstring(L, "the claim %s of the token is not a number", name);
    return fail(L, MT_EINVALID, lua_tostring(L, -1));
}

static int check_times(lua_State *L, int claims, const struct jwt_rules *r)
{
    double exp, nbf, iat;
    int n;

    if ((n = read_time(L, claims, "exp", &exp)) != 0 || (n = read_time(L, claims, "nbf", &nbf)) != 0 ||
        (n = read_time(L, claims, "iat", &iat)) != 0)
        return n;
    if (r->now >= exp + r->leeway)
        return fail(L, MT_EEXPIRED, "the token has expired");
    if (r->now + r->leeway < nbf)
        return fail(L, MT_EDENIED, "the token is not valid yet");
    if (r->now + r->leeway + JWT_IAT_AHEAD < iat)
        return fail(L, MT_EDENIED, "the token was issued in the future");
    return 0;
}

static bool same(lua_State *L, int a, int b)
{
    return lua_type(L, a) == LUA_TSTRING && lua_type(L, b) == LUA_TSTRING && slice_is(string_at(L, a), string_at(L, b));
}

/* Whether the string on top of the stack is the string at `list`, or in the list there. */
static bool is_one_of(lua_State *L, int list)
{
    int word = lua_gettop(L);
    bool found = same(L, word, list);

    if (!lua_istable(L, list))
        return found;
    for (lua_Integer i = 1; !found && lua_rawgeti(L, list, i) != LUA_TNIL; i++)
        found = same(L, word, -1);
    lua_settop(L, word);
    return found;
}

/* Pushes iss, sub or jti; they are strings where they are there. */
static int check_text(lua_State *L, int claims, const char *name)
{
    int type = push_field(L, claims, name);

    if (type == LUA_TNIL || type == LUA_TSTRING)
        return 0;
    lua_pushfstring(L, "the claim %s of the token is not a string", name);
    return fail(L, MT_EINVALID, lua_tostring(L, -1));
}

static int check_issuer(lua_State *L, int claims, const struct jwt_rules *r)
{
    int n = check_text(L, claims, "iss");

    if (n == 0 && r->issuer && !is_one_of(L, r->issuer))
        return fail(L, MT_EDENIED, "the token is of another issuer");
    return n;
}

/* RFC 7519, 4.1.3: a token that is for somebody is for nobody else. */
static int check_audience(lua_State *L, int claims, const struct jwt_rules *r)
{
    int type = push_field(L, claims, "aud"), aud = lua_gettop(L);
    bool ours = false;

    if (type == LUA_TNIL)
        return r->audience ? fail(L, MT_EDENIED, "the token is for no audience") : 0;
    if (type != LUA_TSTRING && !(type == LUA_TTABLE && json_is_array(L, aud)))
        return fail(L, MT_EINVALID, "the claim aud of the token is neither a string nor a list");
    if (!r->audience)
        return fail(L, MT_EDENIED, "the token is for an audience (aud), and none was given to verify");
    if (type == LUA_TSTRING)
        ours = is_one_of(L, r->audience);
    for (lua_Integer i = 1; type == LUA_TTABLE && !ours && lua_rawgeti(L, aud, i) != LUA_TNIL; i++) {
        ours = is_one_of(L, r->audience);
        lua_pop(L, 1);
    }
    return ours ? 0 : fail(L, MT_EDENIED, "the token is for another audience");
}

/* The name of a claim is on top of the stack. */
static int check_there(lua_State *L, int claims)
{
    if (lua_type(L, -1) != LUA_TSTRING || push_field(L, claims, lua_tostring(L, -1)) == LUA_TNIL) {
        lua_pushfstring(L, "the token has no %s", luaL_tolstring(L, -2, NULL));
        return fail(L, MT_EINVALID, lua_tostring(L, -1));
    }
    lua_pop(L, 1);
    return 0;
}

static int check_required(lua_State *L, int claims, const struct jwt_rules *r)
{
    int n = 0;

    if (r->require && lua_istable(L, r->require)) {
        for (lua_Integer i = 1; n == 0 && lua_rawgeti(L, r->require, i) != LUA_TNIL; i++)
            n = check_there(L, claims);
    } else if (r->require) {
        lua_pushvalue(L, r->require);
        n = check_there(L, claims);
    }
    return n;
}

static int check_claims(lua_State *L, int claims, const struct jwt_rules *r)
{
    int n;

    if ((n = check_times(L, claims, r)) != 0 || (n = check_issuer(L, claims, r)) != 0 || (n = check_audience(L, claims, r)) != 0 ||
        (n = check_text(L, claims, "sub")) != 0 || (n = check_text(L, claims, "jti")) != 0 ||
        (n = check_required(L, claims, r)) != 0)
        return n;
    lua_settop(L, claims);
    return 0;
}

int jwt_verify(lua_State *L, const struct jwt *t, const struct jwt_keys *keys, const struct jwt_rules *rules, struct buf *scratch)
{
    struct members m;
    int n;

    luaL_checkstack(L, 16, "token");
    if ((n = check_algorithm(L, t, rules)) != 0)
        return n;
    if ((n = decode(L, t->signature, scratch, "the signature of the token is not base64url")) != 0 ||
        (n = check_signature(L, t, keys, rules, buf_slice(scratch))) != 0)
        return n;
    if ((n = decode(L, t->payload, scratch, "the claims of the token are not base64url")) != 0 ||
        (n = read_object(L, scratch, &m, "the claims of the token are not a JSON object")) != 0)
        return n;
    return check_claims(L, lua_gettop(L), rules);
}

/* ---- signing ---- */

static void check_memory(lua_State *L, int rc)
{
    if (rc == MT_ENOMEM)
        luaL_error(L, "not enough memory");
}

/* A claim of the copy on top of the stack has the kind that verify asks for. */
static void check_kind(lua_State *L, const char *name, int kind)
{
    int type = push_field(L, -1, name);

    if (type != LUA_TNIL && type != kind)
        luaL_error(L, "jwt.sign: claims.%s: %s expected, got %s", name, lua_typename(L, kind), luaL_typename(L, -1));
    if (type == LUA_TNUMBER && !isfinite(lua_tonumber(L, -1)))
        luaL_error(L, "jwt.sign: claims.%s: a finite number expected", name);
    lua_pop(L, 1);
}

static void set_time(lua_State *L, const char *name, double at)
{
    lua_pushinteger(L, (lua_Integer)floor(at));
    lua_setfield(L, -2, name);
}

/* Pushes a copy of the claims with the times that were not given. */
static void push_claims(lua_State *L, int index, double now, double expires_in)
{
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "jwt.sign: claims have names");
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, -5);
    }
    check_kind(L, "iss", LUA_TSTRING);
    check_kind(L, "sub", LUA_TSTRING);
    check_kind(L, "jti", LUA_TSTRING);
    check_kind(L, "exp", LUA_TNUMBER);
    check_kind(L, "nbf", LUA_TNUMBER);
    check_kind(L, "iat", LUA_TNUMBER);
    if (push_field(L, -1, "iat") == LUA_TNIL) {
        lua_pop(L, 1);
        set_time(L, "iat", now);
    } else {
        lua_pop(L, 1);
    }
    if (isnan(expires_in))
        return;
    if (push_field(L, -1, "exp") != LUA_TNIL)
        luaL_error(L, "jwt.sign: either claims.exp or expires_in");
    lua_pop(L, 1);
    set_time(L, "exp", now + expires_in);
}

static void check_key(lua_State *L, const struct jwt_key *k, int alg)
{
    if (!k->signs)
        luaL_error(L, "jwt.sign: this key does not sign: a secret or a private key is needed");
    if (alg >= 0 && !(k->algorithms & 1u << alg))
        luaL_error(L, "jwt.sign: this key is not for %s", jwa_names[alg]);
}

static int add_header(struct buf *out, const struct jwt_key *k, enum jwa alg)
{
    int rc = buf_addf(out, "{\"alg\":\"%s\",\"typ\":\"JWT\"", jwa_names[alg]);

    if (rc == 0 && k->kid)
        rc = buf_add_text(out, ",\"kid\":");
    if (rc == 0 && k->kid)
        rc = text_json_string(out, (struct slice){k->kid, k->kid_len});
    return rc == 0 ? buf_add_byte(out, '}') : rc;
}

/* Takes what is in `b` out of it as a string on the stack, which is also returned. */
static struct slice move_to_stack(lua_State *L, struct buf *b)
{
    lua_pushlstring(L, (const char *)b->data, b->len);
    buf_clear(b);
    return string_at(L, -1);
}

/* Header and claims are in `out`: add the signature. */
static int add_signature(const struct jwt_key *k, enum jwa alg, struct buf *out)
{
    unsigned char bytes[JWA_SIGNATURE_MAX];
    size_t len = out->len;
    int rc = jwa_sign(k->key, alg, buf_slice(out), out);

    if (rc != 0)
        return rc;
    memcpy(bytes, out->data + len, out->len - len);
    size_t size = out->len - len;
    out->len = len;
    rc = buf_add_byte(out, '.');
    return rc == 0 ? text_base64(out, bytes, size, true) : rc;
}

void jwt_sign(lua_State *L, int index, const struct jwt_keys *keys, int alg, double now, double expires_in, struct buf *scratch)
{
    const struct jwt_key *k = &keys->items[0];
    int top = lua_gettop(L);
    const char *why;

    luaL_checkstack(L, 12, "token");
    check_key(L, k, alg);
    if (alg < 0)
        alg = __builtin_ctz(k->algorithms); /* the first of its kind: HS256, RS256, ES256, or what a JWK names */
    push_claims(L, lua_absindex(L, index), now, expires_in);
    buf_clear(scratch);
    if (json_encode_as(L, -1, "claims", scratch, &why) != 0)
        luaL_error(L, "jwt.sign: %s", why);
    struct slice claims = move_to_stack(L, scratch);
    check_memory(L, add_header(scratch, k, (enum jwa)alg));
    struct slice header = move_to_stack(L, scratch);
    int rc = text_base64(scratch, header.data, header.len, true);
    if (rc == 0)
        rc = buf_add_byte(scratch, '.');
    if (rc == 0)
        rc = text_base64(scratch, claims.data, claims.len, true);
    if (rc == 0 && scratch->len > JWT_MAX - 2 * JWA_SIGNATURE_MAX)
        luaL_error(L, "jwt.sign: the token would be longer than 16 KiB");
    if (rc == 0)
        rc = add_signature(k, (enum jwa)alg, scratch);
    if (rc != 0)
        luaL_error(L, "jwt.sign: %s", err_text(rc));
    lua_settop(L, top);
    lua_pushlstring(L, (const char *)scratch->data, scratch->len);
}
