"""The stage `evaluate` with a benchmark of others: its rows beside ours, its figures on their own, never averaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.projects import synthagent, write_params
from helpers.run import build_dataset
from helpers.student import PARAMS
from helpers.suites import link_bfcl, needs_bfcl
from helpers.tasks import accepted_tasks, played

from synthagent.records import BENCHMARK, Evaluation, MappingEntry
from synthagent.stage import Paths
from synthagent.store import read_records, write_records

pytestmark = [needs_bfcl, pytest.mark.slow]


def students(folder: Path) -> None:
    """Checkpoints of students that have learnt nothing."""
    from synthagent.student.model import Student, build_model, save_student
    from synthagent.student.tokenizer import render_plain, train_tokenizer

    texts = [render_plain(played(task).messages) for task in accepted_tasks()[:40]]
    student_tokenizer = train_tokenizer(texts, (), PARAMS.vocab_size)
    for name in ("sft", "grpo"):
        model = build_model(student_tokenizer, PARAMS, seed=0)
        save_student(Student(model, student_tokenizer), folder / "data" / "models" / name)


def test_the_stage_adds_a_suites_rows_and_tells_its_figures_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_dataset(tmp_path)
    students(tmp_path)
    link_bfcl(tmp_path)
    monkeypatch.chdir(tmp_path)
    write_records(Paths.mappings, MappingEntry, [])
    suite = {"name": "bfcl", "count": 2, "categories": ["irrelevance"], "max_tokens": 8}
    changes = {"evaluate.tasks": 2, "episode.max_tokens": 40, "episode.max_turn_tokens": 10}
    write_params(tmp_path, {**changes, "evaluate.suites": [suite]})
    finished = synthagent("evaluate", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    rows = list(read_records(Paths.evaluation, Evaluation))
    others = [row for row in rows if row.benchmark == "bfcl"]
    assert {(row.policy, row.category) for row in others} == {
        (policy, category) for policy in ("noop", "sft", "grpo") for category in ("irrelevance", "simple_python")
    }
    for row in others:
        assert (row.version, row.split, row.difficulty, row.gate) == ("2026.3.23", None, None, None)
    told = json.loads(Paths.details("evaluate").read_text())
    assert told["suites"]["bfcl"]["categories"]["irrelevance"]["noop"]["refused"] == 1.0
    with_suite = {name: told[name] for name in ("policies", "greedy", "by_difficulty")}
    results = synthagent("results", cwd=tmp_path)
    assert results.returncode == 0, results.stderr
    assert "benchmark bfcl" in results.stdout
    assert "no call where none is right 100.0" in results.stdout
    assert synthagent("report", cwd=tmp_path).returncode == 0

    write_params(tmp_path, changes)
    assert synthagent("evaluate", cwd=tmp_path).returncode == 0
    ours = list(read_records(Paths.evaluation, Evaluation))
    assert ours == [row for row in rows if row.benchmark == BENCHMARK]
    without = json.loads(Paths.details("evaluate").read_text())
    assert "suites" not in without
    assert {name: without[name] for name in with_suite} == with_suite
