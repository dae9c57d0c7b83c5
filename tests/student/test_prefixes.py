"""Rows that begin alike go through the network as one: the distinct tokens of a batch, and models that take them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.given import save_given
from hypothesis import given as drawn
from hypothesis import strategies as st

from synthagent.student.attention import NAME, fast_attention, takes_merged
from synthagent.student.format import IGNORED
from synthagent.student.labelled import Labelled
from synthagent.student.model import Student, load_student
from synthagent.student.prefixes import merge

ROWS = st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=9), min_size=1, max_size=6)
PROMPT = [5, 6, 7, 8, 9, 10]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Student:
    return load_student(save_given(tmp_path_factory.mktemp("given")))


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows, padded at the right with a token that also occurs in them; and what is no padding."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [1] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[column < len(row) for column in range(width)] for row in rows])


@drawn(ROWS)
def test_each_token_that_follows_other_tokens_is_there_once(rows: list[list[int]]) -> None:
    ids, real = padded(rows)
    found = merge(ids, real)
    beginnings = {tuple(row[: end + 1]) for row in rows for end in range(len(row))}
    assert found.ids.shape == found.positions.shape == (1, len(beginnings))
    numbers = {}
    for row, of_row in zip(rows, found.numbers.tolist(), strict=True):
        for end in range(len(row)):
            assert numbers.setdefault(tuple(row[: end + 1]), of_row[end]) == of_row[end]
            assert found.ids[0, of_row[end]] == row[end]
            assert found.positions[0, of_row[end]] == end
    assert sorted(numbers.values()) == list(range(len(beginnings)))


@drawn(ROWS)
def test_the_layout_says_of_each_token_once_that_it_is_first_there(rows: list[list[int]]) -> None:
    ids, real = padded(rows)
    found = merge(ids, real)
    layout = found.layout[0, 0]
    assert layout[layout >= 0].tolist() == list(range(found.ids.shape[1]))
    assert layout.where(layout >= 0, -1 - layout).tolist() == found.numbers.tolist()
    assert not (~real & (layout >= 0)).any()


def passed(model: Any, rows: list[list[int]], left: bool = False) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Log-probabilities of all tokens behind the prompt, the gradient, and how many tokens went through."""
    width = max(map(len, rows))
    pads = [[0] * (width - len(row)) for row in rows]
    sides = list(zip(rows, pads, strict=True))
    ids = torch.tensor([pad + row if left else row + pad for row, pad in sides])
    mask = torch.tensor([[0] * len(pad) + [1] * len(row) if left else [1] * len(row) + pad for row, pad in sides])
    labels = ids.masked_fill(mask == 0, IGNORED)
    for row, (_, pad) in enumerate(sides):
        labels[row, : len(PROMPT) + (len(pad) if left else 0)] = IGNORED
    through: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(
        lambda _, inputs, out: through.append(out[..., 0].numel())
    )
    found = Labelled(model, model)(input_ids=ids, attention_mask=mask, labels=labels).log_probs
    hook.remove()
    weights = torch.linspace(0.5, 1.5, found.numel()).view_as(found)
    (found * weights).sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    model.zero_grad()
    return found.detach(), gradient, sum(through)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("tail", [3, 200])
def test_the_loss_and_its_gradient_are_those_of_the_rows(left: bool, tail: int, given: Student) -> None:
    """Four rows of a prompt and one of another; two go on alike. `tail`: also beyond a block of attention."""
    torch.manual_seed(tail)
    tails = [torch.randint(11, 900, (tail + extra,)).tolist() for extra in (0, 4, 2, 1)]
    rows = [PROMPT + one for one in tails] + [PROMPT + tails[0] + [3, 4], [4] + PROMPT + tails[0]]
    model = given.model.train()
    plain, gradient, all_of_them = passed(model, rows, left)
    with fast_attention(model):
        assert takes_merged(model)
        merged, of_merged, through = passed(model, rows, left)
    torch.testing.assert_close(merged, plain, rtol=1e-4, atol=1e-4)
    assert float((of_merged - gradient).norm() / gradient.norm()) < 1e-4
    assert all_of_them == len(rows) * max(map(len, rows))
    assert through == sum(map(len, rows)) - 3 * len(PROMPT) - len(PROMPT + tails[0])


@pytest.mark.parametrize("why", ["it mixes tokens elsewhere", "dropout", "a mask it cannot take"])
def test_a_model_that_would_make_something_else_of_them_is_not_given_merged_rows(
    why: str, given: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = given.model.train()
    hook = None
    if why == "it mixes tokens elsewhere":
        layer = model.model.layers[0].mlp
        hook = layer.register_forward_hook(lambda _, inputs, out: out + 0.1 * out.cumsum(1))
    elif why == "dropout":
        for layer in model.model.layers:
            monkeypatch.setattr(layer.self_attn, "attention_dropout", 0.5)
    else:
        forward = model.model.forward

        def picky(*args: Any, attention_mask: Any = None, **more: Any) -> Any:
            if attention_mask is not None and attention_mask.ndim != 2:
                raise ValueError("attention_mask: of shape (rows, length)")
            return forward(*args, attention_mask=attention_mask, **more)

        monkeypatch.setattr(model.model, "forward", picky)
    before = torch.random.get_rng_state()
    with fast_attention(model):
        assert not takes_merged(model)
        assert model.config._attn_implementation == NAME
    assert torch.equal(torch.random.get_rng_state(), before)
    if hook:
        hook.remove()
