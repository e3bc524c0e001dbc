/* redis_missing.c - stands in for the store in Redis until that is there. */
#include "base/err.h"
#include "base/mem.h"
#include "store/store.h"

int store_open_redis(const struct store_redis_config *c, struct store **out, char **error)
{
    static const char text[] = "store.url: Redis is not there in this version";

    *error = mem_strdup(text, sizeof(text) - 1);
    return MT_EINVALID;
}
