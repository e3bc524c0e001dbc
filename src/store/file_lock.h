/* file_lock.h - one process at a time for a file: what lies in the cache must not change behind its back.
 *
 * The lock is on a file of its own beside it, FILE.lock, which stays. A process that ends, however that comes, has it no more.
 */
#ifndef MT_STORE_FILE_LOCK_H
#define MT_STORE_FILE_LOCK_H
#include <stdbool.h>

struct file_lock;

/* Makes the file, for its owner only, where it is missing. 0; or MT_EBUSY, MT_EIO, MT_ENOMEM with a sentence in *error (mem_free
 * it). */
int file_lock(const char *path, struct file_lock **out, char **error);
void file_unlock(struct file_lock *l); /* NULL is allowed */
/* Whether the file can be used, or made where it is missing. 0 with *there, or MT_EIO with *error. */
int file_check(const char *path, bool *there, char **error);
#endif
