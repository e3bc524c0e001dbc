"""duplicates.py - code that stands in two places.

usage: duplicates.py FOLDER...

Compares runs of lines without their blanks and comments. A run of LINES lines that occurs twice is printed once, with both
places, as long as it goes on. A hint to look at, not a verdict: the exit code is always 0.
"""
import pathlib
import sys

LINES = 8  # shorter runs are mostly idiom: a switch, a loop head, an error exit
SUFFIXES = {".c", ".h", ".lua", ".py", ".js", ".mjs"}


def read_lines(path):
    """[(line number, text)] without blank lines, comments and lines that hold nothing but brackets."""
    result = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        text = "".join(line.split())
        if text.startswith(("//", "/*", "*", "--", "#")) or not any(c.isalnum() for c in text):
            continue
        result.append((number, text))
    return result


def find_runs(files):
    """Yields (path, line, other path, other line, length) for each repeated run, longest stretch at once."""
    seen, covered = {}, set()
    for path, lines in files.items():
        for start in range(len(lines) - LINES + 1):
            key = tuple(text for _, text in lines[start:start + LINES])
            first = seen.setdefault(key, (path, start))
            if first == (path, start) or (path, start) in covered:
                continue
            length = run_length(files[first[0]], first[1], lines, start)
            covered.update((path, start + i) for i in range(length))
            yield path, lines[start][0], first[0], files[first[0]][first[1]][0], length


def run_length(lines, at, others, other):
    length = 0
    while at + length < len(lines) and other + length < len(others) and lines[at + length][1] == others[other + length][1]:
        length += 1
    return length


def main():
    paths = sorted(p for folder in sys.argv[1:] for p in pathlib.Path(folder).rglob("*") if p.suffix in SUFFIXES)
    files = {path: read_lines(path) for path in paths if "node_modules" not in path.parts}
    runs = sorted(find_runs(files), key=lambda run: -run[4])
    for path, line, other, other_line, length in runs:
        print(f"{length:4} lines: {path}:{line} and {other}:{other_line}")
    print(f"{len(runs)} repeated pieces of {LINES} lines or more in {len(files)} files")


if __name__ == "__main__":
    main()
