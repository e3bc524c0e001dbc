/* privileges.h - `user` and `group`: who the server is once it has what only root may take. */
#ifndef MT_APP_PRIVILEGES_H
#define MT_APP_PRIVILEGES_H
#include "app/config.h"
#include <sys/types.h>

struct privileges {
    bool drop;  /* this process is root's and is to become somebody else's */
    bool risky; /* it is root's, and nobody has said that it may stay so */
    char *name; /* of the user, owned; NULL for a number that no user has */
    uid_t uid;  /* where drop is set */
    gid_t gid;
};

/* What the settings ask for. 0, or MT_EINVALID (no such user or group, or this process cannot become that) with *error, or
 * MT_ENOMEM. privileges_fini in every case. */
int privileges_find(const struct config *c, struct privileges *out, char **error);
void privileges_fini(struct privileges *p);
/* Become that user, with its groups, for good: there is no way back, also not by programs with a set-user-id bit. For the whole
 * process, so before it has threads. Does nothing unless p->drop. 0, or MT_EDENIED with *error: the process is neither then, and
 * must end. */
int privileges_drop(const struct privileges *p, char **error);
#endif
