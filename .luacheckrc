-- luacheck for handler scripts, examples and tests: luacheck scripts examples tests
std = "lua54"
max_line_length = 140
ignore = { "212/_.*" } -- unused arguments that start with _
files["docs/api"] = { ignore = { "111", "112", "113", "211", "212", "241", "631" } } -- annotations, not code
files["tests/e2e/apps/j_seed.lua"] = { ignore = { "631" } } -- stays byte for byte as it came
-- what run.c and support.lua give to each test of the script API
files["tests/lua"] = {
  globals = {
    "app", "file", "reload", "connect", "http", "advance", "logged", "forget", "failing", "registered", "decode", "encode", "null", "expect", "expect_nothing",
    "send", "open", "load_app", "expect_error", "inside", "more", "waiting", "await",
  },
  ignore = { "411", "421", "631" }, -- a test after the other with the same names; code in strings is long
}
