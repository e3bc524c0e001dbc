/* dev_js.h - the bytes of dev.js, which the build puts into the program (cmake/embed.cmake). */
#ifndef MT_APP_DEV_JS_H
#define MT_APP_DEV_JS_H
#include <stddef.h>

extern const unsigned char dev_js[];
extern const size_t dev_js_size;
#endif
