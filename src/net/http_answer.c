/* http_answer.c - what we send: status lines, header lines, and HTTP's dates. */
#include "net/http.h"

#include "base/clock.h"
#include "base/err.h"
#include <assert.h>
#include <string.h>

static const struct {
    int status;
    const char *text;
} statuses[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {418, "I'm a Teapot"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {511, "Network Authentication Required"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i].status == status)
            return statuses[i].text;
    return "Status";
}

int http_put_status(struct buf *out, int status)
{
    char date[30];

    assert(status >= 100 && status <= 999);
    http_date(date, (int64_t)clock_wall());
    return buf_addf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http_status_text(status), date);
}

int http_put_header(struct buf *out, struct slice name, struct slice value)
{
    size_t before = out->len;

    if (!http_is_token(name) || !http_is_value(value))
        return MT_EINVALID;
    if (buf_add(out, name.data, name.len) != 0 || buf_add(out, ": ", 2) != 0 || buf_add(out, value.data, value.len) != 0 ||
        buf_add(out, "\r\n", 2) != 0) {
        out->len = before;
        return MT_ENOMEM;
    }
    return 0;
}

bool http_is_own_header(struct slice name)
{
    static const char *const names[] = {"Connection", "Content-Length", "Date", "Sec-WebSocket-Accept", "Sec-WebSocket-Extensions",
                                        "Sec-WebSocket-Protocol", "Transfer-Encoding", "Upgrade"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_is_nocase(name, slice_of(names[i])))
            return true;
    return false;
}

int http_put_end(struct buf *out)
{
    return buf_add(out, "\r\n", 2);
}

/* ---- dates ----
 * By arithmetic instead of gmtime and strptime, which know locales and global state. */

static const char *const day_names[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

enum { DAY_SECONDS = 86400, ERA_DAYS = 146097 /* 400 years */, MARCH_0000 = 719468 /* days from there to 1970 */ };

/* Days since 1970 of a date of the Gregorian calendar. Years are counted from March, so that leap days come last. */
static int64_t days_from_date(int year, int month, int day)
{
    int y = month > 2 ? year : year - 1;
    int m = month > 2 ? month - 3 : month + 9;

    return y * 365LL + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - MARCH_0000;
}

/* The other way, for days from the year 0 on. */
static void date_from_days(int64_t days, int *year, int *month, int *day)
{
    int64_t era = (days + MARCH_0000) / ERA_DAYS;
    int left = (int)((days + MARCH_0000) % ERA_DAYS);
    int y = (left - left / 1460 + left / 36524 - left / (ERA_DAYS - 1)) / 365;
    int in_year = left - (365 * y + y / 4 - y / 100);
    int m = (5 * in_year + 2) / 153;

    *day = in_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = (int)era * 400 + y + (*month <= 2);
}

static void put_digits(char *at, int n, int value)
{
    for (; n > 0; n--, value /= 10)
        at[n - 1] = (char)('0' + value % 10);
}

void http_date(char out[30], int64_t when)
{
    const int64_t last = 253402300799; /* the end of 9999: the format has four digits */
    int year, month, day;

    when = when < 0 ? 0 : when > last ? last : when;
    int64_t days = when / DAY_SECONDS;
    int second = (int)(when % DAY_SECONDS);
    date_from_days(days, &year, &month, &day);
    memcpy(out, "Day, 00 Mon 0000 00:00:00 GMT", 30);
    memcpy(out, day_names[(days + 4) % 7], 3); /* 1970 began on a Thursday */
    put_digits(out + 5, 2, day);
    memcpy(out + 8, month_names + 3 * (month - 1), 3);
    put_digits(out + 12, 4, year);
    put_digits(out + 17, 2, second / 3600);
    put_digits(out + 20, 2, second / 60 % 60);
    put_digits(out + 23, 2, second % 60);
}

struct date_fields {
    int year, month, day, hour, minute, second;
};

/* Exactly n digits; -1 otherwise. `blank`: a leading blank counts as 0, as asctime prints days. */
static int read_digits(struct slice *s, size_t n, bool blank)
{
    int value = 0;

    if (s->len < n)
        return -1;
    for (size_t i = 0; i < n; i++) {
        char c = blank && i == 0 && s->data[0] == ' ' ? '0' : s->data[i];
        if (c < '0' || c > '9')
            return -1;
        value = value * 10 + (c - '0');
    }
    s->data += n;
    s->len -= n;
    return value;
}

static bool read_word(struct slice *s, const char *word, size_t n)
{
    if (s->len < n || memcmp(s->data, word, n) != 0)
        return false;
    s->data += n;
    s->len -= n;
    return true;
}

/* The day's name, cut to 3 letters or whole. Whether it is the right day makes no difference to anybody. */
static bool read_day(struct slice *s, bool whole)
{
    for (size_t i = 0; i < 7; i++)
        if (read_word(s, day_names[i], whole ? strlen(day_names[i]) : 3))
            return true;
    return false;
}

static int read_month(struct slice *s)
{
    for (int i = 0; i < 12; i++)
        if (read_word(s, month_names + 3 * i, 3))
            return i + 1;
    return -1;
}

/* Two digits of a year mean the one within 50 years of now (RFC 9110 5.6.7). */
static int read_short_year(struct slice *s)
{
    int year, month, day, two = read_digits(s, 2, false);

    if (two < 0)
        return -1;
    date_from_days((int64_t)clock_wall() / DAY_SECONDS, &year, &month, &day);
    int full = year - year % 100 + two;
    return full > year + 50 ? full - 100 : full;
}

/* One letter of a pattern: what it stands for is read into *f. False when it is not there. */
static bool read_field(struct slice *s, char letter, struct date_fields *f)
{
    switch (letter) {
    case 'w':
        return read_day(s, false);
    case 'W':
        return read_day(s, true);
    case 'd':
        return (f->day = read_digits(s, 2, false)) > 0;
    case 'e':
        return (f->day = read_digits(s, 2, true)) > 0;
    case 'b':
        return (f->month = read_month(s)) > 0;
    case 'Y':
        return (f->year = read_digits(s, 4, false)) >= 0;
    case 'y':
        return (f->year = read_short_year(s)) >= 0;
    case 'H':
        return (f->hour = read_digits(s, 2, false)) >= 0;
    case 'M':
        return (f->minute = read_digits(s, 2, false)) >= 0;
    case 'S':
        return (f->second = read_digits(s, 2, false)) >= 0;
    default:
        return false;
    }
}

static bool read_date(struct slice s, const char *pattern, struct date_fields *f)
{
    for (; *pattern; pattern++) {
        if (*pattern == '%' ? !read_field(&s, *++pattern, f) : !read_word(&s, pattern, 1))
            return false;
    }
    return s.len == 0;
}

int64_t http_parse_date(struct slice text)
{
    static const char *const patterns[] = {"%w, %d %b %Y %H:%M:%S GMT", "%W, %d-%b-%y %H:%M:%S GMT", "%w %b %e %H:%M:%S %Y"};

    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        struct date_fields f = {0};
        int year, month, day;
        if (!read_date(text, patterns[i], &f))
            continue;
        if (f.year < 1970 || f.hour > 23 || f.minute > 59 || f.second > 60)
            return -1;
        int64_t days = days_from_date(f.year, f.month, f.day);
        date_from_days(days, &year, &month, &day);
        if (day != f.day) /* such as 30 Feb */
            return -1;
        return days * DAY_SECONDS + f.hour * 3600 + f.minute * 60 + f.second;
    }
    return -1;
}
