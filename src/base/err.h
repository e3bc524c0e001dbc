/* err.h - the error codes that every layer returns.
 *
 * A function that can fail returns 0 (or something useful above it) or one of these, always negative. `name` is what
 * scripts see as the third result (`nil, message, name`) and belongs to the closed list in the manual; `text` is for people.
 */
#ifndef MT_BASE_ERR_H
#define MT_BASE_ERR_H

#define MT_ERRORS(X)                                             \
    X(MT_ENOMEM, -1, "nomem", "out of memory")                   \
    X(MT_ECLOSED, -2, "closed", "closed")                        \
    X(MT_EOVERFLOW, -3, "overflow", "the outbox is full")        \
    X(MT_EDROPPED, -4, "dropped", "dropped, the reader is slow") \
    X(MT_EOFFLINE, -5, "offline", "nobody there")                \
    X(MT_ETIMEOUT, -6, "timeout", "timeout")                     \
    X(MT_ECANCELLED, -7, "cancelled", "cancelled")               \
    X(MT_EREFUSED, -8, "refused", "connection refused")          \
    X(MT_ETLS, -9, "tls", "TLS failed")                          \
    X(MT_EDNS, -10, "dns", "name not found")                     \
    X(MT_ETOO_LARGE, -11, "too_large", "too large")              \
    X(MT_EMALFORMED, -12, "malformed", "malformed")              \
    X(MT_EJSON, -13, "json", "not valid JSON")                   \
    X(MT_EINVALID, -14, "invalid", "not valid")                  \
    X(MT_EDENIED, -15, "denied", "not allowed")                  \
    X(MT_ELIMITED, -16, "limited", "too many")                   \
    X(MT_EMISSING, -17, "missing", "missing")                    \
    X(MT_EEXPIRED, -18, "expired", "expired")                    \
    X(MT_EFULL, -19, "full", "full")                             \
    X(MT_EBUSY, -20, "busy", "busy")                             \
    X(MT_ECONSTRAINT, -21, "constraint", "constraint violated")  \
    X(MT_ENOT_FOUND, -22, "not_found", "not found")              \
    X(MT_EIO, -23, "io", "input/output error")                   \
    X(MT_ESCRIPT, -24, "script", "the script failed")

enum mt_err {
#define MT_ERR_ENUM(code, value, name, text) code = value,
    MT_ERRORS(MT_ERR_ENUM)
#undef MT_ERR_ENUM
};

/* The short name of a code ("closed"), never NULL. */
const char *err_name(int code);
/* The sentence for a code, never NULL. */
const char *err_text(int code);
#endif
