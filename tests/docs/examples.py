"""The examples of the README and the docs are true: every whole script loads, and the chat does what its test client expects.

usage: examples.py PROGRAM (in the root of the tree)
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
DOCS = [pathlib.Path("README.md"), *sorted(pathlib.Path("docs").rglob("*.md"))]


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def scripts():
    """(page, text) of every block that is a whole script."""
    for path in DOCS:
        for text in blocks(path, "lua"):
            if re.search(r"^return app$", text, re.MULTILINE):
                yield path, text


def check(path, text, folder):
    script = folder / "app.lua"
    script.write_text(text)
    done = subprocess.run([PROGRAM, "check", script], capture_output=True, text=True, timeout=30,
                          env={**os.environ, "JWT_KEY": "a secret of some length for tokens"})
    assert done.returncode == 0, f"{path}: a script does not load: {done.stderr}\n{text}"


def run_client(script, client, folder):
    (folder / "chat.lua").write_text(script)
    (folder / "client.py").write_text(client)
    server = subprocess.Popen([PROGRAM, "run", folder / "chat.lua", "--listen", "127.0.0.1:0", "--no-watch"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = server.stdout.readline().split()[2].replace("http", "ws")
        done = subprocess.run([sys.executable, folder / "client.py", url], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "the chat works" in done.stdout, done.stdout + done.stderr
    finally:
        server.terminate()
        assert server.wait(10) == 0


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        count = 0
        for path, text in scripts():
            check(path, text, folder)
            count += 1
        assert count >= 10, f"only {count} scripts found"
        guide = pathlib.Path("docs/getting-started.md")
        chat = [text for path, text in scripts() if path == guide and "app.on_connect" in text]
        clients = blocks(guide, "python")
        assert len(chat) == 1 and len(clients) == 1
        run_client(chat[0], clients[0], folder)
        tested = pathlib.Path("tests/e2e/apps/chat.lua").read_text()
        assert any(tested == text for path, text in scripts() if path.name == "README.md"), "the README's chat is not the tested one"
    print(f"{count} scripts load, the chat works")


main()
