"""The projection behind the representation map."""

import numpy as np
import pytest

from mcpo_rl.analysis.geometry import principal_axes, project
from mcpo_rl.runs import RolloutBatch


def batch(features: np.ndarray | None, step: int = 0, count: int | None = None) -> RolloutBatch:
    n = len(features) if features is not None else count or 0
    return RolloutBatch(
        step=step,
        prompts=["p"] * n,
        completions=["c"] * n,
        domains=["math"] * n,
        prompt_ids=[0] * n,
        rewards=[1.0] * n,
        correct=[True] * n,
        usable=[True] * n,
        features=features,
    )


def random_rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


class TestPrincipalAxes:
    def test_finds_the_planted_plane(self) -> None:
        generator = np.random.default_rng(0)
        plane, _ = np.linalg.qr(generator.normal(size=(10, 2)))
        rows = generator.normal(size=(300, 2)) * [5.0, 2.0] @ plane.T + 7.0
        mean, axes, explained = principal_axes(rows)
        assert np.allclose(axes @ axes.T, plane @ plane.T)
        assert sum(explained) == pytest.approx(1.0)
        assert explained[0] == pytest.approx(25 / 29, abs=0.05)
        assert np.allclose((rows - mean) @ axes @ axes.T + mean, rows)

    def test_same_picture_whatever_the_sign_of_the_decomposition(self) -> None:
        rows = random_rows(50, 6).astype(np.float64)
        _, axes, _ = principal_axes(rows)
        assert (axes[np.abs(axes).argmax(axis=0), [0, 1]] > 0).all()

    def test_identical_rows_have_no_variance(self) -> None:
        _, _, explained = principal_axes(np.ones((5, 4)))
        assert explained == (0.0, 0.0)


class TestProject:
    def test_axes_are_joint_over_the_steps(self) -> None:
        # The same rollouts at two steps, the second moved along one direction: fitted per step, both would look alike.
        rows = random_rows(40, 8)
        moved = rows + np.eye(8, dtype=np.float32)[3] * 6
        result = project([batch(rows, 0), batch(moved, 1)], "features")
        assert result is not None
        gap = result.coordinates[1].mean(axis=0) - result.coordinates[0].mean(axis=0)
        assert np.linalg.norm(gap) > 0.5

    def test_length_does_not_matter_direction_does(self) -> None:
        rows = random_rows(30, 5)
        scaled = rows * np.linspace(0.1, 9, 30, dtype=np.float32)[:, None]
        a, b = project([batch(rows)], "features"), project([batch(scaled)], "features")
        assert a is not None and b is not None
        assert np.allclose(a.coordinates[0], b.coordinates[0], atol=1e-5)

    def test_unusable_rows_are_nan_and_harm_no_other(self) -> None:
        rows = random_rows(30, 5)
        spoilt = rows.copy()
        spoilt[3, 1], spoilt[4], spoilt[5, 0] = np.nan, 0.0, np.inf
        result = project([batch(spoilt)], "features")
        assert result is not None
        bad = np.isnan(result.coordinates[0]).any(axis=1)
        assert np.flatnonzero(bad).tolist() == [3, 4, 5]
        clean = project([batch(np.delete(rows, [3, 4, 5], axis=0))], "features")
        assert clean is not None and np.allclose(result.coordinates[0][~bad], clean.coordinates[0])

    def test_steps_without_features_or_of_another_width(self) -> None:
        result = project([batch(None, count=2), batch(random_rows(9, 4)), batch(random_rows(5, 6))], "features")
        assert result is not None
        assert [bool(np.isnan(c).all()) for c in result.coordinates] == [True, False, True]

    @pytest.mark.parametrize(
        "batches", [[], [batch(None, count=4)], [batch(random_rows(2, 4))], [batch(random_rows(9, 1))]]
    )
    def test_too_little_to_project(self, batches: list[RolloutBatch]) -> None:
        assert project(batches, "features") is None

    def test_many_rows_are_fitted_on_some(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = random_rows(400, 6) * np.array([4, 2, 1, 1, 1, 1], dtype=np.float32)
        monkeypatch.setattr("mcpo_rl.analysis.geometry.projection.MOST_FITTED", 100)
        some = project([batch(rows)], "features")
        monkeypatch.undo()
        every = project([batch(rows)], "features")
        assert some is not None and every is not None
        assert np.corrcoef(some.coordinates[0][:, 0], every.coordinates[0][:, 0])[0, 1] > 0.98
