# stress.sh - a Lua library that runs a full collection at every few places where Lua may collect, moves the stack whenever it
# may move, and asserts that its C API is used as the manual says. Sourced by check.sh. It takes the place of Debian's library at
# load time.

stress_folder=$PWD/build-gc/lua
stress_source=pool/main/l/lua5.4/lua5.4_5.4.4.orig.tar.gz
stress_digest=164c7849653b80ae67bec4b7473b884bf5cc8d2dca05653475ec2ed27b9ebf61
: "${GC_EVERY:=10}" # 1 collects at every place; scripts are then slower than their time budget

stress_download() {
    [[ -f $stress_folder/lua.tar.gz ]] && return 0
    mkdir -p "$stress_folder"
    curl -sf --max-time 60 -o "$stress_folder/part" "$DEBIAN_MIRROR/$stress_source" || return 1
    echo "$stress_digest  $stress_folder/part" | sha256sum --check --quiet || return 1
    mv "$stress_folder/part" "$stress_folder/lua.tar.gz"
}

# Each place that may collect counts for itself, so that none of them is always skipped.
stress_build() {
    local flags=(-DLUA_USE_LINUX -DLUA_USE_APICHECK -DHARDMEMTESTS -DHARDSTACKTESTS
        "-DLUA_CPATH_DEFAULT=\"/usr/lib/$(gcc -print-multiarch)/lua/5.4/?.so\"")
    tar -xzf "$stress_folder/lua.tar.gz" -C "$stress_folder" --strip-components=1
    rm -f "$stress_folder/src/lua.c" "$stress_folder/src/luac.c"
    sed -i "s/{ if (gcrunning(G(L))) { pre; luaC_fullgc/{ static _Thread_local unsigned n_; \
if (++n_ % $GC_EVERY == 0 \&\& gcrunning(G(L))) { pre; luaC_fullgc/" "$stress_folder/src/llimits.h"
    grep -q "n_ % $GC_EVERY" "$stress_folder/src/llimits.h" || return 1
    echo 'LUA_5.4 { global: lua_*; luaL_*; luaopen_*; local: *; };' >"$stress_folder/symbols"
    gcc -O2 -g -fPIC -shared -Wl,-soname,liblua5.4.so.0 -Wl,--version-script="$stress_folder/symbols" "${flags[@]}" \
        "$stress_folder"/src/*.c -o "$stress_folder/liblua5.4.so.0" -lm -ldl
}
