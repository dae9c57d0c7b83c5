"""`synthagent`: one command a stage, and commands to look at tasks. Heavy imports happen inside the commands.

Launch: `synthagent --help`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthagent import __version__
from synthagent.cli_groups import cache, domain, exporting, importing
from synthagent.cli_looking import looking
from synthagent.cli_runs import lineage, report_card
from synthagent.errors import SynthAgentError
from synthagent.ops.profile import PROFILES

if TYPE_CHECKING:
    from synthagent.params import EmbeddingsParams, Params

STAGES = {
    "personas": "Read the personas that seed the tasks.",
    "tasks": "Invent tasks with their own tools and worlds, and prove each by running it.",
    "rubrics": "Roll out the teacher's demonstrations and write a rubric for every task.",
    "reasoning": "Pose problems with a known answer, and solve them with real tools.",
    "sft": "Warm-start the student on the demonstrations.",
    "rollouts": "Let the student act, several episodes a task.",
    "rewards": "Judge the rollouts by the rubrics.",
    "grpo": "Train the student by GRPO on live episodes.",
    "evaluate": "Evaluate baselines, student and expert on held-out tasks.",
    "report": "Write the report page.",
}

_INTERRUPTED = 130  # the exit code that typer makes of SIGINT

app = typer.Typer(
    help="Synthetic tasks, mock worlds and rubric rewards that teach small language models to act.\n\n"
    "`dvc repro` runs all stages; each is also a command of its own, and reads params.yaml.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ParamsFile = Annotated[Path, typer.Option("--params", help="The params file.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"synthagent {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _stage_command(name: str) -> None:
    def command(params: ParamsFile = Path("params.yaml")) -> None:
        from synthagent.stage import is_further_node, run_stage

        if is_further_node():
            from synthagent.params_file import load_params
            from synthagent.student.launch import join

            join(name, load_params(params))
        else:
            run_stage(name, params)

    app.command(name, help=STAGES[name], rich_help_panel="Stages, in order")(command)


def evaluate(
    suite: Annotated[str | None, typer.Option(help="A benchmark of others (bfcl, tau2).")] = None,
    policy: Annotated[str, typer.Option(help="noop, gold, endpoint, base, sft, grpo, or a FOLDER.")] = "grpo",
    categories: Annotated[str | None, typer.Option(help="Of the suite, with commas between; all if left out.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Problems of each category, drawn by the seed.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="How often each problem is run, for pass^k.")] = 1,
    style: Annotated[str, typer.Option(help="native: tool calls; prompt: the suite's own, as text.")] = "native",
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of one message.")] = 512,
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """The stage; with --suite, a benchmark of others, of which nothing is written but .cache/suites."""
    if suite is None:
        from synthagent.stage import run_stage

        run_stage("evaluate", params)
        return
    from synthagent.params import SuiteParams
    from synthagent.params_file import load_params
    from synthagent.suites.evaluate import evaluate_suite

    names = tuple(filter(None, categories.split(","))) if categories else None
    chosen = SuiteParams(
        name=suite, categories=names or None, count=count, trials=trials, style=style, max_tokens=max_tokens
    )
    for line in evaluate_suite(load_params(params), chosen, [policy]).lines():
        print(line)


for _name, _help in STAGES.items():
    if _name == "evaluate":
        app.command(_name, help=_help, rich_help_panel="Stages, in order")(evaluate)
    else:
        _stage_command(_name)


@app.command(rich_help_panel="Looking at tasks")
def results(params: ParamsFile = Path("params.yaml")) -> None:
    """Print the tables of the last evaluation: policies x splits x levels."""
    from synthagent.params_file import load_params
    from synthagent.stages.evaluate import stored_tables

    for line in stored_tables(load_params(params).seed):
        print(line)


@app.command(rich_help_panel="Looking at tasks")
def schema(record: Annotated[str, typer.Argument(help="task, or another record: rubric, persona ..")]) -> None:
    """Print the JSON schema of a record, so that others can write it."""
    from synthagent import records, worlds

    known = {name.lower(): kind for name, kind in (vars(records) | vars(worlds)).items() if isinstance(kind, type)}
    model: Any = known.get(record.lower())
    if model is None or not hasattr(model, "model_json_schema"):
        raise SynthAgentError(f"schema: no record {record!r}; try task, rubric, trajectory, reward, persona, worldspec")
    print(json.dumps(model.model_json_schema(), indent=2))


@app.command(rich_help_panel="Looking at tasks")
def validate(tasks: Annotated[Path, typer.Argument(help="A Parquet file of tasks.")]) -> None:
    """Run the proofs of every task again; exit 1 if one fails."""
    from synthagent.judging.validate import validate_file

    failures = 0
    for line in validate_file(tasks):
        failures += line.failed
        print(line.text)
    raise typer.Exit(1 if failures else 0)


@app.command(rich_help_panel="Looking at tasks")
def decontaminate(
    tasks: Annotated[Path, typer.Argument(help="A Parquet file of tasks.")] = Path("data/tasks.parquet"),
    suites: Annotated[str, typer.Option(help="installed, none, or names with commas between.")] = "installed",
    files: Annotated[list[Path] | None, typer.Option(help="A file or folder of problems; may be repeated.")] = None,
    embeddings: Annotated[bool, typer.Option(help="Also by the model of tasks.decontaminate.embeddings.")] = False,
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Compare tasks with benchmarks and files of yours: what was compared, and what is like what; exit 1 if any is."""
    from synthagent.params_file import load_params
    from synthagent.suites.compare import decontaminate as compare

    read = load_params(params)
    model = _embeddings_asked_for(read, params) if embeddings else None
    found = compare(tasks, suites, files or [], model, read)
    for line in found.lines:
        print(line)
    raise typer.Exit(1 if found.hits else 0)


@app.command(rich_help_panel="Looking at tasks")
def variety(
    tasks: Annotated[list[Path] | None, typer.Option(help="A Parquet file of tasks; may be repeated.")] = None,
    suite: Annotated[str, typer.Option(help="none, installed, or names with commas between.")] = "none",
    embeddings: Annotated[bool, typer.Option(help="Also by the model of tasks.decontaminate.embeddings.")] = False,
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Measure how varied tasks, and benchmarks' problems, are: tools, shapes of tools, wording. Sets are rows."""
    from synthagent.params_file import load_params
    from synthagent.suites.variety import variety_table

    read = load_params(params)
    model = _embeddings_asked_for(read, params) if embeddings else None
    own = Path("data/tasks.parquet")
    files = tasks or ([own] if own.exists() or suite == "none" else [])
    for line in variety_table(files, suite, model, read).lines():
        print(line)


@app.command(rich_help_panel="Looking at tasks")
def serve_world(
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="A task's id.")],
    tasks: Annotated[Path, typer.Option(help="The Parquet file that has it.")] = Path("data/tasks.parquet"),
    rubrics: Annotated[Path | None, typer.Option(help="Of these tasks; left out: by the task's reference.")] = None,
    http: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Over HTTP, on this machine; 0: any.")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="JSON lines to which each episode is appended.")] = None,
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Serve a task's world over MCP, on stdio: any agent client acts in it, asks the user, answers and is told its
    score."""
    from synthagent.exchange.mcp_world import serve_world as serve_task
    from synthagent.exchange.playable import task_of, written
    from synthagent.exchange.served import rubric_for
    from synthagent.params_file import load_params
    from synthagent.stage import Paths

    read, task = load_params(params), task_of(tasks, task_id)
    of_run = Paths.rubrics if tasks == Paths.tasks else None
    chosen = of_run if rubrics is None else written(rubrics, "rubrics")
    serve_task(task, rubric_for(task, chosen), read, http, record)


@app.command(rich_help_panel="Language models")
def serve(
    role: Annotated[str, typer.Argument(help="teacher, user, tools, judge or policy")],
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Start the vLLM server that a role's base_url and model describe; Ctrl-C stops it."""
    from synthagent.ops.serve import serve as serve_role
    from synthagent.params_file import load_params

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
    from synthagent.ops.profile import apply_profile

    changed = apply_profile(name, params)
    print(f"{params}: profile {name}, {len(changed)} values changed; `synthagent doctor` says what it needs")


@app.command(rich_help_panel="Language models")
def doctor(params: ParamsFile = Path("params.yaml")) -> None:
    """Say what is installed and what params need, with the remedy for each fault; exit 1 if something is missing."""
    from synthagent.ops.doctor import diagnose, table

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
    from synthagent.judging.judge_report import Options, table
    from synthagent.judging.judge_report import judge_report as report
    from synthagent.params_file import load_params

    options = Options(repeats, sample, second_model, second_base_url, second_api_key_env, labels, out)
    for line in table(report(load_params(params), options)):
        print(line)
    print(f"written to {out}")


app.add_typer(looking)
app.command(rich_help_panel="Looking at runs")(lineage)
app.command(rich_help_panel="Looking at runs")(report_card)
app.add_typer(importing, name="import", rich_help_panel="Import and export")
app.add_typer(exporting, name="export", rich_help_panel="Import and export")
app.add_typer(cache, name="cache", rich_help_panel="Language models")
app.add_typer(domain, name="domain", rich_help_panel="Looking at tasks")


def _embeddings_asked_for(read: Params, file: Path) -> EmbeddingsParams:
    """The model that params name."""
    if read.tasks.decontaminate.embeddings is None:
        raise SynthAgentError(f"{file}: tasks.decontaminate.embeddings: null; name a model, or leave --embeddings out")
    return read.tasks.decontaminate.embeddings


_ENVIRONMENT = {  # of the libraries that stages import, unless the user has set it: no hub, no telemetry, one thread
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "OMP_NUM_THREADS": "1",
}


def main() -> None:
    """Run the command line; a user's mistake ends in one message and exit code 1, a signal in 130 or 143."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        app()
    except SynthAgentError as error:
        print(f"synthagent: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            print("synthagent: interrupted", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
