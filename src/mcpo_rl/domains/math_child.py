"""The process that math-verify runs in: one JSON line in (`gold`, `answer`), two lines out. See `math_worker.py`.

Run as a script: it imports nothing of this library, and computer algebra is loaded here and nowhere else.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
from typing import Any


def main(limit_s: int, memory_bytes: int) -> None:
    """Answer until stdin ends. More than `limit_s` seconds of CPU time for one line end the process (SIGPROF)."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    _compare(_parse("x^2+2x+1"), _parse("(x+1)^2"))  # loads what is loaded on first use

    def reply(line: str) -> None:
        replies.write(line + "\n")
        replies.flush()

    reply("ready")
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        request = json.loads(line)
        try:
            gold = _parse(request["gold"])
        except Exception as error:
            reply(f"error {type(error).__name__}")
            continue
        reply("gold" if gold else "error nothing in it can be parsed")
        if gold:
            try:
                reply("correct" if _compare(gold, _parse(request["answer"])) else "incorrect")
            except MemoryError:
                reply("memory")
            except Exception as error:
                reply(f"incorrect {type(error).__name__}")
        signal.setitimer(signal.ITIMER_PROF, 0)


def _parse(text: str) -> list[Any]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    configs = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    # Time limits of 0 turn math-verify's own off: the host kills this process from outside instead.
    parsed: list[Any] = parse(f"\\boxed{{{text}}}", extraction_config=configs, parsing_timeout=0)
    return parsed


def _compare(gold: list[Any], answer: list[Any]) -> bool:
    from math_verify import verify

    return bool(answer) and bool(verify(gold, answer, timeout_seconds=0))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
