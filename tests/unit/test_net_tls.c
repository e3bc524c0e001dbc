/* test_net_tls.c - what the workers share of TLS: certificates that are swapped for all at once, keys of session tickets. And how a
 * storm of handshakes is served. */
#include "base/err.h"
#include "base/mem.h"
#include "fake_net.h"
#include "net/tickets.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
// cmocka needs the headers above first
#include <cmocka.h>

static char folder[] = "/tmp/moontide-test-XXXXXX";
static char chain_path[64], key_path[64];
static const struct net_tls_file files = {chain_path, key_path};

/* ---- certificates ---- */

static EVP_PKEY *make_key(bool rsa)
{
    EVP_PKEY *key = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");

    assert_non_null(key);
    return key;
}

/* Signed by itself; `name` is its subject. */
static X509 *make_certificate(EVP_PKEY *key, const char *name)
{
    X509 *x = X509_new();
    X509_NAME *subject = X509_get_subject_name(x);

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, subject);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    return x;
}

static void write_certificate(X509 *x)
{
    FILE *f = fopen(chain_path, "w");

    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
}

static void write_key(EVP_PKEY *key)
{
    FILE *f = fopen(key_path, "w");

    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

static void write_pair(bool rsa, const char *name)
{
    EVP_PKEY *key = make_key(rsa);
    X509 *x = make_certificate(key, name);

    write_certificate(x);
    write_key(key);
    X509_free(x);
    EVP_PKEY_free(key);
}

/* ---- the client ---- */

static SSL_CTX *client_context(int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* which would let a session of TLS 1.3 be used once only */
    return ctx;
}

/* What a connection showed. */
struct shown {
    char name[32]; /* subject of the certificate; of a resumed session that of its first handshake */
    bool resumed;
    unsigned worker; /* that answered a request on it */
};

/* Whether a call is to be made again: the loop of another thread may use io_uring, which interrupts what this one waits for. */
static bool was_interrupted(SSL *ssl, int result)
{
    int error = SSL_get_error(ssl, result);

    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

/* Connect, with `session` when there is one, ask, and go. With `next` also take the session for the next time. */
static struct shown visit(int port, SSL_CTX *ctx, SSL_SESSION *session, SSL_SESSION **next)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    struct shown shown = {.name = ""};
    char answer[1024];
    int fd = dial(port), len = 0, n;
    SSL *ssl = SSL_new(ctx);

    SSL_set_fd(ssl, fd);
    if (session)
        SSL_set_session(ssl, session);
    while ((n = SSL_connect(ssl)) != 1 && was_interrupted(ssl, n))
        ;
    if (n != 1)
        ERR_print_errors_fp(stderr);
    assert_true(SSL_is_init_finished(ssl));
    assert_int_equal(SSL_write(ssl, request, sizeof request - 1), sizeof request - 1);
    while ((n = SSL_read(ssl, answer + len, (int)sizeof answer - 1 - len)) > 0 || was_interrupted(ssl, n))
        len += n > 0 ? n : 0; /* to the end: tickets of TLS 1.3 come with it */
    assert_true(len > 0);
    X509 *x = SSL_get1_peer_certificate(ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, shown.name, sizeof shown.name);
    X509_free(x);
    shown.resumed = SSL_session_reused(ssl);
    shown.worker = (unsigned)(answer[len - 1] - '0');
    if (next)
        *next = SSL_get1_session(ssl);
    SSL_shutdown(ssl); /* or the session counts as broken */
    SSL_free(ssl);
    close(fd);
    return shown;
}

static void start(struct fake_server *f, size_t workers)
{
    char *error = NULL;

    fake_server_create(f, workers, &files, 1, NULL);
    if (fake_server_listen(f, "127.0.0.1:0", NET_TLS, &error))
        fail_msg("%s", error);
    fake_server_run(f);
}

/* ---- tests ---- */

static void check_resuming(int version)
{
    struct fake_server f;
    SSL_CTX *ctx = client_context(version);
    SSL_SESSION *session = NULL, *next;
    struct shown first, again = {.worker = 0};
    int tries = 0;

    write_pair(false, "first");
    start(&f, 2);
    first = visit(fake_server_port(&f), ctx, NULL, &session);
    assert_false(first.resumed);
    do { /* the kernel chooses the worker by chance: the same for 60 times once in 10^18 runs */
        again = visit(fake_server_port(&f), ctx, session, &next);
        assert_true(again.resumed);
        SSL_SESSION_free(session);
        session = next;
    } while (again.worker == first.worker && ++tries < 60);
    assert_int_not_equal(again.worker, first.worker);
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    fake_server_destroy(&f);
}

static void a_session_resumes_on_another_worker(void **state)
{
    check_resuming(TLS1_2_VERSION);
    check_resuming(TLS1_3_VERSION);
}

/* Visits until every worker has answered, each with the certificate `name`. */
static void expect_everywhere(const struct fake_server *f, const char *name)
{
    SSL_CTX *ctx = client_context(TLS1_3_VERSION);
    unsigned seen = 0, all = (1u << f->count) - 1;

    for (int i = 0; i < 200 && seen != all; i++) {
        struct shown shown = visit(fake_server_port(f), ctx, NULL, NULL);
        assert_string_equal(shown.name, name);
        assert_false(shown.resumed);
        seen |= 1u << (shown.worker - 1);
    }
    assert_int_equal(seen, all);
    SSL_CTX_free(ctx);
}

static void a_swap_is_seen_by_all_workers(void **state)
{
    struct fake_server f;
    char *error;

    write_pair(false, "elliptic");
    start(&f, 3);
    expect_everywhere(&f, "elliptic");
    write_pair(true, "rsa");
    expect_everywhere(&f, "elliptic"); /* not before it is asked for */
    assert_int_equal(net_shared_reload_tls(f.shared, &error), 0);
    expect_everywhere(&f, "rsa");
    write_pair(false, "back");
    assert_int_equal(net_shared_reload_tls(f.shared, &error), 0);
    expect_everywhere(&f, "back");
    fake_server_destroy(&f);
}

static void a_pair_that_does_not_fit_changes_nothing(void **state)
{
    struct fake_server f;
    EVP_PKEY *other = make_key(false);
    char *error = NULL;

    write_pair(false, "good");
    start(&f, 2);
    write_key(other);
    assert_int_equal(net_shared_reload_tls(f.shared, &error), MT_ETLS);
    assert_non_null(strstr(error, "does not belong"));
    mem_free(error);
    assert_null(net_shared_create(&files, 1, &error));
    assert_non_null(strstr(error, "does not belong"));
    mem_free(error);
    expect_everywhere(&f, "good");
    unlink(key_path);
    assert_int_equal(net_shared_reload_tls(f.shared, &error), MT_ETLS);
    mem_free(error);
    expect_everywhere(&f, "good");
    EVP_PKEY_free(other);
    fake_server_destroy(&f);
}

static void loading_without_memory(void **state)
{
    int rc = MT_ENOMEM, failures = 0;
    struct net_shared *shared;
    char *error;

    write_pair(false, "first");
    for (unsigned long n = 1; rc; n++) {
        mem_fail_at(n);
        shared = net_shared_create(&files, 1, &error);
        mem_fail_at(0);
        failures += shared == NULL;
        rc = shared ? 0 : MT_ENOMEM;
        assert_null(error);
    }
    assert_true(failures >= 6);
    mem_fail_at(1);
    assert_int_equal(net_shared_reload_tls(shared, &error), MT_ENOMEM);
    mem_fail_at(0);
    assert_int_equal(net_shared_reload_tls(shared, &error), 0);
    net_shared_destroy(shared);
}

/* Clients that connect all the time while certificates are swapped: on each connection one of them. */
struct visitor {
    const struct fake_server *server;
    pthread_t thread;
    atomic_bool *stop;
    unsigned visits, strange; /* how many, and those that saw something else than one of the two names or could not resume */
};

static void *visit_all_the_time(void *arg)
{
    struct visitor *v = arg;
    SSL_CTX *ctx = client_context(TLS1_3_VERSION);
    SSL_SESSION *session = NULL;

    while (!atomic_load(v->stop)) {
        struct shown shown = visit(fake_server_port(v->server), ctx, NULL, &session);
        v->strange += strcmp(shown.name, "one") != 0 && strcmp(shown.name, "two") != 0;
        v->strange += !visit(fake_server_port(v->server), ctx, session, NULL).resumed;
        SSL_SESSION_free(session);
        v->visits++;
    }
    SSL_CTX_free(ctx);
    return NULL;
}

static void swaps_under_load(void **state)
{
    struct fake_server f;
    struct visitor visitors[3];
    atomic_bool stop = false;
    SSL_CTX *ctx = client_context(TLS1_2_VERSION);

    write_pair(false, "one");
    start(&f, 3);
    for (size_t i = 0; i < 3; i++) {
        visitors[i] = (struct visitor){.server = &f, .stop = &stop};
        assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit_all_the_time, &visitors[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        char *error;
        write_pair(false, i % 2 ? "one" : "two");
        assert_int_equal(net_shared_reload_tls(f.shared, &error), 0);
        assert_string_equal(visit(fake_server_port(&f), ctx, NULL, NULL).name, i % 2 ? "one" : "two");
    }
    SSL_CTX_free(ctx);
    atomic_store(&stop, true);
    for (size_t i = 0; i < 3; i++) {
        pthread_join(visitors[i].thread, NULL);
        assert_true(visitors[i].visits > 0);
        assert_int_equal(visitors[i].strange, 0);
    }
    fake_server_destroy(&f);
}

/* ---- the age of keys: handshakes in memory, by a clock that is set ---- */

static uint64_t fake_time;

static uint64_t fake_now(void)
{
    return fake_time;
}

enum { HOUR = 3600 * 1000 };

/* A server's context with a certificate, that seals with the keys of `t`. */
static SSL_CTX *server_context(struct tickets *t)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = make_key(false);
    X509 *x = make_certificate(key, "server");

    SSL_CTX_use_certificate(ctx, x);
    SSL_CTX_use_PrivateKey(ctx, key);
    tickets_attach(t, ctx);
    X509_free(x);
    EVP_PKEY_free(key);
    return ctx;
}

/* Whether the session was resumed; *session becomes the one of this handshake. */
static bool shake_hands(SSL_CTX *server_ctx, SSL_CTX *client_ctx, SSL_SESSION **session)
{
    SSL *server = SSL_new(server_ctx), *client = SSL_new(client_ctx);
    BIO *a, *b;
    char byte = 'x';
    bool done = false;

    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(server, a, a);
    SSL_set_bio(client, b, b);
    SSL_set_accept_state(server);
    if (*session)
        SSL_set_session(client, *session);
    SSL_SESSION_free(*session);
    for (int i = 0; i < 10 && !done; i++) {
        bool c = SSL_connect(client) == 1, s = SSL_accept(server) == 1;
        done = c && s;
    }
    assert_true(done);
    assert_int_equal(SSL_write(server, &byte, 1), 1);
    assert_int_equal(SSL_read(client, &byte, 1), 1); /* behind the tickets of TLS 1.3 */
    bool resumed = SSL_session_reused(client);
    *session = SSL_get1_session(client);
    SSL_shutdown(client);
    SSL_free(client);
    SSL_free(server);
    return resumed;
}

/* The name of the key that sealed the ticket. */
static void key_name(const SSL_SESSION *session, unsigned char out[16])
{
    const unsigned char *ticket;
    size_t len;

    SSL_SESSION_get0_ticket(session, &ticket, &len);
    assert_true(len > 16);
    memcpy(out, ticket, 16);
}

static void check_ages(int version)
{
    struct tickets *t = tickets_create(fake_now);
    SSL_CTX *server = server_context(t), *twin = server_context(t), *client = client_context(version);
    SSL_SESSION *session = NULL, *old;
    unsigned char before[16], after[16];

    fake_time = 5 * HOUR;
    assert_false(shake_hands(server, client, &session));
    key_name(session, before);
    fake_time += HOUR - 1; /* the same key */
    assert_true(shake_hands(twin, client, &session));
    key_name(session, after);
    assert_memory_equal(before, after, 16);
    old = session;
    SSL_SESSION_up_ref(old);
    fake_time += 1; /* a new key seals, the old one still opens */
    assert_true(shake_hands(server, client, &session));
    key_name(session, after);
    assert_memory_not_equal(before, after, 16);
    SSL_SESSION_free(session);
    session = old;
    SSL_SESSION_up_ref(old);
    fake_time += 2 * HOUR - 1; /* the last moment of what the first key sealed */
    assert_true(shake_hands(twin, client, &session));
    SSL_SESSION_free(session);
    session = old;
    fake_time += 1;
    assert_false(shake_hands(twin, client, &session));
    fake_time += 100 * HOUR; /* nobody came for days: all keys are gone */
    assert_false(shake_hands(twin, client, &session));
    assert_true(shake_hands(server, client, &session));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(twin);
    SSL_CTX_free(server);
    tickets_destroy(t);
}

static void keys_of_tickets_come_and_go(void **state)
{
    check_ages(TLS1_2_VERSION);
    check_ages(TLS1_3_VERSION);
}

/* ---- a storm ---- */

enum { STORM = 200, STORM_LEAVES = 50 };

/* What a client says first, without a client. */
static size_t make_hello(unsigned char *out, int size)
{
    SSL_CTX *ctx = client_context(TLS1_3_VERSION);
    SSL *ssl = SSL_new(ctx);

    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    assert_int_equal(SSL_connect(ssl), -1);
    int len = BIO_read(SSL_get_wbio(ssl), out, size);
    assert_true(len > 100);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return (size_t)len;
}

struct storm {
    struct fake_net *net;
    uint64_t turns;   /* at whose end handshakes waited */
    uint64_t longest; /* line */
};

/* Behind the line's own hook. Ends the loop when all that came are served. */
static void watch_line(void *arg)
{
    struct storm *storm = arg;
    struct net_stats stats;

    net_stats(storm->net->net, &stats);
    if (stats.tls_waiting)
        storm->turns++;
    else if (stats.accepted == STORM)
        loop_stop(storm->net->loop);
    if (stats.tls_waiting > storm->longest)
        storm->longest = stats.tls_waiting;
}

/* So many sockets say hello at once, some of them have left already. All others are answered, over many turns of the loop, so that
 * those who are connected have their turns in between. */
static void a_storm_is_served_a_little_at_a_time(void **state)
{
    struct fake_server f;
    char *error = NULL;
    unsigned char hello[2048], byte;
    int fds[STORM];

    write_pair(true, "localhost");
    fake_server_create(&f, 1, &files, 1, NULL);
    assert_int_equal(fake_server_listen(&f, "127.0.0.1:0", true, &error), 0);
    size_t len = make_hello(hello, sizeof hello);
    for (int i = 0; i < STORM; i++) {
        fds[i] = dial(fake_server_port(&f));
        put(fds[i], (char *)hello, len);
        if (i < STORM_LEAVES)
            shutdown(fds[i], SHUT_WR);
    }
    struct storm storm = {.net = &f.nets[0]};
    assert_int_equal(loop_add_flush(storm.net->loop, watch_line, &storm), 0);
    loop_run(storm.net->loop);
    assert_true(storm.longest > 32);
    assert_true(storm.turns > 2); /* dozens, where nothing else takes the processor */
    for (int i = STORM_LEAVES; i < STORM; i++) {
        assert_int_equal(receive(fds[i], &byte, 1), 1);
        assert_int_equal(byte, 22); /* handshake, RFC 8446 5.1 */
    }
    struct net_stats stats;
    net_stats(storm.net->net, &stats);
    assert_int_equal(stats.tls_handshakes, 0); /* none has come to its end */
    unsigned answered = 0;
    for (int i = 0; i < STORM_LEAVES; i++)
        answered += recv(fds[i], &byte, 1, MSG_DONTWAIT) == 1;
    assert_true(answered < STORM_LEAVES); /* the first ones, before it was seen that they had left; nothing was spent on the others */
    loop_remove_flush(storm.net->loop, watch_line, &storm);
    for (int i = 0; i < STORM; i++)
        close(fds[i]);
    fake_server_destroy(&f);
}

static int make_folder(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(chain_path, sizeof chain_path, "%s/chain.pem", folder);
    snprintf(key_path, sizeof key_path, "%s/key.pem", folder);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(chain_path);
    unlink(key_path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_resumes_on_another_worker),
        cmocka_unit_test(a_swap_is_seen_by_all_workers),
        cmocka_unit_test(a_pair_that_does_not_fit_changes_nothing),
        cmocka_unit_test(loading_without_memory),
        cmocka_unit_test(swaps_under_load),
        cmocka_unit_test(keys_of_tickets_come_and_go),
        cmocka_unit_test(a_storm_is_served_a_little_at_a_time),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
