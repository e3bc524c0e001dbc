/* token.h - JSON Web Tokens for the command line: what tide.jwt does (jwt.h), in a Lua state of its own. Hides Lua. */
#ifndef MT_SCRIPT_TOKEN_H
#define MT_SCRIPT_TOKEN_H
#include "base/buf.h"
#include "base/slice.h"

/* One claim whose value is a text. */
struct token_claim {
    struct slice name, value;
};

struct token_make {
    struct slice key;    /* a secret, PEM, or a JWK as JSON */
    struct slice claims; /* a JSON object; data NULL: none but the others */
    const struct token_claim *texts;
    size_t text_count;
    const char *algorithm; /* NULL: the usual one of the key */
    double expires_in;     /* seconds; 0: never */
};

struct token_check {
    struct slice key;                              /* or a JWK set */
    const char *algorithm, *issuer, *audience;     /* NULL: not asked for */
    double leeway;                                 /* seconds */
};

/* Adds a token to `out`. 0; MT_EINVALID, MT_ENOMEM with a sentence in *error (mem_free it; NULL when memory ran out). */
int token_make(const struct token_make *spec, struct buf *out, char **error);
/* Adds the claims to `out` as JSON. 0; or the code that jwt.verify names, with a sentence in *error. */
int token_check(struct slice token, const struct token_check *spec, struct buf *out, char **error);
/* How many bytes of secret `key` is; 0 when it is no secret. */
size_t token_secret_bytes(struct slice key);
#endif
