/* fake_script_crew.c - inboxes without a loop, for scripts of several workers in one thread. */
#include "fake_script_crew.h"

#include "fake_inbox.h"

struct inbox *fake_inbox(void)
{
    return fake_inbox_create();
}

bool fake_deliver(struct inbox *b)
{
    return fake_inbox_open(b, true);
}

void fake_inbox_free(struct inbox *b)
{
    fake_inbox_destroy(b);
}
