/* api_env.h - tide.env: the environment variables of the process, read only. */
#ifndef MT_SCRIPT_API_ENV_H
#define MT_SCRIPT_API_ENV_H
struct lua_State;
void api_env_fill(struct lua_State *L); /* sets `env` in the table on top. May raise */
#endif
