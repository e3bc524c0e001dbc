/* privileges.c - see privileges.h. */
#include "app/privileges.h"

#include "app/config_value.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { NAMES_MAX = 512, /* that are looked at for the nearest one */ ID_MAX = 0x7fffffff };

/* ---- names ---- */

/* `next` gives one name after the other. Their texts are the library's, which uses one place for all: they are copied. */
static int fail_name(enum config_id id, const char *name, const char *(*next)(void), char **error)
{
    char *names[NAMES_MAX + 1] = {NULL};
    const char *one, *near;
    size_t count = 0;

    while (count < NAMES_MAX && (one = next()) && (names[count] = mem_strdup(one, strlen(one))))
        count++;
    near = text_nearest(slice_of(name), (const char *const *)names);
    int rc = config_fail(error, MT_EINVALID, "%s = \"%s\": there is no such %s on this machine%s%s%s", config_keys[id].name, name,
                         config_keys[id].name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    while (count > 0)
        mem_free(names[--count]);
    return rc;
}

static const char *next_user(void)
{
    struct passwd *entry = getpwent();
    return entry ? entry->pw_name : NULL;
}

static const char *next_group(void)
{
    struct group *entry = getgrent();
    return entry ? entry->gr_name : NULL;
}

static bool read_id(const char *text, unsigned long long *out)
{
    return slice_to_uint(slice_of(text), ID_MAX, out);
}

static int find_user(const char *text, struct privileges *out, bool *has_group, char **error)
{
    unsigned long long id = 0;
    bool number = read_id(text, &id);
    const struct passwd *entry = number ? getpwuid((uid_t)id) : getpwnam(text); /* before there are threads */

    *has_group = entry != NULL;
    if (!entry && !number) {
        setpwent();
        int rc = fail_name(CONFIG_USER, text, next_user, error);
        endpwent();
        return rc;
    }
    out->uid = entry ? entry->pw_uid : (uid_t)id;
    out->gid = entry ? entry->pw_gid : 0;
    out->name = entry ? mem_strdup(entry->pw_name, strlen(entry->pw_name)) : NULL;
    return entry && !out->name ? MT_ENOMEM : 0;
}

static int find_group(const char *text, gid_t *out, char **error)
{
    unsigned long long id = 0;
    const struct group *entry = read_id(text, &id) ? NULL : getgrnam(text);

    if (entry || read_id(text, &id)) {
        *out = entry ? entry->gr_gid : (gid_t)id;
        return 0;
    }
    setgrent();
    int rc = fail_name(CONFIG_GROUP, text, next_group, error);
    endgrent();
    return rc;
}

/* ---- what the settings ask for ---- */

/* A process that is not root's can only stay who it is. */
static int check_same(const struct privileges *p, const char *user, const char *group, char **error)
{
    if (p->uid != geteuid())
        return config_fail(error, MT_EINVALID, "user = \"%s\": only root can become another user, and this is user %lu", user,
                           (unsigned long)geteuid());
    if (group && p->gid != getegid())
        return config_fail(error, MT_EINVALID, "group = \"%s\": only root can change its group, and this is group %lu", group,
                           (unsigned long)getegid());
    return 0;
}

int privileges_find(const struct config *c, struct privileges *out, char **error)
{
    const char *user = config_text(c, CONFIG_USER), *group = config_text(c, CONFIG_GROUP);
    bool has_group = false;

    *out = (struct privileges){.risky = geteuid() == 0 && !user};
    if (!user)
        return group ? config_fail(error, MT_EINVALID, "group = \"%s\" is set without user: set both", group) : 0;
    int rc = find_user(user, out, &has_group, error);
    if (rc == 0 && group)
        rc = find_group(group, &out->gid, error);
    else if (rc == 0 && !has_group && geteuid() == 0)
        rc = config_fail(error, MT_EINVALID, "user = \"%s\" is a number that no user has: set group too", user);
    if (rc == 0 && geteuid() != 0)
        rc = check_same(out, user, group, error);
    if (rc == 0)
        out->drop = geteuid() == 0 && (out->uid != 0 || out->gid != getegid());
    return rc;
}

void privileges_fini(struct privileges *p)
{
    mem_free(p->name);
    *p = (struct privileges){0};
}

/* ---- changing ---- */

/* Groups go first, and the user last: who is no root any more may change nothing. */
static bool change(const struct privileges *p)
{
    int rc = p->name ? initgroups(p->name, p->gid) : setgroups(1, &p->gid);

    return rc == 0 && setresgid(p->gid, p->gid, p->gid) == 0 && setresuid(p->uid, p->uid, p->uid) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/* That it was done, and cannot be undone. */
static bool is_final(const struct privileges *p)
{
    uid_t r, e, s;
    gid_t gr, ge, gs;

    if (getresuid(&r, &e, &s) || getresgid(&gr, &ge, &gs))
        return false;
    if (r != p->uid || e != p->uid || s != p->uid || gr != p->gid || ge != p->gid || gs != p->gid)
        return false;
    return p->uid == 0 || (setuid(0) != 0 && seteuid(0) != 0 && setgroups(0, NULL) != 0);
}

int privileges_drop(const struct privileges *p, char **error)
{
    if (!p->drop)
        return 0;
    if (!change(p))
        return config_fail(error, MT_EDENIED, "cannot become user %s (%lu), group %lu: %s", p->name ? p->name : "",
                           (unsigned long)p->uid, (unsigned long)p->gid, strerror(errno));
    if (!is_final(p))
        return config_fail(error, MT_EDENIED, "the change to user %lu could be undone: the server does not go on",
                           (unsigned long)p->uid);
    return 0;
}
