"""The evaluation itself: generate in batches, verify meanwhile, count."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from mcpo_rl.errors import ConfigError, ProblemError
from mcpo_rl.evaluation.result import EvaluatedCompletion, EvaluationResult
from mcpo_rl.rewards import verify_batch
from mcpo_rl.runs.manifest import now
from mcpo_rl.scores import ProblemScore
from mcpo_rl.types import Problem, Status, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from mcpo_rl.evaluation.generation import Generated


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    *,
    samples: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int = 512,
    batch_size: int = 32,
    seed: int = 0,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    verify_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Let `model` answer `problems` and return how it did, per domain and source, with 95% intervals.

    The same seed, settings and batch size give the same completions; the caller's random state is left as it was.
    Verification of one batch runs while the next is generated.

    Args:
        model: A causal language model, on the device to use. Put into eval mode meanwhile.
        tokenizer: Its tokenizer, with a chat template.
        problems: At least one.
        samples: k, completions drawn per problem.
        temperature: Of sampling; 0 is greedy decoding (then `samples` must be 1).
        top_p: Of sampling.
        max_new_tokens: Where a completion is cut; it then counts as truncated.
        batch_size: Completions generated at once.
        seed: Of the sampling.
        chat_template_kwargs: Further arguments of the chat template, such as `{"enable_thinking": False}`.
        verify_workers: Passed to `mcpo_rl.rewards.verify_batch`.
        progress: Called after every batch with the number of completions generated so far and in all.

    Raises:
        ConfigError: A setting that cannot work; the message names it.
        ModelError: The tokenizer has no chat template.
        ProblemError: No problems, or one whose prompt leaves no room in the model's context.
    """
    _check(problems, samples, temperature, top_p, max_new_tokens, batch_size)
    from mcpo_rl.evaluation.generation import generate  # brings torch and transformers

    started = time.monotonic()
    prompts = [problem.prompt for problem in problems for _ in range(samples)]
    texts: dict[int, Generated] = {}
    judged: list[tuple[list[int], Future[list[Verdict]]]] = []
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="verify")
    try:
        for batch in generate(
            model,
            tokenizer,
            prompts,
            temperature=temperature,
            top_p=top_p,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            seed=seed,
            chat_template_kwargs=dict(chat_template_kwargs or {}),
        ):
            items = [
                (problems[row // samples].domain, done.text, problems[row // samples].reference) for row, done in batch
            ]
            judged.append(([row for row, _ in batch], executor.submit(verify_batch, items, workers=verify_workers)))
            texts.update(batch)
            if progress is not None:
                progress(len(texts), len(prompts))
        verdicts = {row: verdict for rows, future in judged for row, verdict in zip(rows, future.result(), strict=True)}
    finally:
        executor.shutdown(cancel_futures=True)
    completions = [
        EvaluatedCompletion(
            problem=row // samples,
            sample=row % samples,
            text=texts[row].text,
            verdict=verdicts[row],
            tokens=texts[row].tokens,
            truncated=texts[row].truncated,
        )
        for row in range(len(prompts))
    ]
    return EvaluationResult(
        model=str(getattr(model, "name_or_path", "") or getattr(model.config, "_name_or_path", "")),
        settings={
            "samples": samples,
            "temperature": temperature,
            "top_p": top_p,
            "max_new_tokens": max_new_tokens,
            "batch_size": batch_size,
            "seed": seed,
            **({"chat_template_kwargs": dict(chat_template_kwargs)} if chat_template_kwargs else {}),
        },
        scores=_scores(problems, completions, samples),
        facts={
            "created": now(),
            "seconds": round(time.monotonic() - started, 3),
            "tokens": sum(item.tokens for item in completions),
        },
        problems=list(problems),
        completions=completions,
    )


def problem_key(problem: Problem) -> str:
    """Return what identifies a problem across evaluations: a hash over its domain, prompt and reference."""
    text = json.dumps([problem.domain, problem.prompt, problem.reference], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _scores(
    problems: Sequence[Problem], completions: Sequence[EvaluatedCompletion], samples: int
) -> list[ProblemScore]:
    scores = []
    for row, problem in enumerate(problems):
        own = completions[row * samples : (row + 1) * samples]
        scores.append(
            ProblemScore(
                key=problem_key(problem),
                domain=problem.domain,
                source=problem.source,
                id=problem.id,
                samples=samples,
                correct=sum(item.verdict.status is Status.CORRECT for item in own),
                errors=sum(item.verdict.status is Status.ERROR for item in own),
                truncated=sum(item.truncated for item in own),
                tokens=sum(item.tokens for item in own),
            )
        )
    return scores


def _check(
    problems: Sequence[Problem], samples: int, temperature: float, top_p: float, max_new_tokens: int, batch_size: int
) -> None:
    if not problems:
        raise ProblemError("There are no problems to evaluate on.")
    for name, value in (("samples", samples), ("max_new_tokens", max_new_tokens), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"`{name}` must be at least 1, not {value}.")
    if temperature < 0:
        raise ConfigError(f"`temperature` must be at least 0 (0 is greedy decoding), not {temperature}.")
    if not 0 < top_p <= 1:
        raise ConfigError(f"`top_p` must be above 0 and at most 1, not {top_p}.")
    if temperature == 0 and samples > 1:
        raise ConfigError(
            f"`samples` is {samples}, but at `temperature` 0 they would all be the same completion. "
            "Set samples=1 or a temperature above 0."
        )
