/* cli_token.c - flags, keys from files and the environment, and the two things to do with them.
 *
 * No key is taken from the command line: there every user of the machine can see it, and the shell's history keeps it.
 */
#include "app/cli_token.h"

#include "app/config_value.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypt/crypt.h"
#include "script/token.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { FINE = 0, FAILED = 1, USAGE = 2, SECRET_BYTES = 32, CLAIMS_MAX = 64, INPUT_MAX = 256 << 10 };

const char cli_token_help[] =
    "moontide token make [flags]           make a token and print it\n"
    "moontide token check [TOKEN] [flags]  check a token and print its claims as JSON; without TOKEN, or with -, from stdin\n"
    "moontide token secret                 print a new secret to sign with\n"
    "\n"
    "The same tokens as tide.jwt has: HS256, HS384, HS512, RS256 to RS512, PS256 to PS512, ES256 to ES512, EdDSA.\n"
    "\n"
    "The key, a secret, a PEM text or a JWK, for check also a JWK set. It is never taken from the command line, where\n"
    "everybody on the machine can see it:\n"
    "  --key-env NAME       from the environment (default JWT_KEY)\n"
    "  --key-file FILE      from a file, - is stdin; a line break at its end is not part of a secret\n"
    "\n"
    "Of make:\n"
    "  --sub TEXT           who it is for\n"
    "  --expires TIME       how long it is good: 90 or 90s, 15m, 1h, 7d (default: for ever)\n"
    "  --issuer TEXT, --audience TEXT\n"
    "  --claim NAME=TEXT    another claim; repeatable\n"
    "  --claims JSON        more claims, an object\n"
    "  --algorithm NAME     (default: HS256, RS256, ES256, EdDSA, ..., as the key is)\n"
    "\n"
    "Of check:\n"
    "  --issuer TEXT, --audience TEXT, --algorithm NAME   what it must have\n"
    "  --leeway TIME        how far its clock may be off (default 0)\n"
    "\n"
    "For example:\n"
    "  export JWT_KEY=$(moontide token secret)\n"
    "  moontide token make --sub ann --expires 1h | moontide token check\n"
    "\n"
    "Exit code: 0, 1 when the token or the key is not fine, 2 for wrong flags.\n";

struct options {
    const char *key_env, *key_file, *sub, *expires, *issuer, *audience, *claims, *algorithm, *leeway;
    const char *token; /* of check */
    struct token_claim texts[CLAIMS_MAX];
    size_t text_count;
    double expires_in, leeway_for; /* seconds, of expires and leeway */
};

enum verb { MAKE = 1, CHECK = 2, SECRET = 4 };

static const struct verb_name {
    const char *name;
    enum verb verb;
} verbs[] = {{"make", MAKE}, {"sign", MAKE}, {"check", CHECK}, {"verify", CHECK}, {"secret", SECRET}};
enum { VERBS = sizeof(verbs) / sizeof(*verbs) };

static const struct flag {
    const char *name;
    size_t at;      /* in struct options */
    unsigned verbs; /* that take it */
} flags[] = {
    {"--key-env", offsetof(struct options, key_env), MAKE | CHECK},
    {"--key-file", offsetof(struct options, key_file), MAKE | CHECK},
    {"--sub", offsetof(struct options, sub), MAKE},
    {"--expires", offsetof(struct options, expires), MAKE},
    {"--issuer", offsetof(struct options, issuer), MAKE | CHECK},
    {"--audience", offsetof(struct options, audience), MAKE | CHECK},
    {"--claims", offsetof(struct options, claims), MAKE},
    {"--algorithm", offsetof(struct options, algorithm), MAKE | CHECK},
    {"--leeway", offsetof(struct options, leeway), CHECK},
    {"--claim", 0, MAKE},
};
enum { FLAGS = sizeof(flags) / sizeof(*flags) };

/* ---- messages ---- */

static int leave(int code, int rc, char *error)
{
    fprintf(stderr, "moontide: %s\n", error ? error : err_text(rc));
    mem_free(error);
    return code;
}

static int fail_flag(struct slice name, char **error)
{
    const char *names[FLAGS + 2] = {"--help"};

    if (slice_is(name, SLICE("--key")))
        return config_fail(error, MT_EINVALID, "a key on the command line can be seen by everybody; use --key-env or --key-file");
    for (size_t i = 0; i < FLAGS; i++)
        names[i + 1] = flags[i].name;
    const char *near = text_nearest(name, names);
    return config_fail(error, MT_EINVALID, "unknown flag %.*s%s%s%s", (int)name.len, name.data, near ? "; did you mean " : "",
                       near ? near : "", near ? "?" : "; see moontide help token");
}

/* ---- arguments ---- */

static int add_claim(struct options *o, struct slice name, struct slice value, char **error)
{
    if (o->text_count == CLAIMS_MAX)
        return config_fail(error, MT_EINVALID, "more than %d claims; use --claims", CLAIMS_MAX);
    o->texts[o->text_count++] = (struct token_claim){name, value};
    return 0;
}

static int take_claim(struct options *o, const char *pair, char **error)
{
    const char *equals = strchr(pair, '=');

    if (!equals || equals == pair)
        return config_fail(error, MT_EINVALID, "--claim \"%s\" is not NAME=TEXT", pair);
    return add_claim(o, (struct slice){pair, (size_t)(equals - pair)}, slice_of(equals + 1), error);
}

static int take_flag(struct options *o, enum verb verb, char *const **at, char **error)
{
    const char *arg = *(*at)++, *equals = strchr(arg, '='), *value;
    struct slice name = {arg, equals ? (size_t)(equals - arg) : strlen(arg)};
    size_t i = 0;

    while (i < FLAGS && !slice_is(name, slice_of(flags[i].name)))
        i++;
    if (i == FLAGS)
        return fail_flag(name, error);
    if (!(flags[i].verbs & verb))
        return config_fail(error, MT_EINVALID, "%s is not for this; see moontide help token", flags[i].name);
    value = equals ? equals + 1 : **at ? *(*at)++ : NULL;
    if (!value)
        return config_fail(error, MT_EINVALID, "%s needs a value", flags[i].name);
    if (strcmp(flags[i].name, "--claim") == 0)
        return take_claim(o, value, error);
    *(const char **)((char *)o + flags[i].at) = value;
    return 0;
}

static int take_arguments(struct options *o, enum verb verb, char *const *at, char **error)
{
    int rc = 0;

    while (rc == 0 && *at) {
        if (**at == '-' && (*at)[1])
            rc = take_flag(o, verb, &at, error);
        else if (verb == CHECK && !o->token)
            o->token = *at++;
        else
            rc = config_fail(error, MT_EINVALID, "unexpected argument \"%s\"", *at);
    }
    return rc;
}

/* "90", "90s", "15m", "1h", "7d" */
static int read_time(const char *flag, const char *text, double *seconds, char **error)
{
    static const struct {
        char letter;
        double factor;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    size_t len = strlen(text);
    unsigned long long count;
    double factor = 1;

    for (size_t i = 0; len && i < sizeof(units) / sizeof(*units); i++)
        if (text[len - 1] == units[i].letter) {
            factor = units[i].factor;
            len--;
            break;
        }
    if (!slice_to_uint((struct slice){text, len}, 1000000000, &count) || len == 0)
        return config_fail(error, MT_EINVALID, "%s \"%s\" is not a time, as 90s, 15m, 1h or 7d", flag, text);
    *seconds = (double)count * factor;
    return 0;
}

/* What stands in flags, but can be seen to be wrong only when all are there. */
static int read_options(struct options *o, char **error)
{
    int rc = 0;

    if (o->key_env && o->key_file)
        return config_fail(error, MT_EINVALID, "either --key-env or --key-file");
    if (o->expires)
        rc = read_time("--expires", o->expires, &o->expires_in, error);
    if (rc == 0 && o->expires && o->expires_in == 0)
        rc = config_fail(error, MT_EINVALID, "--expires \"%s\": such a token has expired already", o->expires);
    return rc == 0 && o->leeway ? read_time("--leeway", o->leeway, &o->leeway_for, error) : rc;
}

/* ---- input ---- */

static int read_stream(FILE *f, struct buf *out)
{
    size_t n;

    do {
        if (buf_reserve(out, 4096) != 0)
            return MT_ENOMEM;
        n = fread(out->data + out->len, 1, 4096, f);
        out->len += n;
    } while (n > 0 && out->len <= INPUT_MAX);
    return ferror(f) ? MT_EIO : out->len > INPUT_MAX ? MT_ETOO_LARGE : 0;
}

/* "-" is stdin. Line breaks at the end are left out. */
static int read_input(const char *path, struct buf *out, char **error)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    int rc;

    if (!f)
        return config_fail(error, MT_EIO, "%s: %s", path, strerror(errno));
    errno = 0;
    rc = read_stream(f, out);
    if (rc == MT_EIO || rc == MT_ETOO_LARGE)
        rc = config_fail(error, rc, "%s: %s", path, rc == MT_EIO ? strerror(errno) : err_text(rc));
    if (f != stdin)
        fclose(f);
    while (out->len && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->len--;
    return rc;
}

static int read_key(const struct options *o, struct buf *out, char **error)
{
    const char *name = o->key_env ? o->key_env : "JWT_KEY", *value;

    if (o->key_file)
        return read_input(o->key_file, out, error);
    value = getenv(name);
    if (!value || !*value)
        return config_fail(error, MT_ENOT_FOUND, "no key: %s is not set in the environment; see --key-env and --key-file", name);
    return buf_add_text(out, value);
}

/* ---- the three ---- */

/* A line on stdout. It may be a full disk, or a pipe that nobody reads. */
static int print(const struct buf *line)
{
    printf("%.*s\n", (int)line->len, (const char *)line->data);
    return fflush(stdout) == 0 ? 0 : MT_EIO;
}

static int print_secret(void)
{
    unsigned char bytes[SECRET_BYTES];
    struct buf text = {0};
    int rc = crypt_random(bytes, sizeof(bytes));

    if (rc == 0)
        rc = text_base64(&text, bytes, sizeof(bytes), true);
    if (rc == 0)
        rc = print(&text);
    buf_fini(&text);
    return rc == 0 ? FINE : leave(FAILED, rc, NULL);
}

static void warn_of_secret(struct slice key)
{
    size_t bytes = token_secret_bytes(key);

    if (bytes > 0 && bytes < SECRET_BYTES)
        fprintf(stderr, "moontide: who has a token can find a secret of %zu bytes by trying; moontide token secret makes one of %d\n",
                bytes, SECRET_BYTES);
}

static int make(struct options *o, struct slice key, struct buf *out, char **error)
{
    const struct token_claim named[] = {{SLICE("sub"), slice_of(o->sub)},
                                        {SLICE("iss"), slice_of(o->issuer)},
                                        {SLICE("aud"), slice_of(o->audience)}};
    struct token_make spec = {
        .key = key, .claims = slice_of(o->claims), .algorithm = o->algorithm, .expires_in = o->expires_in};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < sizeof(named) / sizeof(*named); i++)
        if (named[i].value.data)
            rc = add_claim(o, named[i].name, named[i].value, error);
    spec.texts = o->texts;
    spec.text_count = o->text_count;
    if (rc != 0)
        return rc;
    warn_of_secret(key);
    return token_make(&spec, out, error);
}

static int check(const struct options *o, struct slice key, struct buf *out, char **error)
{
    struct token_check spec = {
        .key = key, .algorithm = o->algorithm, .issuer = o->issuer, .audience = o->audience, .leeway = o->leeway_for};
    bool from_stdin = !o->token || strcmp(o->token, "-") == 0;
    struct buf token = {0};
    int rc = 0;

    if (from_stdin && o->key_file && strcmp(o->key_file, "-") == 0)
        rc = config_fail(error, MT_EINVALID, "key and token cannot both come from stdin");
    if (rc == 0)
        rc = from_stdin ? read_input("-", &token, error) : buf_add_text(&token, o->token);
    if (rc == 0)
        rc = token_check(buf_slice(&token), &spec, out, error);
    buf_fini(&token);
    return rc;
}

static int run(enum verb verb, struct options *o)
{
    struct buf key = {0}, out = {0};
    char *error = NULL;
    int rc = read_key(o, &key, &error);

    if (rc == 0)
        rc = verb == MAKE ? make(o, buf_slice(&key), &out, &error) : check(o, buf_slice(&key), &out, &error);
    if (rc == 0)
        rc = print(&out);
    if (key.data)
        explicit_bzero(key.data, key.cap);
    buf_fini(&key);
    buf_fini(&out);
    return rc == 0 ? FINE : leave(FAILED, rc, error);
}

static int fail_verb(const char *word)
{
    const char *names[VERBS + 1] = {NULL}, *near;
    char *error = NULL;

    for (size_t i = 0; i < VERBS; i++)
        names[i] = verbs[i].name;
    near = word ? text_nearest(slice_of(word), names) : NULL;
    if (!word)
        config_fail(&error, MT_EINVALID, "what? moontide token make, check or secret; see moontide help token");
    else
        config_fail(&error, MT_EINVALID, "moontide token %s is not there%s%s%s", word, near ? "; did you mean " : "",
                    near ? near : "", near ? "?" : "; see moontide help token");
    return leave(USAGE, MT_ENOMEM, error);
}

int cli_token_run(int argc, char *const *argv)
{
    struct options o = {0};
    enum verb verb = 0;
    char *error = NULL;

    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(cli_token_help, stdout);
            return FINE;
        }
    for (size_t i = 0; argc > 0 && i < VERBS; i++)
        if (strcmp(argv[0], verbs[i].name) == 0)
            verb = verbs[i].verb;
    if (!verb)
        return fail_verb(argc > 0 ? argv[0] : NULL);
    int rc = take_arguments(&o, verb, argv + 1, &error);
    if (rc == 0)
        rc = read_options(&o, &error);
    if (rc != 0)
        return leave(USAGE, rc, error);
    return verb == SECRET ? print_secret() : run(verb, &o);
}
