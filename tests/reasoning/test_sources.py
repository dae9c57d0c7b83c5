"""Where problems come from: reasoning-gym, or a file in a published format. What is unfit is a row with a reason."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from synthagent.errors import InputError, ParamsError
from synthagent.reasoning.answers import ENTRY, same, scores_itself
from synthagent.reasoning.given import read_given
from synthagent.reasoning.gym import pose
from synthagent.reasoning.weave import weave
from synthagent.records import Persona, Problem, Rejected

pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")


def read(folder: Path, *rows: Any, search: bool = True) -> list[Problem | Rejected]:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return list(read_given(path, 1_000, search))


def test_problems_of_reasoning_gym_depend_on_kinds_seed_and_number_alone() -> None:
    kinds = {"gcd": 1.0, "chain_sum": 2.0, "lcm": 0.0}
    some = list(pose(kinds, {}, 30, 1))
    assert some[:10] == list(pose(kinds, {}, 10, 1))
    assert [row.id for row in some[:2]] == ["problem-0000000", "problem-0000001"]
    assert {row.kind for row in some if isinstance(row, Problem)} == {"gcd", "chain_sum"}
    others = {row.instruction for row in pose(kinds, {}, 30, 2) if isinstance(row, Problem)}
    assert not others & {row.instruction for row in some if isinstance(row, Problem)}


def test_a_source_that_knows_no_answer_gives_rejected_rows() -> None:
    rows = list(pose({"propositional_logic": 1.0}, {}, 3, 0))
    assert {row.reason for row in rows if isinstance(row, Rejected)} == {"no_answer"}


@pytest.mark.parametrize("kind", ["gcds", "composite", "time_intervals"])
def test_a_kind_that_cannot_be_made_is_told_with_its_place(kind: str) -> None:
    with pytest.raises(ParamsError, match=f"^params.yaml: reasoning.kinds.{kind}: ") as raised:
        list(pose({kind: 1.0}, {}, 3, 0))
    assert "\n" not in str(raised.value)


def test_settings_of_a_kind_decide_how_its_problems_are_and_stand_in_their_provenance() -> None:
    settings = {"gcd": {"min_value": 10, "max_value": 60}, "chain_sum": {"max_terms": 2, "max_digits": 1}}
    posed = [row for row in pose({"gcd": 1.0, "chain_sum": 1.0}, settings, 40, 1) if isinstance(row, Problem)]
    for problem in posed:
        assert problem.provenance["settings"] == settings[problem.kind]
        low, high = (10, 60) if problem.kind == "gcd" else (0, 9)
        numbers = [int(number) for number in re.findall(r"\d+", problem.instruction)]
        assert len(numbers) == 2
        assert all(low <= number <= high for number in numbers), problem.instruction


def test_an_answer_is_scored_by_the_dataset_as_it_was_set() -> None:
    settings = {"decimal_arithmetic": {"min_num_decimal_places": 9, "max_num_decimal_places": 9}}
    (as_set,) = pose({"decimal_arithmetic": 1.0}, settings, 1, 1)
    assert isinstance(as_set, Problem)
    assert scores_itself(as_set)
    nearly = str(Decimal(as_set.answer) + Decimal("0.0001"))
    assert not same(as_set, nearly)  # its own tolerance is a unit of the ninth place
    usual = as_set.model_copy(update={"provenance": {ENTRY: as_set.provenance[ENTRY]}})
    assert same(usual, nearly)  # and of the third place without settings


def test_settings_of_a_kind_that_is_not_chosen_change_nothing_and_of_one_that_is_not_there_are_told() -> None:
    assert list(pose({"gcd": 1.0}, {"lcm": {"max_value": 60}}, 5, 1)) == list(pose({"gcd": 1.0}, {}, 5, 1))
    with pytest.raises(ParamsError, match=r"^params.yaml: reasoning\.settings\.gcds: reasoning-gym has no such task"):
        list(pose({"gcd": 1.0}, {"gcds": {"max_value": 60}}, 5, 1))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"biggest": 7}, "reasoning-gym has no setting biggest of it; it has max_numbers, max_value, min_numbers"),
        ({"seed": 3}, "has no setting seed"),
        ({"min_value": 60, "max_value": 10}, "max_value must be > min_value"),
        ({"max_value": "large"}, "not supported between"),
    ],
)
def test_a_setting_that_a_kind_does_not_take_is_told_with_its_place(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=r"^params.yaml: reasoning\.settings\.lcm: ") as raised:
        list(pose({"lcm": 1.0}, {"lcm": settings}, 3, 0))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("row", "question", "answer", "kind", "tools"),
    [
        ({"question": "2 + 2?", "answer": ["4.0"]}, "2 + 2?", "4.0", "given", ("python",)),
        (
            {
                "question": "Who?",
                "ability": "qa",
                "reward_model": {"style": "rule", "ground_truth": ["Ann", "Ann Lee"]},
            },
            "Who?",
            "Ann",
            "qa",
            ("search",),
        ),
        (
            {"ability": "math", "prompt": [{"role": "user", "content": "x?"}], "reward_model": {"ground_truth": "7"}},
            "x?",
            "7",
            "math",
            ("python",),
        ),
        (
            {"ID": "2024-I-1", "Problem": "p?", "Solution": "so it is 204", "Answer": 204},
            "p?",
            "204",
            "given",
            ("python",),
        ),
        ({"problem": "q?", "answer": r"\frac{1}{2}", "kind": "algebra"}, "q?", r"\frac{1}{2}", "algebra", ("python",)),
        ({"question": "q?", "answer": "7", "tools": ["search", "python"]}, "q?", "7", "given", ("python", "search")),
        ({"question": "q?", "answer": ["1/2", "0.5"]}, "q?", "1/2", "given", ("python",)),
    ],
)
def test_a_row_of_a_published_format_is_a_problem(
    row: Any, question: str, answer: str, kind: str, tools: tuple[str, ...], tmp_path: Path
) -> None:
    (problem,) = read(tmp_path, row)
    assert isinstance(problem, Problem)
    assert (problem.instruction, problem.answer, problem.kind, problem.tools) == (question, answer, kind, tools)
    assert problem.source == "mine.jsonl"
    assert "so it is" not in problem.model_dump_json()


@pytest.mark.parametrize(
    ("row", "reason", "said"),
    [
        ("{broken", "malformed", "not JSON"),
        ("[1, 2]", "malformed", "not a JSON object"),
        ("[" * 100_000, "malformed", "not JSON"),
        ({"answer": "4"}, "malformed", "no question"),
        ({"question": "   ", "answer": "4"}, "malformed", "no question"),
        ({"question": ["a"], "answer": "4"}, "malformed", "no question"),
        ({"question": "q?"}, "no_answer", "no answer"),
        ({"question": "q?", "answer": None}, "no_answer", "no answer"),
        ({"question": "q?", "answer": []}, "no_answer", "no answer"),
        ({"question": "q?", "answer": ["3", "5"]}, "several_answers", "3, 5"),
        ({"question": "q?", "answer": "3 or 5"}, "several_answers", "3 or 5"),
        ({"question": "q?", "answer": "3", "ground_truth": "5"}, "several_answers", "3, 5"),
        ({"question": "q?", "answer": "3", "kind": ["x"]}, "malformed", "kind"),
        ({"question": "q?", "answer": "3", "tools": ["shell"]}, "malformed", "tools"),
        ({"question": "q" * 20_001, "answer": "3"}, "too_long", "20,001"),
        ({"question": "q?", "answer": "3" * 4_001}, "too_long", "4,000"),
    ],
)
def test_a_row_that_is_no_problem_is_rejected_with_its_line_and_the_others_stay(
    row: Any, reason: str, said: str, tmp_path: Path
) -> None:
    rejected, problem = read(tmp_path, row, {"question": "2 + 2?", "answer": 4})
    assert isinstance(rejected, Rejected)
    assert isinstance(problem, Problem)
    assert (rejected.id, rejected.stage, rejected.reason) == ("problem-0000000", "reasoning", reason)
    assert rejected.detail.startswith("mine.jsonl:1: ")
    assert said in rejected.detail


def test_a_problem_for_the_search_is_rejected_where_there_is_none(tmp_path: Path) -> None:
    (row,) = read(tmp_path, {"question": "Who?", "ability": "qa", "answer": "Ann"}, search=False)
    assert isinstance(row, Rejected)
    assert row.reason == "no_search"


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b"\n\n", "no problem in it"), (b"\xff\xfe", "not UTF-8")]
)
def test_a_file_that_cannot_be_read_is_one_message(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"^reasoning\.path: ") as raised:
        list(read_given(path, 10, search=False))
    assert said in str(raised.value)


def test_a_scenario_has_the_question_word_for_word_and_the_known_answer() -> None:
    (problem,) = pose({"gcd": 1.0}, {}, 1, 0)
    assert isinstance(problem, Problem)
    persona = Persona(id="p9", text="a night-shift librarian who mends torn atlases", source="built-in")
    woven = [weave(problem.model_copy(update={"id": f"problem-{n}"}), persona, seed=0) for n in range(20)]
    assert len({each.instruction for each in woven}) > 3
    for each in woven:
        assert problem.instruction in each.instruction
        assert "a night-shift librarian" in each.instruction
        assert (each.answer, each.persona_id, each.provenance) == (problem.answer, "p9", problem.provenance)


def test_a_persona_that_fits_no_sentence_leaves_the_question_as_it_is() -> None:
    (problem,) = pose({"gcd": 1.0}, {}, 1, 0)
    assert isinstance(problem, Problem)
    assert weave(problem, Persona(id="p", text="\u4eba", source="x"), 0).instruction == problem.instruction
