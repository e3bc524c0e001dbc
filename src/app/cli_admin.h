/* cli_admin.h - the commands for a running server: `moontide status`, `reload`, `rollback` and `versions`. */
#ifndef MT_APP_CLI_ADMIN_H
#define MT_APP_CLI_ADMIN_H
#include "app/cli.h"

/* Ask the server that `c` names, or the only one there is, and print its answer. The exit code: 0, or 1 with a message on stderr.
 */
int cli_admin_run(const struct cli *c);
/* The answer `json` to `command` (of CLI_STATUS and those after it) for people. Control characters of the server's texts are
 * left out. 0, MT_EMALFORMED, MT_ENOMEM. */
int cli_admin_show(enum cli_command command, struct slice json, struct buf *out);
#endif
