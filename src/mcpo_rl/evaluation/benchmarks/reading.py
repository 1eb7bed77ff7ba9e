"""Where a benchmark's problems are read from: a folder of local copies, the hub's cache, a package, the hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mcpo_rl.data import Drop, Source, read_source
from mcpo_rl.errors import ProblemError
from mcpo_rl.evaluation.benchmarks.base import Benchmark, Part
from mcpo_rl.evaluation.benchmarks.prompts import asking
from mcpo_rl.types import Problem


@dataclass(frozen=True, kw_only=True)
class BenchmarkProblems:
    """The problems of a benchmark as they are put to the model, and what is to be said of them."""

    benchmark: Benchmark
    problems: list[Problem]
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows that no verifier can judge, by reason. They are in no number."""
    origin: dict[str, str] = field(default_factory=dict)
    """Where it was read -> the hub's commit or the fingerprint of the files."""
    notices: tuple[str, ...] = ()
    """Sentences for whoever runs it: licences, rows left out, another number of rows than expected."""

    def facts(self) -> dict[str, Any]:
        """Return what a record keeps of it, as plain JSON data."""
        return {"benchmark": self.benchmark.name, "dropped": self.dropped, "origin": self.origin}


def load_benchmark(
    benchmark: Benchmark, *, data: str | Path | None = None, form: str = "benchmark", limit: int | None = None
) -> BenchmarkProblems:
    """Read a benchmark.

    Each of its parts is read from the first of these that has it: the folder `data`; the installed package that holds
    the benchmark (HumanEval); the hub's cache, where the hub is switched off (`HF_HUB_OFFLINE=1`); the hub.

    Args:
        benchmark: See `get_benchmark`.
        data: A folder of local copies: `hf download openai/gsm8k --repo-type dataset --local-dir DATA/gsm8k`. A copy
            lies in `DATA/<benchmark>`, `DATA/<owner>/<name>` or `DATA/<name>` and has the repository's files, or files
            of the same rows in any kind that problems are read from.
        form: How the questions are put; a key of `FORMS`.
        limit: Keep the first so many problems, evenly over the parts.

    Raises:
        ConfigError: There is no such form.
        ProblemError: It cannot be read (the message says what to do), or more rows than `benchmark.max_drop` admits
            give no problem.
        MissingDependencyError: A package is needed.
    """
    ask = asking(form, benchmark.ask)
    problems: list[list[Problem]] = []
    drops: list[Drop] = []
    read = 0
    origin: dict[str, str] = {}
    notices: list[str] = []
    for part, entry in _entries(benchmark, None if data is None else Path(data).expanduser()):
        source = _opened(benchmark, entry)
        notices += [f"{source.name}: {source.notice}"] if source.notice else []
        name = f"{benchmark.name}/{part.label}" if part.label else benchmark.name
        rows = [item for item in source.rows() if isinstance(item, Problem) or not item.stored_again]
        read += len(rows)
        drops += [item for item in rows if isinstance(item, Drop)]
        found = [item for item in rows if isinstance(item, Problem)]
        problems.append(
            [replace(ask(item), source=name) for item in found if benchmark.keep is None or benchmark.keep(item)]
        )
        origin[_described(entry)] = source.revision
    notices += _counted(benchmark, read, sum(map(len, problems)), drops)
    shares = [len(some) for some in problems] if limit is None else _shares([len(some) for some in problems], limit)
    return BenchmarkProblems(
        benchmark=benchmark,
        problems=[problem for some, share in zip(problems, shares, strict=True) for problem in some[:share]],
        dropped=dict(Counter(drop.reason for drop in drops)),
        origin=origin,
        notices=tuple(dict.fromkeys(notices)),
    )


def _opened(benchmark: Benchmark, entry: Mapping[str, Any]) -> Source:
    """Open a source; where the hub does not give it, say how a benchmark is read without."""
    try:
        return read_source(entry)
    except ProblemError as error:
        if "hub" not in entry:
            raise
        copy = f"DATA/{benchmark.folder or benchmark.name}"
        raise ProblemError(
            f"{benchmark.name}: {str(error).split('. ')[0].rstrip('.')}. Without the hub: `hf download {entry['hub']} "
            f"--repo-type dataset --local-dir {copy}` on a machine that reaches it, and "
            "`--benchmark-data DATA` here."
        ) from error


def _counted(benchmark: Benchmark, read: int, kept: int, drops: list[Drop]) -> list[str]:
    """Check how many rows gave no problem, and say what is to be said of the numbers.

    Raises:
        ProblemError: Nothing is left, or too many gave none.
    """
    counts = Counter(drop.reason for drop in drops)
    reasons = ", ".join(f"{reason}: {number}" for reason, number in counts.most_common())
    if not kept:
        why = f"; {len(drops)} of {read} rows gave no problem ({reasons})" if drops else f" in {read} rows"
        raise ProblemError(f"{benchmark.name}: there is not one problem to evaluate on{why}.")
    if len(drops) > benchmark.max_drop * read:
        raise ProblemError(
            f"{benchmark.name}: {len(drops)} of {read} rows gave no problem ({reasons}); at most "
            f"{benchmark.max_drop:.0%} are admitted. The first is {drops[0].where}: {drops[0].detail.rstrip('.')}."
        )
    said = []
    if drops:
        outside = ", some of them outside of its days" if benchmark.keep else ""
        said.append(
            f"{benchmark.name}: {len(drops)} of {read} rows cannot be judged here and are left out{outside} "
            f"({reasons})."
        )
    # Of a window's dropped rows it is not known whether they lie in it.
    if benchmark.problems and not kept <= benchmark.problems <= kept + len(drops):
        said.append(
            f"{benchmark.name}: {kept} problems were read where its papers count {benchmark.problems}: numbers of "
            "another set cannot be compared with theirs."
        )
    return said


def _entries(benchmark: Benchmark, data: Path | None) -> list[tuple[Part, Mapping[str, Any]]]:
    """Return each part with the entry that reads it."""
    if data is not None and not data.is_dir():
        raise ProblemError(f"there is no folder {data} with local copies of benchmarks.")
    found = [(part, _local(benchmark, part, data)) for part in benchmark.parts]
    if all(entry is None for _, entry in found) and benchmark.package and _installed(benchmark.package):
        return [(benchmark.parts[0], benchmark.package)]
    return [(part, entry or _cached(part) or part.entry()) for part, entry in found]


def _local(benchmark: Benchmark, part: Part, data: Path | None) -> dict[str, Any] | None:
    """Return the entry of a local copy in `data`; None where there is no copy.

    Raises:
        ProblemError: There is a folder for it without the part's files.
    """
    if data is None:
        return None
    owner, _, name = part.hub.partition("/")
    for folder in (
        data / (benchmark.folder or benchmark.name),
        data / owner / name,
        data / name,
        data / f"{owner}--{name}",
    ):
        if folder.is_dir():
            entry = _entry_of_copy(part, folder)
            if entry is None:
                raise ProblemError(
                    f"{folder} has none of the files of {part.hub}, split `{part.split}`: expected {_expected(part)}. "
                    f"Fetch it with `hf download {part.hub} --repo-type dataset --local-dir {folder}`."
                )
            return entry
    files = [file for file in sorted(data.glob(f"{benchmark.name}.*")) if file.is_file()]
    return {"path": str(files[0]), "schema": part.hub} if files and len(benchmark.parts) == 1 else None


def _entry_of_copy(part: Part, folder: Path) -> dict[str, Any] | None:
    word = part.split
    others = (f"*{word}*.jsonl", f"*{word}*.jsonl.gz", f"*{word}*.parquet", f"*{word}*.json", f"*{word}*.csv")
    pattern = next((pattern for pattern in (*part.files, *others) if any(folder.glob(pattern))), None)
    return None if pattern is None else {"path": str(folder / pattern), "schema": part.hub}


def _cached(part: Part) -> dict[str, Any] | None:
    """Return the entry of a snapshot in the hub's cache, where the hub is switched off; None where there is none."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not constants.HF_HUB_OFFLINE:
        return None
    try:
        snapshot = snapshot_download(part.hub, repo_type="dataset", local_files_only=True)
    except LocalEntryNotFoundError:
        return None
    return _entry_of_copy(part, Path(snapshot))


def _installed(entry: Mapping[str, Any]) -> bool:
    return find_spec(str(entry["source"]).replace("-", "_")) is not None


def _expected(part: Part) -> str:
    return " or ".join(part.files[:3])


def _described(entry: Mapping[str, Any]) -> str:
    """Return an entry in a few words: `openai/gsm8k main test`, a path, a package."""
    return " ".join(str(entry[key]) for key in ("hub", "name", "split", "path", "source") if key in entry)


def _shares(sizes: list[int], limit: int) -> list[int]:
    """Return how many of each part are kept: as even as the sizes allow, one more of the first ones."""
    shares = [0] * len(sizes)
    for _ in range(min(limit, sum(sizes))):
        open_parts = [number for number, size in enumerate(sizes) if shares[number] < size]
        shares[min(open_parts, key=lambda number: shares[number])] += 1
    return shares
