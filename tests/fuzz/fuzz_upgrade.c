/* fuzz_upgrade.c - any header lines as a handshake: what we answer is something that we would have offered ourselves.
 *
 * Input: header lines, put behind a request line, Host and the headers that make a handshake, unless it starts with '-'. */
#include "fuzz.h"
#include "net/upgrade.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define HANDSHAKE "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n"

static bool parse(struct buf *head, const char *handshake, const void *lines, size_t len, struct http_request *r)
{
    const char *reason;
    size_t scanned = 0;

    FUZZ_CHECK(buf_addf(head, "GET / HTTP/1.1\r\nHost: a\r\n%s", handshake) == 0);
    FUZZ_CHECK(buf_add(head, lines, len) == 0 && buf_add_text(head, "\r\n\r\n") == 0);
    return http_parse_head((char *)head->data, head->len, HTTP_HEAD_MAX, &scanned, r, &reason) > 0;
}

/* Our answer, offered by a client, gives the same answer. */
static void check_answer(const struct upgrade_deflate *d)
{
    static struct http_request r;
    struct upgrade_deflate again;
    struct buf line = {0}, head = {0};

    FUZZ_CHECK(d->server_bits >= 9 && d->server_bits <= 15 && d->client_bits >= 8 && d->client_bits <= 15);
    FUZZ_CHECK(d->server_bits_given || d->server_bits == 15);
    FUZZ_CHECK(buf_add_text(&line, "Sec-WebSocket-Extensions: ") == 0 && upgrade_put_deflate(&line, d) == 0);
    FUZZ_CHECK(parse(&head, HANDSHAKE, line.data, line.len, &r));
    upgrade_deflate(&r, &again);
    FUZZ_CHECK(again.on && again.server_bits == d->server_bits && again.server_bits_given == d->server_bits_given);
    buf_fini(&line);
    buf_fini(&head);
}

static void check_accepted(const struct http_request *r)
{
    char accept[29];

    FUZZ_CHECK(slice_is(r->method, SLICE("GET")) && r->minor == 1 && r->length == 0 && !r->chunked);
    FUZZ_CHECK(http_find(r, SLICE("Sec-WebSocket-Key")).len == strlen(KEY));
    FUZZ_CHECK(upgrade_accept(r, accept) == 0 && strlen(accept) == 28 && accept[27] == '=');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const ours[] = {"b", "a", "chat.v1", NULL};
    static struct http_request r;
    bool bare = size > 0 && data[0] == '-';
    struct buf head = {0};

    if (parse(&head, bare ? "" : HANDSHAKE, data + bare, size - bare, &r)) {
        struct upgrade_deflate d;
        const char *reason = "";
        int status = upgrade_check(&r, &reason);
        upgrade_deflate(&r, &d);
        FUZZ_CHECK(status == 0 || status == 400 || status == 426);
        FUZZ_CHECK((status == 0) == (reason == NULL));
        if (status == 0)
            check_accepted(&r);
        if (d.on)
            check_answer(&d);
        const char *chosen = upgrade_protocol(&r, ours);
        FUZZ_CHECK(!chosen || http_has_token(&r, SLICE("Sec-WebSocket-Protocol"), slice_of(chosen)));
    }
    buf_fini(&head);
    return 0;
}
