/* cli_admin.c - one question to a control socket, with bounds on time and size, because the server may hang. */
#include "app/cli_admin.h"

#include "app/config_value.h"
#include "app/control.h"
#include "app/json_read.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 10000,         /* for an answer */
    RELOAD_PATIENCE_MS = 120000, /* chunks that load may take reload.timeout each */
    ANSWER_MAX = 4 * 1024 * 1024 /* bytes */
};

/* ---- which server ---- */

static int fail_none(char *const *folders, char **error)
{
    return config_fail(error, MT_ENOT_FOUND, "no running server found in %s%s%s; --control PATH names its control socket",
                       folders[0], folders[1] ? " and " : "", folders[1] ? folders[1] : "");
}

static int fail_several(const struct buf *paths, char **error)
{
    struct buf list = {0};
    const char *end = (char *)paths->data + paths->len;
    int rc = 0;
    for (const char *path = (char *)paths->data; rc == 0 && path < end; path += strlen(path) + 1)
        rc = buf_addf(&list, "\n  --control %s", path);
    if (rc == 0)
        rc = config_fail(error, MT_EINVALID, "several servers are running; choose one:%.*s", (int)list.len, (char *)list.data);
    buf_fini(&list);
    return rc;
}

/* The path of the only server, with a NUL. */
static int find_server(struct buf *path, char **error)
{
    char *folders[CONTROL_FOLDERS + 1];
    int rc = control_folders(folders);
    if (rc)
        return rc;
    int found = control_find(folders, path);
    rc = found < 0 ? found : found == 0 ? fail_none(folders, error) : found > 1 ? fail_several(path, error) : 0;
    control_free_folders(folders);
    return rc;
}

static int connect_at(const char *path, char **error)
{
    int fd = control_connect(path);
    if (fd == MT_EREFUSED)
        return config_fail(error, fd, "%s: no server answers there", path);
    if (fd < 0)
        return config_fail(error, fd, "%s: %s", path,
                           fd == MT_EINVALID ? "the path of a socket has 1 to 107 bytes" : err_text(fd));
    if (geteuid() == 0 || control_peer_is_trusted(fd)) /* root may look at everybody's, by its path */
        return fd;
    close(fd);
    return config_fail(error, MT_EDENIED, "%s: the server there belongs to another user", path);
}

static int connect_to_server(const struct cli *c, char **error)
{
    const char *chosen = c->control ? c->control : getenv("MOONTIDE_CONTROL_PATH");
    struct buf path = {0};
    int rc = chosen ? 0 : find_server(&path, error);
    if (rc == 0)
        rc = connect_at(chosen ? chosen : (char *)path.data, error);
    buf_fini(&path);
    return rc;
}

/* ---- question and answer ---- */

/* Reads up to the end of the line, which is left out. */
static int read_answer(int fd, uint64_t until, struct buf *out, char **error)
{
    for (;;) {
        uint64_t now = clock_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = now < until ? poll(&p, 1, (int)(until - now)) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return config_fail(error, MT_ETIMEOUT, "the server does not answer");
        if (out->len > ANSWER_MAX)
            return MT_ETOO_LARGE;
        if (buf_reserve(out, 65536))
            return MT_ENOMEM;
        ssize_t n = recv(fd, out->data + out->len, 65536, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return config_fail(error, MT_ECLOSED, "the server went away without an answer");
        out->len += (size_t)n;
        if (out->data[out->len - 1] == '\n') {
            out->len--;
            return 0;
        }
    }
}

static bool changes_version(enum cli_command command)
{
    return command == CLI_RELOAD || command == CLI_ROLLBACK;
}

static int ask(const struct cli *c, const char *word, struct buf *answer, char **error)
{
    struct buf question = {0};
    int fd = connect_to_server(c, error), rc = fd < 0 ? fd : buf_addf(&question, "%s\n", word);
    /* a few bytes always fit into a fresh socket */
    if (rc == 0 && send(fd, question.data, question.len, MSG_NOSIGNAL) != (ssize_t)question.len)
        rc = config_fail(error, MT_ECLOSED, "the server went away");
    if (rc == 0)
        rc = read_answer(fd, clock_ms() + (changes_version(c->command) ? RELOAD_PATIENCE_MS : PATIENCE_MS), answer, error);
    if (fd >= 0)
        close(fd);
    buf_fini(&question);
    return rc;
}

/* What the answer says went wrong; 0 where nothing did. */
static int check_answer(struct slice json, char **error)
{
    struct slice value;
    struct buf text = {0};
    if (json_read_member(json, "ok", &value) && json_read_true(value))
        return 0;
    if (json_read_member(json, "error", &value) && json_read_text(value, &text))
        *error = mem_strdup((char *)text.data, text.len);
    buf_fini(&text);
    return *error ? MT_ESCRIPT : MT_EMALFORMED;
}

/* Messages have lines (a traceback), but nothing that steers a terminal. */
static void print_failure(int rc, const char *error)
{
    fputs("moontide: ", stderr);
    for (const char *p = error ? error : err_text(rc); *p; p++)
        if (*p == '\n' || *p == '\t' || ((unsigned char)*p >= ' ' && *p != 127))
            fputc(*p, stderr);
    fputc('\n', stderr);
}

int cli_admin_run(const struct cli *c)
{
    static const char *const words[] = {[CLI_STATUS] = "status", [CLI_RELOAD] = "reload", [CLI_ROLLBACK] = "rollback", [CLI_VERSIONS] = "versions"};
    struct buf answer = {0}, text = {0};
    char *error = NULL;
    int rc = ask(c, words[c->command], &answer, &error);
    if (rc == 0 && c->json)
        printf("%.*s\n", (int)answer.len, (char *)answer.data);
    if (rc == 0)
        rc = check_answer(buf_slice(&answer), &error);
    if (rc == 0 && !c->json && (rc = cli_admin_show(c->command, buf_slice(&answer), &text)) == 0)
        fwrite(text.data, 1, text.len, stdout);
    if (rc)
        print_failure(rc, error);
    mem_free(error);
    buf_fini(&answer);
    buf_fini(&text);
    return rc ? 1 : 0;
}
