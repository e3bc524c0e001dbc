/* sources.h - the sources of one version: the script and the modules it required, as they were read at one moment.
 *
 * Filled by one thread, while the chunks run that ask for files; never changed after sources_seal, so that all workers load the
 * same texts without looking at the disk again. Counted; a sealed set may be used, kept and let go by any thread.
 */
#ifndef MT_SCRIPT_SOURCES_H
#define MT_SCRIPT_SOURCES_H
#include "base/slice.h"
#include <stdbool.h>
#include <stddef.h>

struct buf;
struct sources;

struct sources *sources_ref(struct sources *s);
void sources_unref(struct sources *s); /* NULL is allowed */
/* Whether the disk now says something else than what is in the set: a file was written, replaced or removed, or one that was
 * missing is there. Then the set may be a mixture of two states. Looks at each file (stat). */
bool sources_changed(const struct sources *s);
/* 8 hex digits over names and texts of what was read, in whatever order; "00000000" while nothing was. Borrowed. */
const char *sources_hash(const struct sources *s);
/* Paths of a sealed set: the script first, then modules, in the order in which they were asked for, then those that were looked
 * for and are not there; *read (NULL is allowed) is the number of the former. NULL-terminated, borrowed. */
const char *const *sources_files(const struct sources *s, size_t *read);

/* ---- filling ---- */
struct sources *sources_create(void); /* empty; NULL when memory runs out */
/* The text of the file at `path`, read when it was not asked for before; scripts know it as `shown` ("chat.lua", "lib/text.lua").
 * *text is valid as long as the set. 0, or the errno value why there is none, which the set notes too (ENOMEM apart). */
int sources_look(struct sources *s, const char *path, const char *shown, struct slice *text);
/* No more files. 0 or MT_ENOMEM. */
int sources_seal(struct sources *s);
/* What is known about a file without looking at the disk: 0 with *text, the errno value that sources_look gave, or -1 where it
 * was never asked for. */
int sources_find(const struct sources *s, const char *path, struct slice *text);
/* A copy of the paths, in the order of sources_files, also before the set is sealed. mem_free each and the list. NULL without
 * memory. */
char **sources_copy_files(const struct sources *s);
/* The first place in an error text that is a line of one of the files, "chat.lua:12: ..."; *line is its number. NULL when there
 * is none. Borrowed. */
const char *sources_find_place(const struct sources *s, const char *text, int *line);
/* The whole file behind what `out` holds. 0 or an errno value. */
int sources_read_file(const char *path, struct buf *out);
/* Whether such an errno value means that no plain file is there, and not that it cannot be read. */
bool sources_is_missing(int error);
#endif
