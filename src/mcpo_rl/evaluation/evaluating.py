"""The evaluation itself: generate, verify meanwhile, count; and go on where an earlier attempt was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpo_rl.errors import ConfigError, ProblemError
from mcpo_rl.evaluation.generators import Generated, Generator, Sampling
from mcpo_rl.evaluation.journal import Journal
from mcpo_rl.evaluation.judging import Judge
from mcpo_rl.evaluation.prompts import PromptFormat
from mcpo_rl.evaluation.result import EvaluatedCompletion, EvaluationResult
from mcpo_rl.evaluation.voting import votes
from mcpo_rl.rewards.items import Item
from mcpo_rl.runs.manifest import now
from mcpo_rl.scores import ProblemScore
from mcpo_rl.types import Problem, Status, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Progress = Callable[[int, int], None]
"""Called with the number of completions done so far and in all."""


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
    progress: Progress | None = None,
) -> EvaluationResult:
    """Let `model` answer `problems` and return how it did, per domain and source, with 95% intervals.

    This is `evaluate_with` with a Hugging Face model that is loaded already. The same seed, settings and batch size
    give the same completions; the caller's random state is left as it was. Verification runs while the model generates.

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
        verify_workers: Completions judged at a time; None: as many as the verification service has workers.
        progress: Called at the start and after every batch with the completions generated so far and in all.

    Raises:
        ConfigError: A setting that cannot work; the message names it.
        ModelError: The tokenizer has no chat template.
        ProblemError: No problems, or one whose prompt leaves no room in the model's context.
        VerificationError: More than half of the completions could not be judged.
    """
    sampling = Sampling(temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed)
    _check(problems, samples, sampling)
    from mcpo_rl.evaluation.generation import TransformersGenerator  # brings torch and transformers

    generator = TransformersGenerator(
        model,
        tokenizer,
        batch_size=batch_size,
        prompt_format=PromptFormat(chat_template_kwargs=dict(chat_template_kwargs or {})),
    )
    return evaluate_with(
        generator, problems, samples=samples, sampling=sampling, verify_workers=verify_workers, progress=progress
    )


def evaluate_with(
    generator: Generator,
    problems: Sequence[Problem],
    *,
    samples: int = 1,
    sampling: Sampling | None = None,
    journal: str | Path | None = None,
    verify_workers: int | None = None,
    progress: Progress | None = None,
    judging: Progress | None = None,
) -> EvaluationResult:
    """Let any generator answer `problems` and return how it did, per domain and source, with 95% intervals.

    Every batch is handed to the verifiers as it comes, and the generator goes on at once.

    Args:
        generator: See `mcpo_rl.evaluation.generators.Generator`.
        problems: At least one.
        samples: k, completions drawn per problem.
        sampling: How to draw them; None: temperature 1, up to 512 tokens.
        journal: A file that keeps what was generated and judged as it comes. If it is there already, the evaluation
            goes on from it, and ends as it would have without the interruption. It stays: delete it once the result
            is saved.
        verify_workers: Completions judged at a time; None: as many as the verification service has workers.
        progress: Called at the start and after every batch with the completions generated so far and in all.
        judging: Called, once all are generated, with the completions judged so far and in all.

    Raises:
        ConfigError: A setting that cannot work; the message names it.
        ModelError: The tokenizer has no chat template.
        ProblemError: No problems, or one whose prompt leaves no room in the model's context.
        RunError: The journal belongs to another evaluation, or cannot be written.
        VerificationError: More than half of the completions could not be judged, or none of the first 20 of a domain.

    Example:
        >>> from mcpo_rl.data import load_problems
        >>> from mcpo_rl.evaluation import Sampling, evaluate_with
        >>> from mcpo_rl.evaluation.generation import TransformersGenerator
        >>> from mcpo_rl.models import load_model_and_tokenizer
        >>> generator = TransformersGenerator(*load_model_and_tokenizer("builtin:tiny"), batch_size=8)
        >>> problems = load_problems({"source": "procedural", "domain": "math", "split": "heldout", "count": 4})
        >>> result = evaluate_with(generator, problems, samples=2, sampling=Sampling(max_new_tokens=64))
        >>> len(result.completions)
        8
    """
    sampling = sampling or Sampling()
    _check(problems, samples, sampling)
    started = time.monotonic()
    settings = settings_of(generator, samples, sampling)
    with contextlib.ExitStack() as stack:
        kept = None
        if journal is not None:
            kept = stack.enter_context(Journal(Path(journal), _task(generator, settings, problems)))
        texts, verdicts, resumed = _complete(
            generator, problems, samples, sampling, kept, Judge(verify_workers), progress, judging
        )
    completions = [
        EvaluatedCompletion(
            problem=row // samples,
            sample=row % samples,
            text=texts[row].text,
            verdict=verdicts[row],
            tokens=texts[row].tokens,
            truncated=texts[row].truncated,
        )
        for row in range(len(problems) * samples)
    ]
    facts = {
        "created": now(),
        "seconds": round(time.monotonic() - started, 3),
        "tokens": sum(item.tokens for item in completions),
        **({"resumed_at": resumed} if resumed else {}),
    }
    return EvaluationResult(
        model=generator.model,
        settings=settings,
        scores=_scores(problems, completions, samples),
        facts=facts,
        problems=list(problems),
        completions=completions,
    )


def settings_of(generator: Generator, samples: int, sampling: Sampling) -> dict[str, Any]:
    """Return what an evaluation notes of how it was made."""
    return {"samples": samples, **sampling.to_settings(), **generator.settings}


def problem_key(problem: Problem) -> str:
    """Return what identifies a problem across evaluations: a hash over its domain, prompt and reference."""
    text = json.dumps([problem.domain, problem.prompt, problem.reference], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _complete(
    generator: Generator,
    problems: Sequence[Problem],
    samples: int,
    sampling: Sampling,
    journal: Journal | None,
    judge: Judge,
    progress: Progress | None,
    judging: Progress | None,
) -> tuple[dict[int, Generated], dict[int, Verdict], int]:
    """Return completions and verdicts by row, and how many completions the journal had.

    Row r is sample r % samples of problem r // samples.
    """
    prompts = [problem.prompt for problem in problems for _ in range(samples)]
    texts = dict(journal.generated) if journal else {}
    verdicts = {row: verdict for row, verdict in journal.verdicts.items() if row in texts} if journal else {}
    resumed = len(texts)

    def item(row: int) -> Item:
        problem = problems[row // samples]
        return problem.domain, texts[row].text, problem.reference

    def note(judged: Sequence[tuple[int, Verdict]]) -> None:
        verdicts.update(judged)
        if journal and judged:
            journal.add_verdicts(judged)

    try:
        unjudged = sorted(texts.keys() - verdicts.keys())
        if unjudged:
            judge.submit(unjudged, [item(row) for row in unjudged])
        if progress is not None:
            progress(resumed, len(prompts))
        for batch in generator.generate(prompts, sampling, done=texts.keys()) if resumed < len(prompts) else ():
            texts.update(batch)
            judge.submit([row for row, _ in batch], [item(row) for row, _ in batch])
            if journal:
                journal.add_generated(batch)
            note(list(judge.ready()))
            if progress is not None:
                progress(len(texts), len(prompts))
        for pair in judge.finish(judging):
            note([pair])
    finally:
        judge.cancel()
    return texts, verdicts, resumed


def _task(generator: Generator, settings: Mapping[str, Any], problems: Sequence[Problem]) -> dict[str, Any]:
    """Return what a journal belongs to."""
    digest = hashlib.sha256("".join(problem_key(problem) for problem in problems).encode())
    return {"model": generator.model, "settings": dict(settings), "problems": digest.hexdigest()[:16]}


def _scores(
    problems: Sequence[Problem], completions: Sequence[EvaluatedCompletion], samples: int
) -> list[ProblemScore]:
    scores = []
    for row, problem in enumerate(problems):
        own = completions[row * samples : (row + 1) * samples]
        voted = votes(problem, [item.verdict for item in own])
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
                right_votes=voted[0] if voted else None,
                wrong_votes=voted[1] if voted else None,
            )
        )
    return scores


def _check(problems: Sequence[Problem], samples: int, sampling: Sampling) -> None:
    if not problems:
        raise ProblemError("There are no problems to evaluate on.")
    if samples < 1:
        raise ConfigError(f"`samples` must be at least 1, not {samples}.")
    if sampling.temperature == 0 and samples > 1:
        raise ConfigError(
            f"`samples` is {samples}, but at `temperature` 0 they would all be the same completion. "
            "Set samples=1 or a temperature above 0."
        )
