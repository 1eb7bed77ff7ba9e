"""Which pass of the step the pool's hidden states are read from: the cheapest one that gives the right numbers.

Axes: B rollouts of this rank, P prompt tokens, C completion tokens, d features.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mcpo_rl.errors import ConfigError
from mcpo_rl.trainers.trl.features.generation import GenerationMismatch, GenerationTap
from mcpo_rl.trainers.trl.features.hidden_states import (
    PooledPass,
    chunks_by_length,
    depends_on_width,
    find_backbone,
    find_feature_module,
    inference,
    is_peft,
    unwrapped,
)
from mcpo_rl.trainers.trl.features.lines import TokenWeights
from mcpo_rl.trainers.trl.requirements import is_sharded, no_generation_tap

logger = logging.getLogger(__name__)

CHECKED_ROWS = 4
"""Rollouts whose features from decoding are compared with a forward pass, at the first pool."""
TOLERANCE = {torch.bfloat16: 5e-2, torch.float16: 5e-2}
"""Relative difference allowed in that comparison for passes in half precision; 1e-3 otherwise."""

_READ = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "tool_mask")
"""What a pass over a batch of TRL's needs of it."""


class FeatureReader:
    """Reads h (B, d) of each generation batch; one per trainer.

    The trainer opens `reading` around the scoring of a training batch and passes TRL's generation and old
    log-probability calls through `during_generation` and `during_log_probs`, then asks for `features`.

    Args:
        trainer: an `MCPOTrainer`; its model, engine and settings are read at each call, since engines replace the
            model.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self.source_in_use: str | None = None
        """`old_logps`, `training`, `generation` or `forward`, once a generation batch is there."""
        self._weigh = TokenWeights(trainer.args.feature_pooling, trainer.processing_class)
        self._open = False
        self._log_probs_pass: PooledPass | None = None
        self.generated: Tensor | None = None
        """(B, d) of the completions that were decoded last, where they were tapped."""
        self._generation_works = not no_generation_tap(trainer)
        self._checked: set[bool] = set()
        """Whether the comparison with a forward pass was made without and with padded prompts."""

    @contextmanager
    def reading(self, *, forward_only: bool = False) -> Iterator[None]:
        """Let the taps work inside; with `forward_only` they stay shut."""
        self._log_probs_pass = self.generated = None
        self._open = not forward_only
        try:
            yield
        finally:
            self._open = False

    @contextmanager
    def during_generation(self) -> Iterator[GenerationTap | None]:
        """Tap the decoding inside, where that is the source; hand the completions to `keep_generated` at its end."""
        source, trainer = self._trainer.args.feature_source, self._trainer
        # Where the pass for old log-probabilities was seen before, it will come again: free, and the more exact one.
        # Norms and rotary embeddings work in float32 and see other positions while decoding: features then agree to
        # about 1e-7, which is below what float32 resolves but not what a float64 model was chosen for.
        comes = self.source_in_use == "old_logps" or trainer.old_log_probs_always
        cheapest = not comes and trainer.model.dtype != torch.float64
        wanted = source == "generation" or (source == "auto" and cheapest and not self._training_pass_suffices())
        if not (self._open and wanted and self._generation_works):
            yield None
            return
        model = unwrapped(trainer.accelerator, trainer.model_wrapped)
        tap = GenerationTap(model, trainer.args.feature_layer, trainer.args.feature_pooling, trainer.eos_token_ids)
        with tap:
            yield tap
        tap.release()

    def keep_generated(self, tap: GenerationTap, completion_ids: list[list[int]]) -> None:
        """Complete the features of these completions, or fall back to passes over the whole rollouts."""
        trainer = self._trainer
        model = unwrapped(trainer.accelerator, trainer.model_wrapped)
        try:
            with inference(model), trainer.accelerator.autocast():
                self.generated = tap.features(completion_ids)
        except GenerationMismatch as problem:
            self._give_up_generation(str(problem))

    @contextmanager
    def during_log_probs(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int
    ) -> Iterator[None]:
        """Tap the first pass of the policy inside `reading`: TRL's old log-probabilities, if it computes them."""
        wanted = self._trainer.args.feature_source in ("auto", "old_logps")
        first = self._log_probs_pass is None and model is self._trainer.model
        if not (self._open and wanted and first and not torch.is_grad_enabled()):
            yield
            return
        mask = self._weigh(input_ids[:, -logits_to_keep:], attention_mask[:, -logits_to_keep:])
        self._log_probs_pass = PooledPass(self._feature_module(), mask, self._trainer.args.feature_pooling)
        with self._log_probs_pass.tap:
            yield

    def features(self, batch: dict[str, Any]) -> Tensor | None:
        """Return h (B, d) of the batch that TRL made of the rollouts; None where they wait for the training pass.

        Raises:
            ConfigError: `feature_source` is `old_logps` but TRL computes none here.
        """
        asked = self._trainer.args.feature_source
        features, source = self._read(batch, asked)
        if asked == "old_logps" and source != "old_logps":
            why = "tool calls are masked in them" if "tool_mask" in batch else "TRL computes none in this configuration"
            raise ConfigError(
                f"feature_source='old_logps' asks for the pass that computes old log-probabilities, but {why}. "
                "Use feature_source='auto'."
            )
        if source != self.source_in_use:
            logger.info("Hidden states of the pool phase are read from: %s", source)
            self.source_in_use = source
        return features

    def _read(self, batch: dict[str, Any], asked: str) -> tuple[Tensor | None, str]:
        # Without old log-probabilities in the batch, the pass that was tapped was another one (PEFT's reference pass).
        # With tools the mask of that pass also counts what the tools wrote.
        if self._log_probs_pass is not None and self._trainer.old_log_probs_name in batch and "tool_mask" not in batch:
            return self._log_probs_pass.features(), "old_logps"
        if self.generated is not None and self._agrees(self.generated, batch):
            return self.generated, "generation"
        if asked == "forward" or self._trainer.args.gives_contrastive_advantages:
            return self.forward(batch), "forward"
        return None, "training"

    def _training_pass_suffices(self) -> bool:
        """Whether a pool is one micro-batch, so that its training pass gives all the features, and in time."""
        args = self._trainer.args
        return bool(args.steps_per_generation == 1) and not args.gives_contrastive_advantages

    def _agrees(self, generated: Tensor, batch: dict[str, Any]) -> bool:
        """Compare a few rollouts with a forward pass: once, and once more where prompts are padded."""
        # The most padded first: with learned absolute positions, a model that TRL trains sees padding as positions and
        # one that decodes does not.
        padding = (batch["prompt_mask"] == 0).sum(dim=1)
        present = completion_mask(batch).any(dim=1).nonzero().flatten()
        rows = present[padding[present].argsort(descending=True, stable=True)][:CHECKED_ROWS].tolist()
        padded = bool(rows) and bool(padding[rows[0]] > 0)
        if not rows or padded in self._checked or True in self._checked:
            return True
        self._checked.add(padded)
        reference, used = self.forward(batch, rows), generated[rows].to(generated.device)
        error = ((used - reference).norm(dim=1) / reference.norm(dim=1).clamp(min=1e-12)).max().item()
        tolerance = TOLERANCE.get(self._pass_dtype(), 1e-3)
        if error <= tolerance:
            return True
        self._give_up_generation(f"they differ from a forward pass by {error:.1e} relative (allowed {tolerance:.0e})")
        return False

    def _give_up_generation(self, reason: str) -> None:
        self._generation_works, self.generated = False, None
        logger.warning(
            "Hidden states cannot be taken from decoding: %s. Forward passes are used instead.",
            reason,
        )

    def _pass_dtype(self) -> torch.dtype:
        mixed = {"bf16": torch.bfloat16, "fp16": torch.float16}
        dtype: torch.dtype = self._trainer.model.dtype
        return mixed.get(self._trainer.accelerator.mixed_precision, dtype)

    def forward(self, batch: dict[str, Any], rows: list[int] | None = None) -> Tensor:
        """Return h of the batch (or of some rows of it) by a no-grad forward pass of the backbone.

        Rows of similar length go together and padding on the right is cut off, which no token before it can see
        (except where the positions themselves depend on the width: it stays there).
        """
        trainer, args = self._trainer, self._trainer.args
        mask = self.token_weights(batch)
        selected = torch.arange(len(mask)) if rows is None else torch.tensor(rows)
        lengths = batch["completion_mask"][selected.to(mask.device)].sum(dim=1).tolist()
        # Nothing is kept for a backward pass, so twice the rows of a training pass stay below its memory.
        chunks = chunks_by_length(lengths, 2 * args.per_device_train_batch_size)
        whole = depends_on_width(unwrapped(trainer.accelerator, trainer.model))

        def passes() -> Iterator[dict[str, Tensor]]:
            for chunk in chunks:
                which = selected[chunk].to(mask.device)
                width = mask.shape[1] if whole else max(1, max(int(lengths[row]) for row in chunk))
                ids, attended = batch["completion_ids"][which, :width], batch["completion_mask"][which, :width]
                yield {
                    "input_ids": torch.cat([batch["prompt_ids"][which], ids], dim=1),
                    "attention_mask": torch.cat([batch["prompt_mask"][which], attended], dim=1),
                    "completion_mask": mask[which, :width],
                }

        features = pooled_forward(trainer, passes())
        order = torch.tensor([row for chunk in chunks for row in chunk], device=features.device)
        return features[order.argsort()]

    def token_weights(self, batch: dict[str, Any]) -> Tensor:
        """Return (B, C): what each token of the batch's completions counts for in h; see `TokenWeights`."""
        return self._weigh(batch["completion_ids"], completion_mask(batch))

    def forward_together(self, micro_batches: Sequence[dict[str, Any]]) -> Tensor:
        """Return h of all rows of these micro-batches, one after the other, by `forward`."""
        names = [name for name in _READ if name in micro_batches[0]]
        return self.forward({name: torch.cat([batch[name] for batch in micro_batches]) for name in names})

    def _feature_module(self) -> torch.nn.Module:
        model = unwrapped(self._trainer.accelerator, self._trainer.model)
        return find_feature_module(model, self._trainer.args.feature_layer)


def pooled_forward(trainer: Any, passes: Iterable[Mapping[str, Tensor]]) -> Tensor:
    """Return h (N, d) of the rows of these passes, in their order, by no-grad forward passes of the backbone.

    Args:
        trainer: one of ours.
        passes: the inputs of each: `input_ids` and `attention_mask` (B, T), and `completion_mask` (B, C), the tokens
            that count among the last C of the T.
    """
    model = unwrapped(trainer.accelerator, trainer.model)
    module = find_feature_module(model, trainer.args.feature_layer)
    pieces: list[Tensor] = []
    with inference(trainer.model), trainer.accelerator.autocast():
        for one in passes:
            inputs = {name: one[name] for name in ("input_ids", "attention_mask")}
            reader = PooledPass(module, one["completion_mask"], trainer.args.feature_pooling)
            with reader.tap:
                if is_sharded(trainer) or _learns_prompts(model):
                    # Through the wrapper, which gathers parameters; without a label the LM head scores nothing.
                    labels = torch.full_like(inputs["input_ids"], -100)
                    trainer.model(**inputs, labels=labels, fused_lm_head=True)
                else:
                    find_backbone(model)(**inputs, use_cache=False)
            pieces.append(reader.features())
    return torch.cat(pieces)


def completion_mask(batch: dict[str, Any]) -> Tensor:
    """Return (B, C): the tokens that the model wrote and that count (no padding, no tools, no masked truncations)."""
    mask: Tensor = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask


def _learns_prompts(model: torch.nn.Module) -> bool:
    """Whether PEFT puts learned tokens in front, so that only its wrapper makes the whole input."""
    configs: Any = getattr(model, "peft_config", {}) if is_peft(model) else {}
    return any(config.is_prompt_learning for config in configs.values())
