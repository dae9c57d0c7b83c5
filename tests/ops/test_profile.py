"""`synthagent profile`: values change, comments stay, and what would not be valid is not written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import load_yaml
from helpers.projects import ROOT, assert_one_message, files_under, synthagent

from synthagent.ops.profile import PROFILES, apply_profile
from synthagent.params import Params, Roles
from synthagent.params_file import load_params

FOLDER = ROOT / "synthagent" / "ops" / "profiles"
SHIPPED = (ROOT / "params.yaml").read_text()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A copy of the params file that ships with the project."""
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED)
    return path


def values(path: Path) -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load(path.read_text())
    return raw


def comments(path: Path) -> list[str]:
    lines = (line.partition("#")[2].strip() for line in path.read_text().splitlines())
    return [comment for comment in lines if comment]


def keys(name: str) -> set[str]:
    """What a profile sets; of a role and a list, the whole."""
    raw = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return {f"{section}.{key}" for section, part in raw.items() if isinstance(part, dict) for key in part}


def test_every_profile_has_a_file_and_a_line_of_help(tmp_path: Path) -> None:
    assert sorted(f"{name}.yaml" for name in PROFILES) == sorted(file.name for file in FOLDER.iterdir())
    told = " ".join(synthagent("profile", "--help", cwd=tmp_path).stdout.split())
    for name, line in PROFILES.items():
        assert f"{name}: {line}" in told


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_gives_valid_params_with_its_values_and_the_files_comments(name: str, path: Path) -> None:
    before, said = values(path), comments(path)
    apply_profile(name, path)
    after = values(path)
    for section, part in yaml.safe_load((FOLDER / f"{name}.yaml").read_text()).items():
        expected = {**before[section], **part} if isinstance(part, dict) else part
        assert after.pop(section) == expected
    assert after == {section: before[section] for section in after}
    assert comments(path) == said
    load_params(path)


def test_embedded_restores_the_shipped_values_exactly(path: Path) -> None:
    shipped = values(path)
    assert yaml.safe_load((FOLDER / "embedded.yaml").read_text()) == shipped
    said = comments(path)
    for name in ("vllm-cpu", "smollm2", "paper", "one-gpu", "embedded"):
        apply_profile(name, path)
    assert values(path) == shipped
    assert comments(path) == said
    assert path.read_text().count("\n\n") == SHIPPED.count("\n\n")


def test_embedded_brings_back_what_a_user_changed_or_broke(path: Path) -> None:
    shipped = values(path)
    path.write_text(SHIPPED.replace("seed: 0", "seed: 7").replace("count: 12000", "count: many"))
    assert apply_profile("embedded", path) == ["seed", "tasks.count"]
    assert values(path) == shipped


@pytest.mark.parametrize("name", PROFILES)
def test_dvc_can_read_what_a_profile_wrote(name: str, path: Path) -> None:
    apply_profile(name, path)
    assert load_yaml(str(path)) == yaml.safe_load(path.read_text())


def test_the_same_profile_twice_changes_nothing(path: Path) -> None:
    assert apply_profile("embedded", path) == []
    assert apply_profile("vllm-cpu", path)
    text = path.read_text()
    assert apply_profile("vllm-cpu", path) == []
    assert path.read_text() == text


def test_it_does_not_matter_which_profile_was_there_before(path: Path) -> None:
    models = [name for name in PROFILES if name != "embedded"]
    assert len({frozenset(keys(name)) for name in models}) == 1
    for name in models:
        found = set()
        for before in PROFILES:
            path.write_text(SHIPPED)
            apply_profile(before, path)
            apply_profile(name, path)
            found.add(load_params(path).model_dump_json())
        assert len(found) == 1


def test_what_a_profile_does_not_set_stays(path: Path) -> None:
    path.write_text(SHIPPED.replace("seed: 0", "seed: 7"))
    apply_profile("vllm-cpu", path)
    assert load_params(path).seed == 7


def test_every_role_of_vllm_cpu_is_one_local_server(path: Path) -> None:
    apply_profile("vllm-cpu", path)
    params = load_params(path)
    for name in Roles.model_fields:
        role = getattr(params.roles, name)
        assert (role.backend, role.base_url) == ("openai", "http://127.0.0.1:8000/v1")
        assert role.model == "SmolLM2-135M-Instruct"
    template = next(arg.partition("=")[2] for arg in params.serve.args if arg.startswith("--chat-template="))
    assert (ROOT / template).is_file()


@pytest.mark.parametrize("name", PROFILES)
def test_the_episodes_of_a_training_step_can_be_shared_out(name: str, path: Path) -> None:
    from synthagent.stages.grpo import check_params

    apply_profile(name, path)
    check_params(load_params(path))


def test_paper_has_the_papers_figures(path: Path) -> None:
    apply_profile("paper", path)
    params: Params = load_params(path)
    teacher, judge = params.roles.teacher, params.roles.judge
    assert (teacher.model, teacher.temperature) == ("Qwen/Qwen3-235B-A22B-Instruct-2507", 0.9)
    assert judge.model == params.roles.tools.model == params.roles.user.model == "Qwen/Qwen3-30B-A3B-Instruct-2507"
    assert (params.tasks.count, params.rubrics.trajectories, params.grpo.group_size) == (15_096, 4, 16)
    assert (params.episode.max_turns, params.episode.max_tokens) == (16, 13_000)
    assert (params.grpo.clip_low, params.grpo.clip_high, params.reward.formula) == (0.2, 0.28, "paper")
    assert (params.student.base, params.student.lora, params.sft.demos) == ("Qwen/Qwen3-8B", None, 0)


def test_an_unknown_profile_is_told_with_those_there_are(path: Path) -> None:
    assert_one_message(synthagent("profile", "none", cwd=path.parent), "'none'", *PROFILES)
    assert path.read_text() == SHIPPED


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SHIPPED.replace("rubrics:", "surplus: 1\nrubrics:"), "surplus: unknown key"),
        (SHIPPED.replace("muon_rate: 0.14", "muon_rate: 0"), "sft.muon_rate"),
        ("a: [", "not YAML"),
        ("a: 1\na: 2\n", "not YAML"),
        ("[]", "mapping of sections"),
        ("", "mapping of sections"),
    ],
)
def test_a_file_with_a_fault_of_its_own_is_told_and_left_as_it_is(content: str, said: str, path: Path) -> None:
    path.write_text(content)
    before = files_under(path.parent)
    assert_one_message(synthagent("profile", "vllm-cpu", cwd=path.parent), "params.yaml", said)
    assert files_under(path.parent) == before


def test_without_a_params_file_the_message_says_where_to_run(tmp_path: Path) -> None:
    assert_one_message(synthagent("profile", "embedded", cwd=tmp_path), "params.yaml", "project's root")
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(path: Path) -> None:
    link = path.with_name("link.yaml")
    link.symlink_to(path)
    finished = synthagent("profile", "vllm-cpu", "--params", "link.yaml", cwd=path.parent)
    assert finished.returncode == 0
    assert finished.stdout.startswith("link.yaml: profile vllm-cpu, ")
    assert link.is_symlink()
    assert load_params(path).roles.teacher.backend == "openai"
