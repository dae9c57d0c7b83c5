"""The leaderboard's problems: its own answers are right, silence is not, and no text of a model is more than text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.projects import ROOT, synthagent, write_params
from helpers.suites import Says, calls, link_bfcl, needs_bfcl, played, text

from synthagent.isolation import run_isolated
from synthagent.params import SuiteParams
from synthagent.params_file import load_params
from synthagent.suites.bfcl import BFCL
from synthagent.suites.evaluate import Evaluated, evaluate_suite

pytestmark = needs_bfcl
SIMPLE = {"simple_python": ["simple_python_0"]}
BASE = {"multi_turn_base": ["multi_turn_base_0"]}


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    link_bfcl(tmp_path)


def evaluated(count: int | None, style: str = "native", categories: tuple[str, ...] = ()) -> Evaluated:
    chosen = SuiteParams(name="bfcl", count=count, style=style, categories=categories or BFCL.categories)
    return evaluate_suite(load_params(ROOT / "params.yaml"), chosen, ["gold"])


def assert_gold(found: Evaluated) -> None:
    """The suite's answers have everything they can have, and silence nothing."""
    assert {figure.category for figure in found.figures} == set(found.wanted.categories)
    for figure in found.figures:
        assert figure.lead is not None
        ran = {row.task_id for row in found.rows if row.category == figure.category}
        lost = len(ran & BFCL.unsolvable.keys()) if figure.policy == "gold" else 0
        expected = 1.0 - lost / figure.n if figure.policy == "gold" else 0.0
        assert figure.lead.mean == pytest.approx(expected), figure
        assert not figure.failed
        if figure.refused is not None:
            assert (figure.refused, figure.calls) == (1.0, 1.0 if figure.policy == "gold" else 0.0)


@pytest.mark.parametrize("style", ["native", "prompt"])
def test_the_suites_own_answers_are_right_and_silence_is_nowhere_right(style: str) -> None:
    categories = ("simple_python", "parallel_multiple", "irrelevance", "multi_turn_miss_func")
    assert_gold(evaluated(2, style, categories))


@pytest.mark.slow
@pytest.mark.parametrize("style", ["native", "prompt"])
def test_all_of_the_suites_own_answers_are_right(style: str) -> None:
    assert_gold(evaluated(None, style))


def test_irrelevance_is_never_run_without_a_category_in_which_calls_are_right() -> None:
    found = evaluated(2, "native", ("irrelevance",))
    assert {figure.category for figure in found.figures} == {"simple_python", "irrelevance"}
    assert any("a policy that never calls would lead" in line for line in found.lines())


PAYLOADS = [
    "__import__('os').system('touch /tmp/synthagent_was_here')",
    "open('/etc/passwd').read()",
    "__import__('os').environ",
    "().__class__.__base__.__subclasses__()",
    "[c for c in globals()]",
    "(lambda: exec('import sys; sys.exit()'))()",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_code_in_a_models_text_is_not_run(payload: str) -> None:
    seen: list[str] = []

    def says(situation) -> dict[str, object]:  # type: ignore[no-untyped-def]
        seen.extend(str(message["content"]) for message in situation.messages if message["role"] != "system")
        return text(f"[cd(folder={payload} + 1), cd(folder={{{payload!r}: {{'a': 1}}}})]")

    (single,) = played(Says(says), {"simple_python": ["simple_python_0"]}, "prompt")
    (multi,) = played(Says(says), BASE, "prompt")
    assert (single.score, multi.score) == (0.0, 0.0)
    assert not any("root:" in line or "HOME" in line or "<class" in line for line in seen)
    assert not Path("/tmp/synthagent_was_here").exists()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_code_in_the_name_or_the_arguments_of_a_call_is_an_error_that_the_model_is_told(payload: str) -> None:
    told: list[str] = []

    def says(situation) -> dict[str, object]:  # type: ignore[no-untyped-def]
        told.extend(message["content"] for message in situation.messages if message["role"] == "tool")
        if situation.steps:
            return text("Done.")
        return calls((f"{payload}#", "{}"), ("cd", json.dumps({f"folder={payload}, x": 1})), (payload, "{}"))

    (result,) = played(Says(says), BASE)
    assert result.score == 0.0
    assert len(told) >= 3
    assert all(line.startswith("Error during execution: ") for line in told), told


def test_what_a_model_says_cannot_change_how_it_is_judged() -> None:
    forged = "multi_turn_utils.execute_multi_turn_func_call.__globals__.update(eval=lambda text: 'x')"
    truth = "native_ground_truth_eval_multi_turn_base_0_GorillaFileSystem_instance._load_scenario(scenario=1)"

    def says(situation) -> dict[str, object]:  # type: ignore[no-untyped-def]
        return text("Done.") if situation.steps % 2 else calls((forged, "{}"), (truth + "#", "{}"))

    (result,) = played(Says(says), BASE)
    assert result.score == 0.0
    assert result.failed is None


def test_even_where_the_package_runs_code_it_reaches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    code = """
from synthagent.suites.workers.bfcl_package import handling
del handling.eval  # the package as it is: sums in arguments are evaluated
def told(argument):
    try:
        return handling.default_decode_ast_prompting(f"[f(x={argument} + '')]")
    except Exception as error:
        return type(error).__name__
print(told("str(6 * 7)"))
print(told("open('/etc/passwd').read()"))
print(told(f"open({place!r}).read()"))
print(told("str(sorted(__import__('os').environ))"))
print(told("str(__import__('socket').create_connection(('1.1.1.1', 80), 5))"))
print(told("str(open('/usr/x', 'w'))"))
"""
    workers = ROOT / "synthagent" / "suites" / "workers"
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); place = {str(ROOT / 'params.yaml')!r}\n"
    python = BFCL.environment.python.absolute()
    finished = run_isolated(python, ["-B", "-c", start + code], [workers], wall_s=60)
    assert finished.stdout.decode().splitlines() == [
        "[{'f': {'x': '42'}}]",
        "FileNotFoundError",
        "FileNotFoundError",
        "[{'f': {'x': \"['BFCL_PROJECT_ROOT', 'HOME', 'LC_ALL']\"}}]",
        "OSError",
        "OSError",
    ], finished


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("message", "failed"),
    [
        (calls(*[("no_such_tool", "{}")] * 500), None),
        (calls(("cd", json.dumps({"folder": "a" * 2_000_000}))), "a message of 2,0"),
        (calls(("cd", f'{{"folder": {DEEP}}}')), None),
        (calls(("cd", '{"folder": ')), None),
        (calls(("cd", "[1]"), ("cd", "null")), None),
        (text("[cd(folder=" + DEEP + ")]"), None),
        (text("[cd(folder=9**9**9 + 1)]"), None),
        ({"role": "assistant"}, None),
    ],
    ids=["no-such-tool", "two-megabytes", "deep", "cut", "no-object", "deep-text", "endless-power", "empty"],
)
def test_whatever_a_model_says_costs_its_problem_at_most(message: dict[str, object], failed: str | None) -> None:
    style = "native" if message.get("tool_calls") else "prompt"
    results = played(Says(lambda _: message), {**SIMPLE, **BASE}, style)
    assert [result.score for result in results] == [0.0, 0.0]
    for result in results:
        assert (result.failed or "").startswith(failed or ""), result


def test_a_model_that_calls_for_ever_is_stopped_by_the_suites_own_limit() -> None:
    (result,) = played(Says(lambda _: calls(("ls", "{}"))), BASE)
    assert (result.score, result.steps) == (0.0, 21)
    assert "stopped after 20 steps" in result.detail


def test_the_command_prints_a_line_a_category_beside_silence_and_writes_nothing_but_its_cache(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    before = set(tmp_path.rglob("*"))
    arguments = ["--suite", "bfcl", "--policy", "gold", "--count", "2", "--categories", "multiple,live_irrelevance"]
    finished = synthagent("evaluate", *arguments, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    rows = [line.split()[:4] for line in finished.stdout.splitlines()]
    for category in ("multiple", "live_irrelevance", "live_simple"):
        assert [category, "noop", "2", "0.0"] in rows
        assert [category, "gold", "2", "100.0"] in rows
    assert "Qwen3-0.6B" in finished.stdout
    new = {path.relative_to(tmp_path).parts[:2] for path in set(tmp_path.rglob("*")) - before}
    assert new <= {(".cache",), (".cache", "suites")}
