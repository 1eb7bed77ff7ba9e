"""Logic: knights and knaves, boolean chains, ordering, small grids. Answers stand in `<answer>...</answer>`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, permutations, product
from random import Random

from mcpo_rl.data.procedural.base import Family, Instance, Strategy

NAMES = ("Ann", "Bob", "Cat", "Dan", "Eva", "Fay", "Gus", "Hal")
PETS = ("dog", "fish", "bird", "hare", "goat")


def _answer(text: str) -> str:
    return f"<answer>{text}</answer>"


# -- knights and knaves ------------------------------------------------------------------------------------------------
# A statement is (kind, j, k): 'knight' / 'knave' about person j, 'same' / 'different' about persons j and k.
_Statement = tuple[str, int, int]


def _holds(statement: _Statement, roles: Sequence[bool]) -> bool:
    kind, j, k = statement
    return {
        "knight": roles[j],
        "knave": not roles[j],
        "same": roles[j] == roles[k],
        "different": roles[j] != roles[k],
    }[kind]


def _say(statement: _Statement, names: Sequence[str]) -> str:
    kind, j, k = statement
    return f"{names[j]} is a {kind}" if kind in ("knight", "knave") else f"{names[j]} and {names[k]} are {kind}"


def _consistent(statements: Sequence[_Statement], roles: Sequence[bool]) -> bool:
    return all(_holds(s, roles) == role for s, role in zip(statements, roles, strict=True))


def draw_knights(rng: Random, level: int) -> Instance:
    """Knights tell the truth, knaves lie; each person makes one statement and exactly one assignment of roles fits."""
    count = 1 + level
    worlds = list(product([True, False], repeat=count))
    while True:
        names = rng.sample(NAMES, count)
        statements: list[_Statement] = []
        for i in range(count):
            kind = rng.choice(["knight", "knave", "same", "different"])
            j = rng.choice([p for p in range(count) if p != i])
            statements.append((kind, j, -1) if kind in ("knight", "knave") else (kind, min(i, j), max(i, j)))
        fitting = [roles for roles in worlds if _consistent(statements, roles)]
        if len(fitting) == 1:
            break
    word = {True: "knight", False: "knave"}
    said = " ".join(f"{names[i]} says {_say(s, names)}." for i, s in enumerate(statements))

    def final(roles: Sequence[bool]) -> str:
        return _answer(", ".join(f"{n}: {word[r]}" for n, r in zip(names, roles, strict=True)))

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.TERSE:
            return final(rng.choice(worlds))
        if strategy is Strategy.SLOPPY:  # what the first person says is believed
            believed = [rng.random() < 0.5 for _ in names]
            kind, j, _ = statements[0]
            believed[0] = True
            if kind in ("knight", "knave"):
                believed[j] = kind == "knight"
            return f"Believe {names[0]}.\n{final(believed)}"
        lines = []
        for roles in worlds:  # try every world: who would be telling the truth in it?
            truths = [_holds(s, roles) for s in statements]
            fits = truths == list(roles)
            shown = " ".join(word[r] for r in roles), " ".join("true" if t else "false" for t in truths)
            lines.append(f"{shown[0]}: {shown[1]}, {'yes' if fits else 'no'}")
            if fits:
                break
        return "\n".join([*lines, final(fitting[0])])

    reference = {"kind": "kk", "roles": {n: word[r] for n, r in zip(names, fitting[0], strict=True)}}
    return Instance(question=f"{said} Who is a knight, who a knave?", reference=reference, trace=trace)


# -- boolean chains ----------------------------------------------------------------------------------------------------
def draw_boolean(rng: Random, level: int) -> Instance:
    """Variables defined one by one with not, and, or, xor; the last one is asked for."""
    letters = "abcdefghij"[: 4 + level]
    values: dict[str, bool] = {}
    definitions: list[tuple[str, str, str]] = []  # letter, as written, with the values put in
    for i, letter in enumerate(letters):
        if i < 2:
            values[letter] = rng.random() < 0.5
            definitions.append((letter, str(values[letter]), ""))
            continue
        operator = rng.choice(["and", "or", "xor", "not"])
        # The variable just defined always takes part, so that no step of the chain can be left out.
        left, right = rng.sample([letters[i - 1], rng.choice(letters[: i - 1])], 2)
        if operator == "not":
            left = letters[i - 1]
            values[letter] = not values[left]
            definitions.append((letter, f"not {left}", f"not {values[left]}"))
            continue
        x, y = values[left], values[right]
        values[letter] = {"and": x and y, "or": x or y, "xor": x != y}[operator]
        definitions.append((letter, f"{left} {operator} {right}", f"{x} {operator} {y}"))
    last = letters[-1]

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.TERSE:
            return _answer(str(rng.random() < 0.5))
        if strategy is Strategy.SLOPPY:  # looks at the last definition only
            return f"{last} = {definitions[-1][1]}\n{_answer(str(rng.random() < 0.5))}"
        lines = [f"{name} = {text} = {filled} = {values[name]}" for name, text, filled in definitions if filled]
        return "\n".join([*lines, _answer(str(values[last]))])

    question = " ".join(f"{name} = {text}." for name, text, _ in definitions)
    return Instance(
        question=f"{question} What is {last}?", reference={"kind": "word", "answer": str(values[last])}, trace=trace
    )


# -- ordering ----------------------------------------------------------------------------------------------------------
def draw_order(rng: Random, level: int) -> Instance:
    """People in a row, tallest first, from comparisons of neighbours in either direction.

    At level 1 every comparison joins the ones before it; from level 2 they come in any order.
    """
    names = rng.sample(NAMES, 3 + level)
    clues = list(pairwise(names))
    shuffled = rng.sample(clues, len(clues)) if level > 1 else _connected(clues, rng)
    wording = [
        f"{tall} is taller than {short}." if rng.random() < 0.5 else f"{short} is shorter than {tall}."
        for tall, short in shuffled
    ]

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.CAREFUL:
            return "\n".join([*_merged(shuffled), _answer(", ".join(names))])
        if strategy is Strategy.TERSE:
            return _answer(", ".join(rng.sample(names, len(names))))
        mentioned = list(dict.fromkeys(name for clue in shuffled for name in clue))
        return f"In order of mention.\n{_answer(', '.join(mentioned))}"

    return Instance(
        question=f"{' '.join(wording)} Order them, tallest first.",
        reference={"kind": "order", "items": names},
        trace=trace,
    )


def _connected(clues: list[tuple[str, str]], rng: Random) -> list[tuple[str, str]]:
    """Order the comparisons of a row so that each one lengthens, above or below, what the ones before it make."""
    low = high = rng.randrange(len(clues))
    order = [clues[low]]
    while len(order) < len(clues):
        if low > 0 and (high == len(clues) - 1 or rng.random() < 0.5):
            low -= 1
            order.append(clues[low])
        else:
            high += 1
            order.append(clues[high])
    return order


def _merged(clues: Sequence[tuple[str, str]]) -> list[str]:
    """Return the row (or rows) known after each comparison, one line each: `A > B`, then `A > B > C`, ..."""
    rows: list[list[str]] = []
    lines = []
    for tall, short in clues:
        above = next((row for row in rows if row[-1] == tall), [tall])
        below = next((row for row in rows if row[0] == short), [short])
        rows = [row for row in rows if row is not above and row is not below] + [above + below]
        lines.append(", ".join(" > ".join(row) for row in rows))
    return lines


# -- grids -------------------------------------------------------------------------------------------------------------
def draw_grid(rng: Random, level: int) -> Instance:
    """Who has which pet, from statements of the form 'X has / does not have the P' with exactly one solution."""
    count = 2 + level
    names, pets = rng.sample(NAMES, count), rng.sample(PETS, count)
    worlds = list(permutations(pets))
    clues: list[tuple[int, str, bool]] = []
    candidates = [(i, p, pets[i] == p) for i in range(count) for p in pets]
    # At most one outright statement; the rest has to be concluded from what people do not have.
    positive = rng.sample([c for c in candidates if c[2]], 1)
    for clue in positive + rng.sample([c for c in candidates if not c[2]], len(candidates) - count):
        left = [w for w in worlds if (w[clue[0]] == clue[1]) == clue[2]]
        if len(left) < len(worlds):
            clues.append(clue)
            worlds = left
        if len(worlds) == 1:
            break
    rng.shuffle(clues)
    wording = " ".join(f"{names[i]} {'has' if has else 'does not have'} the {pet}." for i, pet, has in clues)

    def final(world: Sequence[str]) -> str:
        return _answer(", ".join(f"{n}: {p}" for n, p in zip(names, world, strict=True)))

    def trace(strategy: Strategy, rng: Random) -> str:
        if strategy is Strategy.TERSE:
            return final(rng.sample(pets, count))
        lines = []
        open_people, open_pets = list(range(count)), sorted(pets)
        while open_people:  # the person for whom only one pet is left comes next
            i, reason = _decided(open_people, open_pets, clues) or (open_people[0], "")
            open_people.remove(i)
            open_pets.remove(pets[i])
            left = f", left {' '.join(open_pets)}" if open_pets else ""
            lines.append(f"{names[i]}: {reason}{pets[i]}{left}")
            if strategy is Strategy.SLOPPY:  # one conclusion, the rest is guessed
                rest = rng.sample(open_pets, len(open_pets))
                world = [pets[i] if j == i else rest.pop() for j in range(count)]
                return f"{lines[0].split(',')[0]}\n{final(world)}"
        return "\n".join([*lines, final(pets)])

    rows = [list(row) for row in zip(names, pets, strict=True)]
    return Instance(
        question=f"{', '.join(names)} have {', '.join(sorted(pets))}. {wording} Who has what?",
        reference={"kind": "grid", "header": ["Name", "Pet"], "rows": rows},
        trace=trace,
    )


def _decided(
    people: Sequence[int], open_pets: Sequence[str], clues: Sequence[tuple[int, str, bool]]
) -> tuple[int, str] | None:
    """Return someone whose pet follows at once, with the reason as written ('' for an outright statement)."""
    for i in people:
        if any(j == i and has for j, _, has in clues):
            return i, ""
    for i in people:
        denied = [pet for pet in open_pets if (i, pet, False) in clues]
        if len(open_pets) - len(denied) == 1:
            return i, f"not {' '.join(denied)}, " if denied else ""
    for pet in open_pets:  # a pet that only one person can have
        able = [i for i in people if (i, pet, False) not in clues]
        if len(able) == 1:
            return able[0], ""
    return None


FAMILIES = {
    f.name: f
    for f in (
        Family(name="knights", domain="logic", draw=draw_knights),
        Family(name="boolean", domain="logic", draw=draw_boolean),
        Family(name="order", domain="logic", draw=draw_order),
        Family(name="grid", domain="logic", draw=draw_grid),
    )
}
