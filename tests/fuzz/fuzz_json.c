/* fuzz_json.c - any bytes through the JSON decoder; what it takes must be written and read back the same. */
#include "base/mem.h"
#include "script/json.h"
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decodes `text` and writes the value to `out`; false when it was refused. */
static bool round_trip(lua_State *L, const char *text, size_t len, struct buf *out)
{
    const char *why = NULL;

    if (json_decode(L, text, len, &why) != 0) {
        if (why == NULL || lua_gettop(L) != 0)
            abort();
        return false;
    }
    if (lua_gettop(L) != 1 || json_encode(L, 1, out, &why) != 0)
        abort();
    lua_settop(L, 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lua_State *L = luaL_newstate();
    struct buf once = {0}, twice = {0};

    if (round_trip(L, (const char *)data, size, &once)) {
        if (!round_trip(L, (const char *)once.data, once.len, &twice))
            abort();
        if (once.len != twice.len) /* members may change their order, nothing else */
            abort();
    }
    buf_fini(&once);
    buf_fini(&twice);
    lua_close(L);
    return 0;
}
