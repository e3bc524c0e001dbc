# chroot.sh - a Debian 13 tree in build-trixie/root, for a build and test against newer libraries. Sourced by check.sh and dev.
# The source tree is mounted read-only inside it, in a mount namespace of its own, so that nothing stays mounted afterwards.

chroot_root=$PWD/build-trixie/root
# The mirror that this machine's apt uses for Debian's main archive.
DEBIAN_MIRROR=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME)' 'Created-By: Packages' |
    awk '$2 == "Debian" && $3 !~ /-security$/ { sub("/$", "", $1); print $1; exit }')}
packages_trixie=(gcc g++ libc6-dev cmake ninja-build pkg-config libuv1-dev libwebsockets-dev libssl-dev zlib1g-dev liblua5.4-dev
    lua-cjson libcmocka-dev lua5.4 lua-check python3-pytest python3-websockets python3-aiohttp curl openssl nodejs procps)

chroot_prepare() {
    [[ $EUID == 0 ]] || command -v sudo >/dev/null || {
        skip "a chroot needs root"
        return
    }
    [[ $(cat "$chroot_root/complete" 2>/dev/null) != "${packages_trixie[*]}" ]] || return 0
    need_packages "debootstrap: makes the Debian 13 chroot" "curl: asks whether the mirror is there" || return
    curl -sfI --max-time 20 "$DEBIAN_MIRROR/dists/trixie/InRelease" >/dev/null || {
        skip "no Debian mirror at $DEBIAN_MIRROR"
        return
    }
    chroot_make
}

# An older tree that lacks packages is thrown away.
chroot_make() {
    chroot_remove
    mkdir -p build-trixie
    echo "making a Debian 13 tree with ${packages_trixie[*]}"
    as_root debootstrap --variant=minbase --include="$(IFS=,; echo "${packages_trixie[*]}")" \
        trixie "$chroot_root" "$DEBIAN_MIRROR" >build-trixie/debootstrap.log 2>&1 || {
        tail -n 20 build-trixie/debootstrap.log
        return 1
    }
    as_root mkdir -p "$chroot_root/moontide" "$chroot_root/build"
    echo "${packages_trixie[*]}" | as_root tee "$chroot_root/complete" >/dev/null
}

# chroot_run COMMAND...: inside the tree, as root, in the mounted source folder.
chroot_run() {
    as_root unshare --mount --pid --fork --kill-child bash -euc '
        root=$1 source=$2
        shift 2
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/tmp"
        mount --bind "$source" "$root/moontide"
        mount -o remount,bind,ro "$root/moontide"
        exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 \
            NODE_PATH=/moontide/build/node/node_modules \
            sh -c "cd /moontide && exec \"\$@\"" sh "$@"
    ' bash "$chroot_root" "$PWD" "$@" </dev/null
}

# Everything but the browser. The results come out through the tree itself, which is a plain folder from here.
chroot_test() {
    local status=0
    chroot_run cmake -S /moontide -B /build -G Ninja -DCMAKE_BUILD_TYPE=Release -DMOONTIDE_TESTS=ON || return 1
    chroot_run cmake --build /build --parallel "$jobs" || return 1
    chroot_run ctest --test-dir /build --parallel "$jobs" --timeout 300 --output-on-failure --output-junit tests.xml -E browser \
        --test-output-size-passed 10000000 --test-output-size-failed 10000000 || status=$?
    "$python" tools/count.py "$chroot_root/build/tests.xml" "$status"
}

chroot_remove() {
    [[ ! -e build-trixie ]] || as_root rm -rf --one-file-system build-trixie
}
