/* test_script_shape.c - shapes: how they are written, what they accept, what they say. */
#include "script/shape.h"

#include "base/mem.h"
#include "script/json.h"
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* check(shape, value) -> true, clean copy | false, message. Compiles with the name "accepts.x". */
static int l_check(lua_State *L)
{
    lua_settop(L, 2);
    shape_compile(L, 1, "accepts.x");
    assert_int_equal(lua_gettop(L), 3);
    bool ok = shape_check(L, 3, 2);
    assert_int_equal(lua_gettop(L), 4);
    lua_pushboolean(L, ok);
    lua_insert(L, 4);
    return 2;
}

/* cached(shape) -> the compiled shape as a light userdata, to be compared. */
static int l_cached(lua_State *L)
{
    shape_compile_cached(L, 1, "shape");
    lua_pushlightuserdata(L, (void *)lua_topointer(L, -1));
    return 1;
}

static int l_decode(lua_State *L)
{
    size_t len;
    const char *why, *text = luaL_checklstring(L, 1, &len);

    return json_decode(L, text, len, &why) == 0 ? 1 : luaL_error(L, "%s", why);
}

static int l_encode(lua_State *L)
{
    struct buf out = {0};
    const char *why = NULL;

    assert_int_equal(json_encode(L, 1, &out, &why), 0);
    lua_pushlstring(L, (const char *)out.data, out.len);
    buf_fini(&out);
    return 1;
}

static const char prelude[] =
    "function yes(shape, value, want) local ok, clean = check(shape, value) assert(ok, clean)\n"
    "  if type(value) ~= 'table' then assert(rawequal(clean, value)) end return clean end\n"
    "function no(shape, value, want) local ok, why = check(shape, value) assert(not ok, 'accepted ' .. tostring(value)) "
    "assert(why == want, why) end\n"
    "function bad(shape, want) local ok, why = pcall(check, shape, 1) assert(not ok and why:find(want, 1, true), why) end\n";

static int setup(void **state)
{
    lua_State *L = luaL_newstate();

    luaL_openlibs(L);
    shape_open(L);
    lua_register(L, "check", l_check);
    lua_register(L, "cached", l_cached);
    lua_register(L, "decode", l_decode);
    lua_register(L, "encode", l_encode);
    json_push_null(L);
    lua_setglobal(L, "null");
    assert_int_equal(luaL_dostring(L, prelude), LUA_OK);
    *state = L;
    return 0;
}

static int teardown(void **state)
{
    lua_close(*state);
    return 0;
}

static void run(lua_State *L, const char *chunk)
{
    if (luaL_dostring(L, chunk) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    assert_int_equal(lua_gettop(L), 0);
}

static void test_strings(void **state)
{
    run(*state,
        "yes('string', '') yes('string 1..3', 'abc') yes('string 64', ('x'):rep(64)) yes('string ..3', '') yes('string 2..', "
        "'ab')\n"
        "yes('string 1..3', '\\u{20ac}\\u{20ac}\\u{20ac}') yes('string 3', '\\u{1f600}\\u{1f600}\\u{1f600}') yes(' string  1..3 "
        "', 'x')\n"
        "no('string 1..3', '', 'value: string 1..3 expected, got 0 characters')\n"
        "no('string 1..3', '\\u{20ac}\\u{20ac}\\u{20ac}\\u{20ac}', 'value: string 1..3 expected, got 4 characters')\n"
        "no('string 2..', 'x', 'value: string 2.. expected, got 1 character')\n"
        "no('string', 5, 'value: string expected, got integer') no('string', nil, 'value: string expected, got nothing')\n"
        "no('string 1..3', null, 'value: string 1..3 expected, got null') no('string', {}, 'value: string expected, got "
        "object')\n"
        "no('string', decode '[]', 'value: string expected, got list') no('string', print, 'value: string expected, got "
        "function')");
}

static void test_numbers(void **state)
{
    run(*state,
        "yes('integer', 5) yes('integer 1..9', 9) yes('integer -5..-1', -3) yes('integer 1..4294967296', 1 << 32) yes('integer "
        "1..', math.maxinteger)\n"
        "no('integer', 5.0, 'value: integer expected, got float') no('integer', '5', 'value: integer expected, got string')\n"
        "no('integer 1..9', 10, 'value: integer 1..9 expected, got 10') no('integer 1..9', 0, 'value: integer 1..9 expected, got "
        "0')\n"
        "yes('number', 5) yes('number', 5.5) yes('number -1..1', -1) yes('number 0.5..1.5', 1.5) yes('number -100..300', 299.9) "
        "yes('number', 1/0)\n"
        "no('number -1..1', 1.5, 'value: number -1..1 expected, got 1.5') no('number 0.5..1.5', 0.25, 'value: number 0.5..1.5 "
        "expected, got 0.25')\n"
        "no('number', 0/0, 'value: number expected, got nan') no('number -1..1', 0/0, 'value: number -1..1 expected, got nan')\n"
        "no('number', '1', 'value: number expected, got string') no('number', true, 'value: number expected, got boolean')\n"
        "yes('number 0..1', 0) no('number ..0', 1e300, 'value: number ..0 expected, got 1e+300')");
}

static void test_other_kinds(void **state)
{
    run(*state,
        "yes('boolean', true) yes('boolean', false) no('boolean', 0, 'value: boolean expected, got integer')\n"
        "yes('any', false) yes('any', null) yes('any', 5) local t = { f = print } assert(select(2, check('any', t)) == t)\n"
        "no('any', nil, 'value: any expected, got nothing') yes('any?', nil) yes('string?', nil) yes('string? 1..4', 'x') "
        "yes('string? ..4000', nil)\n"
        "yes('integer?', null) no('string? 1..4', '', 'value: string? 1..4 expected, got 0 characters')\n"
        "yes(\"'buy'|'sell'\", 'buy') yes(\"'buy'|'sell'\", 'sell') yes(\"'one'\", 'one') yes(\"''|'x'\", '') yes(\"'a'|'b'?\", "
        "nil) yes(\"'a b'|'c'?\", 'a b')\n"
        "no(\"'buy'|'sell'\", 'hold', \"value: 'buy'|'sell' expected, got string\") no(\"'buy'|'sell'\", nil, \"value: "
        "'buy'|'sell' expected, got nothing\")\n"
        "no(\"'buy'|'sell'\", 1, \"value: 'buy'|'sell' expected, got integer\")");
}

static void test_objects(void **state)
{
    run(*state,
        "local shape = { room = 'string 1..64', text = 'string 1..2000', at = 'number?' }\n"
        "local msg = { room = 'r', text = 't', evil = 1, [1] = 2, at = 1.5 } msg[1] = nil\n"
        "local clean = yes(shape, msg) assert(clean ~= msg and clean.room == 'r' and clean.text == 't' and clean.at == 1.5)\n"
        "local n = 0 for _ in pairs(clean) do n = n + 1 end assert(n == 3 and msg.evil == 1)\n"
        "no(shape, { room = 'r' }, 'text: string 1..2000 expected, got nothing') no(shape, {}, 'room: string 1..64 expected, got "
        "nothing')\n"
        "no(shape, 5, 'value: object expected, got integer') no(shape, decode '[]', 'value: object expected, got list') "
        "no(shape, nil, 'value: object expected, got nothing')\n"
        "assert(next(yes({}, { a = 1 })) == nil)\n"
        "no({ a = { b = { c = 'integer' } } }, { a = { b = { c = 'x' } } }, 'a.b.c: integer expected, got string')\n"
        "no({ a = { b = 'any' } }, { a = 7 }, 'a: object expected, got integer')\n"
        "no({ ['a\\n'] = 'any' }, {}, 'a?: any expected, got nothing')\n"
        "assert(yes({ a = 'any' }, setmetatable({ a = 1 }, { __index = error })).a == 1)");
}

static void test_lists(void **state)
{
    run(*state,
        "local clean = yes({ 'integer' }, { 1, 2, 3 }) assert(#clean == 3 and clean[3] == 3 and encode(clean) == '[1,2,3]')\n"
        "assert(encode(yes({ 'integer' }, {})) == '[]') assert(encode(yes({ 'any' }, decode '[]')) == '[]')\n"
        "yes({ 'string 1..12', max = 2 }, { 'a', 'b' }) no({ 'string', max = 2 }, { 'a', 'b', 'c' }, 'value: list of at most 2 "
        "items expected, got 3')\n"
        "no({ 'any', min = 1 }, {}, 'value: list of at least 1 items expected, got 0') no({ 'any', min = 2, max = 3 }, { 1 }, "
        "'value: list of 2 to 3 items expected, got 1')\n"
        "no({ symbols = { 'string' } }, { symbols = { 'a', 2 } }, 'symbols[2]: string expected, got integer')\n"
        "no({ 'any' }, { a = 1 }, 'value: list expected, got object') no({ 'any' }, 'x', 'value: list expected, got string')\n"
        "no({ 'integer' }, decode '[1,null]', 'value[2]: integer expected, got null')\n"
        "assert(encode(yes({ 'integer?' }, decode '[1,null]')) == '[1,null]')\n"
        "local deep = yes({ { { x = 'integer' } } }, { { { x = 1, y = 2 } }, {} }) assert(encode(deep) == '[[{\"x\":1}],[]]')\n"
        "local long = {} for i = 1, 5000 do long[i] = { n = i } end assert(#yes({ { n = 'integer' } }, long) == 5000)");
}

static void test_functions(void **state)
{
    run(*state, "local function even(v) if v % 2 == 0 then return true end return false, 'even number expected' end\n"
                "yes(even, 4) no(even, 3, 'value: even number expected') no({ n = even }, { n = 3 }, 'n: even number expected')\n"
                "no({ n = function() return nil end }, { n = 3 }, 'n: not valid') no(function() end, nil, 'value: not valid')\n"
                "assert(yes({ a = even, b = 'any' }, { a = 2, b = 1 }).a == 2)\n"
                "local seen yes(function(...) seen = select('#', ...) return true end, nil) assert(seen == 1)\n"
                "local ok, why = pcall(check, even, 'x') assert(not ok and why:find 'attempt to', why)");
}

static void test_author_errors(void **state)
{
    run(*state,
        "bad('strng', \"accepts.x: unknown shape 'strng'; did you mean string?\") bad({ room = 'strng 1..2' }, \"accepts.x.room: "
        "unknown shape 'strng 1..2'; did you mean string?\")\n"
        "bad('quux', \"unknown shape 'quux'; there are any\") bad('', \"unknown shape ''\") bad('1..2', 'unknown shape') "
        "bad('String', 'did you mean string')\n"
        "bad({ a = { b = 5 } }, 'accepts.x.a.b: a shape is a string, a table or a function, not a number') bad(true, 'not a "
        "boolean')\n"
        "bad('string x', \"'string x': the range is not like 1..64\") bad('string 1...3', 'whole numbers') bad('string 5..1', "
        "'nothing is in that range')\n"
        "bad('integer 1.5..2', 'whole numbers') bad('string ..-1', 'no string is that short') bad('boolean 1', 'boolean takes no "
        "range') bad('any? 5', 'any takes no range')\n"
        "bad('number 2..1.5', 'nothing is in that range') bad('number 1..x', 'the range is not like') bad('string?? 1', 'the "
        "range is not like') bad('integer 1..0x', 'not like')\n"
        "bad('string ' .. ('1'):rep(100), 'the range is not like') bad('string 1..99999999999999999999', 'whole numbers') "
        "bad('str\\0ing', 'zero byte')\n"
        "bad(\"'buy\", 'words are written like') bad(\"'a'|\", 'words are written like') bad(\"'a'|b\", 'words are written "
        "like') bad(\"'a''b'\", 'words are written like') bad(\"'\", 'words')\n"
        "bad(\"'a'?|'b'\", 'words are written like') bad(\"'a'??\", 'words are written like')\n"
        "bad({ 'any', 'any' }, 'a list is { shape') bad({ 'any', mx = 3 }, 'a list is { shape') bad({ 'any', max = -1 }, 'max of "
        "a list is a whole number from 0')\n"
        "bad({ 'any', min = 1.5 }, 'min of a list') bad({ 'any', min = 3, max = 2 }, 'min above max') bad({ [2] = 'any' }, "
        "'fields have names') bad({ [true] = 'any' }, 'fields have names')\n"
        "bad({ list = { { x = 'bool' } } }, \"accepts.x.list[1].x: unknown shape 'bool'; \")\n"
        "local loop = {} loop.a = loop bad(loop, 'nested too deep') loop = {} loop[1] = loop bad(loop, 'nested too deep')");
}

static void test_cache(void **state)
{
    run(*state,
        "local t = { a = 'any' } local f = function() return t end\n"
        "assert(cached(t) == cached(t) and cached(f) == cached(f)) collectgarbage 'stop' assert(cached('string 1..64') == "
        "cached('string 1..64')) collectgarbage 'restart'\n"
        "assert(not pcall(cached) and not pcall(cached, 5)) local ok, why = pcall(cached, nil) assert(why:find 'shape: a shape "
        "is', why)\n"
        /* Shapes made by the way go with the tables they were made from, also when a function leads back to them. */
        "collectgarbage() local before = collectgarbage 'count'\n"
        "for i = 1, 20000 do local s s = { a = function() return s end } cached(s) cached('string 1..' .. i) end\n"
        "collectgarbage() collectgarbage() local grown = collectgarbage 'count' - before assert(grown < 2000, grown)");
}

/* Each block of a shape fails to be allocated once: an error, and nothing is lost. */
static void test_memory(void **state)
{
    static const char chunk[] = "return { a = 'string 1..3', b = { \"'x'|'y'\", max = 3 }, c = { d = function() end } }";
    lua_State *L = *state;
    int failures = 0;

    for (unsigned long n = 1;; n++) {
        lua_pushcfunction(L, l_check);
        assert_int_equal(luaL_dostring(L, chunk), LUA_OK);
        lua_newtable(L);
        mem_fail_at(n);
        int err = lua_pcall(L, 2, 0, 0);
        mem_fail_at(0);
        if (err == LUA_OK)
            break;
        assert_non_null(strstr(lua_tostring(L, -1), "out of memory"));
        lua_settop(L, 0);
        failures++;
    }
    assert_true(failures > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_strings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(test_functions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_author_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
