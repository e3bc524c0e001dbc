# bench.sh - prepares and starts the benchmark. Sourced by dev.

packages_bench=(
    "python3-websockets: a server to compare with"
    "openssl: the certificate of the TLS measurements"
)

bench_certificate() {
    [[ -f build/bench/cert.pem ]] && return 0
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=localhost \
        -keyout build/bench/key.pem -out build/bench/cert.pem 2>/dev/null
}

# Node and Bun are only compared with: where they cannot be fetched, the benchmark leaves them out and says so.
bench_main() {
    need_packages "${packages_bench[@]}"
    need_node
    build_release -DMOONTIDE_BENCH=ON
    compile build bench_load bench_floor storm_load
    need_modules tests/bench build/bench || echo "no npm modules: Bun and ws are left out"
    bench_certificate
    "$python" tests/bench/run.py "$@"
}
