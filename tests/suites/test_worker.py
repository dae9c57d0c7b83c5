"""The protocol of a worker, with a suite made up here: what it may want, and what it may not do to a run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import params_of, serving
from helpers.suites import Says, text

from synthagent.errors import SuiteError
from synthagent.isolation import unavailable
from synthagent.llm.client import Llm
from synthagent.ops.environments import SuiteEnvironment
from synthagent.suites import worker as workers
from synthagent.suites.policies import ServedUser, Situation, SuiteUser
from synthagent.suites.run import FOLDER, Result, Wanted, ids_of, run
from synthagent.suites.suite import Suite
from synthagent.suites.worker import Worker

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=f"no isolation here: {unavailable()}")
TOY = """
import os, sys
from synthagent.suites.workers import protocol
VERSION = "1.0"
def problems(category):
    return [f"{category}_{i}" for i in range(4)]
def gold(id, style):
    return [{"role": "assistant", "content": "right"}]
def prepare(id):
    return {}
class start:
    def __init__(self, id, style):
        self.id, self.said = id, []
    def state(self):
        print("not of the protocol")
        return {"messages": [{"role": "user", "content": "hello"}], "tools": [], "wants": "policy"}
    def step(self, message):
        self.said.append(message["content"])
        match self.said[-1]:
            case "ask":
                return {"messages": [], "wants": "user", "ask": [{"role": "user", "content": "What now?"}]}
            case "die": os._exit(3)
            case "nonsense": return {"wants": "policy"}
            case "huge": return {"messages": ["a" * 9_000_000], "wants": "policy"}
            case "raise": raise ValueError("no " * 1000)
            case "memory": bytearray(10**11)
            case "stop": os.kill(os.getppid(), 9)
            case "loop":
                while True: pass
        return {"messages": [], "wants": "nothing", "score": {"score": self.said[-1] == "right", "called": True}}
if __name__ == "__main__":
    protocol.serve(sys.modules[__name__])
"""
IDS = {"a": ["a_0", "a_1", "a_2", "a_3"]}
WANTED = Wanted(("a",), None, "native", 0)
SUITE = Suite("toy", SuiteEnvironment("toy", "toy", "1.0"), "synthagent.suites.workers.toy", ("a",))


@pytest.fixture(autouse=True)
def _toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's environment, and a folder of workers that has it."""
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv-toy"], check=True)
    (site,) = Path(".venv-toy").glob("lib/python*/site-packages")
    (site / "toy-1.0.dist-info").mkdir()
    folder = tmp_path / "root" / "synthagent" / "suites" / "workers"
    shutil.copytree(Path(workers.__file__).parent / "workers", folder)
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(workers, "_SCRIPTS", folder)


def results(says: Callable[[Situation], Any], user: SuiteUser | None = None) -> list[Result]:
    return run(SUITE, Says(says), Worker(SUITE, FOLDER / "worker.log"), IDS, WANTED, user)


def in_the_second(what: str) -> list[Result]:
    """What comes of four problems, in the second of which the policy says this."""
    return results(lambda situation: text(what if situation.id == "a_1" else "right"))


def test_the_problems_of_a_category_are_told() -> None:
    assert ids_of(SUITE, WANTED) == IDS


@pytest.mark.parametrize(
    ("said", "failed"),
    [
        ("die", "its process died (exit code 3)"),
        ("nonsense", "its worker answers nonsense"),
        ("huge", "an answer of 9,000"),
        ("raise", "ValueError: no no"),
        ("memory", "MemoryError"),
    ],
)
def test_a_problem_that_goes_wrong_fails_alone(said: str, failed: str) -> None:
    found = in_the_second(said)
    assert [result.score for result in found] == [1, 0, 1, 1]
    assert (found[1].failed or "").startswith(failed)
    assert len(found[1].failed or "") <= 500


def test_a_problem_that_never_answers_is_given_up_and_its_process_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_PATIENCE_S", 5.0)
    found = in_the_second("loop")
    assert [result.score for result in found] == [1, 0, 1, 1]
    assert found[1].failed == "no answer within 5 s"


def test_a_worker_that_dies_again_and_again_ends_the_run_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_STARTS", 2)
    policy = Says(lambda _: text("stop"))
    policy.concurrency = 1
    worker = Worker(SUITE, FOLDER / "worker.log")
    with pytest.raises(SuiteError, match=r"its worker died 2 times; .*worker\.log"):
        run(SUITE, policy, worker, IDS, WANTED, None)
    assert policy.acts == 2


def test_a_model_plays_the_user_and_is_asked_once(tmp_path: Path) -> None:
    seen: list[str] = []

    def says(situation: Situation) -> Any:
        return text("right" if situation.steps else "ask")

    with serving(lambda body: seen.append(body["messages"][0]["content"]) or "right") as server:
        params = params_of(server.base_url, role="user")
        found = results(says, ServedUser(Llm(params, tmp_path / "llm"), "toy", 100))
        assert [result.score for result in found] == [1, 1, 1, 1]
        assert seen == ["What now?"]
        shutil.rmtree(FOLDER)
        assert results(says, ServedUser(Llm(params, tmp_path / "llm"), "toy", 100)) == found
    assert len(seen) == 1


def test_a_suite_that_wants_a_user_where_there_is_none_fails_its_problems() -> None:
    found = results(lambda _: text("ask"))
    assert {result.failed for result in found} == {"it wants a user, and there is none"}
