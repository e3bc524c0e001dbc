/* ledger.h - what became of each message of the storm.
 *
 * A message has one of two ends: every member of the sender's room gets it, once and in the sender's order, and the sender gets
 * an answer; or the sender is told that it failed, and nobody gets it. Connections are dealt to rooms in turn. Number 0 of each
 * is the one that joins its room, which nobody else hears of. What is against these rules ends the program (peer_fail).
 */
#ifndef STORM_LEDGER_H
#define STORM_LEDGER_H
#include <stdbool.h>
#include <stdint.h>

/* `connections` is a multiple of `rooms`. */
void ledger_init(unsigned connections, unsigned rooms);
/* `member` got number `number` of `from`, made by the script's generation `generation`. */
void ledger_heard(unsigned member, unsigned from, uint32_t number, uint32_t generation);
/* `sender` was told that its number `number` went well, by this generation. Its own copy of the message came before. */
void ledger_answered(unsigned sender, uint32_t number, uint32_t generation);
/* `sender` was told that a message failed. Answers come in order, so it is the oldest without one; returns its number. */
uint32_t ledger_failed(unsigned sender);
/* How many messages of `sender` have their answer. */
uint32_t ledger_done(unsigned sender);
/* Whether `sender` has an answer to each of its `sent` messages, and every member has the last one. */
bool ledger_is_complete(unsigned sender, uint32_t sent);
/* At the end: what the members did not get of `sender` is exactly what failed. The last message did not. */
void ledger_check(unsigned sender, uint32_t sent);
#endif
