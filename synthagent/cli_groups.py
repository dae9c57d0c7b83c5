"""The groups of commands: `synthagent import ..`, `export ..`, `cache ..` bring data in and out, `domain ..` checks it.

Launch: `synthagent export --help`. Heavy imports happen inside the commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synthagent.errors import InputError

if TYPE_CHECKING:
    from synthagent.records import Task

importing = typer.Typer(help="Bring in tasks that others wrote.", no_args_is_help=True)
exporting = typer.Typer(help="Hand data/ on, in a format of others.", no_args_is_help=True)
domain = typer.Typer(help="Files of which the natural teacher makes tasks.", no_args_is_help=True)

DataFolder = Annotated[Path, typer.Option("--data", help="Folder of the datasets to export.")]


@importing.callback()
@exporting.callback()
@domain.callback()
def _group() -> None:
    """Keeps `agenticqwen` a command of its own: typer would drop the name of a group's only command."""


@importing.command()
def agenticqwen(
    file: Annotated[Path, typer.Argument(help="A JSON array or JSON lines of AgenticQwen tasks.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The Parquet file of tasks to write.")],
    split: Annotated[Literal["train", "heldout", "unseen_domain"], typer.Option(help="Of all of them.")] = "train",
) -> None:
    """Import tasks in the AgenticQwen format, with simulated worlds.

    What the tools are expected to return becomes what M starts with, so that the normal path of every task is answered
    without a model; the rules become constraints, the background facts. An item that cannot be used costs a line;
    exit code 1 only if none can. Next: `synthagent validate TASKS.parquet`, or copy it to data/tasks.parquet.
    """
    from synthagent.exchange.importers import import_agenticqwen

    for line in import_agenticqwen(file, out, split):
        print(line)


@exporting.command()
def messages(
    file: Annotated[Path, typer.Argument(help="The JSON lines file to write; new, empty, or an earlier export.")],
    source: Annotated[Literal["demos", "rollouts"], typer.Option(help="Of the teacher, or of the policy.")] = "demos",
    min_reward: Annotated[float | None, typer.Option(help="Rollouts that earned less are left out.")] = None,
    data: DataFolder = Path("data"),
) -> None:
    """Trajectories as OpenAI chat messages with tools, one JSON object a line: for fine-tuning elsewhere.

    Example: `synthagent export messages good.jsonl --source rollouts --min-reward 0.5`. Faulty episodes are left out.
    """
    from synthagent.exchange.messages import export_messages

    print(export_messages(file, source, min_reward, data))


@exporting.command()
def verl(
    folder: Annotated[Path, typer.Argument(help="The folder to write; new, empty, or an earlier export of this kind.")],
    data: DataFolder = Path("data"),
) -> None:
    """Tasks with their rubrics in verl's RL dataset format: FOLDER/train.parquet, heldout.parquet ..

    The README.md in it says what the reward function finds where.
    """
    from synthagent.exchange.verl import export_verl

    print(export_verl(folder, data))


@exporting.command()
def hf(
    folder: Annotated[Path, typer.Argument(help="The folder to write; new, empty, or an earlier export of this kind.")],
    data: DataFolder = Path("data"),
) -> None:
    """All tables, a file for each split, with a dataset card: for `datasets.load_dataset(FOLDER, "tasks")`, or the hub.

    Tables: tasks, rubrics, demos, rollouts, rewards; those that are there.
    """
    from synthagent.exchange.hf import export_hf

    print(export_hf(folder, data))


@exporting.command("inspect")
def inspect_logs(
    folder: Annotated[Path, typer.Argument(help="The folder to write; new, empty, or an earlier export of this kind.")],
    data: DataFolder = Path("data"),
) -> None:
    """Evaluated episodes as logs for Inspect's viewer, one a policy: `inspect view --log-dir FOLDER`.

    `servers/inspect.sh` installs it into an environment of its own.
    """
    from synthagent.exchange.inspect_log import export_inspect

    print(export_inspect(folder, data))


@exporting.command()
def problems(
    folder: Annotated[Path, typer.Argument(help="Where the files go: a file a suite.")] = Path("data/problems"),
    suites: Annotated[str, typer.Option(help="installed, or names with commas between.")] = "installed",
) -> None:
    """What benchmarks of others ask, in files: for `tasks.decontaminate.path`, so that no task is a copy of it."""
    from synthagent.suites.problems import export_problems

    for line in export_problems(folder, suites):
        print(line)


@domain.command("check")
def domain_check(file: Annotated[Path, typer.Argument(help="A YAML file with one domain.")]) -> None:
    """Say what is wrong with a domain file, a line a fault, or what is in it; exit 1 if anything is wrong."""
    from synthagent.teacher.natural.check import check_file, show_domain, show_tasks, tell

    checked = check_file(file)
    shown = chain(show_domain(checked.domain), show_tasks(checked.domain)) if checked.domain else None
    for line in shown or tell(file, checked.faults):
        print(line)
    raise typer.Exit(0 if checked.domain else 1)


@domain.command("sample")
def domain_sample(
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write, such as tasks.html.")],
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many tasks; twins are one.")] = 20,
    seed: Annotated[int, typer.Option(help="Which tasks.")] = 0,
    domain: Annotated[str | None, typer.Option(help="Of this domain only.")] = None,
    tasks: Annotated[Path | None, typer.Option(help="Of this Parquet file; left out: freshly composed.")] = None,
    params: Annotated[Path, typer.Option("--params", help="The params file.")] = Path("params.yaml"),
) -> None:
    """Write a page of natural tasks to read: what a policy sees, what the user knows, what the expert does.

    With --tasks, of a file; personas are then those of `personas.parquet` beside it.
    """
    from synthagent.showing.task_page import task_page
    from synthagent.store import write_text

    if out.suffix != ".html":
        raise InputError(f"--out: {out}: the page is HTML; name a file that ends in .html")
    given = _sampled_from(tasks, count, seed, domain) if tasks else _composed(count, seed, domain, params)
    write_text(out, task_page(given.groups, given.personas, given.source))
    print(f"{out}: {len(given.groups)} tasks to read; {given.source}")


@dataclass(frozen=True, slots=True)
class _Sample:
    """Tasks of a page, each with its twin; persona id -> text; where they come from."""

    groups: list[tuple[Task, ...]]
    personas: dict[str, str]
    source: str


def _sampled_from(file: Path, count: int, seed: int, domain: str | None) -> _Sample:
    from synthagent.records import Persona
    from synthagent.showing.task_page import picked
    from synthagent.store import read_records

    beside = file.parent / "personas.parquet"
    personas = {one.id: one.text for one in read_records(beside, Persona)} if beside.exists() else {}
    return _Sample(picked(file, count, seed, domain), personas, f"drawn from {file} by seed {seed}")


def _composed(count: int, seed: int, domain: str | None, params: Path) -> _Sample:
    from synthagent.params_file import load_params
    from synthagent.stages.personas import built_in
    from synthagent.teacher.natural.sample import fresh_tasks

    people = list(built_in())
    fresh = fresh_tasks(count, seed, domain, people, load_params(params).tasks)
    source = f"composed with seed {seed} for the built-in personas; {fresh.refused} proposals failed a proof on the way"
    return _Sample(fresh.groups, {one.id: one.text for one in people}, source)


cache = typer.Typer(
    help="What models have answered, kept in .cache/llm; so that nothing is paid for twice.\n\n"
    "To let others reproduce your data without a key: `synthagent cache export data/responses.jsonl.gz`, "
    "`dvc add data/responses.jsonl.gz`. They: `synthagent cache import data/responses.jsonl.gz`, "
    'llm.replay: "only" in params.yaml, `dvc repro`.',
    no_args_is_help=True,
)


@cache.command("export")
def cache_export(file: Annotated[Path, typer.Argument(help="The file to write, such as responses.jsonl.gz.")]) -> None:
    """Write everything in the store to one file: the same content gives the same bytes."""
    from synthagent.llm.cache import export_store

    print(f"{file}: {export_store(file):,} entries written")


@cache.command("import")
def cache_import(file: Annotated[Path, typer.Argument(help="A file that `cache export` wrote.")]) -> None:
    """Add a file's entries to the store, all or none; what is in the store stays as it is."""
    from synthagent.llm.cache import import_store

    done = import_store(file)
    print(f"{file}: {done.new:,} entries were new")
    if done.differing:
        print(
            f"{done.differing:,} others are answered differently here, and the store's own answers stand; to reproduce "
            "that file's data, move .cache/llm away and import it again"
        )


@cache.command("info")
def cache_info() -> None:
    """Count what is in the store, by role and model, with the tokens it took."""
    from synthagent.llm.cache import info

    for line in info():
        print(line)
