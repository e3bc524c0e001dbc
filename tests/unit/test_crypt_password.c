/* test_crypt_password.c - scrypt by the vectors of RFC 7914, and passwords as text. */
#include "crypt/password.h"

#include "base/err.h"
#include "base/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void expect_scrypt(const char *text, const char *salt, uint64_t n, uint32_t r, uint32_t p, const char *hex)
{
    const struct scrypt_cost cost = {n, r, p};
    unsigned char out[64];
    struct buf got = {0};

    assert_int_equal(password_scrypt(slice_of(text), slice_of(salt), &cost, out, sizeof(out)), 0);
    assert_int_equal(text_hex(&got, out, sizeof(out)), 0);
    assert_true(slice_is(buf_slice(&got), slice_of(hex)));
    buf_fini(&got);
}

/* RFC 7914, section 12; its last one takes 1 GiB. */
static void vectors(void **state)
{
    expect_scrypt("", "", 16, 1, 1,
                  "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
                  "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906");
    expect_scrypt("password", "NaCl", 1024, 8, 16,
                  "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                  "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640");
    expect_scrypt("pleaseletmein", "SodiumChloride", 16384, 8, 1,
                  "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
                  "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887");
}

static void no_such_cost(void **state)
{
    const struct scrypt_cost odd = {1000, 8, 1}, none = {1, 8, 1};
    unsigned char out[32];

    assert_int_equal(password_scrypt(SLICE("x"), SLICE("y"), &odd, out, sizeof(out)), MT_EINVALID);
    assert_int_equal(password_scrypt(SLICE("x"), SLICE("y"), &none, out, sizeof(out)), MT_EINVALID);
}

static bool verify(const char *text, const char *hash)
{
    struct password_parts parts;
    bool same = false;

    assert_int_equal(password_parse(slice_of(hash), &parts), 0);
    assert_int_equal(password_verify(slice_of(text), &parts, &same), 0);
    return same;
}

static void a_password_is_its_own(void **state)
{
    char one[PASSWORD_HASH_MAX], two[PASSWORD_HASH_MAX];

    assert_int_equal(password_hash(SLICE("correct horse"), one), 0);
    assert_int_equal(password_hash(SLICE("correct horse"), two), 0);
    assert_string_not_equal(one, two);
    assert_memory_equal(one, "$scrypt$ln=15,r=8,p=1$", 22);
    assert_int_equal(strlen(one), 88);
    assert_true(verify("correct horse", one));
    assert_true(verify("correct horse", two));
    assert_false(verify("correct horsf", one));
    assert_false(verify("", one));
}

/* Made by Python: hashlib.scrypt(b"secret", salt=b"0123456789abcdef", n=2**10, r=4, p=2, dklen=32) */
#define FOREIGN "$scrypt$ln=10,r=4,p=2$MDEyMzQ1Njc4OWFiY2RlZg$jWuTMOnskJ0E0bXgwQZMwppbOnXAd29H1VLScnTLlX4"

static void hashes_of_others(void **state)
{
    assert_true(verify("secret", FOREIGN));
    assert_false(verify("Secret", FOREIGN));
}

static void expect_parse(int code, const char *text)
{
    struct password_parts parts;

    if (password_parse(slice_of(text), &parts) != code)
        fail_msg("%s is not %s", text, err_name(code));
}

#define SALT "MDEyMzQ1Njc4OWFiY2RlZg"
#define HASH "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void what_is_no_hash(void **state)
{
    static const char *const malformed[] = {"",
                                            "$",
                                            "$$",
                                            "scrypt",
                                            "x$scrypt$ln=15,r=8,p=1$" SALT "$" HASH,
                                            "$scrypt",
                                            "$scrypt$",
                                            "$scrypt$ln=15,r=8,p=1",
                                            "$scrypt$ln=15,r=8,p=1$",
                                            "$scrypt$ln=15,r=8,p=1$" SALT,
                                            "$scrypt$ln=15,r=8,p=1$" SALT "$",
                                            "$scrypt$ln=15,r=8,p=1$" SALT "$" HASH "$",
                                            "$scrypt$ln=15,r=8,p=1$" SALT "$" HASH "$x",
                                            "$scrypt$ln=15,r=8,p=1,q=2$" SALT "$" HASH,
                                            "$scrypt$r=8,ln=15,p=1$" SALT "$" HASH,
                                            "$scrypt$ln=,r=8,p=1$" SALT "$" HASH,
                                            "$scrypt$ln=0,r=8,p=1$" SALT "$" HASH,
                                            "$scrypt$ln=15,r=0,p=1$" SALT "$" HASH,
                                            "$scrypt$ln=15,r=8,p=0$" SALT "$" HASH,
                                            "$scrypt$ln=-1,r=8,p=1$" SALT "$" HASH,
                                            "$scrypt$ln=64,r=8,p=1$" SALT "$" HASH,
                                            "$scrypt$ln=16,r=1,p=1$" SALT "$" HASH,
                                            "$scrypt$ln=15,r=4294967296,p=1$" SALT "$" HASH,
                                            "$scrypt$ln=15,r=8,p=1$" SALT "==$" HASH,
                                            "$scrypt$ln=15,r=8,p=1$MDEy$" HASH,
                                            "$scrypt$ln=15,r=8,p=1$" SALT "$MDEy",
                                            "$scrypt$ln=15,r=8,p=1$" SALT "$" HASH HASH HASH,
                                            "$argon2id$v=19$m=65536,t=3,p=4$" SALT "$" HASH,
                                            "$2b$12$KIXQ4R6",
                                            "hunter2"};

    for (size_t i = 0; i < sizeof(malformed) / sizeof(*malformed); i++)
        expect_parse(MT_EMALFORMED, malformed[i]);
    expect_parse(0, "$scrypt$ln=15,r=8,p=1$" SALT "$" HASH);
}

/* A hash that somebody planted must not take gigabytes or minutes. */
static void what_costs_too_much(void **state)
{
    static const char *const large[] = {
        "ln=63,r=8,p=1",  "ln=18,r=8,p=1",         "ln=10,r=4294967295,p=4294967295", "ln=1,r=4294967295,p=1",
        "ln=15,r=8,p=17", "ln=1,r=1,p=4294967295", "ln=1,r=1048576,p=1048576",        "ln=17,r=8,p=5"};
    char text[256];

    for (size_t i = 0; i < sizeof(large) / sizeof(*large); i++) {
        snprintf(text, sizeof(text), "$scrypt$%s$" SALT "$" HASH, large[i]);
        expect_parse(MT_ETOO_LARGE, text);
    }
    expect_parse(0, "$scrypt$ln=17,r=8,p=4$" SALT "$" HASH);
    expect_parse(0, "$scrypt$ln=15,r=8,p=16$" SALT "$" HASH);
}

static void nobody_has_the_unknown_one(void **state)
{
    struct password_parts parts;
    bool same = true;

    password_unknown(&parts);
    assert_int_equal(password_verify(SLICE(""), &parts, &same), 0);
    assert_false(same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(no_such_cost),
        cmocka_unit_test(a_password_is_its_own),
        cmocka_unit_test(hashes_of_others),
        cmocka_unit_test(what_is_no_hash),
        cmocka_unit_test(what_costs_too_much),
        cmocka_unit_test(nobody_has_the_unknown_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
