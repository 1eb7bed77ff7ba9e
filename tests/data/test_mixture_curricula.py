"""Curricula: their formulas by hand, the direction they move in, and your own."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from mcpo_rl.data.mixture import BatchOutcome, DomainFacts, DomainMixture, DomainOutcome, MixtureOptions
from mcpo_rl.data.mixture.curricula import Difficulty, Forgetting, Learnability, Schedule, WorstDomain
from mcpo_rl.data.mixture.shuffling import permutation, random_bits, seed_of
from mcpo_rl.errors import RunError

FACTS = DomainFacts(rows={"code": 50, "logic": 50, "math": 100}, base={"code": 0.25, "logic": 0.25, "math": 0.5})


def outcome(accuracy, variance=None):
    variance = variance or {}
    return BatchOutcome(
        domains={
            domain: DomainOutcome(groups=4, informative=2, accuracy=value, variance=variance.get(domain))
            for domain, value in accuracy.items()
        }
    )


def follow(curriculum, outcomes, facts=FACTS):
    """Return the shares before the first outcome and after each."""
    state = curriculum.start(facts)
    found = [dict(curriculum.shares(0, state, facts))]
    for n, seen in enumerate(outcomes, start=1):
        state = curriculum.update(state, seen, facts)
        found.append(dict(curriculum.shares(n, state, facts)))
    for shares in found:
        assert sum(shares.values()) == pytest.approx(1.0)
    return found


def test_forgetting_by_hand():
    fallen = [BatchOutcome(domains={}, fallen=frozenset(names)) for names in (["code"], ["code", "math"], [])]
    found = follow(Forgetting(boost=3.0), fallen)
    assert found[0] == pytest.approx(FACTS.base)
    assert found[1] == pytest.approx({"code": 0.75 / 1.5, "logic": 0.25 / 1.5, "math": 0.5 / 1.5})
    assert found[2] == pytest.approx({"code": 0.75 / 2.5, "logic": 0.25 / 2.5, "math": 1.5 / 2.5})
    assert found[3] == pytest.approx(FACTS.base)


def test_what_is_forgotten_goes_through_json():
    seen = BatchOutcome(domains=outcome({"code": 0.5}).domains, fallen=frozenset({"math"}))
    assert BatchOutcome.from_json(seen.to_json()) == seen
    assert BatchOutcome.from_json(outcome({"code": 0.5}).to_json()).fallen == frozenset()


@pytest.mark.parametrize("smoothing", [0.0, 0.75])
def test_worst_domain_by_hand(smoothing):
    """Subroutine 1 of the paper, three steps."""
    z = {"code": 0.25, "logic": 0.25, "math": 0.5}
    x = {domain: math.log(share) for domain, share in z.items()}
    batches = [(0.1, 0.4, 0.8), (0.3, 0.3, 0.8), (0.2, 0.5, 0.9)]
    accuracy, improvement, expected, old = {}, dict.fromkeys(z, 0.0), [z], smoothing
    for seen in (dict(zip(z, values, strict=True)) for values in batches):
        smooth = {domain: old * accuracy.get(domain, seen[domain]) + (1 - old) * seen[domain] for domain in z}
        if accuracy:
            improvement = {d: old * improvement[d] + (1 - old) * (smooth[d] - accuracy[d]) for d in z}
        accuracy = smooth
        s = {domain: improvement[domain] + 0.5 * accuracy[domain] for domain in z}
        mean = sum(z[domain] * s[domain] for domain in z)
        x = {domain: x[domain] - 2.0 * z[domain] * (s[domain] - mean) for domain in z}
        total = sum(math.exp(value) for value in x.values())
        z = {domain: math.exp(value) / total for domain, value in x.items()}
        expected.append({domain: 0.02 + (1 - 3 * 0.02) * share for domain, share in z.items()})
    curriculum = WorstDomain(step_size=2.0, reward_weight=0.5, smoothing=smoothing, floor=0.02)
    found = follow(curriculum, [outcome(dict(zip(z, values, strict=True))) for values in batches])
    for shares, wanted in zip(found[1:], expected[1:], strict=True):
        assert shares == pytest.approx(wanted)


def test_worst_domain_gives_to_the_worst_until_it_is_no_longer():
    worst = outcome({"code": 0.1, "logic": 0.6, "math": 0.7})
    better = outcome({"code": 0.9, "logic": 0.6, "math": 0.7})
    found = follow(WorstDomain(), [worst] * 300 + [better] * 600)
    code = [shares["code"] for shares in found]
    assert all(later > earlier for earlier, later in pairwise(code[3:301]))
    assert code[300] > 0.5 > code[-1] and found[-1]["logic"] > found[300]["logic"]
    assert min(min(shares.values()) for shares in found) >= 0.05


def test_a_floor_above_what_there_is_to_share_makes_all_equal():
    found = follow(WorstDomain(floor=0.5), [outcome({"code": 0.1, "logic": 0.6, "math": 0.7})])
    assert found[1] == pytest.approx(dict.fromkeys(FACTS.base, 1 / 3))


def test_of_two_equally_bad_domains_the_one_that_improves_least_gains():
    steps = [outcome({"code": 0.2 + n * 0.01, "logic": 0.4 - n * 0.01, "math": 0.5}) for n in range(11)]
    found = follow(WorstDomain(reward_weight=0.0), steps)
    assert found[-1]["logic"] > found[0]["logic"] and found[-1]["code"] < found[0]["code"]


def test_a_domain_without_outcome_keeps_its_estimate():
    state = WorstDomain().start(FACTS)
    first = WorstDomain().update(state, outcome({"code": 0.2, "math": 0.6}), FACTS)
    assert first["logits"]["logic"] == state["logits"]["logic"] and first["accuracy"]["logic"] is None
    second = WorstDomain().update(first, outcome({"code": None, "math": 0.6}), FACTS)
    assert second["accuracy"]["code"] == 0.2 and second["improvement"]["code"] is None
    assert WorstDomain().update(state, BatchOutcome(domains={}), FACTS) == state


@pytest.mark.parametrize("curriculum", [WorstDomain(), Learnability()])
def test_a_domain_without_base_weight_stays_out(curriculum):
    facts = DomainFacts(rows=FACTS.rows, base={"code": 0.5, "logic": 0.0, "math": 0.5})
    found = follow(curriculum, [outcome({"code": 0.1, "logic": 0.0, "math": 0.9})] * 5, facts)
    assert all(shares["logic"] == 0.0 for shares in found)


def test_learnability_by_hand():
    found = follow(Learnability(smoothing=0.5, floor=0.1), [outcome({"code": 0.5, "logic": 1.0, "math": 0.9})])
    assert found[0] == pytest.approx({"code": 0.1 + 0.7 * 0.25, "logic": 0.1 + 0.7 * 0.25, "math": 0.1 + 0.7 * 0.5})
    learned = {"code": 0.25 * 0.25, "logic": 0.25 * 0.125, "math": 0.5 * (0.125 + 0.5 * 0.09)}
    total = sum(learned.values())
    assert found[1] == pytest.approx({domain: 0.1 + 0.7 * value / total for domain, value in learned.items()})


def test_learnability_leaves_what_is_solved_and_what_is_hopeless():
    found = follow(Learnability(), [outcome({"code": 0.0, "logic": 0.5, "math": 1.0})] * 200)
    assert found[-1]["logic"] == pytest.approx(0.9, abs=1e-6)
    assert [found[-1]["code"], found[-1]["math"]] == pytest.approx([0.05, 0.05], abs=1e-6)
    at_once = follow(Learnability(smoothing=0.0), [outcome({"code": 0.0, "logic": 0.5, "math": 1.0})])
    assert at_once[-1] == pytest.approx({"code": 0.05, "logic": 0.9, "math": 0.05})
    # Half of the prompts always solved and half never: an accuracy of one half, and nothing to learn.
    split = outcome({"code": 0.5, "logic": 0.5, "math": 0.5}, {"code": 0.0, "logic": 0.2, "math": 0.1})
    assert follow(Learnability(floor=0.0), [split] * 300)[-1] == pytest.approx(
        {"code": 0.0, "logic": 0.5, "math": 0.5}, abs=1e-6
    )
    nothing = outcome({"code": 0.0, "logic": 0.0, "math": 1.0})
    assert follow(Learnability(smoothing=0.0), [nothing])[-1] == FACTS.base


def test_schedules_by_hand():
    points = {10: {"math": 1.0, "code": 0.0, "logic": 0.0}, 20: {"math": 0.0, "code": 0.5, "logic": 0.5}}
    for shape, middle in (("constant", 1.0), ("linear", 0.7)):
        plan = Schedule(points=points, shape=shape)
        found = [plan.shares(n, {}, FACTS)["math"] for n in (0, 9, 10, 13, 20, 500)]
        assert found == pytest.approx([0.5, 0.5, 1.0, middle, 0.0, 0.0])
    assert Schedule(points={"10": points[10], "9": "equal"}).points == {9: "equal", 10: points[10]}  # JSON's keys
    assert Schedule(points={0: "proportional"}).shares(3, {}, FACTS) == pytest.approx(FACTS.base)


def test_a_schedule_in_batches():
    options = MixtureOptions(curriculum=Schedule(points={2: {"math": 1, "code": 0}, 4: {"math": 0.25, "code": 0.75}}))
    drawn = DomainMixture(["math", "code"] * 20, options, prompts_per_batch=4, seed=0)
    assert [sum(row % 2 == 0 for row in drawn.batch(n)) for n in range(6)] == [2, 2, 4, 4, 1, 1]
    assert drawn.asked(2) == {"code": 0.0, "math": 1.0}


def test_difficulty_never_runs_ahead_of_its_competence():
    count, pacing = 1000, Difficulty(start=0.1, until=0.8)
    difficulty = np.arange(count, dtype=float)
    order = pacing.order(0, permutation(3, count), difficulty)
    assert sorted(order.tolist()) == list(range(count))
    for place, row in enumerate(order.tolist()):
        assert row <= pacing.competence(place / count) * count + 1
    assert max(order[:3]) < 100 and max(order[:200]) > 300  # neither shuffled nor sorted
    assert max(order[800:]) == 999 and min(order[800:]) < 700  # all that is left, in random order


def test_difficulty_paces_the_first_epoch_alone():
    shuffled = permutation(3, 100)
    assert (Difficulty().order(1, shuffled, np.arange(100.0)) == shuffled).all()
    assert (Difficulty().order(0, shuffled, np.arange(100.0)) != shuffled).any()


def test_rows_without_difficulty_are_as_likely_early_as_late():
    difficulty = np.arange(3000, dtype=float)
    difficulty[::3] = math.nan
    order = Difficulty().order(0, permutation(5, 3000), difficulty)
    unknown = np.flatnonzero(order % 3 == 0)
    for part in range(3):
        inside = np.count_nonzero((unknown >= part * 1000) & (unknown < part * 1000 + 1000))
        assert abs(inside - 1000 / 3) < 60
    known = order[order % 3 != 0]
    assert np.mean(known[:400]) < 900 < 2000 < np.mean(known[-400:])
    shuffled = permutation(5, 3000)
    assert (Difficulty().order(0, shuffled, np.full(3000, math.nan)) == shuffled).all()


@pytest.mark.parametrize(
    "difficulty", [np.arange(24.0), np.repeat([1.0, 2.0], 12), np.r_[np.arange(16.0), [math.nan] * 8]]
)
def test_difficulty_draws_as_a_naive_drawer_does(difficulty):
    """Each of those that may be drawn is as likely: mean place of every sixth of the rows, over many orders."""
    pacing, chance = Difficulty(start=0.2), random.Random(1)
    ours, naive = np.zeros(24), np.zeros(24)
    for seed in range(120):
        ours[pacing.order(0, permutation(seed, 24), difficulty)] += np.arange(24) / 120
        naive[naive_order(pacing, difficulty, chance)] += np.arange(24) / 120
    assert ours.reshape(6, 4).mean(axis=1) == pytest.approx(naive.reshape(6, 4).mean(axis=1), abs=1.1)


def test_the_order_by_difficulty_is_the_same_for_ever(monkeypatch):
    """The rows of each step, naively: by hashes that all differ, whatever algorithm finds the smallest."""
    count, difficulty, shuffled = 950, np.arange(950.0), permutation(9, 950)
    expected, pool, allowed = [], [], 0
    for step in range(100):
        first, last = step * count // 100, (step + 1) * count // 100
        before, allowed = allowed, max(last, math.ceil(Difficulty().competence(first / count) * count))
        pool += range(before, allowed)
        bits = random_bits(seed_of("step", seed_of("pace", *shuffled[:8].tolist()), step), len(pool)).tolist()
        drawn = sorted(range(len(pool)), key=bits.__getitem__)[: last - first]
        rows = [pool[place] for place in drawn]
        expected, pool = expected + rows, [row for row in pool if row not in rows]
    assert Difficulty().order(0, shuffled, difficulty).tolist() == expected
    partition = np.argpartition  # numpy promises nothing of the order within a part
    monkeypatch.setattr(
        np, "argpartition", lambda a, k: np.r_[partition(a, k)[: k + 1][::-1], partition(a, k)[k + 1 :]]
    )
    assert Difficulty().order(0, shuffled, difficulty).tolist() == expected


def naive_order(pacing, difficulty, chance):
    known = [value for value in difficulty if not math.isnan(value)]
    ranked = []
    for row, value in enumerate(difficulty):
        below = sum(other < value for other in known) / len(known)
        among = sum(other == value for other in known) / len(known)
        ranked.append((chance.random() if math.isnan(value) else below + among * chance.random(), row))
    easiest_first, drawn = [row for _, row in sorted(ranked)], []
    while len(drawn) < len(ranked):
        allowed = max(len(drawn) + 1, math.ceil(pacing.competence(len(drawn) / len(ranked)) * len(ranked)))
        drawn.append(chance.choice([row for row in easiest_first[:allowed] if row not in drawn]))
    return drawn


def test_easy_rows_come_first_within_each_domain():
    domains = ["math"] * 200 + ["code"] * 100
    difficulty = [float(row % 200) for row in range(200)] + [float(row) for row in range(1000, 1100)]
    drawn = DomainMixture(
        domains, MixtureOptions(curriculum=Difficulty()), prompts_per_batch=10, seed=1, difficulty=difficulty
    )
    rows = [row for n in range(20) for row in drawn.batch(n)]
    for own in ([row for row in rows if row < 200], [row - 200 for row in rows if row >= 200]):
        size = 200 if max(own) >= 100 else 100
        assert np.mean(own[:20]) < 0.3 * size and len(set(own[:size])) == len(own[:size])


class Turns:
    """A curriculum of somebody else's: after every outcome it is another domain's turn."""

    adaptive = True

    def settings(self):
        return {"share": 0.75}

    def start(self, facts):
        return {"turn": 0}

    def shares(self, n, state, facts):
        others = 0.25 / (len(facts.rows) - 1)
        return {d: 0.75 if k == state["turn"] else others for k, d in enumerate(facts.rows)}

    def update(self, state, outcome, facts):
        return {"turn": (state["turn"] + 1) % len(facts.rows)}


class Backwards:
    """An ordering of somebody else's."""

    def settings(self):
        return {}

    def order(self, epoch, shuffled, difficulty):
        return np.arange(len(shuffled))[::-1]


def test_your_own_curriculum_and_ordering():
    options = MixtureOptions(curriculum=[Turns(), Backwards()])
    drawn = DomainMixture(["a"] * 40 + ["b"] * 40, options, prompts_per_batch=4, seed=0, lag=2)
    for n in range(5):
        if n >= 2:
            drawn.observe(n - 2, BatchOutcome(domains={}))
        drawn.batch(n)
    assert [drawn.asked(n)["a"] for n in range(5)] == [0.75, 0.75, 0.25, 0.75, 0.25]  # acts from n + 2 on
    assert sorted(drawn.batch(0)) == [37, 38, 39, 79]


@pytest.mark.parametrize("wrong", [{"a": 1.0}, {"a": 0.9, "b": 0.2}, {"a": 1.5, "b": -0.5}, {"a": math.nan, "b": 1.0}])
def test_a_curriculum_that_asks_for_nonsense_is_refused(wrong):
    class Wrong(Turns):
        def shares(self, n, state, facts):
            return wrong

    drawn = DomainMixture(["a", "b"] * 4, MixtureOptions(curriculum=Wrong()), prompts_per_batch=4, seed=0)
    with pytest.raises(RunError, match="expected a share for each of a, b, none negative, summing to 1"):
        drawn.batch(0)
