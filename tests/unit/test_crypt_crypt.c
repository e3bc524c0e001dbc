/* test_crypt_crypt.c - digests and MACs against published vectors. */
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypt/crypt.h"

#include <openssl/err.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void assert_hex(const unsigned char *bytes, size_t len, const char *hex)
{
    struct buf text = {0};
    assert_int_equal(text_hex(&text, bytes, len), 0);
    assert_int_equal(text.len, strlen(hex));
    assert_memory_equal(text.data, hex, text.len);
    buf_fini(&text);
}

static const struct vector {
    const char *name, *abc; /* digest of "abc" */
} vectors[] = {
    {"md5", "900150983cd24fb0d6963f7d28e17f72"},
    {"sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {"sha224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
    {"sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"sha384", "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
    {"sha512", "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
               "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {"sha3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
    {"sha3-512", "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
                 "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0"},
    {"blake2s256", "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"},
    {"blake2b512", "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
                   "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923"},
};

enum { VECTORS = sizeof(vectors) / sizeof(*vectors) };

static void every_digest_is_right(void **state)
{
    for (size_t i = 0; i < VECTORS; i++) {
        unsigned char out[CRYPT_DIGEST_MAX];
        size_t len = 0;
        assert_string_equal(crypt_digest_names[i], vectors[i].name);
        assert_int_equal(crypt_digest(slice_of(vectors[i].name), "abc", 3, out, &len), 0);
        assert_hex(out, len, vectors[i].abc);
    }
    assert_null(crypt_digest_names[VECTORS]);
}

static void nothing_has_a_digest(void **state)
{
    unsigned char out[CRYPT_DIGEST_MAX];
    size_t len = 0;
    assert_int_equal(crypt_digest(SLICE("sha256"), NULL, 0, out, &len), 0);
    assert_hex(out, len, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void unknown_names_are_refused(void **state)
{
    static const char *const names[] = {"", "sha", "SHA256", "sha2567", "sha256 ", "shake128"};
    unsigned char out[CRYPT_DIGEST_MAX];
    size_t len = 0;
    struct crypt_hasher *h = NULL;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        assert_int_equal(crypt_digest(slice_of(names[i]), "abc", 3, out, &len), MT_EINVALID);
        assert_int_equal(crypt_hmac(slice_of(names[i]), SLICE("k"), "abc", 3, out, &len), MT_EINVALID);
        assert_int_equal(crypt_hasher_create(slice_of(names[i]), &h), MT_EINVALID);
        assert_null(h);
    }
}

static void hmac(const char *name, struct slice key, struct slice data, const char *hex)
{
    unsigned char out[CRYPT_DIGEST_MAX];
    size_t len = 0;
    assert_int_equal(crypt_hmac(slice_of(name), key, data.data, data.len, out, &len), 0);
    assert_hex(out, len, hex);
}

/* RFC 2202 and RFC 4231. */
static void hmac_is_right(void **state)
{
    char long_key[131];
    memset(long_key, 0xaa, sizeof(long_key));

    hmac("md5", SLICE("Jefe"), SLICE("what do ya want for nothing?"), "750c783e6ab0b503eaa86e310a5db738");
    hmac("sha1", SLICE("Jefe"), SLICE("what do ya want for nothing?"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    hmac("sha256", SLICE("Jefe"), SLICE("what do ya want for nothing?"),
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    hmac("sha512", SLICE("Jefe"), SLICE("what do ya want for nothing?"),
         "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
         "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737");
    hmac("sha256", (struct slice){long_key, sizeof(long_key)}, SLICE("Test Using Larger Than Block-Size Key - Hash Key First"),
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    hmac("sha256", SLICE(""), SLICE(""), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
    hmac("sha256", (struct slice){NULL, 0}, (struct slice){NULL, 0},
         "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* The shared pattern must not remember the key of the call before. */
static void hmac_calls_do_not_meet(void **state)
{
    for (int i = 0; i < 3; i++) {
        hmac("sha1", SLICE("other key"), SLICE("other data"), "7b228fb5179277b71ceda4d88116bc6773ebb439");
        hmac("sha1", SLICE("Jefe"), SLICE("what do ya want for nothing?"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }
}

static void every_digest_has_an_hmac(void **state)
{
    for (size_t i = 0; crypt_digest_names[i]; i++) {
        unsigned char mac[CRYPT_DIGEST_MAX], digest[CRYPT_DIGEST_MAX];
        size_t mac_len = 0, digest_len = 0;
        assert_int_equal(crypt_hmac(slice_of(crypt_digest_names[i]), SLICE("k"), "abc", 3, mac, &mac_len), 0);
        assert_int_equal(crypt_digest(slice_of(crypt_digest_names[i]), "abc", 3, digest, &digest_len), 0);
        assert_int_equal(mac_len, digest_len);
        assert_memory_not_equal(mac, digest, mac_len);
    }
}

static void pieces_equal_the_whole(void **state)
{
    for (size_t i = 0; i < VECTORS; i++) {
        struct crypt_hasher *h = NULL;
        unsigned char out[CRYPT_DIGEST_MAX];
        size_t len = 0;
        assert_int_equal(crypt_hasher_create(slice_of(vectors[i].name), &h), 0);
        assert_int_equal(crypt_hasher_update(h, "a", 1), 0);
        assert_int_equal(crypt_hasher_update(h, NULL, 0), 0);
        assert_int_equal(crypt_hasher_digest(h, out, &len), 0); /* must not end it */
        assert_int_equal(crypt_hasher_update(h, "bc", 2), 0);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(crypt_hasher_digest(h, out, &len), 0);
            assert_hex(out, len, vectors[i].abc);
        }
        crypt_hasher_destroy(h);
    }
    crypt_hasher_destroy(NULL);
}

static void failed_allocation_is_reported(void **state)
{
    struct crypt_hasher *h = NULL;
    mem_fail_at(1);
    assert_int_equal(crypt_hasher_create(SLICE("sha256"), &h), MT_ENOMEM);
    assert_null(h);
    mem_fail_at(0);
}

static void random_bytes_fill_all(void **state)
{
    unsigned char a[64] = {0}, b[64] = {0};
    assert_int_equal(crypt_random(a, sizeof(a)), 0);
    assert_int_equal(crypt_random(b, sizeof(b)), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a + 48, b + 48, 16); /* 2^-128: the end is filled too */
    assert_int_equal(crypt_random(NULL, 0), 0);
    unsigned char guarded[3] = {1, 2, 3};
    assert_int_equal(crypt_random(guarded + 1, 1), 0);
    assert_int_equal(guarded[0], 1);
    assert_int_equal(guarded[2], 3);
}

static void equal_compares(void **state)
{
    assert_true(crypt_equal(SLICE("secret"), SLICE("secret")));
    assert_false(crypt_equal(SLICE("secret"), SLICE("secreT")));
    assert_false(crypt_equal(SLICE("Secret"), SLICE("secret")));
    assert_false(crypt_equal(SLICE("secret"), SLICE("secre")));
    assert_true(crypt_equal(SLICE(""), (struct slice){NULL, 0}));
    assert_false(crypt_equal(SLICE("a\0b"), SLICE("a\0c")));
}

/* TLS on the same thread takes what is in the queue for its own failure. */
static void error_queue_stays_clean(void **state)
{
    unsigned char out[CRYPT_DIGEST_MAX];
    size_t len = 0;

    ERR_raise(ERR_LIB_USER, 1);
    assert_int_equal(crypt_digest(SLICE("sha1"), "abc", 3, out, &len), 0);
    assert_int_equal(ERR_peek_error(), 0);
    ERR_raise(ERR_LIB_USER, 1);
    assert_int_equal(crypt_digest(SLICE("nope"), "abc", 3, out, &len), MT_EINVALID);
    assert_int_equal(ERR_peek_error(), 0);
    ERR_raise(ERR_LIB_USER, 1);
    assert_int_equal(crypt_random(out, 8), 0);
    assert_int_equal(ERR_peek_error(), 0);
}

static void *hash_much(void *arg)
{
    uintptr_t bad = 0;
    for (int round = 0; round < 200; round++) {
        unsigned char out[CRYPT_DIGEST_MAX], mac[CRYPT_DIGEST_MAX];
        size_t len = 0, mac_len = 0;
        bad += crypt_digest(SLICE("md5"), "abc", 3, out, &len) != 0 || out[0] != 0x90;
        bad += crypt_hmac(SLICE("sha1"), SLICE("Jefe"), "what do ya want for nothing?", 28, mac, &mac_len) != 0 || mac[0] != 0xef;
    }
    return (void *)bad;
}

static void threads_share_the_digests(void **state)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hash_much, NULL), 0);
    for (int i = 0; i < 4; i++) {
        void *bad = NULL;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_the_digests), /* first: the fetching itself races here */
        cmocka_unit_test(every_digest_is_right),     cmocka_unit_test(nothing_has_a_digest),
        cmocka_unit_test(unknown_names_are_refused), cmocka_unit_test(hmac_is_right),
        cmocka_unit_test(hmac_calls_do_not_meet),    cmocka_unit_test(every_digest_has_an_hmac),
        cmocka_unit_test(pieces_equal_the_whole),    cmocka_unit_test(failed_allocation_is_reported),
        cmocka_unit_test(random_bytes_fill_all),     cmocka_unit_test(equal_compares),
        cmocka_unit_test(error_queue_stays_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
