#!/usr/bin/env bash
# layers.sh - a layer includes only itself and the layers listed before it, and each library is known to its own layers only.
#
#   layers.sh [ROOT]        check the tree; prints file:line for each offence, exit code 1 when there is one
#   layers.sh --self-check  prove on small made-up trees that it finds what it should, and only that
set -u
export LC_ALL=C

check() { # ROOT
    local root=$1
    [ -d "$root/src" ] || { echo "$root has no src/"; return 1; }
    find "$root/src" "$root/include" -type f \( -name '*.c' -o -name '*.h' -o -name '*.inc' \) 2>/dev/null | sort |
        xargs -r -d '\n' awk -v root="$root/" '
function offend(why) {
    printf "%s:%d: %s\n", file, FNR, why
    bad = 1
}
# Only the layers of `allowed` (blank-separated) may include this.
function only(allowed) {
    if (!index(" " allowed " ", " " layer " "))
        offend("<" name "> belongs to " allowed ", not to " layer)
}
BEGIN {
    n = split("base loop crypt net hub broker store client script app", order, " ") # DESIGN.md, section 6
    for (i = 1; i <= n; i++)
        rank[order[i]] = i
}
FNR == 1 {
    file = substr(FILENAME, length(root) + 1)
    parts = split(file, part, "/")
    layer = part[1] == "include" ? "include" : part[2]
    if (layer != "include" && (parts < 3 || !(layer in rank)))
        offend("is in no layer")
}
/^[ \t]*#[ \t]*(include|include_next|import)[ \t]*["<]/ {
    name = $0
    sub(/^[^"<]*["<]/, "", name)
    sub(/[">].*$/, "", name)
    split(name, part, "/")
    if (name ~ /(^|\/)\.\.\//)
        offend("\"" name "\": includes are written from src/ down")
    else if (part[1] in rank && name ~ /\//) {
        if (layer == "include")
            offend("the public header must not show \"" name "\"")
        else if (rank[part[1]] > rank[layer])
            offend(layer " must not include \"" name "\": " part[1] " is above it")
    }
    if (name ~ /^uv(\/.*|\.h)$/)
        only("loop")
    else if (name ~ /^(libwebsockets\/.*|libwebsockets\.h|lws_config\.h)$/)
        only("net")
    else if (name ~ /^openssl\/(ssl|tls|dtls)[0-9a-z_]*\.h$/)
        only("net")
    else if (name ~ /^openssl\//)
        only("crypt net")
    else if (name ~ /^(sqlite3\.h|hiredis\/.*)$/)
        only("store")
    else if (name ~ /^curl\//)
        only("client")
    else if (name ~ /^(lua[0-9.]*\/)?(lua|lauxlib|lualib|luaconf)\.hp?p?$/)
        only("script")
}
END { exit bad }'
    # xargs turns a failure into 123
    [ "${PIPESTATUS[2]}" -eq 0 ]
}

tree=
expect() { # OK|BAD FILE LINE-2 : a tree of one file whose second line is LINE-2
    local want=$1 file=$2 line=$3 out
    rm -rf "$tree"/*
    mkdir -p "$tree/src/base" "$tree/$(dirname "$file")"
    printf '/* first line */\n%s\n' "$line" >"$tree/$file"
    if out=$(check "$tree"); then
        [ "$want" = OK ] && return
    elif [ "$want" = BAD ] && [[ $out == "$file":[12]:* ]] && [ "$(printf '%s\n' "$out" | wc -l)" -eq 1 ]; then
        return
    fi
    echo "self-check: $want expected for '$line' in $file, got: ${out:-nothing}"
    failed=1
}

self_check() {
    failed=0
    tree=$(mktemp -d)
    trap 'rm -rf "$tree"' EXIT
    expect OK src/net/a.c '#include "base/buf.h"'
    expect OK src/net/a.c '#include "net/net.h"'
    expect OK src/app/a.c '#include "script/script.h"'
    expect OK src/hub/a.h '#include <stdio.h>'
    expect OK src/hub/a.c '/* #include "app/app.h" */'
    expect OK src/loop/a.c '#include <uv.h>'
    expect OK src/net/a.c '#include <libwebsockets.h>'
    expect OK src/net/a.c '#include <openssl/ssl.h>'
    expect OK src/crypt/a.c '#include <openssl/evp.h>'
    expect OK src/script/a.c '#include <lauxlib.h>'
    expect OK src/store/a.c '#include <sqlite3.h>'
    expect OK src/client/a.c '#include <curl/curl.h>'
    expect OK src/script/lib/a.c '#include "hub/hub.h"'
    expect OK include/moontide.h '#include <stddef.h>'
    expect BAD src/base/a.c '#include "loop/loop.h"'
    expect BAD src/net/a.c '#include "hub/hub.h"'
    expect BAD src/net/a.h '  #  include "hub/hub.h" /* why */'
    expect BAD src/net/a.c '#include <hub/hub.h>'
    expect BAD src/script/lib/a.c '#include "app/app.h"'
    expect BAD src/net/a.c '#include "../hub/hub.h"'
    expect BAD src/net/a.c '#include <uv.h>'
    expect BAD src/net/a.c '#include <uv/unix.h>'
    expect BAD src/hub/a.c '#include <libwebsockets.h>'
    expect BAD src/crypt/a.c '#include <openssl/ssl.h>'
    expect BAD src/crypt/a.c '#include <openssl/tls1.h>'
    expect BAD src/script/a.c '#include <openssl/sha.h>'
    expect BAD src/app/a.c '#include <lua.h>'
    expect BAD src/script/a.c '#include <sqlite3.h>'
    expect BAD src/script/a.c '#include <hiredis/async.h>'
    expect BAD src/store/a.c '#include <curl/curl.h>'
    expect BAD src/hub/a.c '#include <lua5.4/lualib.h>'
    expect BAD include/moontide.h '#include "hub/hub.h"'
    expect BAD include/moontide.h '#include <uv.h>'
    expect BAD src/extra/a.c ''
    expect BAD src/main.c ''
    [ $failed -eq 0 ]
}

case ${1-} in
--self-check) self_check ;;
*) check "${1:-$(cd "$(dirname "$0")/.." && pwd)}" ;;
esac
