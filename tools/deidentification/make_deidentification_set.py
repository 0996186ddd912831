"""Make the labelled set on which de-identification is measured.

    python tools/deidentification/make_deidentification_set.py ../shared/data/dialogues OUT

Sentences of real consultations (MIT and Apache-2.0 sources) are carriers; invented personal data goes into them by
templates, with the noise of chats and transcripts: spaces, full-width digits, spelt-out digits, separators, left-out
cue words. The development split and the blind split share no name, number, template or carrier. The same inputs give
the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from deidentification_lists import (
    AREA_CODES,
    BABY_NAMES,
    BANK_PREFIXES,
    CERTIFICATE_LETTERS,
    CITIES,
    GIVEN_NAMES,
    HANDLES,
    HOSPITAL_BEDS,
    LINKS,
    LITTLE_NAMES,
    MAIL_HOSTS,
    MIXED,
    MOBILE_PREFIXES,
    NICKNAMES,
    PROVINCES,
    REGION_CODES,
    SCHOOLS,
    STREETS,
    SURNAMES,
    TEMPLATES,
    Halves,
)

SEED = 20250614
PER_TYPE = {"patient_name": 42, "parent_name": 30, "doctor_name": 34, "surname_title": 36, "nickname": 40}
PER_NUMBER = 23
PER_MIXED = 45
SPELT = dict(zip("0123456789", "零幺二三四五六七八九", strict=True))
FULL_WIDTH = {ord(digit): chr(ord(digit) + 0xFEE0) for digit in "0123456789"}
Item = dict[str, object]


# --- carriers -----------------------------------------------------------------------------------------------------


def carriers(folder: Path) -> list[tuple[str, str, str]]:
    """(sentence, file, licence) of all sources, in a fixed order without doubles."""
    found: dict[str, tuple[str, str, str]] = {}
    for name, licence, reader in (
        ("cmtmedqa_test.json", "Apache-2.0", _cmtmedqa),
        ("hetmc_train.dialog", "MIT", _hetmc),
        ("remedi_dev_human.txt", "MIT", _remedi),
        ("cmd_internal_medicine_sample.csv", "MIT", _cmd),
    ):
        for text in reader(folder / name):
            for sentence in re.split(r"(?<=[。！？!?])|\n+", text):
                sentence = sentence.strip()
                if 8 <= len(sentence) <= 70:
                    found.setdefault(sentence, (sentence, name, licence))
    return sorted(found.values())


def _cmtmedqa(path: Path) -> Iterator[str]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        for pair in row.get("history", []):
            yield from pair
        yield row.get("instruction", "")
        yield row["output"]


def _hetmc(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line[:2] in ("P\t", "D\t"):
            yield line.split("\t")[1]


def _remedi(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield from re.findall(r"<\|(?:currentuser|response)\|>\s*(.*?)\s*<\|", line)


def _cmd(path: Path) -> Iterator[str]:
    for row in csv.DictReader(io.StringIO(path.read_bytes().decode("gb18030"))):
        yield from (row["ask"], row["answer"])


# --- values -------------------------------------------------------------------------------------------------------


class Values:
    """Draws invented values of each type from one half of every list."""

    def __init__(self, rng: random.Random, half: int) -> None:
        self.rng = rng
        self.half = half

    def pick(self, lists: Halves) -> str:
        return self.rng.choice(lists[self.half])

    def digits(self, n: int) -> str:
        return "".join(self.rng.choice("0123456789") for _ in range(n))

    def full_name(self) -> str:
        return self.pick(SURNAMES) + self.pick(GIVEN_NAMES)

    patient_name = parent_name = doctor_name = full_name

    def surname_title(self) -> str:
        return self.pick(SURNAMES)

    def nickname(self) -> str:
        return self.pick(self.rng.choices((NICKNAMES, BABY_NAMES, LITTLE_NAMES), (6, 2, 2))[0])

    def id_card(self) -> str:
        body = self.pick(REGION_CODES) + self._date("{y}{m:02}{d:02}") + self.digits(3)
        weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
        number = body + "10X98765432"[sum(int(a) * b for a, b in zip(body, weights, strict=True)) % 11]
        noise = self.rng.random()
        if noise < 0.2:
            return f"{number[:6]} {number[6:14]} {number[14:]}"
        if noise < 0.3:
            return number.translate(FULL_WIDTH)
        if noise < 0.4:
            return number.lower()
        return "-".join((number[:6], number[6:14], number[14:])) if noise < 0.47 else number

    def phone(self) -> str:
        number = self.pick(MOBILE_PREFIXES) + self.digits(8)
        a, b, c = number[:3], number[3:7], number[7:]
        forms = (
            number,
            f"{a} {b} {c}",
            f"{a}-{b}-{c}",
            number.translate(FULL_WIDTH),
            "".join(SPELT[digit] for digit in number),
            "".join(SPELT[digit] for digit in a) + b + c,
            f"+86 {number}",
            " ".join(number),
            f"{a}，{b}，{c}",
            f"{a}.{b}.{c}",
            "".join(SPELT[digit] for digit in number).replace("幺", "一"),
        )
        return self.rng.choices(forms, (5, 3, 3, 2, 3, 2, 1, 1, 0.5, 1, 1))[0]

    def landline(self) -> str:
        area, number = self.pick(AREA_CODES), str(self.rng.randint(2, 8)) + self.digits(7)
        return self.rng.choice((f"{area}-{number}", f"{area}{number}", f"（{area}）{number}", f"{area} {number}"))

    def wechat(self) -> str:
        if self.rng.random() < 0.2:
            return self.pick(MOBILE_PREFIXES) + self.digits(8)
        return self.pick(HANDLES)

    def qq(self) -> str:
        number = str(self.rng.randint(1, 9)) + self.digits(self.rng.randint(6, 9))
        return number.translate(FULL_WIDTH) if self.rng.random() < 0.1 else number

    def address(self) -> str:
        return self.pick(CITIES) + self.pick(STREETS)

    def school(self) -> str:
        city = self.pick(CITIES)[:3] if self.rng.random() < 0.2 else ""
        return (city if city.endswith(("省", "市")) else "") + self.pick(SCHOOLS)

    def bed(self) -> str:
        return self.pick(HOSPITAL_BEDS)

    def record_number(self) -> str:
        n = self.rng.randint(6, 12)
        forms = (
            self.digits(n),
            self.rng.choice("MZBA") + self.digits(n),
            f"{self.digits(4)}-{self.digits(6)}",
            f"00{self.digits(n - 2)}",
            self.digits(n).translate(FULL_WIDTH),
            f"{self.digits(4)} {self.digits(4)}",
        )
        return self.rng.choices(forms, (6, 2, 1, 2, 1, 1))[0]

    def vaccination(self) -> str:
        return self.rng.choice((self.digits(18), self.pick(REGION_CODES) + self.digits(10), self.digits(10)))

    def birth_certificate(self) -> str:
        letter, number = self.pick(CERTIFICATE_LETTERS), self.digits(9)
        return self.rng.choice((f"{letter}{number}", f"{letter.lower()}{number}", f"{letter} {number}"))

    def plate(self) -> str:
        letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
        head = self.pick(PROVINCES) + self.rng.choice(letters[:12])
        tail = "".join(self.rng.choice("0123456789" + letters[:8]) for _ in range(4)) + self.digits(1)
        electric = head + self.rng.choice("DF") + self.digits(5)
        return self.rng.choice((head + tail, f"{head}·{tail}", f"{head} {tail}", electric, (head + tail).lower()))

    def bank_card(self) -> str:
        body = self.pick(BANK_PREFIXES) + self.digits(12)
        doubled = [int(d) * 2 if i % 2 == 0 else int(d) for i, d in enumerate(reversed(body))]
        number = body + str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)
        spaced = " ".join(number[i : i + 4] for i in range(0, len(number), 4))
        return self.rng.choice((number, spaced, number))

    def email(self) -> str:
        return f"{self.pick(HANDLES)}@{self.pick(MAIL_HOSTS)}"

    def url(self) -> str:
        return self.pick(LINKS)

    def birth_date(self) -> str:
        forms = (
            "{y}年{m}月{d}日",
            "{y}-{m:02}-{d:02}",
            "{y}.{m}.{d}",
            "{y}/{m}/{d}",
            "{y}年{m}月{d}号",
            "{y}{m:02}{d:02}",
        )
        return self._date(self.rng.choice(forms))

    def _date(self, form: str) -> str:
        # years of the blind half do not occur in the development half, so no whole date is shared
        y = self.rng.choice(((2013, 2016, 2019, 2022), (2012, 2014, 2015, 2017, 2018, 2020, 2021, 2023))[self.half])
        return form.format(y=y, m=self.rng.randint(1, 12), d=self.rng.randint(1, 28))


# --- sentences ----------------------------------------------------------------------------------------------------

SLOT = re.compile(r"\{(\w+)\}")


def fill(template: str, values: Values, kind: str) -> tuple[str, list[Item]]:
    """A clause with the template's slots filled, and where the items stand in it. `{x}` is a value of `kind`."""
    clause, items, position = "", [], 0
    for slot in SLOT.finditer(template):
        clause += template[position : slot.start()]
        name = kind if slot[1] == "x" else slot[1]
        draw: Callable[[], str] = getattr(values, name)
        value = draw()
        items.append({"start": len(clause), "end": len(clause) + len(value), "type": name})
        clause += value
        position = slot.end()
    return clause + template[position:], items


def put(clause: str, items: list[Item], carrier: str, rng: random.Random) -> tuple[str, list[Item]]:
    """The clause before, after or at a comma inside the carrier."""
    commas = [match.end() for match in re.finditer("[，,]", carrier)]
    place = rng.choice([0, 0, len(carrier), *([rng.choice(commas)] if commas else [])])
    before, after = carrier[:place], carrier[place:]
    if before and before[-1] not in "，,。！？!?":
        before += rng.choice("，，。 ")
    join = rng.choice("，，，。 ") if after else ""
    moved = [
        {**item, "start": int(str(item["start"])) + len(before), "end": int(str(item["end"])) + len(before)}
        for item in items
    ]
    return before + clause + join + after, moved


def sentences(pool: list[tuple[str, str, str]], split: str, rng: random.Random) -> Iterator[dict[str, object]]:
    """The rows of one split; carriers are taken from the end of `pool`, so that no two rows share one."""
    half = int(split == "blind")
    values = Values(rng, half)
    plan = [(kind, template) for kind, lists in TEMPLATES.items() for template in _spread(kind, lists[half], half)]
    plan += [("mixed", template) for template in _rounds(MIXED[half], PER_MIXED * (half + 1))]
    for kind, template in plan:
        carrier, source, licence = pool.pop()
        clause, items = fill(template, values, kind)
        text, moved = put(clause, items, carrier, rng)
        yield {"split": split, "text": text, "items": moved, "template": template, "source": source, "licence": licence}


def _spread(kind: str, templates: tuple[str, ...], half: int) -> list[str]:
    return _rounds(templates, PER_TYPE.get(kind, PER_NUMBER) * (half + 1))


def _rounds(templates: tuple[str, ...], n: int) -> list[str]:
    return [templates[i % len(templates)] for i in range(n)]


HARD = {
    "eponyms": r"川崎|唐氏|布氏|巴氏|罗氏|克罗恩|帕金森|阿尔茨海默|贝尔|格林巴利|何杰金|霍奇金|李斯特|高血压|白血病",
    "surname characters": (
        r"王不留行|高热|高烧|白带|安静|方便|常常|黄疸|黄色|金银花|白色|马上|牛奶|何首乌|石膏|温水|时候|于是"
    ),
    "hospitals": r"去医院|到医院|正规医院|三甲|儿童医院|专科医院|附属医院",
    "doctors": r"医生|主任|专家|大夫|教授",
    "dates": r"\d月\d+[日号]|\d{4}年|昨天|上个月|\d+号",
    "doses": r"\d+\s*(?:mg|毫克|ml|毫升|克|片|粒|袋|支|g)",
    "laboratory": r"\d+\.\d+|\d{3,}|×10",
    "titles": r"妈妈|爸爸|奶奶|宝宝|老师|女士|先生|小孩",
}


def negatives(pool: list[tuple[str, str, str]]) -> Iterator[dict[str, object]]:
    """500 sentences without personal data, equally many for each thing that looks like some; a third development."""
    order = [("blind" if i % 3 else "development") for i in range(504)]
    for i, split in enumerate(order[:500]):
        family, expression = list(HARD.items())[i % len(HARD)]
        place = next(k for k in range(len(pool) - 1, -1, -1) if re.search(expression, pool[k][0]))
        text, source, licence = pool.pop(place)
        yield {"split": split, "text": text, "items": [], "template": family, "source": source, "licence": licence}


def main() -> None:
    """Write the set and say what is in it."""
    folder = Path(sys.argv[1])
    out = Path(sys.argv[2])
    rng = random.Random(SEED)
    # real sentences of which it is open whether a hospital named in them places the patient there
    barred = set((Path(__file__).with_suffix(".barred.txt")).read_text(encoding="utf-8").splitlines())
    pool = carriers(folder)
    rng.shuffle(pool)
    pool = [carrier for carrier in pool if carrier[0] not in barred]
    rows = [*negatives(pool), *sentences(pool, "development", rng), *sentences(pool, "blind", rng)]
    with out.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            file.write(json.dumps({"id": f"d{number:04}", **row}, ensure_ascii=False) + "\n")
    print(len(rows), "sentences,", sum(not row["items"] for row in rows), "without personal data ->", out)


if __name__ == "__main__":
    main()
