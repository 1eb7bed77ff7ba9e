import pytest
import torch

from mcpo_rl.errors import ConfigError, PoolError
from mcpo_rl.objective import RolloutPool, pool_hidden_states


def fields(**changed):
    good = {
        "features": torch.randn(4, 3),
        "domains": torch.tensor([0, 0, 1, 1]),
        "prompts": torch.tensor([0, 0, 1, 1]),
        "correct": torch.tensor([True, False, True, False]),
        "usable": torch.tensor([True, True, True, False]),
    }
    return good | changed


NAN_ROWS = torch.zeros(4, 3)
NAN_ROWS[1, 2], NAN_ROWS[3, 0] = float("nan"), float("-inf")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": [[1.0]]}, "features is a list; expected a torch.Tensor"),
        ({"features": torch.zeros(4, 3, dtype=torch.int64)}, "features is torch.int64; expected floating point"),
        ({"features": torch.zeros(4)}, r"features has shape \(4,\); expected \(N, d\)"),
        ({"features": torch.zeros(4, 2, 3)}, r"features has shape \(4, 2, 3\); expected \(N, d\)"),
        ({"features": torch.zeros(4, 0)}, r"features has shape \(4, 0\)"),
        ({"features": NAN_ROWS}, r"NaN or infinite values in 2 of 4 rows \(rows 1, 3\)"),
        ({"domains": None}, "domains is a NoneType; expected a torch.Tensor"),
        ({"domains": torch.zeros(4)}, "domains is torch.float32; expected int32 or int64"),
        ({"domains": torch.zeros(3, dtype=torch.int64)}, "domains has 3 entries; features have 4 rows"),
        ({"prompts": torch.zeros(4, 1, dtype=torch.int64)}, r"prompts has shape \(4, 1\); expected \(N,\)"),
        ({"prompts": torch.zeros(4, dtype=torch.int16)}, "prompts is torch.int16"),
        ({"correct": torch.ones(4)}, "correct is torch.float32; expected bool .*correct_threshold"),
        ({"correct": torch.ones(5, dtype=torch.bool)}, "correct has 5 entries; features have 4 rows"),
        ({"usable": torch.ones(4, dtype=torch.int64)}, "usable is torch.int64; expected bool"),
        ({"domains": torch.zeros(4, dtype=torch.int64, device="meta")}, "domains is on meta, features on cpu"),
    ],
)
def test_each_misfit_is_named(changed, message):
    with pytest.raises(PoolError, match=message):
        RolloutPool(**fields(**changed))


def test_many_bad_rows_are_not_all_listed():
    with pytest.raises(PoolError, match=r"in 9 of 9 rows \(rows 0, 1, 2, 3, 4, \.\.\.\)"):
        labels = torch.zeros(9, dtype=torch.int64)
        RolloutPool(features=torch.full((9, 1), torch.inf), domains=labels, prompts=labels, correct=labels.bool())


def test_defaults_and_views():
    pool = RolloutPool(**fields(domains=torch.tensor([0, 0, 1, 1], dtype=torch.int32), usable=None))
    assert pool.domains.dtype == torch.int64 and bool(pool.usable.all())
    assert (len(pool), pool.feature_dim, pool.device) == (4, 3, torch.device("cpu"))
    partly = RolloutPool(**fields())
    assert partly.anchors.tolist() == [True, False, True, False]
    assert partly.negatives.tolist() == [False, True, False, False]


def test_to_changes_the_dtype_of_the_features_alone():
    pool = RolloutPool(**fields()).to("cpu", dtype=torch.float64)
    assert pool.features.dtype == torch.float64 and pool.domains.dtype == torch.int64
    assert pool.usable.tolist() == [True, True, True, False]


HIDDEN = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]], [[5.0, 5.0], [6.0, 6.0], [7.0, 8.0]]])


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [[2.0, 3.0], [6.0, 6.5]]), ("last", [[3.0, 4.0], [7.0, 8.0]])],
)
def test_pooling_by_hand(dtype, pooling, expected):
    mask = torch.tensor([[1, 1, 0], [1, 0, 1]]).to(dtype)
    assert pool_hidden_states(HIDDEN, mask, pooling).tolist() == expected


def test_weighted_pooling_by_hand():
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [float("nan")] * 2]], requires_grad=True)
    pooled = pool_hidden_states(hidden, torch.tensor([[0.25, 0.5, 0.0]]), "weighted")
    assert pooled.tolist() == [[1.75, 2.5]]
    (gradient,) = torch.autograd.grad(pooled.sum(), hidden)
    assert gradient[0].tolist() == [[0.25] * 2, [0.5] * 2, [0.0] * 2]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_padding_and_empty_rows_give_no_nan(pooling):
    hidden = HIDDEN.clone()
    hidden[0, 2] = float("nan")
    hidden.requires_grad_()
    pooled = pool_hidden_states(hidden, torch.tensor([[1, 1, 0], [0, 0, 0]]), pooling)
    assert pooled[1].tolist() == [0.0, 0.0] and bool(pooled.isfinite().all())
    (gradient,) = torch.autograd.grad(pooled.sum(), hidden)
    assert gradient[0].sum(1).tolist() == ([1.0, 1.0, 0.0] if pooling == "mean" else [0.0, 2.0, 0.0])
    assert not gradient[1].any()


@pytest.mark.parametrize("pooling", ["mean", "last", "weighted"])
def test_no_tokens_at_all(pooling):
    assert pool_hidden_states(torch.zeros(2, 0, 3), torch.zeros(2, 0), pooling).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("pooling", ["mean", "last", "weighted"])
def test_pooling_gradient(pooling):
    hidden = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    mask = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 1]])
    assert torch.autograd.gradcheck(lambda x: pool_hidden_states(x, mask, pooling), hidden)


def test_half_precision_is_accumulated_in_float32():
    hidden = torch.ones(1, 4096, 1, dtype=torch.bfloat16)  # a bfloat16 sum of ones stops growing at 256
    pooled = pool_hidden_states(hidden, torch.ones(1, 4096))
    assert pooled.dtype == torch.float32 and pooled.item() == 1.0
    assert pool_hidden_states(hidden.double(), torch.ones(1, 4096)).dtype == torch.float64


def test_pooling_refuses_what_does_not_fit():
    with pytest.raises(PoolError, match=r"mask has shape \(2, 2\); expected \(2, 3\)"):
        pool_hidden_states(HIDDEN, torch.ones(2, 2))
    with pytest.raises(PoolError, match=r"expected floating point \(B, T, d\)"):
        pool_hidden_states(HIDDEN[0], torch.ones(3))
    with pytest.raises(PoolError, match="mask is on meta"):
        pool_hidden_states(HIDDEN, torch.ones(2, 3, device="meta"))
    with pytest.raises(ConfigError, match=r"pooling is 'men'; expected .* `weighted`\. Did you mean `mean`"):
        pool_hidden_states(HIDDEN, torch.ones(2, 3), "men")
