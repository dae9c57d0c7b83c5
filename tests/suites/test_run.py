"""A run keeps each result at once, goes on where it was killed, and loses to a worker that dies what was under way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from helpers.projects import ROOT, assert_one_message, synthagent, write_params
from helpers.suites import Says, calls, link_bfcl, needs_bfcl, text

from synthagent.errors import EndpointError, SuiteError
from synthagent.params_file import load_params
from synthagent.suites.bfcl import BFCL
from synthagent.suites.evaluate import evaluate_suite
from synthagent.suites.policies import Situation
from synthagent.suites.run import FOLDER, Result, Wanted, ids_of, run
from synthagent.suites.worker import Worker

IDS = {"simple_python": [f"simple_python_{number}" for number in range(12)]}
WANTED = Wanted(("simple_python",), None, "native", 0)


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if (ROOT / BFCL.environment.folder).is_dir():
        link_bfcl(tmp_path)


def results(policy: Says, wanted: Wanted = WANTED) -> list[Result]:
    return run(BFCL, policy, Worker(BFCL, FOLDER / "worker.log"), IDS, wanted, None)


def kept() -> Path:
    (path,) = (FOLDER / "bfcl").glob("*.jsonl")
    return path


@needs_bfcl
def test_a_run_that_was_cut_goes_on_with_what_is_missing() -> None:
    def fails_late(situation: Situation) -> dict[str, object]:
        if policy.acts > 7:
            raise EndpointError("the server is gone")
        return text("")

    policy = Says(fails_late)
    with pytest.raises(EndpointError):
        results(policy)
    done = len(kept().read_bytes().splitlines())
    assert done >= 4
    with kept().open("ab") as file:
        file.write(b'{"id": "simple_python_1')  # as if it had been killed while it wrote
    again = Says(lambda _: text(""))
    assert [result.id for result in results(again)] == IDS["simple_python"]
    assert again.acts == len(IDS["simple_python"]) - done
    last = Says(lambda _: text(""))
    assert len(results(last)) == 12
    assert last.acts == 0


@needs_bfcl
def test_a_result_counts_only_for_what_decides_it() -> None:
    results(Says(lambda _: text(""), weights="a"))
    for identity, wanted in (
        ({"weights": "b"}, WANTED),
        ({"weights": "a"}, Wanted(("simple_python",), None, "prompt", 0)),
        ({"weights": "a"}, Wanted(("simple_python",), None, "native", 1)),
    ):
        policy = Says(lambda _: text(""), **identity)
        results(policy, wanted)
        assert policy.acts == 12


@needs_bfcl
def test_a_worker_that_dies_costs_what_was_under_way_and_is_started_anew() -> None:
    worker = Worker(BFCL, FOLDER / "worker.log")
    killed: list[str] = []

    def says(situation: Situation) -> dict[str, object]:
        if situation.id == "simple_python_5" and not killed:
            killed.append(situation.id)
            assert worker._process is not None
            os.kill(worker._process.pid, signal.SIGKILL)
        return text("")

    found = run(BFCL, Says(says), worker, IDS, WANTED, None)
    failed = [result for result in found if result.failed]
    assert "simple_python_5" in {result.id for result in failed}
    assert {result.failed for result in failed} == {"its worker died"}
    assert len(failed) <= Says.concurrency
    again = Says(lambda _: text(""))
    assert not any(result.failed for result in results(again))
    assert again.acts == len(failed), "what the worker's death cost says nothing about the policy, and is run again"


@needs_bfcl
def test_a_smaller_count_is_part_of_a_larger_one_and_another_seed_draws_others() -> None:
    drawn = [
        ids_of(BFCL, Wanted(("multiple",), count, "native", seed))["multiple"]
        for count, seed in ((5, 0), (20, 0), (20, 1), (None, 0))
    ]
    assert [len(ids) for ids in drawn] == [5, 20, 20, 200]
    assert set(drawn[0]) < set(drawn[1])
    assert drawn[1] != drawn[2]


@needs_bfcl
def test_policies_see_the_tools_that_are_added_on_the_way() -> None:
    seen: list[set[str]] = []

    def says(situation: Situation) -> dict[str, object]:
        seen.append({tool.name for tool in situation.tools})
        return text("Done.")

    ids = {"multi_turn_miss_func": ["multi_turn_miss_func_0"]}
    run(BFCL, Says(says), Worker(BFCL, FOLDER / "worker.log"), ids, WANTED, None)
    assert len(seen[0]) < len(seen[-1])
    assert seen[0] < seen[-1]


def test_an_environment_that_is_missing_or_of_another_version_is_told_with_the_command(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    (tmp_path / ".venv-bfcl").unlink(missing_ok=True)
    finished = synthagent("evaluate", "--suite", "bfcl", cwd=tmp_path)
    assert_one_message(finished, ".venv-bfcl: no such environment", "`suites/bfcl.sh`", "`make bench-suites`")
    (tmp_path / ".venv-bfcl" / "bin").mkdir(parents=True)
    (tmp_path / ".venv-bfcl" / "bin" / "python").symlink_to("/usr/bin/env")
    (tmp_path / ".venv-bfcl" / "lib" / "python3" / "site-packages" / "bfcl_eval-2025.1.1.dist-info").mkdir(parents=True)
    finished = synthagent("evaluate", "--suite", "bfcl", cwd=tmp_path)
    assert_one_message(finished, "has bfcl_eval 2025.1.1, 2026.3.23 is wanted", "`suites/bfcl.sh`")


@needs_bfcl
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite", "bfcl", "--categories", "rest"], "no category 'rest'; there are simple_python"),
        (["--suite", "bfcl", "--style", "xml"], "no style 'xml'; there are native, prompt"),
        (["--suite", "bbh"], "suite 'bbh': there is none of this name; name one of bfcl"),
        (["--suite", "bfcl", "--policy", "endpoint", "--count", "1"], "roles.policy.backend"),
        (["--suite", "bfcl", "--policy", "nowhere", "--count", "1"], "--policy nowhere: no such folder"),
        (["--suite", "bfcl", "--policy", "grpo", "--count", "1"], "data/models/grpo: no checkpoint"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    write_params(tmp_path, {})
    finished = synthagent("evaluate", *arguments, cwd=tmp_path)
    assert finished.returncode == 1
    lines = [line for line in finished.stderr.strip().splitlines() if line.startswith("synthagent: ")]
    assert len(lines) == 1, finished.stderr
    assert said in lines[0]
    assert "Traceback" not in finished.stderr


@needs_bfcl
def test_a_worker_that_does_not_start_is_told_with_the_end_of_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    broken = dataclasses.replace(BFCL, worker="synthagent.suites.workers.none")
    with pytest.raises(SuiteError, match=r"does not start; .*No module named"):
        ids_of(broken, WANTED)


@needs_bfcl
def test_a_message_that_calls_counts_as_a_call_also_where_the_problem_fails() -> None:
    (first, *_) = results(Says(lambda _: calls(("f", '{"a": "' + "x" * 2_000_000 + '"}'))))
    assert first.failed is not None
    assert first.called


@needs_bfcl
def test_an_evaluation_says_what_its_figures_depend_on() -> None:
    from synthagent.params import SuiteParams

    chosen = SuiteParams(name="bfcl", count=1, categories=("simple_python",))
    told = evaluate_suite(load_params(ROOT / "params.yaml"), chosen, ["gold"]).details()
    assert {told[key] for key in ("version", "seed", "count", "style")} == {"2026.3.23", 0, 1, "native"}
    assert set(told["policies"]) == {"noop", "gold"}
    assert told["categories"]["simple_python"]["gold"]["lead"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
