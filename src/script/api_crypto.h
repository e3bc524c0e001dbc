/* api_crypto.h - tide.crypto. */
#ifndef MT_SCRIPT_API_CRYPTO_H
#define MT_SCRIPT_API_CRYPTO_H
struct lua_State;
void api_crypto_open(struct lua_State *L); /* the type of hashers. May raise */
void api_crypto_fill(struct lua_State *L); /* sets `crypto` in the table on top. May raise */
#endif
