/* cli_new.h - the command `moontide new`. */
#ifndef MT_APP_CLI_NEW_H
#define MT_APP_CLI_NEW_H
#include <stddef.h>

/* Make `folder`, which may be there if it is empty, and put a small app into it. 0; or MT_EIO with a sentence in *error (mem_free
 * it), and what was made until then stays; MT_ENOMEM. */
int cli_new_run(const char *folder, char **error);

/* The bytes of the files in src/app/new, which the build puts into the program (cmake/embed.cmake). */
extern const unsigned char new_app[], new_config[], new_page[], new_readme[], new_ignore[];
extern const size_t new_app_size, new_config_size, new_page_size, new_readme_size, new_ignore_size;
#endif
