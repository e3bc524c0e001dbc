/* request.c - the task's side of a question (hub/ask.h): an errand whose other end is a client.
 *
 * An answer is taken out of what a connection sends before it can wait behind other events, since the handler that waits for it
 * may be one of this very connection. It is decoded twice: here, to see what it is, and by the task that waits, which may live in
 * another worker.
 */
#include "script/request.h"

#include "hub/ask.h"
#include "script/api_help.h"
#include "script/errand.h"
#include "script/json.h"

#include <lauxlib.h>
#include <string.h>

enum { TIMEOUT_MS = 10000 }; /* when the script gives none */

struct request {
    struct errand errand; /* first */
    struct question question;
    struct blob *answer; /* a reference: the client's message; NULL until then */
};

/* ---- the results ---- */

/* The text in member `name` of the message at `index`, or `otherwise`. Numbers are texts here: codes may be either. It lives as
 * long as the value that is left on the stack. */
static const char *get_text(lua_State *L, int index, const char *name, const char *otherwise)
{
    lua_pushstring(L, name);
    lua_rawget(L, index);
    return lua_isstring(L, -1) ? lua_tostring(L, -1) : otherwise;
}

/* {type="error", code=, message=} as nil, message, code. */
static int push_error(lua_State *L, int message)
{
    const char *code = get_text(L, message, "code", "failed"), *text = get_text(L, message, "message", code);

    return script_push_failure(L, text, code);
}

static int finish(lua_State *L, struct errand *e, int code)
{
    const struct blob *answer = ((struct request *)e)->answer;
    const char *why;
    int top = lua_gettop(L);

    if (code == MT_EFULL)
        return script_push_failure(L, "this connection owes too many answers", err_name(code));
    if (code != 0)
        return script_push_result(L, code);
    if (json_decode(L, (const char *)answer->data, answer->len, &why) != 0)
        return script_push_failure(L, why, err_name(MT_EMALFORMED)); /* cannot be: it was read before */
    if (strcmp(get_text(L, top + 1, "type", ""), "error") == 0)
        return push_error(L, top + 1);
    lua_pushliteral(L, "data");
    if (lua_rawget(L, top + 1) == LUA_TNIL)
        lua_pushboolean(L, 1);
    return 1;
}

/* ---- the errand ---- */

static void on_done(struct question *q, int rc, struct blob *answer)
{
    struct request *r = (struct request *)((char *)q - offsetof(struct request, question));

    r->answer = answer ? blob_ref(answer) : NULL;
    r->errand.code = rc;
    errand_done(&r->errand);
}

static void give_up(struct errand *e)
{
    ask_drop(&((struct request *)e)->question);
    errand_done(e);
}

static void destroy(struct errand *e)
{
    blob_unref(((struct request *)e)->answer);
}

/* ---- asking ---- */

static int64_t check_timeout(lua_State *L)
{
    static const char *const names[] = {"timeout", NULL};
    int64_t ms = TIMEOUT_MS;

    if (api_check_table(L, 3, names) && lua_getfield(L, 3, "timeout") != LUA_TNIL) {
        lua_Number seconds = lua_tonumber(L, -1);

        luaL_argcheck(L, lua_type(L, -1) == LUA_TNUMBER && seconds >= 0, 3, "timeout: seconds from 0");
        ms = task_ms(seconds);
    }
    return ms;
}

static void check_message(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_pushliteral(L, "id");
    luaL_argcheck(L, lua_rawget(L, 2) == LUA_TNIL, 2, "the id is the server's own here: give yours another name");
}

/* The message with its id in front. Raises what cannot be written; NULL when memory runs out. */
static struct packet *make_packet(lua_State *L, uint64_t id, const char *function)
{
    struct buf *out = &script_of(L)->scratch;
    char name[ASK_NAME_SIZE];
    const char *why;
    size_t at;

    ask_name(id, name);
    buf_clear(out);
    if (buf_addf(out, "{\"id\":\"%s\"", name) != 0)
        return NULL;
    at = out->len;
    if (json_encode(L, 2, out, &why) != 0)
        luaL_error(L, "%s: %s", function, why);
    luaL_argcheck(L, out->data[at] == '{', 2, "an object expected, not a list");
    if (out->data[at + 1] == '}')
        memmove(out->data + at, out->data + at + 1, --out->len - at);
    else
        out->data[at] = ',';
    struct packet *p = packet_create(FRAME_TEXT, out->data, out->len);
    api_free_scratch(L);
    return p;
}

int request_ask(lua_State *L, const struct whom *w, const char *function, int nobody)
{
    static const struct errand_ops ops = {finish, give_up, destroy};
    struct hub *hub = script_hub(L);
    int64_t ms = check_timeout(L);
    struct request *r;
    struct packet *p;
    struct task *t;
    int rc;

    check_message(L);
    script_check_acting(L, function);
    t = task_check_wait(L);
    r = errand_push(L, sizeof(*r), &ops);
    r->question.id = ask_new_id(hub);
    r->question.done = on_done;
    p = make_packet(L, r->question.id, function);
    errand_start(t, &r->errand);
    rc = p ? whom_ask(hub, w, p, &r->question) : MT_ENOMEM;
    packet_unref(p);
    if (rc < 0)
        errand_refuse(&r->errand, rc == MT_EOFFLINE || rc == MT_ECLOSED ? nobody : rc);
    return errand_wait(L, &r->errand, ms);
}

/* ---- what clients send ---- */

struct look {
    const char *data;
    size_t len;
    uint64_t id; /* of the question; 0: it is no answer */
    bool is_error;
};

static int look_at(lua_State *L)
{
    struct look *look = lua_touserdata(L, 1);
    const char *type, *why;
    struct slice id;

    if (json_decode(L, look->data, look->len, &why) != 0 || !lua_istable(L, 2))
        return 0;
    lua_pushliteral(L, "id");
    lua_pushliteral(L, "type");
    if (lua_rawget(L, 2) != LUA_TSTRING)
        return 0;
    type = lua_tostring(L, -1);
    look->is_error = strcmp(type, "error") == 0;
    if (!look->is_error && strcmp(type, "reply") != 0)
        return 0;
    lua_pushvalue(L, 3);
    if (lua_rawget(L, 2) != LUA_TSTRING)
        return 0;
    id.data = lua_tolstring(L, -1, &id.len);
    look->id = ask_parse(id);
    return 0;
}

/* Whether the id of a question may be in the text: most are not decoded for that. Letters may be written as \u escapes. */
static bool may_have_id(const char *data, size_t len)
{
    return memmem(data, len, ASK_PREFIX, sizeof(ASK_PREFIX) - 1) || memmem(data, len, "\\u", 2);
}

bool request_take(struct peer *p, const char *data, size_t len)
{
    struct script *s = p->script;
    struct look look = {data, len, 0, false};

    if (!may_have_id(data, len))
        return false;
    if (script_protect(s, look_at, &look) != LUA_OK) {
        lua_pop(s->L, 1);
        return false;
    }
    if (!look.id)
        return false;
    if (!conn_answer(p->conn, look.id, look.is_error, (struct slice){data, len}))
        s->stats.late_answers++;
    return true;
}
