"""The sft stage: which demonstrations it trains on, and in which order."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import Any

import pytest
from helpers.projects import default_params
from helpers.reasoning import problem
from helpers.tasks import accepted_tasks
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.episode import Episode
from synthagent.episodes.real_tools import task_of
from synthagent.errors import ParamsError
from synthagent.params import Params
from synthagent.records import Trajectory
from synthagent.stages.rubrics import demonstrate
from synthagent.stages.sft import (
    Example,
    _affordable,
    check_params,
    choose_lessons,
    choose_mixed,
    in_batches_of_like_length,
)

LESSONS = st.lists(st.lists(st.integers(1, 500), min_size=1, max_size=2), max_size=100)
BATCH = st.integers(1, 9)
TASKS = {task.id: task for task in accepted_tasks()[:120] if task.split == "train"}


@lru_cache
def demos() -> list[Trajectory]:
    """Three demonstrations of each task."""
    params = changed(rubrics={"demos_per_task": 3})
    return [demo for task in TASKS.values() for demo in demonstrate(task, params).demos]


def chosen(rows: list[Trajectory], count: int, seed: int = 0) -> list[Example]:
    """The examples that are chosen, in order."""
    return [example for lesson in choose_lessons(rows, TASKS, count, seed) for example in lesson]


def changed(**sections: dict[str, Any]) -> Params:
    """The default params with some keys of some sections changed."""
    params = default_params()
    update = {name: getattr(params, name).model_copy(update=keys) for name, keys in sections.items()}
    return params.model_copy(update=update)


# --- the mix --------------------------------------------------------------------------------------------------------


def of_problems(count: int) -> list[Trajectory]:
    """Demonstrations of so many problems."""
    messages = (*Episode(task_of(problem())).messages, {"role": "assistant", "content": "<answer>42</answer>"})
    demo = demos()[0].model_copy(update={"messages": messages, "end": "answer", "error": None})
    return [demo.model_copy(update={"task_id": problem(number).id}) for number in range(count)]


@pytest.mark.parametrize(("share", "there", "wanted"), [(0.1, 50, 10), (0.5, 30, 30), (0.0, 50, 0), (0.2, 0, 0)])
def test_a_share_of_the_demonstrations_is_of_problems_or_as_many_as_there_are(
    share: float, there: int, wanted: int
) -> None:
    params = default_params().sft.model_copy(update={"demos": 100, "reasoning_share": share})
    tasks = TASKS | {problem(number).id: task_of(problem(number)) for number in range(there)}
    lessons = choose_mixed(demos(), of_problems(there), tasks, params, 0)
    examples = [example for lesson in lessons for example in lesson]
    real = [number for number, lesson in enumerate(lessons) if lesson[0].task.world_kind == "real"]
    assert len(examples) == 100
    assert sum(example.task.world_kind == "real" for example in examples) == len(real) == wanted
    if wanted:
        assert min(real) < len(lessons) / 3 < 2 * len(lessons) / 3 < max(real), "they are spread over the training"
    else:
        assert lessons == choose_lessons(demos(), TASKS, 100, 0)


# --- the choice -----------------------------------------------------------------------------------------------------


def test_no_task_is_demonstrated_twice_before_every_task_is_once() -> None:
    for rounds, count in ((1, len(TASKS) // 2), (1, len(TASKS)), (2, len(TASKS) + 5), (3, 3 * len(TASKS))):
        times = Counter(example.task.id for example in chosen(demos(), count))
        assert times.total() == count
        assert max(times.values()) == rounds
        if count >= len(TASKS):
            assert set(times) == set(TASKS)


def test_a_lesson_shows_both_twins_and_each_its_own_task() -> None:
    known = {(demo.task_id, demo.sample): demo.messages for demo in demos()}
    lessons = choose_lessons(demos(), TASKS, 10_000, seed=0)
    for lesson in lessons:
        samples = [{n for n in range(3) if known[e.task.id, n] == e.messages} for e in lesson]
        assert set.intersection(*samples)
        if len(lesson) == 2:
            assert lesson[0].task.twin_of == lesson[1].task.id
    assert sum(len(lesson) == 2 for lesson in lessons) > 0.9 * len(lessons)


def test_demonstrations_of_tasks_of_one_desk_are_one_lesson_for_each_sample() -> None:
    names = sorted(TASKS)[:5]
    at_desk = {name: TASKS[name].model_copy(update={"twin_of": None, "provenance": {"desk": "d"}}) for name in names}
    rows = [demo for demo in demos() if demo.task_id in names]
    lessons = choose_lessons(rows, at_desk, 100, seed=0)
    assert [len(lesson) for lesson in lessons] == [5, 5, 5]
    assert all({example.task.id for example in lesson} == {*names} for lesson in lessons)
    assert sum(map(len, choose_lessons(rows, at_desk, 7, seed=0))) == 7


def test_faulty_demonstrations_are_left_out_and_unfinished_ones_taken_only_for_want_of_others() -> None:
    finished, unfinished, faulty = demos()[:6], demos()[6:12], demos()[12:18]
    cut = [demo.model_copy(update={"end": "turn_limit"}) for demo in unfinished]
    bad = [demo.model_copy(update={"end": "error", "error": "user_fault"}) for demo in faulty]

    def taken(rows: list[Trajectory]) -> set[str]:
        return {str(example.messages) for example in chosen(rows, 100)}

    assert taken([*finished, *cut, *bad]) == {str(demo.messages) for demo in finished}
    assert taken([*cut, *bad]) == {str(demo.messages) for demo in cut}
    assert taken(bad) == set()


def test_of_fewer_demonstrations_than_asked_for_all_are_taken() -> None:
    assert len(chosen(demos(), 10_000)) == len(demos())
    assert choose_lessons([], TASKS, 5, seed=0) == []


def test_the_choice_and_its_order_depend_on_the_seed_and_nothing_else() -> None:
    first, again, other = (chosen(demos(), 30, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    in_order = sorted(demos(), key=lambda demo: demo.id)[:30]
    assert [example.messages for example in first] != [demo.messages for demo in in_order]


# --- the order ------------------------------------------------------------------------------------------------------


@given(LESSONS, BATCH, st.integers(0, 3))
def test_an_order_has_every_episode_once(lessons: list[list[int]], batch: int, seed: int) -> None:
    order = in_batches_of_like_length(lessons, batch, seed)
    assert sorted(order) == list(range(sum(map(len, lessons))))
    assert order == in_batches_of_like_length(lessons, batch, seed)


def batches_of(order: list[int], batch: int) -> list[list[int]]:
    return [order[start : start + batch] for start in range(0, len(order), batch)]


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), max_size=300), st.integers(0, 3))
def test_twins_are_in_one_batch(lessons: list[tuple[int, int]], seed: int) -> None:
    order = in_batches_of_like_length(lessons, 8, seed)
    for batch in batches_of(order, 8):
        assert all(i ^ 1 in batch for i in batch)


@given(st.lists(st.lists(st.integers(1, 500), min_size=4, max_size=4), max_size=100), st.integers(0, 3))
def test_demonstrations_of_a_desk_are_in_one_batch(lessons: list[list[int]], seed: int) -> None:
    order = in_batches_of_like_length(lessons, 8, seed)
    for batch in batches_of(order, 8):
        assert all(i // 4 * 4 + other in batch for i in batch for other in range(4))


def padding(lengths: list[int], order: list[int], batch: int) -> int:
    rows = [[lengths[i] for i in part] for part in batches_of(order, batch)]
    return sum(max(row) * len(row) - sum(row) for row in rows)


def test_batches_of_like_length_have_little_padding_and_come_in_no_order_of_length() -> None:
    lengths = [(37 * (i // 2)) % 400 + 20 for i in range(640)]
    lessons = list(zip(lengths[::2], lengths[1::2], strict=True))
    order = in_batches_of_like_length(lessons, 8, seed=0)
    assert padding(lengths, order, 8) < 0.3 * padding(lengths, list(range(640)), 8)
    means = [sum(lengths[i] for i in part) / 8 for part in batches_of(order, 8)]
    rises = sum(later > earlier for earlier, later in pairwise(means))
    assert 0.3 < rises / len(means) < 0.7
    assert order != in_batches_of_like_length(lessons, 8, seed=1)


# --- params that cannot be ------------------------------------------------------------------------------------------


def test_the_default_params_can_be_trained() -> None:
    check_params(default_params())


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"hidden_size": 30, "heads": 2}, r"tiny\.hidden_size / student\.tiny\.heads: must be even, but 30 / 2 is 15"),
        ({"hidden_size": 4, "heads": 8}, r"must be even, but 4 / 8 is 0"),
    ],
)
def test_a_tiny_student_that_cannot_be_is_told_and_does_not_matter_to_another_base(
    sizes: dict[str, int], said: str
) -> None:
    tiny = default_params().student.tiny.model_copy(update=sizes)
    with pytest.raises(ParamsError, match=said):
        check_params(changed(student={"tiny": tiny}))
    check_params(changed(student={"tiny": tiny, "base": "smollm2"}))


def test_a_batch_that_cannot_be_shared_out_is_told() -> None:
    said = r"sft\.batch_size: must be a multiple of compute\.processes \(2\), but it is 5"
    with pytest.raises(ParamsError, match=said):
        check_params(changed(sft={"batch_size": 5}, compute={"processes": 2}))


# --- a number of tokens ---------------------------------------------------------------------------------------------


@given(LESSONS, st.integers(1, 20_000))
def test_of_so_many_tokens_whole_lessons_are_taken_from_the_first_on_as_long_as_they_fit(
    lengths: list[list[int]], tokens: int
) -> None:
    numbers = iter(range(10_000))
    lessons = [tuple(next(numbers) for _ in lesson) for lesson in lengths]
    flat = [length for lesson in lengths for length in lesson]
    if not lessons or sum(lengths[0]) > tokens:
        with pytest.raises(ParamsError, match=r"sft\.tokens: .* raise it"):
            _affordable(lessons, range(len(flat)), flat, tokens)  # type: ignore[arg-type]  # only their sizes matter
        return
    kept = _affordable(lessons, range(len(flat)), flat, tokens)  # type: ignore[arg-type]
    assert kept == [*range(len(kept))]
    assert sum(flat[: len(kept)]) <= tokens
    sizes = [0]
    for lesson in lengths:
        sizes.append(sizes[-1] + len(lesson))
    assert len(kept) in sizes
    following = sizes[sizes.index(len(kept)) + 1 :]
    assert not following or sum(flat[: following[0]]) > tokens


def test_without_a_number_of_tokens_all_that_fit_are_taken() -> None:
    assert _affordable([], [0, 2, 3], [9, 9, 9, 9], None) == [0, 2, 3]
