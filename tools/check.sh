# check.sh - the checks that take longer than `./dev test`. Sourced by dev; each check is a function check_NAME that returns 0
# when all is well, and calls `skip WHY` where this machine cannot run it. Each one builds into its own folder build-NAME/.

source tools/chroot.sh
source tools/stress.sh

checks=(gcc clang asan tsan valgrind gc slow fuzz trixie duplicates)
packages_check=(
    "clang: the second compiler, and the fuzzers"
    "libclang-rt-14-dev: clang's sanitizers"
    "valgrind: finds reads of memory that was never set"
)
: "${FUZZ_SECONDS:=180}" # per fuzz target

check_usage() {
    cat <<TEXT
usage: ./dev check [names]      all of them when none is named

  gcc, clang    the build without a warning, and every test
  asan          every test under AddressSanitizer and UndefinedBehaviorSanitizer
  tsan          the unit tests and the reload storm under ThreadSanitizer
  valgrind      the unit tests, the tests of the script API and the fuzzers' corpus under valgrind
  gc            every test with a Lua that collects all the time and asserts that its API is used right
  slow          the tests that are too long for ./dev test
  fuzz          every fuzz target for \$FUZZ_SECONDS (now $FUZZ_SECONDS) seconds
  trixie        build and test in a Debian 13 chroot, against its libwebsockets (needs root and the Debian mirror)
  duplicates    pieces of code that stand in two places (to look at; never fails)
TEXT
}

# Optimised, with symbols, and unlike CMake's own RelWithDebInfo with assertions.
options_checked=(-DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_C_FLAGS_RELWITHDEBINFO=-O2 -g")

# build_and_test NAME [cmake options] -- [ctest options]
build_and_test() {
    local folder=build-$1 options=()
    shift
    while (($#)) && [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift || true
    configure "$folder" -DMOONTIDE_TESTS=ON -DMOONTIDE_BENCH=ON "${options[@]}" && compile "$folder" && run_tests "$folder" "$@"
}

check_gcc() {
    build_and_test gcc -DCMAKE_C_COMPILER=gcc -DMOONTIDE_WERROR=ON
}

check_clang() {
    build_and_test clang -DCMAKE_C_COMPILER=clang -DMOONTIDE_WERROR=ON
}

check_asan() {
    SUITE_TIMEOUT=60 UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 \
        build_and_test asan "${options_checked[@]}" -DMOONTIDE_SANITIZE=address,undefined
}

check_tsan() {
    SUITE_TIMEOUT=60 TSAN_OPTIONS="halt_on_error=1:report_thread_leaks=0:suppressions=$PWD/tools/tsan.supp" \
        build_and_test tsan "${options_checked[@]}" -DMOONTIDE_SANITIZE=thread -- -R '^unit\.|reload_storm'
}

check_gc() {
    stress_download || {
        skip "Lua's source is not at $DEBIAN_MIRROR/$stress_source"
        return
    }
    stress_build || return 1
    SUITE_TIMEOUT=60 LD_LIBRARY_PATH=$stress_folder build_and_test gc "${options_checked[@]}"
}

check_slow() {
    MOONTIDE_SLOW=1 build_and_test slow -DCMAKE_BUILD_TYPE=Release -DMOONTIDE_SUITE_TIMEOUT=1800 -- -R '^(e2e|conformance)'
}

# under_valgrind PROGRAM [arguments]: what fails is added to `failed`. valgrind runs one thread at a time; without fair-sched a
# busy one may keep the watchdog of a test waiting for seconds.
under_valgrind() {
    echo "valgrind $*"
    valgrind --quiet --fair-sched=yes --suppressions=tools/valgrind.supp --leak-check=full --errors-for-leak-kinds=definite \
        --error-exitcode=9 "$@" >build-valgrind/log 2>&1 </dev/null && return
    cat build-valgrind/log
    failed+=("$*")
}

check_valgrind() {
    local file failed=()
    configure build-valgrind -DCMAKE_BUILD_TYPE=Debug -DMOONTIDE_TESTS=ON && compile build-valgrind || return 1
    for file in build-valgrind/tests/test_*; do
        under_valgrind "$file"
    done
    for file in tests/lua/*.lua; do
        [[ $file == */support.lua ]] || under_valgrind build-valgrind/tests/lua_run "$file"
    done
    for file in build-valgrind/tests/fuzz/replay_*; do
        under_valgrind "$file" "tests/fuzz/corpus/${file##*/replay_}"
    done
    ((${#failed[@]} == 0)) || echo "failed under valgrind: ${failed[*]}"
    ((${#failed[@]} == 0))
}

# The corpus in the tree is only read; what a run finds lands in the build folder first.
check_fuzz() {
    local program name failed=0 found=0
    configure build-fuzz -DCMAKE_C_COMPILER=clang "${options_checked[@]}" -DMOONTIDE_TESTS=ON -DMOONTIDE_FUZZ=ON &&
        compile build-fuzz fuzzers || return 1
    while IFS= read -r program; do
        name=$(basename "$program")
        found=1
        mkdir -p "build-fuzz/corpus/$name"
        echo "fuzzing $name for $FUZZ_SECONDS seconds"
        "$program" -max_total_time="$FUZZ_SECONDS" -print_final_stats=1 -artifact_prefix="build-fuzz/$name-" \
            "build-fuzz/corpus/$name" "tests/fuzz/corpus/${name#fuzz_}" 2>"build-fuzz/$name.log" </dev/null || failed=1
        tail -n 5 "build-fuzz/$name.log"
    done < <(find build-fuzz -name 'fuzz_*' -type f -executable)
    ((found)) || echo "no fuzz target was built"
    ((found && !failed))
}

check_trixie() {
    chroot_prepare || return
    chroot_test
}

check_duplicates() {
    "$python" tools/duplicates.py src tests scripts examples
}

# skip WHY: for `skip ... || return`; the summary shows it.
skip() {
    skipped_why=$1
    return 77
}

check_one() {
    local name=$1 status=0
    echo "== check $name"
    skipped_why=""
    "check_$name" || status=$?
    case $status in
    0) summary+=("check $name: ok") ;;
    77) summary+=("check $name: SKIPPED, $skipped_why") ;;
    *)
        summary+=("check $name: FAILED")
        check_failed=1
        ;;
    esac
    echo "${summary[-1]}"
}

check_main() {
    local name
    [[ ${1:-} != --help ]] || {
        check_usage
        return 0
    }
    (($#)) || set -- "${checks[@]}"
    for name in "$@"; do
        declare -F "check_$name" >/dev/null && [[ " ${checks[*]} " == *" $name "* ]] || {
            echo "dev: there is no check '$name'" >&2
            check_usage >&2
            return 2
        }
    done
    need_packages "${packages_build[@]}" "${packages_test[@]}" "${packages_check[@]}"
    need_node
    need_modules tests/e2e/node build/node || echo "no npm modules: the tests that need them will fail"
    summary=() check_failed=0
    for name in "$@"; do
        check_one "$name"
    done
    printf '\n'
    printf '%s\n' "${summary[@]}"
    return "$check_failed"
}
