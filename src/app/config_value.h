/* config_value.h - one setting's value and how it is read from text. Only for the files config*.c. */
#ifndef MT_APP_CONFIG_VALUE_H
#define MT_APP_CONFIG_VALUE_H
#include "app/config.h"

struct config_value {
    enum config_source source; /* who set it last */
    double number;             /* BOOL (0 or 1), INT, SIZE, SECONDS, RATE (a second); SIZE_MAX as a double stands for "off" */
    double burst;              /* RATE */
    char *text;                /* STRING, ENUM: owned, NULL when empty */
    char **items;              /* LIST: owned array of owned texts, NULL-terminated; NULL while empty */
    size_t count;              /* LIST: items without the NULL */
    size_t room;               /* LIST: places in the array, the one of the NULL included */
};

struct config {
    struct config_value values[CONFIG_COUNT];
    char *path; /* of the file that was read, owned; NULL when none */
};

/* Read `text` as the type of `key` into `v`, which is empty. Lists get their items appended by config_value_add. 0,
 * MT_EINVALID with *error, MT_ENOMEM. */
int config_value_parse(const struct config_key *key, const char *text, struct config_value *v, char **error);
/* Add one item (or, unless `whole`, each of the blank-separated items) to a list. Same results. */
int config_value_add(const struct config_key *key, const char *text, bool whole, struct config_value *v, char **error);
/* Room for `more` items and the NULL: lists of addresses are long, so it grows by doubling. 0 or MT_ENOMEM. */
int config_value_reserve(struct config_value *v, size_t more);
int config_value_copy(const struct config_value *from, struct config_value *to); /* `to` is empty. 0 or MT_ENOMEM */
void config_value_fini(struct config_value *v);                                  /* frees; the value is empty again */
bool config_value_equal(const struct config_value *a, const struct config_value *b);
/* "64k", "1m" for round numbers, plain digits otherwise. 0 or MT_ENOMEM. */
int config_put_size(struct buf *out, double bytes);
int config_put_seconds(struct buf *out, double seconds); /* "500ms", "10s", "1h"; 0 or MT_ENOMEM */
/* printf into *error (only when it is not NULL) and return `code`; MT_ENOMEM when memory runs out. */
int config_fail(char **error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with a sentence about the folder that a setting names. */
int config_fail_folder(char **error, int code, enum config_id id, const char *folder);
#endif
