"""Tasks that are copies of problems are found, reworded as well as verbatim; tasks of their own are not."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.tasks import accepted_tasks
from hypothesis import given
from hypothesis import strategies as st

from synthagent.llm.embeddings import Embeddings, Vectors
from synthagent.problems import KnownProblem, RightCall, Signature
from synthagent.records import Task
from synthagent.teacher.decontaminate import Decontamination, Hit
from synthagent.worlds import Fact, Tool

TASK = accepted_tasks()[0]
REWORDED = {  # made-up problems, each with other words for the same
    "What is the area of a triangle with a base of ten meters and a height of 5 meters?": (
        "I have a triangle whose base measures 10 meters and which is five meters high. Calculate its area."
    ),
    "Please book two tickets for the jazz concert in Lisbon on Friday evening.": (
        "For Friday evening I need tickets to Lisbon's jazz concert, two of them."
    ),
    "Find a vegetarian restaurant near the central station that is open after midnight.": (
        "Which vegetarian restaurants around the central station stay open past midnight?"
    ),
    "Move the file budget.csv into the archive folder and then compress that folder.": (
        "Put budget.csv into the folder called archive, and compress it afterwards."
    ),
    "Convert 250 US dollars to Japanese yen at yesterday's rate.": (
        "How many Japanese yen were 250 US dollars at the rate of yesterday?"
    ),
    "北京后天的天气怎么样": "后天北京的天气如何",
}
COMPARISON = Decontamination(
    [KnownProblem(id=str(n), source="s", instructions=(text,)) for n, text in enumerate(REWORDED)]
)
TOOL = KnownProblem(
    id="t",
    source="s",
    instructions=("?",),
    tools=(
        Signature(name="geo.triangleArea", parameters=("base", "height", "unit")),
        Signature(name="get_user", parameters=("user_id",)),
    ),
    answers=(RightCall(name="book_table", arguments={"guests": 4.0, "place": "Chez Panisse"}), RightCall(name="stop")),
    answer_texts=("The invoice of March was sent twice to the wrong office in Lyon by mistake",),
)
WORDS = st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9), min_size=1, max_size=40)


def saying(text: str, **fields: object) -> Task:
    return TASK.model_copy(update={"instruction": text, "facts": (), "tools": (), "reference": (), **fields})


def hits(comparison: Decontamination, task: Task) -> list[Hit]:
    return comparison.hits([task])[0]


@given(WORDS)
def test_a_verbatim_copy_is_always_found(words: list[str]) -> None:
    comparison = Decontamination([KnownProblem(id="x", source="s", instructions=("something else", " ".join(words)))])
    copy = "  ".join(words).upper() + "!"
    assert [hit.rule for hit in hits(comparison, saying(copy))] == ["instruction"]
    if len(words) >= 8:
        inside = hits(comparison, saying(f"I am a night-shift librarian. {copy} Thank you."))
        assert [hit.problem.id for hit in inside] == ["x"]


@given(WORDS)
def test_unrelated_words_are_no_copy(words: list[str]) -> None:
    theirs = KnownProblem(id="x", source="s", instructions=(" ".join(f"{word}0" for word in words),))
    assert hits(Decontamination([theirs]), saying(" ".join(words))) == []


@pytest.mark.parametrize(("text", "reworded"), REWORDED.items())
def test_a_reworded_copy_is_found_and_named(text: str, reworded: str) -> None:
    (hit,) = hits(COMPARISON, saying(reworded))
    assert (hit.rule, hit.problem.instructions) == ("instruction", (text,))
    assert f"as in s {hit.problem.id} (0." in hit.detail


def test_what_the_user_only_says_when_asked_counts_as_said() -> None:
    facts = tuple(Fact(slot=s, value=s, phrase=s) for s in ("on Friday evening", "in Lisbon", "two"))
    task = saying("Please book tickets for a jazz concert.", facts=facts)
    assert [hit.problem.id for hit in hits(COMPARISON, task)] == ["1"]


def test_tasks_of_our_own_are_no_copies() -> None:
    assert not any(COMPARISON.hits(accepted_tasks()))


def tool(name: str, *parameters: str) -> Tool:
    return Tool(name=name, parameters={"properties": {name: {} for name in parameters}})


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        (tool("geo_triangle_area", "unit", "height", "base"), ["tool"]),
        (tool("geo_triangle_area", "height", "base"), []),
        (tool("get_user", "user_id"), []),  # too common
    ],
)
def test_a_tool_is_known_by_its_name_and_parameters_unless_anybody_would_name_it_so(
    given: Tool, rules: list[str]
) -> None:
    comparison = Decontamination([TOOL])
    assert [hit.rule for hit in hits(comparison, saying("!", tools=(given,)))] == rules
    assert comparison.details()["tools_too_common"] == ({"get_user(user_id)": 1} if given.name == "get_user" else {})


@pytest.mark.parametrize(("guests", "rules"), [("4", ["answer"]), ("5", [])])
def test_an_answer_is_known_by_its_tool_and_all_its_values(guests: str, rules: list[str]) -> None:
    said = ({"tool": "bookTable", "args": {"guests": guests, "place": "chez panisse"}, "response": {}},)
    world = type(TASK.world).model_validate({"tables": {}, "effects": {}, "said": said})
    assert [hit.rule for hit in hits(Decontamination([TOOL]), saying("!", world=world))] == rules


def test_an_answer_that_is_a_text_is_found_in_what_a_task_says() -> None:
    text = f"Find out why {TOOL.answer_texts[0]}"
    assert [hit.rule for hit in hits(Decontamination([TOOL]), saying(text))] == ["answer"]


def test_a_models_vectors_find_what_no_word_tells() -> None:
    def of(texts: list[str]) -> Vectors:
        return np.array([[0.6, 0.8] if "car" in text or "vehicle" in text else [1, 0] for text in texts], np.float32)

    problem = KnownProblem(id="x", source="s", instructions=("Sell my car",))
    comparison = Decontamination([problem], Embeddings(of, 0.9))  # type: ignore[arg-type]
    (hit,) = hits(comparison, saying("Find a buyer of the vehicle"))
    assert (hit.rule, hit.problem.id) == ("embedding", "x")
    assert hits(comparison, saying("Water the flowers")) == []
    assert comparison.details()["hits"] == {"instruction": 0, "tool": 0, "answer": 0, "embedding": 1}
