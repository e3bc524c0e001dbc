/* json_decode.c - JSON text to Lua values.
 *
 * A recursive descent parser, bounded by JSON_DEPTH_MAX. It owns nothing: what is half built lies on the Lua stack, so a raise
 * for want of memory leaks nothing. Members wait on the stack in batches and the table is made for their number, because a table
 * that grows one by one is built several times over.
 */
#include "script/json.h"

#include "base/err.h"
#include "base/slice.h"
#include "base/utf8.h"
#include "script/json_scan.h"
#include "script/number.h"
#include <assert.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

/* What one level puts on the stack fits the 40 slots that a coroutine begins with: otherwise that of each handler that waits for
 * something would stay twice as large. */
enum { LIST_BATCH = 24, OBJECT_BATCH = LIST_BATCH / 2, STACK_PER_LEVEL = LIST_BATCH + 8, WHY_MAX = 120 };

static _Thread_local char why_text[WHY_MAX]; /* the sentence of the last failure */

struct parser {
    lua_State *L;
    const char *start, *at, *end; /* the text, and the next byte of it */
    int mark;                     /* stack index of the array mark */
    int depth;                    /* lists and objects open */
    const char *problem;          /* literal text of the first failure, NULL so far; `at` is its place */
};

static bool parse_value(struct parser *p);

static bool fail(struct parser *p, const char *problem)
{
    if (p->problem == NULL)
        p->problem = problem;
    return false;
}

static inline int peek(const struct parser *p)
{
    return p->at < p->end ? (unsigned char)*p->at : -1;
}

static inline void skip_blanks(struct parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
}

static bool take_word(struct parser *p, struct slice word)
{
    if ((size_t)(p->end - p->at) < word.len || memcmp(p->at, word.data, word.len) != 0)
        return fail(p, "a value was expected");
    p->at += word.len;
    return true;
}

/* ---- numbers ---- */

static bool skip_digits(struct parser *p)
{
    const char *first = p->at;

    while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
        p->at++;
    return p->at > first || fail(p, "a digit was expected");
}

/* The fraction and the exponent, when there are any. */
static bool skip_fraction(struct parser *p, bool *is_float)
{
    *is_float = false;
    if (peek(p) == '.') {
        *is_float = true;
        p->at++;
        if (!skip_digits(p))
            return false;
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        *is_float = true;
        p->at++;
        if (peek(p) == '+' || peek(p) == '-')
            p->at++;
        if (!skip_digits(p))
            return false;
    }
    return true;
}

/* Digits as a 64-bit integer; false when they do not fit. */
static bool to_integer(const char *digit, const char *end, bool negative, lua_Integer *out)
{
    uint64_t value = 0, limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;

    for (; digit < end; digit++) {
        uint64_t d = (uint64_t)(*digit - '0');
        if (value > (limit - d) / 10)
            return false;
        value = value * 10 + d;
    }
    *out = (lua_Integer)(negative ? 0 - value : value);
    return true;
}

static bool parse_number(struct parser *p)
{
    const char *first = p->at;
    bool negative = *first == '-', is_float = false;
    lua_Integer whole;
    double real;

    p->at += negative;
    const char *digits = p->at;
    if (peek(p) == '0')
        p->at++; /* nothing may follow a leading zero but a point or an exponent */
    else if (!skip_digits(p))
        return false;
    const char *digits_end = p->at;
    if (!skip_fraction(p, &is_float))
        return false;
    if (!is_float && to_integer(digits, digits_end, negative, &whole)) {
        lua_pushinteger(p->L, whole);
        return true;
    }
    if (!number_parse((struct slice){first, (size_t)(p->at - first)}, &real))
        return fail(p, "the number is too large");
    lua_pushnumber(p->L, real);
    return true;
}

/* ---- strings ---- */

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits; negative when they are none. */
static long take_hex4(struct parser *p)
{
    long value = 0;

    if (p->end - p->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value((unsigned char)p->at[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    p->at += 4;
    return value;
}

static void add_utf8(luaL_Buffer *b, unsigned long code)
{
    char out[4];
    size_t n = 0;

    if (code < 0x80) {
        out[n++] = (char)code;
    } else if (code < 0x800) {
        out[n++] = (char)(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        out[n++] = (char)(0xe0 | code >> 12);
        out[n++] = (char)(0x80 | (code >> 6 & 0x3f));
    } else {
        out[n++] = (char)(0xf0 | code >> 18);
        out[n++] = (char)(0x80 | (code >> 12 & 0x3f));
        out[n++] = (char)(0x80 | (code >> 6 & 0x3f));
    }
    if (code >= 0x80)
        out[n++] = (char)(0x80 | (code & 0x3f));
    luaL_addlstring(b, out, n);
}

/* Behind \u. Two escapes together stand for a code point above U+FFFF; half of such a pair stands for nothing. */
static bool parse_unicode(struct parser *p, luaL_Buffer *b)
{
    long code = take_hex4(p);

    if (code < 0)
        return fail(p, "four hex digits were expected");
    if (code >= 0xdc00 && code <= 0xdfff)
        return fail(p, "half of a surrogate pair");
    if (code >= 0xd800 && code <= 0xdbff) {
        if (p->end - p->at < 2 || p->at[0] != '\\' || p->at[1] != 'u')
            return fail(p, "half of a surrogate pair");
        p->at += 2;
        long low = take_hex4(p);
        if (low < 0xdc00 || low > 0xdfff)
            return fail(p, "half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    add_utf8(b, (unsigned long)code);
    return true;
}

static bool parse_escape(struct parser *p, luaL_Buffer *b)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int c = peek(p);
    const char *found = c > 0 ? strchr(from, c) : NULL;

    if (c == 'u') {
        p->at++;
        return parse_unicode(p, b);
    }
    if (found == NULL)
        return fail(p, "not an escape that JSON knows");
    p->at++;
    luaL_addchar(b, to[found - from]);
    return true;
}

/* A string with escapes, behind its plain beginning. Not inlined: its buffer would be part of every level's frame. */
static __attribute__((noinline)) bool parse_escaped(struct parser *p, const char *first)
{
    luaL_Buffer b;

    luaL_buffinit(p->L, &b);
    for (;;) {
        const char *run = json_scan_plain(p->at, p->end);
        luaL_addlstring(&b, first, (size_t)(run - first));
        p->at = run;
        if (peek(p) == '"') {
            p->at++;
            luaL_pushresult(&b);
            return true;
        }
        if (peek(p) != '\\') {
            fail(p, p->at < p->end ? "a control character in a string" : "the string has no end");
            break;
        }
        p->at++;
        if (!parse_escape(p, &b))
            break;
        first = p->at;
    }
    /* A long buffer lies on the stack as a variable to be closed, and lua_settop of Lua 5.4.4 must not come across one: where closing
     * moves the stack, it goes on with the old one. */
    luaL_pushresult(&b);
    return false;
}

static bool parse_string(struct parser *p)
{
    const char *first = ++p->at;

    p->at = json_scan_plain(first, p->end);
    if (peek(p) != '"')
        return parse_escaped(p, first);
    lua_pushlstring(p->L, first, (size_t)(p->at - first));
    p->at++;
    return true;
}

/* ---- lists and objects ---- */

/* One level deeper; leaves a nil where the table will be (stack: +1) and room for a batch above it. */
static bool enter(struct parser *p)
{
    if (++p->depth > JSON_DEPTH_MAX)
        return fail(p, "nested too deep");
    luaL_checkstack(p->L, STACK_PER_LEVEL, "JSON");
    lua_pushnil(p->L);
    p->at++;
    skip_blanks(p);
    return true;
}

/* Move the `count` values on top into the list at `base`, as items done+1 and on. */
static void flush_list(lua_State *L, int base, int count, lua_Integer done)
{
    if (done == 0) {
        lua_createtable(L, count, 0);
        lua_replace(L, base);
    }
    for (int i = count; i > 0; i--)
        lua_rawseti(L, base, done + i);
}

/* Move the `count` pairs on top into the object at `base`, in their order: the last of equal keys wins. */
static void flush_object(lua_State *L, int base, int count, bool first)
{
    int pair = base + 1;

    if (first) {
        lua_createtable(L, 0, count);
        lua_replace(L, base);
    }
    for (int i = 0; i < count; i++, pair += 2) {
        lua_pushvalue(L, pair);
        lua_pushvalue(L, pair + 1);
        lua_rawset(L, base);
    }
    lua_settop(L, base);
}

/* Behind an element: true to go on with the next one, false at the end or on a failure. */
static inline bool take_comma(struct parser *p, char close, const char *problem)
{
    skip_blanks(p);
    if (peek(p) == ',') {
        p->at++;
        skip_blanks(p);
        return true;
    }
    if (peek(p) == close) {
        p->at++;
        return false;
    }
    return fail(p, problem);
}

static bool parse_list(struct parser *p)
{
    lua_State *L = p->L;
    lua_Integer done = 0;
    int count = 0;

    if (!enter(p))
        return false;
    int base = lua_gettop(L);
    if (peek(p) == ']') {
        p->at++;
    } else {
        do {
            if (!parse_value(p))
                return false;
            if (++count == LIST_BATCH) {
                flush_list(L, base, count, done);
                done += count;
                count = 0;
            }
        } while (take_comma(p, ']', "a comma or ] was expected"));
        if (p->problem != NULL)
            return false;
    }
    if (count > 0 || done == 0)
        flush_list(L, base, count, done);
    lua_pushvalue(L, p->mark);
    lua_setmetatable(L, base);
    p->depth--;
    return true;
}

/* "name": value, as two stack slots; null as nil, which makes the member absent. */
static bool parse_member(struct parser *p)
{
    if (peek(p) != '"')
        return fail(p, "a name in quotes was expected");
    if (!parse_string(p))
        return false;
    skip_blanks(p);
    if (peek(p) != ':')
        return fail(p, "a colon was expected");
    p->at++;
    skip_blanks(p);
    if (peek(p) == 'n') {
        lua_pushnil(p->L);
        return take_word(p, SLICE("null"));
    }
    return parse_value(p);
}

static bool parse_object(struct parser *p)
{
    lua_State *L = p->L;
    bool first = true;
    int count = 0;

    if (!enter(p))
        return false;
    int base = lua_gettop(L);
    if (peek(p) == '}') {
        p->at++;
    } else {
        do {
            if (!parse_member(p))
                return false;
            if (++count == OBJECT_BATCH) {
                flush_object(L, base, count, first);
                first = false;
                count = 0;
            }
        } while (take_comma(p, '}', "a comma or } was expected"));
        if (p->problem != NULL)
            return false;
    }
    if (count > 0 || first)
        flush_object(L, base, count, first);
    p->depth--;
    return true;
}

/* One value, at its first byte (stack: +1). */
static bool parse_value(struct parser *p)
{
    switch (peek(p)) {
    case '{':
        return parse_object(p);
    case '[':
        return parse_list(p);
    case '"':
        return parse_string(p);
    case 't':
        lua_pushboolean(p->L, 1);
        return take_word(p, SLICE("true"));
    case 'f':
        lua_pushboolean(p->L, 0);
        return take_word(p, SLICE("false"));
    case 'n':
        json_push_null(p->L);
        return take_word(p, SLICE("null"));
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return parse_number(p);
    case -1:
        return fail(p, "the text ends too early");
    default:
        return fail(p, "a value was expected");
    }
}

/* Whole text is UTF-8? Else `at` is its first wrong byte. */
static bool check_utf8(struct parser *p)
{
    uint32_t state = UTF8_ACCEPT;

    if (utf8_valid(p->start, (size_t)(p->end - p->start)))
        return true;
    for (; p->at < p->end; p->at++) {
        state = utf8_feed(state, p->at, 1);
        if (state == UTF8_REJECT)
            break;
    }
    return fail(p, "not UTF-8");
}

static bool parse_text(struct parser *p)
{
    if (!check_utf8(p))
        return false;
    skip_blanks(p);
    if (!parse_value(p))
        return false;
    skip_blanks(p);
    return p->at == p->end || fail(p, "something behind the value");
}

int json_decode(lua_State *L, const char *text, size_t len, const char **why)
{
    luaL_checkstack(L, 8, "JSON");
    json_push_mark(L);
    int top = lua_gettop(L);
    struct parser p = {L, text, text, text + len, top, 0, NULL};

    if (!parse_text(&p)) {
        assert(p.problem != NULL);
        snprintf(why_text, sizeof(why_text), "not valid JSON at byte %zu: %s", (size_t)(p.at - p.start) + 1, p.problem);
        *why = why_text;
        lua_settop(L, top - 1);
        return MT_EJSON;
    }
    assert(lua_gettop(L) == top + 1);
    lua_remove(L, top);
    return 0;
}
