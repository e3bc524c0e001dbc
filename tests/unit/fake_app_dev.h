/* fake_app_dev.h - sessions for the tests of dev mode. Zeroed memory is one whose request has not been answered. */
#ifndef MT_TESTS_FAKE_APP_DEV_H
#define MT_TESTS_FAKE_APP_DEV_H
#include "net/session.h"

struct session {
    bool accept_fails;
    int status;     /* of the answer; 101: accepted */
    char head[512]; /* extra header lines */
    char body[64 << 10];
    size_t body_len;
    char heard[256];   /* the last message */
    unsigned messages; /* how many came */
    unsigned closed;   /* close code, 0 while open */
};
#endif
