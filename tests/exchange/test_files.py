"""What all exports share: missing datasets are told, an export of its own kind is replaced, nothing else is."""

from __future__ import annotations

import pkgutil
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.exports import with_rollouts
from helpers.projects import assert_one_message, files_under, synthagent

from synthagent import __version__
from synthagent.errors import InputError, StoreError
from synthagent.exchange.hf import export_hf
from synthagent.exchange.messages import export_messages
from synthagent.exchange.verl import export_verl
from synthagent.stage import Paths

pytestmark = pytest.mark.usefixtures("project")


def test_a_missing_dataset_names_the_stage_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"rollouts\.parquet: no such file; the stage rollouts writes it"):
        export_messages(tmp_path / "x.jsonl", "rollouts")
    with_rollouts(rewards=False)
    with pytest.raises(StoreError, match="the stage rewards writes it"):
        export_messages(tmp_path / "x.jsonl", "rollouts", 0.5)
    Paths.demos.unlink()
    with pytest.raises(StoreError, match="the stage rubrics writes it: run `dvc repro rubrics` first"):
        export_messages(tmp_path / "x.jsonl", "demos")
    Paths.rubrics.unlink()
    with pytest.raises(StoreError, match="the stage rubrics writes it"):
        export_verl(tmp_path / "verl")
    Paths.tasks.unlink()
    with pytest.raises(StoreError, match="the stage tasks writes it"):
        export_hf(tmp_path / "hf")
    assert not [path for path in tmp_path.iterdir() if path.name != "project"]


@pytest.mark.parametrize("export", [export_hf, export_verl])
def test_an_earlier_export_is_replaced_and_anything_else_is_left_alone(tmp_path: Path, export: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export(out)
    export(out)
    (out / "train.parquet").unlink(missing_ok=True)
    export(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other things, such as notes\.txt"):
        export(out)
    assert (out / "notes.txt").read_text() == "mine"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("my own")
    with pytest.raises(InputError, match=r"such as README\.md"):
        export(mine)
    with pytest.raises(InputError, match="is a file"):
        export(mine / "README.md")
    with pytest.raises(InputError, match=r"such as README\.md"):
        export(tmp_path / "not there" / ".." / "mine")
    assert (mine / "README.md").read_text() == "my own"


@pytest.mark.parametrize(("first", "second"), [(export_hf, export_verl), (export_verl, export_hf)])
def test_an_export_of_another_kind_is_not_replaced(tmp_path: Path, first: Any, second: Any) -> None:
    out = tmp_path / "out"
    first(out)
    before = files_under(out)
    with pytest.raises(InputError, match="holds "):
        second(out)
    assert files_under(out) == before
    card = (out / "README.md").read_text()
    shutil.rmtree(out)
    out.mkdir()
    (out / "README.md").write_text(card)
    with pytest.raises(InputError, match="holds an export of another kind"):
        second(out)


def test_files_deep_inside_an_export_are_not_lost(tmp_path: Path) -> None:
    export_hf(tmp_path / "hf")
    notes = tmp_path / "hf" / "data" / "tasks" / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(InputError, match=r"such as data/tasks/notes\.txt"):
        export_hf(tmp_path / "hf")
    assert notes.read_text() == "mine"


@pytest.mark.parametrize("export", [export_hf, export_verl])
def test_a_card_says_the_version_and_names_only_what_that_version_has(tmp_path: Path, export: Any) -> None:
    export(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"synthagent {__version__}" in card.lower()
    for name in re.findall(r"`(synthagent(?:\.\w+)+)`", card):
        assert pkgutil.resolve_name(name), name


def test_the_commands_export_and_tell_a_mistake_in_one_line(project: Path) -> None:
    for words in (("messages", "chat.jsonl"), ("verl", "verl"), ("hf", "hf")):
        finished = synthagent("export", *words, cwd=project)
        assert finished.returncode == 0, finished.stderr
        assert (project / words[1]).exists()
    assert_one_message(synthagent("export", "messages", "x", "--min-reward", "1", cwd=project), "--source rollouts")
    assert_one_message(synthagent("export", "hf", "new", "--data", "nowhere", cwd=project), "nowhere/tasks.parquet")
    assert_one_message(synthagent("export", "verl", ".", cwd=project), "holds other things")
