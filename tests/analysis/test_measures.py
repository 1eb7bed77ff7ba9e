"""The measures of a probe set: hand-computed values, naive loops, and geometries that were planted."""

from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest

from mcpo_rl.analysis.geometry import ProbeRows, measure
from mcpo_rl.analysis.geometry.linear import domain_separability, verdict_probe
from mcpo_rl.analysis.geometry.measures import (
    NEIGHBOURS,
    cka,
    distances,
    drift,
    overlap,
    participation,
    similarity_to_base,
)

E = np.exp(-4), np.exp(-8)


def cross() -> ProbeRows:
    """Four rollouts on a cross: those of a at right and top, those of b at left and bottom; the centre is 0."""
    return ProbeRows.of([[1, 0], [0, 1], [-1, 0], [0, -1]], list("aabb"), list("pqrs"), [True] * 4)


def rows_of(features: np.ndarray, domains: list[str], *, each: int = 1, correct: np.ndarray | None = None) -> ProbeRows:
    """Rows of which `each` consecutive ones of a domain are of one problem."""
    seen: dict[str, int] = {}
    problems = []
    for domain in domains:
        problems.append(f"{domain}{seen.get(domain, 0) // each}")
        seen[domain] = seen.get(domain, 0) + 1
    return ProbeRows.of(features, domains, problems, np.ones(len(domains), bool) if correct is None else correct)


def random_rows(seed: int, count: int = 14, width: int = 5) -> ProbeRows:
    generator = np.random.default_rng(seed)
    domains = [("a", "b", "c")[number] for number in generator.integers(0, 3, count - 3)] + ["a", "b", "c"]
    return rows_of(generator.normal(size=(count, width)) + 1, domains, each=2, correct=generator.random(count) < 0.7)


class TestByHand:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("alignment/a", 2.0),  # |(1, 0) - (0, 1)|^2
            ("alignment", 2.0),
            ("cross_alignment/a/b", 3.0),  # of 4, 2, 2, 4
            ("uniformity/a", -4.0),
            ("uniformity", np.log((4 * E[0] + 2 * E[1]) / 6)),
            ("spread/a", np.sqrt(0.5)),  # v = 1/2 about (1/2, 1/2); S^2 = 1
            ("distance/a/b", 2.0),  # |(1, 1)| / sqrt(1/2)
            ("distance", 2.0),
            ("domain_share", 0.5),
            ("dimensions", 2.0),
            ("cka", 1.0),
            ("drift/b", 0.5),  # |(0.3, 0.4)| / 1
            ("drift", 0.5),
        ],
    )
    def test_on_the_cross(self, name: str, value: float) -> None:
        moved = cross().with_features(np.add(cross().features, [0.3, 0.4]))
        assert measure(moved, cross())[name] == pytest.approx(value)

    def test_overlap(self) -> None:
        # On a line of directions: a at 0 and 10 degrees, b at 4 and 90; one own candidate each, so k is 1.
        angles = np.radians([0, 10, 4, 90])
        places = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        rows = ProbeRows.of(
            np.concatenate([places, -places]), list("aabbaabb"), list("pqrsPQRS"), [True] * 4 + [False] * 4
        )
        assert np.allclose(rows.centre, 0)
        # Nearest: of both a the b at 4 degrees, of b at 4 the a at 0, of b at 90 the a at 10. By lot: 2 of 3.
        assert overlap(rows) == pytest.approx({"overlap/a": 1.5, "overlap/b": 1.5, "overlap": 1.5})

    def test_pairs_of_one_problem_are_no_positives(self) -> None:
        rows = ProbeRows.of([[1, 0], [1, 0], [0, 1], [-1, 0], [-1, -1]], list("aaabb"), list("ppqrs"), [True] * 5)
        x = rows.directions
        expected = np.mean([np.sum((x[0] - x[2]) ** 2), np.sum((x[1] - x[2]) ** 2)])
        assert measure(rows)["alignment/a"] == pytest.approx(expected)


class TestAgainstLoops:
    @pytest.mark.parametrize("seed", range(4))
    def test_pairs(self, seed: int) -> None:
        rows = random_rows(seed)
        centre = np.mean([rows.features[rows.of_domain(name)].mean(axis=0) for name in rows.names], axis=0)
        x = [(h - centre) / np.linalg.norm(h - centre) for h in rows.features]
        squares = {(i, j): float(np.sum((x[i] - x[j]) ** 2)) for i, j in combinations(range(len(rows)), 2)}
        measured = measure(rows)
        own, across = {}, {}
        for (i, j), square in squares.items():
            if rows.correct[i] and rows.correct[j] and rows.problems[i] != rows.problems[j]:
                a, b = sorted((rows.names[rows.domains[i]], rows.names[rows.domains[j]]))
                (own if a == b else across).setdefault((a, b), []).append(square)
        for (a, _), values in own.items():
            assert measured[f"alignment/{a}"] == pytest.approx(np.mean(values))
        for (a, b), values in across.items():
            assert measured[f"cross_alignment/{a}/{b}"] == pytest.approx(np.mean(values))
        uniform = np.log(np.mean([np.exp(-2 * square) for square in squares.values()]))
        assert measured["uniformity"] == pytest.approx(uniform)

    @pytest.mark.parametrize("seed", range(3))
    def test_unbiased_hsic(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        a, b = generator.normal(size=(6, 3)), generator.normal(size=(6, 4))

        def hsic(k: np.ndarray, m: np.ndarray) -> float:
            # Song et al. 2012, the U-statistic: over all four different rows.
            terms = [k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in permutations(range(len(k)), 4)]
            return float(np.mean(terms))

        k, m = a @ a.T, b @ b.T
        assert cka(a, b) == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)))


class TestCKA:
    def test_a_turn_a_shift_and_a_scaling_change_nothing(self) -> None:
        generator = np.random.default_rng(0)
        rows = generator.normal(size=(30, 8))
        turn, _ = np.linalg.qr(generator.normal(size=(8, 8)))
        assert cka(rows, 3 * rows @ turn + 100) == pytest.approx(1)

    def test_unrelated_wide_rows_are_near_zero(self) -> None:
        generator = np.random.default_rng(1)
        a, b = generator.normal(size=(2, 40, 2000))
        assert abs(cka(a, b)) < 0.05
        # What the plain estimate says of the same rows.
        (k, m) = ((rows - rows.mean(axis=0)) @ (rows - rows.mean(axis=0)).T for rows in (a, b))
        assert (k * m).sum() / np.linalg.norm(k) / np.linalg.norm(m) > 0.9

    def test_undefined(self) -> None:
        assert np.isnan(cka(np.ones((9, 2)), np.eye(9)))
        assert np.isnan(cka(np.eye(3), np.eye(3)))


class TestPlanted:
    def planted(self, gap: float, *, seed: int = 0, shared: float = 0.0, opposed: bool = False) -> ProbeRows:
        """60 rollouts of each of three domains `gap` apart; the correct ones `shared` further along one direction."""
        generator = np.random.default_rng(seed)
        domains = [("a", "b", "c")[row % 3] for row in range(180)]
        centres = dict(zip("abc", np.eye(20)[:3] * gap, strict=True))
        correct = (np.arange(180) // 3) % 2 == 0
        signs = np.array([-1.0 if opposed and domain == "b" else 1.0 for domain in domains])
        features = generator.normal(size=(180, 20)) + np.stack([centres[domain] for domain in domains])
        features[:, 10] += shared * signs * np.where(correct, 1, -1)
        return rows_of(features, domains, each=2, correct=correct)

    def test_domains_apart_and_together(self) -> None:
        together, apart = measure(self.planted(0.0)), measure(self.planted(12.0))
        assert apart["separability"] == 1 and abs(together["separability"] - 1 / 3) < 0.12
        assert apart["overlap"] == 0 and abs(together["overlap"] - 1) < 0.15
        assert apart["domain_share"] > 0.6 > 0.1 > together["domain_share"]
        assert apart["distance"] > 3 * together["distance"]
        assert apart["alignment"] < together["alignment"] and apart["cross_alignment"] > together["cross_alignment"]

    def test_distance_and_share_follow_from_the_planted_gap(self) -> None:
        # Centres gap * sqrt(2) apart, 20 directions of variance 1 in each: up to the noise of 60 rollouts.
        measured = distances(self.planted(8.0))
        assert measured["distance"] == pytest.approx(8 * np.sqrt(2 / 20), rel=0.05)
        assert measured["domain_share"] == pytest.approx(64 * 2 / 3 / (64 * 2 / 3 + 20), rel=0.05)

    def test_a_problem_never_is_on_both_sides(self) -> None:
        # Rollouts of a problem are copies of a place of its own, which tells nothing of other problems.
        generator = np.random.default_rng(3)
        places = np.repeat(generator.normal(size=(60, 40)), 6, axis=0) + 0.01 * generator.normal(size=(360, 40))
        domains = [("a", "b")[row // 6 % 2] for row in range(360)]
        rows = ProbeRows.of(places, domains, [row // 6 for row in range(360)], [True] * 360)
        assert domain_separability(rows)["separability"] < 0.7

    def test_what_marks_a_correct_rollout(self) -> None:
        shared, opposed, none = (
            verdict_probe(self.planted(5.0, shared=strength, opposed=way))
            for strength, way in ((4.0, False), (4.0, True), (0.0, False))
        )
        assert shared["verdict"] > 0.98 and shared["verdict_transfer"] > 0.98
        assert opposed["verdict"] > 0.98 and opposed["verdict_transfer/a/c"] > 0.98
        assert opposed["verdict_transfer/a/b"] < 0.02
        assert abs(none["verdict"] - 0.5) < 0.15 and abs(none["verdict_transfer"] - 0.5) < 0.15

    def test_how_far_apart_the_domains_lie_does_not_matter_to_it(self) -> None:
        near, far = (verdict_probe(self.planted(gap, shared=0.5)) for gap in (0.0, 300.0))
        assert near == pytest.approx(far, abs=1e-3) and 0.6 < near["verdict"] < 0.9

    def test_collapse_to_a_line(self) -> None:
        rows = self.planted(0.0)
        line = rows.with_features(np.outer(rows.features[:, 0], np.ones(20)) + 1e-6 * rows.features)
        assert participation(line)["dimensions"] == pytest.approx(1, abs=1e-4)
        assert participation(rows)["dimensions"] > 15

    def test_drift_is_of_the_domain_that_moved(self) -> None:
        base = self.planted(0.0)
        features = base.features.copy()
        features[base.of_domain("b")] += 2 * np.eye(20)[7]
        moved = base.with_features(features)
        measured = drift(moved, base) | similarity_to_base(moved, base)
        scale = np.sqrt(np.mean(np.sum((base.features - base.centre) ** 2, axis=1)))
        assert measured["drift/b"] == pytest.approx(2 / scale)
        assert measured["drift/a"] == measured["drift/c"] == 0
        assert measured["cka/a"] == pytest.approx(1) and measured["cka"] < 1


class TestLittleToGoBy:
    def test_nothing_is_correct(self) -> None:
        rows = random_rows(0)
        measured = measure(
            ProbeRows.of(rows.features, [rows.names[d] for d in rows.domains], rows.problems.tolist(), [False] * 14)
        )
        assert not any(name.startswith(("alignment", "cross_alignment", "overlap", "verdict")) for name in measured)
        assert {"uniformity", "distance", "separability"} <= measured.keys()

    def test_one_domain(self) -> None:
        measured = measure(rows_of(np.random.default_rng(0).normal(size=(12, 4)), ["a"] * 12))
        assert {"alignment", "uniformity", "spread/a", "dimensions"} <= measured.keys()
        assert not {"distance", "domain_share", "overlap", "separability", "cross_alignment"} & measured.keys()

    def test_all_alike(self) -> None:
        rows = rows_of(np.ones((8, 3)), list("abababab"))
        measured = measure(rows, rows)
        assert all(np.isfinite(value) for value in measured.values())
        assert measured["uniformity"] == 0 and "cka" not in measured and "drift" not in measured

    def test_more_neighbours_than_own_rollouts(self) -> None:
        # Three rollouts of b far from a's twenty: k is 2 for them, else places were left that only a can take.
        generator = np.random.default_rng(0)
        features = np.concatenate([generator.normal(size=(20, 6)) + 9, generator.normal(size=(3, 6)) - 9])
        assert NEIGHBOURS > 2
        assert overlap(rows_of(features, ["a"] * 20 + ["b"] * 3)) == {"overlap/a": 0, "overlap/b": 0, "overlap": 0}

    def test_without_scikit_learn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mcpo_rl.analysis.geometry.linear.available", lambda: False)
        measured = measure(random_rows(0))
        assert "alignment" in measured and not any(name.startswith(("separability", "verdict")) for name in measured)


@pytest.mark.parametrize("change", [lambda h: h * 7.5, lambda h: h + 3.0, lambda h: h[:, ::-1]])
def test_scale_shift_and_order_of_the_width_change_nothing(change: Callable[[np.ndarray], np.ndarray]) -> None:
    rows = random_rows(5, count=40, width=12)
    before, after = measure(rows, rows), measure(rows.with_features(change(rows.features)), rows)
    for name in before.keys() - {name for name in before if name.startswith("drift")}:
        assert after[name] == pytest.approx(before[name], abs=1e-9), name
