"""Makes the invented personal data of the fourth blind set: people, places, numbers and accounts, each with its type.

No value belongs to a real person: the names are drawn from lists, the numbers from a seeded generator.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import date, timedelta

Value = tuple[str, str]
"""A value's text and the type under which it is labelled."""

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHINESE = "零一二三四五六七八九"
_SPELT = "零幺二三四五六七八九"
_MOBILE_HEADS: tuple[str, ...] = (
    "130",
    "132",
    "135",
    "136",
    "137",
    "138",
    "139",
    "150",
    "151",
    "153",
    "155",
    "157",
    "158",
    "159",
)
_MOBILE_HEADS += (
    "166",
    "173",
    "176",
    "177",
    "180",
    "182",
    "183",
    "185",
    "186",
    "187",
    "188",
    "189",
    "191",
    "198",
    "199",
)
_PLATE = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
_FULL_WIDTH = str.maketrans("0123456789X", "０１２３４５６７８９Ｘ")


def id_checksum(body: str) -> str:
    """The 18th character of a resident identity number (GB 11643-1999) for its first 17 digits."""
    return "10X98765432"[sum(int(d) * w for d, w in zip(body, _WEIGHTS, strict=True)) % 11]


def luhn_digit(body: str) -> str:
    """The last digit of a bank card number (ISO/IEC 7812, Luhn) for the digits before it."""
    total = sum(sum(divmod(int(d) * (2 if i % 2 == 0 else 1), 10)) for i, d in enumerate(reversed(body)))
    return str(-total % 10)


def spell(digits: str, table: str) -> str:
    """The digits as Chinese numerals of a ten-character table."""
    return "".join(table[int(d)] for d in digits)


def _number(value: int) -> str:
    """A number from 1 to 31 as Chinese numerals."""
    tens, ones = divmod(value, 10)
    return ("" if tens == 0 else "十" if tens == 1 else _CHINESE[tens] + "十") + ("" if ones == 0 else _CHINESE[ones])


class Values:
    """Draws a value for each slot of a phrase; the same generator state gives the same values.

    lists: list name -> words, as in deidentification_blind4_names.yaml. rng: the seeded generator.
    """

    def __init__(self, lists: Mapping[str, list[str]], rng: random.Random) -> None:
        self._lists = lists
        self._rng = rng
        self._nicknames: list[str] = []
        self._makers: dict[str, Callable[[], Value]] = {
            "pn": lambda: (self.person(("given_modern", "given_modern", "given_single")), "patient_name"),
            "pg": lambda: (self._pick("given_modern"), "patient_name"),
            "nk": lambda: (self._nickname(), "nickname"),
            "kn": lambda: (self.person(("given_female", "given_male")), "parent_name"),
            "kf": lambda: (self.person(("given_female",)), "parent_name"),
            "km": lambda: (self.person(("given_male",)), "parent_name"),
            "dn": lambda: (self.person(("given_doctor", "given_doctor", "given_female"), minority=0.02), "doctor_name"),
            "sn": lambda: (self._surname(), "surname_title"),
            "xl": lambda: (rng.choice("小小小老") + self._pick("surnames_common"), "surname_title"),
            "ph": lambda: (self._phone(), "phone"),
            "ll": lambda: (self._landline(), "landline"),
            "id": lambda: (self._id_card(), "id_card"),
            "bd": lambda: (self._birth_date(), "birth_date"),
            "rn": lambda: (self._record_number(), "record_number"),
            "bed": lambda: (self._bed(), "bed"),
            "wx": lambda: (self._wechat(), "wechat"),
            "qq": lambda: (str(rng.randint(1, 9)) + self._digits(rng.choice((7, 8, 8, 9, 9))), "qq"),
            "em": lambda: (f"{self._handle()}@{self._pick('mail_domains')}", "email"),
            "vc": lambda: (self._vaccination(), "vaccination"),
            "bc": lambda: (self._birth_certificate(), "birth_certificate"),
            "pl": lambda: (self._plate(), "plate"),
            "bk": lambda: (self._bank_card(), "bank_card"),
            "url": lambda: (self._url(), "url"),
            "ad": lambda: (self._address(), "address"),
            "cm": lambda: (self._community(), "address"),
            "vl": lambda: (self._village(), "address"),
            "sc": lambda: (self._school(), "school"),
            "kg": lambda: (self._kindergarten(), "school"),
        }

    def draw(self, slot: str) -> Value:
        """A fresh value for the slot (one of the names in the head of deidentification_blind4.yaml)."""
        return self._makers[slot]()

    def person(self, givens: tuple[str, ...], minority: float = 0.05) -> str:
        """A full name; givens: the lists one of which gives the given name; minority: share of minority names."""
        if self._rng.random() < minority:
            return self._pick("minority_names")
        return self._surname() + self._pick(self._rng.choice(givens))

    def _pick(self, name: str) -> str:
        return self._rng.choice(self._lists[name])

    def _digits(self, count: int) -> str:
        return "".join(self._rng.choice("0123456789") for _ in range(count))

    def _surname(self) -> str:
        kinds = ("surnames_common", "surnames_less_common", "rare_surnames", "compound_surnames")
        return self._pick(self._rng.choices(kinds, (62, 27, 7, 4))[0])

    def _nickname(self) -> str:
        """Every nickname of the list is used once before any comes again."""
        if not self._nicknames:
            self._nicknames = self._rng.sample(self._lists["nicknames"], len(self._lists["nicknames"]))
        return self._nicknames.pop()

    def _phone(self) -> str:
        digits = self._rng.choice(_MOBILE_HEADS) + self._digits(8)
        grouped = (digits[:3], digits[3:7], digits[7:])
        styles = ("plain", "space", "hyphen", "wide", "spelt", "spelt_space", "country", "pairs")
        style = self._rng.choices(styles, (54, 12, 8, 8, 8, 4, 4, 2))[0]
        return {
            "plain": digits,
            "space": " ".join(grouped),
            "hyphen": "-".join(grouped),
            "wide": digits.translate(_FULL_WIDTH),
            "spelt": spell(digits, _SPELT if self._rng.random() < 0.6 else _CHINESE),
            "spelt_space": " ".join(spell(part, _SPELT) for part in grouped),
            "country": "+86" + self._rng.choice((" ", "-", "")) + digits,
            "pairs": f"{digits[:3]} {digits[3:5]} {digits[5:7]} {digits[7:9]} {digits[9:]}",
        }[style]

    def _landline(self) -> str:
        area = self._rng.choice(("010", "021", "0576", "0394", "0816", "0716", "0539", "0515", "0757", "0734", "0310"))
        local = str(self._rng.randint(2, 8)) + self._digits(7 if len(area) == 3 else self._rng.choice((6, 6, 7)))
        joined = self._rng.choice((f"{area}-{local}", f"{area}-{local}", f"{area}{local}", f"({area}){local}", local))
        joined = joined.translate(_FULL_WIDTH) if self._rng.random() < 0.05 else joined
        return joined + (f"转{self._rng.randint(1, 9)}0{self._rng.randint(1, 9)}" if self._rng.random() < 0.08 else "")

    def _id_card(self) -> str:
        region = self._pick("regions").split("|")[1]
        body = region + f"{self._day(2009, 2025):%Y%m%d}" + self._digits(3)
        text = body + id_checksum(body)
        style = self._rng.choices(("plain", "space", "wide", "lower", "spelt"), (72, 10, 6, 6, 6))[0]
        if style == "space":
            return f"{text[:6]} {text[6:14]} {text[14:]}"
        if style == "spelt" and text[-1] != "X":
            return spell(text, _SPELT)
        return {"wide": text.translate(_FULL_WIDTH), "lower": text.lower()}.get(style, text)

    def _day(self, first: int, last: int) -> date:
        return date(first, 1, 1) + timedelta(days=self._rng.randrange((date(last, 6, 30) - date(first, 1, 1)).days))

    def _birth_date(self) -> str:
        day = self._day(2012, 2025)
        short = f"{day.year % 100}年{day.month}月{day.day}"
        spelt = f"{spell(str(day.year), _CHINESE)}年{_number(day.month)}月{_number(day.day)}日"
        full = f"{day.year}年{day.month}月{day.day}"
        forms: tuple[str, ...] = (
            full + "日",
            full + "号",
            short + "号",
            short + "日",
            f"{day:%Y-%m-%d}",
            f"{day.year}.{day.month}.{day.day}",
        )
        forms += (f"{day:%Y/%m/%d}", f"{day:%Y%m%d}", spelt, f"{day.year} 年 {day.month} 月 {day.day} 日")
        forms += ((full + "日").translate(_FULL_WIDTH),)
        return self._rng.choices(forms, (22, 12, 14, 4, 14, 8, 6, 6, 6, 4, 4))[0]

    def _record_number(self) -> str:
        year = str(self._rng.randint(2019, 2025))
        forms: tuple[str, ...] = (
            self._digits(8),
            "00" + self._digits(8),
            year + self._digits(6),
            "ZY" + year[2:] + self._digits(6),
            "MZ" + self._digits(9),
            self._rng.choice("ABHKPR") + self._digits(7),
            f"{year}-{self._digits(5)}",
            self._digits(7),
            self._digits(12),
            self._digits(8).translate(_FULL_WIDTH),
        )
        return self._rng.choices(forms, (18, 12, 18, 8, 8, 10, 6, 10, 6, 4))[0]

    def _bed(self) -> str:
        number = self._rng.randint(1, 56)
        forms: tuple[str, ...] = (
            f"{number}床",
            f"{number:02d}床",
            f"+{number % 9 + 1}床",
            f"加{number % 9 + 1}床",
            f"{number}号床",
        )
        forms += (
            f"{_number(number % 31 + 1)}床",
            f"{number}床".translate(_FULL_WIDTH),
            f"{_number(number % 9 + 1)}病区{number}床",
        )
        return self._rng.choices(forms, (50, 12, 5, 5, 10, 8, 4, 6))[0]

    def _handle(self) -> str:
        word, tail = self._pick("handles"), self._pick("handles")
        number = self._rng.choice(
            (self._digits(2), self._digits(3), f"{self._rng.randint(1983, 2023)}", f"0{self._digits(3)}")
        )
        return self._rng.choice((word + number, f"{word}_{number}", word + tail + number, f"{word}.{tail}{number}"))

    def _wechat(self) -> str:
        if self._rng.random() < 0.15:
            return "wxid_" + "".join(self._rng.choice("abcdefghijkmnpqrstuvwxyz0123456789") for _ in range(14))
        handle = self._handle().replace(".", "-")
        return handle if len(handle) >= 6 else handle + self._digits(3)

    def _vaccination(self) -> str:
        region = self._pick("regions").split("|")[1]
        forms: tuple[str, ...] = (
            region + self._digits(12),
            region + f"{self._rng.randint(2015, 2025)}" + self._digits(6),
        )
        forms += (region[:4] + self._digits(10), f"{region}-{self._digits(4)}-{self._digits(6)}")
        return self._rng.choices(forms, (40, 35, 15, 10))[0]

    def _birth_certificate(self) -> str:
        text = self._rng.choice("OPQRSTUVW") + self._digits(9)
        forms: tuple[str, ...] = (
            text,
            f"{text[0]} {text[1:]}",
            text.lower(),
            text[0] + text[1:].translate(_FULL_WIDTH),
        )
        return self._rng.choices(forms, (78, 12, 5, 5))[0]

    def _plate(self) -> str:
        head = self._pick("plate_heads")
        tail = "".join(self._rng.choice(_PLATE if self._rng.random() < 0.3 else "0123456789") for _ in range(5))
        if self._rng.random() < 0.15:
            tail = self._rng.choice("DF") + tail
        return head + self._rng.choice(("", "", "", "·", " ")) + tail

    def _bank_card(self) -> str:
        body = self._pick("bank_heads") + self._digits(self._rng.choice((9, 12, 12)))
        text = body + luhn_digit(body)
        grouped = " ".join(text[i : i + 4] for i in range(0, len(text), 4))
        return self._rng.choices((text, grouped, text.translate(_FULL_WIDTH)), (60, 34, 6))[0]

    def _url(self) -> str:
        tail = "".join(
            self._rng.choice("abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNP23456789") for _ in range(self._rng.randint(6, 12))
        )
        return self._pick("hosts") + tail

    def _address(self) -> str:
        region = self._pick("regions").split("|")[0]
        start = self._rng.choice((region, region, region, region.split("省")[-1], ""))
        number = self._rng.randint(3, 388)
        forms: tuple[str, ...] = (
            f"{self._pick('roads')}{number}号{self._pick('communities')}{self._flat()}",
            f"{self._pick('roads')}{number}号",
            f"{self._pick('roads')}{number}号{self._flat()}",
            f"{self._pick('communities')}{self._flat()}",
        )
        return start + self._rng.choice(forms)

    def _flat(self) -> str:
        building, unit, floor, door = (self._rng.randint(1, n) for n in (32, 4, 18, 4))
        forms: tuple[str, ...] = (
            f"{building}号楼{unit}单元{floor}0{door}室",
            f"{building}栋{floor}0{door}",
            f"{building}-{unit}-{floor}0{door}",
        )
        return self._rng.choice((*forms, f"{building}幢{unit}单元{floor}0{door}"))

    def _community(self) -> str:
        name = self._pick("communities")
        closed = name.endswith(("院", "村", "苑", "里", "园", "城", "府"))
        plain = name if closed and self._rng.random() < 0.6 else name + "小区"
        return plain + self._rng.choices(("", self._flat(), f"{self._rng.randint(1, 20)}号楼"), (60, 20, 20))[0]

    def _village(self) -> str:
        region = self._pick("regions").split("|")[0]
        start = self._rng.choice((region, region.split("市", 1)[1], ""))
        group = self._rng.choice(("", "", f"{_number(self._rng.randint(1, 12))}组", f"{self._rng.randint(2, 160)}号"))
        return start + self._pick("towns") + self._pick("villages") + group

    def _school(self) -> str:
        word, grade = self._pick("school_words"), self._rng.choice("一二三四五六")
        ordinal = self._rng.choice(("第一", "第二", "第三", ""))
        forms: tuple[str, ...] = (
            f"{word}小学",
            f"{word}小学{grade}年级{self._rng.randint(1, 9)}班",
            f"{word}{ordinal or '第二'}小学",
        )
        forms += (
            f"{word}小学{grade}（{self._rng.randint(1, 9)}）班",
            f"{word}中学初{grade if grade in '一二三' else '二'}",
        )
        return self._rng.choices((*forms, f"市{ordinal or '第一'}实验小学"), (34, 24, 14, 10, 10, 8))[0]

    def _kindergarten(self) -> str:
        name = self._pick("kindergarten_words") + self._rng.choice(("幼儿园", "幼儿园", "幼儿园", "幼稚园", "托育中心"))
        return name + self._rng.choice(
            ("", "", "", f"{self._rng.choice('大中小')}{self._rng.choice('一二三四')}班", "托班")
        )
