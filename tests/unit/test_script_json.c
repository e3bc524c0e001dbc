/* test_script_json.c - the JSON codec: what is accepted, what comes back, and where it agrees with lua-cjson. */
#include "script/json.h"

#include "base/err.h"
#include "base/mem.h"
#include "script/number.h"
#include <float.h>
#include <lauxlib.h>
#include <locale.h>
#include <lua.h>
#include <lualib.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* A state with `decode(text)` -> value | nil, why and `encode(value)` -> text | nil, why, `null` and `array(t)`. */
static int l_decode(lua_State *L)
{
    size_t len;
    const char *why = NULL, *text = luaL_checklstring(L, 1, &len);

    if (json_decode(L, text, len, &why) == 0)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int l_encode(lua_State *L)
{
    struct buf out = {0};
    const char *why = NULL;
    int top = lua_gettop(L);

    if (json_encode(L, 1, &out, &why) == 0) {
        lua_pushlstring(L, (const char *)out.data, out.len);
        buf_fini(&out);
        return 1;
    }
    assert_int_equal(out.len, 0);
    assert_int_equal(lua_gettop(L), top);
    buf_fini(&out);
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int l_array(lua_State *L)
{
    lua_settop(L, 1);
    json_mark_array(L);
    return 1;
}

static lua_State *state_open(void)
{
    lua_State *L = luaL_newstate();

    luaL_openlibs(L);
    lua_register(L, "decode", l_decode);
    lua_register(L, "encode", l_encode);
    lua_register(L, "array", l_array);
    json_push_null(L);
    lua_setglobal(L, "null");
    return L;
}

/* Runs a chunk; a raise fails the test with its message. */
static void run(lua_State *L, const char *chunk)
{
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    assert_int_equal(lua_gettop(L), 0);
}

static int setup(void **state)
{
    *state = state_open();
    return 0;
}

static int teardown(void **state)
{
    lua_close(*state);
    return 0;
}

static bool accepts(lua_State *L, const char *text, size_t len)
{
    const char *why = NULL;
    int top = lua_gettop(L);
    bool ok = json_decode(L, text, len, &why) == 0;

    assert_int_equal(lua_gettop(L), top + ok);
    assert_true(ok == (why == NULL));
    lua_settop(L, top);
    return ok;
}

static const char *const valid_texts[] = {
    "[]",
    "{}",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "123",
    "-1.5",
    "1e5",
    "1E+5",
    "1e-5",
    "0.0",
    "0e0",
    "\"\"",
    " [ ] ",
    "\t\n\r [1]\n",
    "[[]]",
    "[1,2]",
    "{\"a\":1}",
    "{\"a\":{\"b\":[]}}",
    "{\"\":0}",
    "{\"a\":1,\"a\":2}",
    "[\"\\u0000\"]",
    "[\"\\ud83d\\ude00\"]",
    "[\"\xf0\x9f\x98\x80\"]",
    "[\"\x7f\"]",
    "[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
    "[\"\xe2\x80\xa8\"]",
    "[123456789012345678901234567890]",
    "[-9223372036854775808]",
    "[1.7976931348623157e308]",
    "[\"\\uFFFF\"]",
    "[\"\xef\xbf\xbf\"]",
    "[4.9e-324]",
    "[1e-400]",
};

static const char *const invalid_texts[] = {
    "",
    " ",
    "[",
    "]",
    "{",
    "}",
    "[1,]",
    "[,1]",
    "[1,,2]",
    "[1 2]",
    "{\"a\":1,}",
    "{,}",
    "{\"a\"}",
    "{\"a\":}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{\"a\" 1}",
    "{\"a\":1 \"b\":2}",
    "[1]]",
    "[1}",
    "{\"a\":1]",
    "[] []",
    "[]x",
    "nul",
    "nulll",
    "True",
    "tru",
    "fals",
    "NaN",
    "[NaN]",
    "[Infinity]",
    "[-Infinity]",
    "[inf]",
    "[0x10]",
    "[01]",
    "[-01]",
    "[+1]",
    "[-]",
    "[.5]",
    "[1.]",
    "[1.e1]",
    "[1e]",
    "[1e+]",
    "[1e1.5]",
    "[--1]",
    "[1_000]",
    "[-a]",
    "[1a]",
    "[1e999]",
    "[-1e999]",
    "[\"a]",
    "[\"\\\"]",
    "[\"\\x41\"]",
    "[\"\\u12\"]",
    "[\"\\u123g\"]",
    "[\"\\\"",
    "[\"\\u",
    "[\"\\a\"]",
    "[\"\\ud800\"]",
    "[\"\\udc00\"]",
    "[\"\\ud800\\u0041\"]",
    "[\"\\ud800\\n\"]",
    "[\"\\ud800\\ud800\"]",
    "[\"\n\"]",
    "[\"\t\"]",
    "[\"\x1f\"]",
    "['a']",
    "[a]",
    "\xef\xbb\xbf[]",
    "[\"\xff\"]",
    "[\"\xc0\x80\"]",
    "[\"\xed\xa0\x80\"]",
    "[\"\xf4\x90\x80\x80\"]",
    "[\"\xe2\x82\"]",
    "[\"\xe2",
    "[\xe2\x82\xac]",
    "[1,\v2]",
    "/**/[]",
    "[1]//",
    "{\"a\":/**/1}",
    "#[]",
    "[\"a\\",
    "*",
    "[1,\"a\"",
    "{\"a\":\"b",
    "{\"a\":1",
    "{\"a\"",
    "{\"",
    "0.4e00669999999999999999999999999999999999999999999999999999",
};

static void test_grammar(void **state)
{
    for (size_t i = 0; i < sizeof(valid_texts) / sizeof(*valid_texts); i++)
        if (!accepts(*state, valid_texts[i], strlen(valid_texts[i])))
            fail_msg("refused: %s", valid_texts[i]);
    for (size_t i = 0; i < sizeof(invalid_texts) / sizeof(*invalid_texts); i++)
        if (accepts(*state, invalid_texts[i], strlen(invalid_texts[i])))
            fail_msg("accepted: %s", invalid_texts[i]);
    assert_false(accepts(*state, "[\0]", 3));
    assert_false(accepts(*state, "[1]\0", 4));
    assert_false(accepts(*state, "[\"\0\"]", 5));
}

/* Each proper beginning of a text is refused, and nothing behind the given length is read. */
static void test_every_cut(void **state)
{
    static const char text[] =
        "{\"type\":\"ch\\u00e4t\\n\",\"n\":[1,-2.5e3,true,false,null,{}],\"x\":{\"y\":\"\xf0\x9f\x98\x80\"}}";

    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        char *copy = malloc(len + 1); /* exact size, so that the sanitizer sees a byte too much */
        char *exact = realloc(copy, len > 0 ? len : 1);
        memcpy(exact, text, len);
        assert_false(accepts(*state, exact, len));
        free(exact);
    }
    assert_true(accepts(*state, text, sizeof(text) - 1));
}

static void test_values(void **state)
{
    run(*state,
        "local function kind(text, want)\n"
        "  local v = decode(text); assert(math.type(v) == math.type(want) and v == want, text .. ' gave ' .. tostring(v)) end\n"
        "kind('5', 5) kind('5.0', 5.0) kind('-7', -7) kind('1e2', 100.0) kind('0', 0) kind('-0.0', -0.0)\n"
        "kind('9007199254740993', 9007199254740993) kind('9223372036854775807', math.maxinteger)\n"
        "kind('-9223372036854775808', math.mininteger) kind('9223372036854775808', 9223372036854775808.0)\n"
        "kind('-9223372036854775809', -9223372036854775809.0) kind('18446744073709551616', 2.0^64)\n"
        "kind('100000000000000000000', 1e20) kind('0.1', 0.1) kind('123456.789', 123456.789) kind('1e22', 1e22) kind('1e23', "
        "1e23)\n"
        "kind('2.2250738585072014e-308', 2.2250738585072014e-308) kind('1.7976931348623157e308', 1.7976931348623157e308)\n"
        "kind('0.30000000000000004', 0.1 + 0.2) kind('9007199254740993.0', 9007199254740992.0)\n"
        "assert(1 / decode('-0.0') == -math.huge)\n"
        "assert(decode('\"\\\\ud83d\\\\ude00\\\\u20ac\\\\u00e9\\\\u0041\\\\u0000\"') == '\\u{1f600}\\u{20ac}\\u{e9}A\\0')\n"
        "assert(decode('\"a\\\\\\\\\\\\\"\\\\/\\\\b\\\\f\\\\n\\\\r\\\\tz\"') == 'a\\\\\"/\\b\\f\\n\\r\\tz')\n"
        "assert(decode('null') == null and decode('true') == true and decode('false') == false)");
}

static void test_null_and_lists(void **state)
{
    run(*state, "local o = decode '{\"a\":null,\"b\":1}'; assert(o.a == nil and next(o) == 'b' and next(o, 'b') == nil)\n"
                "assert(decode('{\"a\":1,\"a\":null}').a == nil) assert(decode('{\"a\":1,\"a\":2}').a == 2)\n"
                "local l = decode '[null,1,null]'; assert(#l == 3 and l[1] == null and l[3] == null)\n"
                "assert(encode(l) == '[null,1,null]')\n"
                "for _, text in ipairs { '[]', '{}', '[[],{}]', '{\"a\":[]}' } do assert(encode(decode(text)) == text) end\n"
                "assert(encode(array {}) == '[]' and encode {} == '{}')\n"
                "local many = {} for i = 1, 1000 do many[i] = i end\n"
                "local back = decode(encode(many)) assert(#back == 1000) for i = 1, 1000 do assert(back[i] == i) end\n"
                "local wide = {} for i = 1, 1000 do wide['k' .. i] = i end\n"
                "back = decode(encode(wide)) for i = 1, 1000 do assert(back['k' .. i] == i) end");
}

static void test_depth(void **state)
{
    run(*state, "local function nest(n) return ('['):rep(n) .. (']'):rep(n) end\n"
                "assert(decode(nest(128))) local v, why = decode(nest(129)) assert(not v and why:find 'too deep', why)\n"
                "assert(not decode(nest(10000))) assert(not decode(('{\"a\":'):rep(200) .. '1' .. ('}'):rep(200)))\n"
                "assert(encode(decode(nest(128))) == nest(128))\n"
                "local loop = {} loop.a = loop v, why = encode(loop) assert(not v and why:find 'too deep' and why:find "
                "'^message.a.a', why)\n"
                "local list = {} list[1] = list v, why = encode(list) assert(not v and why:find('message[1][1]', 1, true), why)\n"
                "local wide = {} for i = 1, 40 do wide = { wide, wide } end\n" /* 2^40 items when written out */
                "v, why = encode(wide) assert(not v and why:find 'too large', why)");
}

static void test_places(void **state)
{
    run(*state,
        "local function at(text, byte) local v, why = decode(text) assert(not v and why:find('at byte ' .. byte .. ':', 1, "
        "true), why) end\n"
        "at('[1,]', 4) at('', 1) at('[1', 3) at('{\"a\":nul}', 6) at('[\"\\xff\"]', 3) at('[1] 2', 5) at('[\"\\\\ud800x\"]', 9)\n"
        "local function place(v, want) local text, why = encode(v) assert(not text and why:find(want, 1, true) == 1, why) end\n"
        "place({ players = { 1, 2, print } }, 'message.players[3]: cannot be written as JSON: function')\n"
        "place(print, 'message: cannot') place({ a = 0/0 }, 'message.a: JSON has no way to write nan') place({ 1/0 }, "
        "'message[1]: JSON has no way to write inf')\n"
        "place({ a = { 1, nil, 3, x = 1 } }, 'message.a: a list') place({ 1, 2, [4] = 4 }, 'message: a list') place({ [1.5] = 1 "
        "}, 'message: a list')\n"
        "place({ [true] = 1 }, 'message: an object with a key that is no string: boolean') place({ [0] = 1 }, 'message: a "
        "list')\n"
        "place({ t = '\\xff' }, 'message.t: a string that is not UTF-8') place({ ['\\xff'] = 1 }, 'message.?: a string that is "
        "not UTF-8')\n"
        "place({ io.stdout }, 'message[1]: cannot be written as JSON: FILE*') place(array { x = 1 }, 'message: a list that also "
        "has the key x')\n"
        "place({ a = { b = 1, [1] = 1 } }, 'message.a: ')");
}

static void test_lists_in_any_order(void **state)
{
    run(*state, "local back = {} for i = 50, 1, -1 do back[i] = i end local ref = {} for i = 1, 50 do ref[i] = i end\n"
                "assert(encode(back) == encode(ref)) assert(encode(back) == '[' .. table.concat(ref, ',') .. ']')\n"
                "assert(encode { [2] = 'b', [1] = 'a' } == '[\"a\",\"b\"]')\n"
                "assert(encode { a = { [3] = 3, [2] = 2, [1] = { 1 } } } == '{\"a\":[[1],2,3]}')");
}

static void test_writes(void **state)
{
    run(*state,
        "local function is(v, want) local got = encode(v) assert(got == want, got) end\n"
        "is(1, '1') is(1.0, '1.0') is(-0.0, '-0.0') is(0.1, '0.1') is(1e20, '1e+20') is(123456.789, '123456.789') is(0.00001, "
        "'0.00001') is(1e15, '1e+15')\n"
        "is(math.mininteger, '-9223372036854775808') is(math.maxinteger, '9223372036854775807') is(1e-7, '1e-07') "
        "is(999999999999999.0, '999999999999999.0')\n"
        "is(0.1 + 0.2, '0.30000000000000004') is(5e-324, '4.94065645841247e-324') is(2.0^53, '9007199254740992.0') is(99.95, "
        "'99.95') is(0.05, '0.05')\n"
        "is('a\"\\\\/\\b\\f\\n\\r\\t\\0\\x1f\\x7f', '\"a\\\\\"\\\\\\\\/\\\\b\\\\f\\\\n\\\\r\\\\t\\\\u0000\\\\u001f\\x7f\"') "
        "is('\\u{1f600}', '\"\\u{1f600}\"')\n"
        "is(('\\1'):rep(100), '\"' .. ('\\\\u0001'):rep(100) .. '\"') is(('x'):rep(100000), '\"' .. ('x'):rep(100000) .. '\"')\n"
        "is(nil, 'null') is(null, 'null') is(true, 'true') is({ a = null }, '{\"a\":null}') is({ false }, '[false]')\n"
        "is(setmetatable({}, { __index = function() error 'no' end, __pairs = error, __len = error }), '{}')");
}

static void check_number(double x)
{
    char text[NUMBER_TEXT_MAX];
    size_t len = number_print(x, text);
    double back = 0;

    assert_int_equal(strlen(text), len);
    assert_non_null(strpbrk(text, ".e"));
    assert_true(number_parse((struct slice){text, len}, &back));
    if (memcmp(&back, &x, sizeof(x)) != 0 || strtod(text, NULL) != x)
        fail_msg("%a became %s", x, text);
}

/* Random doubles, short decimals and the edges come back bit by bit. */
static void test_numbers_round_trip(void **state)
{
    static const double edges[] = {0.0,
                                   -0.0,
                                   DBL_MAX,
                                   DBL_MIN,
                                   4.9e-324,
                                   1e15,
                                   999999999999999.9,
                                   1e22,
                                   1e23,
                                   9007199254740991.0,
                                   0.1,
                                   1e-5,
                                   9.999999e-6,
                                   0.3,
                                   2.5,
                                   1e100,
                                   1e-100,
                                   5e-324,
                                   4503599627370497.5,
                                   1700000000.123456};
    uint64_t seed = 42;

    for (size_t i = 0; i < sizeof(edges) / sizeof(*edges); i++) {
        check_number(edges[i]);
        check_number(-edges[i]);
    }
    for (int i = 0; i < 200000; i++) {
        double x;
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memcpy(&x, &seed, sizeof(x));
        if (isfinite(x))
            check_number(x);
        check_number((double)(seed >> 40) / 1000.0);
        check_number((double)(seed >> 20) / 1000000.0);
        check_number(ldexp((double)(seed >> 11), -53));
    }
}

/* A program that embeds the server may run with a decimal comma. */
static void test_other_locale(void **state)
{
    const char *set = setlocale(LC_ALL, "de_DE.UTF-8");

    run(*state, "for _, x in ipairs { 0.1 + 0.2, 1e-300, 1.5, 1e300 } do assert(decode(encode(x)) == x) assert(not "
                "encode(x):find ',') end");
    if (set != NULL)
        setlocale(LC_ALL, "C");
}

/* Where lua-cjson 2.1.0 is right, both agree: values of every kind but integers (it makes floats of them), empty lists and null
 * members. */
static const char differential[] =
    "local cjson = require 'cjson'\n"
    "assert(cjson.null == null)\n"
    "local seed = 7\n"
    "local function rnd(n) seed = (seed * 1103515245 + 12345) % 2147483648 return (seed >> 8) % n end\n"
    "local function text() local t = {} for i = 1, rnd(20) do t[i] = utf8.char(({ rnd(128), 128 + rnd(1000), 0x2000 + rnd(1000), "
    "0x10000 + rnd(1000) })[rnd(4) + 1]) end return table.concat(t) end\n"
    "local function value(depth)\n"
    "  local k = rnd(depth > 0 and 6 or 4)\n"
    "  if k == 0 then return text() elseif k == 1 then return rnd(100000) / 8 + 0.125 elseif k == 2 then return rnd(2) == 0 "
    "elseif k == 3 then return rnd(1000000)\n"
    "  elseif k == 4 then local t = {} for i = 1, 1 + rnd(30) do t[i] = value(depth - 1) end return t\n"
    "  else local t = { x = 1 } for _ = 1, rnd(40) do t[text()] = value(depth - 1) end return t end\n"
    "end\n"
    "local function same(a, b)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end\n"
    "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
    "  for k in pairs(b) do if a[k] == nil then return false end end\n"
    "  return true\n"
    "end\n"
    "for _ = 1, 500 do\n"
    "  local v = { value(3) }\n"
    "  local ours = assert(encode(v))\n"
    "  assert(same(v, assert(decode(ours))), ours)\n"
    "  assert(same(v, cjson.decode(ours)), ours)\n"
    "  assert(same(v, assert(decode(cjson.encode(v)))), ours)\n"
    "end\n";

/* Wherever the stack of Lua has to grow next: a long string that is broken leaves it whole. */
static void test_long_broken_strings(void **state)
{
    static const char *const ends[] = {"", "\\q", "\n", "\\ud800\""};
    struct buf text = {0};

    for (int before = 0; before < 200; before++)
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
            lua_State *L = luaL_newstate();
            const char *why = NULL;
            buf_clear(&text);
            buf_add_byte(&text, '[');
            for (int n = 0; n < before; n++)
                buf_add_text(&text, "1,");
            buf_add_text(&text, "\"\\n");
            for (int n = 0; n < 300; n++)
                buf_add_text(&text, "0123456789");
            buf_add_text(&text, ends[i]);
            assert_int_equal(json_decode(L, (const char *)text.data, text.len, &why), MT_EJSON);
            assert_int_equal(lua_gettop(L), 0);
            assert_int_equal(json_decode(L, "[1,2]", 5, &why), 0);
            assert_int_equal(lua_gettop(L), 1);
            lua_close(L);
        }
    buf_fini(&text);
}

static void test_against_cjson(void **state)
{
    run(*state, differential);
}

/* Anything that a few changed bytes make of a valid text is taken or refused by both, except for what lua-cjson takes against the
 * RFC. */
static void test_mutations(void **state)
{
    static const char seed_text[] = "{\"type\":\"chat\",\"n\":[1,-2.5e3,true,null],\"t\":\"\\u00e4\\n\",\"o\":{\"a\":[]}}";
    static const char bytes[] = "{}[]\",:\\0123456789.eE+-nultrfasbxX \n\t\x01\x7f\x80\xc3";
    char text[sizeof(seed_text)];
    uint32_t random = 1;

    for (int i = 0; i < 300000; i++) {
        memcpy(text, seed_text, sizeof(text));
        for (int n = 0; n < 3; n++) {
            random = random * 1664525 + 1013904223;
            text[(random >> 16) % (sizeof(text) - 1)] = bytes[(random >> 8) % (sizeof(bytes) - 1)];
        }
        int top = lua_gettop(*state);
        if (!accepts(*state, text, sizeof(text) - 1))
            continue;
        lua_getglobal(*state, "require");
        lua_pushliteral(*state, "cjson");
        lua_call(*state, 1, 1);
        lua_getfield(*state, -1, "decode");
        lua_pushlstring(*state, text, sizeof(text) - 1);
        if (lua_pcall(*state, 1, 1, 0) != LUA_OK)
            fail_msg("accepted %s, lua-cjson: %s", text, lua_tostring(*state, -1));
        lua_settop(*state, top);
    }
}

/* ---- running out of memory ---- */

static long allowed = -1; /* allocations left before failing_alloc says no; negative: no limit */

static void *failing_alloc(void *ud, void *ptr, size_t old, size_t size)
{
    if (size == 0) {
        free(ptr);
        return NULL;
    }
    if (size > (ptr != NULL ? old : 0) && allowed >= 0 && allowed-- == 0) {
        allowed = 0;
        return NULL;
    }
    return realloc(ptr, size);
}

static int decode_all(lua_State *L)
{
    const char *why;
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);

    assert_int_equal(json_decode(L, text, len, &why), 0);
    return 1;
}

/* Every allocation of the decoder fails once: it raises, nothing is lost, and the state works on. */
static void test_memory_decode(void **unused)
{
    lua_State *L = lua_newstate(failing_alloc, NULL);
    int failures = 0;

    lua_pushcfunction(L, decode_all);
    lua_pushliteral(
        L, "{\"a\":[1,2,{\"b\":\"\\u00e4 long enough to be no short string at all, not even in a buffer\"}],\"c\":[[[[[[]]]]]]}");
    for (long n = 0;; n++) {
        lua_pushvalue(L, 1);
        lua_pushvalue(L, 2);
        allowed = n;
        int err = lua_pcall(L, 1, 1, 0);
        allowed = -1;
        lua_settop(L, 2);
        lua_gc(L, LUA_GCCOLLECT);
        if (err == LUA_OK)
            break;
        assert_true(err == LUA_ERRMEM || err == LUA_ERRRUN); /* a stack that cannot grow raises a text */
        failures++;
    }
    assert_in_range(failures, 6, 1000);
    lua_close(L);
}

/* The same for the encoder's buffer. */
static void test_memory_encode(void **state)
{
    lua_State *L = *state;
    const char *why;
    int failures = 0;

    assert_int_equal(luaL_dostring(L, "return { a = { 1, 2, 3.5, { b = ('x'):rep(1000) } }, c = ('\\1'):rep(5000) }"), LUA_OK);
    for (unsigned long n = 1;; n++) {
        struct buf out = {0};
        mem_fail_at(n);
        int err = json_encode(L, -1, &out, &why);
        mem_fail_at(0);
        assert_int_equal(err == 0 ? 0 : out.len, 0);
        buf_fini(&out);
        if (err == 0)
            break;
        assert_int_equal(err, MT_ENOMEM);
        failures++;
    }
    assert_true(failures > 2);
    lua_settop(L, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_grammar, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_null_and_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_locale, setup, teardown),
        cmocka_unit_test_setup_teardown(test_against_cjson, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mutations, setup, teardown),
        cmocka_unit_test(test_long_broken_strings),
        cmocka_unit_test(test_memory_decode),
        cmocka_unit_test_setup_teardown(test_memory_encode, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
