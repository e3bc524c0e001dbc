/* path.c - prints the way to a nested value. */
#include "script/path.h"

#include <assert.h>
#include <stdio.h>

enum { PATH_STEPS_MAX = 160 }; /* above every depth limit (JSON_DEPTH_MAX, SHAPE_DEPTH_MAX) */

struct text {
    char *out;  /* PATH_TEXT_MAX bytes */
    size_t len; /* in use */
};

static void text_add(struct text *t, struct slice piece)
{
    for (size_t i = 0; i < piece.len && t->len < PATH_TEXT_MAX - 1; i++) {
        char c = piece.data[i];
        t->out[t->len++] = c >= ' ' && c < 127 ? c : '?';
    }
}

static void text_add_step(struct text *t, const struct path *step)
{
    char number[32];

    if (step->key.data != NULL) {
        if (t->len > 0)
            text_add(t, SLICE("."));
        text_add(t, step->key);
        return;
    }
    snprintf(number, sizeof(number), "[%lld]", step->index);
    text_add(t, slice_of(number));
}

size_t path_print(const struct path *p, char out[PATH_TEXT_MAX])
{
    const struct path *steps[PATH_STEPS_MAX];
    struct text t = {out, 0};
    size_t count = 0;

    for (; p != NULL; p = p->up) {
        assert(count < PATH_STEPS_MAX);
        if (p->key.data == NULL || p->key.len > 0)
            steps[count++] = p;
    }
    while (count > 0)
        text_add_step(&t, steps[--count]);
    if (t.len == PATH_TEXT_MAX - 1)
        memcpy(out + PATH_TEXT_MAX - 4, "...", 3);
    out[t.len] = '\0';
    return t.len;
}
