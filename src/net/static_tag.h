/* static_tag.h - a piece of HTML put into pages, for dev mode. Internal to net. */
#ifndef MT_NET_STATIC_TAG_H
#define MT_NET_STATIC_TAG_H
#include "base/slice.h"
#include <stddef.h>

enum { STATIC_TAG_PAGE_MAX = 16 << 20 }; /* bytes of a page; larger ones are data that happens to be HTML */

/* A new descriptor of what can be read from `page`, with `tag` in front of the last </body>, else of the first </head>, else at
 * the end. *size: its bytes. MT_ETOO_LARGE, MT_ENOMEM or MT_EIO. `page` stays the caller's. */
int static_tag_page(int page, struct slice tag, size_t *size);
#endif
