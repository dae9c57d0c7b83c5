"""The rows of a natural task's world: what answers its questions, and what is easily mixed up with that."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from synthagent.frozen import Json
from synthagent.meaning import same
from synthagent.teacher.natural import sense
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
class FoundThing:
    """The user's thing: its values and its code, and the new values of what is changed."""

    mine: dict[str, Spoken]
    code: str
    changed: tuple[SaidValue, ...]


_TRIES = 50
_NO_ROOM = "no values keep what `after`, `below` and `unlike` say; widen `low` and `high`, or take one of them away"


class RowWriter:
    """Gathers the rows of one task, by table."""

    def __init__(self, writer: ToolsetWriter, context: Context, rng: random.Random) -> None:
        self.writer, self.context, self.rng = writer, context, rng
        self.rows: dict[str, list[dict[str, Json]]] = {}

    def said(self, chosen: Sequence[TypedParameter], takes: Sequence[TypedParameter]) -> list[SaidValue]:
        """Values for the chosen ones of a call's parameters, which make sense beside each other."""
        keys = {each.key for each in chosen}
        left = [each for each in takes if each.key not in keys and "default" in each.schema]
        known = [(each.field, each.form, each.schema["default"]) for each in left]
        slots = [(each.field, each.form) for each in chosen]
        values = self._together(slots, [each.field for each in takes], known, self._spoken)
        return [SaidValue(each, value) for each, value in zip(chosen, values, strict=True)]

    def others(self, said: SaidValue, call: Sequence[SaidValue], count: int) -> list[Spoken]:
        """Other values for one parameter of a call, easily confused ones first, which make sense beside the rest."""
        room = self._room(said.written.field, [each.written.field for each in call], _known(call, said))
        return others(said.written.field, said.written.form, self.context, said.value, self.rng, count, room)

    def answer(self, lookup: Lookup, spec: Spec, said: Sequence[SaidValue]) -> None:
        """The row that answers, and some that answer nearly the same question."""
        asked = {column(each.written.field): each.value.canonical for each in said}
        whole = {column(each.field): each.schema.get("default") for each in spec.takes} | asked
        rows = self.rows.setdefault(lookup.name, [])
        gives = [(each.field, each.form) for each in spec.gives]
        for question in (whole, *self._near(said, whole, spec)):
            if any(all(same(row[name], value) for name, value in question.items()) for row in rows):
                continue  # what an earlier call of the same lookup has brought
            known = [(each.field, each.form, question[column(each.field)]) for each in spec.takes]
            values = self._together(gives, lookup.fields, known, self._any)
            given = {column(field): value.canonical for (field, _), value in zip(gives, values, strict=True)}
            rows.append({"row": len(rows) + 1, **question, **given})

    def _near(self, said: Sequence[SaidValue], whole: dict[str, Json], spec: Spec) -> list[dict[str, Json]]:
        varied = self.rng.choice([each for each in said if each.written.required])
        field, form = varied.written.field, varied.written.form
        rest = [(each.field, each.form, whole[column(each.field)]) for each in spec.takes if each.field is not field]
        room = self._room(field, [each.field for each in spec.takes], rest)
        near = others(field, form, self.context, varied.value, self.rng, 2, room)
        return [whole | {column(field): value.canonical} for value in near]

    def things(self, thing: Thing, owner: Field, changing: Sequence[TypedParameter] = ()) -> FoundThing:
        """Rows of a thing, the first of which is the user's, and other values for what is to be changed in that."""
        for _ in range(_TRIES):
            mine = self._row(thing, {})
            changed = self._changed(thing, mine, changing)
            if changed is not None:
                break
        else:
            raise sense.NoRoomError(f"thing {thing.name!r}: {_NO_ROOM}")
        count = self.rng.randint(2, 4)
        codes = self.codes(thing, count)
        rivals = others(owner, self.writer.form(thing, owner), self.context, mine[owner.name], self.rng, count - 1)
        drawn = [mine, *(self._row(thing, {owner.name: rival}) for rival in rivals)]
        self.rows[thing.name] = [
            {"id": code, STATUS: self.rng.choice(thing.statuses)}
            | {column(each): row[each.name].canonical for each in thing.fields}
            for code, row in zip(codes, drawn, strict=True)
        ]
        return FoundThing(mine, codes[0], tuple(changed))

    def _row(self, thing: Thing, known: dict[str, Spoken]) -> dict[str, Spoken]:
        slots = [(each, self.writer.form(thing, each)) for each in thing.fields]
        there = [(field, form, known[field.name].canonical) for field, form in slots if field.name in known]
        open_ = [(field, form) for field, form in slots if field.name not in known]
        values = self._together(open_, thing.fields, there, self._any)
        return known | {field.name: value for (field, _), value in zip(open_, values, strict=True)}

    def _changed(
        self, thing: Thing, mine: dict[str, Spoken], changing: Sequence[TypedParameter]
    ) -> list[SaidValue] | None:
        """Values for these fields other than those of the row; None where none has room."""
        names = {each.field.name for each in changing}
        kept = [(f, self.writer.form(thing, f), mine[f.name].canonical) for f in thing.fields if f.name not in names]
        plain = sense.read_plain(kept) if sense.is_related(thing.fields) else {}
        found: dict[str, SaidValue] = {}
        for number in sense.in_order([each.field for each in changing]):
            each = changing[number]
            room = sense.room_of(each.field, thing.fields, plain) if plain else sense.ANY
            near = others(each.field, each.form, self.context, mine[each.field.name], self.rng, 1, room)
            if not near:
                return None
            found[each.key] = SaidValue(each, near[0])
            plain |= sense.read_plain([(each.field, each.form, near[0].canonical)]) if plain else {}
        return [found[each.key] for each in changing]

    def _room(self, field: Field, fields: Sequence[Field], known: Sequence[tuple[Field, str, Json]]) -> sense.Room:
        return sense.room_of(field, fields, sense.read_plain(known)) if sense.is_related(fields) else sense.ANY

    def _together(
        self,
        slots: Sequence[tuple[Field, str]],
        fields: Sequence[Field],
        known: Sequence[tuple[Field, str, Json]],
        drawn: Callable[[Field, str, sense.Room], Spoken],
    ) -> list[Spoken]:
        """Values for some of the fields, which make sense beside those that are known and each other."""
        if not sense.is_related(fields):
            return [drawn(field, form, sense.ANY) for field, form in slots]
        order = sense.in_order([field for field, _ in slots])
        for _ in range(_TRIES):
            plain, found = sense.read_plain(known), dict[int, Spoken]()
            for number in order:
                field, form = slots[number]
                found[number] = drawn(field, form, sense.room_of(field, fields, plain))
                plain |= sense.read_plain([(field, form, found[number].canonical)])
            if sense.holds(fields, plain):
                return [found[number] for number in range(len(slots))]
        raise sense.NoRoomError(f"{', '.join(field.name for field, _ in slots)}: {_NO_ROOM}")

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

    def _spoken(self, named: Field, form: str, room: sense.Room) -> Spoken:
        return draw(named, form, self.context, self.rng, room)

    def _any(self, named: Field, form: str, room: sense.Room) -> Spoken:
        """A value that a row may have: of a flag either, since `draw` gives the one that its words say."""
        value = self._spoken(named, form, room)
        if named.kind == "flag" and self.rng.random() < 0.5:
            return others(named, form, self.context, value, self.rng, 1)[0]
        return value


def _known(call: Sequence[SaidValue], but: SaidValue) -> list[tuple[Field, str, Json]]:
    rest = [each for each in call if each.written.key != but.written.key]
    return [(each.written.field, each.written.form, each.value.canonical) for each in rest]
