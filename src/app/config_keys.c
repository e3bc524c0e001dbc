/* config_keys.c - the table of all settings. Flags, environment, file, help and the manual page all come from it. */
#include "app/config.h"

static const char *const levels[] = {"debug", "info", "warn", "error", "off", NULL};
static const char *const formats[] = {"text", "json", NULL};
static const char *const on_error[] = {"close", "keep", NULL};
static const char *const libraries[] = {"io", "os", "debug", "package", NULL};

enum { KILO = 1024, MEGA = 1024 * 1024 };
#define GIGA 1073741824.0

/* One key after the other, laid out for reading: */
/* clang-format off */
const struct config_key config_keys[CONFIG_COUNT] = {
    [CONFIG_LISTEN] = {.name = "listen",
        .type = CONFIG_LIST, .initial = "localhost:8765", .flag = "--listen",
        .help = "Addresses to listen on: HOST:PORT, [V6]:PORT, *:PORT (every interface), PORT (localhost) or unix:/PATH; "
                "port 0 picks one. http:// or https:// in front decides for or against TLS where some listeners use it "
                "and some do not."},
    [CONFIG_TLS] = {.name = "tls",
        .type = CONFIG_LIST, .initial = "", .flag = "--tls",
        .help = "Certificates, each CERT,KEY (PEM files, the chain in CERT). The first is the default, others are chosen "
                "by the name that the client asks for. The passphrase of a key comes from MOONTIDE_TLS_PASSPHRASE."},
    [CONFIG_STATIC] = {.name = "static",
        .type = CONFIG_STRING, .initial = "", .flag = "--static",
        .help = "A folder whose files are served over HTTP."},
    [CONFIG_WATCH] = {.name = "watch",
        .type = CONFIG_BOOL, .initial = "true",
        .help = "Reload when the script, one of its modules or a certificate is saved. --no-watch turns it off."},
    [CONFIG_DEV] = {.name = "dev",
        .type = CONFIG_BOOL, .initial = "false",
        .help = "Dev mode: a save that does not load shows the lines of the source in the log and in the open pages. --dev turns "
                "it on. Not for servers that strangers can reach."},
    [CONFIG_WORKERS] = {.name = "workers",
        .type = CONFIG_INT, .initial = "1", .min = 1, .max = 64, .flag = "--workers", .may_be_auto = true,
        .help = "Threads that serve connections, each with a VM of its own; auto is one for each processor."},
    [CONFIG_LIBRARY] = {.name = "library",
        .type = CONFIG_STRING, .initial = "",
        .help = "The folder of the scripts that ship with the server, where `require` looks after the folder of the "
                "script. Without it the installed one is found by itself."},
    [CONFIG_ADMIN] = {.name = "admin",
        .type = CONFIG_BOOL, .initial = "true",
        .help = "Open a control socket, for `moontide status`, `reload`, `rollback` and `versions`. Programs that embed the "
                "server have to set it to true."},
    [CONFIG_CONTROL_PATH] = {.name = "control.path",
        .type = CONFIG_STRING, .initial = "",
        .help = "Where the control socket is. Without it `moontide-PORT.sock` in `$XDG_RUNTIME_DIR`, else in "
                "`/tmp/moontide-UID`; PORT is that of the first address, or the process id where all are unix sockets."},
    [CONFIG_LOG_LEVEL] = {.name = "log.level",
        .type = CONFIG_ENUM, .initial = "info", .choices = levels, .flag = "--log-level", .live = true,
        .help = "The least important lines to log."},
    [CONFIG_LOG_FORMAT] = {.name = "log.format",
        .type = CONFIG_ENUM, .initial = "text", .choices = formats, .flag = "--log-format",
        .help = "Lines for people, or one JSON object per line."},
    [CONFIG_LOG_FILE] = {.name = "log.file",
        .type = CONFIG_STRING, .initial = "",
        .help = "A file to log to instead of stderr. SIGHUP and `moontide reload` open it again, for those who rotate it."},
    [CONFIG_ON_ERROR] = {.name = "on_error",
        .type = CONFIG_ENUM, .initial = "close", .choices = on_error,
        .help = "What three failures of handlers in a row do to a connection: close it with 1011, or keep it. Those of a version on "
                "probation close none."},
    [CONFIG_SCRIPT_TIME] = {.name = "script.time",
        .type = CONFIG_SECONDS, .initial = "1s", .min = 0.01, .max = 3600,
        .help = "Running time of one entry into the script, waiting not counted. What takes longer is ended."},
    [CONFIG_SCRIPT_MEMORY] = {.name = "script.memory",
        .type = CONFIG_SIZE, .initial = "256m", .min = 8.0 * MEGA, .max = 64 * GIGA,
        .help = "Memory of the script. The handler that crosses it fails."},
    [CONFIG_RELOAD_TIMEOUT] = {.name = "reload.timeout",
        .type = CONFIG_SECONDS, .initial = "500ms", .min = 0.01, .max = 3600,
        .help = "Running time of one file while it loads."},
    [CONFIG_RELOAD_PAUSE] = {.name = "reload.pause",
        .type = CONFIG_SECONDS, .initial = "250ms", .min = 0.001, .max = 60, .live = true,
        .help = "How long the workers may stand still for a new version to take over. Past it the old one goes on."},
    [CONFIG_RELOAD_PROBATION] = {.name = "reload.probation",
        .type = CONFIG_SECONDS, .initial = "10s", .min = 0, .max = 3600, .live = true,
        .help = "How long the version before is kept for a new one that fails. 0 keeps none."},
    [CONFIG_RELOAD_ERRORS] = {.name = "reload.errors",
        .type = CONFIG_INT, .initial = "5", .min = 0, .max = 1000000, .live = true,
        .help = "So many failures of handlers while a version is on probation bring the one before back, if at least one "
                "event in twenty failed. 0 leaves that to `moontide rollback`."},
    [CONFIG_RELOAD_AGE] = {.name = "reload.age",
        .type = CONFIG_SECONDS, .initial = "10min", .min = 0, .max = 604800,
        .help = "How long handlers that wait, and what is in queues, may go on in a version that was replaced; then they are "
                "cancelled. 0 is for ever."},
    [CONFIG_SANDBOX_ALLOW] = {.name = "sandbox.allow",
        .type = CONFIG_LIST, .initial = "", .choices = libraries,
        .help = "Lua libraries to open to scripts although they reach outside of the server."},
    [CONFIG_STORE_FILE] = {.name = "store.file",
        .type = CONFIG_STRING, .initial = "",
        .help = "The file in which `tide.store` keeps what it is given (SQLite), made when it is not there; one server at a time. "
                "Without it and without store.url `tide.store` lives in memory and is empty after a restart."},
    [CONFIG_STORE_URL] = {.name = "store.url",
        .type = CONFIG_STRING, .initial = "",
        .help = "The Redis server in which `tide.store` keeps what it is given: redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or "
                "unix:///PATH[?db=N]. Not together with store.file."},
    [CONFIG_STORE_CACHE] = {.name = "store.cache",
        .type = CONFIG_SIZE, .initial = "32m", .min = 0, .max = 64 * GIGA,
        .help = "Memory for values of store.file that were read or written lately: reading these waits for nothing."},
    [CONFIG_LIMITS_MESSAGE] = {.name = "limits.message",
        .type = CONFIG_SIZE, .initial = "64k", .min = 1, .max = GIGA, .live = true,
        .help = "Bytes of one WebSocket message, after inflating. A larger one closes the connection with 1009."},
    [CONFIG_LIMITS_OUTBOX] = {.name = "limits.outbox",
        .type = CONFIG_SIZE, .initial = "1m", .min = KILO, .max = 4 * GIGA, .live = true,
        .help = "Bytes that may wait for one slow reader. Past it the connection is closed with 1013. A message that is larger than "
                "this goes out when nothing else waits."},
    [CONFIG_LIMITS_BODY] = {.name = "limits.body",
        .type = CONFIG_SIZE, .initial = "1m", .min = 0, .max = 4 * GIGA, .live = true,
        .help = "Bytes of one HTTP request body. A larger one is answered with 413."},
    [CONFIG_LIMITS_CONNECTIONS] = {.name = "limits.connections",
        .type = CONFIG_INT, .initial = "100000", .min = 1, .max = 1000000,
        .help = "Sockets open at once, over all workers. At this number the server stops accepting until one closes."},
    [CONFIG_DEFLATE_THRESHOLD] = {.name = "deflate.threshold",
        .type = CONFIG_SIZE, .initial = "1k", .min = 0, .max = GIGA, .may_be_off = true, .live = true,
        .help = "Messages of fewer bytes are not compressed; off compresses nothing."},
    [CONFIG_HANDSHAKE_TIMEOUT] = {.name = "handshake.timeout",
        .type = CONFIG_SECONDS, .initial = "10s", .min = 0.1, .max = 600, .live = true,
        .help = "Time for the TLS handshake and the head of the first request."},
    [CONFIG_IDLE_TIMEOUT] = {.name = "idle.timeout",
        .type = CONFIG_SECONDS, .initial = "1min", .min = 0.1, .max = 86400, .live = true,
        .help = "How long an HTTP connection may wait for its next request."},
    [CONFIG_PING_INTERVAL] = {.name = "ping.interval",
        .type = CONFIG_SECONDS, .initial = "25s", .min = 0, .max = 86400, .live = true,
        .help = "Time between two pings of a WebSocket connection; 0 sends no pings."},
    [CONFIG_PING_TIMEOUT] = {.name = "ping.timeout",
        .type = CONFIG_SECONDS, .initial = "10s", .min = 0.1, .max = 3600, .live = true,
        .help = "Time for any byte to come after a ping. Without one the connection has ended (1006)."},
    [CONFIG_CLOSE_TIMEOUT] = {.name = "close.timeout",
        .type = CONFIG_SECONDS, .initial = "5s", .min = 0.1, .max = 600, .live = true,
        .help = "Time for the reply to a close frame."},
    [CONFIG_SHUTDOWN_TIMEOUT] = {.name = "shutdown.timeout",
        .type = CONFIG_SECONDS, .initial = "5s", .min = 0, .max = 3600, .live = true,
        .help = "Time between the wish to stop and the end: on_stop, closing every connection with 1001, handlers at work, "
                "queues, flushing."},
};
/* clang-format on */
