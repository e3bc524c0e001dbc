/* config_keys.c - the table of all settings. Flags, environment, file, help and the manual page all come from it. */
#include "app/config.h"

static const char *const levels[] = {"debug", "info", "warn", "error", "off", NULL};
static const char *const formats[] = {"text", "json", NULL};
static const char *const on_error[] = {"close", "keep", NULL};
static const char *const client_certificates[] = {"off", "optional", "required", NULL};
static const char *const exceeded[] = {"delay", "close", NULL};
static const char *const libraries[] = {"io", "os", "process", "debug", "package", NULL};

enum { KILO = 1024, MEGA = 1024 * 1024 };
#define GIGA 1073741824.0

/* One key after the other, laid out for reading: */
/* clang-format off */
const struct config_key config_keys[CONFIG_COUNT] = {
    [CONFIG_LISTEN] = {.name = "listen",
        .type = CONFIG_LIST, .initial = "localhost:8765", .flag = "--listen",
        .help = "Addresses to listen on: HOST:PORT, [V6]:PORT, *:PORT (every interface), PORT (localhost) or unix:/PATH; "
                "port 0 picks one. http:// or https:// in front decides for or against TLS where some listeners use it "
                "and some do not. proxy+ in front of all that is for proxies that send PROXY headers, and for nobody else (see proxies)."},
    [CONFIG_TLS] = {.name = "tls",
        .type = CONFIG_LIST, .initial = "", .flag = "--tls",
        .help = "Certificates, each CERT,KEY (PEM files, the chain in CERT). The first is the default, others are chosen "
                "by the name that the client asks for. The passphrase of a key comes from MOONTIDE_TLS_PASSPHRASE."},
    [CONFIG_TLS_CLIENT] = {.name = "tls.client",
        .type = CONFIG_ENUM, .initial = "off", .choices = client_certificates,
        .help = "Certificates of clients on TLS listeners: not asked for, checked where a client has one, or needed to connect at all. "
                "What they say is in `req.tls.client`."},
    [CONFIG_TLS_CA] = {.name = "tls.ca",
        .type = CONFIG_STRING, .initial = "",
        .help = "A PEM file with the authorities whose client certificates count, roots included. Read again with the "
                "certificates."},
    [CONFIG_TLS_CRL] = {.name = "tls.crl",
        .type = CONFIG_STRING, .initial = "",
        .help = "A PEM file with the lists of client certificates that were revoked (CRL), one for each authority. One that is out of "
                "date refuses everybody. Read again with the certificates."},
    [CONFIG_ORIGINS] = {.name = "origins",
        .type = CONFIG_LIST, .initial = "", .live = true,
        .help = "Whose pages may use the server besides its own: https://app.example, https://*.example (exactly one label), null "
                "(files, sandboxed frames), * (any). Requests of others that carry an Origin get 403."},
    [CONFIG_ALLOW] = {.name = "allow",
        .type = CONFIG_LIST, .initial = "", .live = true,
        .help = "Addresses of clients that may connect: 192.0.2.7, 10.0.0.0/8, 2001:db8::/32, unix. Without any, all that are not in "
                "deny; with one, nobody else. Where both lists hold an address, the smaller network counts."},
    [CONFIG_DENY] = {.name = "deny",
        .type = CONFIG_LIST, .initial = "", .live = true,
        .help = "Addresses of clients that may not connect; a reload closes what they have open, WebSockets with 1008."},
    [CONFIG_PROXIES] = {.name = "proxies",
        .type = CONFIG_LIST, .initial = "", .live = true,
        .help = "Addresses of the proxies in front, or unix, whose word about the client counts: X-Forwarded-For, X-Forwarded-Proto, "
                "X-Real-IP and the PROXY protocol."},
    [CONFIG_AUTH_EXPIRED] = {.name = "auth.expired",
        .type = CONFIG_INT, .initial = "4401", .min = 3000, .max = 4999, .live = true,
        .help = "The code that closes a connection when the time in `conn.expires` has come."},
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
    [CONFIG_USER] = {.name = "user",
        .type = CONFIG_STRING, .initial = "",
        .help = "The user to run as, for servers that are started by root to use ports below 1024: name or number. Listeners and "
                "certificates are opened before, everything else after."},
    [CONFIG_GROUP] = {.name = "group",
        .type = CONFIG_STRING, .initial = "",
        .help = "The group to run as. Without it that of the user."},
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
        .help = "What to open to scripts although it reaches outside of the server: io (files; they block), os (getenv, remove, "
                "rename, tmpname), process (os.execute, io.popen), package (C modules), debug. The last three can do all that "
                "the server can."},
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
    [CONFIG_HTTP_CA] = {.name = "http.ca",
        .type = CONFIG_STRING, .initial = "",
        .help = "A PEM file with the authorities that tide.http trusts, in place of the system's."},
    [CONFIG_HTTP_PRIVATE] = {.name = "http.private",
        .type = CONFIG_BOOL, .initial = "true",
        .help = "Whether tide.http may reach addresses that are not public: this machine, private networks, metadata services. Turn it "
                "off where scripts ask for URLs that strangers choose."},
    [CONFIG_HTTP_BODY] = {.name = "http.body",
        .type = CONFIG_SIZE, .initial = "8m", .min = 0, .max = 4 * GIGA,
        .help = "Bytes of an answer to tide.http, after inflating, where the script gives no max_body."},
    [CONFIG_HTTP_CONNECTIONS] = {.name = "http.connections",
        .type = CONFIG_INT, .initial = "256", .min = 1, .max = 65536,
        .help = "Connections of tide.http, in each worker. What is over waits for one to be free, 4096 requests at most."},
    [CONFIG_HTTP_PER_HOST] = {.name = "http.per_host",
        .type = CONFIG_INT, .initial = "64", .min = 1, .max = 65536,
        .help = "Connections of tide.http to one host and port among them."},
    [CONFIG_FILES_FOLDER] = {.name = "files.folder",
        .type = CONFIG_STRING, .initial = "",
        .help = "The folder of `tide.files`. Scripts read and write in it and nowhere else. It must be there."},
    [CONFIG_FILES_SIZE] = {.name = "files.size",
        .type = CONFIG_SIZE, .initial = "4g", .min = 1, .max = 16384 * GIGA,
        .help = "Bytes of one file that scripts write."},
    [CONFIG_FILES_OPEN] = {.name = "files.open",
        .type = CONFIG_INT, .initial = "1000", .min = 1, .max = 100000,
        .help = "Files that the scripts of one worker may have open at once."},
    [CONFIG_SQL_FOLDER] = {.name = "sql.folder",
        .type = CONFIG_STRING, .initial = "",
        .help = "The folder of the files that `tide.sql.open` names. Without it the folder of the script."},
    [CONFIG_SQL_TIMEOUT] = {.name = "sql.timeout",
        .type = CONFIG_SECONDS, .initial = "30s", .min = 0.01, .max = 86400,
        .help = "How long a statement may take, with the wait for those before it. Then it is stopped and fails with `timeout`."},
    [CONFIG_SQL_TRANSACTION] = {.name = "sql.transaction",
        .type = CONFIG_SECONDS, .initial = "10s", .min = 0.01, .max = 86400,
        .help = "How long a transaction may be open, which all others wait for. Then it is rolled back and fails with `timeout`."},
    [CONFIG_HTTP_IDLE] = {.name = "http.idle",
        .type = CONFIG_SECONDS, .initial = "1min", .min = 0.001, .max = 86400,
        .help = "How long a worker without a request to another server keeps its connections to them."},
    [CONFIG_LIMITS_MESSAGE] = {.name = "limits.message",
        .type = CONFIG_SIZE, .initial = "64k", .min = 1, .max = GIGA, .live = true,
        .help = "Bytes of one WebSocket message, after inflating. A larger one closes the connection with 1009."},
    [CONFIG_LIMITS_OUTBOX] = {.name = "limits.outbox",
        .type = CONFIG_SIZE, .initial = "1m", .min = KILO, .max = 4 * GIGA, .live = true,
        .help = "Bytes that may wait for one slow reader, after limits.outbox_grace. Past it volatile messages are dropped, then the "
                "connection is closed with 1013. A message that is larger than this goes out when nothing else waits."},
    [CONFIG_LIMITS_OUTBOX_GRACE] = {.name = "limits.outbox_grace",
        .type = CONFIG_SECONDS, .initial = "1s", .min = 0, .max = 3600, .live = true,
        .help = "How long a burst may take up to twice limits.outbox. What is over it then has the consequences of limits.outbox, and "
                "there is no second grace before all that waits was read. 0 gives none."},
    [CONFIG_LIMITS_BODY] = {.name = "limits.body",
        .type = CONFIG_SIZE, .initial = "1m", .min = 0, .max = 4 * GIGA, .live = true,
        .help = "Bytes of one HTTP request body. A larger one is answered with 413."},
    [CONFIG_LIMITS_CONNECTIONS] = {.name = "limits.connections",
        .type = CONFIG_INT, .initial = "100000", .min = 1, .max = 1000000,
        .help = "Sockets served at once, over all workers. What comes then waits in line."},
    [CONFIG_LIMITS_WAITING] = {.name = "limits.waiting",
        .type = CONFIG_INT, .initial = "1000", .min = 0, .max = 100000, .live = true,
        .help = "Sockets that wait in line for one of limits.connections to be free, in each worker. Past it the server accepts no "
                "more until somebody has left the line; 0 is no line."},
    [CONFIG_LIMITS_WAIT] = {.name = "limits.wait",
        .type = CONFIG_SECONDS, .initial = "5s", .min = 0.1, .max = 600, .live = true,
        .help = "How long a socket waits in line. Then it is answered with 503 and Retry-After."},
    [CONFIG_LIMITS_ADDRESS_CONNECTIONS] = {.name = "limits.address_connections",
        .type = CONFIG_INT, .initial = "0", .min = 0, .max = 1000000, .live = true,
        .help = "Sockets of one address (IPv6: one /64 network), over all workers; more are answered with 429. 0 is no limit. Loopback "
                "and unix sockets are not counted. For clients of proxies: WebSocket connections."},
    [CONFIG_LIMITS_USER_CONNECTIONS] = {.name = "limits.user_connections",
        .type = CONFIG_INT, .initial = "0", .min = 0, .max = 1000000, .live = true,
        .help = "WebSocket connections of one user, over all workers. More are answered with 429, and closed with 1008 where a "
                "script sets conn.user later. 0 is no limit."},
    [CONFIG_LIMITS_RATE_MESSAGES] = {.name = "limits.rate.messages",
        .type = CONFIG_RATE, .initial = "off", .min = 0.001, .max = 1e7, .live = true,
        .help = "Messages that one WebSocket connection sends; a ping counts as one."},
    [CONFIG_LIMITS_RATE_BYTES] = {.name = "limits.rate.bytes",
        .type = CONFIG_RATE, .initial = "off", .min = 1, .max = 64 * GIGA, .live = true,
        .help = "Bytes that one WebSocket connection sends, as they come over the wire."},
    [CONFIG_LIMITS_RATE_USER_MESSAGES] = {.name = "limits.rate.user_messages",
        .type = CONFIG_RATE, .initial = "off", .min = 0.001, .max = 1e7, .live = true,
        .help = "Messages of all connections of one user together, over all workers."},
    [CONFIG_LIMITS_RATE_HANDSHAKES] = {.name = "limits.rate.handshakes",
        .type = CONFIG_RATE, .initial = "off", .min = 0.001, .max = 1e7, .live = true,
        .help = "WebSocket handshakes of one address (IPv6: one /64 network), over all workers; more are answered with 429. Loopback "
                "and unix sockets are not counted."},
    [CONFIG_LIMITS_RATE_EXCEEDED] = {.name = "limits.rate.exceeded",
        .type = CONFIG_ENUM, .initial = "delay", .choices = exceeded, .live = true,
        .help = "What happens to a connection that sends more than the rates allow: it is read more slowly, or closed with 1008."},
    [CONFIG_DEFLATE_THRESHOLD] = {.name = "deflate.threshold",
        .type = CONFIG_SIZE, .initial = "1k", .min = 0, .max = GIGA, .may_be_off = true, .live = true,
        .help = "Messages of fewer bytes are not compressed; off compresses nothing."},
    [CONFIG_HANDSHAKE_TIMEOUT] = {.name = "handshake.timeout",
        .type = CONFIG_SECONDS, .initial = "10s", .min = 0.1, .max = 600, .live = true,
        .help = "Time for the TLS handshake and the head of the first request together, and for the head of each later one. Then the "
                "connection is closed, half a head is answered with 408."},
    [CONFIG_CONNECT_TIMEOUT] = {.name = "connect.timeout",
        .type = CONFIG_SECONDS, .initial = "30s", .min = 0, .max = 86400,
        .help = "Time for `on_connect` to decide, waiting included. Past it the client gets 503, and the handler is ended as one that "
                "fails. 0: no limit."},
    [CONFIG_BODY_TIMEOUT] = {.name = "body.timeout",
        .type = CONFIG_SECONDS, .initial = "30s", .min = 0.1, .max = 86400, .live = true,
        .help = "Time for the body of a request to be there, and one second more for each 1000 bytes that have come. Then it is "
                "answered with 408."},
    [CONFIG_IDLE_TIMEOUT] = {.name = "idle.timeout",
        .type = CONFIG_SECONDS, .initial = "1min", .min = 0.1, .max = 86400, .live = true,
        .help = "How long an HTTP connection may wait for its next request. And a client that takes its answer slower than 1000 bytes a "
                "second, over so long a time, is cut off."},
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
