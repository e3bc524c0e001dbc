/* test_script_sandbox.c - what scripts have, name by name, with each setting of sandbox.allow; and that nothing else can be
 * reached from there: through tables, metatables, upvalues. */
#include "fake_script.h"

#include "script/state.h"
#include "script/vm.h"
#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

#define ALWAYS                                                                                                                   \
    "_VERSION assert collectgarbage coroutine.close coroutine.create coroutine.isyieldable coroutine.resume coroutine.running "  \
    "coroutine.status coroutine.wrap coroutine.yield error getmetatable ipairs load math.abs math.acos math.asin math.atan "     \
    "math.ceil math.cos math.deg math.exp math.floor math.fmod math.huge math.log math.max math.maxinteger math.min "            \
    "math.mininteger math.modf math.pi math.rad math.random math.randomseed math.sin math.sqrt math.tan math.tointeger "         \
    "math.type math.ult next pairs pcall print rawequal rawget rawlen rawset require select setmetatable string.byte "           \
    "string.char string.find string.format string.gmatch string.gsub string.len string.lower string.match string.pack "          \
    "string.packsize string.rep string.reverse string.sub string.unpack string.upper table.concat table.insert table.move "      \
    "table.pack table.remove table.sort table.unpack tonumber tostring type utf8.char utf8.charpattern utf8.codepoint "          \
    "utf8.codes utf8.len utf8.offset xpcall os.clock os.date os.difftime os.time debug.traceback package.loaded"
#define IO                                                                                                                       \
    " io.close io.flush io.input io.lines io.open io.output io.read io.stderr io.stdin io.stdout io.tmpfile io.type io.write"
#define OS " os.getenv os.remove os.rename os.tmpname"
#define PROCESS " io.popen os.execute"
#define PACKAGE " package.config package.cpath package.loadlib package.path package.searchpath"
#define DEBUG                                                                                                                    \
    " debug.debug debug.gethook debug.getinfo debug.getlocal debug.getmetatable debug.getregistry debug.getupvalue "             \
    "debug.getuservalue debug.setcstacklimit debug.sethook debug.setlocal debug.setmetatable debug.setupvalue "                  \
    "debug.setuservalue debug.upvalueid debug.upvaluejoin"

/* Loads a script that compares its globals with the names. */
static void expect_names(struct fake *f, const char *const *allow, const char *names)
{
    char text[8192];

    f->config.sandbox_allow = allow;
    snprintf(text, sizeof(text),
             "local expected, found = {}, {}\n"
             "for name in ('%s'):gmatch '%%S+' do expected[name] = true end\n"
             "for k, v in pairs(_G) do\n"
             "  if k == '_G' then assert(v == _G)\n"
             "  elseif type(v) == 'table' then assert(package.loaded[k] == v, k) for n in pairs(v) do found[k .. '.' .. n] = "
             "true end\n"
             "  else found[k] = true end\n"
             "end\n"
             "for k in pairs(package.loaded) do assert(k == 'moontide' or _G[k] == package.loaded[k], k) end\n"
             "for _, k in ipairs { 'cosh', 'sinh', 'tanh', 'pow', 'frexp', 'ldexp', 'log10', 'atan2' } do found['math.' .. k] = "
             "nil end\n" /* as
                   Lua
                   was
                   built
                 */
             "for k in pairs(found) do assert(expected[k], 'is there, but should not be: ' .. k) end\n"
             "for k in pairs(expected) do assert(found[k], 'is not there: ' .. k) end\n"
             "assert(('').dump == nil and getmetatable '' == false and (not io or not io.stdout or getmetatable(io.stdout) == "
             "false))\n"
             "for _, name in ipairs { 'io', 'os', 'debug', 'package', 'ffi', 'socket', 'posix' } do\n"
             "  local ok, module = pcall(require, name) assert(not ok or module == _G[name], name)\n"
             "end\n"
             "return {}",
             names);
    fake_load(f, text);
}

/* Real functions that can be reached from the globals of the live version and are in none of the openings: walks tables,
 * metatables, upvalues and what userdata hold. Upvalues are further than scripts come without debug. */
static const char walker[] =
    "local env, libraries, allowed = ...\n"
    "local debug, names, seen, found = libraries.debug, {}, {}, {}\n"
    "local harmless = { ['os.clock'] = 1, ['os.date'] = 1, ['os.difftime'] = 1, ['os.time'] = 1, ['debug.traceback'] = 1 }\n"
    "for _, l in ipairs { 'io', 'os', 'debug', 'package' } do\n"
    "  for k, v in pairs(libraries[l]) do if type(v) == 'function' and not harmless[l .. '.' .. k] then names[v] = l .. '.' .. k "
    "end end\n"
    "end\n"
    "for _, k in ipairs { 'dofile', 'loadfile', 'load', 'pcall', 'xpcall', 'setmetatable', 'collectgarbage', 'require' } do\n"
    "  names[libraries._G[k]] = k\n"
    "end\n"
    "for _, k in ipairs { 'resume', 'wrap', 'close', 'yield' } do names[libraries.coroutine[k]] = 'coroutine.' .. k end\n"
    "local function walk(v, path)\n"
    "  local kind = type(v)\n"
    "  if kind == 'string' then v = '' end\n"
    "  if v == nil or seen[v] or kind == 'number' or kind == 'boolean' then return end\n"
    "  seen[v] = true\n"
    "  if names[v] and not allowed:find(names[v], 1, true) then found[#found + 1] = path .. ' is ' .. names[v] end\n"
    "  if kind == 'table' then for k, x in next, v do walk(k, path .. '.key') walk(x, path .. '.' .. tostring(k)) end end\n"
    "  walk(debug.getmetatable(v), path .. '.metatable')\n"
    "  if kind == 'function' then for i = 1, 60 do local n, x = debug.getupvalue(v, i) if not n then break end walk(x, path .. "
    "'.upvalue') end end\n"
    "  if kind == 'userdata' then for i = 1, 9 do walk((debug.getuservalue(v, i)), path .. '.uservalue') end end\n"
    "end\n"
    "walk(env, '_G')\n"
    "return table.concat(found, ', ')";

static void expect_no_way_out(struct fake *f, const char *allowed)
{
    static const char *const names[] = {"_G", "io", "os", "debug", "package", "coroutine", NULL};
    lua_State *L = f->script->L;

    assert_int_equal(luaL_loadstring(L, walker), LUA_OK);
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->script->live->env_ref);
    lua_newtable(L);
    for (const char *const *name = names; *name; name++) {
        vm_push_library(L, *name);
        lua_setfield(L, -2, *name);
    }
    lua_pushstring(L, allowed);
    if (lua_pcall(L, 3, 1, 0) != LUA_OK || lua_rawlen(L, -1) > 0)
        fail_msg("%s", lua_tostring(L, -1));
    lua_pop(L, 1);
}

static void check(struct fake *f, const char *name, const char *names)
{
    const char *const allow[] = {name, NULL};

    expect_names(f, allow, names);
    expect_no_way_out(f, names);
    fake_unload(f);
    f->config.sandbox_allow = NULL;
}

static void test_names(void **state)
{
    check(*state, NULL, ALWAYS);
    check(*state, "io", ALWAYS IO);
    check(*state, "os", ALWAYS OS);
    check(*state, "process", ALWAYS PROCESS);
    check(*state, "package", ALWAYS PACKAGE);
    check(*state, "debug", ALWAYS DEBUG);
}

static void test_all(void **state)
{
    static const char *const allow[] = {"io", "os", "process", "debug", "package", NULL};

    expect_names(*state, allow, ALWAYS IO OS PROCESS PACKAGE DEBUG);
    ((struct fake *)*state)->config.sandbox_allow = NULL;
}

/* What one version does to its libraries is not there in the next one, nor in the core. */
static void test_nothing_is_shared(void **state)
{
    struct fake *f = *state;
    static const char *const allow[] = {"io", "os", NULL};

    f->config.sandbox_allow = allow;
    fake_load(f, "for _, l in pairs(package.loaded) do if type(l) == 'table' and l ~= _G and l ~= package.loaded then\n"
                 "  for k in pairs(l) do pcall(rawset, l, k, nil) end l.mine = 1 end end\n"
                 "local g, set = _G, rawset for k in pairs(g) do set(g, k, nil) end set(g, 'mine', 1)\n"
                 "return { on_message = function(conn, text) conn:send(('x'):rep(2) .. text) end }");
    fake_text(f, fake_open(f, "/"), "y");
    fake_expect(f->sessions[0], "xxy\n");
    assert_int_equal(
        fake_reload(
            f, "assert(not mine and not string.mine and not io.mine and not tide.mine and not package.loaded.mine)\n"
               "assert(string.rep and io.open and os.time and table.sort and tide.spawn and tide.json.encode and tide.log.info)\n"
               "return {}"),
        0);
    f->config.sandbox_allow = NULL;
}

static void test_no_bytecode(void **state)
{
    fake_load(*state,
              "local code = '\\27Lua\\x54\\0\\x19\\x93\\r\\n\\x1a\\n'\n"
              "for _, mode in ipairs { 'b', 't', 'bt', 'tb', '', 'x' } do assert(load(code, 'x', mode) == nil, mode) end\n"
              "assert(load(code) == nil and load(function() local c = code code = nil return c end) == nil)\n"
              "local done local f = load(function() if not done then done = true return '\\27Lua' end end) assert(f == nil)\n"
              "return {}");
    fake_write(*state, "binary.lua", "\033Lua");
    fake_load_fails(*state, "require 'binary'");
    assert_non_null(strstr(((struct fake *)*state)->error, "compiled chunks are not loaded"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {TEST(test_names), TEST(test_all), TEST(test_nothing_is_shared),
                                              TEST(test_no_bytecode)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
