/* cli_token.h - the command `moontide token`: makes and checks JSON Web Tokens. */
#ifndef MT_APP_CLI_TOKEN_H
#define MT_APP_CLI_TOKEN_H

/* The arguments behind "token". Prints what comes of it; returns the exit code: 0, 1 (the token or the key is at fault), 2 (the
 * flags are). */
int cli_token_run(int argc, char *const *argv);
extern const char cli_token_help[];
#endif
