/* fake_app_config.h - what test_app_config tells its stand-in for the script layer. */
#ifndef MT_FAKE_APP_CONFIG_H
#define MT_FAKE_APP_CONFIG_H
/* What the next script_read_config reports: key, value, key, value, NULL. Borrowed. */
void fake_config_file(const char *const *key_values);
/* The next reads fail with MT_ESCRIPT and this text, until fake_config_file. */
void fake_config_failure(const char *text);
#endif
