"""An evaluation in the files of lm-evaluation-harness (`lm-eval`) or lighteval, for whatever reads those.

The numbers are ours: our verifiers, our prompts. Only their form is the other's, so that tables, viewers and scripts
made for it can show them; a task is a source of problems.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mcpo_rl.errors import ConfigError, nearest
from mcpo_rl.evaluation.completions import read_completions
from mcpo_rl.runs.files import encodable, replacing, write_text
from mcpo_rl.scores import EvaluationRecord, ProblemScore, pass_at_k

Rows = list[dict[str, Any]]


def export_evaluation(evaluation: str | Path, form: str, folder: str | Path) -> list[Path]:
    """Write an evaluation in the form of another tool.

    `lm-eval`: `<folder>/<model>/results_<time>.json` and `samples_<task>_<time>.jsonl`, as its `--output_path` with
    `--log_samples` leaves them. `lighteval`: `<folder>/results/<model>/results_<time>.json` and
    `<folder>/details/<model>/<time>/details_<task>_<time>.parquet`, as its `--output-dir` with `--save-details` does.

    Args:
        evaluation: An eval.json with its completions beside it.
        form: `lm-eval` or `lighteval`.
        folder: Where to; made where it is not there.

    Returns:
        The files, the results first.

    Raises:
        ConfigError: There is no such form.
        RunError: The evaluation or its completions cannot be read, or a file cannot be written.
    """
    if form not in FORMATS:
        raise ConfigError(f"unknown form of export `{form}`; expected {', '.join(FORMATS)}.{nearest(form, FORMATS)}")
    record, rows = EvaluationRecord.read(evaluation), read_completions(evaluation)
    return FORMATS[form](record, rows, Path(folder))


def task_scores(scores: Sequence[ProblemScore]) -> dict[str, float]:
    """Return what a task's results have: `acc`, its standard error, `pass@k` for the samples that every problem has.

    The standard error is that of a mean over problems, s / sqrt(n) with the sample deviation s, as both tools have it;
    0 for a single problem. Without a judged completion there is nothing.
    """
    shares = [score.correct / score.scored for score in scores if score.scored]
    if not shares:
        return {}
    found = {"acc": sum(shares) / len(shares), "acc_stderr": _standard_error(shares)}
    k = min(score.scored for score in scores)
    if k > 1:
        tries = [pass_at_k(score.scored, score.correct, k) for score in scores]
        found |= {f"pass@{k}": sum(tries) / len(tries), f"pass@{k}_stderr": _standard_error(tries)}
    return found


def _lm_eval(record: EvaluationRecord, rows: Rows, folder: Path) -> list[Path]:
    tasks, time = _tasks(record), _time(record)
    place = folder / re.sub(r"[\"<>:/|\\?*\[\]]+", "__", record.model or "model")
    results = {
        "results": {
            task: {
                "alias": task,
                **{f"{name},none": value for name, value in task_scores(scores).items()},
            }
            for task, scores in tasks.items()
        },
        "group_subtasks": {task: [] for task in tasks},
        "configs": {
            task: {
                "task": task,
                "output_type": "generate_until",
                "repeats": _samples(scores),
                "num_fewshot": 0,
                "generation_kwargs": _generation(record),
            }
            for task, scores in tasks.items()
        },
        "versions": {task: 0 for task in tasks},
        "n-shot": {task: 0 for task in tasks},
        "higher_is_better": {
            task: {name: True for name in task_scores(scores) if not name.endswith("_stderr")}
            for task, scores in tasks.items()
        },
        "n-samples": {task: {"original": len(scores), "effective": len(scores)} for task, scores in tasks.items()},
        "config": {"model": "mcpo-rl", "model_args": record.model, "gen_kwargs": _generation(record)},
        "date": record.facts.get("created", ""),
        "model_name": record.model,
        "model_name_sanitized": place.name,
    }
    path = place / f"results_{time}.json"
    samples = [
        (place / f"samples_{task}_{time}.jsonl", _lm_eval_samples(record, scores, rows))
        for task, scores in tasks.items()
    ]
    for file, lines in samples:
        write_text(file, "".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines))
    write_text(path, json.dumps(results, indent=2) + "\n")
    return [path, *(file for file, _ in samples)]


def _lm_eval_samples(record: EvaluationRecord, scores: Sequence[ProblemScore], rows: Rows) -> Rows:
    lines = []
    for number, (score, own) in enumerate(_by_problem(scores, rows)):
        prompt, target = json.dumps(own[0]["prompt"], ensure_ascii=False), _target(own[0]["reference"])
        texts = [encodable(row["completion"]) for row in own]
        doc = {"id": score.id, "domain": score.domain, "source": score.source, "key": score.key}
        lines.append(
            {
                "doc_id": number,
                "doc": doc,
                "target": target,
                "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": _generation(record)}},
                "resps": [texts],
                "filtered_resps": [[row["answer"] for row in own]],
                "filter": "none",
                "metrics": ["acc"],
                "doc_hash": _hash(json.dumps(doc)),
                "prompt_hash": _hash(prompt),
                "target_hash": _hash(target),
                "acc": score.correct / score.scored if score.scored else None,
            }
        )
    return lines


def _lighteval(record: EvaluationRecord, rows: Rows, folder: Path) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tasks, time = {f"{task}|0": scores for task, scores in _tasks(record).items()}, _time(record)
    # lighteval keeps the slashes of a hub id; a path must not lead out of the folder.
    model = "/".join(part for part in record.model.split("/") if part.strip(".")) or "model"
    everything = {task.replace("|", ":"): task_scores(scores) for task, scores in tasks.items()}
    results = {
        "config_general": {
            "model_name": record.model,
            "model_config": record.settings,
            "max_samples": None,
            "total_evaluation_time_secondes": str(record.facts.get("seconds", "")),
        },
        "results": {**everything, "all": _mean(list(everything.values()))},
        "versions": {task: 0 for task in everything},
        "config_tasks": {task: {"name": task, "num_samples": [_samples(scores)]} for task, scores in tasks.items()},
        "summary_tasks": {},
        "summary_general": {"truncated": sum(score.truncated for score in record.scores)},
    }
    path = folder / "results" / model / f"results_{time}.json"
    files = [path]
    for task, scores in tasks.items():
        details = [
            {
                "doc": {
                    "id": score.id,
                    "task_name": task,
                    "query": json.dumps(own[0]["prompt"], ensure_ascii=False),
                    "choices": [_target(own[0]["reference"])],
                    "gold_index": 0,
                    "num_samples": len(own),
                },
                "model_response": {
                    "text": [encodable(row["completion"]) for row in own],
                    "text_post_processed": [encodable(row["answer"]) for row in own],
                },
                "metric": {"acc": score.correct / score.scored if score.scored else None},
            }
            for score, own in _by_problem(scores, rows)
        ]
        file = folder / "details" / model / time / f"details_{task}_{time}.parquet"
        with replacing(file) as temporary:
            pq.write_table(pa.Table.from_pylist(details), temporary, compression="zstd")
        files.append(file)
    write_text(path, json.dumps(results, indent=2) + "\n")
    return files


FORMATS: dict[str, Callable[[EvaluationRecord, Rows, Path], list[Path]]] = {
    "lm-eval": _lm_eval,
    "lighteval": _lighteval,
}
"""How an evaluation can be written, by the other tool's name."""


def _tasks(record: EvaluationRecord) -> dict[str, list[ProblemScore]]:
    """Return the scores by task: the problems of one source, or of one domain where they name none."""
    found: dict[str, list[ProblemScore]] = {}
    for score in record.scores:
        name = re.sub(r"[^\w.@-]+", "-", score.source or score.domain)
        found.setdefault(name, []).append(score)
    return found


def _by_problem(scores: Sequence[ProblemScore], rows: Rows) -> list[tuple[ProblemScore, Rows]]:
    """Return each score with its completions in order; a problem that is there twice has its own ones each time."""
    own: dict[str, Rows] = {}
    for row in rows:
        own.setdefault(row["key"], []).append(row)
    found = []
    for score in scores:
        mine, own[score.key] = own[score.key][: score.samples], own[score.key][score.samples :]
        found.append((score, sorted(mine, key=lambda row: int(row["sample"]))))
    return found


def _time(record: EvaluationRecord) -> str:
    return str(record.facts.get("created", "unknown")).partition("+")[0].replace(":", "-")


def _generation(record: EvaluationRecord) -> dict[str, Any]:
    settings = record.settings
    kept: dict[str, Any] = {
        name: settings[name] for name in ("temperature", "top_p", "top_k", "min_p") if name in settings
    }
    return {"do_sample": settings.get("temperature", 1) > 0, "max_gen_toks": settings.get("max_new_tokens"), **kept}


def _samples(scores: Sequence[ProblemScore]) -> int:
    return max(score.samples for score in scores)


def _target(reference: Any) -> str:
    return encodable(reference if isinstance(reference, str) else json.dumps(reference, ensure_ascii=False))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _standard_error(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


def _mean(tasks: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean over tasks of the metrics that all of them have."""
    shared = [name for name in (tasks[0] if tasks else {}) if all(name in task for task in tasks)]
    return {name: sum(task[name] for task in tasks) / len(tasks) for name in shared}
