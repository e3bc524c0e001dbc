/* heap.c - see heap.h. A block's class is what malloc would round its size to anyway, so keeping blocks by class wastes nothing.
 */
#include "script/heap.h"

#include "base/mem.h"

#include <lua.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HEAP_KEEPS 0
#endif
#endif
#if !defined(HEAP_KEEPS)
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEAP_KEEPS 0 /* the sanitizers must see every block come and go */
#else
#define HEAP_KEEPS 1
#endif
#endif

enum { CLASS_STEP = 16, CLASS_EXTRA = 8, KEEP_BYTES = 64 * 1024, FRAME_BYTES = 4096, RESERVE_BYTES = 64 * 1024 };
enum { BLOCK_SHARE = 4, BLOCK_BYTES = 32 << 20, STRING_SHARE = 16, STRING_BYTES = 16 << 20, BLOCK_HEAD = 4096 };

struct heap_block {
    struct heap_block *next;
};

static size_t class_of(size_t size)
{
    return HEAP_KEEPS ? (size + CLASS_STEP - CLASS_EXTRA - 1) / CLASS_STEP : HEAP_CLASSES;
}

/* What a block for `size` bytes is asked of malloc with: every block of a class serves every size of it. */
static size_t rounded(size_t size)
{
    size_t class = class_of(size);

    return class < HEAP_CLASSES ? class * CLASS_STEP + CLASS_EXTRA : size;
}

static void *take(struct heap *h, size_t size)
{
    size_t class = class_of(size);

    if (class < HEAP_CLASSES && h->kept[class].first) {
        struct heap_block *block = h->kept[class].first;

        h->kept[class].first = block->next;
        h->kept[class].bytes -= (uint32_t)rounded(size);
        return block;
    }
    return mem_alloc(rounded(size));
}

static void give(struct heap *h, void *ptr, size_t size)
{
    size_t class = class_of(size);

    if (class < HEAP_CLASSES && h->kept[class].bytes < KEEP_BYTES) {
        struct heap_block *block = ptr;

        block->next = h->kept[class].first;
        h->kept[class].first = block;
        h->kept[class].bytes += (uint32_t)rounded(size);
        return;
    }
    mem_free(ptr);
}

/* Within a class nothing moves. */
static void *change(void *ptr, size_t old_size, size_t new_size)
{
    return rounded(old_size) == rounded(new_size) ? ptr : mem_resize(ptr, rounded(new_size));
}

/* The largest block that a script may have. What the libraries of Lua do with a string or a table in one go takes a time that
 * grows with it, and nothing can interrupt most of that. */
static size_t block_limit(const struct heap *h, bool string)
{
    size_t share = h->limit / (string ? STRING_SHARE : BLOCK_SHARE), least = string ? STRING_BYTES : BLOCK_BYTES;

    return (share < least ? least : share) + BLOCK_HEAD;
}

/* Above the limit there is a little room for what a running function needs besides objects: frames and stack. The collector calls
 * finalizers at any time, and one that cannot be called leaks what its object holds in C. */
static size_t limit_for(const struct heap *h, const void *ptr, size_t old_size, size_t new_size)
{
    bool frame = !ptr && old_size == 0 && new_size <= FRAME_BYTES; /* for a new object old_size would be its kind */

    return h->limit + h->extra + (frame ? RESERVE_BYTES : 0);
}

void *heap_alloc(void *heap, void *ptr, size_t old_size, size_t new_size)
{
    struct heap *h = heap;
    size_t old = ptr ? old_size : 0; /* for a new block Lua passes the kind of object */
    void *block;

    if (new_size == 0) {
        if (ptr)
            give(h, ptr, old);
        h->used -= old;
        return NULL;
    }
    if (new_size > old && h->core == 0) {
        if (new_size > block_limit(h, !ptr && old_size == LUA_TSTRING))
            return NULL;
        if (h->used + (new_size - old) > limit_for(h, ptr, old_size, new_size)) {
            h->refused = true;
            return NULL;
        }
    }
    block = ptr ? change(ptr, old, new_size) : take(h, new_size);
    if (!block)
        return new_size <= old ? ptr : NULL; /* Lua relies on shrinking; what is too large for its class does no harm */
    if (!ptr && old_size == LUA_TTHREAD)
        memset(block, 0, new_size); /* Lua leaves holes in it, and mend.c looks at every word */
    h->used += new_size - old;
    return block;
}

void heap_fini(struct heap *h)
{
    for (size_t class = 0; class < HEAP_CLASSES; class ++) {
        while (h->kept[class].first) {
            struct heap_block *block = h->kept[class].first;

            h->kept[class].first = block->next;
            mem_free(block);
        }
        h->kept[class].bytes = 0;
    }
}
