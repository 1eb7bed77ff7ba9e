"""The trainers: TRL's own, with the contrastive term."""

from __future__ import annotations

from trl import GRPOTrainer, RLOOTrainer

from mcpo_rl.trainers.trl.base import PAPER
from mcpo_rl.trainers.trl.config import MCPOConfig, MCPORLOOConfig
from mcpo_rl.trainers.trl.online import OnlineContrastive


class MCPOTrainer(OnlineContrastive, GRPOTrainer):  # type: ignore[misc]  # TRL publishes no types
    """Train a policy on prompts of several domains with GRPO and the contrastive term (MCPO).

    Takes `trl.GRPOTrainer`'s arguments, with an `MCPOConfig` as `args` and a data set that names each prompt's domain
    in the column `args.domain_column`. All of TRL's options work as they do there, every `loss_type` and
    `importance_sampling_level` among them; the few that cannot be combined with the contrastive term are refused here
    with the reason. With `contrastive_coef=0` it is TRL's trainer bit for bit, plus the metrics per domain.

    Where one generation batch feeds several optimizer steps (`steps_per_generation` above
    `gradient_accumulation_steps`, or `num_iterations` above 1), the gradients from the pool phase are exact at the
    first of them and grow stale after it, as the rollouts do; `refresh_contrastive_grads=True` computes them anew
    before each.

    Args:
        model: as for `GRPOTrainer`.
        reward_funcs: as for `GRPOTrainer`; for example `mcpo_rl.rewards.verifier_reward`.
        args: the configuration.
        train_dataset: columns `prompt`, `domain` and what the reward functions need.
        *rest: further arguments of `GRPOTrainer`, by position.
        **options: further arguments of `GRPOTrainer`, by name.

    Raises:
        ConfigError: an option that cannot work.
        ProblemError: data without the needed columns, prompts or domains.
        ModelError: a model or tokenizer that lacks what is needed.

    Example:
        >>> trainer = MCPOTrainer("Qwen/Qwen3-0.6B", verifier_reward, MCPOConfig("run"), dataset)  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
    """

    _tag_names = ["trl", "grpo", "mcpo"]  # noqa: RUF012  # TRL's own attribute
    _name = "MCPO"
    _paper = PAPER

    configuration = MCPOConfig
    generated_names = (
        "prompt_ids",
        "completion_ids",
        "tool_mask",
        "completions",
        "logprobs",
        "extra_fields",
        "images",
        "tool_images",
    )
    old_log_probs_name = "old_per_token_logps"
    old_log_probs_always = False


class MCPORLOOTrainer(OnlineContrastive, RLOOTrainer):  # type: ignore[misc]
    """The same with `trl.RLOOTrainer` (REINFORCE leave-one-out): the contrastive part does not depend on the objective.

    Takes `trl.RLOOTrainer`'s arguments, with an `MCPORLOOConfig` as `args`; everything else as for `MCPOTrainer`. RLOO
    computes old log-probabilities for every generation batch, so the features always come from that pass.

    Raises:
        ConfigError: an option that cannot work.
        ProblemError: data without the needed columns, prompts or domains.
        ModelError: a model or tokenizer that lacks what is needed.
    """

    _tag_names = ["trl", "rloo", "mcpo"]  # noqa: RUF012
    _name = "MCPO-RLOO"
    _paper = PAPER

    configuration = MCPORLOOConfig
    generated_names = ("prompt_ids", "completion_ids", "completions")
    old_log_probs_name = "old_logps"
    old_log_probs_always = True
