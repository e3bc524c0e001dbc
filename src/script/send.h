/* send.h - the arguments that the sends, closes and joins of conn, room, user and tide share.
 *
 * All checks raise the author's mistakes. Nothing here owns anything but send_take_info: what the results point to is Lua's, on
 * the stack below, or in the script's scratch buffer, and lasts until the C function returns or the scratch buffer is used again.
 */
#ifndef MT_SCRIPT_SEND_H
#define MT_SCRIPT_SEND_H
#include "hub/hub.h"
#include "script/state.h"

enum { SEND_INFO_MAX = 64 * 1024 }; /* bytes of the info that a member carries, as JSON */

struct send_args {
    enum frame_op op;
    struct slice data;
    struct slice key; /* empty: none */
    bool is_volatile;
    bool has_options;         /* key or volatile was given */
    struct hub_except except; /* counts 0: nobody is left out */
    conn_id except_conn;      /* storage for a single one */
    struct slice except_user;
};

/* The message at `value` (for FRAME_TEXT a string of UTF-8 or a table, for FRAME_BINARY a string) and the options behind it.
 * `function` begins messages
 * ("conn:send"). Raises too while a chunk loads. */
void send_check(lua_State *L, int value, enum frame_op op, const char *function, struct send_args *out);
/* What session_send takes of it; NULL when there is nothing to say. */
const struct outbox_opts *send_options(const struct send_args *a, struct outbox_opts *out);
/* Whether this connection is one of those left out. */
bool send_excepts(const struct send_args *a, const struct conn *c);

struct close_args {
    unsigned code;
    struct slice reason;
};
/* code=1000 and reason at `arg` and behind it. */
void send_check_close(lua_State *L, int arg, const char *function, struct close_args *out);

/* The info of a join at `arg` as a blob of JSON, NULL for none. The caller owns the reference and must not raise while it does.
 */
struct blob *send_take_info(lua_State *L, int arg, const char *function);
/* The room name at `arg`. */
struct slice send_check_room(lua_State *L, int arg);
#endif
