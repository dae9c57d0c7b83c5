"""The rows of a natural task's world: what answers its questions, and what is easily mixed up with that."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from synthagent.frozen import Json
from synthagent.meaning import same
from synthagent.teacher.natural.domain import Field, Lookup, Thing
from synthagent.teacher.natural.schemas import TypedParameter
from synthagent.teacher.natural.toolset import STATUS, Spec, ToolsetWriter, code_of, column
from synthagent.teacher.natural.values import Context, Spoken, draw, others
from synthagent.worlds import Table


@dataclass(frozen=True, slots=True)
class SaidValue:
    """A parameter with the value that the task wants for it."""

    written: TypedParameter
    value: Spoken


@dataclass(frozen=True, slots=True)
class Owned:
    """The row that is the user's: its values as the user says them, the row itself, its code."""

    values: dict[str, Spoken]
    row: dict[str, Json]
    code: str


class RowWriter:
    """Gathers the rows of one task, by table."""

    def __init__(self, writer: ToolsetWriter, context: Context, rng: random.Random) -> None:
        self.writer, self.context, self.rng = writer, context, rng
        self.rows: dict[str, list[dict[str, Json]]] = {}

    def answer(self, lookup: Lookup, spec: Spec, said: Sequence[SaidValue]) -> None:
        """The row that answers, and some that answer nearly the same question."""
        asked = {column(each.written.field): each.value.canonical for each in said}
        whole = {column(each.field): each.schema.get("default") for each in spec.takes} | asked
        rows = self.rows.setdefault(lookup.name, [])
        for question in (whole, *self._near(said, whole)):
            if any(all(same(row[name], value) for name, value in question.items()) for row in rows):
                continue  # what an earlier call of the same lookup has brought
            given = {column(each.field): self._any(each.field, each.form).canonical for each in spec.gives}
            rows.append({"row": len(rows) + 1, **question, **given})

    def _near(self, said: Sequence[SaidValue], whole: dict[str, Json]) -> list[dict[str, Json]]:
        varied = self.rng.choice([each for each in said if each.written.required])
        near = others(varied.written.field, varied.written.form, self.context, varied.value, self.rng, 2)
        return [whole | {column(varied.written.field): value.canonical} for value in near]

    def things(self, thing: Thing, owner: Field, differs: Field | None = None) -> Owned:
        """Rows of a thing, one of which is the user's. `differs`: another is, too, and only this field is different."""
        count = self.rng.randint(2, 4)
        codes = self.codes(thing, count + 1)
        drawn = [
            {each.name: self._any(each, self.writer.form(thing, each)) for each in thing.fields} for _ in range(count)
        ]
        mine = drawn[0][owner.name]
        rivals = others(owner, self.writer.form(thing, owner), self.context, mine, self.rng, count - 1)
        for row, rival in zip(drawn[1:], rivals, strict=True):
            row[owner.name] = rival
        rows = [
            {"id": code, STATUS: self.rng.choice(thing.statuses)}
            | {column(each): row[each.name].canonical for each in thing.fields}
            for code, row in zip(codes, drawn, strict=False)
        ]
        whose = rows[0]
        if differs:
            form = self.writer.form(thing, differs)
            other = others(differs, form, self.context, drawn[0][differs.name], self.rng, 1)[0].canonical
            status = self.rng.choice(thing.statuses)
            like = whose | {"id": codes[count], STATUS: status, column(differs): other}
            rows.insert(self.rng.randrange(2), like)
        self.rows[thing.name] = rows
        return Owned(drawn[0], whose, codes[0])

    def codes(self, thing: Thing, count: int) -> list[str]:
        """So many different codes of a thing."""
        code = code_of(thing)
        found: dict[str, None] = {}
        while len(found) < count:
            found[draw(code, self.writer.form(thing, code), self.context, self.rng).canonical] = None
        return list(found)

    def tables(self, everything: Sequence[Spec], things: Collection[str]) -> dict[str, Table]:
        """The tables that these tools read and write; `things`: the names of those whose rows have a code."""
        names = {effect.table for spec in everything for effect in spec.effects}
        return {
            name: Table(key="id" if name in things else "row", rows=tuple(self.rows.get(name, ())))
            for name in sorted(names)
        }

    def _any(self, named: Field, form: str) -> Spoken:
        """A value that a row may have: of a flag either, since `draw` gives the one that its words say."""
        value = draw(named, form, self.context, self.rng)
        if named.kind == "flag" and self.rng.random() < 0.5:
            return others(named, form, self.context, value, self.rng, 1)[0]
        return value
