"""Installs into an empty folder and uses what is there: the program with its scripts, and the library from outside of the tree.

install.py CMAKE BUILD SOURCE COMPILER LIBDIR
"""
import os
import shlex
import subprocess
import sys
import tempfile

import embed


def output(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, **options)


def check(cmake, build, source, compiler, libdir):
    with tempfile.TemporaryDirectory(prefix="moontide-install-") as prefix:
        output(cmake, "--install", build, "--prefix", prefix)
        program = prefix + "/bin/moontide"
        assert output(program, "version").stdout.startswith("moontide ")
        assert "is fine" in output(program, "check", prefix + "/share/moontide/scripts/chat.lua").stderr

        lib = f"{prefix}/{libdir}"
        environment = dict(os.environ, PKG_CONFIG_PATH=lib + "/pkgconfig", LD_LIBRARY_PATH=lib)
        flags = shlex.split(output("pkg-config", "--cflags", "--libs", "moontide", env=environment).stdout)
        example = source + "/examples/embed"
        output(compiler, example + "/main.c", *flags, "-o", prefix + "/embed")
        os.environ["LD_LIBRARY_PATH"] = lib
        embed.check(prefix + "/embed", example + "/app.lua")


if __name__ == "__main__":
    check(*sys.argv[1:])
