/* main.c - the program: reads the command line, makes the server, and turns every outcome into a message and an exit code. */
#include "app/cli.h"
#include "app/cli_admin.h"
#include "app/cli_new.h"
#include "app/cli_token.h"
#include "app/server.h"
#include "app/signals.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/net.h"

#include <stdio.h>
#include <string.h>

enum {
    EXIT_FINE = 0,
    EXIT_START = 1, /* cannot start */
    EXIT_USAGE = 2  /* wrong flags or settings */
};

extern char **environ;

/* Prints and frees `error`; what `rc` says where there is none. Returns `code`. */
static int leave(int code, int rc, char *error)
{
    fprintf(stderr, "moontide: %s\n", error ? error : err_text(rc));
    mem_free(error);
    return code;
}

static int print_help(const struct cli *cli)
{
    struct buf text = {0};
    char *error = NULL;
    int rc = cli_print_help(cli->topic, cli->markdown, &text, &error);
    if (rc == 0)
        fwrite(text.data, 1, text.len, stdout);
    buf_fini(&text);
    return rc ? leave(EXIT_USAGE, rc, error) : EXIT_FINE;
}

static void print_ready(const struct server *server)
{
    fputs("moontide: ready", stdout);
    for (size_t i = 0; server_address(server, i); i++)
        printf(" %s", server_address(server, i));
    putchar('\n');
    fflush(stdout);
}

static int serve(struct server *server)
{
    char *error = NULL;
    int rc = server_listen(server, &error);
    struct signals *signals = rc == 0 ? signals_open(server) : NULL;
    if (!signals)
        return leave(EXIT_START, rc ? rc : MT_ENOMEM, error);
    print_ready(server);
    server_run(server);
    signals_close(signals);
    return EXIT_FINE;
}

static void warn_of_few_files(const struct config *config)
{
    bool has_files = config_text(config, CONFIG_FILES_FOLDER) != NULL;
    size_t each = config_number(config, CONFIG_HTTP_CONNECTIONS) + config_number(config, CONFIG_LIMITS_WAITING) +
                  NET_REFUSING_MAX + (has_files ? config_number(config, CONFIG_FILES_OPEN) : 0);
    size_t wanted = config_number(config, CONFIG_LIMITS_CONNECTIONS);
    size_t fit = signals_prepare_process(wanted, each * config_number(config, CONFIG_WORKERS));
    if (fit < wanted && config_source(config, CONFIG_LIMITS_CONNECTIONS) != CONFIG_DEFAULT)
        fprintf(stderr, "moontide: limits.connections is %zu, but the system allows open files for %zu (see ulimit -Hn)\n",
                wanted, fit);
}

static int run(const struct cli *cli)
{
    const struct server_options options = {.script = cli->script, .check = cli->command == CLI_CHECK};
    struct config *config = NULL;
    struct server *server = NULL;
    char *error = NULL;
    int code = EXIT_FINE, rc = cli_configure(cli, environ, &config, &error);
    if (rc)
        return leave(EXIT_USAGE, rc, error);
    warn_of_few_files(config);
    rc = server_create(config, &options, &server, &error);
    if (rc)
        return leave(EXIT_START, rc, error);
    if (cli->command == CLI_CHECK)
        fprintf(stderr, "moontide: %s is fine, version %s\n", cli->script, server_version(server));
    else
        code = serve(server);
    server_destroy(server);
    return code;
}

/* As one word of a shell's command line that is no flag. */
static void print_word(const char *text)
{
    if (*text == '-')
        fputs("./", stdout);
    if (!text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")]) {
        fputs(text, stdout);
        return;
    }
    putchar('\'');
    for (; *text; text++)
        fputs(*text == '\'' ? "'\\''" : (char[]){*text, 0}, stdout);
    putchar('\'');
}

static int make_new(const struct cli *cli)
{
    char *error = NULL;
    int rc = cli_new_run(cli->script, &error);
    if (rc)
        return leave(EXIT_START, rc, error);
    printf("There is an app in %s now. It runs by\n\n    cd ", cli->script);
    print_word(cli->script);
    printf(" && moontide run app.lua --config moontide.conf.lua\n\nand talks at http://localhost:8765/ then.\n");
    return EXIT_FINE;
}

int main(int argc, char **argv)
{
    struct cli cli;
    char *error = NULL;
    if (argc > 1 && strcmp(argv[1], "token") == 0)
        return cli_token_run(argc - 2, argv + 2); /* its flags are its own */
    int code = EXIT_FINE, rc = cli_parse(argc, argv, &cli, &error);
    if (rc)
        code = leave(EXIT_USAGE, rc, error);
    else if (cli.command == CLI_HELP)
        code = print_help(&cli);
    else if (cli.command == CLI_VERSION)
        puts("moontide " MT_VERSION);
    else if (cli.command == CLI_NEW)
        code = make_new(&cli);
    else if (cli.command >= CLI_STATUS)
        code = cli_admin_run(&cli);
    else
        code = run(&cli);
    cli_fini(&cli);
    return code;
}
