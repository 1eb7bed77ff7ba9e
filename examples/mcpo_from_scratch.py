"""MCPO in one file: GRPO on prompts of several domains, and a contrastive term that lets the domains help each other.

    python examples/mcpo_from_scratch.py --steps 20

This is the whole method in plain torch, to be read from top to bottom; docs/method.md has the derivations. The library
does the same faster (no N x N matrix, any number of GPUs, all that TRL offers), and tests hold the two to the same
losses and gradients. From `mcpo_rl` come only the things that are not the method: a model, problems, and verifiers.

Axes: P prompts, G rollouts per prompt, N = P x G the pool; T tokens of prompt and completion, C of the completion;
d width of the model, m width of the head's output, k positives per anchor.
"""

import argparse
import json
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURE = 0.1  # tau of the contrastive losses
NUM_POSITIVES = 4
MIN_TRANSFERABILITY = 0.0
GRAD_RATIO = 0.2  # how strongly the contrastive term pulls, next to the policy's own gradient
WARMUP_STEPS = 10


@dataclass
class Rollouts:
    """A generation batch: what was sampled and how it was judged."""

    ids: Tensor  # (N, T) tokens: left-padded prompt, then completion, padded on the right
    attention: Tensor  # (N, T) 1 at real tokens
    mask: Tensor  # (N, C) 1 at the completion's tokens; they are the last C of the T
    prompt: Tensor  # (N,) which prompt
    domain: Tensor  # (N,) which domain
    reward: Tensor  # (N,) NaN where the verifier failed: no verdict is not a wrong answer

    @property
    def usable(self) -> Tensor:
        """(N,) judged, and not empty."""
        return ~self.reward.isnan() & self.mask.any(1)

    @property
    def correct(self) -> Tensor:
        """(N,) the full reward."""
        return self.reward >= 1.0


# ---------------------------------------------------------------------------------------------------------------------
# 1. The policy term: GRPO. A rollout is as good as it is better than the others of its prompt.


def advantages(reward: Tensor, prompt: Tensor) -> Tensor:
    """(N,) rewards -> (N,) advantages: standardised within each prompt's group, 0 where there is no reward."""
    group = prompt[:, None] == prompt  # (N, N)
    scored = (group & ~reward.isnan()).to(reward.dtype)
    value = reward.nan_to_num(0.0)
    count = scored.sum(1).clamp(min=1)
    mean = scored @ value / count
    spread = (scored @ value.square() / count - mean.square()).clamp(min=0).sqrt()
    return torch.where(reward.isnan(), 0.0, (value - mean) / (spread + 1e-4))


def policy_loss(logp: Tensor, advantage: Tensor, mask: Tensor, total_tokens: Tensor) -> Tensor:
    """Policy-gradient loss of (B, C) log-probabilities, per token of the whole batch, so that micro-batches add up.

    The weights have not moved since sampling, so the importance ratio is 1 and only its gradient matters. (With several
    optimizer steps per batch, PPO's clipped ratio would stand here.)
    """
    ratio = (logp - logp.detach()).exp()
    return -(advantage[:, None] * ratio * mask).sum() / total_tokens


# ---------------------------------------------------------------------------------------------------------------------
# 2. The contrastive term. It sees of each rollout one vector h: the mean hidden state of its completion.


class Head(nn.Module):
    """z = normalize(W2 gelu(W1 layernorm(h))): a compact representation on the unit sphere."""

    def __init__(self, d: int, hidden: int = 256, m: int = 128) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(d, hidden), nn.Linear(hidden, m)

    def forward(self, h: Tensor) -> Tensor:
        """Map h (N, d) to z (N, m) of unit rows."""
        h = F.layer_norm(h, h.shape[-1:])
        return F.normalize(self.outer(F.gelu(self.inner(h))), dim=-1)


def pool_hidden(hidden: Tensor, mask: Tensor) -> Tensor:
    """(B, C, d) hidden states of the completion -> h (B, d), their mean."""
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def transferability(h: Tensor, domain: Tensor, usable: Tensor) -> Tensor:
    """(N, N) scores t_ij: how alike two rollouts reason.

    The mean of each domain goes first, so that what is left is how a rollout reasons and not which domain it is from.
    """
    member = ((domain[:, None] == domain) & usable).to(h.dtype)  # row i: the usable rollouts of i's domain
    centred = h - member @ h / member.sum(1, keepdim=True).clamp(min=1)
    unit = F.normalize(centred, dim=-1)
    return unit @ unit.T


def choose_positives(t: Tensor, domain: Tensor, prompt: Tensor, anchor: Tensor) -> Tensor:
    """P (N, N) bool: for each anchor the best few anchors of *other* domains, at most one of each prompt."""
    chosen = torch.zeros_like(t, dtype=torch.bool)
    allowed = anchor[:, None] & anchor & (domain[:, None] != domain) & (t >= MIN_TRANSFERABILITY)
    for _ in range(NUM_POSITIVES):
        best, j = t.masked_fill(~allowed, -torch.inf).max(1)
        chosen[torch.arange(len(t)), j] |= best > -torch.inf
        allowed &= prompt[j][:, None] != prompt  # rollouts of one prompt are near copies
    return chosen


def contrastive_losses(z: Tensor, t: Tensor, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
    """L_share and L_consolidate of the pool.

    Both ask the same of an anchor (a correct rollout): be nearer to a positive than to every incorrect rollout,
    l_ij = -log( e^{s_ij/tau} / (e^{s_ij/tau} + sum_n e^{s_in/tau}) ). They differ in who the positives are:
    transferable rollouts of other domains (share), or the correct rollouts of the own domain (consolidate).
    """
    anchor = rollouts.usable & rollouts.correct
    negative = rollouts.usable & ~rollouts.correct
    domains = rollouts.domain[rollouts.usable].unique()
    if not anchor.any() or not negative.any() or len(domains) < 2:
        return 0 * z.sum(), 0 * z.sum()  # nothing to compare: exactly 0, and so is the gradient

    s = z @ z.T / TEMPERATURE
    against = s.masked_fill(~negative, -torch.inf).logsumexp(1, keepdim=True)
    loss = -F.logsigmoid(s - against)  # (N, N): the l_ij above, written so that it cannot overflow

    def mean_over(pairs: Tensor) -> Tensor:  # first over an anchor's positives, then over the anchors that have any
        has = pairs.any(1)
        per_anchor = (loss * pairs).sum(1)[has] / pairs.sum(1)[has]
        return per_anchor.mean() if has.any() else 0 * z.sum()

    same_domain = anchor[:, None] & anchor & (rollouts.domain[:, None] == rollouts.domain)
    same_domain.fill_diagonal_(False)
    return mean_over(choose_positives(t, rollouts.domain, rollouts.prompt, anchor)), mean_over(same_domain)


# ---------------------------------------------------------------------------------------------------------------------
# 3. The two phases. The loss needs the whole pool at once, the model's backward pass sees a few rollouts at a time.
#    The chain rule parts them: dL/dtheta = sum_i (dL/dh_i) (dh_i/dtheta). The first factor needs every h but no graph
#    through the model; given it, what is left is a sum over rollouts, which can be cut anywhere.


def forward(model: nn.Module, rollouts: Rollouts, rows: slice, nudge: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Log-probabilities (B, C) of the completion's tokens and hidden states (B, C, d) at them."""
    ids, mask = rollouts.ids[rows], rollouts.mask[rows]
    c = mask.shape[1]
    hidden = model.model(input_ids=ids, attention_mask=rollouts.attention[rows]).last_hidden_state
    at_completion = hidden[:, -c:]
    if nudge is not None:  # shifts all completion states of a rollout together; only the log-probabilities see it
        hidden = torch.cat([hidden[:, :-c], at_completion + nudge[:, None] * mask[..., None]], dim=1)
    logits = model.lm_head(hidden[:, -c - 1 : -1])  # the state before a token predicts it
    logp = logits.log_softmax(-1).gather(-1, ids[:, -c:, None])[..., 0]
    return logp, at_completion


def pool_phase(model: nn.Module, head: Head, optimizer, rollouts: Rollouts, micro: int) -> tuple[list[float], Tensor]:
    """See every rollout once without gradient, update the head, and return both losses and g (N, d) = dL/dh."""
    with torch.no_grad():
        parts = [slice(start, start + micro) for start in range(0, len(rollouts.ids), micro)]
        h = torch.cat([pool_hidden(forward(model, rollouts, part)[1], rollouts.mask[part]) for part in parts])
        t = transferability(h, rollouts.domain, rollouts.usable)  # it chooses the positives and sends no gradient
    h.requires_grad_()
    losses = contrastive_losses(head(h), t, rollouts)
    optimizer.zero_grad()
    sum(losses).backward()
    if h.grad.any():  # in an empty pool not even the optimizer's momentum may move the head
        optimizer.step()
    return [loss.item() for loss in losses], h.grad


def policy_phase(model: nn.Module, rollouts: Rollouts, g: Tensor, micro: int) -> tuple[float, float]:
    """Accumulate the gradient of L_policy + w L in the model's parameters, `micro` rollouts at a time; `g` is w dL/dh.

    Returns the policy loss and ||dL_policy/dh||, which the strength of the next step goes by: the gradient with respect
    to a nudge of 0 tells how the policy loss answers when all states of a rollout move together, as when h moves.
    """
    advantage, total_tokens = advantages(rollouts.reward, rollouts.prompt), rollouts.mask.sum()
    loss_value, square = 0.0, 0.0
    for start in range(0, len(rollouts.ids), micro):
        rows = slice(start, start + micro)
        nudge = torch.zeros_like(g[rows]).requires_grad_()
        logp, hidden = forward(model, rollouts, rows, nudge)
        loss = policy_loss(logp, advantage[rows], rollouts.mask[rows], total_tokens)
        surrogate = (pool_hidden(hidden, rollouts.mask[rows]) * g[rows]).sum()  # its gradient is that of w L, exactly
        (loss + surrogate).backward()
        loss_value, square = loss_value + loss.item(), square + nudge.grad.square().sum().item()
    return loss_value, square**0.5


class Strength:
    """The factor w on L: a fixed one is fragile, so the contrastive gradient gets a fixed share of the policy's.

    w = warm-up x GRAD_RATIO x (running mean of ||dL_policy/dh||) / ||dL/dh||; 0 until there was a first measurement.
    """

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def observe(self, policy_norm: float) -> None:
        """Take in ||dL_policy/dh|| of a step."""
        if policy_norm > 0:  # all rewards equal: nothing was measured
            self.total, self.count = 0.9 * self.total + 0.1 * policy_norm, self.count + 1

    def weight(self, contrastive_norm: float, step: int) -> float:
        """Return w for a step whose ||dL/dh|| is `contrastive_norm`."""
        if self.count == 0 or contrastive_norm == 0:
            return 0.0
        mean = self.total / (1 - 0.9**self.count)
        return min(1.0, (step + 1) / WARMUP_STEPS) * GRAD_RATIO * mean / contrastive_norm


# ---------------------------------------------------------------------------------------------------------------------
# 4. Everything together: sample, judge, pool phase, policy phase, update.


@torch.no_grad()
def sample(model, ids: Tensor, attention: Tensor, max_new_tokens: int, end: int, pad: int) -> tuple[Tensor, Tensor]:
    """Sample at temperature 1 after left-padded prompts: (N, C) completions and their mask, the end token included."""
    tokens, masks, alive = [], [], torch.ones(len(ids), dtype=torch.bool)
    out = model(input_ids=ids, attention_mask=attention, use_cache=True)
    while len(tokens) < max_new_tokens and alive.any():
        drawn = torch.multinomial(out.logits[:, -1].softmax(-1), 1)[:, 0]
        tokens.append(torch.where(alive, drawn, pad))
        masks.append(alive)
        alive = alive & (drawn != end)
        attention = torch.cat([attention, masks[-1][:, None].long()], dim=1)
        cache = out.past_key_values
        out = model(input_ids=tokens[-1][:, None], attention_mask=attention, past_key_values=cache, use_cache=True)
    return torch.stack(tokens, 1), torch.stack(masks, 1)


def collect(model, tokenizer, problems: list, group: int, names: list[str], max_new_tokens: int) -> Rollouts:
    """Sample `group` completions of each problem and have them judged."""
    from mcpo_rl.rewards import verify_batch

    problems = [problem for problem in problems for _ in range(group)]
    texts = [tokenizer.apply_chat_template(p.prompt, tokenize=False, add_generation_prompt=True) for p in problems]
    encoded = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    prompt_mask = encoded["attention_mask"]
    ends = (tokenizer.eos_token_id, tokenizer.pad_token_id)
    completion, mask = sample(model, encoded["input_ids"], prompt_mask, max_new_tokens, *ends)
    answers = tokenizer.batch_decode(completion, skip_special_tokens=True)
    verdicts = verify_batch([(p.domain, a, p.reference) for p, a in zip(problems, answers, strict=True)])
    return Rollouts(
        ids=torch.cat([encoded["input_ids"], completion], dim=1),
        attention=torch.cat([prompt_mask, mask.long()], dim=1),
        mask=mask.to(next(model.parameters()).dtype),
        prompt=torch.arange(len(problems)) // group,
        domain=torch.tensor([names.index(p.domain) for p in problems]),
        reward=torch.tensor([float("nan") if v.reward is None else v.reward for v in verdicts]),
    )


def train(steps: int, prompts: int, group: int, micro: int, learning_rate: float, seed: int) -> None:
    """Train the bundled model; one JSON line per step."""
    from mcpo_rl.data.procedural import generate
    from mcpo_rl.models import load_model_and_tokenizer

    torch.manual_seed(seed)
    names = ["math", "code", "logic"]
    model, tokenizer = load_model_and_tokenizer("builtin:tiny", dtype=torch.float32, device="cpu")
    model.eval()  # no dropout: both phases have to see the same hidden states
    problems = {name: generate(domain=name, split="train", count=steps * prompts, seed=seed) for name in names}
    head, strength = Head(model.config.hidden_size), Strength()
    head_optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    for step in range(steps):
        batch = [p for name in names for p in problems[name][step * prompts : (step + 1) * prompts]]
        rollouts = collect(model, tokenizer, batch, group, names, max_new_tokens=128)
        (share, consolidate), g = pool_phase(model, head, head_optimizer, rollouts, micro)
        weight = strength.weight(g.norm().item(), step)
        optimizer.zero_grad()
        _, policy_norm = policy_phase(model, rollouts, weight * g, micro)
        strength.observe(policy_norm)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        right = {n: rollouts.correct[rollouts.domain == i].float().mean().item() for i, n in enumerate(names)}
        record = {"step": step, **right, "share": share, "consolidate": consolidate, "weight": weight}
        print(json.dumps({key: round(value, 4) for key, value in record.items()}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="MCPO in one file, on the bundled model.")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps (20)")
    parser.add_argument("--prompts", type=int, default=6, help="prompts of each domain per step (6)")
    parser.add_argument("--group", type=int, default=8, help="rollouts of each prompt (8)")
    parser.add_argument("--micro", type=int, default=48, help="rollouts per backward pass; changes no result (48)")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="of the policy (1e-4)")
    parser.add_argument("--seed", type=int, default=0, help="of problems, sampling and head (0)")
    train(**vars(parser.parse_args()))
