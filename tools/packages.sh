# packages.sh - what the commands of ./dev need from Debian and from npm, and how it gets there. Sourced by dev.
# One entry per package: "name: what it is for". Only what is missing is installed.

packages_build=(
    "gcc: the compiler"
    "libc6-dev: the C library's headers"
    "cmake: describes the build"
    "ninja-build: runs the build"
    "pkg-config: finds the libraries"
    "libuv1-dev: the event loop"
    "libwebsockets-dev: sockets and TLS"
    "libssl-dev: TLS and digests"
    "zlib1g-dev: compressed messages"
    "libsqlite3-dev: stores and SQL in files"
    "libhiredis-dev: stores in Redis"
    "libcurl4-openssl-dev: HTTP requests of scripts"
    "liblua5.4-dev: the language of the scripts"
)
packages_test=(
    "libcmocka-dev: unit tests in C"
    "lua-cjson: JSON to compare ours with"
    "python3-pytest: end-to-end tests"
    "python3-websockets: a client that must work"
    "python3-aiohttp: a client that must work"
    "curl: a client that must work"
    "redis-server: a server that the tests talk to"
    "iproute2: a network of their own for tests"
    "nginx-light: a server that the tests talk to"
    "haproxy: a proxy that the tests go through"
    "openssl: certificates for the tests"
    "chromium: the browser tests"
    "lua5.4: makes the manual's pages"
    "lua-check: checks the Lua files"
)

package_installed() {
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# packages_present "name: why"...: whether nothing is missing.
packages_present() {
    local entry
    for entry in "$@"; do
        package_installed "${entry%%:*}" || return 1
    done
}

as_root() {
    if [[ $EUID == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "dev: this needs root and there is no sudo; run it as root: $*" >&2
        return 1
    fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# Package lists that are missing or older than a day may name versions that are gone from the mirror.
lists_are_fresh() {
    [[ -n $(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mtime -1 -print -quit 2>/dev/null) ]]
}

# need_packages "name: why"...: install those that are missing.
need_packages() {
    local entry names=()
    for entry in "$@"; do
        package_installed "${entry%%:*}" && continue
        echo "installing $entry"
        names+=("${entry%%:*}")
    done
    ((${#names[@]})) || return 0
    command -v apt-get >/dev/null || {
        echo "dev: there is no apt-get here; install these with your own package manager: ${names[*]}" >&2
        return 1
    }
    lists_are_fresh || apt_get update || true
    apt_get install -y --no-install-recommends "${names[@]}" ||
        { apt_get update && apt_get install -y --no-install-recommends "${names[@]}"; } || return
    stop_services "${names[@]}"
}

# stop_services PACKAGE...: the tests start servers of their own; Debian starts those of a package for good when it is installed.
stop_services() {
    local name
    [[ -d /run/systemd/system ]] || return 0
    for name in "$@"; do
        case $name in
        redis-server) as_root systemctl disable --now redis-server ;;
        nginx-light) as_root systemctl disable --now nginx ;;
        haproxy) as_root systemctl disable --now haproxy ;;
        esac
    done
}

# Node from any source will do; Debian's is taken only where there is none.
need_node() {
    command -v node >/dev/null || need_packages "nodejs: runs the Node clients"
    command -v npm >/dev/null || need_packages "npm: fetches the Node clients"
}

# need_modules FOLDER TARGET: npm modules of FOLDER/package.json into TARGET/node_modules, again only when that file changed.
need_modules() {
    local file=$1/package.json target=$2
    [[ -f $file ]] || return 0
    cmp -s "$file" "$target/package.json" && [[ -f $target/complete ]] && return 0
    echo "installing npm modules of $file"
    mkdir -p "$target"
    rm -f "$target/complete"
    cp "$file" "$target/package.json"
    npm install --prefix "$target" --no-audit --no-fund --no-update-notifier --loglevel error </dev/null || return
    touch "$target/complete"
}
