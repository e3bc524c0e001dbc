/* frame.h - RFC 6455 section 5: frames as bytes. Decoder for what clients send, printer of headers for what we send. Pure.
 *
 * The decoder unmasks in place and hands out payload as it comes, so that text is checked early and big messages need one
 * buffer. It checks masks, minimal lengths, reserved bits, opcodes, fragmentation, control frames. It does not check UTF-8, close
 * codes or limits.
 */
#ifndef MT_NET_FRAME_H
#define MT_NET_FRAME_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_op { FRAME_CONTINUATION = 0, FRAME_TEXT = 1, FRAME_BINARY = 2, FRAME_CLOSE = 8, FRAME_PING = 9, FRAME_PONG = 10 };
enum { FRAME_HEAD_MAX = 10, FRAME_CONTROL_MAX = 125 };

/* Zeroed memory is the start of a connection. */
struct frame_decoder {
    uint64_t left;         /* payload bytes of the current data frame still to come */
    uint32_t mask;         /* its mask, as in memory, rotated to the next byte */
    uint8_t message_op;    /* FRAME_TEXT or FRAME_BINARY while a message is under way, else 0 */
    bool message_deflated; /* RSV1 of its first frame */
    bool fin;              /* the current frame is the last of its message */
    bool in_frame;         /* header of a data frame seen, payload not complete */
    bool allow_rsv1;       /* set by the owner when permessage-deflate was negotiated */
};

/* A piece of a message, or a whole control frame. */
struct frame_part {
    enum frame_op op;    /* TEXT or BINARY also for later fragments; CLOSE, PING, PONG come whole */
    bool first, last;    /* of the message; both true: the message is whole in `data` */
    bool deflated;       /* the message's RSV1 */
    unsigned char *data; /* unmasked, inside the caller's bytes */
    size_t len;
    uint64_t left; /* payload bytes of this frame that will still come: message size so far + len + left is a lower bound */
};

/* Take the next part from `data`. Returns
 *  1 with *part filled and *used bytes taken (always more than 0): call again with what follows them;
 *  0 when nothing (more) can be handed out yet. *used is 0: the bytes stay with the caller, come again in front of what is read
 *    next, and are fewer than 131;
 *  -1002 on a violation, as early as the bytes prove it (often by the first byte). The decoder must not be used after it.
 * A control frame is taken whole. Of a data frame the header is taken together with the payload that is there, as soon as that is
 * one byte (at once where the frame is empty); later calls hand out the rest as it comes. */
int frame_next(struct frame_decoder *d, unsigned char *data, size_t len, size_t *used, struct frame_part *part);
/* Header of an unmasked, unfragmented frame from the server; returns its length, at most FRAME_HEAD_MAX. */
size_t frame_put_head(unsigned char *out, enum frame_op op, bool deflated, uint64_t len);
/* Whether a peer may send this close code: 1000-1003, 1007-1014, 3000-4999. */
bool frame_close_code_ok(unsigned code);
/* XOR `len` bytes with the mask (memory order), 8 bytes or more at a time; returns the mask rotated for what follows. */
uint32_t frame_mask(unsigned char *data, size_t len, uint32_t mask);
#endif
