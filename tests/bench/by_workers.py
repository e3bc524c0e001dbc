"""by_workers.py - what scenarios share that measure the server with one worker and with two."""


def name_of(workers):
    return f"{workers} worker{'s' * (workers > 1)}"


def run(scenario, measure, progress):
    """{workers: [result]} of measure(workers)"""
    results = {}
    for workers in (1, 2):
        progress(f"{scenario}: {name_of(workers)}")
        try:
            results[name_of(workers)] = [measure(workers)]
        except (AssertionError, OSError, RuntimeError) as error:
            results[name_of(workers)] = [{"error": str(error).split("\n", 1)[0]}]
    progress("")
    return results
