"""Stage `reasoning`: problems are posed, solved in the real Python tool and kept where all agree; the rest are rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import Answer, serving
from helpers.projects import assert_one_message, files_under, said_by, synthagent, write_params

from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.reasoning.answers import same
from synthagent.records import Persona, Problem, Rejected, Trajectory
from synthagent.sandbox import available
from synthagent.stage import Paths
from synthagent.stages import reasoning as stage
from synthagent.stages.personas import built_in
from synthagent.store import read_records, write_records

pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")
ISOLATION = next((name for name in ("bubblewrap", "rlimits") if available(name) is None), None)
pytestmark = pytest.mark.skipif(ISOLATION is None, reason=f"no isolation here: {available('rlimits')}")
KINDS = {"basic_arithmetic": 1, "gcd": 1, "prime_factorization": 1, "base_conversion": 1}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with personas; the working directory."""
    monkeypatch.chdir(tmp_path)
    write_records(Paths.personas, Persona, list(built_in())[:7])
    return tmp_path


def params(folder: Path, **changes: Any) -> Params:
    """The default params with some of `reasoning` changed, `__` for a dot."""
    wanted = {"count": 12, "kinds": KINDS, "python.isolation": ISOLATION} | changes
    named = {f"reasoning.{name.replace('__', '.')}": value for name, value in wanted.items()}
    return load_params(write_params(folder, {"compute.processes": 2} | named))


def outcome() -> tuple[list[Problem], list[Rejected], list[Trajectory]]:
    return (
        list(read_records(Paths.reasoning, Problem)),
        list(read_records(Paths.reasoning_rejected, Rejected)),
        list(read_records(Paths.reasoning_demos, Trajectory)),
    )


def test_what_is_kept_is_right_and_what_is_shown_ran_and_the_rest_is_a_row(folder: Path) -> None:
    figures = said_by(stage.run(params(folder, count=24, error_rate=0.3, heldout_share=0.3)))
    kept, rejected, demos = outcome()
    assert figures["kept"] == len(kept) > 0
    assert len(kept) + len(rejected) == figures["proposed"] == 24
    assert {"disagree"} <= {row.reason for row in rejected} <= {"disagree", "wrong", "duplicate", "unanswered"}
    funnel = list(figures["funnel"].values())
    assert funnel == sorted(funnel, reverse=True)
    assert next(iter(figures["funnel"])) == "proposed"
    by_id = {problem.id: problem for problem in kept}
    for problem in kept:
        assert problem.persona_id
        assert same(problem, problem.answer)
        assert sum(problem.provenance["answers"].values()) == 3
        assert problem.provenance["entry"]["question"].strip() in problem.instruction
    assert Counter(demo.task_id for demo in demos).keys() <= {p.id for p in kept if p.split == "train"}
    for demo in demos:
        assert demo.end == "answer"
        assert demo.n_tool_calls >= 1
        observed = [json.loads(m["content"]) for m in demo.messages if m["role"] == "tool"]
        answer = re.fullmatch(r"<answer>(.*)</answer>", demo.messages[-1]["content"])
        assert answer
        assert observed[-1]["output"].split("\n")[-1] == answer[1]
        assert same(by_id[demo.task_id], answer[1])
    mended = [demo for demo in demos if demo.n_tool_calls == 2]
    assert mended
    assert all("NameError" in demo.messages[3]["content"] for demo in mended)


def test_the_same_params_give_the_same_bytes(folder: Path) -> None:
    stage.run(params(folder, count=8))
    first = files_under(folder / "data")
    stage.run(params(folder, count=8))
    assert files_under(folder / "data") == first


def test_a_solver_without_errors_is_right_in_all(folder: Path) -> None:
    figures = said_by(stage.run(params(folder, error_rate=0, attempts=2)))
    assert figures["rejected"].keys() <= {"duplicate"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"path": "mine.jsonl"},
            "reasoning.path: the embedded solver cannot solve problems of a file; set roles.teacher",
        ),
        ({"kinds": {"sokoban": 1}}, "reasoning.kinds.sokoban: the embedded solver has no code for it"),
        ({"kinds": {"gcd": 0}}, "at least one kind needs a weight above 0"),
        ({"path": "none.jsonl", "attempts": 0}, "reasoning.path: none.jsonl: No such file"),
    ],
)
def test_what_cannot_be_done_is_one_message_and_loses_nothing(
    changes: Mapping[str, Any], said: str, folder: Path
) -> None:
    stage_params = {f"reasoning.{name}": value for name, value in changes.items()}
    write_params(folder, {"reasoning.count": 4, "reasoning.python.isolation": ISOLATION} | stage_params)
    write_records(Paths.reasoning, Problem, [])
    assert_one_message(synthagent("reasoning", cwd=folder), said)
    assert list(read_records(Paths.reasoning, Problem)) == []


def test_a_file_is_taken_as_it_is_without_attempts_and_its_bad_rows_are_told(folder: Path) -> None:
    rows = [
        {"problem": "What is 2^{10}?", "solution": "..", "answer": "1024", "ID": "I-1"},
        {"problem": "The roots of x^2 = 9?", "answer": ["3", "-3"]},
        {"problem": "Half of x?", "answer": r"\frac{x}{2}"},
        {"problem": "How many?"},
    ]
    lines = [*map(json.dumps, rows), "{broken"]
    (folder / "aime.jsonl").write_text("\n".join(lines))
    figures = said_by(stage.run(params(folder, path="aime.jsonl", attempts=0)))
    kept, rejected, demos = outcome()
    assert [(problem.answer, problem.source) for problem in kept] == [
        ("1024", "aime.jsonl"),
        (r"\frac{x}{2}", "aime.jsonl"),
    ]
    assert [(row.reason, row.detail.split(":")[1]) for row in rejected] == [
        ("several_answers", "2"),
        ("no_answer", "4"),
        ("malformed", "5"),
    ]
    assert demos == []
    assert figures["funnel"]["readable"] == 2
    assert same(kept[1], "0.5x")


@pytest.mark.parametrize("lacks", ["isolation", "package"])
def test_where_code_cannot_run_there_are_no_problems_and_it_is_said(
    lacks: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if lacks == "isolation":
        monkeypatch.setattr(stage, "available", lambda _: "no bubblewrap here")
    else:
        monkeypatch.setattr(stage.gym, "PACKAGE", "no-such-package-here")
    figures = said_by(stage.run(params(folder)))
    said = capsys.readouterr().out
    assert said.startswith("0 problems: ")
    assert ("no bubblewrap here" if lacks == "isolation" else "is not installed") in said
    assert figures["kept"] == 0
    assert outcome() == ([], [], [])


def test_none_are_wanted_by_a_count_of_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said_by(stage.run(params(folder, count=0)))["kept"] == 0
    assert "reasoning.count is 0" in capsys.readouterr().out


# --- an openai teacher ----------------------------------------------------------------------------------------------

QUESTIONS = {"What is 6 * 7?": "42", "What is 5 + 5?": "10", "What is 9 - 9?": "0", "What is 8 / 2?": "4"}


@pytest.fixture
def sums(folder: Path) -> Iterator[Path]:
    lines = [json.dumps({"question": question, "answer": [answer]}) for question, answer in QUESTIONS.items()]
    (folder / "sums.jsonl").write_text("\n".join(lines))
    return folder


def mathematician(body: dict[str, Any]) -> Answer:
    """Rewrites problems, some badly; solves with Python, a difference otherwise each time, a division in vain."""
    if "response_format" in body:
        text = body["messages"][-1]["content"]
        question = next(question for question in QUESTIONS if question in text)
        told = {"What is 5 + 5?": "What is 5 + 6?", "What is 9 - 9?": f"{question} I guess 0"}
        return json.dumps({"instruction": told.get(question, f"Over bread I wondered: {question}")})
    user = body["messages"][1]["content"]
    first, op, second = re.search(r"(\d) ([-+*/]) (\d)", user).groups()  # type: ignore[union-attr]
    if body["messages"][-1]["role"] == "tool":
        printed = json.loads(body["messages"][-1]["content"])["output"]
        return f"<answer>{printed if op != '-' else body['seed'] % 3}</answer>"
    if op == "/":
        return {"content": "No.", "finish_reason": "length"}
    arguments = json.dumps({"code": f"print({first} {op} {second})"})
    call = {"id": "c1", "type": "function", "function": {"name": "python", "arguments": arguments}}
    return {"content": "I compute it.", "tool_calls": [call]}


def test_a_model_rewrites_and_solves_and_the_known_answer_stays(sums: Path) -> None:
    with serving(mathematician) as server:
        role = {"backend": "openai", "base_url": server.base_url, "model": "m", "temperature": 0.9}
        wanted = params(sums, path="sums.jsonl").model_dump()
        wanted["roles"]["teacher"] = role
        figures = said_by(stage.run(Params.model_validate(wanted)))
        asked = len(server.requests)
        stage.run(Params.model_validate(wanted))
        assert len(server.requests) == asked  # nothing is paid for twice
    kept, rejected, demos = outcome()
    told = {problem.answer: problem.provenance["rewrite"] for problem in kept}
    assert told["42"].startswith("reason_rewrite@")
    assert told["10"] == "template: lost '5'"
    assert {row.reason for row in rejected} == {"disagree", "unanswered"}
    assert list(figures["funnel"].items()) == [
        *((step, 4) for step in ("proposed", "readable", "distinct", "scorable")),
        *(("answered", 3), ("agreed", 2), ("right", 2)),
    ]
    assert all(demo.policy == "teacher" and demo.n_tool_calls == 1 for demo in demos)
    assert {problem.instruction for problem in kept if problem.answer == "42"} == {
        "Over bread I wondered: What is 6 * 7?"
    }
