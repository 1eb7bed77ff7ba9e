"""Run directories made by hand: what training leaves behind, without training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcpo_rl.runs import RolloutBatch, RunDirectory
from mcpo_rl.scores import EvaluationRecord, ProblemScore

DOMAINS = ("math", "code", "logic")


def rollouts(step: int, last: int, *, head: bool, seed: int, count: int = 60) -> RolloutBatch:
    """Rollouts whose representations drift apart by domain and whose correct share grows with `step`."""
    generator = np.random.default_rng(seed * 1000 + step)
    numbers = np.arange(count) % 3
    centres = np.random.default_rng(7).normal(size=(3, 16))
    correct = generator.random(count) < 0.3 + 0.5 * step / last
    drift = centres[numbers] * (1 + step / last) + correct[:, None] * np.eye(16)[0] * 2
    features = drift + generator.normal(size=(count, 16))
    embeddings = features[:, :8] / np.linalg.norm(features[:, :8], axis=1, keepdims=True)
    good = np.flatnonzero(correct)
    return RolloutBatch(
        step=step,
        prompts=[[{"role": "user", "content": f"Compute {row // 6} + {row % 5}."}] for row in range(count)],
        completions=[f"First I add.\nThen <answer>{row // 6 + row % 5}</answer>" for row in range(count)],
        domains=[DOMAINS[number] for number in numbers],
        prompt_ids=[row // 6 for row in range(count)],
        rewards=[float(flag) for flag in correct],
        correct=correct.tolist(),
        usable=[True] * count,
        verdicts=["correct" if flag else "incorrect" for flag in correct],
        features=features.astype(np.float32),
        embeddings=embeddings.astype(np.float32) if head else None,
        positives=[
            [int(o) for o in good if numbers[o] != numbers[r]][:4] if head and correct[r] else [] for r in range(count)
        ],
    )


def interference(step: int, last: int, cosine: float) -> dict[str, float]:
    """Math and code as planted, logic apart from both; code falls behind its best in the second half."""
    generator = np.random.default_rng([step, last, 5])  # its own luck: the other metrics stay as they are
    cosines = {("code", "math"): cosine, ("code", "logic"): 0.0, ("logic", "math"): 0.0}
    noisy = {pair: value + generator.normal(0, 0.02) for pair, value in cosines.items()}
    row = {f"interference/cosine/{a}/{b}": value for (a, b), value in noisy.items()}
    row["interference/conflict"] = sum(value < 0 for value in noisy.values()) / 3
    for domain, share in zip(DOMAINS, (0.5, 0.3, 0.2), strict=True):
        row |= {f"interference/share/{domain}": share, f"interference/norm/{domain}": 2 * share}
    if step % 10 == 0:
        row |= {f"forgetting/{domain}": 0.1 * (domain == "code" and step > last / 2) for domain in DOMAINS}
    return row


def metrics(step: int, last: int, generator: np.random.Generator, *, contrastive: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"step": step, "loss": 0.1}
    for number, domain in enumerate(DOMAINS):
        accuracy = 0.25 + 0.1 * number + 0.4 * step / last + generator.normal(0, 0.05)
        row |= {f"domain/{domain}/{name}": accuracy for name in ("accuracy", "reward")}
        row[f"domain/{domain}/share"] = 1 / 3
        row[f"domain/{domain}/completion_length"] = 60 + 20 * number + 10 * step / last + generator.normal(0, 4)
    row |= interference(step, last, 0.15 if contrastive else -0.15)
    if contrastive:
        decay = np.exp(-2 * step / last)
        row |= {
            "contrastive/share_loss": 2 + decay,
            "contrastive/consolidate_loss": 1.8 + decay,
            "contrastive/anchors": 90.0,
            "contrastive/positives": 300.0,
            "contrastive/negatives": 100.0,
            "contrastive/transferability": 0.4,
            "contrastive/similarity/cross_positive": 0.5 - 0.2 * decay,
            "contrastive/similarity/in_domain_positive": 0.6 - 0.2 * decay,
            "contrastive/similarity/negative": 0.1 + 0.2 * decay,
            "contrastive/alignment": 0.5 * decay,
            "contrastive/uniformity": -2 + decay,
            "contrastive/grad_ratio": 0.2 + generator.normal(0, 0.01),
        }
        for to in DOMAINS:
            for source in DOMAINS:
                if to != source:
                    row[f"contrastive/borrow/{to}/{source}"] = float(len(source) + 3 * (to == "math"))
    return row


def evaluation(gain: float, *, seed: int = 0, count: int = 60) -> EvaluationRecord:
    """Scores on `count` problems per domain; problem by problem the same luck, so that pairs are alike."""
    luck = np.random.default_rng(seed).random((3, count, 4))
    scores = [
        ProblemScore(
            key=f"{domain}-{row}",
            domain=domain,
            source="family",
            samples=4,
            correct=int((luck[number, row] < 0.3 + 0.1 * number + gain).sum()),
            tokens=200,
        )
        for number, domain in enumerate(DOMAINS)
        for row in range(count)
    ]
    return EvaluationRecord(model="builtin:tiny", settings={"samples": 4, "temperature": 1.0}, scores=scores)


def save_evaluation(record: EvaluationRecord, path: Path) -> None:
    path.write_text(json.dumps(record.to_json()))


def make_run(path: Path, *, contrastive: bool, gain: float = 0.3, last: int = 60, seed: int = 0) -> Path:
    run = RunDirectory.create(path, {"model": "builtin:tiny", "seed": seed})
    generator = np.random.default_rng(seed + contrastive)
    for step in range(1, last + 1):
        run.append_metrics(metrics(step, last, generator, contrastive=contrastive))
    for step in range(10, last + 1, 10):
        run.write_rollouts(rollouts(step, last, head=contrastive, seed=seed))
    save_evaluation(evaluation(0.0), run.start_eval_file)
    save_evaluation(evaluation(gain), run.eval_file)
    run.write_manifest(method="mcpo" if contrastive else "grpo", seed=seed, model="builtin:tiny", status="finished")
    return path


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A plain and a contrastive run of the same problems, that end alike."""
    folder = tmp_path_factory.mktemp("demo")
    return [
        make_run(folder / "grpo", contrastive=False, gain=0.30),
        make_run(folder / "mcpo", contrastive=True, gain=0.305),
    ]


@pytest.fixture
def empty_run(tmp_path: Path) -> Callable[[str], RunDirectory]:
    return lambda name: RunDirectory.create(tmp_path / name, {})
