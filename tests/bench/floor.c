/* floor.c - the least that a WebSocket server can do: the floor that the others are measured against.
 *
 *   bench_floor PORT echo|room [CERTIFICATE KEY]
 *
 * One thread, one epoll set. Reads each ready socket once, unmasks in place, and writes the answer of a turn in one call: to the
 * sender (echo), or after the turn to every connection (room). It checks what a frame must have, and no more: no fragments, no
 * UTF-8, no timeouts. A room member that does not read makes it grow without bound. Do not use it for anything else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, IN_SIZE = 256 * 1024 };
enum { OP_TEXT = 0x81, OP_CLOSE = 0x88, OP_PING = 0x89, OP_PONG = 0x8a };

struct client {
    int fd;
    bool open;   /* the upgrade is done */
    bool ending; /* close when everything is written */
    SSL *ssl;    /* NULL on plain connections */
    struct client *next_free;
    unsigned char *kept; /* an incomplete head or frame */
    size_t kept_len;
    unsigned char *waiting; /* what the socket did not take yet */
    size_t waiting_len;
    size_t place; /* index in members */
};

static int epoll_fd, listener;
static SSL_CTX *tls_context;
static bool is_room;

static struct client *free_clients, **members;
static size_t member_count, member_room;

static unsigned char in[IN_SIZE];
static unsigned char *turn; /* frames for every member, sent when the turn ends */
static size_t turn_len, turn_room;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct client *client_create(int fd)
{
    if (!free_clients) {
        enum { CHUNK = 64 };
        struct client *chunk = calloc(CHUNK, sizeof(*chunk));
        if (!chunk)
            die("calloc");
        for (int i = 0; i < CHUNK; i++) {
            chunk[i].next_free = free_clients;
            free_clients = &chunk[i];
        }
    }
    struct client *c = free_clients;
    free_clients = c->next_free;
    *c = (struct client){.fd = fd};
    return c;
}

static void members_remove(struct client *c)
{
    members[c->place] = members[--member_count];
    members[c->place]->place = c->place;
}

static void members_add(struct client *c)
{
    if (member_count == member_room) {
        member_room = member_room ? member_room * 2 : 1024;
        members = realloc(members, member_room * sizeof(struct client *));
        if (!members)
            die("realloc");
    }
    c->place = member_count;
    members[member_count++] = c;
}

static void client_destroy(struct client *c)
{
    if (c->open)
        members_remove(c);
    SSL_free(c->ssl);
    close(c->fd);
    free(c->kept);
    free(c->waiting);
    c->fd = -1;
    c->next_free = free_clients;
    free_clients = c;
}

static void watch(struct client *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static ssize_t write_some(struct client *c, const unsigned char *data, size_t len)
{
    if (!c->ssl)
        return send(c->fd, data, len, MSG_NOSIGNAL);
    ERR_clear_error();
    return SSL_write(c->ssl, data, (int)len);
}

static void client_send(struct client *c, const unsigned char *data, size_t len)
{
    ssize_t n = c->waiting_len ? 0 : write_some(c, data, len);
    if (n == (ssize_t)len)
        return;
    n = n < 0 ? 0 : n; /* a broken connection shows when it is read */
    unsigned char *bigger = realloc(c->waiting, c->waiting_len + len - (size_t)n);
    if (!bigger)
        die("realloc");
    memcpy(bigger + c->waiting_len, data + n, len - (size_t)n);
    c->waiting = bigger;
    c->waiting_len += len - (size_t)n;
    watch(c, EPOLLIN | EPOLLOUT);
}

static void client_flush(struct client *c)
{
    ssize_t n = c->waiting_len ? write_some(c, c->waiting, c->waiting_len) : 0;
    if (n <= 0 && c->waiting_len)
        return;
    c->waiting_len -= (size_t)n;
    memmove(c->waiting, c->waiting + n, c->waiting_len);
    if (!c->waiting_len)
        watch(c, EPOLLIN);
}

static void turn_append(const unsigned char *data, size_t len)
{
    if (turn_len + len > turn_room) {
        turn_room = (turn_len + len) * 2;
        turn = realloc(turn, turn_room);
        if (!turn)
            die("realloc");
    }
    memcpy(turn + turn_len, data, len);
    turn_len += len;
}

static void turn_end(void)
{
    for (size_t i = 0; i < member_count && turn_len; i++)
        client_send(members[i], turn, turn_len);
    turn_len = 0;
}

/* `to` may be before `from` in the same buffer. */
static void unmask(unsigned char *to, const unsigned char *from, size_t len, const unsigned char key[4])
{
    uint32_t half;
    memcpy(&half, key, 4);
    uint64_t whole = (uint64_t)half << 32 | half, word;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= whole;
        memcpy(to + i, &word, 8);
    }
    for (; i < len; i++)
        to[i] = from[i] ^ key[i % 4];
}

/* Reads one frame at `from`, writes its answer at `*to` (at or before `from`) and moves that on. Returns the frame's length, 0
 * while it is incomplete, -1 when it is wrong. */
static ssize_t answer_frame(struct client *c, unsigned char *from, size_t len, unsigned char **to)
{
    if (len < 6)
        return 0;
    size_t head = 2, size = from[1] & 127;
    unsigned char opcode = from[0], key[4], *answer = *to;
    if (!(from[1] & 128) || size == 127)
        return -1;
    if (size == 126) {
        if (len < 8)
            return 0;
        head = 4;
        size = (size_t)from[2] << 8 | from[3];
    }
    if (len < head + 4 + size)
        return 0;
    if (opcode != OP_TEXT && opcode != OP_CLOSE && opcode != OP_PING && opcode != OP_PONG)
        return -1;
    memcpy(key, from + head, 4);
    memmove(answer, from, head);
    answer[0] = opcode == OP_PING ? OP_PONG : opcode;
    answer[1] &= 127;
    unmask(answer + head, from + head + 4, size, key);
    c->ending |= opcode == OP_CLOSE;
    if (is_room && opcode == OP_TEXT)
        turn_append(answer, head + size);
    else if (opcode != OP_PONG)
        *to += head + size;
    return (ssize_t)(head + 4 + size);
}

static void keep(struct client *c, const unsigned char *data, size_t len)
{
    c->kept_len = len;
    c->kept = realloc(c->kept, len ? len : 1);
    if (!c->kept)
        die("realloc");
    memcpy(c->kept, data, len);
}

static bool answer_frames(struct client *c, unsigned char *data, size_t len)
{
    unsigned char *to = data;
    size_t at = 0;
    ssize_t n = 0;
    while (!c->ending && (n = answer_frame(c, data + at, len - at, &to)) > 0)
        at += (size_t)n;
    if (to != data)
        client_send(c, data, (size_t)(to - data));
    if (n < 0 || c->ending)
        return false;
    if (at != len || c->kept_len)
        keep(c, data + at, len - at);
    return true;
}

static bool upgrade(struct client *c, unsigned char *data, size_t len)
{
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[24 + sizeof(magic)], digest[EVP_MAX_MD_SIZE], accept[64], response[256];
    unsigned char *end = memmem(data, len, "\r\n\r\n", 4);
    if (!end) {
        keep(c, data, len);
        return len < 8192;
    }
    *end = '\0';
    char *key = strcasestr((char *)data, "sec-websocket-key:");
    if (!key)
        return false;
    key += strlen("sec-websocket-key:");
    key += strspn(key, " ");
    memcpy(text, key, 24);
    memcpy(text + 24, magic, sizeof(magic));
    EVP_Digest(text, 24 + sizeof(magic) - 1, digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock(accept, digest, 20);
    int n = snprintf((char *)response, sizeof(response),
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\n\r\n",
                     accept);
    client_send(c, response, (size_t)n);
    free(c->kept);
    c->kept = NULL;
    c->kept_len = 0;
    c->open = true;
    members_add(c);
    return true;
}

static bool take_bytes(struct client *c, size_t len)
{
    return c->open ? answer_frames(c, in, len) : upgrade(c, in, len);
}

static bool read_tls(struct client *c)
{
    for (;;) {
        if (c->kept_len)
            memcpy(in, c->kept, c->kept_len);
        ERR_clear_error();
        int n = SSL_read(c->ssl, in + c->kept_len, (int)(IN_SIZE - c->kept_len));
        if (n <= 0)
            return SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ;
        if (!take_bytes(c, c->kept_len + (size_t)n))
            return false;
    }
}

/* Returns false when the connection is over. */
static bool client_read(struct client *c)
{
    if (c->ssl)
        return read_tls(c);
    if (c->kept_len)
        memcpy(in, c->kept, c->kept_len);
    ssize_t n = recv(c->fd, in + c->kept_len, IN_SIZE - c->kept_len, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    return take_bytes(c, c->kept_len + (size_t)n);
}

static void accept_clients(void)
{
    int on = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        struct client *c = client_create(fd);
        if (tls_context) {
            c->ssl = SSL_new(tls_context);
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);
        }
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

static void serve(void)
{
    static struct epoll_event events[EVENTS];
    for (;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!c) {
                accept_clients();
                continue;
            }
            if (events[i].events & EPOLLOUT)
                client_flush(c);
            if ((events[i].events & ~(uint32_t)EPOLLOUT) && !client_read(c))
                client_destroy(c);
        }
        turn_end();
    }
}

static void listen_on(int port)
{
    int on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(listener, 4096) != 0)
        die("listen");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
}

static void load_certificate(const char *certificate, const char *key)
{
    tls_context = SSL_CTX_new(TLS_server_method());
    if (!tls_context || SSL_CTX_use_certificate_chain_file(tls_context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    if (argc != 3 && argc != 5) {
        fputs("usage: bench_floor PORT echo|room [CERTIFICATE KEY]\n", stderr);
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    is_room = strcmp(argv[2], "room") == 0;
    if (argc == 5)
        load_certificate(argv[3], argv[4]);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    listen_on(atoi(argv[1]));
    serve();
    return 0;
}
