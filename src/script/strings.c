/* strings.c - see strings.h. What these do is in the reference manual, sections 6.4 and 6.9. */
#include "script/strings.h"

#include "script/match.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

/* ---- find, match ---- */

/* What is captured stays as it is: writing zeros there takes longer than most matches. */
static void match_begin(struct match *m, lua_State *L, struct slice subject, struct slice pattern)
{
    m->L = L;
    m->subject = subject.data;
    m->end = subject.data + subject.len;
    m->pattern_end = pattern.data + pattern.len;
    m->meter = (struct meter){0};
    match_again(m);
}

/* A start as scripts give it, from 1 or backwards from -1, as an offset; past the end: len + 1. */
static size_t start_offset(lua_Integer at, size_t len)
{
    if (at > 0)
        return (size_t)at - 1 <= len ? (size_t)at - 1 : len + 1;
    return at == 0 || at < -(lua_Integer)len ? 0 : len + (size_t)at;
}

static bool is_plain(const char *p, size_t len)
{
    for (size_t at = 0; at <= len; at += strlen(p + at) + 1)
        if (strpbrk(p + at, "^$*+?.([%-"))
            return false;
    return true;
}

/* As memmem, which takes linear time; a few tries by the first byte are several times as fast as that where they are enough. */
static const char *find_text(const char *s, const char *end, const char *p, size_t plen)
{
    enum { TRIES = 16 };

    if (plen == 0)
        return s;
    for (int tries = 0; tries < TRIES; tries++, s++) {
        s = memchr(s, *p, (size_t)(end - s));
        if (!s || (size_t)(end - s) < plen)
            return NULL;
        if (memcmp(s, p, plen) == 0)
            return s;
    }
    return memmem(s, (size_t)(end - s), p, plen);
}

static int find_plain(lua_State *L, const char *s, size_t len, size_t from, const char *p, size_t plen)
{
    const char *found = find_text(s + from, s + len, p, plen);

    if (!found)
        return 0;
    lua_pushinteger(L, found - s + 1);
    lua_pushinteger(L, found - s + (lua_Integer)plen);
    return 2;
}

static int find_pattern(lua_State *L, const char *s, size_t len, size_t from, const char *p, size_t plen, bool find)
{
    struct match m;
    bool anchored = *p == '^';
    const char *e;

    match_begin(&m, L, (struct slice){s, len}, (struct slice){p, plen});
    for (const char *at = s + from; at <= m.end; at++) {
        match_again(&m);
        e = match_at(&m, at, p + anchored);
        if (e && find) {
            lua_pushinteger(L, at - s + 1);
            lua_pushinteger(L, e - s);
            return match_push_captures(&m, at, e, false) + 2;
        }
        if (e)
            return match_push_captures(&m, at, e, true);
        if (anchored)
            break;
    }
    return 0;
}

static int find_or_match(lua_State *L, bool find)
{
    size_t len, plen, from;
    const char *s = luaL_checklstring(L, 1, &len), *p = luaL_checklstring(L, 2, &plen);
    int n = 0;

    from = start_offset(luaL_optinteger(L, 3, 1), len);
    if (from <= len && find && (lua_toboolean(L, 4) || is_plain(p, plen)))
        n = find_plain(L, s, len, from, p, plen);
    else if (from <= len)
        n = find_pattern(L, s, len, from, p, plen, find);
    if (n == 0) {
        lua_pushnil(L);
        n = 1;
    }
    return n;
}

static int l_find(lua_State *L)
{
    return find_or_match(L, true);
}

static int l_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* ---- gmatch ---- */

/* Between two turns of the loop; the strings are upvalues beside it. */
struct matches {
    const char *at;   /* where the search goes on */
    const char *last; /* end of the last match: an empty one is not found there again */
};

/* Upvalues: subject, pattern, struct matches. */
static int l_next_match(lua_State *L)
{
    size_t len, plen;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &len), *p = lua_tolstring(L, lua_upvalueindex(2), &plen);
    struct matches *state = lua_touserdata(L, lua_upvalueindex(3));
    struct match m;

    match_begin(&m, L, (struct slice){s, len}, (struct slice){p, plen});
    for (; state->at <= m.end; state->at++) {
        const char *at = state->at, *e;

        match_again(&m);
        if ((e = match_at(&m, at, p)) != NULL && e != state->last) {
            state->at = state->last = e;
            return match_push_captures(&m, at, e, true);
        }
    }
    return 0;
}

static int l_gmatch(lua_State *L)
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    size_t from;
    struct matches *state;

    luaL_checkstring(L, 2);
    from = start_offset(luaL_optinteger(L, 3, 1), len);
    lua_settop(L, 2);
    state = lua_newuserdatauv(L, sizeof(*state), 0);
    *state = (struct matches){s + from, NULL};
    lua_pushcclosure(L, l_next_match, 3);
    return 1;
}

/* ---- gsub ---- */

/* Places on the stack of string.gsub. */
enum { AT_SUBJECT = 1, AT_PATTERN = 2, AT_REPLACEMENT = 3, AT_MOST = 4 };

static void add_capture(struct match *m, luaL_Buffer *b, int index, const char *s, const char *e)
{
    struct slice text;

    if (match_capture(m, index, s, e, &text)) {
        luaL_addlstring(b, text.data, text.len);
    } else { /* a position */
        match_push_capture(m, index, s, e);
        luaL_addvalue(b);
    }
}

/* Adds the replacement text for the match [s, e), with its %0 to %9. */
static void add_text(struct match *m, luaL_Buffer *b, const char *s, const char *e)
{
    lua_State *L = m->L;
    size_t len;
    const char *text = lua_tolstring(L, AT_REPLACEMENT, &len), *end = text + len, *mark;

    meter_step(L, &m->meter, len);
    for (; (mark = memchr(text, '%', (size_t)(end - text))) != NULL; text = mark + 2) {
        luaL_addlstring(b, text, (size_t)(mark - text));
        if (mark[1] == '%') {
            luaL_addchar(b, '%');
        } else if (mark[1] == '0') {
            luaL_addlstring(b, s, (size_t)(e - s));
        } else if (isdigit((unsigned char)mark[1])) {
            add_capture(m, b, mark[1] - '1', s, e);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
    }
    luaL_addlstring(b, text, (size_t)(end - text));
}

/* Adds what stands in the place of the match [s, e). False when that is the match itself. */
static bool add_replacement(struct match *m, luaL_Buffer *b, const char *s, const char *e, int type)
{
    lua_State *L = m->L;

    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, AT_REPLACEMENT);
        lua_call(L, match_push_captures(m, s, e, true), 1);
    } else if (type == LUA_TTABLE) {
        match_push_capture(m, 0, s, e);
        lua_gettable(L, AT_REPLACEMENT);
    } else {
        add_text(m, b, s, e);
        return true;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, s, (size_t)(e - s));
        return false;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
    return true;
}

/* Adds the subject to b with its matches replaced. *changed: whether anything is different then; if not, b may lack its end. Returns
 * how many matches. */
static lua_Integer replace(struct match *m, luaL_Buffer *b, const char *p, lua_Integer most, bool *changed)
{
    int type = lua_type(m->L, AT_REPLACEMENT);
    bool anchored = *p == '^';
    const char *s = m->subject, *last = NULL, *e;
    lua_Integer n = 0;

    while (n < most) {
        match_again(m);
        e = match_at(m, s, p + anchored);
        if (e && e != last) {
            n++;
            *changed = add_replacement(m, b, s, e, type) || *changed;
            s = last = e;
        } else if (s < m->end) {
            luaL_addchar(b, *s++);
        } else {
            break;
        }
        if (anchored)
            break;
    }
    if (*changed)
        luaL_addlstring(b, s, (size_t)(m->end - s));
    return n;
}

static int l_gsub(lua_State *L)
{
    size_t len, plen;
    const char *s = luaL_checklstring(L, AT_SUBJECT, &len), *p = luaL_checklstring(L, AT_PATTERN, &plen);
    int type = lua_type(L, AT_REPLACEMENT);
    lua_Integer most = luaL_optinteger(L, AT_MOST, (lua_Integer)len + 1), n;
    bool changed = false;
    struct match m;
    luaL_Buffer b;

    match_begin(&m, L, (struct slice){s, len}, (struct slice){p, plen});
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, AT_REPLACEMENT,
                     "string/function/table");
    lua_settop(L, AT_MOST);
    luaL_buffinit(L, &b);
    n = replace(&m, &b, p, most, &changed);
    if (changed)
        luaL_pushresult(&b);
    else
        lua_pushvalue(L, AT_SUBJECT);
    lua_pushinteger(L, n);
    return 2;
}

/* ---- rep: the library cannot be interrupted, and writes nothing n times where there is nothing to write ---- */

static void fill(lua_State *L, char *out, struct slice text, struct slice between, size_t n)
{
    struct meter meter = {0};

    for (; n > 0; n--) {
        meter_step(L, &meter, text.len + between.len);
        memcpy(out, text.data, text.len);
        out += text.len;
        if (n == 1)
            return;
        memcpy(out, between.data, between.len);
        out += between.len;
    }
}

static int l_rep(lua_State *L)
{
    struct slice text, between;
    lua_Integer n;
    luaL_Buffer b;
    size_t size;

    text.data = luaL_checklstring(L, 1, &text.len);
    n = luaL_checkinteger(L, 2);
    between.data = luaL_optlstring(L, 3, "", &between.len);
    if (n <= 0 || text.len + between.len == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if (text.len + between.len > (size_t)LUA_MAXINTEGER / (size_t)n)
        return luaL_error(L, "resulting string too large");
    size = (size_t)n * text.len + (size_t)(n - 1) * between.len;
    fill(L, luaL_buffinitsize(L, &b, size), text, between, (size_t)n);
    luaL_pushresultsize(&b, size);
    return 1;
}

/* ---- functions of the library that are fine within bounds: it is called in the same frame. Upvalue: the function ---- */

static int call_library(lua_State *L)
{
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* For %.1s the library measures all of the text, however often it is given; for %q it prints what is not text byte by byte; and a
 * number of many digits takes microseconds. */
static int l_format(lua_State *L)
{
    int most = lua_type(L, 1) == LUA_TSTRING && strstr(lua_tostring(L, 1), "%q") ? STRINGS_QUOTED_MAX : STRINGS_FORMAT_MAX;
    size_t sum = 0;

    if (lua_gettop(L) > STRINGS_FORMAT_VALUES + 1)
        return luaL_error(L, "string.format: more than %d values", STRINGS_FORMAT_VALUES);
    for (int i = lua_gettop(L); i > 0; i--)
        if (lua_type(L, i) == LUA_TSTRING)
            sum += lua_rawlen(L, i);
    if (sum > (size_t)most)
        return luaL_error(L, "string.format: more than %d MiB of text", most >> 20);
    return call_library(L);
}

static int l_pack(lua_State *L)
{
    size_t len;

    luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, len <= STRINGS_PACK_MAX, 1, "format too long");
    return call_library(L);
}

static int l_date(lua_State *L)
{
    size_t len;

    luaL_optlstring(L, 1, "", &len);
    luaL_argcheck(L, len <= STRINGS_DATE_MAX, 1, "format too long");
    return call_library(L);
}

static const luaL_Reg own[] = {{"find", l_find}, {"match", l_match}, {"gmatch", l_gmatch}, {"gsub", l_gsub}, {"rep", l_rep}, {NULL, NULL}};

static void bound_field(lua_State *L, const char *name, lua_CFunction bounded)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, bounded, 1);
    lua_setfield(L, -2, name);
}

void strings_bound(lua_State *L)
{
    luaL_setfuncs(L, own, 0);
    bound_field(L, "format", l_format);
    bound_field(L, "pack", l_pack);
    bound_field(L, "packsize", l_pack);
    bound_field(L, "unpack", l_pack);
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
}

void strings_bound_os(lua_State *L)
{
    bound_field(L, "date", l_date);
}
