"""The table of domains, and domains of third parties."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from mcpo_rl import domains
from mcpo_rl.domains import DOMAINS, Domain, get_domain
from mcpo_rl.errors import UnknownDomainError
from mcpo_rl.types import Verdict

EXAMPLES: dict[str, tuple[Any, str]] = {
    "math": ("7/12", "Adding the two:\n#### 7/12"),
    "code": ({"asserts": ["assert f(1) == 2"]}, "```python\ndef f(x):\n    return x + 1\n```"),
    "logic": ({"kind": "word", "answer": "True"}, "<answer>True</answer>"),
    "choice": ({"answer": "B", "choices": {"A": "x", "B": "y"}}, "<answer>B</answer>"),
}


def test_every_domain_reads_the_form_that_it_asks_for() -> None:
    assert set(DOMAINS) == set(EXAMPLES)
    for name, (reference, completion) in EXAMPLES.items():
        domain = get_domain(name)
        assert domain.name == name
        assert domain.answer_format.strip()
        domain.check_reference(reference)
        assert domain.verify(completion, reference).status == "correct"
        assert domain.verify("", reference).status == "incorrect"


def test_unknown_domains_name_the_nearest() -> None:
    with pytest.raises(
        UnknownDomainError, match=r"'maths'; known are choice, code, logic, math\. Did you mean `math`\?"
    ):
        get_domain("maths")
    with pytest.raises(KeyError):
        get_domain("chemistry")


class Chemistry:
    """What a third party would publish."""

    name = "chemistry"
    answer_format = "Give the formula."

    def check_reference(self, reference: Any) -> None: ...

    def verify(self, completion: str, reference: Any) -> Verdict:
        raise NotImplementedError


def test_third_parties_are_loaded_when_first_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint(name="chemistry", value=f"{__name__}:Chemistry", group="mcpo_rl.domains")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Chemistry)
    monkeypatch.setattr(domains, "entry_points", lambda group: EntryPoints([point]) if group == point.group else ())
    monkeypatch.setattr(domains, "DOMAINS", dict(DOMAINS))
    found: Domain = get_domain("chemistry")
    assert isinstance(found, Chemistry)
    assert get_domain("chemistry") is found


def test_importing_the_domains_loads_nothing_heavy() -> None:
    program = (
        "import sys, mcpo_rl.rewards\n"
        "print(sorted({'torch', 'transformers', 'trl', 'datasets', 'sympy', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
