"""Multiple choice (science, common sense): the letter, or the option's own text."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mcpo_rl.domains.base import correct, incorrect
from mcpo_rl.domains.extraction import after_reasoning, explicit_answer
from mcpo_rl.domains.plain_text import tidy
from mcpo_rl.domains.written_json import short_answer, single_text
from mcpo_rl.errors import ProblemError
from mcpo_rl.types import Verdict

_LEAD = re.compile(
    r"(?:so|therefore|thus|hence|finally|definitely|clearly|in conclusion|indeed)\b[, ]{0,2}|"
    r"(?:(?:the|my) )?(?:(?:final|correct|best|right|most \w{1,12}) ){0,2}(?:answer|option|choice|letter|statement)s?"
    r"(?: (?:here|to this question|among these))?\b(?: (?:is|was|would be|must be|should be))?[ :=,]{0,3}(?:- )?|"
    r"(?:i (?:would |will )?|i'd |i'll )(?:choose|pick|select|go with|answer|say|think|believe)(?: that)?\b[ :]{0,2}|"
    r"it(?: is|'s| must be| would be)\b[ :]{0,2}|ans\b[ .:=]{0,3}|is\b(?=[ :(\[\"'])[ :]{0,2}|[:=>#] ?|- ",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"[(\[{<\"']{0,3}(?P<key>[^\W_]+)(?P<closed>[)\]}>\"']{0,3})(?P<mark>(?: ?[.,:;)/=!—|-]{1,2})?)(?P<rest>.*)",
    re.DOTALL,
)
_AGAIN = re.compile(r"[\s,;:./&+|-]*(?:\b(?:and|or|nor|also|plus|as well as)\b)?[\s,]*")
_ALTERNATIVE = re.compile(r"\W*(?:or|and/or|nor|either)\b", re.IGNORECASE)
_DENIES = re.compile(
    r"\W{0,3}(?:(?:is|are|was|would be|seems|looks|can be) (?:clearly |also |definitely )?"
    r"(?:not|never|wrong|incorrect|false|ruled out|out|eliminated)|"
    r"isn't|aren't|can't|cannot|won't|doesn't|wrong|incorrect|false)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:not|n't|neither|never|except|nothing|none|unsure|either|both|maybe|perhaps|possibly)\b|n't\b"
)
_RETRACTS = re.compile(
    r"\b(?:maybe|perhaps|possibly|wait|on second thought|not sure|unsure|alternatively|no longer|scratch that|"
    r"i(?:'m| am) guessing|just a guess|could also be|might also be|may also be|might be|actually)\b|\bno[,:] ",
    re.IGNORECASE,
)
_END = re.compile(
    r"(?:\b(?:is|be|option|answer|choice|choose|pick|select|so)|[:=→])[ :]{0,3}"
    r"[(\[\"']?([^\W_]{1,12})[)\]\"']?[^\w?]{0,3}$"
)
_LEADS = 8
_WRAPPED = re.compile(r"\\(?:text|math)[a-z]{0,6}\s?\{([^{}]*)\}[.\s]*")
_ONLY_ASKS = re.compile(r"[^\w?]*\?\W*")
_OFFERS = re.compile(r"\b(?:answer|either|both|or)\b", re.IGNORECASE)
_FIRST = re.compile(
    r"\W*+([^\n]{1,2000})\n\s*[*_#]{0,6}(?:explanation|reason|reasoning|rationale|justification)\b", re.IGNORECASE
)
_EXPLAINS = re.compile(
    r"\W*(?:because|since|as|is|for|given|due|by|that is|i\.e\.|meaning|which|where|while|whereas|not|option|and not|"
    r"rather|the correct|the right|explanation|reason|$)\b|\W*$",
    re.IGNORECASE,
)


class ChoiceDomain:
    """Verifies multiple choice. Reference: `{"answer": "B", "choices": {"A": "...", "B": "..."}}`."""

    name = "choice"
    answer_format = "Give the letter of the right option inside <answer> and </answer>."

    def check_reference(self, reference: Any) -> None:
        """Raise `ProblemError` unless `reference` names one of at least two options that can be told apart."""
        expected = 'expected {"answer": "B", "choices": {"A": "...", "B": "..."}}'
        if not isinstance(reference, dict) or not isinstance(reference.get("choices"), dict):
            raise ProblemError(f"choice: the reference has no `choices`; {expected}")
        choices = reference["choices"]
        if len(choices) < 2 or not all(isinstance(part, str) for item in choices.items() for part in item):
            raise ProblemError(f"choice: `choices` must map at least two letters to texts; {expected}")
        answer = reference.get("answer")
        if not isinstance(answer, str) or answer not in choices:
            raise ProblemError(f"choice: `answer` is {answer!r}, none of {sorted(choices)}; {expected}")
        odd = [key for key in choices if not re.fullmatch(r"[^\W_]{1,12}", _key(key))]
        if odd:
            raise ProblemError(f"choice: {odd[0]!r} is no letter, number or word; rename this key of `choices`")
        if len({_key(key) for key in choices}) < len(choices):
            raise ProblemError("choice: two keys of `choices` differ only in case or brackets; rename one of them")
        texts: dict[str, str] = {}
        for key, text in choices.items():
            if not text.strip():
                raise ProblemError(f"choice: option {key} has no text; give it one or leave it out")
            other = texts.setdefault(_exact(text), key)
            if other != key:
                raise ProblemError(f"choice: options {other} and {key} have the same text; leave one of them out")

    def verify(self, completion: str, reference: Any) -> Verdict:
        """Judge one completion against the right option."""
        answer = short_answer(completion)
        if answer is None:
            return incorrect("", "no answer")
        chosen = _chosen(answer, reference["choices"]) or _first(completion, reference["choices"])
        if chosen is None:
            return incorrect(answer, "it names no option, or more than one")
        if chosen == reference["answer"]:
            return correct(answer)
        return incorrect(answer, f"option {chosen}, not {reference['answer']}")

    def same_answer(self, first: str, second: str, reference: Any) -> bool:
        """Tell whether two answers name the same option; two that name none are the same as text only."""
        named, other = (_chosen(answer, reference["choices"]) for answer in (first, second))
        return named == other if named or other else " ".join(first.split()) == " ".join(second.split())


def _first(completion: str, choices: dict[str, str]) -> str | None:
    """Return the option on the first line where an explanation of it is all that follows: no form, no other option."""
    text = (after_reasoning(completion) or "").strip()
    first = _FIRST.match(text)
    if first is None or explicit_answer(text) is not None:
        return None
    options = _Options(choices)
    named = options.whole(first[1]) or options.label(tidy(first[1]).strip())
    key = named.key if named else None
    rest = text[first.end(1) :]
    others = (options.label(tidy(line).strip()) for line in rest.splitlines())
    if key is None or _RETRACTS.search(rest) or _OFFERS.search(rest) or any(others):
        return None
    return key if options.at_the_end(tidy(rest).strip()) in (None, key) else None


def _chosen(answer: str, choices: dict[str, str]) -> str | None:
    """Return the key of the one option that `answer` names, or None."""
    options = _Options(choices)
    text = single_text(answer)
    if not text.strip():
        return None
    for _ in range(_LEADS):
        found = options.whole(text) or options.label(tidy(text).strip()) or options.text(tidy(text).strip())
        if found is not None:
            return found.key
        lead = _LEAD.match(text)
        wrapped = _WRAPPED.fullmatch(text)
        if wrapped is None and (lead is None or not lead.end()):
            break
        text = wrapped[1] if wrapped else text[lead.end() if lead else 0 :].lstrip()
    return options.at_the_end(tidy(text).strip())


@dataclass(frozen=True)
class _Named:
    key: str | None  # None where it names several, or denies what it names


class _Options:
    """The options of one problem, to be found at the beginning of an answer."""

    def __init__(self, choices: dict[str, str]) -> None:
        self._keys = {_key(key): key for key in choices}
        self._forms = {key: _forms(text) for key, text in choices.items()}
        self._texts = {key: forms[-1] for key, forms in self._forms.items()}

    def whole(self, text: str) -> _Named | None:
        """Read a bare label, or an option's text and nothing else."""
        key = self._keys.get(_key(text))
        if key is not None:
            return _Named(key)  # a letter is the letter also where it is the text of another option
        for place, form in enumerate(_forms(text)):
            named = [key for key, forms in self._forms.items() if forms[place] == form]
            if named:
                asked = text.rstrip(" \n.*\"')").endswith("?") and not self._asks(named[0])
                return _Named(named[0] if len(named) == 1 and not asked else None)
        return None

    def label(self, text: str) -> _Named | None:
        """Read a label and what follows it: "B", "(B) Paris", "B, since A is wrong"."""
        match = _LABEL.fullmatch(text)
        key = self._keys.get(match["key"].casefold()) if match else None
        if match is None or key is None:
            return None
        mark, rest = match["closed"] + match["mark"].strip(), match["rest"]
        if not mark and ((rest and not rest[0].isspace()) or self._is_text(text)):
            return None  # "C#", "A's"; "A cell wall"
        if match["key"].isdigit() and mark[-1:] and mark[-1] in ".,/-:" and rest[:1].isdigit():
            return None  # a number: 1.5, 1/2
        following = (text[match.end("closed") :].lstrip(" \n.,:;)!|"), rest)  # the first keeps the sign of "B: -5"
        begins = [found for found in map(self._begins, following) if found]
        if key in begins:
            told = following[0] if self._begins(following[0]) == key else rest
            return self._named(key, self._after(told, key))
        if begins:
            return _Named(None)  # the letter of one option, the text of another
        if _DENIES.match(match["mark"] + rest) or (not mark and self.at_the_end(rest) not in (None, key)):
            return None  # "A is wrong, so B"; "A is tempting, but the answer is B"
        explains = bool(mark) or _EXPLAINS.match(rest) or rest.lstrip()[:1] in ("(", "") or "\n" in rest[:2]
        if not explains and not self._another(key, rest):
            return None  # "A cat ...", "B vitamins ...": a word, not a label
        return self._named(key, match["mark"] + rest)

    def text(self, text: str) -> _Named | None:
        """Read an option's own text and what follows it: "Paris, because ...", "Paris (B)"."""
        key = self._begins(text)
        if key is None:
            return None
        rest = self._after(text, key)
        if _DENIES.match(rest):
            return None
        label = _LABEL.fullmatch(
            re.sub(r"^[ .,:;—=-]*(?=[(\[])(.)(?:option |choice |answer )?", r"\1", rest, flags=re.IGNORECASE)
        )
        other = self._keys.get(label["key"].casefold()) if label and rest.strip(" .,:;—=-")[:1] in ("(", "[") else None
        if other not in (None, key) or self._begins(rest.lstrip(" \n,;/&+|-")) not in (None, key):
            return _Named(None)
        if re.match(r"\s+(?:and|or|with|of|in|on)\b|\w", rest):
            return _Named(None)
        return self._named(key, rest)

    def at_the_end(self, text: str) -> str | None:
        """Read "Paris is the capital of France, so the answer is (B)"."""
        match = _END.search(text[-80:])
        key = self._keys.get(match[1].casefold()) if match else None
        if match is None or key is None:
            return None
        before = text[: len(text) - len(match[0])]
        marked = {self._keys.get(found.casefold()) for found in re.findall(r"[(\[]([^\W_]{1,12})[)\]]", before)}
        denied = _NEGATED.search(before[-60:].casefold()) and not match[0].startswith("so")  # "not A, so B"
        if denied or _RETRACTS.search(before) or marked - {None, key}:
            return None
        return key

    def _named(self, key: str, rest: str) -> _Named:
        """Name an option unless what follows it offers another or takes it back."""
        if _ALTERNATIVE.match(rest) or self._another(key, rest) or _RETRACTS.search(rest):
            return _Named(None)
        if _ONLY_ASKS.fullmatch(rest) and not self._asks(key):
            return _Named(None)  # "B?"
        return _Named(key if self.at_the_end(rest) in (None, key) else None)

    def _asks(self, key: str) -> bool:
        return "?" in self._forms[key][0]

    def _is_text(self, text: str) -> bool:
        """Whether `text` begins with an option's text as it is written, article and all."""
        bare = _clean(text).casefold() + " "
        return any(len(forms[2]) > 1 and bare.startswith(forms[2] + " ") for forms in self._forms.values())

    def _begins(self, text: str) -> str | None:
        """Return the option with the longest text that `text` begins with."""
        plain = _loose(text[: 2 * max(map(len, self._texts.values())) + 40]) + " "
        found = [key for key, option in self._texts.items() if option and plain.startswith(option + " ")]
        longest = max((len(self._texts[key]) for key in found), default=0)
        found = [key for key in found if len(self._texts[key]) == longest]
        if len(found) > 1:  # they differ in case or an article
            found = [key for key in found if _clean(text).startswith(self._forms[key][1])]
        return found[0] if len(found) == 1 else None

    def _after(self, text: str, key: str) -> str:
        """Return what follows the option's text, which `text` begins with."""
        wanted = len(self._texts[key].replace(" ", ""))
        end = bisect_left(range(len(text)), wanted, key=lambda at: len(_loose(text[:at]).replace(" ", "")))
        return text[end:]

    def _another(self, key: str, rest: str) -> bool:
        """Whether `rest` goes on with a further label ("or C", ", C", "and (C)")."""
        joint = _AGAIN.match(rest)
        label = _LABEL.fullmatch(rest[joint.end() :]) if joint else None
        if joint is None or label is None or self._keys.get(label["key"].casefold()) in (None, key):
            return False
        if not label["rest"].strip() or re.match(r"\s*(?:[,/&]|(?:and|or)\b)", label["rest"]):
            return True
        if re.search(r"[.:]", joint[0]):
            return False  # a new sentence: "B. A is wrong"
        labelled = bool(label["closed"] or label["mark"].strip())
        return labelled or ("and" in joint[0] and not _DENIES.match(label["rest"]))


def _key(text: str) -> str:
    r"""Return a label without what may stand around it: "(B)", "[b].", "\text{B}"."""
    return re.sub(r"[{}]", "", tidy(text)).strip(" \n()[]<>.:,;!\"'*").casefold()


def _exact(text: str) -> str:
    return " ".join(text.split())


@lru_cache(maxsize=4096)
def _clean(text: str) -> str:
    """Return an option's text without LaTeX's wrappers and outer punctuation."""
    return " ".join(re.sub(r"(?<!\\)[{}]", "", tidy(text)).split()).strip(" .,;:!?\"'")


def _forms(text: str) -> tuple[str, str, str, str]:
    """Return an option's text as written, tidy, in lower case, and without articles and meaningless punctuation."""
    return _exact(text), _clean(text), _clean(text).casefold(), _loose(text)


@lru_cache(maxsize=4096)
def _loose(text: str) -> str:
    text = re.sub(r"\^ ?\\circ|\\circ|\\degree", "°", _clean(text).casefold())
    bare = re.sub(r"(?<!\w)(?:an?|the) (?=[^\W_])", "", text)
    bare = re.sub(r"(?<=\d)(?=[^\W\d_])", " ", bare)  # 5kg
    return " ".join(re.sub(r"[^\w\s+/%°<>=^\\.-]|(?<!\d)\.|\.(?!\d)", " ", bare).split())
