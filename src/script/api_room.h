/* api_room.h - room objects: a name with methods. A room needs no making; it exists while somebody is in it. */
#ifndef MT_SCRIPT_API_ROOM_H
#define MT_SCRIPT_API_ROOM_H
#include "hub/hub.h"

struct lua_State;

void api_room_open(struct lua_State *L); /* the type. May raise */
void api_room_fill(struct lua_State *L); /* sets tide.room and tide.rooms in the table on top. May raise */
/* Push the room object of a name of 1 to HUB_NAME_MAX bytes (stack: +1). Raises when memory runs out. */
void api_room_push(struct lua_State *L, struct slice name);
/* Push { user =, id =, info = } (stack: +1). Raises when memory runs out. */
void api_room_push_member(struct lua_State *L, const struct person *p);
#endif
