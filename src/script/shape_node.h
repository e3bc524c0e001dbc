/* shape_node.h - the compiled form of a shape, between shape.c (which makes it) and shape_check.c (which walks it). */
#ifndef MT_SCRIPT_SHAPE_NODE_H
#define MT_SCRIPT_SHAPE_NODE_H
#include "base/slice.h"
#include <lua.h>
#include <stdbool.h>

#define SHAPE_TYPE "moontide.shape"

enum shape_kind {
    SHAPE_ANY,
    SHAPE_BOOLEAN,
    SHAPE_INTEGER,
    SHAPE_NUMBER,
    SHAPE_STRING,
    SHAPE_WORDS,
    SHAPE_OBJECT,
    SHAPE_LIST,
    SHAPE_FUNCTION
};

struct shape_node {
    enum shape_kind kind;
    bool optional;        /* nothing is fine too */
    const char *text;     /* what was expected, for messages. Owned by the shape, like all that is pointed to below */
    lua_Integer min, max; /* of an integer, a string's code points, a list's items */
    lua_Number number_min, number_max;
    struct slice *words;        /* what is allowed, `count` of them */
    struct shape_field *fields; /* of an object, `count` of them, sorted by name so that messages do not depend on chance */
    struct shape_node *item;    /* of a list */
    size_t count;
    int ref; /* place of the function in the shape's table of Lua values */
};

struct shape_field {
    struct slice name;
    int key; /* place of the name in the shape's table of Lua values */
    struct shape_node *node;
};

/* The userdata. Its first user value is a table that keeps field names and functions. */
struct shape {
    struct shape_block *blocks; /* owned: all memory below root */
    struct shape_node *root;    /* NULL until it is compiled */
};
#endif
