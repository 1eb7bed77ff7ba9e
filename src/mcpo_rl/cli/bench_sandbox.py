"""How many programs a second the sandbox judges, beside what starting Python alone costs on the same machine."""

from __future__ import annotations

import subprocess
import sys
import time


def measure_sandbox(count: int = 50) -> dict[str, float]:
    """Judge `count` different small programs, half of them wrong, and start `count` bare interpreters.

    Returns:
        `programs`: how many; `programs_per_second` through `verify_batch`, all cores at work;
        `milliseconds_per_program` of one after the other; `bare_python_milliseconds`: `python -I -S -c pass`;
        `ratio_to_bare_python` of the two; `wrong_verdicts`, which must be 0.
    """
    from mcpo_rl.rewards import verify_batch

    reference = {"tests": [{"type": "call", "fn": "add", "args": [2, 3], "expected": 5}]}
    items = [
        ("code", f"```python\ndef add(a, b):\n    return a + b + {index % 2}  # {index}\n```", reference)
        for index in range(count)
    ]
    verify_batch(items[:2])
    start = time.perf_counter()
    verdicts = verify_batch(items)
    concurrent = time.perf_counter() - start
    start = time.perf_counter()
    verify_batch(items, workers=1)
    alone = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(count):
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
    bare = time.perf_counter() - start
    wrong = sum((verdict.status == "correct") != (index % 2 == 0) for index, verdict in enumerate(verdicts))
    return {
        "programs": count,
        "programs_per_second": round(count / concurrent, 1),
        "milliseconds_per_program": round(1e3 * alone / count, 2),
        "bare_python_milliseconds": round(1e3 * bare / count, 2),
        "ratio_to_bare_python": round(alone / bare, 2),
        "wrong_verdicts": wrong,
    }
