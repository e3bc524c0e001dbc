/* probe.c - tries a script in a VM of its own, off every worker's thread: what loops or is broken stalls nobody.
 *
 * The VM has an empty tide.state. A chunk that fails after it asked for something there may be fine where that is; then the
 * workers find out, with the sources that were read so far.
 */
#include "script/said.h"
#include "script/sources.h"
#include "script/version.h"
#include "script/watch.h"

#include <string.h>

void script_failure_fini(struct script_failure *f)
{
    for (char **file = f->files; file && *file; file++)
        mem_free(*file);
    mem_free(f->files);
    mem_free(f->file);
    mem_free(f->text);
    memset(f, 0, sizeof(*f));
}

/* What there is no memory for stays out. */
static void fill_failure(const struct version *v, struct script_failure *f)
{
    const char *file = f->text ? sources_find_place(v->sources, f->text, &f->line) : NULL;
    size_t read = 0;

    memcpy(f->hash, v->hash, sizeof(f->hash));
    f->files = sources_copy_files(v->sources);
    f->outdated = sources_changed(v->sources);
    if (!file && sources_files(v->sources, &read) && read > 0)
        file = sources_files(v->sources, NULL)[0];
    f->file = file ? mem_strdup(file, strlen(file)) : NULL;
}

static int load(struct script *s, struct version *v, struct sources **out, struct script_failure *f)
{
    struct log_about about;
    int rc = version_load(v, &f->text);

    if (rc == MT_ESCRIPT && s->missed_state && !s->call_killed && sources_files(v->sources, NULL)) {
        mem_free(f->text);
        f->text = NULL;
        rc = 0;
    }
    if (rc == 0) {
        *out = sources_ref(v->sources);
        return 0;
    }
    about = (struct log_about){.version = slice_of(v->hash)};
    said_write(s->probe, s->log, &about); /* worker 1 says it where all is well, see script_say */
    fill_failure(v, f);
    return rc;
}

/* What belongs to a worker's thread is not lent. */
static struct script_config scratch_config(const struct script_config *c, struct loop *loop)
{
    struct script_config scratch = *c;

    scratch.loop = loop;
    scratch.crew = NULL;
    scratch.on_error = NULL;
    return scratch;
}

static int probe(const struct script_config *c, struct sources **out, struct script_failure *f)
{
    struct script *s = NULL;
    struct version *v = NULL;
    struct said said = {0};
    int rc = script_open(c, &s, &f->text);

    if (rc != 0)
        return rc;
    s->probe = &said;
    v = version_create(s, NULL);
    rc = v ? load(s, v, out, f) : MT_ENOMEM;
    if (v) {
        version_drop_held(v);
        version_unref(v);
    }
    script_destroy(s);
    said_fini(&said);
    return rc;
}

int script_probe(const struct script_config *c, struct sources **out, struct script_failure *f)
{
    struct loop *loop = loop_create();
    struct script_config scratch;
    int rc = MT_ENOMEM;

    *out = NULL;
    memset(f, 0, sizeof(*f));
    watch_admit_thread();
    if (loop) {
        scratch = scratch_config(c, loop);
        rc = probe(&scratch, out, f);
        loop_destroy(loop);
    }
    if (rc != 0 && !f->text)
        f->text = mem_strdup(err_text(rc), strlen(err_text(rc)));
    return rc;
}
