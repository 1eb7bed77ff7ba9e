import pytest
import torch

from mcpo_rl.objective import ContrastiveHead
from mcpo_rl.objective.head_pass import HeadPass


def passed(kept_bytes, features, gradient):
    head = ContrastiveHead(6, hidden_dim=5, embedding_dim=3, dtype=torch.float64)
    made = HeadPass(head, features, kept_bytes)
    return made.embeddings.detach(), *made.backward(gradient)


@pytest.mark.parametrize("rows", [1, 4, 22, 23])
def test_chunks_of_rows_give_what_the_whole_gives(rows):
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(23, 6, generator=rng)  # float32 into a float64 head
    gradient = torch.randn(23, 3, generator=rng, dtype=torch.float64)
    head = ContrastiveHead(6, hidden_dim=5, embedding_dim=3, dtype=torch.float64)
    h = features.double().requires_grad_()
    z = head(h)
    of_h, *of_head = torch.autograd.grad(z, (h, *head.parameters()), gradient)
    row_bytes = 2 * (6 + 5 + 3) * 8
    embeddings, feature_grads, head_grads = passed(rows * row_bytes, features, gradient)
    torch.testing.assert_close(embeddings, z.detach(), rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(feature_grads, of_h, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(list(head_grads), of_head, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rows", [2, 100])
def test_no_gradient_gives_none_for_the_head(rows):
    _, feature_grads, head_grads = passed(rows * 224, torch.randn(5, 6), torch.zeros(5, 3, dtype=torch.float64))
    assert head_grads == () and feature_grads.shape == (5, 6) and not feature_grads.any()


def test_an_empty_pool_passes():
    embeddings, feature_grads, head_grads = passed(1, torch.zeros(0, 6), torch.zeros(0, 3, dtype=torch.float64))
    assert embeddings.shape == (0, 3) and feature_grads.shape == (0, 6) and head_grads == ()
