/* store_call.c - strings are kept as they are, whatever bytes they have; integers as integers, so that incr works; all else as
 * JSON text. Each get gives a copy.
 */
#include "script/store_call.h"

#include "script/json.h"
#include "store/memory.h"
#include <lauxlib.h>
#include <stdio.h>

/* ---- handles and keys ---- */

const struct store_handle store_root = {.durable = true, .len = 2};

bool store_waits(lua_State *L, const struct store_handle *h)
{
    return h->durable && script_of(L)->config.services.durable;
}

struct slice store_prefix(lua_State *L, const struct store_handle *h)
{
    size_t skip = h->durable && !script_of(L)->config.services.durable ? 0 : 1;

    return (struct slice){h->prefix + skip, h->len - skip};
}

struct slice store_full_key(lua_State *L, const struct store_handle *h, struct slice key, struct store_key *out)
{
    struct slice prefix = store_prefix(L, h);

    memcpy(out->bytes, prefix.data, prefix.len);
    memcpy(out->bytes + prefix.len, key.data, key.len);
    out->len = prefix.len + key.len;
    return (struct slice){out->bytes, out->len};
}

void store_check_wait(lua_State *L, const struct store_handle *h)
{
    if (h->durable)
        task_check_wait(L);
}

/* ---- values ---- */

int store_read_value(lua_State *L, int index, const char *function, struct store_value *out)
{
    struct buf *scratch = &script_of(L)->scratch;
    const char *why;

    *out = (struct store_value){STORE_BYTES, 0, {NULL, 0}};
    if (lua_type(L, index) == LUA_TSTRING) {
        out->data.data = lua_tolstring(L, index, &out->data.len);
    } else if (lua_isinteger(L, index)) {
        out->kind = STORE_INTEGER;
        out->integer = lua_tointeger(L, index);
    } else {
        out->kind = STORE_JSON;
        scratch->len = 0;
        int err = json_encode_as(L, index, "value", scratch, &why);
        if (err == MT_ETOO_LARGE)
            return err;
        if (err != 0)
            luaL_error(L, "%s: %s", function, why);
        out->data = buf_slice(scratch);
    }
    return out->data.len <= STORE_VALUE_MAX ? 0 : MT_ETOO_LARGE;
}

int store_push_value(lua_State *L, const struct store_value *v)
{
    const char *why;

    if (v->kind == STORE_NOTHING)
        lua_pushnil(L);
    else if (v->kind == STORE_INTEGER)
        lua_pushinteger(L, v->integer);
    else if (v->kind == STORE_BYTES)
        lua_pushlstring(L, v->data.data, v->data.len);
    else if (json_decode(L, v->data.data, v->data.len, &why) !=
             0) /* the store holds what json_encode wrote, if nobody else did */
        return script_push_failure(L, lua_pushfstring(L, "what is stored is damaged: %s", why), err_name(MT_EMALFORMED));
    return 1;
}

int store_push_failure(lua_State *L, const struct store_handle *h, const struct store_request *r)
{
    const char *text = err_text(r->code);

    if (r->why[0])
        text = r->why;
    else if (r->code == MT_EINVALID && r->op == STORE_INCR)
        text = "not an integer, or the sum would not be one";
    else if (r->code == MT_ETOO_LARGE)
        text = "a value of more than 1 MiB";
    else if (r->code == MT_EFULL && !store_waits(L, h))
        text = "the stores in memory are full";
    else if (r->code == MT_EBUSY)
        text = "others change this key all the time";
    return script_push_failure(L, text, err_name(r->code));
}

static int push_results(lua_State *L, const struct store_handle *h, const struct store_request *r)
{
    if (r->code != 0)
        return store_push_failure(L, h, r);
    if (r->op == STORE_GET || r->op == STORE_INCR)
        return store_push_value(L, &r->answer);
    lua_pushboolean(L, r->op == STORE_DELETE ? r->found : true);
    return 1;
}

/* ---- errands ---- */

/* Copies the bytes of *s to *at and lets it point there. */
static void move_slice(struct slice *s, char **at)
{
    if (s->len > 0)
        memcpy(*at, s->data, s->len);
    s->data = *at;
    *at += s->len;
}

static void came_back(struct letter *l, bool delivered)
{
    struct store_errand *e = list_entry(l, struct store_errand, request.letter);

    e->errand.code = e->request.code;
    errand_done(&e->errand);
}

void store_errand_destroy(struct errand *e)
{
    buf_fini(&((struct store_errand *)e)->request.bytes);
}

struct store_errand *store_errand_push(lua_State *L, const struct store_request *draft, const struct errand_ops *ops)
{
    size_t bytes = draft->key.len + draft->after.len + draft->value.data.len + draft->expected.data.len;
    struct store_errand *e = errand_push(L, sizeof(*e) + bytes, ops);
    char *at = e->bytes;

    e->request = *draft;
    e->request.inbox = script_of(L)->inbox;
    e->request.letter.open = came_back;
    move_slice(&e->request.key, &at);
    move_slice(&e->request.after, &at);
    move_slice(&e->request.value.data, &at);
    move_slice(&e->request.expected.data, &at);
    return e;
}

int store_errand_wait(lua_State *L, struct store_errand *e)
{
    errand_start(task_check_wait(L), &e->errand);
    int rc = store_send(script_of(L)->config.services.durable, &e->request);
    if (rc != 0) {
        e->request.code = rc;
        snprintf(e->request.why, sizeof(e->request.why), "%s",
                 rc == MT_EBUSY ? "too many calls wait for the store" : err_text(rc));
        errand_refuse(&e->errand, rc);
    }
    return errand_wait(L, &e->errand, -1);
}

/* ---- calls ---- */

static int finish_call(lua_State *L, struct errand *e, int code)
{
    return push_results(L, store_handle_at(L, 1), &((struct store_errand *)e)->request);
}

/* What is read goes into the script's scratch buffer. */
static void run_in_memory(lua_State *L, struct store_request *r)
{
    struct buf *scratch = &script_of(L)->scratch;

    if (r->op != STORE_GET) { /* which writes from there, maybe */
        memory_store_run(script_of(L)->memory, r);
        return;
    }
    buf_clear(scratch);
    r->bytes = *scratch;
    memory_store_run(script_of(L)->memory, r);
    *scratch = r->bytes;
}

bool store_call_now(lua_State *L, const struct store_handle *h, struct store_request *r)
{
    struct buf *scratch = &script_of(L)->scratch;

    if (!store_waits(L, h)) {
        run_in_memory(L, r);
        return true;
    }
    if (r->op != STORE_GET)
        return false;
    buf_clear(scratch);
    return store_peek(script_of(L)->config.services.durable, r->key, &r->answer, scratch);
}

int store_call(lua_State *L, const struct store_handle *h, struct store_request *draft)
{
    static const struct errand_ops ops = {finish_call, NULL, store_errand_destroy};

    if (!store_call_now(L, h, draft))
        return store_errand_wait(L, store_errand_push(L, draft, &ops));
    return push_results(L, h, draft);
}
