"""Commands that show tasks and episodes: `synthagent show`, `play`, `list`, `view`.

Launch: `synthagent list --help`. Heavy imports happen inside the commands.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

_PANEL = "Looking at tasks"
looking = typer.Typer()

TasksFile = Annotated[Path | None, typer.Option("--tasks", help="A Parquet file of tasks; left out: data/.")]
Named = list[str] | None


@looking.command(rich_help_panel=_PANEL)
def show(
    id: Annotated[str, typer.Argument(help="Of a task, a demonstration, a rollout, or an evaluated episode.")],
    tasks: TasksFile = None,
) -> None:
    """Print a task or a trajectory, readable: task-0000027, task-0000027.grpo.0, task-0000027.grpo.greedy.0."""
    from synthagent.showing.show import show_text

    print(show_text(id, tasks))


@looking.command(rich_help_panel=_PANEL)
def play(task_id: Annotated[str, typer.Argument(help="A task's id.")], tasks: TasksFile = None) -> None:
    """Be the agent of a task in the terminal."""
    from synthagent.showing.play import play_in_terminal

    play_in_terminal(task_id, tasks)


@looking.command("list", rich_help_panel=_PANEL)
def list_episodes(
    split: Annotated[Named, typer.Option(help="train, heldout, unseen_domain; may be repeated, as the next.")] = None,
    domain: Annotated[Named, typer.Option(help="The task's domain.")] = None,
    level: Annotated[list[int] | None, typer.Option(help="The task's difficulty, 1 to 3.")] = None,
    policy: Annotated[Named, typer.Option(help="Who acted: sft, grpo, expert ..")] = None,
    decoding: Annotated[Named, typer.Option(help="sampled, greedy or scripted.")] = None,
    end: Annotated[Named, typer.Option(help="answer, turn_limit, token_limit or error.")] = None,
    failed: Annotated[str, typer.Option(help="A failed criterion: its id, its kind, or words of it.")] = "",
    min_reward: Annotated[float | None, typer.Option(help="The least reward.")] = None,
    max_reward: Annotated[float | None, typer.Option(help="The greatest reward.")] = None,
    sort: Annotated[
        Literal["id", "task", "policy", "domain", "level", "reward", "turns", "questions"],
        typer.Option(help="By what."),
    ] = "id",
    reverse: Annotated[bool, typer.Option("--reverse", help="The greatest first.")] = False,
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="So many at most.")] = None,
    form: Annotated[
        Literal["table", "jsonl", "ids"] | None,
        typer.Option("--as", help="table: fits the terminal; jsonl: all columns; left out: a table, in a pipe ids."),
    ] = None,
) -> None:
    """List evaluated episodes and rollouts, with their rewards and failed criteria.

    Example: `synthagent list --policy grpo --failed constraint | xargs -n 1 synthagent show`.
    """
    from synthagent.showing.listing import listed
    from synthagent.showing.rows import WantedEpisodes, chosen, lacking, read_rows

    named = {"split": split, "domain": domain, "policy": policy, "decoding": decoding, "end": end}
    wanted = WantedEpisodes(
        **{name: tuple(values or ()) for name, values in named.items()},
        level=tuple(level or ()),
        failed=failed,
        min_reward=min_reward,
        max_reward=max_reward,
    )
    rows = chosen(read_rows(), wanted, sort, reverse)[:count]
    if said := lacking():
        print(f"synthagent: {said}", file=sys.stderr)
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((120, 0)).columns
    for line in listed(rows, form or ("table" if terminal else "ids"), width, terminal):
        print(line)


@looking.command(rich_help_panel=_PANEL)
def view(
    rev: Annotated[Named, typer.Option(help="A git revision, to stand beside this; may be repeated.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the page, such as episodes.html.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it is served; 0: any that is free.")] = 8420,
) -> None:
    """Read episodes in a browser: filter, search, compare two policies, or two revisions, on the same tasks.

    The page asks for nothing from outside. The stage `report` writes the same as data/report/episodes.html.
    """
    from synthagent.showing.view import view as view_episodes

    view_episodes(rev or (), out, port)
