/* api_signal.h - tide.signal: a name and a value for app.on_signal of every worker. */
#ifndef MT_SCRIPT_API_SIGNAL_H
#define MT_SCRIPT_API_SIGNAL_H
#include "base/blob.h"
#include "base/slice.h"

struct lua_State;
struct script;

void api_signal_fill(struct lua_State *L); /* sets signal in the table on top. May raise */
/* A signal came, with its value as JSON text (empty: nil): app.on_signal runs behind what runs now. */
void api_signal_deliver(struct script *s, struct slice name, struct blob *value);
#endif
