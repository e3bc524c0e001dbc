/* lint.c - compares a version with what it was when it had loaded, and writes the warnings. */
#include "script/lint.h"

#include "base/map.h"
#include "script/captured.h"
#include "script/keeps.h"
#include "script/locals.h"

#include <string.h>

enum {
    TOLD_MAX = 100, /* warnings per version */
    LOST_MAX = 32,  /* variables per look */
    SHOWN_MAX = 10, /* lines per look */
};

struct lint {
    struct buf locals;       /* where the sources declare local variables */
    struct walk_set prints;  /* tables that its functions held when it had loaded, and what was in them */
    bool whole;              /* all of them were seen */
    uint64_t told[TOLD_MAX]; /* what was said already, as hashes */
    unsigned told_count;
};

static struct lint *lint_of(struct version *v)
{
    if (!v->lint)
        v->lint = mem_zalloc(1, sizeof(*v->lint));
    return v->lint;
}

void lint_free(struct lint *l)
{
    if (!l)
        return;
    buf_fini(&l->locals);
    walk_set_fini(&l->prints);
    mem_free(l);
}

/* True the first time for each text. */
static bool is_news(struct lint *l, const struct buf *text)
{
    uint64_t hash = map_hash(buf_slice(text));

    for (unsigned i = 0; i < l->told_count; i++)
        if (l->told[i] == hash)
            return false;
    if (l->told_count == TOLD_MAX)
        return false;
    l->told[l->told_count++] = hash;
    return true;
}

/* ---- when it has loaded ---- */

void lint_source(struct version *v, const char *file, struct slice text)
{
    struct lint *l = lint_of(v);

    if (l)
        locals_scan(&l->locals, slice_of(file), text);
}

static void note_table(void *arg, const struct captured_table *table)
{
    struct lint *l = arg;

    if (walk_set_add(&l->prints, table->ptr, table->print) < 0)
        l->whole = false;
}

static int note_version(lua_State *L)
{
    keeps_note_version(L, lua_touserdata(L, 1));
    return 0;
}

void lint_note(struct version *v)
{
    static const struct captured_ops ops = {note_table, NULL};
    struct lint *l = lint_of(v);
    bool whole;

    if (script_protect(v->script, note_version, v) != LUA_OK)
        lua_pop(v->script->L, 1);
    if (!l)
        return;
    l->whole = true;
    if (captured_walk(v, NULL, &ops, l, &whole) != 0 || !whole)
        l->whole = false;
}

/* ---- when it is about to be replaced ---- */

/* A variable whose table, or one in it, has changed. */
struct lost {
    const void *ptr;                   /* the table that changed */
    struct captured_variable variable; /* that it was reached by; name NULL: by the table that the script returned */
    struct buf path;                   /* owned: from the variable's table to it */
    size_t fields;
    bool large; /* it has more */
};

struct look {
    struct script *script;
    struct version *version;
    struct lint *lint;
    struct walk_set kept;      /* owned: tables that live on */
    struct walk_set variables; /* owned: table -> index in `names` */
    struct buf names;          /* owned: struct captured_variable */
    struct lost lost[LOST_MAX];
    size_t lost_count;
    size_t shown;  /* lines written */
    size_t hidden; /* lines that would be too many */
};

static void warn(struct look *look, struct buf *text)
{
    struct log_about about = {.version = slice_of(look->version->hash)};

    if (look->shown == SHOWN_MAX) {
        look->hidden++;
        return;
    }
    look->shown++;
    log_warn(look->script->log, &about, "%.*s", (int)text->len, (const char *)text->data);
}

/* ---- code in what lives on ---- */

static const char *kind_text(enum keeps_kind kind)
{
    static const char *const texts[] = {"holds a function", "holds a coroutine", "has a metatable", "holds the globals"};

    return texts[kind];
}

/* One line for all values made at one place of a source, such as the timers of a thousand players. */
static bool tell_kept(void *arg, const struct keeps_found *found)
{
    struct look *look = arg;
    struct buf text = {0};
    int rc = buf_addf(&text, "%d %s", (int)found->kind, found->place[0] ? found->place : found->path);

    if (rc != 0 || !is_news(look->lint, &text)) {
        buf_fini(&text);
        return rc == 0;
    }
    buf_clear(&text);
    rc = buf_addf(&text, "%s %s", found->path, kind_text(found->kind));
    if (rc == 0 && found->version)
        rc = buf_addf(&text, " of version %s", found->version);
    if (rc == 0 && found->place[0])
        rc = buf_addf(&text, " (%s)", found->place);
    if (rc == 0)
        rc = buf_add_text(&text, found->version ? ": it keeps that version's code; keep data there"
                                                : ": it stays what it was made of; keep data there");
    if (rc == 0)
        warn(look, &text);
    buf_fini(&text);
    return rc == 0;
}

/* ---- tables in local variables ---- */

static bool has_lost(const struct look *look, const struct captured_variable *v)
{
    for (size_t i = 0; i < look->lost_count; i++) {
        const struct captured_variable *other = &look->lost[i].variable;

        if (!v ? !other->name : other->name && strcmp(v->name, other->name) == 0 && strcmp(v->file, other->file) == 0)
            return true;
    }
    return false;
}

static void compare_table(void *arg, const struct captured_table *table)
{
    struct look *look = arg;
    const uint64_t *print = walk_set_find(&look->lint->prints, table->ptr);
    struct lost *lost = &look->lost[look->lost_count];

    if (table->fields == 0 || (print ? *print == table->print : !look->lint->whole))
        return;
    if (look->lost_count == LOST_MAX || has_lost(look, table->variable))
        return;
    memset(lost, 0, sizeof(*lost));
    lost->ptr = table->ptr;
    lost->fields = table->fields;
    lost->large = table->large;
    if (table->variable)
        lost->variable = *table->variable;
    if (walk_add_path(&lost->path, table->L, table->path) == 0)
        look->lost_count++;
    else
        buf_fini(&lost->path);
}

static void note_variable(void *arg, const void *ptr, const struct captured_variable *variable)
{
    struct look *look = arg;

    if (walk_set_add(&look->variables, ptr, look->names.len) == 1 && buf_add(&look->names, variable, sizeof(*variable)) != 0)
        *walk_set_find(&look->variables, ptr) = UINT64_MAX;
}

/* The variable that holds the table itself, where there is one, is what its author calls it. */
static void find_name(const struct look *look, struct lost *lost)
{
    const uint64_t *at = walk_set_find(&look->variables, lost->ptr);

    if (!at || *at == UINT64_MAX)
        return;
    memcpy(&lost->variable, look->names.data + *at, sizeof(lost->variable));
    buf_clear(&lost->path);
}

/* "chat.lua:3: local 'players'" or "chat.lua:3: local 'game' (game.players": without an end. */
static int add_variable(const struct look *look, const struct lost *lost, struct buf *out)
{
    const struct captured_variable *v = &lost->variable;
    unsigned line;
    int rc;

    if (!v->name)
        return buf_addf(out, "%s: the table that it returned (", look->version->files[0]);
    line = locals_find(&look->lint->locals, slice_of(v->file), slice_of(v->name), v->line);
    rc = buf_addf(out, "%s:%u: local '%s' (", v->file, line ? line : v->line, v->name);
    if (rc == 0 && lost->path.len)
        rc = buf_addf(out, "%s%.*s, ", v->name, (int)lost->path.len, (const char *)lost->path.data);
    return rc;
}

static void tell_lost(struct look *look, struct lost *lost)
{
    struct buf text = {0};

    find_name(look, lost);
    if (add_variable(look, lost, &text) == 0 && is_news(look->lint, &text) &&
        buf_addf(&text, "%s%zu field%s) is lost with this version: keep it in tide.state", lost->large ? "more than " : "",
                 lost->fields, lost->fields == 1 ? "" : "s") == 0)
        warn(look, &text);
    buf_fini(&text);
}

/* ---- both ---- */

static void end_look(struct look *look)
{
    if (look->hidden)
        log_warn(look->script->log, NULL, "%zu more of these warnings are not shown", look->hidden);
    for (size_t i = 0; i < look->lost_count; i++)
        buf_fini(&look->lost[i].path);
    walk_set_fini(&look->kept);
    walk_set_fini(&look->variables);
    buf_fini(&look->names);
}

void lint_switch(struct script *s, struct version *old)
{
    static const struct captured_ops ops = {compare_table, note_variable};
    struct look look = {.script = s, .version = old};
    bool whole;

    look.lint = old ? lint_of(old) : NULL;
    if (!look.lint)
        return;
    /* A local variable may hold what is in tide.state as well: without having seen all of that nothing can be called lost. */
    if (keeps_walk(s, &look.kept, tell_kept, &look, &whole) == 0 && whole &&
        captured_walk(old, &look.kept, &ops, &look, &whole) == 0)
        for (size_t i = 0; i < look.lost_count; i++)
            tell_lost(&look, &look.lost[i]);
    end_look(&look);
}
