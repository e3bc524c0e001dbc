/* sql_plans.c - the files are read when a version begins, so going back to the version before takes what is there then: what was
 * applied stays applied.
 */
#include "script/sql_plans.h"

#include "store/sql.h"
#include <string.h>

struct sql_plan {
    struct sql_plan *next;
    struct sql_db *db; /* counted */
    char *folder;      /* owned; NULL: no migrations */
};

static void free_request(struct sql_request *r)
{
    sql_request_fini(r);
    mem_free(r);
}

/* All workers ask for it: the first does the work, the others find it done. One of them tells of a failure. */
static int prepare(struct script *s, const struct sql_plan *p)
{
    struct sql_request *r = mem_zalloc(1, sizeof(*r));
    int err = r ? 0 : MT_ENOMEM;

    if (err != 0)
        return err;
    *r = (struct sql_request){.done = free_request, .op = SQL_PREPARE, .loud = s->config.worker == 1};
    r->text_len = p->folder ? strlen(p->folder) : 0;
    if (p->folder)
        err = buf_add(&r->in, p->folder, r->text_len);
    if (err == 0)
        err = sql_send(p->db, r);
    if (err != 0)
        free_request(r);
    return err;
}

static struct sql_plan *find(const struct version *v, const struct sql_db *db)
{
    struct sql_plan *p = v->sql_plans;

    while (p && p->db != db)
        p = p->next;
    return p;
}

static int add(struct version *v, struct sql_db *db, struct sql_plan **out)
{
    struct sql_plan *p = mem_zalloc(1, sizeof(*p));

    if (!p)
        return MT_ENOMEM;
    sql_ref(db);
    p->db = db;
    p->next = v->sql_plans;
    v->sql_plans = p;
    *out = p;
    return 0;
}

int sql_plans_note(lua_State *L, struct sql_db *db, const char *folder)
{
    struct version *v = version_of(L);
    struct sql_plan *p = find(v, db);

    if (p && (!folder || (p->folder && strcmp(p->folder, folder) == 0)))
        return 0;
    if (p && p->folder)
        return MT_EINVALID;
    int err = p ? 0 : add(v, db, &p);
    if (err == 0 && folder && !(p->folder = mem_strdup(folder, strlen(folder))))
        err = MT_ENOMEM;
    return err != 0 || script_is_loading(L) ? err : prepare(v->script, p);
}

void sql_plans_begin(struct version *v)
{
    for (struct sql_plan *p = v->sql_plans; p; p = p->next) {
        int err = prepare(v->script, p);

        if (err != 0)
            log_error(v->script->log, &(struct log_about){.version = slice_of(v->hash)}, "tide.sql: %s is not prepared: %s",
                      sql_path(p->db), err_text(err));
    }
}

void sql_plans_free(struct version *v)
{
    struct sql_plan *next;

    for (struct sql_plan *p = v->sql_plans; p; p = next) {
        next = p->next;
        sql_unref(p->db);
        mem_free(p->folder);
        mem_free(p);
    }
    v->sql_plans = NULL;
}
