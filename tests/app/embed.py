"""Runs the embedding example: it must serve its script with its native module, and end when it is told to.

embed.py PROGRAM SCRIPT
"""
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def check(program, script):
    server = subprocess.Popen([program, script, "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        words = server.stdout.readline().split()
        assert words[:3] == ["Moontide", words[1], "serves"], words
        address = words[-1]
        assert get(address + "/") == {"greeting": "hello browser, this is C", "visits": 1}
        assert get(address + "/")["visits"] == 2
        try:
            get(address + "/other")
            raise AssertionError("no 404")
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=20) == 0
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def check_failure(program):
    failed = subprocess.run([program, "/nonexistent.lua", "127.0.0.1:0"], capture_output=True, text=True, timeout=20)
    assert failed.returncode == 1, failed
    assert "/nonexistent.lua" in failed.stderr, failed.stderr


if __name__ == "__main__":
    check(sys.argv[1], sys.argv[2])
    check_failure(sys.argv[1])
