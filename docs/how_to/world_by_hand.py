"""A task written by hand: its world, tools, rule, hidden fact and reference -> a Parquet file of tasks.

Launch: `python docs/how_to/world_by_hand.py mine.parquet`, then `synthagent validate mine.parquet`.
"""

import sys
from pathlib import Path

from synthagent.records import Task
from synthagent.store import write_records
from synthagent.worlds import (
    Answer,
    Ask,
    Call,
    Called,
    Condition,
    Constraint,
    Effect,
    Fact,
    Guard,
    Never,
    Table,
    Tool,
    WorldSpec,
)

TEXT = {"type": "string"}


def tool(name: str, says: str, takes: list[str], gives: list[str]) -> Tool:
    """A tool that takes texts and gives texts back."""
    parameters = {"type": "object", "properties": dict.fromkeys(takes, TEXT), "required": takes}
    return Tool(name=name, description=says, parameters=parameters, outputs=dict.fromkeys(gives, TEXT))


# The world: one table, and what each tool does to it. Nothing is generated code; the effects are interpreted.
WORLD = WorldSpec(
    tables={"boats": Table(key="boat_id", rows=({"boat_id": "C-7", "state": "free", "day": ""},))},
    effects={
        "check_boat": (Effect(op="get", table="boats", key="boat_id", returns={"state": "state"}),),
        "reserve_boat": (
            Effect(
                op="update",
                table="boats",
                key="boat_id",
                write={"state": {"value": "reserved"}, "day": {"arg": "day"}},
                returns={"state": "state"},
            ),
        ),
        "repair_boat": (
            Effect(
                op="update",
                table="boats",
                key="boat_id",
                write={"state": {"value": "in repair"}},
                returns={"state": "state"},
            ),
        ),
    },
    # The rule in executable form: no reservation before a look at this boat that found it free.
    rules={
        "c1": Never(
            tool="reserve_boat",
            seen=Called(tool="check_boat", result=(Condition(field="state", value="free"),)),
            same=("boat_id",),
        )
    },
)

TASK = Task(
    id="boat-1",
    persona_id="by-hand",
    domain="boats",
    difficulty=1,
    split="train",
    instruction="Please reserve a canoe for me.",
    workflow=("Ask which canoe", "Ask for the day", "See whether it is free", "Reserve it", "Say that it is done"),
    facts=(
        Fact(slot="boat_id", value="C-7", phrase="the canoe is C-7"),
        Fact(slot="day", value="Sunday", phrase="I want it on Sunday"),
    ),
    tools=(
        tool("check_boat", "Look a boat up.", ["boat_id"], ["state"]),
        tool("reserve_boat", "Reserve a boat for a day.", ["boat_id", "day"], ["state"]),
        tool("repair_boat", "Send a boat to be repaired.", ["boat_id"], ["state"]),
    ),
    distractors=("repair_boat",),
    constraints=(Constraint(id="c1", text="Never reserve a boat unless check_boat has shown that it is free."),),
    world_kind="executable",
    world=WORLD,
    # The reference: a program of steps. `guess` is what a policy that does not ask would take instead.
    reference=(
        Ask(slot="boat_id", guess="C-1", milestone="Ask which canoe"),
        Ask(slot="day", guess="Monday", milestone="Ask for the day"),
        Call(tool="check_boat", args={"boat_id": "boat_id"}, precaution=True, milestone="See whether it is free"),
        Guard(
            conditions=(Condition(field="state", value="free"),),
            otherwise=Answer(outcome="refused", milestone="Say that it is not free"),
        ),
        Call(tool="reserve_boat", args={"boat_id": "boat_id", "day": "day"}, milestone="Reserve it"),
        Answer(outcome="done", milestone="Say that it is done"),
    ),
)

if __name__ == "__main__":
    write_records(Path(sys.argv[1]), Task, [TASK])
    print(f"{sys.argv[1]}: one task; next: synthagent validate {sys.argv[1]}")
