"""`synthagent`: one command a stage, and commands to look at tasks. Heavy imports happen inside the commands.

Launch: `synthagent --help`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from synthagent.errors import SynthAgentError
from synthagent.profile import PROFILES

STAGES = {
    "personas": "Read the personas that seed the tasks.",
    "tasks": "Invent tasks with their own tools and worlds, and prove each by running it.",
    "rubrics": "Roll out the teacher's demonstrations and write a rubric for every task.",
    "sft": "Warm-start the student on the demonstrations.",
    "rollouts": "Let the student act, several episodes a task.",
    "rewards": "Judge the rollouts by the rubrics.",
    "grpo": "Train the student by GRPO on live episodes.",
    "evaluate": "Evaluate baselines, student and expert on held-out tasks.",
    "report": "Write the report page.",
}

_INTERRUPTED, _TERMINATED = 130, 143  # exit codes after SIGINT, which typer turns into its own, and SIGTERM

app = typer.Typer(
    help="Synthetic tasks, mock worlds and rubric rewards that teach small language models to act.\n\n"
    "`dvc repro` runs all stages; each is also a command of its own, and reads params.yaml.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ParamsFile = Annotated[Path, typer.Option("--params", help="The params file.")]


def _stage_command(name: str) -> None:
    def command(params: ParamsFile = Path("params.yaml")) -> None:
        from synthagent.params import load_params
        from synthagent.stage import outs_kept

        with outs_kept(name):
            importlib.import_module(f"synthagent.stages.{name}").run(load_params(params))

    app.command(name, help=STAGES[name], rich_help_panel="Stages, in order")(command)


for _name in STAGES:
    _stage_command(_name)


@app.command(rich_help_panel="Looking at tasks")
def results(params: ParamsFile = Path("params.yaml")) -> None:
    """Print the tables of the last evaluation: policies x splits x levels."""
    from synthagent.params import load_params
    from synthagent.stages.evaluate import stored_tables

    for line in stored_tables(load_params(params).seed):
        print(line)


@app.command(rich_help_panel="Looking at tasks")
def schema(record: Annotated[str, typer.Argument(help="task, or another record: rubric, persona ..")]) -> None:
    """Print the JSON schema of a record, so that others can write it."""
    from synthagent import records

    names = {name.lower(): name for name in vars(records) if isinstance(getattr(records, name), type)}
    model = getattr(records, names.get(record.lower(), ""), None)
    if model is None or not hasattr(model, "model_json_schema"):
        raise SynthAgentError(f"schema: no record {record!r}; try task, rubric, trajectory, reward, persona, worldspec")
    print(json.dumps(model.model_json_schema(), indent=2))


@app.command(rich_help_panel="Looking at tasks")
def validate(tasks: Annotated[Path, typer.Argument(help="A Parquet file of tasks.")]) -> None:
    """Run the proofs of every task again; exit 1 if one fails."""
    from synthagent.validate import validate_file

    failures = 0
    for line in validate_file(tasks):
        failures += line.failed
        print(line.text)
    raise typer.Exit(1 if failures else 0)


@app.command(rich_help_panel="Looking at tasks")
def show(
    id: Annotated[str, typer.Argument(help="A task's or a trajectory's id.")],
) -> None:
    """Print a task or a trajectory, readable."""
    from synthagent.show import show_text

    print(show_text(id))


@app.command(rich_help_panel="Looking at tasks")
def play(task_id: Annotated[str, typer.Argument(help="A task's id.")]) -> None:
    """Be the agent of a task in the terminal."""
    from synthagent.show import play_in_terminal

    play_in_terminal(task_id)


@app.command(rich_help_panel="Language models")
def serve(
    role: Annotated[str, typer.Argument(help="teacher, user, tools, judge or policy")],
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Start the vLLM server that a role's base_url and model describe; Ctrl-C stops it."""
    from synthagent.params import load_params
    from synthagent.serve import serve as serve_role

    serve_role(load_params(params), role)


@app.command(
    rich_help_panel="Language models",
    help="\n\n".join(
        ["Set params.yaml up for one way to run.", *(f"{name}: {line}" for name, line in PROFILES.items())]
    ),
)
def profile(
    name: Annotated[str, typer.Argument(help=", ".join(PROFILES))], params: ParamsFile = Path("params.yaml")
) -> None:
    from synthagent.profile import apply_profile

    changed = apply_profile(name, params)
    print(f"{params}: profile {name}, {len(changed)} values changed; `synthagent doctor` says what it needs")


@app.command(rich_help_panel="Language models")
def doctor(params: ParamsFile = Path("params.yaml")) -> None:
    """Say what is installed and what params need, with the remedy for each fault; exit 1 if something is missing."""
    from synthagent.doctor import diagnose, table

    findings = diagnose(params)
    print(table(findings))
    raise typer.Exit(1 if any(finding.state == "missing" for finding in findings) else 0)


@app.command(rich_help_panel="Language models")
def judge_report(
    repeats: Annotated[int, typer.Option(min=2, help="How often the judge is asked about a trajectory.")] = 5,
    sample: Annotated[int, typer.Option(min=1, help="How many trajectories of data/rollouts.parquet.")] = 50,
    second_model: Annotated[str | None, typer.Option(help="Another judge to compare with.")] = None,
    second_base_url: Annotated[str | None, typer.Option(help="Where it is served, if not where the judge is.")] = None,
    second_api_key_env: Annotated[str | None, typer.Option(help="NAME of the variable with its key.")] = None,
    labels: Annotated[Path | None, typer.Option(help="People's verdicts: trajectory_id,criterion,passed.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the report goes.")] = Path("data/judge_report.json"),
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Measure the judge: how often it flips, how its score varies, and whether checks, people, others agree with it."""
    from synthagent.llm.judge_report import Options, table
    from synthagent.llm.judge_report import judge_report as report
    from synthagent.params import load_params

    options = Options(repeats, sample, second_model, second_base_url, second_api_key_env, labels, out)
    for line in table(report(load_params(params), options)):
        print(line)
    print(f"written to {out}")


importing = typer.Typer(help="Bring in tasks that others wrote.", no_args_is_help=True)
exporting = typer.Typer(help="Hand data/ on, in a format of others.", no_args_is_help=True)
app.add_typer(importing, name="import", rich_help_panel="Import and export")
app.add_typer(exporting, name="export", rich_help_panel="Import and export")

DataFolder = Annotated[Path, typer.Option("--data", help="Folder of the datasets to export.")]


@importing.callback()
@exporting.callback()
def _group() -> None:
    """Keeps `agenticqwen` a command of its own: typer would drop the name of a group's only command."""


@importing.command()
def agenticqwen(
    file: Annotated[Path, typer.Argument(help="A JSON array or JSON lines of AgenticQwen tasks.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The Parquet file of tasks to write.")],
    split: Annotated[Literal["train", "heldout", "unseen_domain"], typer.Option(help="Of all of them.")] = "train",
) -> None:
    """Import tasks in the AgenticQwen format, with simulated worlds.

    What the tools are expected to return becomes what M starts with, so that the normal path of every task replays
    without a model; the policy becomes constraints, the background facts. An item that cannot be used costs a line;
    exit code 1 only if none can. Next: `synthagent validate TASKS.parquet`, or copy it to data/tasks.parquet.
    """
    from synthagent.importers import import_agenticqwen

    for line in import_agenticqwen(file, out, split):
        print(line)


@exporting.command()
def messages(
    file: Annotated[Path, typer.Argument(help="The JSON lines file to write.")],
    source: Annotated[Literal["demos", "rollouts"], typer.Option(help="Of the teacher, or of the policy.")] = "demos",
    min_reward: Annotated[float | None, typer.Option(help="Rollouts that earned less are left out.")] = None,
    data: DataFolder = Path("data"),
) -> None:
    """Trajectories as OpenAI chat messages with tools, one JSON object a line: for fine-tuning elsewhere.

    Example: `synthagent export messages good.jsonl --source rollouts --min-reward 0.5`. Faulty episodes are left out.
    """
    from synthagent.export.messages import export_messages

    print(export_messages(file, source, min_reward, data))


@exporting.command()
def verl(
    folder: Annotated[Path, typer.Argument(help="The folder to write; new, empty, or of an earlier export.")],
    data: DataFolder = Path("data"),
) -> None:
    """Tasks with their rubrics in verl's RL dataset format: FOLDER/train.parquet, heldout.parquet ..

    The README.md in it says what the reward function finds where.
    """
    from synthagent.export.verl import export_verl

    print(export_verl(folder, data))


@exporting.command()
def hf(
    folder: Annotated[Path, typer.Argument(help="The folder to write; new, empty, or of an earlier export.")],
    data: DataFolder = Path("data"),
) -> None:
    """All tables, a file for each split, with a dataset card: for `datasets.load_dataset(FOLDER, "tasks")`, or the hub.

    Tables: tasks, rubrics, demos, rollouts, rewards; those that are there.
    """
    from synthagent.export.hf import export_hf

    print(export_hf(folder, data))


cache = typer.Typer(
    help="What models have answered, kept in .cache/llm; so that nothing is paid for twice.\n\n"
    "To let others reproduce your data without a key: `synthagent cache export data/responses.jsonl.gz`, "
    "`dvc add data/responses.jsonl.gz`. They: `synthagent cache import data/responses.jsonl.gz`, "
    'llm.replay: "only" in params.yaml, `dvc repro`.',
    no_args_is_help=True,
)
app.add_typer(cache, name="cache", rich_help_panel="Language models")


@cache.command("export")
def cache_export(file: Annotated[Path, typer.Argument(help="The file to write, such as responses.jsonl.gz.")]) -> None:
    """Write everything in the store to one file: the same content gives the same bytes."""
    from synthagent.llm.exchange import export_store

    print(f"{file}: {export_store(file):,} entries written")


@cache.command("import")
def cache_import(file: Annotated[Path, typer.Argument(help="A file that `cache export` wrote.")]) -> None:
    """Add a file's entries to the store, all or none; what is in the store stays as it is."""
    from synthagent.llm.exchange import import_store

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
    from synthagent.llm.exchange import info

    for line in info():
        print(line)


_ENVIRONMENT = {  # of the libraries that stages import, unless the user has set it: no hub, no telemetry, one thread
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "OMP_NUM_THREADS": "1",
}


def main() -> None:
    """Run the command line; a user's mistake ends in one message and exit code 1."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        app()
    except SynthAgentError as error:
        print(f"synthagent: {error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code in (_INTERRUPTED, _TERMINATED):
            print("synthagent: interrupted; the outs of the last complete run are in place", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
