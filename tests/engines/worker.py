"""Run on each rank: trains the named scenarios one after the other and leaves a recording of each."""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

from .engines import Engine, set_up


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("engine", type=Engine)
    parser.add_argument("scenarios", nargs="+")
    parser.add_argument("--gpu", action="store_true")
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    set_up(asked.engine, gpu=asked.gpu)
    from .training import record

    for name in asked.scenarios:
        began = time.monotonic()
        record(name, asked.engine, asked.directory, gpu=asked.gpu)
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
