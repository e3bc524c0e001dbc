-- luacheck for handler scripts, examples and tests: luacheck scripts examples tests
std = "lua54"
max_line_length = 140
ignore = { "212/_.*" } -- unused arguments that start with _
files["docs/api"] = { ignore = { "111", "112", "113", "211", "212", "241", "631" } } -- annotations, not code
