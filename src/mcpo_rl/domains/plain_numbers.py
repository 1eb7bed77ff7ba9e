r"""Plain numbers, read exactly: what most answers are, and what needs no computer algebra.

`12`, `-3`, `1,234`, `7/12`, a `\frac{7}{12}`, `1 1/2`, `0.25`, `6.02e23`, `6.02 \times 10^{23}`, `$5`, `50%`, `12
apples`, `x = 12`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_POWER = (
    r"(?:\s*(?:\\times|\\cdot|\*|x|×)\s*10\s*(?:\^|\*\*)\s*\{?\s*(?P<power>[+-]?\d{1,3})\s*\}?"
    r"|[eE](?P<exponent>[+-]?\d{1,3}))?"
)
_NUMBER = re.compile(
    rf"""(?:(?P<variable>[A-Za-z]\w{{0,15}})\s*=\s*)?
    (?P<currency>\\?\$|€|£)?\s*
    (?P<sign>[+-])?\s*
    (?P<currency2>\\?\$|€|£)?\s*
    (?: \\[dt]?frac\s*\{{\s*(?P<tex_top>-?\s*\d+)\s*\}}\s*\{{\s*(?P<tex_bottom>-?\s*\d+)\s*\}}
      | (?:(?P<whole>\d+)[ ]+)?(?P<top>\d+)\s*/\s*(?P<bottom>\d+)
      | (?P<decimal>{_DECIMAL}){_POWER} )
    \s*(?P<percent>\\?%|percent\b)?
    (?P<degree>\s*(?:°|\^\s*\{{?\s*\\circ\s*\}}?))?
    (?:\s*(?:\\text|\\mathrm|\\mbox)\s*\{{(?P<tex_unit>[A-Za-z .]*)\}}|\s*(?P<unit>[A-Za-z]{{2,}}(?:[
    ][A-Za-z]+){{0,3}}))?\s*\.?""",
    re.VERBOSE,
)
_NO_UNITS = {
    *("or", "and", "not", "to", "if", "when", "is", "over", "plus", "minus", "times", "divided", "by", "mod"),
    *("pi", "sqrt", "sin", "cos", "tan", "log", "ln", "exp", "infinity", "squared", "cubed"),
    *("half", "quarter", "third", "dozen", "hundred", "thousand", "million", "billion", "trillion"),
}
_MAX_CHARACTERS = 400
_TOLERANCE = Fraction(2, 10**6)


@dataclass(frozen=True)
class Number:
    """A plain number as it was written."""

    value: Fraction
    """Without the percent sign: 50 for `50%`."""
    decimal: bool
    """Written with a decimal point or an exponent, so possibly rounded."""
    percent: bool
    unit: str
    """Lower case; '' where none was written."""
    variable: str
    """The `x` of `x = 12`; '' where none was written."""


def read_number(text: str) -> Number | None:
    """Return the number that `text` is as a whole, or None: an expression, a list, a sentence, or too long."""
    text = text.strip().replace("−", "-").replace("\\!", "").replace("{,}", ",").replace("\\,", " ").replace("\\ ", " ")
    if not text or len(text) > _MAX_CHARACTERS:
        return None
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    unit = (match["tex_unit"] or match["unit"] or "").strip(" .").lower()
    if _NO_UNITS & set(unit.split()):
        return None
    top, bottom = match["tex_top"] or match["top"], match["tex_bottom"] or match["bottom"]
    if top is not None:
        denominator = int(bottom.replace(" ", ""))
        if denominator == 0:
            return None
        value = Fraction(int(top.replace(" ", "")), denominator) + int(match["whole"] or 0)
    else:
        value = Fraction(match["decimal"].replace(",", "")) * Fraction(10) ** int(
            match["power"] or match["exponent"] or 0
        )
    return Number(
        value=-value if match["sign"] == "-" else value,
        decimal="." in (match["decimal"] or "") or match["exponent"] is not None or match["power"] is not None,
        percent=match["percent"] is not None,
        unit=unit,
        variable=match["variable"] or "",
    )


def same_number(gold: Number, answer: Number) -> bool:
    """Whether the answer is the reference's number.

    Integers and fractions are exact. Where either was written as a decimal and the reference is not an integer, the two
    may differ by 2e-6 of the reference, which is what six digits leave open. A percent sign on one side only may stand
    for nothing or for a
    hundredth: `50%` answers both `50` and `0.5`. Units and variables are ignored unless both name one, and those
        differ.
    """
    if gold.unit and answer.unit and _singular(gold.unit) != _singular(answer.unit):
        return False
    if gold.variable and answer.variable and gold.variable != answer.variable:
        return False
    if _close(gold, gold.value, answer, answer.value):
        return True
    hundredth = Fraction(1, 100)
    if gold.percent and not answer.percent:
        return _close(gold, gold.value * hundredth, answer, answer.value)
    return answer.percent and not gold.percent and _close(gold, gold.value, answer, answer.value * hundredth)


def _close(gold: Number, gold_value: Fraction, answer: Number, answer_value: Fraction) -> bool:
    if gold_value == answer_value:
        return True
    rounded = (gold.decimal or answer.decimal) and gold_value.denominator != 1
    return rounded and abs(gold_value - answer_value) <= _TOLERANCE * abs(gold_value)


def _singular(unit: str) -> str:
    return unit[:-1] if unit.endswith("s") and len(unit) > 2 else unit
