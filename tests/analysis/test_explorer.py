"""The explorer's data: why a rollout had its pairs, against loops; what is left out where there is too much."""

import base64
import gzip
import json
from typing import Any

import numpy as np
import pytest

from mcpo_rl.analysis.explorer import rollouts as explorer
from mcpo_rl.analysis.explorer.links import MOST_NEGATIVES, StepPairs, pairs_of
from mcpo_rl.analysis.explorer.packing import packed
from mcpo_rl.analysis.explorer.rollouts import chosen_rows, explorer_runs, verdict_of
from mcpo_rl.analysis.explorer.texts import TextTable, prompt_text, shortened
from mcpo_rl.analysis.reading.loading import RunData
from mcpo_rl.runs import RolloutBatch

DOMAINS = ["math", "code", "logic"]
TERM = {"temperature": 0.2, "negatives": "all", "consolidate_weight": 1.0}


def pool(count: int = 40, *, seed: int = 0, step: int = 5, **changes: Any) -> RolloutBatch:
    """Rollouts of three domains with embeddings of length 1; every anchor has the first two others as positives."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(count, 6))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    domains = [DOMAINS[row % 3] for row in range(count)]
    correct = (generator.random(count) < 0.5).tolist()
    usable = (generator.random(count) < 0.9).tolist()
    good = [row for row in range(count) if correct[row] and usable[row]]
    positives = [[o for o in good if domains[o] != domains[r]][:2] if r in good else [] for r in range(count)]
    columns: dict[str, Any] = {
        "step": step,
        "prompts": [f"question {row // 4}" for row in range(count)],
        "completions": [f"answer {row}" for row in range(count)],
        "domains": domains,
        "prompt_ids": [2**62 + row // 4 for row in range(count)],
        "rewards": [float(flag) for flag in correct],
        "correct": correct,
        "usable": usable,
        "features": generator.normal(size=(count, 8)).astype(np.float32),
        "embeddings": z.astype(np.float32),
        "positives": positives,
        "positive_scores": [[0.9 - 0.1 * place for place in range(len(rows))] for rows in positives],
        "term": TERM,
    }
    return RolloutBatch(**{**columns, **changes})


def a_run(*batches: RolloutBatch, name: str = "run", **facts: Any) -> RunData:
    return RunData(name=name, path=None, method="mcpo", rollouts=list(batches), **facts)  # type: ignore[arg-type]


def unpacked(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(text)))
    return found


class TestPairs:
    @pytest.mark.parametrize("scope", ["all", "domain", "prompt"])
    def test_negatives_against_loops(self, scope: str) -> None:
        batch = pool(negatives := 60)
        assert batch.embeddings is not None and negatives == len(batch)
        found = pairs_of(batch, {**TERM, "negatives": scope})
        z = batch.embeddings.astype(np.float64)
        label = {
            "all": lambda row: 0,
            "domain": lambda row: batch.domains[row],
            "prompt": lambda r: batch.prompt_ids[r],
        }
        anchors = [row for row in range(len(batch)) if batch.usable[row] and batch.correct[row]]
        assert sorted(found.anchors) == anchors
        for row in anchors:
            against = [
                o
                for o in range(len(batch))
                if batch.usable[o] and not batch.correct[o] and label[scope](o) == label[scope](row)
            ]
            weights = {o: np.exp(z[row] @ z[o] / 0.2) for o in against}
            hardest = sorted(against, key=lambda o: -weights[o])[:MOST_NEGATIVES]
            met = found.anchors[row]
            assert met.negative_count == len(against)
            assert [pair.row for pair in met.negatives] == hardest
            shares = [weights[o] / sum(weights.values()) for o in hardest]
            assert [pair.share for pair in met.negatives] == pytest.approx(shares)
            own = [o for o in anchors if o != row and batch.domains[o] == batch.domains[row]]
            assert met.own_domain_count == len(own)
            assert met.own_domain_similarity == pytest.approx(np.mean([z[row] @ z[o] for o in own]))
            assert [pair.row for pair in met.own_domain] == sorted(own, key=lambda o: -(z[row] @ z[o]))[:3]

    def test_positives_have_their_kept_scores(self) -> None:
        batch = pool()
        met = pairs_of(batch, TERM).anchors
        row = next(row for row in met if batch.positives[row])
        assert [(pair.row, pair.transferability) for pair in met[row].positives] == list(
            zip(batch.positives[row], batch.positive_scores[row], strict=True)
        )
        z = batch.embeddings
        assert z is not None
        assert met[row].positives[0].similarity == pytest.approx(float(z[row] @ z[batch.positives[row][0]]), abs=1e-6)

    def test_blocks_do_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = pairs_of(pool(50), TERM)
        monkeypatch.setattr("mcpo_rl.analysis.explorer.links._BLOCK", 3)
        assert pairs_of(pool(50), TERM) == whole

    def test_what_was_not_kept_is_unknown(self) -> None:
        old = pool(positive_scores=[], embeddings=None, term={})
        met = pairs_of(old, {})
        some = next(found for found in met.anchors.values() if found.positives)
        assert some.positives[0].transferability is None and some.positives[0].similarity is None
        assert some.negatives == [] and some.negative_count > 0
        without_tau = next(iter(pairs_of(pool(), {"negatives": "all"}).anchors.values()))
        assert without_tau.negatives[0].share is None and without_tau.negatives[0].similarity is not None

    def test_no_part_in_the_term(self) -> None:
        assert pairs_of(pool(correct=[False] * 40, positives=[], positive_scores=[]), TERM).anchors == {}
        assert pairs_of(pool(correct=[True] * 40), TERM).anchors == {}
        assert pairs_of(pool(domains=["math"] * 40), TERM).anchors == {}
        assert pairs_of(pool(positives=[], positive_scores=[], embeddings=None), {}).anchors == {}


class TestChoice:
    def test_all_where_they_fit(self) -> None:
        batch = pool(10)
        assert chosen_rows(batch, pairs_of(batch, TERM), 10) == list(range(10))

    def test_anchors_come_with_what_they_met(self) -> None:
        batch = pool(300)
        pairs = pairs_of(batch, TERM)
        rows = chosen_rows(batch, pairs, 60)
        assert len(rows) == 60 and rows == sorted(set(rows))
        kept = [row for row in rows if row in pairs.anchors]
        whole = [row for row in kept if {pair.row for pair in pairs.anchors[row].positives} <= set(rows)]
        assert len(whole) >= 0.9 * len(kept) > 0

    def test_even_without_pairs(self) -> None:
        none = StepPairs({}, correct=None, incorrect=None)  # type: ignore[arg-type]
        rows = np.array(chosen_rows(pool(1000), none, 100))
        assert len(rows) == 100 and np.diff(rows).max() <= 25 and rows.min() < 25 and rows.max() > 975

    def test_the_budget_is_shared_by_the_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(explorer, "MOST_ROLLOUTS", 100)
        runs = [a_run(pool(60, step=1), pool(60, step=2), pool(4, step=3), name=name) for name in "ab"]
        found = explorer_runs(runs, DOMAINS)
        assert [run.kept for run in found] == [124, 124]
        for run in found:
            data = unpacked(run.data)
            assert run.shown == len(data["domain"]) == sum(step["count"] for step in data["steps"]) <= 50
            assert [step["of"] for step in data["steps"]] == [60, 60, 4] and data["steps"][2]["count"] == 4

    def test_texts_give_way_to_the_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        generator = np.random.default_rng(0)
        noise = ["".join(map(chr, generator.integers(97, 123, 20_000))) for _ in range(40)]
        run = a_run(pool(completions=noise))
        (wide,) = explorer_runs([run], DOMAINS)
        assert wide.characters == 12_000
        monkeypatch.setattr(explorer, "MOST_BYTES", 100_000)
        (narrow,) = explorer_runs([run], DOMAINS)
        assert narrow.characters == 1_500 and len(narrow.data) <= 100_000
        first = unpacked(narrow.data)["completion"][0]
        assert first == [noise[0][:900], 18_500, noise[0][-600:]]


class TestColumns:
    def test_a_rollout_and_its_pairs(self) -> None:
        early, late = pool(12, seed=1, step=1), pool(12, seed=2, step=2, answers=["7"] * 12, tokens=[9] * 12)
        data = unpacked(explorer_runs([a_run(early, late)], DOMAINS)[0].data)
        assert data["row"] == list(range(12)) * 2 and data["tokens"] == [None] * 12 + [9] * 12
        assert data["group"] == [row // 4 for row in range(12)] * 2, "large prompt ids would be rounded by JavaScript"
        assert len(data["prompts"]) == 3 and data["answer"][12] == "7" and data["detail"][0] == ""
        anchor = next(place for place in range(12, 24) if data["pairs"][place] and data["pairs"][place]["positives"])
        positives = data["pairs"][anchor]["positives"]
        assert [pair[0] - 12 for pair in positives] == late.positives[anchor - 12]
        assert [pair[2] for pair in positives] == pytest.approx(late.positive_scores[anchor - 12])
        assert data["part"][anchor] == 2 and data["steps"][1]["term"] == TERM

    def test_a_space_that_begins_later(self) -> None:
        late = pool(12, seed=2, step=2)
        early = pool(12, seed=1, step=1, embeddings=None, features=late.features * np.nan)  # type: ignore[operator]
        data = unpacked(explorer_runs([a_run(early, late)], DOMAINS)[0].data)
        for space in ("features", "embeddings"):
            x = data["at"][space][0]
            assert x[:12] == [None] * 12 and all(isinstance(value, float) for value in x[12:])

    def test_verdicts(self) -> None:
        batch = pool(4, verdicts=["", "error", "correct", "strange"], rewards=[None, 1.0, 0.0, 0.0])
        assert [verdict_of(batch, row) for row in range(3)] == ["error", "error", "correct"]
        assert verdict_of(batch, 3) in ("correct", "incorrect")

    def test_nothing_kept(self) -> None:
        assert explorer_runs([a_run()], DOMAINS) == []


class TestTexts:
    def test_prompts(self) -> None:
        assert prompt_text("plain") == "plain"
        assert prompt_text([{"role": "user", "content": "one"}]) == "one"
        two = [{"role": "system", "content": "rules"}, {"role": "user", "content": [{"type": "text"}]}]
        assert prompt_text(two) == "[system]\nrules\n\n[user]\n[{'type': 'text'}]"

    def test_the_end_is_kept(self) -> None:
        text = "a" * 50 + "b" * 50
        assert shortened(text, 100) == text
        assert shortened(text, 10) == ("a" * 6, 90, "b" * 4)
        assert shortened("", 10) == ""

    def test_each_text_once(self) -> None:
        table = TextTable()
        assert [table.add(text) for text in ("x", "y", "x")] == [0, 1, 0] and table.texts == ["x", "y"]

    def test_packed_is_the_same_every_time_and_takes_any_text(self) -> None:
        data = {"text": "线 \u2028 </script> \ud800 🙂"}
        assert packed(data) == packed(data)
        assert unpacked(packed(data)) == {"text": "线 \u2028 </script> ? 🙂"}
