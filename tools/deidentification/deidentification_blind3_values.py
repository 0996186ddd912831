"""Invented personal data for the third blind split: no value is one of an existing set."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from deidentification_blind3_numbers import (
    CITIES,
    CN,
    DATA,
    ESTATES,
    HOSPITALS,
    KINDER,
    PRIMARY,
    REGIONS,
    STREETS,
    TOWNS,
    VILLAGES,
    WARDS,
    Numbers,
)  # fmt: skip

Row = dict[str, object]
WOMAN = re.compile(
    "[娜敏静丽艳娟霞英兰梅燕婷雪倩丹玲慧莉红颖琳洁晶芳凤素淑美秋彩春云楠媛琴翠薇蕾珊莎苗娣弟璐会玉花佳欢菊]"
)


def key(value: str) -> str:
    """A value without spaces, punctuation and case: what is compared for sharing."""
    return re.sub(r"[\s\-—–_.，,·（）()/:]", "", value).lower()


class Values(Numbers):
    """Draws a value of a type: values("phone")."""

    def __init__(self, existing: list[Row], rng: random.Random) -> None:
        super().__init__(rng)
        self.data = DATA
        self.child: list[str] = DATA["child_given"].split()
        self.adult: list[str] = DATA["adult_given"].split()
        self.used = set(_held(existing))
        self.nicknames = self._nicknames()

    def __call__(self, kind: str) -> str:
        make: Callable[[], str] = getattr(self, kind)
        for _ in range(2000):
            value = make()
            if kind == "surname_title" or key(value) not in self.used:
                self.used.add(key(value))
                return value
        raise SystemExit(f"no fresh value of type {kind}")

    # --- names

    def surname_title(self) -> str:
        surnames: dict[str, int] = self.data["surnames"]
        return self.rng.choices(list(surnames), list(surnames.values()))[0]

    def patient_name(self) -> str:
        # some children carry an older given name; a few have a name of four characters (both parents' surnames)
        given = self.rng.choice(self.child if self.rng.random() < 0.9 else self.adult)
        between = self.surname_title()[:1] if len(given) == 2 and self.rng.random() < 0.03 else ""
        return self.surname_title() + between + given

    def parent_name(self) -> str:
        kin = re.findall("[爸父舅爷]|老公|[妈母姑婆奶姥]|老婆|爱人", self.before)
        man = kin[-1] in {"爸", "父", "舅", "爷", "老公"} if kin else self.rng.random() < 0.3
        given = [name for name in self.adult if bool(WOMAN.search(name)) != man]
        return self.surname_title() + self.rng.choice(given)

    def doctor_name(self) -> str:
        return self.surname_title() + self.rng.choice(self.adult)

    def _nicknames(self) -> list[str]:
        words = self.data["nick_words"].split()
        doubles = [char * 2 for char in dict.fromkeys(self.data["nick_double"])]
        small = ["小" + word for word in self.data["nick_small"].split()]
        treasure = [word + "宝" for word in dict.fromkeys(self.data["nick_bao"].split())]
        chosen: list[str] = []
        for names, share in ((doubles, 60), (small, 30), (treasure, 20), (words, 42)):
            fresh = [name for name in dict.fromkeys(names) if key(name) not in self.used]
            self.rng.shuffle(fresh)
            chosen += fresh[:share]
        self.rng.shuffle(chosen)
        return chosen

    def nickname(self) -> str:
        return self.nicknames.pop()

    # --- places

    def door(self) -> str:
        n, unit, room = (
            self.rng.randint(1, 36),
            self.rng.randint(1, 4),
            f"{self.rng.randint(1, 28)}0{self.rng.randint(1, 6)}",
        )
        return self.rng.choice(
            [
                f"{n}栋{room}",
                f"{n}号楼{unit}单元{room}",
                f"{n}幢{room}室",
                f"{n}-{unit}-{room}",
                f"{n}栋{unit}单元{room}室",
                f"{n}号楼{room}",
                f"{n}栋",
                f"{n}期{unit}栋",
            ]
        )

    def address(self) -> str:
        region = self.rng.choice(list(REGIONS))
        short = re.sub(r"[省市](?=.)", "", region)
        street, estate = f"{self.rng.choice(STREETS)}{self.rng.randint(3, 388)}号", self.rng.choice(ESTATES)
        village = self.rng.choice(TOWNS) + self.rng.choice(VILLAGES)
        group = self.rng.choice(
            ["", f"{self.rng.randint(1, 12)}组", f"{self.rng.randint(2, 160)}号", f"{CN[self.rng.randint(1, 9)]}队"]
        )
        if self.writer in "DN":
            return self.roll(
                (40, lambda: f"{region}{street}{estate}{self.door()}"),
                (30, lambda: f"{region}{village}{group}"),
                (15, lambda: f"{region}{estate}{self.door()}"),
                (15, lambda: f"{region}{street}"),
            )
        return self.roll(
            (22, lambda: f"{short}{estate}{self.door()}"),
            (20, lambda: f"{short}{village}{group}"),
            (18, lambda: f"{estate}{self.door()}"),
            (14, lambda: f"{region}{street}{estate}{self.door()}"),
            (12, lambda: f"{short}{street}"),
            (8, lambda: f"{region}{village}{group}"),
            (6, lambda: f"{self.rng.choice(STREETS)}{estate}{self.door()}"),
        )

    def school(self) -> str:
        city = self.rng.choice(CITIES)
        place = self.rng.choice(["", "", "", city, city + "市", "镇", "市", self.rng.choice(TOWNS)])
        k, p, n = self.rng.choice(KINDER), self.rng.choice(PRIMARY), self.rng.randint(1, 12)
        grade = self.rng.choice("一二三四五六")
        level = self.rng.choice(["小", "中", "大"])
        garden = self.rng.choice([f"{level}{CN[min(n, 9)]}班", f"{level}班", f"{level}({n % 6 + 1})班", "", "", "托班"])
        form = self.rng.choice(
            [
                f"{grade}年级",
                f"{grade}年级{n}班",
                f"{grade}({n})班",
                f"{grade}年级（{n}）班",
                f"{grade}年级{CN[n % 9 + 1]}班",
                "",
                "",
            ]
        )
        year = self.rng.choice(["初一", "初二", "七年级", "八年级", "高一"])
        form_number = self.rng.choice(["", f"{n}班", f"({n})班"])
        middle = self.rng.choice([f"第{CN[n % 9 + 1]}中学", f"{p}中学", f"{CN[n % 9 + 1]}中"])
        return self.roll(
            (45, lambda: f"{place}{k}幼儿园{garden}"),
            (40, lambda: f"{place}{p}小学{form}"),
            (15, lambda: city + middle + year + form_number),
        )

    def bed(self) -> str:
        city, hospital, ward = self.rng.choice(CITIES), self.rng.choice(HOSPITALS), self.rng.choice(WARDS)
        house = (
            hospital if hospital[0] in "市省县区" else city + (hospital if hospital[0] != "附" else "医学院附属医院")
        )
        house = self.rng.choice([house, house, city + hospital[1:] if hospital[0] in "县区" else house])
        n, floor = self.rng.randint(1, 62), self.rng.randint(3, 18)
        bed = self.rng.choice(
            [
                f"{n}床",
                f"{n}床",
                f"{n}床",
                f"{n}号床",
                f"加{n % 12 + 1}床",
                f"{CN[n % 9 + 1]}床" if self.writer == "V" else f"{n:02}床",
                f"+{n % 9 + 1}床",
            ]
        )
        area = self.rng.choice(
            ["", "", "", f"{CN[n % 4 + 1]}病区", f"{floor}楼", f"{floor}病区", f"{floor}0{n % 9 + 1}室"]
        )
        # inside a hospital the note leaves the hospital's name out; a parent on a platform mostly gives it
        outside = 0.72 if self.writer in "PV" else 0.4
        return (house if self.rng.random() < outside else "") + ward + area + bed


def _held(rows: list[Row]) -> list[str]:
    found: list[str] = []
    for made in rows:
        items: Any = made["items"]
        found += [
            key(str(made["text"])[item["start"] : item["end"]]) for item in items if item["type"] != "surname_title"
        ]
    return found
