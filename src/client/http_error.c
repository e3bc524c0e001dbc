/* http_error.c - what libcurl's results mean for the one who asked. */
#include "client/http_impl.h"

#include "base/err.h"
#include "base/utf8.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int call_fail(struct http_call *call, int code, const char *format, ...)
{
    va_list args;

    if (call->code != 0)
        return call->code;
    call->code = code;
    va_start(args, format);
    vsnprintf(call->text, sizeof(call->text), format, args);
    va_end(args);
    utf8_mend(call->text); /* it is on its way to people, as JSON perhaps */
    return code;
}

static int connect_code(const struct http_call *call)
{
    long os_error = 0;

    curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os_error);
    if (call->open_error == EMFILE || call->open_error == ENFILE)
        return MT_EFULL;
    return os_error == ETIMEDOUT ? MT_ETIMEOUT : MT_EREFUSED;
}

/* Bytes did not come, or were not what they have to be: libcurl has one code for a connection that breaks and for a bad chunk. */
static int receive_code(const struct http_call *call)
{
    long proxy_status = 0;

    curl_easy_getinfo(call->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    if (proxy_status >= 300)
        return MT_EREFUSED;
    if (strstr(call->why, "Too large"))
        return MT_ETOO_LARGE;
    return strstr(call->why, "chunk") || strstr(call->why, "header") ? MT_EMALFORMED : MT_ECLOSED;
}

static int code_of(const struct http_call *call, CURLcode result)
{
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return MT_EDNS;
    case CURLE_COULDNT_CONNECT:
    case CURLE_PROXY:
        return connect_code(call);
    case CURLE_OPERATION_TIMEDOUT:
        return MT_ETIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return MT_ETLS;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return receive_code(call);
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2_STREAM:
        return MT_ECLOSED;
    case CURLE_OUT_OF_MEMORY: /* libcurl's word for a line of a head that is too long as well */
        return call->state == HTTP_SENT && !call->head_done ? MT_ETOO_LARGE : MT_ENOMEM;
    case CURLE_URL_MALFORMAT: /* a name that cannot be written in ASCII, say */
        return call->redirects > 0 ? MT_EMALFORMED : MT_EINVALID;
    default: /* HTTP/0.9, a weird reply, a bad coding, HTTP/2 gone wrong */
        return MT_EMALFORMED;
    }
}

void call_fail_with(struct http_call *call, CURLcode result)
{
    if (call->open_error == EACCES && (result == CURLE_COULDNT_CONNECT || result == CURLE_ABORTED_BY_CALLBACK))
        call_fail(call, MT_EDENIED, "the address is not a public one");
    else
        call_fail(call, code_of(call, result), "%s", call->why[0] != '\0' ? call->why : curl_easy_strerror(result));
}
