/* store_scan.c - store:scan: iterators over keys in the order of their bytes.
 *
 * In memory the keys are those that were there at the call, each looked up anew. A durable store is read page by page, each as it
 * was at one moment; the next begins behind the last key, so that no key comes twice. Tasks that share an iterator may ask for
 * the same page: the first answer is taken, and a task that is cancelled while it waits costs the others nothing.
 */
#include "script/store_call.h"

#include "store/memory.h"
#include <lauxlib.h>

enum { PAGE_ROWS = 128 };

/* ---- in memory ---- */

/* The keys that were there; one userdata, so that Lua frees it whenever the loop ends. */
struct memory_scan {
    size_t at, len; /* place and number of bytes in keys */
    size_t prefix;  /* bytes of the store's prefix */
    char keys[];    /* uint32_t length and the full key, repeatedly */
};

/* The iterator. Upvalues: the store, its struct memory_scan. Keys that are gone by now are left out. */
static int l_memory_next(lua_State *L)
{
    const struct store_handle *h = store_handle_at(L, lua_upvalueindex(1));
    struct memory_scan *scan = lua_touserdata(L, lua_upvalueindex(2));
    uint32_t len;

    while (scan->at < scan->len) {
        memcpy(&len, scan->keys + scan->at, sizeof(len));
        struct store_request r = {.op = STORE_GET, .key = {scan->keys + scan->at + sizeof(len), len}};
        scan->at += sizeof(len) + len;
        store_call_now(L, h, &r);
        if (r.code != 0)
            return luaL_error(L, "store:scan: %s", err_text(r.code));
        if (r.answer.kind == STORE_NOTHING)
            continue;
        lua_pushlstring(L, r.key.data + scan->prefix, len - scan->prefix);
        return 1 + store_push_value(L, &r.answer);
    }
    lua_pushnil(L);
    return 1;
}

static int scan_memory(lua_State *L, const struct store_handle *h, struct slice prefix, size_t limit)
{
    struct buf *scratch = &script_of(L)->scratch;
    struct store_key full;
    size_t count;

    buf_clear(scratch);
    int err = memory_store_scan(script_of(L)->memory, store_full_key(L, h, prefix, &full), limit, scratch, &count);
    if (err != 0)
        return luaL_error(L, "store:scan: %s", err_text(err));
    struct memory_scan *scan = lua_newuserdatauv(L, sizeof(*scan) + scratch->len, 0);
    *scan = (struct memory_scan){.len = scratch->len, .prefix = store_prefix(L, h).len};
    if (scan->len > 0)
        memcpy(scan->keys, scratch->data, scan->len);
    lua_pushcclosure(L, l_memory_next, 2);
    return 1;
}

/* ---- durable ---- */

struct scan {
    size_t left;            /* rows that may still be asked for */
    size_t at;              /* place in the page */
    size_t prefix;          /* bytes of the store's prefix */
    struct store_key key;   /* with which the keys begin */
    struct store_key after; /* the last key of the page; empty before the first */
    bool more;              /* there may be a page behind this one */
    int pages;              /* that have come */
};

/* The iterator's upvalues: the store, its struct scan, the page as a string. */
enum { UP_SCAN = 2, UP_PAGE };

static struct slice page_of(lua_State *L)
{
    struct slice page;

    page.data = lua_tolstring(L, lua_upvalueindex(UP_PAGE), &page.len);
    return page;
}

/* The row at the scan's place in the page, and its place behind it. */
static struct slice take_row(struct scan *scan, struct slice page, struct store_row *row)
{
    struct slice bytes = {page.data + scan->at + sizeof(*row), 0};

    memcpy(row, page.data + scan->at, sizeof(*row));
    bytes.len = row->key + row->data;
    scan->at += sizeof(*row) + bytes.len;
    return bytes;
}

static int push_row(lua_State *L, struct scan *scan)
{
    struct store_row row;
    struct slice bytes = take_row(scan, page_of(L), &row);
    struct store_value value = {row.kind, row.integer, {bytes.data + row.key, row.data}};

    memcpy(scan->after.bytes, bytes.data, row.key);
    scan->after.len = row.key;
    scan->left--;
    lua_pushlstring(L, bytes.data + scan->prefix, row.key - scan->prefix);
    if (store_push_value(L, &value) != 1)
        return luaL_error(L, "store:scan: %s", lua_tostring(L, -2));
    return 2;
}

static int push_end(lua_State *L)
{
    lua_pushnil(L);
    return 1;
}

static int l_scan_next(lua_State *L);

/* No loop can look at a second result: what fails is raised. */
static int finish_page(lua_State *L, struct errand *errand, int code)
{
    const struct store_errand *e = (struct store_errand *)errand;
    const struct store_request *r = &e->request;
    struct scan *scan = lua_touserdata(L, lua_upvalueindex(UP_SCAN));

    if (r->code != 0) {
        store_push_failure(L, store_handle_at(L, lua_upvalueindex(1)), r);
        return luaL_error(L, "store:scan: %s", lua_tostring(L, -2));
    }
    if (e->tries != scan->pages)
        return l_scan_next(L); /* another task has it already */
    lua_pushlstring(L, (const char *)r->bytes.data, r->bytes.len);
    lua_replace(L, lua_upvalueindex(UP_PAGE));
    scan->at = 0;
    scan->pages++;
    scan->more = r->found && r->rows > 0;
    return r->rows > 0 ? push_row(L, scan) : push_end(L);
}

static int l_scan_next(lua_State *L)
{
    static const struct errand_ops ops = {finish_page, NULL, store_errand_destroy};
    struct scan *scan = lua_touserdata(L, lua_upvalueindex(UP_SCAN));

    if (scan->at < page_of(L).len)
        return push_row(L, scan);
    if (!scan->more || scan->left == 0)
        return push_end(L);
    struct store_request r = {.op = STORE_SCAN,
                              .key = {scan->key.bytes, scan->key.len},
                              .after = {scan->after.bytes, scan->after.len},
                              .limit = scan->left < PAGE_ROWS ? scan->left : PAGE_ROWS};
    task_check_wait(L);
    struct store_errand *e = store_errand_push(L, &r, &ops);
    e->tries = scan->pages;
    return store_errand_wait(L, e);
}

static int scan_durable(lua_State *L, const struct store_handle *h, struct slice prefix, size_t limit)
{
    struct scan *scan = lua_newuserdatauv(L, sizeof(*scan), 0);

    *scan = (struct scan){.left = limit, .prefix = store_prefix(L, h).len, .more = true};
    store_full_key(L, h, prefix, &scan->key);
    lua_pushliteral(L, "");
    lua_pushcclosure(L, l_scan_next, 3);
    return 1;
}

int store_scan(lua_State *L, const struct store_handle *h, struct slice prefix, size_t limit)
{
    lua_pushvalue(L, 1);
    return store_waits(L, h) ? scan_durable(L, h, prefix, limit) : scan_memory(L, h, prefix, limit);
}
