/* services.c */
#include "app/services.h"

#include "app/config_value.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "loop/pool.h"
#include "store/folder.h"
#include "store/memory.h"
#include "store/sql.h"
#include "store/store.h"
#include <stdint.h>
#include <unistd.h>

enum {
    DISK_THREADS = 4,
    HASHING_MOST = 4,   /* threads, of 32 MiB each while they hash */
    HASHING_LINE = 256, /* passwords that may wait: half a minute's work of one thread */
};

struct services {
    const struct config *config;
    struct log *log;
    struct script_services shared; /* owned; `durable` and `folder` are NULL where none is set */
};

/* ---- tide.store ---- */

/* The URL itself is not told: it may have a password. */
static int open_redis(struct services *s, const char *url, char **error)
{
    const struct store_redis_config c = {.url = url, .log = s->log};
    char *why = NULL;
    int rc = store_open_redis(&c, &s->shared.durable, &why);

    if (why)
        rc = config_fail(error, rc, "%s: %s", config_keys[CONFIG_STORE_URL].name, why);
    mem_free(why);
    return rc;
}

static int open_store(struct services *s, bool check, char **error)
{
    const char *file = config_text(s->config, CONFIG_STORE_FILE), *url = config_text(s->config, CONFIG_STORE_URL);
    const struct store_file_config c = {.path = file, .cache = config_number(s->config, CONFIG_STORE_CACHE), .log = s->log};

    if (file)
        return check ? store_check_file(file, error) : store_open_file(&c, &s->shared.durable, error);
    return url ? open_redis(s, url, error) : 0;
}

/* ---- tide.sql ---- */

static struct sql *create_sql(const struct services *s)
{
    const struct sql_config c = {
        .log = s->log,
        .folder = config_text(s->config, CONFIG_SQL_FOLDER),
        .statement_ms = config_ms(s->config, CONFIG_SQL_TIMEOUT),
        .transaction_ms = config_ms(s->config, CONFIG_SQL_TRANSACTION),
    };

    return sql_create(&c);
}

/* ---- tide.files, tide.password, tide.http ---- */

/* Half of the processors at most: the others go on serving. */
static unsigned count_hashing(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    return processors < 4 ? 1 : processors > 8 ? HASHING_MOST : (unsigned)processors / 2;
}

static int open_files(struct services *s, char **error)
{
    const char *folder = config_text(s->config, CONFIG_FILES_FOLDER);
    int rc = folder ? folder_open(folder, config_number(s->config, CONFIG_FILES_SIZE), &s->shared.folder) : 0;

    if (rc)
        return config_fail_folder(error, rc, CONFIG_FILES_FOLDER, folder);
    s->shared.disk = pool_create(DISK_THREADS, SIZE_MAX); /* the line of each worker is bounded */
    s->shared.hashing = pool_create(count_hashing(), HASHING_LINE);
    return s->shared.disk && s->shared.hashing ? 0 : MT_ENOMEM;
}

/* What is in the file is found out with the first connection; a wrong name should be told at once. */
static int check_authorities(const struct services *s, char **error)
{
    const char *ca = config_text(s->config, CONFIG_HTTP_CA);

    if (!ca || access(ca, R_OK) == 0)
        return 0;
    return config_fail(error, MT_ENOT_FOUND, "%s = \"%s\": the file cannot be read", config_keys[CONFIG_HTTP_CA].name, ca);
}

/* ---- life ---- */

int services_open(const struct config *config, struct log *log, bool check, struct services **out, char **error)
{
    struct services *s = mem_zalloc(1, sizeof(*s));
    int rc;

    if (!s)
        return MT_ENOMEM;
    *out = s;
    s->config = config;
    s->log = log;
    s->shared.memory = memory_store_create(SCRIPT_MEMORY_BYTES, clock_ms);
    s->shared.sql = create_sql(s);
    if (!s->shared.memory || !s->shared.sql)
        return MT_ENOMEM;
    rc = open_store(s, check, error);
    if (rc == 0)
        rc = check_authorities(s, error);
    return rc == 0 ? open_files(s, error) : rc;
}

void services_stop(struct services *s)
{
    if (!s)
        return;
    struct script_services *shared = &s->shared;
    store_destroy(shared->durable);
    pool_destroy(shared->disk);
    pool_destroy(shared->hashing);
    shared->durable = NULL;
    shared->disk = shared->hashing = NULL;
    if (shared->sql)
        sql_stop(shared->sql);
}

void services_destroy(struct services *s)
{
    services_stop(s);
    if (!s)
        return;
    sql_destroy(s->shared.sql);
    memory_store_destroy(s->shared.memory);
    folder_close(s->shared.folder);
    mem_free(s);
}

void services_lend(const struct services *s, struct script_services *out)
{
    *out = s->shared;
}

void services_count(const struct services *s, struct services_counts *out)
{
    struct sql_counts sql;

    sql_count(s->shared.sql, &sql);
    *out = (struct services_counts){
        .databases = sql.databases,
        .statements = sql.statements,
        .sql = sql.requests,
        .store = s->shared.durable ? store_pending(s->shared.durable) : 0,
        .hashing = pool_pending(s->shared.hashing),
    };
}
