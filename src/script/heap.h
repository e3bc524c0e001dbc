/* heap.h - the memory of one VM: a limit for scripts, and a stock of small blocks.
 *
 * Scripts make and drop small objects all the time, above all strings that live for one message. The collector frees them in
 * bursts of hundreds, which malloc's own cache (seven blocks of a size) cannot hold. So freed small blocks are kept by size, up
 * to a bound per size, and the rest goes back to malloc. Used on the worker's thread only.
 */
#ifndef MT_SCRIPT_HEAP_H
#define MT_SCRIPT_HEAP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEAP_CLASSES = 32 }; /* blocks of up to 504 bytes are kept */

struct heap_block;

struct heap {
    size_t used;   /* bytes handed out to Lua */
    size_t limit;  /* script.memory */
    size_t extra;  /* what the core keeps for itself and scripts do not answer for: comes on top of the limit */
    unsigned core; /* above 0: the core itself is pushing, the limit does not hold (script_core_begin) */
    bool refused;  /* something for the limit's sake; whoever has dealt with that sets it back */
    struct {
        struct heap_block *first; /* free blocks of this size */
        uint32_t bytes;           /* how much they are together */
    } kept[HEAP_CLASSES];
};

/* A lua_Alloc; `heap` is the struct heap. NULL past the limit, for one block of more than a quarter of it (32 MiB at least), and
 * when memory runs out. A new lua_State is zeroed. */
void *heap_alloc(void *heap, void *ptr, size_t old_size, size_t new_size);
/* Give everything that is kept back to malloc. */
void heap_fini(struct heap *h);
#endif
