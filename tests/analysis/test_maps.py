"""Maps of a probe set: what moves on them has moved, and what stays has stayed."""

import numpy as np
import pytest

from mcpo_rl.analysis.geometry import ProbeRows, pca_map, tsne_map
from mcpo_rl.analysis.geometry import maps as maps_module
from mcpo_rl.analysis.geometry.maps import turned_onto

COUNT = 45
DOMAINS = np.array(["a", "b", "c"])[np.arange(COUNT) % 3]
CENTRES = np.random.default_rng(0).normal(size=(3, 40))


def step(shift: float = 0.0, *, seed: int = 1) -> ProbeRows:
    """Three domains in 40 directions; a is `shift` of the way towards b."""
    features = np.random.default_rng(seed).normal(size=(COUNT, 40)) * 0.6 + CENTRES[np.arange(COUNT) % 3]
    features[DOMAINS == "a"] += shift * (CENTRES[1] - CENTRES[0])
    return ProbeRows.of(features, DOMAINS.tolist(), list(range(COUNT)), [True] * COUNT)


def moves(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Median way of each domain's points, by the spread of the picture."""
    ways = np.linalg.norm(after - before, axis=1) / before.std(axis=0).mean()
    return {name: float(np.median(ways[name == DOMAINS])) for name in "abc"}


class TestPCA:
    def test_one_plane_for_all_steps(self) -> None:
        placed = pca_map([step(), step(), step(0.5)])
        assert placed.coordinates.shape == (3, COUNT, 2)
        np.testing.assert_allclose(placed.coordinates[0], placed.coordinates[1], atol=1e-12)
        found = moves(placed.coordinates[1], placed.coordinates[2])
        # Taken from the common centre, the others turn a little as it moves; they do not move among each other.
        assert found["a"] > 5 * max(found["b"], found["c"])

    def test_moves_are_to_scale(self) -> None:
        # Everything lies in a plane and far from the centre in all directions alike: directions are angles on a circle.
        angles = np.linspace(0, 2 * np.pi, COUNT, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        turned = np.stack([np.cos(angles + 0.3), np.sin(angles + 0.3)], axis=1)
        rows = [ProbeRows.of(c, ["a"] * COUNT, list(range(COUNT)), [True] * COUNT) for c in (circle, turned)]
        placed = pca_map(rows)
        ways = np.linalg.norm(placed.coordinates[1] - placed.coordinates[0], axis=1)
        np.testing.assert_allclose(ways, 2 * np.sin(0.15))
        assert placed.explained == pytest.approx((0.5, 0.5))

    def test_a_common_move_shows(self) -> None:
        far = step().with_features(step().features + 30 * np.eye(40)[5])
        placed = pca_map([step(), far])
        assert min(moves(*placed.coordinates).values()) > 1


class TestTSNE:
    def test_what_stays_has_stayed_and_what_moved_has_moved(self) -> None:
        movers = np.flatnonzero(DOMAINS == "a")[:3]
        features = step().features.copy()
        features[movers] += CENTRES[1] - CENTRES[0]
        placed = tsne_map([step(), step(), step().with_features(features)])
        assert placed is not None and placed.coordinates.shape == (3, COUNT, 2) and placed.explained is None
        first, same, last = placed.coordinates
        assert max(moves(first, same).values()) < 0.1
        ways = np.linalg.norm(last - same, axis=1) / same.std(axis=0).mean()
        assert ways[movers].min() > 4 * np.median(np.delete(ways, movers))
        # They lie among the rollouts of b now.
        to_centres = [np.linalg.norm(last[movers] - last[name == DOMAINS].mean(axis=0), axis=1) for name in "abc"]
        assert (np.argmin(to_centres, axis=0) == 1).all()

    def test_a_domain_that_comes_near_another_comes_near_on_the_map(self) -> None:
        placed = tsne_map([step(), step(0.6)])
        assert placed is not None
        found = moves(*placed.coordinates)
        assert found["a"] > max(found["b"], found["c"])
        apart = [np.linalg.norm(np.subtract(*(p[n == DOMAINS].mean(axis=0) for n in "ab"))) for p in placed.coordinates]
        assert apart[1] < 0.5 * apart[0]

    def test_steps_fitted_for_themselves_would_not_show_it(self) -> None:
        # The same rollouts a little different: alone, each fit finds a picture of its own, however it is turned.
        ones, others = step(), step().with_features(step().features + 0.05 * step(seed=9).features)
        together = tsne_map([ones, others])
        alone = [tsne_map([rows]) for rows in (ones, others)]
        assert together is not None and alone[0] is not None and alone[1] is not None
        first, second = alone[0].coordinates[0], alone[1].coordinates[0]
        apart = moves(first, turned_onto(second, first))
        assert max(moves(*together.coordinates).values()) < min(apart.values())

    def test_neighbours_on_the_map_are_neighbours(self) -> None:
        rows = step()
        placed = tsne_map([rows])
        assert placed is not None
        between = np.linalg.norm(placed.coordinates[0][:, None] - placed.coordinates[0][None], axis=-1)
        np.fill_diagonal(between, np.inf)
        same = DOMAINS[np.argsort(between, axis=1)[:, :5]] == DOMAINS[:, None]
        assert same.mean() > 0.95

    def test_the_same_picture_every_time(self) -> None:
        first, second = tsne_map([step()]), tsne_map([step()])
        assert first is not None and second is not None
        np.testing.assert_array_equal(first.coordinates, second.coordinates)

    def test_too_few_or_all_alike(self) -> None:
        few = ProbeRows.of(np.eye(6), ["a"] * 6, list(range(6)), [True] * 6)
        assert tsne_map([few]) is None and tsne_map([]) is None
        placed = tsne_map([step().with_features(np.ones((COUNT, 3)))])
        assert placed is not None and np.isfinite(placed.coordinates).all()


def test_turned_onto_undoes_any_turn_mirror_and_shift() -> None:
    generator = np.random.default_rng(4)
    target = generator.normal(size=(9, 2))
    for turn in (np.array([[0.6, -0.8], [0.8, 0.6]]), np.array([[1.0, 0.0], [0.0, -1.0]])):
        np.testing.assert_allclose(turned_onto(target @ turn + [5, -3], target), target, atol=1e-12)
    # Lengths stay: a picture twice as large is not shrunk.
    twice = turned_onto(2 * target, target)
    np.testing.assert_allclose(twice - twice.mean(axis=0), 2 * (target - target.mean(axis=0)), atol=1e-12)


@pytest.fixture(autouse=True)
def shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps_module, "FIRST_ITERATIONS", 500)
