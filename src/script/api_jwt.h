/* api_jwt.h - tide.jwt: checking and making JSON Web Tokens. */
#ifndef MT_SCRIPT_API_JWT_H
#define MT_SCRIPT_API_JWT_H
#include <lua.h>

void api_jwt_fill(lua_State *L);
#endif
