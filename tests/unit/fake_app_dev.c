/* fake_app_dev.c - stands in for the sockets: sessions that write down what was done to them. */
#include "fake_app_dev.h"

#include "base/err.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

int session_respond(struct session *s, int status, struct slice head, struct slice body)
{
    assert_int_equal(s->status, 0);
    assert_true(head.len < sizeof(s->head) && body.len < sizeof(s->body));
    s->status = status;
    memcpy(s->head, head.data, head.len);
    memcpy(s->body, body.data, body.len);
    s->body_len = body.len;
    return 0;
}

int session_accept(struct session *s, const struct session_accept *a)
{
    assert_null(a->protocol);
    assert_true(a->message_limit > 0);
    if (s->accept_fails)
        return MT_ENOMEM;
    s->status = 101;
    return 0;
}

int session_send(struct session *s, enum frame_op op, const void *data, size_t len, const struct outbox_opts *opts)
{
    assert_int_equal(op, FRAME_TEXT);
    assert_int_equal(s->status, 101);
    assert_true(len < sizeof(s->heard));
    if (s->closed)
        return MT_ECLOSED;
    memcpy(s->heard, data, len);
    s->heard[len] = '\0';
    s->messages++;
    return 0;
}

int session_close(struct session *s, unsigned code, struct slice reason)
{
    if (s->closed)
        return MT_ECLOSED;
    s->closed = code;
    return 0;
}

void session_abort(struct session *s)
{
    s->closed = 1006;
}
