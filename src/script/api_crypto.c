/* api_crypto.c - tide.crypto: digests, HMAC, random bytes, comparing secrets, text encodings. */
#include "script/api_crypto.h"

#include "base/err.h"
#include "base/text.h"
#include "crypt/crypt.h"
#include "script/api_help.h"
#include <lauxlib.h>

#define HASHER_TYPE "moontide.hasher"

enum encoding { AS_RAW, AS_HEX, AS_BASE64, AS_BASE64URL };
enum { RANDOM_MAX_BYTES = 1 << 20, UUID_TEXT = 36 };

static const char *const encoding_names[] = {"raw", "hex", "base64", "base64url", NULL};

static enum encoding check_encoding(lua_State *L, int arg, int otherwise)
{
    return (enum encoding)api_check_option(L, arg, "encoding", encoding_names, otherwise);
}

static int push_encoded(lua_State *L, const void *data, size_t len, enum encoding as)
{
    struct buf *out = &script_of(L)->scratch;
    int err = 0;

    out->len = 0;
    switch (as) {
    case AS_RAW:
        lua_pushlstring(L, data, len);
        return 1;
    case AS_HEX:
        err = text_hex(out, data, len);
        break;
    case AS_BASE64:
    case AS_BASE64URL:
        err = text_base64(out, data, len, as == AS_BASE64URL);
        break;
    }
    return err == 0 ? api_push_scratch(L) : luaL_error(L, "%s", err_text(err));
}

/* Raises for the digest's name at `arg`, or for want of memory. */
static int raise_digest(lua_State *L, int arg, int err, struct slice name)
{
    if (err == MT_EINVALID)
        return api_raise_unknown(L, arg, "digest", name, crypt_digest_names);
    return luaL_error(L, "%s", err_text(err));
}

/* crypto.digest(name, data, as="hex") -> string */
static int l_crypto_digest(lua_State *L)
{
    struct slice name = api_check_string(L, 1), data = api_check_string(L, 2);
    enum encoding as = check_encoding(L, 3, AS_HEX);
    unsigned char out[CRYPT_DIGEST_MAX];
    size_t len;
    int err = crypt_digest(name, data.data, data.len, out, &len);

    return err == 0 ? push_encoded(L, out, len, as) : raise_digest(L, 1, err, name);
}

/* crypto.hmac(name, key, data, as="hex") -> string */
static int l_crypto_hmac(lua_State *L)
{
    struct slice name = api_check_string(L, 1), key = api_check_string(L, 2), data = api_check_string(L, 3);
    enum encoding as = check_encoding(L, 4, AS_HEX);
    unsigned char out[CRYPT_DIGEST_MAX];
    size_t len;
    int err = crypt_hmac(name, key, data.data, data.len, out, &len);

    return err == 0 ? push_encoded(L, out, len, as) : raise_digest(L, 1, err, name);
}

/* crypto.random(n, as="raw") -> string of n bytes, encoded */
static int l_crypto_random(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    enum encoding as = check_encoding(L, 2, AS_RAW);

    luaL_argcheck(L, n >= 1 && n <= RANDOM_MAX_BYTES, 1, "1 to 1048576 bytes");
    void *bytes = lua_newuserdatauv(L, (size_t)n, 0);
    int err = crypt_random(bytes, (size_t)n);
    return err == 0 ? push_encoded(L, bytes, (size_t)n, as) : luaL_error(L, "no random bytes: %s", err_text(err));
}

/* crypto.uuid() -> a random UUID (RFC 9562, version 4) */
static int l_crypto_uuid(lua_State *L)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[16];
    char text[UUID_TEXT];
    int at = 0, err = crypt_random(bytes, sizeof(bytes));

    if (err != 0)
        return luaL_error(L, "no random bytes: %s", err_text(err));
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[at++] = '-';
        text[at++] = hex[bytes[i] >> 4];
        text[at++] = hex[bytes[i] & 15];
    }
    lua_pushlstring(L, text, sizeof(text));
    return 1;
}

/* crypto.equal(a, b) -> boolean, in the same time wherever they differ; nil is never equal to anything */
static int l_crypto_equal(lua_State *L)
{
    luaL_checkany(L, 1);
    luaL_checkany(L, 2);
    bool missing = lua_isnil(L, 1) || lua_isnil(L, 2);
    for (int arg = 1; arg <= 2; arg++)
        if (!lua_isnil(L, arg))
            luaL_checktype(L, arg, LUA_TSTRING);
    lua_pushboolean(L, !missing && crypt_equal(api_check_string(L, 1), api_check_string(L, 2)));
    return 1;
}

/* crypto.encode(bytes, as) -> text */
static int l_crypto_encode(lua_State *L)
{
    struct slice bytes = api_check_string(L, 1);

    return push_encoded(L, bytes.data, bytes.len, check_encoding(L, 2, -1));
}

/* crypto.decode(text, as) -> bytes | nil, message, name */
static int l_crypto_decode(lua_State *L)
{
    enum encoding as = check_encoding(L, 2, -1);
    struct buf *out = &script_of(L)->scratch;

    if (lua_isnil(L, 1))
        return script_push_failure(L, "nothing to decode", err_name(MT_EMISSING));
    struct slice text = api_check_string(L, 1);
    if (as == AS_RAW) {
        lua_settop(L, 1);
        return 1;
    }
    out->len = 0;
    int err = as == AS_HEX ? text_unhex(out, text) : text_unbase64(out, text, as == AS_BASE64URL);
    if (err == 0)
        return api_push_scratch(L);
    if (err != MT_EMALFORMED)
        return luaL_error(L, "%s", err_text(err));
    return script_push_failure(L, lua_pushfstring(L, "not %s", encoding_names[as]), err_name(err));
}

/* ---- hashers ---- */

static struct crypt_hasher *check_hasher(lua_State *L)
{
    return *(struct crypt_hasher **)luaL_checkudata(L, 1, HASHER_TYPE);
}

/* crypto.hasher(name="sha256") -> hasher */
static int l_crypto_hasher(lua_State *L)
{
    struct slice name = lua_isnoneornil(L, 1) ? SLICE("sha256") : api_check_string(L, 1);
    struct crypt_hasher **h = lua_newuserdatauv(L, sizeof(struct crypt_hasher *), 0);

    *h = NULL;
    luaL_setmetatable(L, HASHER_TYPE);
    int err = crypt_hasher_create(name, h);
    return err == 0 ? 1 : raise_digest(L, 1, err, name);
}

/* hasher:update(bytes) -> hasher */
static int l_hasher_update(lua_State *L)
{
    struct crypt_hasher *h = check_hasher(L);
    struct slice bytes = api_check_string(L, 2);
    int err = crypt_hasher_update(h, bytes.data, bytes.len);

    if (err != 0)
        return luaL_error(L, "%s", err_text(err));
    lua_settop(L, 1);
    return 1;
}

/* hasher:digest(as="hex") -> string; more may follow */
static int l_hasher_digest(lua_State *L)
{
    struct crypt_hasher *h = check_hasher(L);
    enum encoding as = check_encoding(L, 2, AS_HEX);
    unsigned char out[CRYPT_DIGEST_MAX];
    size_t len;
    int err = crypt_hasher_digest(h, out, &len);

    return err == 0 ? push_encoded(L, out, len, as) : luaL_error(L, "%s", err_text(err));
}

static int l_hasher_gc(lua_State *L)
{
    struct crypt_hasher **h = luaL_checkudata(L, 1, HASHER_TYPE);

    if (*h != NULL)
        crypt_hasher_destroy(*h);
    *h = NULL;
    return 0;
}

static const luaL_Reg hasher_methods[] = {{"update", l_hasher_update}, {"digest", l_hasher_digest}, {NULL, NULL}};
static const luaL_Reg crypto_functions[] = {
    {"digest", l_crypto_digest}, {"hmac", l_crypto_hmac},     {"hasher", l_crypto_hasher},
    {"random", l_crypto_random}, {"uuid", l_crypto_uuid},     {"equal", l_crypto_equal},
    {"encode", l_crypto_encode}, {"decode", l_crypto_decode}, {NULL, NULL},
};

void api_crypto_open(lua_State *L)
{
    luaL_newmetatable(L, HASHER_TYPE);
    luaL_newlib(L, hasher_methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_hasher_gc);
    lua_setfield(L, -2, "__gc");
    api_seal_metatable(L);
    lua_pop(L, 1);
}

void api_crypto_fill(lua_State *L)
{
    luaL_newlib(L, crypto_functions);
    lua_setfield(L, -2, "crypto");
}
