/* api_files.h - tide.files, and the file objects that it gives. */
#ifndef MT_SCRIPT_API_FILES_H
#define MT_SCRIPT_API_FILES_H
#include "script/files.h"

void api_files_fill(lua_State *L); /* sets `files` in the table on top. May raise */

/* ---- api_file.c ---- */
void api_file_open(lua_State *L); /* the type of files. May raise */
/* Pushes an object for a file that is not open yet; it owns the file. Raises when memory runs out. */
struct file *api_file_push(lua_State *L);
#endif
