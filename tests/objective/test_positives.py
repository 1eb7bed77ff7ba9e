"""The search for positives by tiles, against the search one positive after the other."""

import pytest
import torch

from mcpo_rl.objective import ContrastiveConfig, RolloutPool
from mcpo_rl.objective import positives as positives_module
from mcpo_rl.objective.layout import Layout
from mcpo_rl.objective.positives import choose_positives, keep_mutual


def pool_of(n, seed=0, domains=3, prompts=None, correct=0.7, d=6):
    rng = torch.Generator().manual_seed(seed)
    prompt = torch.randint(0, prompts or max(1, n // 5), (n,), generator=rng)
    return RolloutPool(
        features=torch.randn(n, d, generator=rng, dtype=torch.float64),
        domains=prompt % domains * 7 - 3,
        prompts=prompt * 11,
        correct=torch.rand(n, generator=rng) < correct,
        usable=torch.rand(n, generator=rng) < 0.9,
    )


def chosen(pool, z, **settings):
    """P(i) with the built-in cosine of z, and with a callable that gives the same scores."""
    anchors = pool.anchors.nonzero().flatten()
    anchors = anchors[pool.domains[anchors].argsort(stable=True)]
    scorers = ("cosine", lambda _: z @ z.T)
    return [choose_positives(pool, z, anchors, ContrastiveConfig(transferability=s, **settings)) for s in scorers]


@pytest.mark.parametrize("block_size", [None, 7])
@pytest.mark.parametrize(
    "shape",
    [{}, {"domains": 1}, {"domains": 7}, {"prompts": 2, "domains": 2}, {"prompts": 150}, {"correct": 0.1}],
)
@pytest.mark.parametrize("num_positives", [1, 40])
def test_tiles_choose_as_one_by_one(block_size, shape, num_positives, make_z):
    pool, z = pool_of(150, **shape), make_z(150, 6)
    tiles, one_by_one = chosen(pool, z, block_size=block_size, num_positives=num_positives)
    assert torch.equal(tiles.rows, one_by_one.rows)
    torch.testing.assert_close(tiles.scores, one_by_one.scores)
    assert (tiles.rows >= 0).any() == ("domains" not in shape or shape["domains"] > 1)


@pytest.mark.parametrize("block_size", [1, 13])
@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("num_positives", [1, 3])
def test_ties_go_to_the_lowest_row_in_tiles(block_size, share, num_positives, make_z):
    """Axes of the space as representations: products of exactly 0 and 1, so most of what could be chosen ties."""
    pool, z = pool_of(120, seed=3), make_z(120, 6)
    axis = torch.arange(120) % 6
    z = torch.where((torch.arange(120) < share * 120)[:, None], torch.eye(6, dtype=torch.float64)[axis], z)
    tiles, one_by_one = chosen(pool, z, block_size=block_size, num_positives=num_positives)
    assert torch.equal(tiles.rows, one_by_one.rows)
    torch.testing.assert_close(tiles.scores, one_by_one.scores)


def test_of_equals_of_one_prompt_the_lowest_row_is_chosen():
    """Three directions, each held by two rollouts of one prompt; no two prompts score the same."""
    way = torch.tensor([[1, 0], [0.8, 0.6], [0.6, 0.8]], dtype=torch.float64)
    z = way[torch.tensor([0, 0, 2, 1, 1, 2])]
    rows = torch.arange(6)
    prompts = torch.tensor([0, 0, 2, 1, 1, 2])
    pool = RolloutPool(features=z, domains=(prompts > 0).long(), prompts=prompts, correct=rows >= 0)
    tiles, one_by_one = chosen(pool, z, num_positives=2)
    assert tiles.rows.tolist() == one_by_one.rows.tolist() == [[3, 2]] * 2 + [[0, -1]] * 4


def test_without_a_tie_nothing_is_chosen_twice(make_z, monkeypatch):
    def never(*_):
        raise AssertionError("the slow search was used")

    pool, z = pool_of(150), make_z(150, 6)
    expected = chosen(pool, z)[1]
    monkeypatch.setattr(positives_module, "_choose_one_by_one", never)
    anchors = pool.anchors.nonzero().flatten()
    config = ContrastiveConfig(transferability="cosine")
    tiles = choose_positives(pool, z, anchors, config).rows
    by_row = dict(zip(anchors[pool.domains[anchors].argsort(stable=True)].tolist(), expected.rows, strict=True))
    assert all(torch.equal(row, by_row[anchor]) for anchor, row in zip(anchors.tolist(), tiles, strict=True))


def test_a_prompt_of_several_domains_is_chosen_once(make_z):
    pool, z = pool_of(150), make_z(150, 6)
    shared = RolloutPool(
        features=pool.features, domains=torch.arange(150) % 3, prompts=pool.prompts, correct=pool.correct
    )
    tiles, one_by_one = chosen(shared, z, num_positives=4)
    assert torch.equal(tiles.rows, one_by_one.rows)
    for row in tiles.rows:
        prompts = shared.prompts[row[row >= 0]].tolist()
        assert len(set(prompts)) == len(prompts)


def test_mutual_positives_by_hand():
    """Rollouts 0 and 1 are of one prompt, 2 and 3 of two others of another domain; nobody chooses 3 best."""
    scores = torch.tensor([[0, 0, 0.9, 0.5], [0, 0, 0.8, 0.7], [0.9, 0.8, 0, 0], [0.5, 0.7, 0, 0]])
    rows = torch.arange(4)
    pool = RolloutPool(
        features=torch.eye(4),
        domains=rows // 2,
        prompts=torch.tensor([4, 4, 5, 6]),
        correct=rows >= 0,
        usable=rows >= 0,
    )
    config = ContrastiveConfig(num_positives=1, transferability=lambda _: scores)
    chosen = choose_positives(pool, scores, rows, config)
    assert chosen.rows.tolist() == [[2], [2], [0], [1]]
    mutual = keep_mutual(chosen, rows, pool.prompts)
    # 2 chose rollout 0, so the prompt of 0 and of its sibling 1; nobody of the prompt of 1 chose 3.
    assert mutual.rows.tolist() == [[2], [2], [0], [-1]]
    assert mutual.scores.flatten().tolist() == pytest.approx([0.9, 0.8, 0.9, 0.0])


def test_those_that_stay_keep_their_order(make_z):
    pool, z = pool_of(150), make_z(150, 6)
    anchors = pool.anchors.nonzero().flatten()
    config = ContrastiveConfig(transferability="cosine", num_positives=6)
    chosen = choose_positives(pool, z, anchors, config)
    mutual = keep_mutual(chosen, anchors, pool.prompts)
    for before, after in zip(chosen.rows.tolist(), mutual.rows.tolist(), strict=True):
        kept = [row for row in after if row >= 0]
        assert kept == [row for row in before if row in kept] and after == kept + [-1] * (6 - len(kept))
    assert 0 < (mutual.rows >= 0).sum() < (chosen.rows >= 0).sum()


def test_the_layout_is_an_order_of_slices():
    domains, prompts = torch.tensor([5, 5, 2, 5, 5, 5, 2]), torch.tensor([9, 8, 1, 8, 7, 8, 1])
    layout = Layout.of(domains, prompts)
    assert layout.order.tolist() == [2, 6, 1, 4, 0, 3, 5] and not layout.shared_prompts
    assert [span.counts for span in layout.domains] == [[1, 1], [3, 1, 1]]
    blocks = list(layout.domains[1].blocks(2))
    assert [[layout.order[part].tolist() for part in block.parts] for block in blocks] == [[[1], [3], [5]], [[4, 0]]]
    assert Layout.of(torch.tensor([0, 1]), torch.tensor([4, 4])).shared_prompts


@pytest.mark.parametrize("block_size", [1, 5, 64, 1000])
def test_blocks_hold_whole_prompts_and_everything_once(block_size):
    pool = pool_of(200, seed=5)
    layout = Layout.of(pool.domains, pool.prompts)
    places = []
    for span in layout.domains:
        for block in span.blocks(block_size):
            rows = torch.cat([layout.order[part] for part in block.parts])
            assert len(rows) == block.size and (block.size <= block_size or len(block.parts[0:1]) == block.counts[0])
            places += [place for part in block.parts for place in range(part.start, part.stop)]
            held = set(pool.prompts[rows].tolist())
            assert sum(prompt in held for prompt in pool.prompts.tolist()) == block.size
    assert sorted(places) == list(range(200))
