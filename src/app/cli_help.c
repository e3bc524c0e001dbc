/* cli_help.c - the texts of `moontide help`. */
#include "app/cli.h"

#include "app/cli_token.h"
#include "app/config_value.h"
#include "base/err.h"
#include "base/text.h"

static const char overview[] = "moontide " MT_VERSION ": a real-time server that is programmed in Lua\n"
                               "\n"
                               "  moontide run SCRIPT [flags]     serve SCRIPT; saving it makes the new behaviour live\n"
                               "  moontide SCRIPT [flags]         the same\n"
                               "  moontide check SCRIPT [flags]   test settings, certificates and script without serving\n"
                               "  moontide new FOLDER             make a small app, with a page and settings, to begin with\n"
                               "  moontide status                 what a running server does\n"
                               "  moontide reload                 reload script, certificates and settings of a running server\n"
                               "  moontide rollback               bring the version before back\n"
                               "  moontide versions               the last versions of its script\n"
                               "  moontide token                  make and check tokens (JWT) for clients\n"
                               "  moontide help [COMMAND|config]  more about a command, or every setting\n"
                               "  moontide version                the version\n"
                               "\n"
                               "For example: moontide run chat.lua --static public\n";

static const char flags[] =
    "  --listen ADDR        HOST:PORT, [V6]:PORT, *:PORT, PORT or unix:/PATH; port 0 picks one; repeatable\n"
    "                       (default localhost:8765). proxy+ in front: for proxies with PROXY headers\n"
    "  --tls CERT,KEY       a certificate chain and its key, PEM files; repeatable (more by name: SNI).\n"
    "                       The key's passphrase: MOONTIDE_TLS_PASSPHRASE\n"
    "  --static DIR         serve the files of DIR over HTTP\n"
    "  --config FILE        read settings from FILE, a moontide.conf.lua (no file is read without this)\n"
    "  --set KEY=VALUE      any setting; repeatable (moontide help config lists them)\n"
    "  --no-watch           do not reload when files are saved\n"
    "  --dev                show a save that does not load in the open pages, with the lines of the source\n"
    "  --workers N          threads, or auto for one per processor (default 1)\n"
    "  --log-level LEVEL    debug, info, warn, error or off\n"
    "  --log-format FORMAT  text or json\n";

static const char run[] = "moontide run SCRIPT [flags]: serve a script\n"
                          "\n"
                          "%s"
                          "\n"
                          "When every address is bound, one line goes to stdout, and nothing else ever does:\n"
                          "  moontide: ready http://127.0.0.1:8765 http://[::1]:8765\n"
                          "Logs and messages go to stderr.\n"
                          "\n"
                          "Signals: SIGHUP reloads script, certificates and settings. SIGTERM and SIGINT stop: clients are told\n"
                          "(1001) and the server leaves within shutdown.timeout; a second one leaves at once.\n"
                          "\n"
                          "Exit code: 0 after a stop, 1 when the server cannot start (port in use, certificate, script),\n"
                          "2 for wrong flags and settings, 130 or 143 when a second SIGINT or SIGTERM ended it.\n";

static const char check[] = "moontide check SCRIPT [flags]: test settings, certificates and script without serving\n"
                            "\n"
                            "Takes the flags of run:\n"
                            "%s"
                            "\n"
                            "Exit code: 0 when the server would start, 1 when certificates, folders or the script are at fault,\n"
                            "2 for wrong flags and settings.\n";

static const char new[] =
    "moontide new FOLDER: make a small app to begin with\n"
    "\n"
    "A chat with rooms (app.lua), a page for it (public/index.html) and settings (moontide.conf.lua) that keep what is said\n"
    "in data/store.db. FOLDER must not be there, or be empty. The app runs at once:\n"
    "\n"
    "  cd FOLDER && moontide run app.lua --config moontide.conf.lua\n"
    "\n"
    "Exit code: 0, 1 when the folder cannot be made or is not empty, 2 for wrong flags.\n";

static const char control[] =
    "  --control PATH  the control socket of the server. Without it MOONTIDE_CONTROL_PATH, else the only server\n"
    "                  of this user: moontide-*.sock in $XDG_RUNTIME_DIR and in /tmp/moontide-UID\n"
    "  --json          print the answer as it comes, one line of JSON\n"
    "\n"
    "Exit code: 0, or 1 when no server answers or it cannot do it, 2 for wrong flags.\n";

static const char status[] =
    "moontide status [flags]: what a running server does\n"
    "\n"
    "Its version and since when, addresses, connections, counters, memory, reloads and why the last failed.\n"
    "\n"
    "%s";
static const char reload[] = "moontide reload [flags]: reload script, certificates and settings of a running server\n"
                             "\n"
                             "As SIGHUP does, but tells how it went: the version that is live, or what kept the old one.\n"
                             "\n"
                             "%s";
static const char rollback[] =
    "moontide rollback [flags]: bring back the version that was live before\n"
    "\n"
    "As the server does by itself where a new version fails within reload.probation. After that time the version before\n"
    "is loaded again from the sources it had. Each further rollback goes one version back. The files stay as they are:\n"
    "the next save or reload makes them live.\n"
    "\n"
    "%s";
static const char versions[] = "moontide versions [flags]: the last 20 versions of a running server's script\n"
                               "\n"
                               "Newest first, with those that failed to load or were rolled back, and why.\n"
                               "\n"
                               "%s";
static const char version[] = "moontide version: print the version\n";
static const char help[] = "moontide help [COMMAND|config]: print help\n";

int cli_print_help(const char *topic, bool markdown, struct buf *out, char **error)
{
    static const char *const topics[] = {"run",    "check",    "new",      "version", "help", "status",
                                         "reload", "rollback", "versions", "token",   "config", NULL};
    if (!topic)
        return buf_add_text(out, overview);
    if (strcmp(topic, "config") == 0)
        return markdown ? config_print_markdown(out) : config_print_help(out);
    if (strcmp(topic, "run") == 0)
        return buf_addf(out, run, flags);
    if (strcmp(topic, "check") == 0)
        return buf_addf(out, check, flags);
    if (strcmp(topic, "new") == 0)
        return buf_add_text(out, new);
    if (strcmp(topic, "status") == 0)
        return buf_addf(out, status, control);
    if (strcmp(topic, "reload") == 0)
        return buf_addf(out, reload, control);
    if (strcmp(topic, "rollback") == 0)
        return buf_addf(out, rollback, control);
    if (strcmp(topic, "versions") == 0)
        return buf_addf(out, versions, control);
    if (strcmp(topic, "token") == 0)
        return buf_add_text(out, cli_token_help);
    if (strcmp(topic, "version") == 0)
        return buf_add_text(out, version);
    if (strcmp(topic, "help") == 0)
        return buf_add_text(out, help);
    const char *near = text_nearest(slice_of(topic), topics);
    return config_fail(error, MT_EINVALID, "no help for \"%s\"%s%s%s", topic, near ? "; did you mean " : "", near ? near : "",
                       near ? "?" : "");
}
