/* walk.c - sets of addresses, paths as scripts write them, numbers that stand for fields. */
#include "script/walk.h"

#include "base/err.h"
#include "base/mem.h"

#include <string.h>

enum {
    SET_MIN = 256,
    NAME_MAX_BYTES = 40, /* of a key that is written as a name */
    WHOLE_MAX = 16,      /* bytes of another key, or of a name with digits, that is shown whole */
    CUT = 4,             /* bytes that are shown of a longer one: it may be a token of a client, and paths get into the log */
};

/* ---- addresses ---- */

struct walk_slot {
    const void *ptr; /* NULL: free */
    uint64_t value;
};

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The slot of an address, or the free one where it belongs. The table is never full. */
static struct walk_slot *slot_for(const struct walk_set *set, const void *ptr)
{
    size_t at = mix((uintptr_t)ptr) & (set->cap - 1);

    while (set->slots[at].ptr && set->slots[at].ptr != ptr)
        at = (at + 1) & (set->cap - 1);
    return &set->slots[at];
}

static int grow(struct walk_set *set)
{
    struct walk_set larger = {NULL, set->count, set->cap ? set->cap * 2 : SET_MIN};

    larger.slots = mem_zalloc(larger.cap, sizeof(*larger.slots));
    if (!larger.slots)
        return MT_ENOMEM;
    for (size_t i = 0; i < set->cap; i++)
        if (set->slots[i].ptr)
            *slot_for(&larger, set->slots[i].ptr) = set->slots[i];
    mem_free(set->slots);
    *set = larger;
    return 0;
}

void walk_set_fini(struct walk_set *set)
{
    mem_free(set->slots);
    *set = (struct walk_set){NULL, 0, 0};
}

int walk_set_add(struct walk_set *set, const void *ptr, uint64_t value)
{
    struct walk_slot *slot;

    if (set->count * 4 >= set->cap * 3 && grow(set) != 0)
        return MT_ENOMEM;
    slot = slot_for(set, ptr);
    if (slot->ptr)
        return 0;
    *slot = (struct walk_slot){ptr, value};
    set->count++;
    return 1;
}

uint64_t *walk_set_find(const struct walk_set *set, const void *ptr)
{
    struct walk_slot *slot = set->cap ? slot_for(set, ptr) : NULL;

    return slot && slot->ptr ? &slot->value : NULL;
}

/* ---- paths ---- */

static bool is_name(const char *text, size_t len)
{
    bool digits = false;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool digit = c >= '0' && c <= '9';

        if (!(c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (i > 0 && digit)))
            return false;
        digits = digits || digit;
    }
    return len > 0 && len <= (digits ? WHOLE_MAX : NAME_MAX_BYTES);
}

static int add_text_key(struct buf *out, lua_State *L, int index)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);

    if (is_name(text, len))
        return buf_addf(out, ".%s", text);
    return buf_addf(out, "[\"%.*s%s\"]", len > WHOLE_MAX ? CUT : (int)len, text, len > WHOLE_MAX ? "..." : "");
}

static int add_key(struct buf *out, lua_State *L, int index)
{
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        return add_text_key(out, L, index);
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            return buf_addf(out, "[%lld]", (long long)lua_tointeger(L, index));
        return buf_addf(out, "[%.14g]", lua_tonumber(L, index));
    case LUA_TBOOLEAN:
        return buf_add_text(out, lua_toboolean(L, index) ? "[true]" : "[false]");
    default:
        return buf_addf(out, "[%s]", lua_typename(L, lua_type(L, index)));
    }
}

int walk_add_path(struct buf *out, lua_State *L, const struct walk_step *step)
{
    int rc = step && step->up ? walk_add_path(out, L, step->up) : 0;

    return rc == 0 && step ? add_key(out, L, step->key) : rc;
}

/* ---- fields as numbers ---- */

static uint64_t hash_text(const char *text, size_t len)
{
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    return hash ^ len;
}

static uint64_t hash_value(lua_State *L, int index)
{
    lua_Number number;
    uint64_t bits = 0;
    const char *text;
    size_t len;

    switch (lua_type(L, index)) {
    case LUA_TNIL:
        return 1;
    case LUA_TBOOLEAN:
        return lua_toboolean(L, index) ? 2 : 3;
    case LUA_TNUMBER:
        number = lua_tonumber(L, index);
        memcpy(&bits, &number, sizeof(bits));
        return lua_isinteger(L, index) ? (uint64_t)lua_tointeger(L, index) * 2 + 1 : bits;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        return hash_text(text, len);
    default:
        return (uintptr_t)lua_topointer(L, index);
    }
}

uint64_t walk_hash_field(lua_State *L, int key, int value)
{
    return mix(mix(hash_value(L, key) + (uint64_t)lua_type(L, key)) + hash_value(L, value) + (uint64_t)lua_type(L, value));
}
