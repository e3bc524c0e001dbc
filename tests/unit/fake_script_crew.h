/* fake_script_crew.h - inboxes of workers whose letters are opened when the test says so. */
#ifndef MT_TESTS_FAKE_SCRIPT_CREW_H
#define MT_TESTS_FAKE_SCRIPT_CREW_H
#include <stdbool.h>

struct inbox;
struct inbox *fake_inbox(void);
bool fake_deliver(struct inbox *b); /* opens what waits; true when there was something */
void fake_inbox_free(struct inbox *b);
#endif
