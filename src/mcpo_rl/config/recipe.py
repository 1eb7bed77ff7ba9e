"""What a run is: the recipe's own keys, and how a file and overrides become a `Recipe`."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from mcpo_rl.config.fields import check_fields, describe
from mcpo_rl.config.overrides import assign, parse_overrides, parse_yaml
from mcpo_rl.errors import ConfigError, nearest

RECIPES = Path(__file__).parents[1] / "recipes"
"""Where the recipes that come with the package lie."""

_ENTRY_EXAMPLES = (
    "`{source: procedural, domain: math, count: 500}`, `{path: rows.jsonl, domain: math}` or `{path: data/mixed}` (a "
    "directory that `mcpo-rl data build` wrote)"
)

_Options = typing.TypeVar("_Options")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How `eval_problems` are put to the model."""

    samples: int = 1
    """Completions drawn per problem."""
    temperature: float = 1.0
    """Sampling temperature; 0 is greedy."""
    max_new_tokens: int | None = None
    """Longest completion in tokens; None takes the trainer's `max_completion_length`."""
    batch_size: int = 64
    """Completions generated at a time."""
    before: bool = False
    """Evaluate the untrained model as well, so that the report can show what training changed."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, lowest in (("samples", 1), ("batch_size", 1), ("max_new_tokens", 1), ("temperature", 0)):
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ConfigError(f"`evaluation.{name}` is {value}; it must be at least {lowest}.")


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """The probe: fixed rollouts whose hidden states are recorded at the start and at each checkpoint."""

    completions: str | None = None
    """An evaluation whose completions are chosen from: its eval.json or `.completions.parquet`, as `mcpo-rl eval
    --output` leaves them. None: the model that training starts from draws them, on one process."""
    problems: list[dict[str, Any]] | None = None
    """Sources to draw them on, in the form of the recipe's `problems`. None: `eval_problems`, and with
    `evaluation.before` the completions of that evaluation."""
    per_domain: int = 64
    """The most rollouts of a domain, half of them correct where there are enough."""
    samples: int = 4
    """Completions drawn per problem."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, lowest in (("per_domain", 2), ("samples", 1)):
            if getattr(self, name) < lowest:
                raise ConfigError(f"`probe.{name}` is {getattr(self, name)}; it must be at least {lowest}.")
        if self.completions is not None and self.problems is not None:
            raise ConfigError("`probe` has both `completions` and `problems`; the first has its problems already.")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one run is: model, method, problems and, under `training`, the trainer's settings."""

    model: str
    """A hub id, a local directory, `builtin:tiny` or `builtin:smollm2-135m`."""
    problems: list[dict[str, Any]]
    """Training sources: one mapping each, with exactly one of `source`, `path` (a file, or a directory that
    `mcpo-rl data build` wrote), `hub`; the rest is the source's. How they are mixed is said by `mixture`, one of the
    trainer's settings."""
    output_dir: str
    """The run directory. Checkpoints go to `<output_dir>/checkpoints`."""
    domains: list[str] | None = None
    """Train on the problems of these domains only, a specialist for instance; None: on all. The held-out problems stay
    those of every domain."""
    method: Literal["mcpo", "grpo", "pcgrad"] = "mcpo"
    """`grpo` is the same run with the contrastive term off (`contrastive_coef: 0`); `pcgrad` is that with conflicting
    gradients of the domains projected."""
    eval_problems: list[dict[str, Any]] = field(default_factory=list)
    """Held-out sources in the form of `problems`; empty: no evaluation."""
    evaluation: EvaluationOptions = field(default_factory=EvaluationOptions)
    """How the held-out problems are sampled."""
    probe: ProbeOptions | None = None
    """What the geometry of the representations is measured on over training; `{}` takes the defaults, None: nothing."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """The weights' type as loaded. For mixed precision keep float32 and set the trainer's `bf16: true`."""
    peft: dict[str, Any] | None = None
    """Keyword arguments of `peft.LoraConfig`; None trains all weights."""
    sandbox: dict[str, Any] | None = None
    """Fields of `mcpo_rl.sandbox.SandboxConfig`: how strong the sandbox for programs must be, or where a service runs
    them, e.g. `{min_level: 2}` or `{remote: "http://host:8080"}`."""
    seed: int = 42
    """Seed of the trainer, of sampling and of the evaluation."""
    training: dict[str, Any] = field(default_factory=dict)
    """Fields of `MCPOConfig`. In a file they stand at the top level."""

    def __post_init__(self) -> None:
        """Check what can be known without an engine."""
        if not self.problems:
            raise ConfigError(f"`problems` is empty: list at least one source, e.g. {_ENTRY_EXAMPLES}.")
        probed = self.probe.problems if self.probe is not None else None
        listed = {"problems": self.problems, "eval_problems": self.eval_problems, "probe.problems": probed or []}
        for name, entries in listed.items():
            for position, entry in enumerate(entries):
                kinds = sorted({"source", "path", "hub"} & entry.keys())
                if len(kinds) != 1:
                    raise ConfigError(
                        f"`{name}.{position}` has {' and '.join(kinds) or 'none'} of the keys `source`, `path`, `hub`; "
                        f"it needs exactly one, e.g. {_ENTRY_EXAMPLES}."
                    )
        if self.probe is not None and not (self.probe.completions or self.probe.problems or self.eval_problems):
            raise ConfigError("`probe` needs problems: give `eval_problems`, `probe.problems` or `probe.completions`.")

    def to_mapping(self) -> dict[str, Any]:
        """Return the recipe as it stands in a file: flat, plain data, read again by `recipe_from_mapping`."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "training"}
        # Left out where there is none: runs from before there were probes can be resumed.
        probe = own.pop("probe")
        own |= {"probe": asdict(probe)} if probe is not None else {}
        return own | {"evaluation": asdict(self.evaluation)} | self.training


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}


def recipe_file(path: str | Path) -> Path:
    """Return the file of a recipe: the path itself, or the shipped recipe of that name.

    Raises:
        ConfigError: There is neither.
    """
    if Path(path).is_file():
        return Path(path)
    shipped = shipped_recipes()
    if str(path) not in shipped:
        raise ConfigError(
            f"recipe not found: {path}.{nearest(str(path), shipped)} "
            f"Give a YAML file or the name of a shipped recipe ({', '.join(shipped)})."
        )
    return shipped[str(path)]


def load_recipe(path: str | Path, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        path: A YAML file, or the name of a shipped recipe (`demo`).
        overrides: Words of a command line (`["--max_steps", "20", "--peft.r=8"]`), values read as YAML; or a mapping
            from dotted keys to values.

    Raises:
        ConfigError: The file is missing or holds no mapping, an override cannot be read, a value has another type.

    Example:
        >>> load_recipe("demo", ["--max_steps", "3"]).training["max_steps"]
        3
    """
    file = recipe_file(path)
    content = parse_yaml(file.read_text(encoding="utf-8"), where=str(file))
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: a recipe is a mapping of keys to values; this file holds {describe(content)}.")
    changes = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    for key, value in changes.items():
        assign(content, key, value)
    return recipe_from_mapping(content, where=str(file))


def recipe_from_mapping(content: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Build a `Recipe` from a flat mapping; keys that are not its own go to `Recipe.training`.

    Raises:
        ConfigError: A required key is missing or a value has another type; the message begins with `where`.
    """
    hints = {name: hint for name, hint in typing.get_type_hints(Recipe).items() if name != "training"}
    own = {key: value for key, value in content.items() if key in hints}
    training = {str(key): value for key, value in content.items() if key not in hints}
    try:
        if "training" in training:
            raise ConfigError("unknown key `training`: the trainer's fields stand at the top level of a recipe.")
        for required in ("model", "problems", "output_dir"):
            if own.get(required) is None:
                raise ConfigError(f"`{required}` is missing: a recipe needs `model`, `problems` and `output_dir`.")
        own["evaluation"] = _options(EvaluationOptions, "evaluation", own.get("evaluation", {}), "{samples: 4}")
        if own.get("probe") is not None:
            own["probe"] = _options(ProbeOptions, "probe", own["probe"], "{per_domain: 64}")
        check_fields(own, hints)
        return Recipe(**own, training=training)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _options(kind: type[_Options], name: str, content: Any, example: str) -> _Options:
    """Return the part `name` of a recipe as its class.

    Raises:
        ConfigError: It is no mapping, or one of its keys or values cannot be.
    """
    if not isinstance(content, dict):
        raise ConfigError(f"`{name}` is {describe(content)}; expected a mapping, e.g. `{example}`.")
    check_fields(content, typing.get_type_hints(kind), prefix=f"{name}.")
    return kind(**content)
