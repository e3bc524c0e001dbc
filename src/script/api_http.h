/* api_http.h - tide.http: requests to other servers. */
#ifndef MT_SCRIPT_API_HTTP_H
#define MT_SCRIPT_API_HTTP_H
struct lua_State;
void api_http_fill(struct lua_State *L);
#endif
