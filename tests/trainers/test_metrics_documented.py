"""docs/metrics.md has a row for everything that is logged, and no row of ours that nothing logs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from trl.trainer import grpo_trainer

from mcpo_rl.analysis.geometry.measures import measure
from mcpo_rl.analysis.geometry.rows import ProbeRows
from mcpo_rl.rewards.batch import BatchReport, DomainReport
from mcpo_rl.rewards.function import metrics_of
from mcpo_rl.trainers.trl import MCPODPOConfig, MCPODPOTrainer, MCPORLOOConfig, MCPORLOOTrainer
from mcpo_rl.trainers.trl.surgery import PCGradConfig, PCGradTrainer

from .conftest import make_dataset, make_model, make_tokenizer
from .rollouts import picky_reward
from .test_dpo import make_preferences

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
OURS = ("domain/", "mixture/", "verify/", "contrastive/", "interference/", "surgery/", "probe/", "forgetting")
BATCH = {"per_device_train_batch_size": 24, "gradient_accumulation_steps": 1, "max_steps": 2}


def documented() -> list[str]:
    """Return the names in the first columns of the page's tables."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert all(line.replace("\\|", "").count("|") == 5 for line in rows), "a row has not its four columns"
    return [name for line in rows for name in re.findall(r"`([^`]+)`", line.split("|")[1])]


def pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"<[^>]+>", "[^/]+", name))


def undocumented(names: set[str]) -> set[str]:
    patterns = [pattern(name) for name in documented()]
    bare = {name if name.startswith(("eval_runtime", "eval_s")) else name.removeprefix("eval_") for name in names}
    return {name for name in bare if not any(one.fullmatch(name) for one in patterns)}


def logged(trainer: Any) -> set[str]:
    trainer.train()
    return {name for row in trainer.state.log_history for name in row}


def verified_and_measured() -> set[str]:
    """Return what the verifiers' reward function and the geometry of a probe set log."""
    report = DomainReport(correct=1, incorrect=2, error=0, seconds_mean=0.1, seconds_max=0.2)
    verified = metrics_of(BatchReport(domains={"math": report}, seconds=1.0, waited_seconds=0.5, slowest=None))
    generator = np.random.default_rng(0)
    rows = ProbeRows.of(
        generator.normal(size=(48, 5)), ["code", "logic", "math"] * 16, list(range(48)), [n % 4 < 2 for n in range(48)]
    )
    measured = measure(rows, rows.with_features(generator.normal(size=(48, 5))))
    assert len(verified) == 7 and len(measured) > 20
    return {*verified, *(f"probe/{name}" for name in measured)}


def test_what_is_logged_is_documented_and_what_is_documented_is_logged(make_trainer: Any, make_args: Any) -> None:
    everything = verified_and_measured()
    assert not undocumented(everything)
    rows = make_dataset(60)
    runs = {
        "all at once": {"mixture": {"resample": 2}, "entropy_coef": 0.01, "interference_steps": 1},
        "cispo": {"loss_type": "cispo", "contrastive_advantage": 0.5},
        "vespo": {"loss_type": "vespo"},
        "grpo": {"contrastive_coef": 0.0, "mixture": "equal"},
    }
    for name, options in runs.items():
        held_out = {"options": {"eval_dataset": make_dataset(6)}} if name == "all at once" else {}
        trainer = make_trainer(dataset=rows, rewards=picky_reward, **BATCH, **options, **held_out)
        found = logged(trainer)
        if held_out:
            trainer.evaluate()
            found |= {key for row in trainer.state.log_history for key in row}
            assert any(key.startswith("eval_domain/") for key in found)
        assert not undocumented(found), name
        everything |= found
    for cls, config in ((MCPORLOOTrainer, MCPORLOOConfig), (PCGradTrainer, PCGradConfig)):
        trainer = make_trainer(trainer_class=cls, args=make_args(config, max_steps=2, interference_steps=1, beta=0.0))
        found = logged(trainer)
        assert not undocumented(found), cls.__name__
        everything |= found
    args = MCPODPOConfig(
        output_dir=make_args().output_dir,
        per_device_train_batch_size=6,
        max_steps=1,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        bf16=False,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = MCPODPOTrainer(
        make_model(),
        ref_model=make_model(),
        args=args,
        train_dataset=make_preferences(),
        processing_class=make_tokenizer(),
    )
    found = logged(trainer)
    assert not undocumented(found)
    everything |= found
    dead = [
        name
        for name in documented()
        if name.startswith(OURS) and not any(pattern(name).fullmatch(one) for one in everything)
    ]
    assert not dead


def test_trls_own_names_are_documented() -> None:
    """Those of engines and features that no short run has: read from TRL's source, so that a new one is noticed."""
    source = Path(grpo_trainer.__file__).read_text(encoding="utf-8")
    names = set(re.findall(r'_metrics\[mode\]\["([^"]+)"\]', source)) | set(
        re.findall(r'_metrics\["train"\]\["([^"]+)"\]', source)
    )
    assert len(names) > 25
    assert not undocumented(names)


def test_the_check_sees_what_is_missing() -> None:
    assert undocumented({"contrastive/new", "loss", "eval_loss", "domain/math/reward"}) == {"contrastive/new"}
    assert undocumented({"domain/math/rewards"}) and not undocumented({"contrastive/borrow/a/b"})
