/* config.h - the settings of a server: one table of keys, filled from defaults, a file, the environment and flags.
 *
 * A value of a higher source replaces one of a lower source, whatever the order in which they are set. Lists are replaced
 * whole by a higher source; within one source items add up. Every function that can fail gives a sentence for the operator
 * in *error, which the caller frees with mem_free. A config is made by one thread and read-only once a server has it.
 */
#ifndef MT_APP_CONFIG_H
#define MT_APP_CONFIG_H
#include "base/bucket.h"
#include "base/buf.h"
#include "base/slice.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum config_id {
    CONFIG_LISTEN,
    CONFIG_TLS,
    CONFIG_TLS_CLIENT,
    CONFIG_TLS_CA,
    CONFIG_TLS_CRL,
    CONFIG_ORIGINS,
    CONFIG_ALLOW,
    CONFIG_DENY,
    CONFIG_PROXIES,
    CONFIG_AUTH_EXPIRED,
    CONFIG_STATIC,
    CONFIG_WATCH,
    CONFIG_DEV,
    CONFIG_WORKERS,
    CONFIG_LIBRARY,
    CONFIG_ADMIN,
    CONFIG_CONTROL_PATH,
    CONFIG_USER,
    CONFIG_GROUP,
    CONFIG_LOG_LEVEL,
    CONFIG_LOG_FORMAT,
    CONFIG_LOG_FILE,
    CONFIG_ON_ERROR,
    CONFIG_SCRIPT_TIME,
    CONFIG_SCRIPT_MEMORY,
    CONFIG_RELOAD_TIMEOUT,
    CONFIG_RELOAD_PAUSE,
    CONFIG_RELOAD_PROBATION,
    CONFIG_RELOAD_ERRORS,
    CONFIG_RELOAD_AGE,
    CONFIG_SANDBOX_ALLOW,
    CONFIG_STORE_FILE,
    CONFIG_STORE_URL,
    CONFIG_STORE_CACHE,
    CONFIG_HTTP_CA,
    CONFIG_HTTP_PRIVATE,
    CONFIG_HTTP_BODY,
    CONFIG_HTTP_CONNECTIONS,
    CONFIG_HTTP_PER_HOST,
    CONFIG_FILES_FOLDER,
    CONFIG_FILES_SIZE,
    CONFIG_FILES_OPEN,
    CONFIG_SQL_FOLDER,
    CONFIG_SQL_TIMEOUT,
    CONFIG_SQL_TRANSACTION,
    CONFIG_HTTP_IDLE,
    CONFIG_LIMITS_MESSAGE,
    CONFIG_LIMITS_OUTBOX,
    CONFIG_LIMITS_OUTBOX_GRACE,
    CONFIG_LIMITS_BODY,
    CONFIG_LIMITS_CONNECTIONS,
    CONFIG_LIMITS_WAITING,
    CONFIG_LIMITS_WAIT,
    CONFIG_LIMITS_ADDRESS_CONNECTIONS,
    CONFIG_LIMITS_USER_CONNECTIONS,
    CONFIG_LIMITS_RATE_MESSAGES,
    CONFIG_LIMITS_RATE_BYTES,
    CONFIG_LIMITS_RATE_USER_MESSAGES,
    CONFIG_LIMITS_RATE_HANDSHAKES,
    CONFIG_LIMITS_RATE_EXCEEDED,
    CONFIG_DEFLATE_THRESHOLD,
    CONFIG_HANDSHAKE_TIMEOUT,
    CONFIG_BODY_TIMEOUT,
    CONFIG_IDLE_TIMEOUT,
    CONFIG_PING_INTERVAL,
    CONFIG_PING_TIMEOUT,
    CONFIG_CLOSE_TIMEOUT,
    CONFIG_SHUTDOWN_TIMEOUT,
    CONFIG_COUNT
};

enum config_type {
    CONFIG_BOOL,    /* true or false */
    CONFIG_INT,     /* whole number */
    CONFIG_SIZE,    /* bytes; 64k, 1m, 1MiB, 2g */
    CONFIG_SECONDS, /* 0.5, 500ms, 10s, 2min, 1h */
    CONFIG_RATE,    /* 20/s, 600/min, 20/s burst 100, 64k/s, off */
    CONFIG_STRING,  /* text */
    CONFIG_ENUM,    /* one of choices */
    CONFIG_LIST     /* texts, each one of choices where there are some */
};

/* Lowest first. */
enum config_source { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENV, CONFIG_FLAG };

struct config_key {
    const char *name; /* "limits.message" */
    enum config_type type;
    const char *initial;        /* default as a user would write it; "" = none (empty list or text) */
    double min, max;            /* allowed numbers: INT, SIZE (bytes), SECONDS, RATE (a second) */
    const char *const *choices; /* NULL-terminated; ENUM always, LIST where items are restricted */
    const char *flag;           /* "--listen VALUE" for keys with a flag of their own, else NULL */
    bool may_be_off;            /* SIZE: "off" is allowed and means SIZE_MAX */
    bool may_be_auto;           /* INT: "auto" is allowed and means the number of processors */
    bool live;                  /* a reload changes it; otherwise a restart is needed */
    const char *help;           /* one sentence */
};

extern const struct config_key config_keys[CONFIG_COUNT];

struct access;
struct config;

struct config *config_create(void); /* all defaults; NULL when memory runs out */
void config_destroy(struct config *c);

/* Set `key` from text. Lists: `value` is split at blanks, unless `whole` says that it is one item. "name[1]" sets one item of a
 * list. A value that a higher source has set is checked and then ignored. 0, MT_ENOT_FOUND (no such key), MT_EINVALID, MT_ENOMEM.
 */
int config_set(struct config *c, enum config_source source, const char *key, const char *value, bool whole, char **error);
/* Take MOONTIDE_* from `environment` ("NAME=value" texts, NULL-terminated). Unknown names are errors, MOONTIDE_TLS_PASSPHRASE
 * apart. */
int config_read_env(struct config *c, char *const *environment, char **error);
/* Read a moontide.conf.lua; its path is kept for config_reload. 0, MT_EINVALID, MT_ENOT_FOUND (unknown key), MT_ESCRIPT,
 * MT_ENOMEM. */
int config_read_file(struct config *c, const char *path, char **error);
/* The file that was read; NULL when none was. */
const char *config_path(const struct config *c);
/* The same settings with the file read again; flags and environment stay. Equal copies when there is no file. */
int config_reload(const struct config *old, struct config **out, char **error);
/* What one key alone cannot tell: TLS pairs and addresses that fit together, lists of addresses and origins. 0, MT_EINVALID or
 * MT_ENOMEM. Call it after all sources. */
int config_check(const struct config *c, char **error);

/* Who may connect, by allow, deny, proxies and origins. As config_check. */
int config_access(const struct config *c, struct access **out, char **error);

/* Values; the type must be that of the key. Texts and lists are borrowed until config_destroy. */
bool config_bool(const struct config *c, enum config_id id);
size_t config_number(const struct config *c, enum config_id id); /* INT and SIZE */
double config_seconds(const struct config *c, enum config_id id);
uint64_t config_ms(const struct config *c, enum config_id id);             /* SECONDS, at least 1 unless 0 */
struct rate config_rate(const struct config *c, enum config_id id); /* RATE */
const char *config_text(const struct config *c, enum config_id id);        /* STRING and ENUM; NULL when empty */
const char *const *config_list(const struct config *c, enum config_id id); /* NULL-terminated, never NULL */
size_t config_list_count(const struct config *c, enum config_id id);
enum config_source config_source(const struct config *c, enum config_id id);
bool config_equal(const struct config *a, const struct config *b, enum config_id id);

/* ---- addresses and certificates, as `listen` and `tls` hold them ---- */
enum config_scheme { CONFIG_PLAIN, CONFIG_TLS_ONLY, CONFIG_EITHER };
/* Splits an optional "http://", "https://", "ws://" or "wss://" off an address. The rest is what net_listen takes. */
enum config_scheme config_split_address(const char *item, struct slice *address);
/* Whether the listener `item` speaks TLS: as its scheme says, else where certificates are configured and it is no unix socket. */
bool config_wants_tls(const struct config *c, const char *item);
/* "CERT,KEY" -> both; false when it is not of that form. */
bool config_split_pair(const char *item, struct slice *chain, struct slice *key);

/* ---- for people ---- */
int config_env_name(const char *key, struct buf *out); /* "MOONTIDE_LIMITS_MESSAGE" without NUL; 0 or MT_ENOMEM */
/* The allowed values in words ("1 to 1g", "text or json"), empty when anything goes. 0 or MT_ENOMEM. */
int config_range(const struct config_key *key, struct buf *out);
int config_print_help(struct buf *out);     /* the table for `moontide help config`; 0 or MT_ENOMEM */
int config_print_markdown(struct buf *out); /* docs/configuration.md; 0 or MT_ENOMEM */
#endif
