/* cli.h - the command line: which command, which script, which settings; and the texts of `moontide help`. Pure. */
#ifndef MT_APP_CLI_H
#define MT_APP_CLI_H
#include "app/config.h"

/* Up to CLI_CHECK they take a script, CLI_NEW a folder; from CLI_STATUS on they are for a running server, but CLI_TOKEN, which
 * reads its flags by itself (cli_token.h) and is no result of cli_parse. */
enum cli_command { CLI_RUN, CLI_CHECK, CLI_NEW, CLI_VERSION, CLI_HELP, CLI_STATUS, CLI_RELOAD, CLI_ROLLBACK, CLI_VERSIONS, CLI_TOKEN };

struct cli_setting {
    char *key;         /* owned; "limits.message" */
    const char *value; /* borrowed from argv */
    const char *flag;  /* how it was given, for messages: "--set", "--listen"; static */
    bool whole;        /* one item of a list, not to be split at blanks */
};

struct cli {
    enum cli_command command;
    const char *script;           /* of run and check; of new: the folder. Borrowed from argv */
    const char *file;             /* --config; borrowed, NULL when not given */
    struct cli_setting *settings; /* owned, in the order given */
    size_t setting_count;
    const char *control;          /* --control: the socket of a running server; borrowed, NULL when not given */
    bool json;                    /* --json: the answer as it came */
    const char *topic; /* of help; borrowed, NULL when not given */
    bool markdown;     /* help config --markdown */
};

/* Read the arguments. 0, MT_EINVALID with a sentence in *error (mem_free it), MT_ENOMEM. cli_fini in every case. */
int cli_parse(int argc, char *const *argv, struct cli *out, char **error);
void cli_fini(struct cli *c);
/* The settings of all sources, checked. 0, or as config_set, config_read_file and config_check. */
int cli_configure(const struct cli *c, char *const *environment, struct config **out, char **error);
/* The text for `moontide help [topic]`; topic NULL is the overview. 0, MT_EINVALID (no such topic, *error names the nearest),
 * MT_ENOMEM. */
int cli_print_help(const char *topic, bool markdown, struct buf *out, char **error);
#endif
