/* err.c - names and sentences for the error codes, straight from the table in err.h. */
#include "base/err.h"

const char *err_name(int code)
{
    switch (code) {
#define MT_ERR_NAME(err, value, name, text)                                                                                      \
    case err:                                                                                                                    \
        return name;
        MT_ERRORS(MT_ERR_NAME)
#undef MT_ERR_NAME
    }
    return code == 0 ? "ok" : "unknown";
}

const char *err_text(int code)
{
    switch (code) {
#define MT_ERR_TEXT(err, value, name, text)                                                                                      \
    case err:                                                                                                                    \
        return text;
        MT_ERRORS(MT_ERR_TEXT)
#undef MT_ERR_TEXT
    }
    return code == 0 ? "no error" : "unknown error";
}
