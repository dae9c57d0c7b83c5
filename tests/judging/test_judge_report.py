"""How reliable a judge is: what is sampled, and the whole chain from rubrics to the report."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers import dinner
from helpers.dinner import TASKS, make_project, teacher
from helpers.fake_openai import serving
from helpers.projects import assert_one_message, figures_in, files_under, synthagent, write_params

from synthagent.judging.judge_report import choose
from synthagent.records import Reward, Trajectory
from synthagent.stage import Paths
from synthagent.store import read_records, write_records


def test_the_sample_depends_on_the_seed_and_has_what_is_labelled_first() -> None:
    run = dinner.episode().trajectory("sft")
    many = [run.model_copy(update={"id": f"t{n:02}"}) for n in range(40)]
    first, again, other = (choose(many, 10, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert first == sorted(first, key=lambda one: one.id)
    assert {"t38", "t39"} <= {one.id for one in choose(many, 10, 0, ["t38", "t39", "t39", "gone"])}
    assert choose(many, 99, 0) == many


# --- the whole chain ------------------------------------------------------------------------------------------------


class Judge:
    """A judge that is right, but for what it is told to get wrong: criteria it flips, void, or leaves out."""

    def __init__(self, flips: tuple[str, ...] = (), void: tuple[str, ...] = ()) -> None:
        self.flips, self.void = flips, void
        self.asked: Counter[str] = Counter()
        self.models: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Any:
        text = body["messages"][-1]["content"]
        if "You judge an agent" not in body["messages"][0]["content"]:
            return teacher(body)
        with self._lock:
            self.models[body["model"]] += 1
            record = re.findall(r"The record:\n(.*)Give exactly", text, re.DOTALL)[0]
            self.asked[body["model"] + record] += 1
            turn = self.asked[body["model"] + record]
        verdicts = []
        for name in re.findall(r"in this order: (.*)\.\n", text)[0].split(", "):
            passed, quote = self._right(name, record)
            if name in self.flips and turn % 2 == 0 and body["model"] == "m":
                passed, quote = not passed, "Lyon" if "Lyon" in record else ""
            verdicts.append(
                {"criterion": name, "evidence": "not there" if name in self.void else quote, "passed": passed}
            )
        return json.dumps({"verdicts": verdicts})

    @staticmethod
    def _right(name: str, record: str) -> tuple[bool, str]:
        told, booked = "USER: It is for" in record, "B-77" in record
        match name:
            case "c1":
                return (True, "") if told or not booked else (False, "reserve_table")
            case "c2":
                return True, ""
            case "i1":
                return told, "It is for 2026-03-04" if told else ""
            case _:
                return booked, "B-77" if booked else ""


def with_rollouts(project: Path) -> list[str]:
    """Rubrics, and three rollouts on the train task, one of them faulty."""
    finished = synthagent("rubrics", cwd=project)
    assert finished.returncode == 0, finished.stderr
    task = TASKS[0]
    runs = [dinner.episode(turns, task, n).trajectory("sft") for n, turns in enumerate((dinner.GOOD, dinner.CARELESS))]
    faulty = dinner.episode(dinner.GOOD, task, 2).trajectory("sft").model_copy(update={"error": "user_fault"})
    write_records(project / Paths.rollouts, Trajectory, [*runs, faulty])
    return [run.id for run in (*runs, faulty)]


def test_rewards_come_from_checks_and_the_judge_and_the_same_bytes_from_the_store(tmp_path: Path) -> None:
    with serving(judge := Judge()) as server:
        project = make_project(tmp_path, server.base_url, TASKS)
        ids = with_rollouts(project)
        finished = synthagent("rewards", cwd=project)
        assert finished.returncode == 0, finished.stderr
        assert sum(judge.models.values()) == 2
    rewards = list(read_records(project / Paths.rewards, Reward))
    assert [(r.trajectory_id, r.status, r.reward) for r in rewards] == [
        (ids[0], "ok", 1.0),
        (ids[1], "ok", 0.0),
        (ids[2], "error", None),
    ]
    assert [(v.criterion, v.by) for v in rewards[0].verdicts] == [
        ("c1", "check"),
        ("c2", "judge"),
        ("s1", "check"),
        ("s2", "judge"),
        ("i1", "check"),
    ]
    metrics = figures_in(project, "rewards")
    assert (metrics["mean"], metrics["gate_violations"], metrics["errors"]) == (0.5, 1, 1)
    assert (metrics["decided_by_checks"], metrics["void_quotes"], metrics["open_criteria"]) == (0.6, 0, 0)
    assert metrics["llm"]["judge"]["m"]["calls"] == 2
    before = {path: data for path, data in files_under(project / "data").items() if path.suffix == ".parquet"}
    write_params(project, _params(server.base_url, "only"))
    for stage in ("rubrics", "rewards"):
        finished = synthagent(stage, cwd=project)
        assert finished.returncode == 0, finished.stderr
    assert {path: path.read_bytes() for path in before} == before


def _params(url: str, replay: str = "off") -> dict[str, Any]:
    role = {"backend": "openai", "base_url": url, "model": "m"}
    roles = {"roles.teacher": role, "roles.judge": role}
    return {**roles, "rubrics.trajectories": 2, "llm.max_retries": 0, "llm.replay": replay}


def test_a_judge_that_invents_its_quotes_leaves_no_score(tmp_path: Path) -> None:
    with serving(Judge(void=("s2",))) as server:
        project = make_project(tmp_path, server.base_url, TASKS)
        with_rollouts(project)
        finished = synthagent("rewards", cwd=project)
        assert finished.returncode == 0, finished.stderr
    assert {r.status for r in read_records(project / Paths.rewards, Reward)} == {"error"}
    metrics = figures_in(project, "rewards")
    assert (metrics["mean"], metrics["errors"], metrics["void_quotes"], metrics["open_criteria"]) == (None, 3, 4, 2)
    assert "none has a score" in finished.stdout
    assert "3 have no score: " in finished.stdout


def test_without_a_judge_what_no_check_decides_has_no_score_and_the_remedy_is_said_once(tmp_path: Path) -> None:
    with serving(Judge()) as server:
        project = make_project(tmp_path, server.base_url, TASKS)
        with_rollouts(project)
    write_params(project, {})
    finished = synthagent("rewards", cwd=project)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("roles.judge.backend") == 1
    assert {r.status for r in read_records(project / Paths.rewards, Reward)} == {"error"}


def test_the_report_finds_what_the_judge_flips_on_and_whom_it_agrees_with(tmp_path: Path) -> None:
    with serving(Judge(flips=("s1",))) as server:
        project = make_project(tmp_path, server.base_url, TASKS)
        ids = with_rollouts(project)
        rows = [(ids[0], "s1", "true"), (ids[0], "c1", "false"), (ids[1], "c1", "no"), ("gone", "s1", "yes")]
        lines = "".join(f"{','.join(row)}\n" for row in rows)
        (project / "labels.csv").write_text(f"trajectory_id,criterion,passed\n{lines}")
        command = ("judge-report", "--repeats", "4", "--second-model", "m2", "--labels", "labels.csv")
        finished = synthagent(*command, cwd=project)
        assert finished.returncode == 0, finished.stderr
    report = json.loads((project / "data/judge_report.json").read_text())
    assert (report["sampled"], report["left_out"], report["trajectories"], report["criteria"]) == (3, 1, 2, 10)
    assert (report["flip_rate"], report["by_kind"]["subgoal"]["flip_rate"]) == (0.2, 0.5)
    assert report["by_kind"]["constraint"]["flip_rate"] == 0
    assert (report["by_criterion"][0]["criterion"], report["by_criterion"][0]["flip_rate"]) == ("s1", 1)
    # The good episode earns 1 or .5 ** 3 by turns, the careless one 0: (.875 ** 2 / 3 + 0) / 2.
    assert report["score_variance"] == pytest.approx(0.875**2 / 6, abs=1e-4)
    checks = report["agreement_with_checks"]
    assert (checks["n"], checks["accuracy"]) == (2 * 3 * 4, round(20 / 24, 4))
    assert (checks["both_passed"], checks["both_failed"], checks["only_first"], checks["only_second"]) == (12, 8, 0, 4)
    assert checks["by_kind"]["interaction"]["kappa"] == 1
    assert report["second_judge"]["judge"] == "m2"
    assert report["second_judge"]["agreement_with_checks"]["accuracy"] == 1
    assert report["second_judge"]["n"] == 2 * 5 * 4
    assert (report["labels"]["rows"], report["labels"]["unknown"]) == (4, 1)
    assert (report["labels"]["checks"]["n"], report["labels"]["checks"]["only_first"]) == (3, 1)
    assert (report["void_rate"], report["missing_rate"], report["tokens"]) == (0, 0, 8 * 15)
    for part in ("judge m: 2 trajectories x 4 repeats", "m2", "people (1 unknown)", "0.2000", "written to"):
        assert part in finished.stdout
    first = (project / "data/judge_report.json").read_bytes()
    write_params(project, _params(server.base_url, "only"))
    assert synthagent(*command, cwd=project).returncode == 0
    assert (project / "data/judge_report.json").read_bytes() == first


def test_void_and_missing_verdicts_are_a_rate_and_cost_the_score(tmp_path: Path) -> None:
    with serving(Judge(void=("s2",))) as server:
        project = make_project(tmp_path, server.base_url, TASKS)
        with_rollouts(project)
        finished = synthagent("judge-report", "--repeats", "2", "-o", "elsewhere/report.json", cwd=project)
        assert finished.returncode == 0, finished.stderr
    report = json.loads((project / "elsewhere/report.json").read_text())
    assert (report["void_rate"], report["missing_rate"]) == (0.4, 0.2)  # of 20 verdicts, 4 void twice
    assert report["score_variance"] is None


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    assert_one_message(synthagent("judge-report", cwd=tmp_path), "roles.judge.backend")
    write_params(tmp_path, _params("http://127.0.0.1:9/v1"))
    assert_one_message(synthagent("judge-report", cwd=tmp_path), "rollouts.parquet")
    finished = synthagent("judge-report", "--second-base-url", "http://127.0.0.1:9/v1", cwd=tmp_path)
    assert_one_message(finished, "--second-model")
    assert_one_message(synthagent("judge-report", "--labels", "none.csv", cwd=tmp_path), "none.csv")
    write_records(tmp_path / Paths.rollouts, Trajectory, [])
    assert_one_message(synthagent("judge-report", cwd=tmp_path), "no trajectory")


def test_a_fault_of_the_second_judge_is_put_down_to_its_options(tmp_path: Path) -> None:
    with serving(Judge()) as server:
        project = make_project(tmp_path, server.base_url, TASKS)
        with_rollouts(project)
        options = ("--second-model", "m2", "--second-base-url", "nonsense")
        finished = synthagent("judge-report", *options, cwd=project)
    assert_one_message(finished, "the second judge", "--second-", "'nonsense' is no URL")


def test_the_key_of_the_judge_is_not_sent_to_another_server(tmp_path: Path) -> None:
    from synthagent.judging.judge_report import Options, _second
    from synthagent.params_file import load_params

    params = load_params(write_params(tmp_path, _params("http://127.0.0.1:9/v1") | {"roles.judge.api_key_env": "KEY"}))
    elsewhere = _second(params, Options(second_model="m2", second_base_url="http://127.0.0.1:8/v1"))
    beside = _second(params, Options(second_model="m2"))
    own = _second(params, Options(second_model="m2", second_base_url="http://127.0.0.1:8/v1", second_key_env="OTHER"))
    assert elsewhere
    assert beside
    assert own
    assert [one.roles.judge.api_key_env for one in (elsewhere, beside, own)] == [None, "KEY", "OTHER"]
    assert elsewhere.roles.judge.base_url == "http://127.0.0.1:8/v1"
