/* number.c - doubles as text.
 *
 * Most floats of real messages have few decimals (prices, seconds, coordinates). Those go through integers: with m < 2^53 and k
 * <= 22 both m and 10^k are exact doubles, so the one division m / 10^k is correctly rounded and is what a reader of the decimal
 * text gets. All others take the C library, in the "C" locale, because the program that embeds us may have set another.
 */
#include "script/number.h"

#include "base/mem.h"
#include <assert.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXACT_POWERS = 23, SHORT_DIGITS = 15, SHORT_TEXT = 64 };

static const double powers[EXACT_POWERS] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                            1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static pthread_once_t locale_once = PTHREAD_ONCE_INIT;
static locale_t c_locale; /* made once per process, never freed; 0 when that failed */

static void locale_make(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* This thread reads and prints numbers as C does, until locale_leave. */
static locale_t locale_enter(void)
{
    pthread_once(&locale_once, locale_make);
    return c_locale != (locale_t)0 ? uselocale(c_locale) : (locale_t)0;
}

static void locale_leave(locale_t before)
{
    if (before != (locale_t)0)
        uselocale(before);
}

static size_t print_digits(uint64_t value, char *out)
{
    char reversed[20];
    size_t n = 0;

    do {
        reversed[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < n; i++)
        out[i] = reversed[n - 1 - i];
    return n;
}

/* mantissa / 10^decimals, with at least one decimal. */
static size_t print_decimal(bool negative, uint64_t mantissa, unsigned decimals, char *out)
{
    char digits[20];
    size_t count = print_digits(mantissa, digits), len = 0;

    if (negative)
        out[len++] = '-';
    if (count <= decimals) { /* 0.00x */
        out[len++] = '0';
        out[len++] = '.';
        for (size_t i = count; i < decimals; i++)
            out[len++] = '0';
        memcpy(out + len, digits, count);
        len += count;
    } else {
        memcpy(out + len, digits, count - decimals);
        len += count - decimals;
        out[len++] = '.';
        memcpy(out + len, digits + count - decimals, decimals);
        len += decimals;
    }
    if (decimals == 0)
        out[len++] = '0';
    out[len] = '\0';
    return len;
}

static size_t print_slow(double x, char out[NUMBER_TEXT_MAX])
{
    locale_t before = locale_enter();
    int len = 0;

    for (int digits = SHORT_DIGITS; digits <= 17; digits++) {
        len = snprintf(out, NUMBER_TEXT_MAX, "%.*g", digits, x);
        if (strtod(out, NULL) == x)
            break;
    }
    locale_leave(before);
    assert(len > 0 && len < NUMBER_TEXT_MAX - 2);
    if (strpbrk(out, ".e") == NULL) { /* whole, with more digits than print_decimal takes */
        memcpy(out + len, ".0", 3);
        len += 2;
    }
    return (size_t)len;
}

size_t number_print(double x, char out[NUMBER_TEXT_MAX])
{
    double size = fabs(x);

    assert(isfinite(x));
    if (size != 0 && (size < 1e-5 || size >= 1e15))
        return print_slow(x, out);
    for (unsigned decimals = 0; decimals <= SHORT_DIGITS; decimals++) {
        double scaled = size * powers[decimals];
        if (scaled >= 1e15)
            break;
        double whole = nearbyint(scaled);
        if (whole / powers[decimals] == size)
            return print_decimal(signbit(x), (uint64_t)whole, decimals, out);
    }
    return print_slow(x, out);
}

static bool parse_slow(struct slice text, double *out)
{
    char small[SHORT_TEXT];
    char *copy = text.len < sizeof(small) ? memcpy(small, text.data, text.len) : mem_strdup(text.data, text.len);

    if (copy == NULL)
        return false;
    copy[text.len] = '\0';
    locale_t before = locale_enter();
    *out = strtod(copy, NULL);
    locale_leave(before);
    if (copy != small)
        mem_free(copy);
    return isfinite(*out);
}

/* Digits of the mantissa without the point; false when there are more than an integer holds exactly. */
static bool read_mantissa(const char **at, const char *end, uint64_t *mantissa, int *decimals)
{
    const char *p = *at;
    bool point = false;

    for (; p < end; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (*p < '0' || *p > '9')
            break;
        if (*mantissa > (UINT64_C(1) << 53) / 10 - 1)
            return false;
        *mantissa = *mantissa * 10 + (uint64_t)(*p - '0');
        *decimals += point;
    }
    *at = p;
    return true;
}

/* The exponent behind e; anything that does not fit the exact powers is cut to 1000. */
static int read_exponent(const char *p, const char *end)
{
    bool negative = *p == '-';
    int value = 0;

    for (p += *p == '-' || *p == '+'; p < end && value < 1000; p++)
        value = value * 10 + (*p - '0');
    return negative ? -value : value;
}

bool number_parse(struct slice text, double *out)
{
    const char *p = text.data, *end = text.data + text.len;
    bool negative = *p == '-';
    uint64_t mantissa = 0;
    int decimals = 0, exponent = 0;

    p += negative;
    if (!read_mantissa(&p, end, &mantissa, &decimals))
        return parse_slow(text, out);
    if (p < end)
        exponent = read_exponent(p + 1, end);
    exponent -= decimals;
    if (exponent <= -EXACT_POWERS || exponent >= EXACT_POWERS)
        return parse_slow(text, out);
    double value = exponent < 0 ? (double)mantissa / powers[-exponent] : (double)mantissa * powers[exponent];
    *out = negative ? -value : value;
    return true;
}
