"""Invented values of each type for the second blind split: people, numbers, accounts, places, dates."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import yaml

LISTS: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("deidentification_blind.yaml").read_text("utf-8"))
WORDS: dict[str, list[str]] = {name: words.split() for name, words in LISTS.items() if isinstance(words, str)}
WORDS["beds"] = LISTS["beds"]
WRONG_CHECK = 0.06  # share of resident numbers that somebody mistyped
COMMON_WEIGHTS = [8] * 10 + [4] * 20 + [1] * (len(WORDS["common_surnames"]) - 30)
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
Row = dict[str, Any]


def plain(value: str) -> str:
    """A value without width, spaces, separators, case and spelling of digits: what is compared for sharing."""
    spelt = str.maketrans("幺零〇一二三四五六七八九", "100123456789")
    narrow = "".join(chr(ord(c) - 0xFEE0) if 0xFF01 <= ord(c) <= 0xFF5E else c for c in value)
    return re.sub(r"[\s\-.·,，、/()（）—_]", "", narrow.translate(spelt)).lower()


class Values:
    """Invented values of each type; none that the existing set holds and none twice."""

    def __init__(self, existing: list[Row], rng: random.Random) -> None:
        self.rng = rng
        held = [(str(i["type"]), str(r["text"])[i["start"] : i["end"]]) for r in existing for i in r["items"]]
        self.used = {plain(value) for _, value in held}
        people = {value for kind, value in held if kind.endswith("_name")}
        self.givens = {name[cut:] for name in people for cut in (1, 2)}
        self.blob = {kind: " ".join(v for k, v in held if k == kind) for kind in {k for k, _ in held}}
        self.decks: dict[str, list[str]] = {}

    def __call__(self, kind: str) -> str:
        for _ in range(2000):
            value = getattr(self, kind)()
            if kind in {"surname_title", "nickname", "bed", "school"}:
                if kind == "surname_title" or value.lower() not in self.blob.get(kind, "").lower():
                    return str(value)
            elif plain(value) not in self.used:
                self.used.add(plain(value))
                return str(value)
        raise RuntimeError(f"no new value of {kind}")

    def deal(self, name: str, items: list[str]) -> str:
        """The next of `items`, each once before any comes again."""
        deck = self.decks.setdefault(name, [])
        if not deck:
            deck.extend(self.rng.sample(items, len(items)))
        return deck.pop()

    def unshared(self, name: str, items: list[str], kind: str) -> str:
        return self.deal(name, [item for item in items if item not in self.blob.get(kind, "")])

    # people
    def surname(self) -> str:
        roll = self.rng.random()
        if roll < 0.09:
            return self.deal("rare", WORDS["rare_surnames"])
        if roll < 0.125:
            return self.deal("two-character surname", WORDS["compound_surnames"])
        return self.rng.choices(WORDS["common_surnames"], COMMON_WEIGHTS)[0]

    def given(self, age: str, two: list[str], one: list[str], share_one: float) -> str:
        if one and self.rng.random() < share_one:
            return self.deal(f"{age}1", one)
        return self.deal(f"{age}2", [given for given in two if given not in self.givens])

    def patient_name(self) -> str:
        roll = self.rng.random()
        if roll < 0.04:
            return self.deal("word", [name for name in WORDS["word_names"] if len(name) == 2])
        if roll < 0.07:
            return self.deal("minority", WORDS["minority_names"])
        if roll < 0.1:
            return self.deal("doubled", WORDS["doubled_surnames"]) + self.given("child", WORDS["child_two"], [], 0)
        name = self.surname() + self.given("child", WORDS["child_two"], WORDS["child_one"], 0.16)
        return f"{name[0]} {name[1]}" if len(name) == 2 and self.rng.random() < 0.08 else name

    def parent_name(self) -> str:
        if self.rng.random() < 0.3:
            return self.surname() + self.given("old", WORDS["old_two"], WORDS["adult_one"], 0.1)
        return self.surname() + self.given("adult", WORDS["adult_two"], WORDS["adult_one"], 0.28)

    def doctor_name(self) -> str:
        if self.rng.random() < 0.2:
            return self.surname() + self.given("old", WORDS["old_two"], WORDS["adult_one"], 0.2)
        if self.rng.random() < 0.15:
            return self.surname() + self.given("child", WORDS["child_two"], WORDS["child_one"], 0.2)
        return self.surname() + self.given("adult", WORDS["adult_two"], WORDS["adult_one"], 0.3)

    surname_title = surname

    def nickname(self) -> str:
        return self.unshared("nickname", WORDS["nicknames"], "nickname")

    # numbers
    def digits(self, n: int) -> str:
        return "".join(self.rng.choices("0123456789", k=n))

    def written(self, number: str, cuts: tuple[int, ...], marks: str = "  -") -> str:
        """The number as people write it: mostly plain, else in groups, full-width or spelt out."""
        roll = self.rng.random()
        if roll < 0.55:
            return number
        if roll < 0.8:
            ends = [*cuts, len(number)]
            groups = [number[a:b] for a, b in zip([0, *cuts], ends, strict=True) if a < b]
            return self.rng.choice(marks).join(groups)
        if roll < 0.9:
            return number.translate(FULL_WIDTH)
        return number if not number.isdigit() else self.spelt(number)

    def spelt(self, number: str) -> str:
        one = self.rng.choice("幺幺一")
        return number.translate(str.maketrans("0123456789", f"零{one}二三四五六七八九"))

    def phone(self) -> str:
        number = self.rng.choice(WORDS["mobiles"]) + self.digits(8)
        if self.rng.random() < 0.1:
            return self.rng.choice(["+86", "+86 ", "0086", "(+86)", "86-"]) + number
        if self.rng.random() < 0.05:
            return " ".join(number)
        return self.written(number, (3, 7), "  --.")

    def landline(self) -> str:
        area = self.rng.choice(WORDS["areas"])
        number = self.rng.choice("2345678") + self.digits(7 if len(area) == 3 or self.rng.random() < 0.5 else 6)
        tail = f"转{self.digits(4)}" if self.rng.random() < 0.08 else ""
        if self.rng.random() < 0.08:
            return number
        shape = self.rng.choice(["{}-{}", "{}-{}", "{} {}", "({}){}", "（{}）{}", "{}{}", "{}—{}"]).format(area, number)
        return shape.translate(FULL_WIDTH) if self.rng.random() < 0.06 else shape + tail

    def id_card(self) -> str:
        year = self.rng.choice([*range(2009, 2025)] * 2 + [*range(1955, 1999)])
        born = f"{year}{self.rng.randint(1, 12):02}{self.rng.randint(1, 28):02}"
        body = self.rng.choice(WORDS["regions"]) + born + self.digits(3)
        check = check_digit(body)
        if self.rng.random() < WRONG_CHECK:
            check = self.rng.choice([digit for digit in "0123456789" if digit != check])
        number = body + (check.lower() if self.rng.random() < 0.5 else check)
        return self.written(number, self.rng.choice([(6, 14), (6, 10, 14), (3, 6, 10, 14)]))

    def bank_card(self) -> str:
        prefix = self.rng.choice(WORDS["bank_bins"])
        body = prefix + self.digits((16 if prefix[:2] in {"62", "52"} and self.rng.random() < 0.3 else 19) - 7)
        number = body + luhn_digit(body)
        return self.written(number, tuple(range(4, len(number), 4)))

    def record_number(self) -> str:
        number = self.rng.choice(["", "", "", "0", "00", "ZY", "MZ", "P", "B", "20"]) + self.digits(
            self.rng.randint(6, 10)
        )
        if self.rng.random() < 0.12:
            return f"20{self.rng.randint(19, 25)}-{self.digits(6)}"
        return self.written(number, (4,))

    def vaccination(self) -> str:
        number = self.digits(self.rng.choice([10, 12, 16, 18, 18]))
        return self.written(self.rng.choice(WORDS["regions"]) + number[6:], (4, 8) if len(number) < 16 else (6, 14))

    def birth_certificate(self) -> str:
        letter = self.rng.choice("ABCDEFGHJKLMNOPQRSTUVWXYZ")
        number = self.rng.choice([letter, letter, letter.lower()]) + self.digits(9)
        return self.rng.choice([number, number, number, f"{number[0]} {number[1:]}", number.translate(FULL_WIDTH)])

    def plate(self) -> str:
        letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
        head = self.rng.choice(WORDS["plate_provinces"]) + self.rng.choice("ABCDEFGHJKL")
        if self.rng.random() < 0.35:  # new energy
            tail = self.rng.choice("DF") + self.rng.choice([*letters, *"0123456789"]) + self.digits(4)
        else:
            kinds = self.rng.choices(["0123456789", letters], [4, 1], k=4)
            tail = "".join(self.rng.choice(kind) for kind in kinds) + self.digits(1)
        value = head + self.rng.choice(["", "", "", "·", " ", "-"]) + tail
        return str(self.rng.choice([value, value, value, value.lower(), value.translate(FULL_WIDTH)]))

    # accounts and links
    def wechat(self) -> str:
        if self.rng.random() < 0.25:
            return self.rng.choice(WORDS["mobiles"]) + self.digits(8)
        return self._handle() if self.rng.random() < 0.5 else self._made_handle()

    def _handle(self) -> str:
        return self.deal("handle", WORDS["handles"])

    def _made_handle(self) -> str:
        word = "".join(self.rng.sample(WORDS["syllables"], 2))
        return word + self.rng.choice(["", "_", "-"]) + self.digits(self.rng.choice([2, 4, 6]))

    def qq(self) -> str:
        number = self.rng.choice("123456789") + self.digits(self.rng.randint(6, 9))
        return self.written(number, (3, 6) if len(number) > 8 else (len(number) // 2,))

    def email(self) -> str:
        host = self.rng.choice(WORDS["mail_hosts"])
        name = self.digits(9) if host == "qq.com" and self.rng.random() < 0.5 else self._made_handle()
        at = self.rng.choices(["@", "＠", " @ "], [20, 1, 1])[0]
        return name + at + (host.upper() if self.rng.random() < 0.05 else host)

    def url(self) -> str:
        token = "".join(self.rng.choices("abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=9))
        return self.deal("link", WORDS["links"]).format(t=token, n=self.digits(8))

    # places and dates
    def address(self) -> str:
        place = self.deal("place", WORDS["places"]) if self.rng.random() < 0.78 else ""
        number = self.rng.choice(["{}号", "{}弄{}号", "{}号院{}号楼", "{}号{}室"])
        rooms = self.rng.choice(
            ["{}栋{}单元{}02", "{}号楼{}0{}", "{}幢{}05室", "{}-{}-30{}", "{}座1{}0{}", "{}期{}栋", "{}栋"]
        )
        fill = [str(self.rng.randint(1, 19)) for _ in range(3)]
        street = self.unshared("street", WORDS["streets"], "address")
        compound = self.unshared("compound", WORDS["compounds"], "address")
        roll = self.rng.random()
        if roll < 0.3:
            return place + street + number.format(*fill)
        if roll < 0.62:
            return place + compound + rooms.format(*fill)
        if roll < 0.84:
            return place + street + f"{fill[2]}号" + compound + rooms.format(*fill)
        return (
            place
            + self.unshared("village", WORDS["villages"], "address")
            + self.rng.choice(["", f"{fill[0]}号", f"{fill[1]}组", "三组"])
        )

    def school(self) -> str:
        name = self.unshared("school", WORDS["schools"], "school")
        small = re.search("幼儿园|托", name)
        kind = "幼" if small else "中" if re.search("中|树人", name) and "小" not in name else "小"
        fits = {"幼": "班", "小": "年级|三（|六\\(|三班", "中": "初|七|八|高"}[kind]
        bad = {"幼": "年级|三（|六\\(|初|高|一年", "小": "七|八|初|高|大|中|托", "中": "^[一二三四五六]"}[kind]
        return name + self.rng.choice(
            [""] + [c for c in WORDS["classes"] if c and re.search(fits, c) and not re.search(bad, c)]
        )

    def bed(self) -> str:
        hospital = self.unshared("hospital", WORDS["hospitals"], "bed")
        if self.rng.random() < 0.2:
            return hospital + self.deal("ward", WORDS["wards"])
        return hospital + self.deal("ward", WORDS["wards"]) + self.deal("bedno", WORDS["beds"])

    def birth_date(self) -> str:
        y, m, d = self.rng.randint(2008, 2025), self.rng.randint(1, 12), self.rng.randint(1, 28)
        numerals = "〇一二三四五六七八九"
        year = "".join(numerals[int(c)] for c in str(y))
        shapes = [
            f"{y}年{m}月{d}日",
            f"{y}年{m}月{d}号",
            f"{y}-{m:02}-{d:02}",
            f"{y}/{m}/{d}",
            f"{y}.{m:02}.{d:02}",
            f"{str(y)[2:]}年{m}月{d}号",
            f"{y}{m:02}{d:02}",
            f"{y} 年 {m} 月 {d} 日",
            f"{year}年{spoken(m)}月{spoken(d)}日",
            f"{year[2:]}年{spoken(m)}月{spoken(d)}号",
            f"{y}年{m}月{d}日".translate(FULL_WIDTH),
            f"{y}-{m}-{d} {d % 24}:{m + 9}",
        ]
        return self.rng.choice(shapes)


def spoken(number: int) -> str:
    """A number below 32 in Chinese words."""
    tens, ones = divmod(number, 10)
    digits = " 一二三四五六七八九"
    return (digits[tens] if tens > 1 else "") * (tens > 0) + "十" * (tens > 0) + (digits[ones] if ones else "")


def check_digit(body: str) -> str:
    """The check character of a resident number by ISO 7064 MOD 11-2 (GB 11643-1999)."""
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(body))
    return "10X98765432"[total % 11]


def luhn_digit(body: str) -> str:
    """The check digit of a bank card (ISO/IEC 7812-1)."""
    doubled = [int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(body))]
    return str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)
