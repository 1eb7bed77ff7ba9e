"""Three runs of 200 steps and 5,000 kept rollouts each: the page stays below 15 MB and holds every rollout."""

import base64
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from mcpo_rl.analysis import write_report
from mcpo_rl.runs import RolloutBatch, RunDirectory

DOMAINS = ("math", "code", "logic")
SENTENCE = (
    "we first let x be the number of steps then reduce modulo nine because each sum is even so that every case splits "
    "into two parts def solve return range if else knight knave lies truth therefore assume contradiction answer check"
)
STEPS, COUNT = 200, 25


def texts(generator: np.random.Generator, count: int, words: int) -> list[str]:
    return [" ".join(generator.choice(SENTENCE.split(), words)) + f" {generator.integers(10**9)}" for _ in range(count)]


def batch(step: int, generator: np.random.Generator) -> RolloutBatch:
    correct = generator.random(COUNT) < 0.5
    z = generator.normal(size=(COUNT, 32))
    domains = [DOMAINS[row // 5 % 3] for row in range(COUNT)]
    positives = [
        [o for o in range(COUNT) if correct[o] and domains[o] != domains[r]][:4] if correct[r] else []
        for r in range(COUNT)
    ]
    return RolloutBatch(
        step=step,
        prompts=[text for text in texts(generator, COUNT // 5, 80) for _ in range(5)],
        completions=texts(generator, COUNT, 300),
        domains=domains,
        prompt_ids=[row // 5 for row in range(COUNT)],
        rewards=[float(flag) for flag in correct],
        correct=correct.tolist(),
        usable=[True] * COUNT,
        features=generator.normal(size=(COUNT, 64)).astype(np.float32),
        embeddings=(z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32),
        positives=positives,
        positive_scores=[[0.5] * len(rows) for rows in positives],
        term={"temperature": 0.1, "negatives": "all"},
    )


@pytest.mark.slow
def test_the_page_stays_below_15_megabytes(tmp_path: Path) -> None:
    runs = []
    for number in range(3):
        generator = np.random.default_rng(number)
        run = RunDirectory.create(tmp_path / f"run{number}", {"seed": number})
        for step in range(1, STEPS + 1):
            row = {
                f"domain/{name}/{metric}": generator.random() for name in DOMAINS for metric in ("accuracy", "reward")
            }
            run.append_metrics({"step": step, "contrastive/anchors": 9.0, **row})
            run.write_rollouts(batch(step, generator))
        runs.append(run.path)
    report = write_report(runs, tmp_path / "report.html")
    assert report.stat().st_size < 15_000_000
    blocks = re.findall(r'<script id="rollouts-\d+" type="text/plain">([^<]+)<', report.read_text(encoding="utf-8"))
    assert [len(json.loads(gzip.decompress(base64.b64decode(block)))["domain"]) for block in blocks] == [5000] * 3
