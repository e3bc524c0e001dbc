/* peer.c - see peer.h.
 *
 * A message is text: sender (5 characters), blank, number (5 characters), blank, filler. Numbers have 6 bits per character, so
 * writing and checking one costs a few shifts. The mask is one constant, as its value is the same work for any server.
 */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 8, EVENTS = 1024, IN_SIZE = 256 * 1024 };
enum { OPENING_MAX = 64 }; /* handshakes at a time, fewer than any server's backlog */
enum { OP_TEXT = 0x81, OP_CLOSE = 0x88, OP_PING = 0x89, OP_PONG = 0x8a };

/* The sample key of RFC 6455 and its answer: nothing to compute for each handshake. */
static const char request_head[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
static const char accept_value[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};

static struct peer_config config;
static SSL_CTX *tls_context;
static int epoll_fd;
static unsigned next_address;
static unsigned open_now; /* peers that are PEER_OPEN */
static char request[sizeof(request_head) + 16];

static unsigned char sample[HEAD_MAX + PEER_SIZE_MAX]; /* a whole masked frame; sender and number are written over */
static size_t sample_head, sample_len;
static unsigned char filler[PEER_SIZE_MAX]; /* payload from PEER_SIZE_MIN on, unmasked */

static unsigned char in[IN_SIZE];
static unsigned char out[PEER_BATCH_MAX * (HEAD_MAX + PEER_SIZE_MAX)];

void peer_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void put_number(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 5; i++)
        to[i] = (unsigned char)('0' + (value >> (6 * i) & 63));
}

static uint32_t get_number(const unsigned char *from)
{
    uint32_t value = 0;
    for (int i = 0; i < 5; i++)
        value |= (uint32_t)(from[i] - '0') << (6 * i);
    return value;
}

static size_t write_head(unsigned char *to, int opcode, size_t len)
{
    size_t n = 2;
    to[0] = (unsigned char)opcode;
    to[1] = (unsigned char)(0x80 | (len < 126 ? len : 126));
    if (len >= 126) {
        to[n++] = (unsigned char)(len >> 8);
        to[n++] = (unsigned char)len;
    }
    memcpy(to + n, mask, 4);
    return n + 4;
}

static void make_sample(void)
{
    for (size_t i = 0; i < config.size; i++)
        filler[i] = (unsigned char)('a' + i % 26);
    sample_head = write_head(sample, OP_TEXT, config.size);
    sample_len = sample_head + config.size;
    for (size_t i = 0; i < config.size; i++)
        sample[sample_head + i] = filler[i] ^ mask[i % 4];
}

void peer_init(const struct peer_config *c)
{
    config = *c;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    snprintf(request, sizeof(request), request_head, config.port);
    make_sample();
    if (!config.tls)
        return;
    tls_context = SSL_CTX_new(TLS_client_method());
    if (!tls_context)
        peer_fail("no TLS context");
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
}

void peer_reserve(unsigned connections)
{
    enum { OTHERS = 100 }; /* files that are no connections */
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    if (r.rlim_cur < connections + OTHERS)
        peer_fail("%u connections are more than the %lu files of `ulimit -Hn`", connections, (unsigned long)r.rlim_cur);
}

/* Everything a peer has in flight fits the socket's buffer, so a short write means that the server does not read. */
static void write_all(struct peer *p, const void *data, size_t len)
{
    ssize_t n = p->ssl ? SSL_write(p->ssl, data, (int)len) : send(p->fd, data, len, MSG_NOSIGNAL);
    if (n != (ssize_t)len)
        peer_fail("connection %u: wrote %zd of %zu bytes: %s", p->index, n, len, strerror(errno));
}

void peer_send(struct peer *p, unsigned count)
{
    unsigned char *to = out;
    for (unsigned i = 0; i < count; i++, to += sample_len) {
        unsigned char *payload = to + sample_head;
        memcpy(to, sample, sample_len);
        put_number(payload, p->index);
        payload[5] = ' ';
        put_number(payload + 6, p->sent++);
        payload[11] = ' ';
        for (int k = 0; k < PEER_SIZE_MIN; k++)
            payload[k] ^= mask[k % 4];
    }
    write_all(p, out, (size_t)(to - out));
}

void peer_close(struct peer *p)
{
    unsigned char frame[8];
    size_t n = write_head(frame, OP_CLOSE, 2);
    frame[n] = 0x03 ^ mask[0]; /* 1000 */
    frame[n + 1] = 0xe8 ^ mask[1];
    p->state = PEER_CLOSING;
    open_now--;
    write_all(p, frame, n + 2);
}

static void send_pong(struct peer *p, const unsigned char *payload, size_t len)
{
    unsigned char frame[HEAD_MAX + 125];
    size_t n = write_head(frame, OP_PONG, len);
    for (size_t i = 0; i < len; i++)
        frame[n + i] = payload[i] ^ mask[i % 4];
    write_all(p, frame, n + len);
}

bool peer_parse(const char *text, size_t len, unsigned *from, uint32_t *number)
{
    const unsigned char *payload = (const unsigned char *)text;
    if (len != config.size || payload[5] != ' ' || payload[11] != ' ' ||
        memcmp(payload + PEER_SIZE_MIN, filler + PEER_SIZE_MIN, len - PEER_SIZE_MIN) != 0)
        return false;
    *from = get_number(payload);
    *number = get_number(payload + 6);
    return true;
}

static void take_message(struct peer *p, const char *payload, size_t len)
{
    unsigned from;
    uint32_t number;
    if (!peer_parse(payload, len, &from, &number))
        peer_fail("connection %u: message %u came back changed: '%.*s'", p->index, p->received, (int)len, payload);
    p->received++;
    config.events.on_message(p, from, number);
}

static void unexpected(struct peer *p, int opcode, const unsigned char *payload, size_t len)
{
    if (opcode == OP_CLOSE && len >= 2)
        peer_fail("connection %u: unexpected frame 0x%02x, close code %u '%.*s'", p->index, opcode,
                  (unsigned)payload[0] << 8 | payload[1], (int)len - 2, payload + 2);
    peer_fail("connection %u: unexpected frame 0x%02x of %zu bytes", p->index, opcode, len);
}

static void take_frame(struct peer *p, int opcode, const unsigned char *payload, size_t len)
{
    if (opcode == OP_TEXT && p->state == PEER_OPEN && config.events.on_text)
        config.events.on_text(p, (const char *)payload, len);
    else if (opcode == OP_TEXT && p->state == PEER_OPEN && config.events.on_message)
        take_message(p, (const char *)payload, len);
    else if (opcode == OP_PING)
        send_pong(p, payload, len);
    else if (opcode != OP_CLOSE || p->state != PEER_CLOSING)
        unexpected(p, opcode, payload, len);
}

/* Hands out the whole frames; returns how many bytes they took. */
static size_t take_frames(struct peer *p, const unsigned char *data, size_t len)
{
    size_t at = 0;
    while (len - at >= 2) {
        size_t head = 2, size = data[at + 1];
        if (size == 126) {
            if (len - at < 4)
                break;
            head = 4;
            size = (size_t)data[at + 2] << 8 | data[at + 3];
        } else if (size > 126) {
            peer_fail("connection %u: a frame that is masked or too large", p->index);
        }
        if (len - at < head + size)
            break;
        take_frame(p, data[at], data + at + head, size);
        at += head + size;
    }
    return at;
}

/* Returns the length of the response's head, 0 while it is incomplete. */
static size_t take_response(struct peer *p, const unsigned char *data, size_t len)
{
    const unsigned char *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - data) + 4;
    if (memcmp(data, "HTTP/1.1 101", 12) != 0 || !memmem(data, head, accept_value, sizeof(accept_value) - 1))
        peer_fail("connection %u: the upgrade was refused:\n%.*s", p->index, (int)head, data);
    p->state = PEER_OPEN;
    open_now++;
    if (config.events.on_open)
        config.events.on_open(p);
    return head;
}

static void keep(struct peer *p, const unsigned char *data, size_t len)
{
    if (len > IN_SIZE / 2)
        peer_fail("connection %u: %zu bytes without an end", p->index, len);
    if (len) {
        p->kept = realloc(p->kept, len);
        memcpy(p->kept, data, len);
    } else {
        free(p->kept);
        p->kept = NULL;
    }
    p->kept_len = len;
}

static void take_bytes(struct peer *p, size_t len)
{
    size_t at = 0;
    if (p->state == PEER_UPGRADE)
        at = take_response(p, in, len);
    if (p->state != PEER_UPGRADE)
        at += take_frames(p, in + at, len - at);
    if (at != len || p->kept)
        keep(p, in + at, len - at);
    if (p->due && p->state == PEER_OPEN) {
        unsigned count = p->due;
        p->due = 0;
        peer_send(p, count);
    }
}

static void drop(struct peer *p)
{
    SSL_free(p->ssl);
    close(p->fd);
    free(p->kept);
    *p = (struct peer){.fd = -1, .index = p->index};
}

static void take_end(struct peer *p)
{
    bool expected = p->state == PEER_CLOSING;
    if (!expected)
        peer_fail("connection %u: closed by the server after %u messages", p->index, p->received);
    drop(p);
    if (config.events.on_closed)
        config.events.on_closed(p);
}

static void read_plain(struct peer *p)
{
    if (p->kept_len)
        memcpy(in, p->kept, p->kept_len);
    ssize_t n = recv(p->fd, in + p->kept_len, IN_SIZE - p->kept_len, 0);
    if (n > 0)
        take_bytes(p, p->kept_len + (size_t)n);
    else if (n == 0 || (errno == ECONNRESET && p->state == PEER_CLOSING))
        take_end(p);
    else if (errno != EAGAIN)
        peer_fail("connection %u: %s", p->index, strerror(errno));
}

/* What OpenSSL holds back is invisible to epoll: read to the end of it. */
static void read_tls(struct peer *p)
{
    while (p->state != PEER_NONE) {
        if (p->kept_len)
            memcpy(in, p->kept, p->kept_len);
        ERR_clear_error();
        int n = SSL_read(p->ssl, in + p->kept_len, (int)(IN_SIZE - p->kept_len));
        if (n <= 0) {
            if (SSL_get_error(p->ssl, n) != SSL_ERROR_WANT_READ)
                take_end(p);
            return;
        }
        take_bytes(p, p->kept_len + (size_t)n);
    }
}

static void start_upgrade(struct peer *p)
{
    p->state = PEER_UPGRADE;
    write_all(p, request, strlen(request));
}

static void continue_tls(struct peer *p)
{
    ERR_clear_error();
    int n = SSL_connect(p->ssl);
    if (n == 1)
        start_upgrade(p);
    else if (SSL_get_error(p->ssl, n) != SSL_ERROR_WANT_READ)
        peer_fail("connection %u: TLS handshake failed", p->index);
}

static void start_tls(struct peer *p)
{
    p->ssl = SSL_new(tls_context);
    if (!p->ssl || !SSL_set_fd(p->ssl, p->fd))
        peer_fail("connection %u: no TLS session", p->index);
    p->state = PEER_TLS;
    continue_tls(p);
}

static void bind_address(int fd)
{
    int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + next_address++ % 250);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)); /* the port is chosen by connect, per address pair */
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
        peer_fail("bind: %s", strerror(errno));
}

void peer_open(struct peer *p)
{
    int on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)config.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->fd >= 0 && config.many_addresses)
        bind_address(p->fd);
    /* A connect over loopback is done when it returns, so it may block. */
    if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&to, sizeof(to)) != 0 || fcntl(p->fd, F_SETFL, O_NONBLOCK) != 0)
        peer_fail("connection %u: %s", p->index, strerror(errno));
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = p};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, p->fd, &e) != 0)
        peer_fail("epoll: %s", strerror(errno));
    if (config.tls)
        start_tls(p);
    else
        start_upgrade(p);
}

void peer_open_until(struct peer *peers, unsigned count)
{
    unsigned next = 0;
    while (open_now < count) {
        while (next < count && next < open_now + OPENING_MAX) {
            peers[next].index = next;
            if (peers[next].state == PEER_NONE)
                peer_open(&peers[next]);
            next++;
        }
        peer_turn(10);
    }
}

void peer_turn(int milliseconds)
{
    static struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll_fd, events, EVENTS, milliseconds);
    for (int i = 0; i < n; i++) {
        struct peer *p = events[i].data.ptr;
        if (p->state == PEER_TLS)
            continue_tls(p);
        else if (p->ssl)
            read_tls(p);
        else
            read_plain(p);
    }
}
