/* library.h - where the scripts are that ship with the server. */
#ifndef MT_APP_LIBRARY_H
#define MT_APP_LIBRARY_H
/* The folder share/moontide/scripts beside the program, else scripts/ of the source tree it was built from, else that of the
 * installation; the first that exists. Owned by the caller; NULL when there is none or memory runs out. */
char *library_find(void);
#endif
