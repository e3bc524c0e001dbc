/* fake_app_server.h - the other side of TLS: certificates made on the spot, and a client that trusts one of them only. */
#ifndef MT_TESTS_FAKE_APP_SERVER_H
#define MT_TESTS_FAKE_APP_SERVER_H
#include <stddef.h>

/* Write a new key, and a certificate for "localhost" that it signed itself. */
void fake_certificate(const char *chain_path, const char *key_path);
/* Send `request` over TLS on the connected socket `fd`, which is closed, and take the answer up to the end of the connection: a
 * text that must be shorter than `size`. The server must show the certificate in `chain_path`. */
void fake_ask_tls(int fd, const char *chain_path, const char *request, char *answer, size_t size);
#endif
