/* test_app_cli.c - the command line: commands, flags, messages for mistakes, and settings of all sources together. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "app/cli.h"
#include "base/err.h"
#include "base/mem.h"
#include <string.h>

static int parse(struct cli *c, char **error, char *const *argv)
{
    int argc = 0;
    while (argv[argc])
        argc++;
    return cli_parse(argc, argv, c, error);
}
#define PARSE(c, error, ...) parse(c, error, (char *const[]){"moontide", __VA_ARGS__, NULL})

/* Asserts that the arguments are refused with a message that has `word`. */
#define REFUSE(word, ...)                                                                                                        \
    do {                                                                                                                         \
        struct cli refused;                                                                                                      \
        char *message = NULL;                                                                                                    \
        assert_int_equal(PARSE(&refused, &message, __VA_ARGS__), MT_EINVALID);                                                   \
        if (!strstr(message, word))                                                                                              \
            fail_msg("\"%s\" does not say \"%s\"", message, word);                                                               \
        mem_free(message);                                                                                                       \
        cli_fini(&refused);                                                                                                      \
    } while (0)

static void test_run_takes_a_script_and_flags_in_any_order(void **state)
{
    struct cli c;
    assert_int_equal(
        PARSE(&c, NULL, "run", "--listen", "127.0.0.1:0", "chat.lua", "--static=www", "--listen=[::1]:0", "--no-watch"), 0);
    assert_int_equal(c.command, CLI_RUN);
    assert_string_equal(c.script, "chat.lua");
    assert_int_equal(c.setting_count, 4);
    assert_string_equal(c.settings[0].key, "listen");
    assert_string_equal(c.settings[0].value, "127.0.0.1:0");
    assert_true(c.settings[0].whole);
    assert_string_equal(c.settings[1].key, "static");
    assert_string_equal(c.settings[1].value, "www");
    assert_string_equal(c.settings[2].value, "[::1]:0");
    assert_string_equal(c.settings[3].key, "watch");
    assert_string_equal(c.settings[3].value, "false");
    cli_fini(&c);
}

static void test_a_script_alone_is_run(void **state)
{
    struct cli c;
    assert_int_equal(PARSE(&c, NULL, "chat.lua", "--set", "limits.message=128k"), 0);
    assert_int_equal(c.command, CLI_RUN);
    assert_string_equal(c.script, "chat.lua");
    assert_string_equal(c.settings[0].key, "limits.message");
    assert_string_equal(c.settings[0].value, "128k");
    assert_false(c.settings[0].whole);
    cli_fini(&c);
    assert_int_equal(PARSE(&c, NULL, "--no-watch", "scripts/chat"), 0);
    assert_string_equal(c.script, "scripts/chat");
    cli_fini(&c);
    assert_int_equal(PARSE(&c, NULL, "--dev", "chat.lua"), 0);
    assert_string_equal(c.script, "chat.lua");
    assert_string_equal(c.settings[0].key, "dev");
    assert_string_equal(c.settings[0].value, "true");
    cli_fini(&c);
    assert_int_equal(PARSE(&c, NULL, "--", "run"), 0);
    assert_string_equal(c.script, "run");
    cli_fini(&c);
    assert_int_equal(PARSE(&c, NULL, "run", "--", "--odd.lua"), 0);
    assert_string_equal(c.script, "--odd.lua");
    cli_fini(&c);
}

static void test_check_and_version(void **state)
{
    struct cli c;
    assert_int_equal(PARSE(&c, NULL, "check", "chat.lua", "--tls", "c,k"), 0);
    assert_int_equal(c.command, CLI_CHECK);
    assert_string_equal(c.settings[0].key, "tls");
    cli_fini(&c);
    assert_int_equal(PARSE(&c, NULL, "version"), 0);
    assert_int_equal(c.command, CLI_VERSION);
    assert_int_equal(PARSE(&c, NULL, "--version"), 0);
    assert_int_equal(c.command, CLI_VERSION);
}

static void test_a_new_app(void **state)
{
    struct cli c;
    assert_int_equal(PARSE(&c, NULL, "new", "chat"), 0);
    assert_int_equal(c.command, CLI_NEW);
    assert_string_equal(c.script, "chat");
    cli_fini(&c);
    assert_int_equal(PARSE(&c, NULL, "new", "--help"), 0);
    assert_string_equal(c.topic, "new");
    cli_fini(&c);
    REFUSE("which folder?", "new");
    REFUSE("unexpected argument \"b\"", "new", "a", "b");
    REFUSE("moontide new takes no --listen", "new", "a", "--listen", "1");
    REFUSE("moontide new takes no --json", "new", "a", "--json");
}

static void test_commands_for_a_running_server(void **state)
{
    struct cli c;
    assert_int_equal(PARSE(&c, NULL, "status"), 0);
    assert_int_equal(c.command, CLI_STATUS);
    assert_null(c.control);
    assert_false(c.json);
    cli_fini(&c);
    assert_int_equal(PARSE(&c, NULL, "--json", "reload", "--control", "/run/x.sock"), 0);
    assert_int_equal(c.command, CLI_RELOAD);
    assert_string_equal(c.control, "/run/x.sock");
    assert_true(c.json);
    cli_fini(&c);
    assert_int_equal(PARSE(&c, NULL, "versions", "--control=x"), 0);
    assert_int_equal(c.command, CLI_VERSIONS);
    assert_string_equal(c.control, "x");
    cli_fini(&c);
    assert_int_equal(PARSE(&c, NULL, "rollback"), 0);
    assert_int_equal(c.command, CLI_ROLLBACK);
    cli_fini(&c);
    assert_int_equal(PARSE(&c, NULL, "versions", "--help"), 0);
    assert_string_equal(c.topic, "versions");
    cli_fini(&c);
    REFUSE("unexpected argument \"chat.lua\"", "status", "chat.lua");
    REFUSE("moontide status takes no --listen", "status", "--listen", "1");
    REFUSE("moontide reload takes no --set", "reload", "--set", "watch=true");
    REFUSE("moontide versions takes no --config", "versions", "--config", "x");
    REFUSE("moontide run takes no --control", "run", "chat.lua", "--control", "x");
    REFUSE("moontide check takes no --json", "check", "chat.lua", "--json");
    REFUSE("unknown flag --json", "status", "--json=1");
    REFUSE("--control needs a value", "status", "--control");
    REFUSE("did you mean moontide versions?", "verions");
}

static void test_help_in_its_forms(void **state)
{
    struct cli c;
    assert_int_equal(PARSE(&c, NULL, "help"), 0);
    assert_int_equal(c.command, CLI_HELP);
    assert_null(c.topic);
    assert_int_equal(PARSE(&c, NULL, "--help"), 0);
    assert_int_equal(c.command, CLI_HELP);
    assert_int_equal(PARSE(&c, NULL, "help", "check"), 0);
    assert_string_equal(c.topic, "check");
    assert_int_equal(PARSE(&c, NULL, "check", "--help"), 0);
    assert_string_equal(c.topic, "check");
    assert_int_equal(PARSE(&c, NULL, "run", "chat.lua", "-h"), 0);
    assert_int_equal(c.command, CLI_HELP);
    assert_string_equal(c.topic, "run");
    assert_int_equal(PARSE(&c, NULL, "--help", "run"), 0);
    assert_string_equal(c.topic, "run");
    assert_int_equal(PARSE(&c, NULL, "help", "config", "--markdown"), 0);
    assert_string_equal(c.topic, "config");
    assert_true(c.markdown);
}

static void test_mistakes_are_named_with_what_is_near(void **state)
{
    REFUSE("unknown flag --lisen; did you mean --listen?", "run", "chat.lua", "--lisen", "8765");
    REFUSE("unknown flag --no-wach; did you mean --no-watch?", "chat.lua", "--no-wach");
    REFUSE("unknown flag --dve; did you mean --dev?", "chat.lua", "--dve");
    REFUSE("use --set dev=VALUE", "chat.lua", "--dev=yes");
    REFUSE("use --set ping.interval=VALUE", "chat.lua", "--ping.interval", "5");
    REFUSE("unknown flag --frobnicate; see moontide help run", "chat.lua", "--frobnicate");
    REFUSE("unknown flag -x", "chat.lua", "-x");
    REFUSE("unknown flag --markdown", "chat.lua", "--markdown");
    REFUSE("did you mean moontide run?", "rnu", "chat.lua");
    REFUSE("\"chat\" is neither a command nor a script", "chat");
    REFUSE("unexpected argument \"b.lua\"", "a.lua", "b.lua");
    REFUSE("unexpected argument \"x\"", "version", "x");
    REFUSE("--listen needs a value", "chat.lua", "--listen");
    REFUSE("is not KEY=VALUE", "chat.lua", "--set", "watch");
    REFUSE("is not KEY=VALUE", "chat.lua", "--set", "=1");
}

static void test_no_script_shows_an_example(void **state)
{
    REFUSE("moontide run chat.lua", "run");
    REFUSE("moontide check chat.lua", "check", "--no-watch");
    struct cli c;
    char *error = NULL;
    assert_int_equal(parse(&c, &error, (char *const[]){"moontide", NULL}), MT_EINVALID);
    assert_non_null(strstr(error, "moontide run chat.lua"));
    mem_free(error);
}

static void test_flags_win_over_environment_over_file(void **state)
{
    char *const env[] = {"MOONTIDE_LOG_FORMAT=json", "MOONTIDE_LIMITS_BODY=5", NULL}, *const level[] = {
                                                                                          "MOONTIDE_LOG_LEVEL=error", NULL};
    struct config *config = NULL;
    struct cli c;
    assert_int_equal(PARSE(&c, NULL, "a.lua", "--config", "x.conf.lua", "--set", "limits.body=6"), 0);
    assert_int_equal(cli_configure(&c, env, &config, NULL), 0);
    assert_string_equal(config_text(config, CONFIG_LOG_LEVEL), "warn");
    assert_string_equal(config_text(config, CONFIG_LOG_FORMAT), "json");
    assert_int_equal(config_number(config, CONFIG_LIMITS_BODY), 6);
    config_destroy(config);
    assert_int_equal(cli_configure(&c, level, &config, NULL), 0);
    assert_string_equal(config_text(config, CONFIG_LOG_LEVEL), "error");
    config_destroy(config);
    cli_fini(&c);
}

static void test_without_config_no_file_is_read(void **state)
{
    char *const env[] = {NULL};
    struct config *config = NULL;
    struct cli c;
    assert_int_equal(PARSE(&c, NULL, "a.lua"), 0);
    assert_int_equal(cli_configure(&c, env, &config, NULL), 0);
    assert_string_equal(config_text(config, CONFIG_LOG_LEVEL), "info");
    config_destroy(config);
    cli_fini(&c);
}

static void test_wrong_settings_name_their_flag(void **state)
{
    char *const env[] = {NULL};
    struct config *config = NULL;
    struct cli c;
    char *error = NULL;
    assert_int_equal(PARSE(&c, NULL, "a.lua", "--workers", "400"), 0);
    assert_int_equal(cli_configure(&c, env, &config, &error), MT_EINVALID);
    assert_ptr_equal(strstr(error, "--workers: workers = \"400\""), error);
    mem_free(error);
    cli_fini(&c);
    error = NULL;
    assert_int_equal(PARSE(&c, NULL, "a.lua", "--set", "limits.mesage=4"), 0);
    assert_int_equal(cli_configure(&c, env, &config, &error), MT_ENOT_FOUND);
    assert_string_equal(error, "--set: unknown key \"limits.mesage\"; did you mean limits.message?");
    mem_free(error);
    cli_fini(&c);
}

static void test_help_texts(void **state)
{
    static const char *const topics[] = {NULL, "run", "check", "version", "help", "config"};
    for (size_t i = 0; i < 6; i++) {
        struct buf out = {0};
        assert_int_equal(cli_print_help(topics[i], false, &out, NULL), 0);
        assert_true(out.len > 20);
        assert_int_equal(out.data[out.len - 1], '\n');
        buf_fini(&out);
    }
    struct buf out = {0};
    char *error = NULL;
    assert_int_equal(cli_print_help("chekc", false, &out, &error), MT_EINVALID);
    assert_string_equal(error, "no help for \"chekc\"; did you mean check?");
    mem_free(error);
    buf_fini(&out);
}

static void test_run_help_names_every_flag(void **state)
{
    struct buf out = {0};
    assert_int_equal(cli_print_help("run", false, &out, NULL) || buf_add_byte(&out, 0), 0);
    for (int id = 0; id < CONFIG_COUNT; id++)
        if (config_keys[id].flag)
            assert_non_null(strstr((char *)out.data, config_keys[id].flag));
    buf_fini(&out);
}

static void test_every_failed_allocation_is_reported(void **state)
{
    char *const env[] = {"MOONTIDE_LISTEN=1 2", NULL};
    int rc = MT_ENOMEM;
    for (unsigned long n = 1; rc == MT_ENOMEM; n++) {
        struct config *config = NULL;
        struct cli c;
        char *error = NULL;
        mem_fail_at(n);
        rc = PARSE(&c, &error, "a.lua", "--config", "x", "--listen", "1", "--set", "tls=a,b");
        if (rc == 0)
            rc = cli_configure(&c, env, &config, &error);
        mem_fail_at(0);
        mem_free(error);
        config_destroy(config);
        cli_fini(&c);
        assert_true(n < 1000);
    }
    assert_int_equal(rc, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_takes_a_script_and_flags_in_any_order),
        cmocka_unit_test(test_a_script_alone_is_run),
        cmocka_unit_test(test_check_and_version),
        cmocka_unit_test(test_a_new_app),
        cmocka_unit_test(test_commands_for_a_running_server),
        cmocka_unit_test(test_help_in_its_forms),
        cmocka_unit_test(test_mistakes_are_named_with_what_is_near),
        cmocka_unit_test(test_no_script_shows_an_example),
        cmocka_unit_test(test_flags_win_over_environment_over_file),
        cmocka_unit_test(test_without_config_no_file_is_read),
        cmocka_unit_test(test_wrong_settings_name_their_flag),
        cmocka_unit_test(test_help_texts),
        cmocka_unit_test(test_run_help_names_every_flag),
        cmocka_unit_test(test_every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
