"""Plans a task: difficulty -> which goal, which rule, which features. What is planned is written down by `compose`."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from synthagent.episodes.user import CONFIRM
from synthagent.teacher.rules import RuleKind

Goal = Literal["act", "set", "new"]
Feature = Literal["decoy", "rules", "chain", "refuse", "value", "long"]
FEATURES: tuple[Feature, ...] = ("decoy", "rules", "chain", "refuse", "value", "long")
RULES: tuple[RuleKind, ...] = ("check", "status", "limit", "confirm")
EASY_RULES: tuple[RuleKind, ...] = ("check", "confirm")


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of task it will be."""

    goal: Goal
    rule: RuleKind
    find: bool  # the entity is found by its owner's name; else the user knows its key
    contact: bool  # the follow-up needs the owner's contact, which another tool gives
    receipt: bool  # the follow-up is about the receipt that the act gives out
    follow: bool
    column: Literal["day", "choice"]  # what a `set` changes
    reports: bool  # the answer carries a value
    others: int  # tools that only read, and that the task does not need
    decoy: bool  # one of them is what another constraint is about
    turns_on: Literal["row", "consent", "existence"]  # what the twin differs in


def features_of(difficulty: int, rng: random.Random) -> frozenset[Feature]:
    """Level 1 has none of the features, level 2 two or three, level 3 all."""
    match difficulty:
        case 1:
            return frozenset()
        case 2:
            return frozenset(rng.sample(FEATURES, rng.choice((2, 3))))
        case _:
            return frozenset(FEATURES)


def make_plan(difficulty: int, rng: random.Random) -> Plan:
    """Draw a plan of the given difficulty; every plan needs three to five tools and three to seven milestones."""
    features = features_of(difficulty, rng)
    rule = rng.choice(RULES if "rules" in features else EASY_RULES)
    goals: tuple[Goal, ...] = ("act", "act", "set") if rule == CONFIRM else ("act", "act", "set", "new")
    goal = rng.choice(goals)
    long, chain = "long" in features, "chain" in features
    find = goal != "new" and (rule == CONFIRM or rng.random() < 0.5)
    # A found entity whose new value has to be asked for is long enough without a contact.
    contact = long and goal != "new" and not (find and goal == "set")
    turns_on: Literal["row", "consent", "existence"] = "consent" if rule == CONFIRM else "row"
    if "refuse" in features and goal != "new" and rng.random() < 0.2:
        turns_on = "existence"
    return Plan(
        goal=goal,
        rule=rule,
        find=find,
        contact=contact,
        receipt=chain and goal != "new",
        follow=goal == "new" or not find or rule == CONFIRM or chain or long,
        column=rng.choice(("day", "choice")),
        reports="value" in features,
        others=1 if "decoy" in features else rng.choice((0, 1)),
        decoy="decoy" in features,
        turns_on=turns_on,
    )
