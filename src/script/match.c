/* match.c - see match.h. Backtracking, as the manual describes it: each item of the pattern is tried at a place of the subject,
 * and the rest of the pattern behind it. What loops counts its steps.
 */
#include "script/match.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

enum { DEPTH_MAX = 200, OPEN = -1, POSITION = -2, STEP = 4 };

static unsigned char byte_at(const char *p)
{
    return (unsigned char)*p;
}

/* ---- one character ---- */

/* Behind the single character, class or set that begins at p. */
static const char *item_end(struct match *m, const char *p)
{
    const char *start = p;

    if (*p == '%') {
        if (p + 1 == m->pattern_end)
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 2;
    }
    if (*p++ != '[')
        return p;
    if (*p == '^')
        p++;
    do { /* a ] at the beginning stands for itself */
        if (p >= m->pattern_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%' && p < m->pattern_end)
            p++;
    } while (p >= m->pattern_end || *p != ']');
    meter_step(m->L, &m->meter, (size_t)(p - start));
    return p + 1;
}

static bool is_in_class(int c, int letter)
{
    bool in;

    switch (tolower(letter)) {
    case 'a':
        in = isalpha(c);
        break;
    case 'c':
        in = iscntrl(c);
        break;
    case 'd':
        in = isdigit(c);
        break;
    case 'g':
        in = isgraph(c);
        break;
    case 'l':
        in = islower(c);
        break;
    case 'p':
        in = ispunct(c);
        break;
    case 's':
        in = isspace(c);
        break;
    case 'u':
        in = isupper(c);
        break;
    case 'w':
        in = isalnum(c);
        break;
    case 'x':
        in = isxdigit(c);
        break;
    case 'z': /* not in the manual any more, and still there */
        in = c == '\0';
        break;
    default:
        return letter == c;
    }
    return isupper(letter) ? !in : in;
}

/* p is at the [, last at the ]. */
static bool is_in_set(int c, const char *p, const char *last)
{
    bool found = true;

    if (p[1] == '^') {
        found = false;
        p++;
    }
    while (++p < last) {
        if (*p == '%') {
            if (is_in_class(c, byte_at(++p)))
                return found;
        } else if (p[1] == '-' && p + 2 < last) {
            if (byte_at(p) <= c && c <= byte_at(p + 2))
                return found;
            p += 2;
        } else if (byte_at(p) == c) {
            return found;
        }
    }
    return !found;
}

/* Whether the item [p, ep) takes the character at s. */
static bool takes(struct match *m, const char *s, const char *p, const char *ep)
{
    int c;

    if (s >= m->end)
        return false;
    c = byte_at(s);
    switch (*p) {
    case '.':
        return true;
    case '%':
        return is_in_class(c, byte_at(p + 1));
    case '[':
        meter_step(m->L, &m->meter, (size_t)(ep - p));
        return is_in_set(c, p, ep - 1);
    default:
        return byte_at(p) == c;
    }
}

/* ---- repetitions ---- */

/* `*`, and `+` behind its first: as many as there are, then fewer. */
static const char *most_first(struct match *m, const char *s, const char *p, const char *ep)
{
    const char *at = s, *e;

    for (; takes(m, at, p, ep); at++)
        meter_step(m->L, &m->meter, 1);
    while ((e = match_at(m, at, ep + 1)) == NULL && at > s)
        at--;
    return e;
}

/* `-` */
static const char *fewest_first(struct match *m, const char *s, const char *p, const char *ep)
{
    for (;; s++) {
        const char *e = match_at(m, s, ep + 1);

        if (e)
            return e;
        if (!takes(m, s, p, ep))
            return NULL;
    }
}

/* ---- captures ---- */

static const char *begin_capture(struct match *m, const char *s, const char *p, ptrdiff_t kind)
{
    const char *e;

    if (m->count >= MATCH_CAPTURES_MAX)
        luaL_error(m->L, "too many captures");
    m->captures[m->count].start = s;
    m->captures[m->count].len = kind;
    m->count++;
    e = match_at(m, s, p);
    if (!e)
        m->count--;
    return e;
}

static const char *end_capture(struct match *m, const char *s, const char *p)
{
    int i = m->count - 1;
    const char *e;

    while (i >= 0 && m->captures[i].len != OPEN)
        i--;
    if (i < 0)
        luaL_error(m->L, "invalid pattern capture");
    m->captures[i].len = s - m->captures[i].start;
    e = match_at(m, s, p);
    if (!e)
        m->captures[i].len = OPEN;
    return e;
}

/* %1 to %9: the same text again. Behind it, or NULL. */
static const char *same_again(struct match *m, const char *s, int digit)
{
    int i = digit - '1';
    size_t len;

    if (i < 0 || i >= m->count || m->captures[i].len == OPEN)
        luaL_error(m->L, "invalid capture index %%%d", i + 1);
    len = (size_t)m->captures[i].len; /* of a position: too large for any subject */
    if ((size_t)(m->end - s) < len)
        return NULL;
    meter_step(m->L, &m->meter, len);
    return memcmp(m->captures[i].start, s, len) == 0 ? s + len : NULL;
}

/* ---- %b and %f ---- */

static const char *balanced(struct match *m, const char *s, const char *p)
{
    size_t open = 1;
    char first = p[0], last;

    if (p + 1 >= m->pattern_end)
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    last = p[1];
    if (s >= m->end || *s != first)
        return NULL;
    while (++s < m->end) {
        meter_step(m->L, &m->meter, 1);
        if (*s == last) {
            if (--open == 0)
                return s + 1;
        } else if (*s == first) {
            open++;
        }
    }
    return NULL;
}

/* p is at the set. Behind it when s is a border of that set, else NULL. */
static const char *at_border(struct match *m, const char *s, const char *p)
{
    const char *ep;
    int before = s == m->subject ? '\0' : byte_at(s - 1);

    if (*p != '[')
        luaL_error(m->L, "missing '[' after '%%f' in pattern");
    ep = item_end(m, p);
    meter_step(m->L, &m->meter, (size_t)(ep - p));
    return !is_in_set(before, p, ep - 1) && is_in_set(byte_at(s), p, ep - 1) ? ep : NULL; /* at the end of the subject: NUL */
}

/* What is written with %: 1 after a step of *s and *p, 0 when it does not match, -1 when it is a class of characters. */
static int special(struct match *m, const char **s, const char **p)
{
    const char *after = NULL;

    switch ((*p)[1]) {
    case 'b':
        after = balanced(m, *s, *p + 2);
        *p += 4;
        break;
    case 'f':
        *p = at_border(m, *s, *p + 2);
        return *p != NULL;
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
        after = same_again(m, *s, (*p)[1]);
        *p += 2;
        break;
    default:
        return -1;
    }
    *s = after;
    return after != NULL;
}

/* ---- the whole pattern ---- */

/* A character with its suffix. True with *s and *p behind what is settled; false with the result of the whole in *e. */
static bool step(struct match *m, const char **s, const char **p, const char **e)
{
    const char *ep = item_end(m, *p);
    char suffix = ep < m->pattern_end ? *ep : '\0';
    bool takes_one = takes(m, *s, *p, ep);

    *e = NULL;
    if (!takes_one) { /* none is enough for these */
        *p = ep + 1;
        return suffix == '*' || suffix == '?' || suffix == '-';
    }
    switch (suffix) {
    case '?':
        *e = match_at(m, *s + 1, ep + 1);
        *p = ep + 1;
        return *e == NULL;
    case '+':
        *e = most_first(m, *s + 1, *p, ep);
        return false;
    case '*':
        *e = most_first(m, *s, *p, ep);
        return false;
    case '-':
        *e = fewest_first(m, *s, *p, ep);
        return false;
    default:
        ++*s;
        *p = ep;
        return true;
    }
}

static const char *match_rest(struct match *m, const char *s, const char *p)
{
    const char *e = NULL;
    int took;

    while (p < m->pattern_end) {
        meter_step(m->L, &m->meter, STEP);
        switch (*p) {
        case '(':
            return p[1] == ')' ? begin_capture(m, s, p + 2, POSITION) : begin_capture(m, s, p + 1, OPEN);
        case ')':
            return end_capture(m, s, p + 1);
        case '$':
            if (p + 1 == m->pattern_end)
                return s == m->end ? s : NULL;
            break;
        case '%':
            took = special(m, &s, &p);
            if (took == 0)
                return NULL;
            if (took > 0)
                continue;
            break;
        }
        if (!step(m, &s, &p, &e))
            return e;
    }
    return s;
}

const char *match_at(struct match *m, const char *s, const char *p)
{
    const char *e;

    if (++m->depth > DEPTH_MAX)
        luaL_error(m->L, "pattern too complex");
    e = match_rest(m, s, p);
    m->depth--;
    return e;
}

/* ---- what was captured ---- */

bool match_capture(struct match *m, int index, const char *s, const char *e, struct slice *text)
{
    *text = (struct slice){s, (size_t)(e - s)};
    if (index >= m->count && index > 0)
        luaL_error(m->L, "invalid capture index %%%d", index + 1);
    if (index >= m->count)
        return true;
    if (m->captures[index].len == OPEN)
        luaL_error(m->L, "unfinished capture");
    *text = (struct slice){m->captures[index].start, (size_t)m->captures[index].len};
    return m->captures[index].len != POSITION;
}

void match_push_capture(struct match *m, int index, const char *s, const char *e)
{
    struct slice text;

    if (match_capture(m, index, s, e, &text))
        lua_pushlstring(m->L, text.data, text.len);
    else
        lua_pushinteger(m->L, text.data - m->subject + 1);
}

int match_push_captures(struct match *m, const char *s, const char *e, bool whole)
{
    int n = m->count == 0 && whole ? 1 : m->count;

    luaL_checkstack(m->L, n, "too many captures");
    for (int i = 0; i < n; i++)
        match_push_capture(m, i, s, e);
    return n;
}
