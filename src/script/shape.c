/* shape.c - compiles shapes.
 *
 * The userdata comes first and owns every block that is taken afterwards, so that the author's mistakes may raise anywhere.
 */
#include "script/shape.h"

#include "base/mem.h"
#include "base/text.h"
#include "script/meter.h"
#include "script/path.h"
#include "script/shape_node.h"
#include "script/state.h"
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

enum { RANGE_TEXT_MAX = 40 };

struct shape_block {
    struct shape_block *next;
    max_align_t data[];
};

struct compiler {
    lua_State *L;
    struct shape *shape;
    int values;       /* stack index of the table that keeps Lua values */
    int value_count;  /* values in it */
    const char *what; /* beginning of every message */
    int depth;
    struct meter meter;
};

static const char *const kind_names[] = {"any",    "boolean", "integer",
                                         "number", "string",  NULL}; /* in the order of enum shape_kind */
static const char by_value_key = 0, by_text_key = 0;                 /* their addresses key the caches in the registry */

static struct shape_node *compile_node(struct compiler *c, int index, const struct path *path);

/* ---- help ---- */

/* Raises "what.field: message". */
static int refuse(struct compiler *c, const struct path *path, const char *message)
{
    char place[PATH_TEXT_MAX];

    path_print(path, place);
    return luaL_error(c->L, "%s: %s", place, message);
}

static void *take_memory(struct compiler *c, size_t count, size_t size)
{
    struct shape_block *block = mem_zalloc(1, sizeof(*block) + count * size);

    if (block == NULL)
        luaL_error(c->L, "%s: out of memory", c->what);
    block->next = c->shape->blocks;
    c->shape->blocks = block;
    return block->data;
}

static char *take_text(struct compiler *c, const char *text, size_t len)
{
    char *copy = take_memory(c, len + 1, 1);

    memcpy(copy, text, len);
    return copy;
}

/* The value on top of the stack into the table of Lua values; its place there. */
static int take_value(struct compiler *c)
{
    lua_rawseti(c->L, c->values, ++c->value_count);
    return c->value_count;
}

static struct shape_node *take_node(struct compiler *c, enum shape_kind kind, const char *text)
{
    struct shape_node *node = take_memory(c, 1, sizeof(*node));

    node->kind = kind;
    node->text = text;
    node->min = LUA_MININTEGER;
    node->max = LUA_MAXINTEGER;
    node->number_min = -HUGE_VAL;
    node->number_max = HUGE_VAL;
    return node;
}

/* ---- texts: "string? 1..64" ---- */

/* One end of a range, pushed as a number; `otherwise` when it was left out. */
static lua_Number read_bound(struct compiler *c, const struct path *path, struct slice text, struct shape_node *node,
                             lua_Number otherwise, lua_Integer *whole)
{
    char copy[RANGE_TEXT_MAX] = "";

    text = slice_trim(text);
    if (text.len == 0)
        return otherwise;
    if (text.len < sizeof(copy))
        memcpy(copy, text.data, text.len);
    if (lua_stringtonumber(c->L, copy) != text.len + 1)
        refuse(c, path, lua_pushfstring(c->L, "'%s': the range is not like 1..64", node->text));
    if (node->kind != SHAPE_NUMBER && !lua_isinteger(c->L, -1))
        refuse(c, path, lua_pushfstring(c->L, "'%s': the range needs whole numbers", node->text));
    if (node->kind != SHAPE_NUMBER)
        *whole = lua_tointeger(c->L, -1);
    lua_Number value = lua_tonumber(c->L, -1);
    lua_pop(c->L, 1);
    return value;
}

/* "1..64", "1..", "..64" or "64". */
static void read_range(struct compiler *c, const struct path *path, struct slice range, struct shape_node *node)
{
    const char *dots = NULL;

    for (size_t i = 0; i + 1 < range.len && dots == NULL; i++)
        if (range.data[i] == '.' && range.data[i + 1] == '.')
            dots = range.data + i;
    if (node->kind == SHAPE_ANY || node->kind == SHAPE_BOOLEAN)
        refuse(c, path, lua_pushfstring(c->L, "'%s': %s takes no range", node->text, kind_names[node->kind]));
    struct slice low = range, high = range;
    if (dots != NULL) {
        low.len = (size_t)(dots - range.data);
        high = (struct slice){dots + 2, range.len - low.len - 2};
    }
    node->number_min = read_bound(c, path, low, node, -HUGE_VAL, &node->min);
    node->number_max = read_bound(c, path, high, node, HUGE_VAL, &node->max);
    if (node->min > node->max || node->number_min > node->number_max)
        refuse(c, path, lua_pushfstring(c->L, "'%s': nothing is in that range", node->text));
    if (node->kind == SHAPE_STRING && node->max < 0)
        refuse(c, path, lua_pushfstring(c->L, "'%s': no string is that short", node->text));
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static struct shape_node *compile_kind(struct compiler *c, struct slice text, const struct path *path)
{
    struct slice word = text;
    int kind = 0;

    for (word.len = 0; word.len < text.len && is_letter(text.data[word.len]);)
        word.len++;
    while (kind_names[kind] != NULL && !slice_is(word, slice_of(kind_names[kind])))
        kind++;
    if (kind_names[kind] == NULL) {
        const char *near = text_nearest(word, kind_names);
        const char *head = lua_pushfstring(c->L, "unknown shape '%s'", lua_pushlstring(c->L, text.data, text.len));
        if (near != NULL)
            refuse(c, path, lua_pushfstring(c->L, "%s; did you mean %s?", head, near));
        refuse(c, path, lua_pushfstring(c->L, "%s; there are any, boolean, integer, number and string", head));
    }
    struct shape_node *node = take_node(c, (enum shape_kind)kind, take_text(c, text.data, text.len));
    struct slice rest = {text.data + word.len, text.len - word.len};
    if (rest.len > 0 && rest.data[0] == '?') {
        node->optional = true;
        rest = (struct slice){rest.data + 1, rest.len - 1};
    }
    rest = slice_trim(rest);
    if (rest.len > 0)
        read_range(c, path, rest, node);
    return node;
}

/* 'buy'|'sell', with ? at the end when it may be missing. */
static struct shape_node *compile_words(struct compiler *c, struct slice text, const struct path *path)
{
    struct shape_node *node = take_node(c, SHAPE_WORDS, take_text(c, text.data, text.len));
    const char *p = node->text, *end = p + text.len;

    node->words = take_memory(c, text.len / 2 + 1, sizeof(*node->words));
    for (;;) {
        const char *close = *p == '\'' ? memchr(p + 1, '\'', (size_t)(end - p - 1)) : NULL;
        if (close == NULL)
            refuse(c, path, lua_pushfstring(c->L, "%s: words are written like 'buy'|'sell'", node->text));
        node->words[node->count++] = (struct slice){p + 1, (size_t)(close - p - 1)};
        p = close + 1;
        if (p < end && *p == '?') {
            node->optional = true;
            p++;
        }
        if (p == end)
            return node;
        if (*p != '|' || node->optional)
            refuse(c, path, lua_pushfstring(c->L, "%s: words are written like 'buy'|'sell'", node->text));
        p++;
    }
}

static struct shape_node *compile_text(struct compiler *c, int index, const struct path *path)
{
    struct slice text;

    text.data = lua_tolstring(c->L, index, &text.len);
    if (memchr(text.data, '\0', text.len) != NULL)
        refuse(c, path, "a shape with a zero byte");
    text = slice_trim(text);
    return text.len > 0 && text.data[0] == '\'' ? compile_words(c, text, path) : compile_kind(c, text, path);
}

/* ---- tables ---- */

static const char *describe_list(struct compiler *c, const struct shape_node *node)
{
    const char *text = "list";

    if (node->min > 0 && node->max < LUA_MAXINTEGER)
        text = lua_pushfstring(c->L, "list of %I to %I items", (LUAI_UACINT)node->min, (LUAI_UACINT)node->max);
    else if (node->min > 0)
        text = lua_pushfstring(c->L, "list of at least %I items", (LUAI_UACINT)node->min);
    else if (node->max < LUA_MAXINTEGER)
        text = lua_pushfstring(c->L, "list of at most %I items", (LUAI_UACINT)node->max);
    return take_text(c, text, strlen(text));
}

/* min and max beside a list's item; nothing else may stand there. */
static void read_list_key(struct compiler *c, const struct path *path, struct shape_node *node)
{
    lua_State *L = c->L; /* ..., key, value */

    if (lua_isinteger(L, -2) && lua_tointeger(L, -2) == 1)
        return;
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    if (name == NULL || (strcmp(name, "min") != 0 && strcmp(name, "max") != 0))
        refuse(c, path, "a list is { shape, min =, max = } with one shape and nothing else");
    if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 0)
        refuse(c, path, lua_pushfstring(L, "%s of a list is a whole number from 0", name));
    *(strcmp(name, "min") == 0 ? &node->min : &node->max) = lua_tointeger(L, -1);
}

static struct shape_node *compile_list(struct compiler *c, int table, const struct path *path)
{
    lua_State *L = c->L; /* ..., item */
    struct shape_node *node = take_node(c, SHAPE_LIST, "list");
    struct path step = {path, {NULL, 0}, 1};

    node->min = 0;
    node->item = compile_node(c, lua_gettop(L), &step);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        read_list_key(c, path, node);
    if (node->min > node->max)
        refuse(c, path, "a list with min above max");
    node->text = describe_list(c, node);
    return node;
}

static int compare_fields(const void *a, const void *b)
{
    const struct shape_field *x = a, *y = b;
    size_t len = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = memcmp(x->name.data, y->name.data, len);

    return order != 0 ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static void compile_field(struct compiler *c, const struct path *path, struct shape_field *field)
{
    lua_State *L = c->L; /* ..., key, value */
    struct path step = {path, {NULL, 0}, 0};
    size_t len;

    if (lua_type(L, -2) != LUA_TSTRING)
        refuse(c, path, "fields have names: { field = shape }, and a list is { shape }");
    const char *name = lua_tolstring(L, -2, &len);
    step.key = field->name = (struct slice){take_text(c, name, len), len};
    field->node = compile_node(c, lua_gettop(L), &step);
    lua_pushvalue(L, -2);
    field->key = take_value(c);
}

static struct shape_node *compile_object(struct compiler *c, int table, const struct path *path)
{
    lua_State *L = c->L;
    struct shape_node *node = take_node(c, SHAPE_OBJECT, "object");
    size_t count = 0;

    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        count++;
    node->fields = take_memory(c, count, sizeof(*node->fields));
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1))
        compile_field(c, path, &node->fields[node->count++]);
    qsort(node->fields, node->count, sizeof(*node->fields), compare_fields);
    return node;
}

static struct shape_node *compile_table(struct compiler *c, int table, const struct path *path)
{
    lua_State *L = c->L;
    int top = lua_gettop(L);

    if (++c->depth > SHAPE_DEPTH_MAX)
        refuse(c, path, "shapes nested too deep (a table that contains itself?)");
    luaL_checkstack(L, LUA_MINSTACK, "shape");
    struct shape_node *node =
        lua_rawgeti(L, table, 1) != LUA_TNIL ? compile_list(c, table, path) : compile_object(c, table, path);
    lua_settop(L, top);
    c->depth--;
    return node;
}

static struct shape_node *compile_node(struct compiler *c, int index, const struct path *path)
{
    struct shape_node *node = NULL;
    int top = lua_gettop(c->L);

    meter_step(c->L, &c->meter, METER_UNITS / 64); /* microseconds */
    switch (lua_type(c->L, index)) {
    case LUA_TSTRING:
        node = compile_text(c, index, path);
        break;
    case LUA_TTABLE:
        node = compile_table(c, index, path);
        break;
    case LUA_TFUNCTION:
        node = take_node(c, SHAPE_FUNCTION, "value");
        lua_pushvalue(c->L, index);
        node->ref = take_value(c);
        break;
    default:
        refuse(c, path,
               lua_pushfstring(c->L, "a shape is a string, a table or a function, not a %s", luaL_typename(c->L, index)));
    }
    lua_settop(c->L, top);
    return node;
}

/* ---- the userdata ---- */

static int l_shape_gc(lua_State *L)
{
    struct shape *shape = luaL_checkudata(L, 1, SHAPE_TYPE);

    while (shape->blocks != NULL) {
        struct shape_block *block = shape->blocks;
        shape->blocks = block->next;
        mem_free(block);
    }
    shape->root = NULL;
    return 0;
}

void shape_compile(lua_State *L, int index, const char *what)
{
    luaL_checkstack(L, LUA_MINSTACK, "shape");
    index = lua_absindex(L, index);
    struct shape *shape = lua_newuserdatauv(L, sizeof(*shape), 1);
    *shape = (struct shape){NULL, NULL};
    luaL_setmetatable(L, SHAPE_TYPE);
    lua_newtable(L); /* shape, values */
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, -3, 1);
    struct compiler c = {.L = L, .shape = shape, .values = lua_gettop(L), .what = what};
    struct path root = {NULL, {what, strlen(what)}, 0};
    shape->root = compile_node(&c, index, &root);
    lua_pop(L, 1);
}

void shape_compile_cached(lua_State *L, int index, const char *what)
{
    luaL_checkstack(L, LUA_MINSTACK, "shape");
    index = lua_absindex(L, index);
    if (lua_isnoneornil(L, index))
        luaL_error(L, "%s: a shape is a string, a table or a function, not nothing", what);
    lua_rawgetp(L, LUA_REGISTRYINDEX, lua_type(L, index) == LUA_TSTRING ? &by_text_key : &by_value_key); /* cache */
    lua_pushvalue(L, index);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pop(L, 1);
        shape_compile(L, index, what); /* cache, shape */
        lua_pushvalue(L, index);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }
    lua_remove(L, -2);
}

void shape_open(lua_State *L)
{
    luaL_newmetatable(L, SHAPE_TYPE);
    lua_pushcfunction(L, l_shape_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    /* Texts never leave a table with weak keys, so there the shapes are weak. A shape may lead back to the table that it was made
     * from (by a function's upvalues): weak keys let both go. */
    script_push_weak_table(L, "k");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &by_value_key);
    script_push_weak_table(L, "v");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &by_text_key);
}
