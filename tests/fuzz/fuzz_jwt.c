/* fuzz_jwt.c - tokens and keys of any bytes. The first byte says what the rest is: a token; header and claims, with a NUL between, that
 * are signed rightly, so that what lies behind the signature is seen too; or the text of a key or a set.
 *
 * What must hold: nothing is verified but what was signed with the key, by HMAC only with a secret, and a text that looks like an
 * asymmetric key is never a secret. */
#include "fuzz.h"

#include "base/mem.h"
#include "base/text.h"
#include "crypt/crypt.h"
#include "script/jwt.h"
#include <lauxlib.h>
#include <lua.h>

#define SECRET "the secret of all tokens of the fuzzer, and of no others"

enum what { A_TOKEN, SIGNED, A_KEY, WHATS };

struct input {
    struct slice text;
    struct buf scratch, token;
};

/* The keys of the value on top; true when they verify the token. */
static bool verifies(lua_State *L, struct input *in, const struct jwt_keys *keys, struct slice token, struct jwt *t)
{
    struct jwt_rules rules = {.now = 2000000000};

    if (jwt_open(L, token, &in->scratch, t) != 0)
        return false;
    if (jwt_verify(L, t, keys, &rules, &in->scratch) != 0) {
        FUZZ_CHECK(lua_isnil(L, -3) && lua_isstring(L, -2) && lua_isstring(L, -1));
        return false;
    }
    FUZZ_CHECK(lua_istable(L, -1));
    return true;
}

static void sign(struct input *in)
{
    const char *end = memchr(in->text.data, '\0', in->text.len);
    size_t header = end ? (size_t)(end - in->text.data) : in->text.len, rest = end ? in->text.len - header - 1 : 0;
    unsigned char mac[CRYPT_DIGEST_MAX];
    size_t len;

    FUZZ_CHECK(text_base64(&in->token, in->text.data, header, true) == 0 && buf_add_byte(&in->token, '.') == 0);
    FUZZ_CHECK(text_base64(&in->token, end ? end + 1 : "", rest, true) == 0);
    FUZZ_CHECK(crypt_hmac(SLICE("sha256"), SLICE(SECRET), in->token.data, in->token.len, mac, &len) == 0);
    FUZZ_CHECK(buf_add_byte(&in->token, '.') == 0 && text_base64(&in->token, mac, len, true) == 0);
}

/* Whether the token ends with the one signature that is right. */
static bool is_signed(const struct jwt *t, struct slice token)
{
    unsigned char mac[CRYPT_DIGEST_MAX];
    struct buf text = {0};
    size_t len;

    FUZZ_CHECK(crypt_hmac(t->alg == JWA_HS256   ? SLICE("sha256")
                          : t->alg == JWA_HS384 ? SLICE("sha384")
                                                : SLICE("sha512"),
                          SLICE(SECRET), t->signed_part.data, t->signed_part.len, mac, &len) == 0);
    FUZZ_CHECK(text_base64(&text, mac, len, true) == 0);
    bool same = text.len < token.len && memcmp(token.data + token.len - text.len, text.data, text.len) == 0;
    buf_fini(&text);
    return same;
}

static int try_token(lua_State *L)
{
    struct input *in = lua_touserdata(L, 1);
    struct slice token = in->token.len ? buf_slice(&in->token) : in->text;
    struct jwt t;

    if (verifies(L, in, jwt_keys_at(L, lua_upvalueindex(1)), token, &t))
        FUZZ_CHECK(t.alg <= JWA_HS512 && is_signed(&t, token));
    return 0;
}

static bool is_json(struct slice text)
{
    size_t i = 0;

    while (i < text.len && memchr(" \t\r\n", text.data[i], 4))
        i++;
    return i < text.len && text.data[i] == '{';
}

static void try_one(const struct jwt_key *k, struct slice text)
{
    size_t secret = jwa_key_secret_bytes(k->key);
    unsigned hmac = 7u << JWA_HS256;

    FUZZ_CHECK(k->algorithms && (k->algorithms & hmac ? secret > 0 && !(k->algorithms & ~hmac) : secret == 0));
    FUZZ_CHECK(secret == 0 || is_json(text) || !jwa_is_key_text(text)); /* a JWK may say that it is a secret */
    FUZZ_CHECK(!k->signs || jwa_key_signs(k->key));
}

static int try_key(lua_State *L)
{
    struct input *in = lua_touserdata(L, 1);
    const char *why = NULL;
    struct jwt t;

    if (jwt_keys_push(L, in->text, &why) != 0) {
        FUZZ_CHECK(why && lua_gettop(L) == 1);
        return 0;
    }
    const struct jwt_keys *keys = jwt_keys_at(L, 2);
    for (size_t i = 0; i < keys->count; i++)
        try_one(&keys->items[i], in->text);
    if (keys->set || !keys->items[0].signs)
        return 0;
    lua_newtable(L);
    jwt_sign(L, -1, keys, -1, 1900000000, 1e9, &in->scratch);
    FUZZ_CHECK(buf_add(&in->token, in->scratch.data, in->scratch.len) == 0);
    FUZZ_CHECK(!keys->items[0].verifies || verifies(L, in, keys, buf_slice(&in->token), &t));
    return 0;
}

/* One for all inputs, because making it takes longer than most of them. Holds the keys of the secret. */
static lua_State *state;

static void close_state(void)
{
    lua_close(state);
}

static lua_State *open_state(void)
{
    const char *why;

    state = luaL_newstate();
    FUZZ_CHECK(state && jwt_keys_push(state, SLICE(SECRET), &why) == 0 && atexit(close_state) == 0);
    return state;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum what what = fuzz_byte(&data, &size) % WHATS;
    char *copy = fuzz_copy(data, size);
    struct input in = {.text = {copy, size}};
    lua_State *L = state ? state : open_state();

    if (what == SIGNED)
        sign(&in);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, what == A_KEY ? try_key : try_token, 1);
    lua_pushlightuserdata(L, &in);
    FUZZ_CHECK(lua_pcall(L, 1, 0, 0) == LUA_OK); /* nothing raises but want of memory */
    lua_gc(L, LUA_GCCOLLECT); /* what this input made goes with it */
    buf_fini(&in.scratch);
    buf_fini(&in.token);
    free(copy);
    return 0;
}
