"""What a forward and a backward pass of a decoder keep in memory, in bytes.

The starting point is Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models" (arXiv
2205.05198), who count what each operation of a layer saves for its backward pass. Their 34 bytes x width per token are
those of a GPT layer with dropout and two linear layers. Counted here is what the decoders of transformers save: RMS
norms computed in float32, fused attention, a gated feed-forward block. A test compares the count with the tensors that
real layers save.

Axes: B rows of a micro-batch, T tokens of a row, C tokens of its completion; h, f, a, k, e, V, L as in `shapes`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcpo_rl.models.shapes import DecoderShape

FLOAT32 = 4

TOKEN_TILE, VOCABULARY_TILE = 4096, 32768
"""Tokens and words that TRL's fused LM head projects at a time (TOKEN_CHUNK_SIZE and _CHUNKED_LOGPROB_CHUNK_SIZE)."""


@dataclass(frozen=True, kw_only=True)
class PassPlan:
    """How a micro-batch goes through the model."""

    rows: int
    """B."""
    tokens: int
    """T, prompt and completion, padding counted."""
    completion: int
    """C."""
    compute_bytes: int
    """Of a number in the matrix products: 2 or 4."""
    autocast: bool
    """float32 weights with casts around each matrix product (one GPU, DDP); engines that hold 16-bit copies of the
    weights themselves (FSDP2, DeepSpeed) and plain 16-bit models cast nothing."""
    checkpointing: bool
    """Only each layer's input is kept, the rest is computed again in the backward pass."""
    trains_head: bool = True
    """The LM head gets a gradient (not with LoRA)."""
    mask: bool = True
    """A batch with padding hands an attention mask to the kernel, which keeps its own copy in each layer."""
    triton: bool = True
    """TRL folds a tile of logits in place; without Triton (on a CPU) about six float32 copies of a tile do it."""


def layer_bytes_per_token(shape: DecoderShape, plan: PassPlan) -> float:
    """Return what one decoder layer saves for its backward pass, per token.

    With c bytes in the matrix products:

    - a norm keeps its input in float32, the normalised input and the output: (4 + 2c) h; Gemma and autocast keep the
      normalised input in float32 too, and under autocast each of the five projections behind the two norms keeps a
      cast of its own: 8 h a norm and 5 c h in all;
    - attention keeps queries, keys and values for all heads (keys and values are repeated) and its output: 4 c a e, and
      4 a for the row sums; norms of queries and keys (4 + c) (a + k) e; the mask c T;
    - a gated feed-forward block keeps gate, activation, up and their product: 4 c f, that of each expert that a token
      goes through, with its own copies of input and output, which autocast keeps in float32 as well.
    """
    c, h, q = plan.compute_bytes, shape.hidden, shape.query
    normalised = FLOAT32 if shape.family.startswith("gemma") else c
    norms = (2 * 8 + 5 * c) * h if plan.autocast else 2 * (FLOAT32 + normalised + c) * h
    norms += (shape.norms_per_layer - 2) * (FLOAT32 + normalised) * h
    attention = 4 * c * q + FLOAT32 * shape.heads + (c * plan.tokens if plan.mask else 0)
    if shape.head_norms:
        attention += (FLOAT32 + normalised) * (q + shape.key_value)
    return norms + attention + _feed_forward_bytes_per_token(shape, plan)


def _feed_forward_bytes_per_token(shape: DecoderShape, plan: PassPlan) -> float:
    c, h = plan.compute_bytes, shape.hidden
    if not shape.sparse_layers:
        return 4.0 * c * shape.intermediate
    expert = c * (4 * shape.expert_intermediate + 2 * h) + (2 * FLOAT32 * h if plan.autocast else 0)
    sparse = shape.experts_per_token * expert + 4 * c * shape.shared_intermediate
    sparse += FLOAT32 * (shape.experts + (h if plan.autocast else 0))
    share = shape.sparse_layers / shape.layers
    return share * sparse + (1 - share) * 4 * c * shape.intermediate


def _residual_bytes(plan: PassPlan) -> int:
    """Under autocast the embedding is float32, and the sum of the layers with it."""
    return FLOAT32 if plan.autocast else plan.compute_bytes


def saved_bytes(shape: DecoderShape, plan: PassPlan) -> float:
    """Return what is kept between the forward and the backward pass: all layers, or with checkpointing their inputs."""
    tokens = plan.rows * plan.tokens
    layer = _residual_bytes(plan) * shape.hidden if plan.checkpointing else layer_bytes_per_token(shape, plan)
    last_norm = (FLOAT32 + _residual_bytes(plan)) * shape.hidden
    # The fused head keeps the hidden states that it scores: those of the completion.
    head = _residual_bytes(plan) * shape.hidden * plan.rows * plan.completion
    return tokens * (shape.layers * layer + last_norm) + head


def lm_head_bytes(shape: DecoderShape, plan: PassPlan) -> float:
    """Return what TRL's fused LM head needs in the backward pass beyond what was saved.

    The logits (B C x V) never exist as a whole, only tiles of them. Gradients are summed in float32: that of the hidden
    states, B C h, and, where the head is trained, that of its weight, V h, with the copy in the weight's own type.
    """
    scored = plan.rows * plan.completion
    copies = plan.compute_bytes + (0 if plan.triton else 6 * FLOAT32)
    tile = min(scored, TOKEN_TILE) * min(VOCABULARY_TILE, shape.vocab) * copies
    weight_tile = min(VOCABULARY_TILE, shape.vocab) * shape.hidden * plan.compute_bytes
    hidden = scored * shape.hidden * (FLOAT32 + plan.compute_bytes)
    weight = shape.vocab * shape.hidden * (FLOAT32 + _residual_bytes(plan)) if plan.trains_head else 0
    return tile + weight_tile + hidden + weight


def layer_backward_bytes(shape: DecoderShape, plan: PassPlan) -> float:
    """Return what the backward pass of one layer needs for the time of that layer.

    Its gradients with respect to the activations (about 3 f and 2 h per token) and to its largest matrix, and with
    checkpointing everything that the layer saves, since it is computed again.
    """
    widest = max(shape.intermediate, shape.experts_per_token * shape.expert_intermediate)
    tokens = plan.rows * plan.tokens
    passing = tokens * plan.compute_bytes * (3 * widest + 2 * shape.hidden)
    matrix = FLOAT32 * shape.hidden * max(shape.intermediate, shape.expert_intermediate)
    again = tokens * layer_bytes_per_token(shape, plan) if plan.checkpointing else 0
    return passing + matrix + again


def backward_peak_bytes(shape: DecoderShape, plan: PassPlan) -> float:
    """Return the peak of activations in a training step: what is saved, and the larger of the LM head and a layer."""
    return saved_bytes(shape, plan) + max(lm_head_bytes(shape, plan), layer_backward_bytes(shape, plan))


def forward_bytes(shape: DecoderShape, plan: PassPlan) -> float:
    """Return the peak of activations in a pass without gradients: the widest moment of one layer.

    That is the residual, the norm's output and its float32 copy, and the gate, its activation and up at once.
    """
    c, tokens = plan.compute_bytes, plan.rows * plan.tokens
    widest = max(shape.intermediate, shape.experts_per_token * shape.expert_intermediate)
    per_token = (_residual_bytes(plan) + FLOAT32 + c) * shape.hidden + 3 * c * max(widest, shape.query)
    return tokens * (per_token + (c * plan.tokens if plan.mask else 0))
