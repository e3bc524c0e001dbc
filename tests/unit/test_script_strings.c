/* test_script_strings.c - the library functions of our own give what those of Lua give, for arguments of every kind. */
#include "script/strings.h"
#include "script/tables.h"
#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* `real` and `own` hold both of each library. same(name, ...) calls both and compares: results, or the message. */
static const char helpers[] =
    "local function pack(ok, ...)\n"
    "  if ok and type((...)) == 'function' then\n" /* gmatch: what it finds */
    "    local all, step = {}, ...\n"
    "    for i = 1, 50 do local found = table.pack(pcall(step)) all[i] = found if not found[1] or found[2] == nil then break end "
    "end\n"
    "    return all\n"
    "  end\n"
    "  return table.pack(ok, ...)\n"
    "end\n"
    "local function text(v) if type(v) == 'function' or type(v) == 'table' then return tostring(v) end return ('%q'):format(v) "
    "end\n"
    "local function flat(v)\n"
    "  if type(v) ~= 'table' or getmetatable(v) then return text(v) end\n"
    "  local out = {}\n"
    "  for i = 1, v.n or #v do out[i] = flat(v[i]) end\n"
    "  return '{' .. table.concat(out, ', ') .. '}'\n"
    "end\n"
    "function same(name, ...)\n"
    "  local a, b = flat(pack(pcall(real[name], ...))), flat(pack(pcall(own[name], ...)))\n"
    "  if a ~= b then error(name .. flat(table.pack(...)) .. ': Lua gives ' .. a .. ', ours gives ' .. b) end\n"
    "  return a\n"
    "end\n";

static lua_State *open_both(void)
{
    lua_State *L = luaL_newstate();

    luaL_openlibs(L);
    assert_int_equal(luaL_dostring(L, "real, own = {}, {} for _, l in ipairs { string, table } do for k, v in pairs(l) do "
                                      "if k ~= 'dump' then real[k] = v end end end"),
                     LUA_OK);
    lua_getglobal(L, "own");
    lua_getglobal(L, "real");
    for (lua_pushnil(L); lua_next(L, -2);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_settable(L, 1);
    }
    lua_pop(L, 1);
    strings_bound(L);
    tables_bound(L);
    lua_settop(L, 0);
    return L;
}

static void run(const char *code)
{
    lua_State *L = open_both();

    if (luaL_dostring(L, helpers) != LUA_OK || luaL_dostring(L, code) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
}

static void test_patterns(void **state)
{
    run("local patterns = { '', 'a', '.', 'a*', 'a+', 'a-', 'a?', '^a', 'a$', '$', '^$', '%a+', '%A', '[abc]+', '[^abc]', "
        "'[a-c]',\n"
        "  '[]]', '[^]]', '[%]]', '[a-]', '[-a]', '[%a-z]', '(a)', '(a*)(b)', '()', '()a()', '(a(b))', '%1', '(a)%1', '(a*)%1', "
        "'()%1',\n"
        "  '%b()', '%bxy', '%f[%a]', '%f[%A]', '%fa', '%', '[', '[a', '[%', '[^', '(', ')', '(a', 'a)', '(()', '%b', '%bx', "
        "'%0', '%9',\n"
        "  '.-b', '(.-)b', '(.*)(.*)', 'a.b', '%.', '%$', '%^', '^^a', 'a^', '[$]', 'a*$', '-', '*', '+', '?', '%-', '\\0', "
        "'[\\0]', '%z',\n"
        "  '[%w_]+', '%s*(.-)%s*$', '^%s*(.-)%s*$', '%d%d:%d%d', '(%w+)=(%w+)', '((a)(b))', ('(a)'):rep(33), ('a?'):rep(9) .. "
        "('a'):rep(9),\n"
        "  ('('):rep(33), '[a-%%]', '[%-x]', '%x+', '%g', '%c', '%p', '%l%u', '\\xff', '[\\x80-\\xff]', ('a-'):rep(250), "
        "'a\\0b', '\\0*' }\n"
        "local subjects = { '', 'a', 'b', 'aaa', 'abc', 'xaby', 'a b c', '(a(b)c)', 'xxyy', '  trim me  ', 'key=value, k2=v2', "
        "'12:34',\n"
        "  'a\\0b', '\\0\\0', '\\xff\\x80', ']', '-', '^a', '$', '%', ('a'):rep(40), 'THE (quick) fox', 'aXbX', 'a.b' }\n"
        "local n = 0\n"
        "for _, p in ipairs(patterns) do\n"
        "  for _, s in ipairs(subjects) do\n"
        "    for _, name in ipairs { 'find', 'match', 'gmatch' } do\n"
        "      for _, init in ipairs { false, 0, 2, -1, 100, math.mininteger } do\n"
        "        n = n + 1 same(name, s, p, init or nil)\n"
        "      end\n"
        "    end\n"
        "    same('find', s, p, 1, true) same('find', s, p, -2, true) same('find', p, s, 1, true)\n"
        "    for _, r in ipairs { '', 'x', '%0', '<%1>', '%2', '%%', '%', '%a', '%9', 5, 'a\\0b', '%1%1' } do\n"
        "      same('gsub', s, p, r) same('gsub', s, p, r, 1) same('gsub', s, p, r, 0) same('gsub', s, p, r, -1)\n"
        "    end\n"
        "    same('gsub', s, p, { a = 'A', b = false, ab = 7 }) same('gsub', s, p, { a = {} })\n"
        "    same('gsub', s, p, function(...) return select('#', ...) > 1 and select(2, ...) end)\n"
        "    same('gsub', s, p, function() end) same('gsub', s, p, function() return {} end)\n"
        "  end\n"
        "end\n"
        "assert(n > 20000)");
}

/* Patterns and subjects by chance, of the characters that mean something. */
static void test_patterns_by_chance(void **state)
{
    run("math.randomseed(5)\n"
        "local pieces = { 'a', 'b', '.', '*', '+', '-', '?', '^', '$', '(', ')', '[', ']', '[ab]', '[^a]', '%a', '%1', '%2', "
        "'%b', '%b()', '%f',\n"
        "  '%f[a]', '%', '()', '(a', '\\0', '(.-)', 'a-b', '%d' }\n"
        "local letters = { 'a', 'b', 'a', '(', ')', '1', '\\0', ' ' }\n"
        "local function make(from, most)\n"
        "  local t = {} for i = 1, math.random(0, most) do t[i] = from[math.random(#from)] end return table.concat(t)\n"
        "end\n"
        "local good = 0\n"
        "for i = 1, 8000 do\n"
        "  local s, p = make(letters, 10), make(pieces, 6)\n"
        "  local got = same('find', s, p) same('match', s, p) same('gmatch', s, p) same('gsub', s, p, '<%1>') same('gsub', s, p, "
        "'%0', 2)\n"
        "  if got:find '^{true, %d' then good = good + 1 end\n"
        "end\n"
        "assert(good > 300, good)");
}

static void test_arguments(void **state)
{
    run("local values = { false, true, 0, 1, -1, 3, 1.5, 0/0, 1/0, '', 'a', '10', {}, { 1, 2, 3 }, { 'a', 'b' }, "
        "math.maxinteger, math.mininteger, type,\n"
        "  setmetatable({}, { __index = function(_, i) return i end, __len = function() return 3 end, __newindex = function() "
        "end }),\n"
        "  setmetatable({}, { __len = function() return 'x' end, __newindex = function() end }), setmetatable({}, { __len = "
        "function() return -1 end, __newindex = function() end }) }\n"
        "local function copy(v) if type(v) == 'table' and not getmetatable(v) then return { table.unpack(v) } end return v end\n"
        "local function alike(x, y) return x == y or x ~= x or type(x) == 'table' and type(y) == 'table' end\n"
        "local function check(name, ...)\n"
        "  local a, b = table.pack(...), table.pack(...)\n"
        "  for i = 1, a.n do a[i], b[i] = copy(a[i]), copy(b[i]) end\n"
        "  local ra, rb = table.pack(pcall(real[name], table.unpack(a, 1, a.n))), table.pack(pcall(own[name], table.unpack(b, 1, "
        "b.n)))\n"
        "  local function plain(t) for i = 1, t.n do if type(t[i]) == 'function' or type(t[i]) == 'table' then t[i] = type(t[i]) "
        "else t[i] = tostring(t[i]) end end return table.concat(t, ',') end\n"
        "  ra, rb = plain(ra):gsub(\"#%d to '[^']*'\", ''), plain(rb):gsub(\"#%d to '[^']*'\", '')\n" /* here it has no name */
        "  if ra ~= rb then error(name .. ': Lua gives ' .. ra .. ', ours gives ' .. rb) end\n"
        "  for i = 1, a.n do if type(a[i]) == 'table' and not getmetatable(a[i]) then\n"
        "    for k = -1, 5 do if not alike(a[i][k], b[i][k]) then error(name .. ' leaves another table at ' .. k) end end end "
        "end\n"
        "end\n"
        "local text = { find = true, match = true, gmatch = true, gsub = true, format = true }\n"
        "local function far(v) v = tonumber(v) return v and (v > 9 or v < -9) end\n"
        "for _, name in ipairs { 'find', 'match', 'gmatch', 'gsub', 'rep', 'format', 'insert', 'remove', 'concat', 'unpack', "
        "'move', 'sort' } do\n"
        "  check(name)\n"
        "  for _, a in ipairs(values) do\n"
        "    check(name, a) check(name, nil, a)\n"
        "    for _, b in ipairs(values) do\n"
        "      if text[name] or not far(b) then check(name, a, b) end\n" /* some take Lua forever */
        "      for _, c in ipairs { 0, 1, -1, 3, '', 'a', { 1, 2, 3 }, math.maxinteger, type } do\n"
        "        local endless = not text[name] and (far(b) or far(c)) or name == 'concat' and getmetatable(a)\n"
        "        if not endless then check(name, a, b, c) end\n"
        "        if not endless and name ~= 'rep' then\n"
        "          for _, d in ipairs { 1, 4, {}, math.maxinteger } do check(name, a, b, c, d, { 9 }) end\n"
        "        end\n"
        "      end\n"
        "    end\n"
        "  end\n"
        "end");
}

/* Called by name, as scripts do: messages have the names of functions. Here objects with metamethods say what was done to them. */
/* clang-format off */
static void test_calls_by_chance(void **state)
{
    run(
        "math.randomseed(11)\n"
        "local R = math.random\n"
        "local function pick(t) return t[R(#t)] end\n"
        "local function str(from, most) local t = {} for i = 1, R(0, most) do t[i] = pick(from) end return table.concat(t) end\n"
        "local function show(v)\n"
        "  if type(v) == 'number' then return math.type(v) .. tostring(v) end\n"
        "  if type(v) ~= 'table' then return type(v) == 'string' and ('%q'):format(v) or type(v) == 'function' and 'function' or tostring(v) end\n"
        "  if getmetatable(v) then return 'object' end\n"
        "  local out = {} for i = 1, v.n or #v do out[i] = show(v[i]) end\n"
        "  return '{' .. table.concat(out, ',') .. '}'\n"
        "end\n"
        "local function results(ok, first, ...)\n"
        "  if not ok or type(first) ~= 'function' then return show(table.pack(ok, first, ...)) end\n"
        "  local all = {}\n"
        "  for i = 1, 30 do local found = table.pack(pcall(first)) all[i] = show(found) if not found[1] or found[2] == nil then break end end\n"
        "  return table.concat(all)\n"
        "end\n"
        "-- An argument is a value, or { make = function(trace) }: made for each side, and what is done to it is compared too.\n"
        "local calls, good = {}, 0\n"
        "local function check(f, ...)\n"
        "  local args = table.pack(...)\n"
        "  calls[f] = calls[f] or load(('local lib, a, b, c, d, e, n = ... if n == 0 then return lib.F() elseif n == 1 then return lib.F(a) '\n"
        "    .. 'elseif n == 2 then return lib.F(a, b) elseif n == 3 then return lib.F(a, b, c) elseif n == 4 then return lib.F(a, b, c, d) end '\n"
        "    .. 'return lib.F(a, b, c, d, e)'):gsub('F', f), '=c')\n"
        "  local function side(lib)\n"
        "    local trace, t = {}, {}\n"
        "    for i = 1, args.n do local v = args[i] t[i] = type(v) == 'table' and rawget(v, 'make') and v.make(trace) or v end\n"
        "    local got = results(pcall(calls[f], lib, t[1], t[2], t[3], t[4], t[5], args.n))\n"
        "    for i = -2, 9 do got = got .. ' ' .. (type(t[1]) == 'table' and type(rawget(t[1], i)) or '') end\n"
        "    return got:gsub(\"#1 to 'remove' %(pos\", \"#2 to 'remove' (pos\") .. table.concat(trace, ' ') -- 5.4.4 says the wrong number\n"
        "  end\n"
        "  local a, b = side(real), side(own)\n"
        "  if a:find '^{true' then good = good + 1 end\n"
        "  if a ~= b then error(f .. show(args) .. ': Lua gives ' .. a .. ', ours gives ' .. b, 0) end\n"
        "end\n"
        "local pieces = { 'a', 'b', '.', '.*', '.-', '+', '-', '?', '*', '^', '$', '(', ')', '()', '[ab]', '[^a]', '[]]', '[^]', '[a-b]', '[%a_]', '[%', '[a', '%a',\n"
        "  '%A', '%d', '%s*', '%1', '%2', '%0', '%b', '%b()', '%bab', '%f', '%f[a]', '%f[%A]', '%f[^a]', '%f[\\0]', '%', '(a', '(.-)', '(a*)', '\\0', '[\\0a]', '%z',\n"
        "  '%Z', '\\xff', '%w+', '%%', '[%]]', '[a-%a]', '[-a]', '[a-]', '%g', '%p', '[^%s]+' }\n"
        "local letters = { 'a', 'b', 'a', '(', ')', '1', '\\0', ' ', '\\xff', '%', ']', '-', 'A', '_' }\n"
        "local ints = { 0, 1, 2, 3, -1, -2, -3, 5, 100, -100, math.maxinteger, math.mininteger, math.maxinteger - 1, 2^53, 1.0, '2', 'x', 1.5, 0/0 }\n"
        "local replacements = { '', 'x', '%0', '<%1>', '%2', '%%', '%', '%a', '%9', 'a\\0b', '%1%1', '%1%0%%', 5, 1.5, true, function(a, b) return b end,\n"
        "  function() end, function() return {} end, function() return 7 end, function() error 'x' end, { a = 'A', b = false }, { a = {} }, { 'one', 'two' },\n"
        "  setmetatable({}, { __index = function(_, k) return tostring(k) .. '!' end }), setmetatable({}, { __index = function() error 'index' end }) }\n"
        "for i = 1, 1500 do\n"
        "  local s, p = str(letters, 9), str(pieces, 6)\n"
        "  local init = R(3) == 1 and pick(ints) or nil\n"
        "  check('find', s, p, init) check('find', s, p, init, true) check('find', s, str(letters, 3), init, true)\n"
        "  check('match', s, p, init) check('gmatch', s, p, init) check('gsub', s, p, pick(replacements), R(3) == 1 and pick(ints) or nil)\n"
        "  if i % 20 == 0 then\n"
        "    check(pick { 'find', 'match', 'gmatch', 'gsub' }, pick { s, 5, 1.5, {}, true }, pick { p, 7, {}, false }, pick { 'x', 1, {}, true }, pick(ints))\n"
        "    check('rep', pick { '', 'a', 5, {} }, pick { 0, -1, 3, '2', math.mininteger, 1.5, 'x' }, pick { '', ',', 5, {} })\n"
        "    check('format', pick { '%d', '%s', '%q', '%', '%y', '%c', '%a', '%100d', '%-5s|', 5 }, pick { 1, 'x', 1.5, {}, true, 0/0, '10' }, pick { 1, 'x' })\n"
        "  end\n"
        "end\n"
        "local function list()\n"
        "  local n, kind, same, bits = R(0, 6), R(6), R(2) == 1, R(1 << 30)\n"
        "  local length = pick { 0, 1, 2, 3, -1, 5, 'x', 1.0, '2', 2.5, math.maxinteger, math.maxinteger - 1, math.mininteger }\n"
        "  return { make = function(trace)\n"
        "    local t = {}\n"
        "    for i = 1, n do t[i] = kind == 1 and 's' .. (bits >> i & 7) or kind == 2 and i % 3 == 0 and {} or bits >> i & 7 end\n"
        "    if kind < 5 then return t end\n"
        "    local function saw(what) trace[#trace + 1] = what if #trace > 300 then error 'endless' end end\n"
        "    return setmetatable({}, { __index = function(_, k) saw('r' .. k) return t[k] end, __len = function() saw 'l' return kind == 5 and n or length end,\n"
        "      __newindex = function(_, k, v) saw('w' .. k .. type(v)) t[k] = v end, __eq = function() saw 'e' return same end })\n"
        "  end }\n"
        "end\n"
        "local near, far = { 0, 1, 2, 3, -1, 4, 5, 6, '2', 'x', 1.5, {} }, { 0, 1, 2, 3, -1, '2', 1.5, math.maxinteger, math.mininteger, math.maxinteger - 1, math.mininteger + 1 }\n"
        "for i = 1, 1500 do\n"
        "  check('insert', list(), R(3) == 1 and 'v' or pick(near), 'v') check('insert', list(), 'v')\n"
        "  check('remove', list(), R(3) > 1 and pick(near) or nil) check('remove', list())\n"
        "  check('concat', list(), pick { '', ',', 5, '\\0' }, pick(near), pick(near)) check('concat', list(), ',')\n"
        "  check('unpack', list(), R(2) == 1 and pick(far) or nil, R(2) == 1 and pick(far) or nil)\n"
        "  check('move', list(), pick(near), pick(near), pick(far), R(2) == 1 and list() or nil)\n"
        "  local from = pick(far) check('move', list(), from, math.type(from) == 'integer' and from + R(5) - 2 or 3, pick(far))\n"
        "  check('sort', list()) check('sort', list(), pick { function(a, b) return a > b end, function() return true end, 5, {}, 'x', function() error 'x' end })\n"
        "  if i % 30 == 0 then check('insert', list()) check('insert', list(), 1, 2, 3) check(pick { 'insert', 'remove', 'concat', 'sort', 'move' }, pick { 5, 'abc', print }, 1, 1, 1) check 'insert' end\n"
        "end\n"
        "assert(good > 9000, good)\n");
}
/* clang-format on */

static void test_sort(void **state)
{
    run("math.randomseed(7)\n"
        "for _, n in ipairs { 0, 1, 2, 10, 1000, 60000 } do\n"
        "  local t = {} for i = 1, n do t[i] = math.random(n) end\n"
        "  own.sort(t) for i = 2, n do assert(t[i - 1] <= t[i]) end\n"
        "end\n"
        "local t = setmetatable({}, { __len = function() return 3 end, __index = { 3, 1, 2 } })\n"
        "own.sort(t) assert(t[1] == 1 and t[2] == 2 and t[3] == 3)\n"
        "local long = {} for i = 1, 40 do long[i] = ('x'):rep(100000) .. math.random(1000) end\n"
        "own.sort(long) for i = 2, 40 do assert(long[i - 1] <= long[i]) end\n"
        "local ok, why = pcall(own.sort, { 1, 'a', 2 }) assert(not ok and why:find 'attempt to compare', why)\n"
        "ok, why = pcall(own.sort, long, function() return true end) assert(not ok and why:find 'invalid order function', why)");
}

static void test_bounds(void **state)
{
    run("assert(own.rep('', math.maxinteger) == '' and own.rep('', math.maxinteger, '') == '' and own.dump == nil)\n"
        "local big = ('x'):rep(1 << 20)\n"
        "assert(own.format('%.1s', big) == 'x')\n"
        "for _, s in ipairs { ('ab'):rep(40), ('ab'):rep(40) .. 'ac', ('a'):rep(16) .. 'c', ('a'):rep(17) .. 'c' } do\n"
        "  for at = 1, 20 do same('find', s, 'ac', at, true) same('find', s, 'aac', -at, true) end\n"
        "end\n"
        "local many = {} for i = 1, 65 do many[i] = big end\n"
        "local ok, why = pcall(own.format, ('%.1s'):rep(65), table.unpack(many))\n"
        "assert(not ok and why:find 'more than 64 MiB', why)\n"
        "ok, why = pcall(own.format, '%q', ('\\0'):rep((1 << 20) + 1)) assert(not ok and why:find 'more than 1 MiB', why)\n"
        "ok, why = pcall(own.format, ('%d'):rep(4097), table.unpack({}, 1, 4097)) "
        "assert(not ok and why:find 'more than 4096 values', why)\n"
        "ok, why = pcall(own.packsize, (' '):rep((64 << 10) + 1)) assert(not ok and why:find 'format too long', why)\n"
        "same('packsize', 'i4') same('packsize', 'i99') same('packsize', (' '):rep(64 << 10))\n"
        "same('rep', 'ab', 1 << 62) same('rep', 'ab', math.maxinteger, 'c') same('rep', 'x', 20000) same('rep', 'abc', 7000, ', ')");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_patterns), cmocka_unit_test(test_patterns_by_chance),
                                              cmocka_unit_test(test_arguments), cmocka_unit_test(test_calls_by_chance),
                                              cmocka_unit_test(test_sort), cmocka_unit_test(test_bounds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
