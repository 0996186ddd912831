"""Case cards: what a caregiver knows, what it says by itself, and what is the matter with the child."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.consultation.data import LOADER, lists
from pediatricsgpt.facts import Age, ages
from pediatricsgpt.records import age_band
from pediatricsgpt.settings import Settings

Theme = Literal[
    "respiratory",
    "infection",
    "digestive",
    "neurology",
    "newborn",
    "skin",
    "injury",
    "blood",
    "kidney",
    "eyes",
    "growth",
    "tumour",
    "rare disease",
    "other",
]
Urgency = Literal["emergency", "today", "soon", "home"]
BASICS = ("age", "sex", "weight", "duration")
"""Topics that every card answers by a field of its own"""
_ID = r"^[a-z0-9][a-z0-9_-]*$"
_HAN = re.compile(r"[\u4e00-\u9fff]")
_TELLS = re.compile(r"岁|个月大|月龄|公斤|\d\s*斤|[一二三四五六七八九十两]斤|kg")


class Fact(Settings):
    """One thing that the caregiver knows."""

    id: str = Field(pattern=_ID)
    """Its name within the card"""
    text: str = Field(min_length=2)
    """What the caregiver says, in everyday words"""
    asked_by: list[str] = Field(min_length=1)
    """Topics of topics.yaml, or Chinese words, of which one in a question elicits it"""
    volunteered: bool = False
    """Said in the opening message, without being asked"""
    danger: bool = False
    """A sign of danger"""
    essential: bool = False
    """Must be known before a conclusion"""

    @field_validator("id")
    @classmethod
    def _is_no_basic(cls, name: str) -> str:
        if name in BASICS:
            raise ValueError(f"'{name}' is a field of the card itself; name the fact otherwise")
        return name

    @field_validator("asked_by")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        _checked([name for name in names if not _HAN.search(name)], "topic")
        return names

    @property
    def topics(self) -> list[str]:
        """The topics among what elicits it."""
        return [name for name in self.asked_by if not _HAN.search(name)]

    @property
    def words(self) -> list[str]:
        """The words among what elicits it."""
        return [name for name in self.asked_by if _HAN.search(name)]


class Diagnosis(Settings):
    """What is the matter."""

    name: str = Field(min_length=2)
    synonyms: list[str] = Field(default=[])
    """Other names that count as the same"""
    differentials: list[str] = Field(default=[])
    """What a careful doctor may also name; counted apart"""

    @property
    def names(self) -> list[str]:
        """All names of it."""
        return [self.name, *self.synonyms]


class CardSource(Settings):
    """Where a card comes from."""

    title: str
    licence: str
    where: str
    """Section, page or number of the case within it"""
    quotes: list[str] = Field(default=[])
    """Words of the source, as they stand there, that support the facts"""
    url: str | None = None


class Card(Settings):
    """A hidden case. `age`, `sex`, `weight` and `duration` are told only when asked."""

    id: str = Field(pattern=_ID)
    title: str
    theme: Theme
    age: str
    """For example 2岁3个月"""
    sex: Literal["男", "女"]
    weight: str | None = None
    """For example 12公斤; null where the caregiver does not know"""
    who: str = "患儿的妈妈"
    """Who speaks"""
    complaint: str = Field(min_length=4)
    """The opening message, without age and weight"""
    duration: str
    """How long, as the caregiver says it"""
    facts: list[Fact] = Field(min_length=3)
    absent: list[str] = Field(default=[])
    """Topics on which the answer is no"""
    unknown: list[str] = Field(default=[])
    """Topics on which the caregiver says that it does not know"""
    danger_topics: list[str] = Field(min_length=1)
    """Topics of danger signs that have to be asked with this complaint, whether they are there or not"""
    diagnosis: Diagnosis
    urgency: Urgency
    source: CardSource
    made_from: str
    """How the card was made from its source"""
    reviewer: str = ""
    """The doctor who checked it; empty: nobody has"""

    @field_validator("absent", "unknown", "danger_topics")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        return _checked(names, "topic")

    @field_validator("complaint")
    @classmethod
    def _keeps_basics(cls, text: str) -> str:
        if found := _TELLS.search(text):
            raise ValueError(f"'{found.group()}' tells age or weight; leave it out, so that asking can be measured")
        return text

    @field_validator("age")
    @classmethod
    def _is_age(cls, text: str) -> str:
        if not _ages(text):
            raise ValueError(f"'{text}' is no age; write for example 2岁3个月, 5个月 or 出生10天")
        return text

    @model_validator(mode="after")
    def _fits(self) -> Card:
        names = [fact.id for fact in self.facts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two facts are named {', '.join(twice)}")
        told = {topic for fact in self.facts for topic in fact.topics}
        if both := sorted((told | set(self.unknown)) & set(self.absent)):
            raise ValueError(f"{', '.join(both)} is absent and yet answered by a fact or unknown")
        if not any(fact.essential and not fact.volunteered for fact in self.facts):
            raise ValueError("no fact that has to be asked for is essential")
        urgent, danger = self.urgency in ("emergency", "today"), any(fact.danger for fact in self.facts)
        if danger and not urgent:
            raise ValueError(
                f"a fact is a sign of danger, but urgency is {self.urgency}; it is emergency or today then"
            )
        if self.urgency == "emergency" and not danger:
            raise ValueError("urgency is emergency, but no fact is marked as a sign of danger")
        for name in self.diagnosis.names:
            if said := next((text for text in self.spoken if name in text), None):
                raise ValueError(f"the caregiver says the diagnosis {name}: {said}")
        return self

    @property
    def spoken(self) -> list[str]:
        """Everything that the caregiver of this card may say of it."""
        return [self.complaint, self.duration, *(fact.text for fact in self.facts)]

    @property
    def opening(self) -> str:
        """The first message: complaint, and what is volunteered."""
        return "".join([self.complaint, *(fact.text for fact in self.facts if fact.volunteered)])

    @property
    def hidden(self) -> list[Fact]:
        """Facts that have to be asked for."""
        return [fact for fact in self.facts if not fact.volunteered]

    @property
    def age_band(self) -> str:
        """The band of the age; neonates by their days."""
        return age_band(float(_ages(self.age)[0].months))


def read_cards(folder: Path | None = None, at_most: int | None = None) -> list[Card]:
    """All cards of a folder (`*.yaml`), in the order of their files' names; the packaged ones without a folder.

    Args:
        folder: with one card or a list of cards in each file.
        at_most: the first so many, by a fixed spread over the files; None takes all.

    Raises:
        UserError: a file is no YAML or a card is not as it must be (file, line, field), an id stands twice, or there
            is no card.
    """
    place = Path(str(resources.files(__package__).joinpath("cards"))) if folder is None else folder
    if not place.is_dir():
        raise UserError("no such folder of cards", place)
    cards: dict[str, Card] = {}
    for path in sorted(place.glob("*.yaml")):
        for line, card in _read(path):
            if card.id in cards:
                raise UserError(f"card '{card.id}' stands twice; give each its own id", f"{path}:{line}")
            cards[card.id] = card
    if not cards:
        raise UserError("no cards (*.yaml) in this folder", place)
    return _spread(list(cards.values()), at_most)


def _spread(cards: list[Card], at_most: int | None) -> list[Card]:
    if at_most is None or at_most >= len(cards):
        return cards
    return [cards[number * len(cards) // at_most] for number in range(at_most)]


def _read(path: Path) -> list[tuple[int, Card]]:
    """(line, card) of a file."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=LOADER)
    except UnicodeDecodeError as error:
        raise UserError("not UTF-8; save the file in that encoding", path) from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"no valid YAML: {getattr(error, 'problem', None) or error}", where) from error
    nodes = root.value if isinstance(root, yaml.SequenceNode) else [root]
    return [_card(path, node) for node in nodes]


def _card(path: Path, node: Any) -> tuple[int, Card]:
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1 if node is not None else 1
        raise UserError("expected a card: a mapping with id, title, facts …", f"{path}:{line}")
    content = yaml.SafeLoader("").construct_document(node)
    try:
        return node.start_mark.line + 1, Card.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "card"
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"unknown field{_nearest(str(first['loc'][-1]), _fields(first['loc']))}"
        raise UserError(f"{field}: {message}", f"{path}:{_line(node, first['loc'])}") from error


def _ages(text: str) -> list[Age]:
    return ages(f"患儿{text}")


def _fields(place: Sequence[int | str]) -> list[str]:
    models: dict[str, type[Settings]] = {"facts": Fact, "diagnosis": Diagnosis, "source": CardSource}
    owner: type[Settings] = models.get(str(place[0]), Card) if len(place) > 1 else Card
    return list(owner.model_fields)


def _line(node: Any, place: Sequence[int | str]) -> int:
    """The line of a field, or of the deepest part above it that is there."""
    line: int = node.start_mark.line + 1
    for step in place:
        inside = None
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                if name.value == step:
                    line, inside = name.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            inside = node.value[step]
            line = inside.start_mark.line + 1
        if inside is None:
            break
        node = inside
    return line


def _checked(names: list[str], what: str) -> list[str]:
    known = lists("topics")["topics"]
    for name in names:
        if name not in known:
            raise ValueError(f"no such {what}: {name}{_nearest(name, list(known))}")
    return names


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else ""
