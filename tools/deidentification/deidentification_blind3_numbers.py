"""Invented numbers and contacts for the third blind split."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

DATA: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("deidentification_blind3.yaml").read_text(encoding="utf-8")
)
PARTS: dict[str, Any] = DATA["parts"]
REGIONS: dict[str, str] = PARTS["regions"]
AREA: list[str] = PARTS["area"].split()
MOBILE: list[str] = PARTS["mobile"].split()
STREETS: list[str] = PARTS["streets"].split()
ESTATES: list[str] = PARTS["estates"].split()
TOWNS: list[str] = PARTS["towns"].split()
VILLAGES: list[str] = PARTS["villages"].split()
KINDER: list[str] = PARTS["kinder"].split()
PRIMARY: list[str] = PARTS["primary"].split()
CITIES: list[str] = PARTS["cities"].split()
HOSPITALS: list[str] = PARTS["hospitals"].split()
WARDS: list[str] = PARTS["wards"].split()
PINYIN: list[str] = PARTS["pinyin"].split()
SPOKEN = dict(zip("0123456789", "零幺二三四五六七八九", strict=True))
CN = "零一二三四五六七八九"


class Numbers:
    """Draws numbers, contacts and dates; `writer` (P, D, N, V) and the text `before` the value decide on the form."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.writer, self.before = rng, "P", ""

    def digits(self, count: int) -> str:
        return "".join(self.rng.choices("0123456789", k=count))

    def roll(self, *weighted: tuple[float, Callable[[], str]]) -> str:
        return self.rng.choices([make for _, make in weighted], [weight for weight, _ in weighted])[0]()

    def spoken(self, number: str) -> str:
        return "".join(SPOKEN.get(char, char) for char in number)

    def phone(self) -> str:
        number = self.rng.choice(MOBILE) + self.digits(8)
        if self.writer == "V" and self.rng.random() < 0.6:
            return self.spoken(number) if self.rng.random() < 0.7 else self.spoken(number[:3]) + number[3:]
        cut = [number[:3], number[3:7], number[7:]]
        return self.roll(
            (80, lambda: number),
            (7, lambda: " ".join(cut)),
            (6, lambda: "-".join(cut)),
            (2, lambda: "+86" + number),
            (2, lambda: "86-" + number),
            (2, lambda: f"{number[:5]} {number[5:]}"),
            (1, lambda: _wide(number)),
        )

    def landline(self) -> str:
        area = self.rng.choice(AREA)
        eight = len(area) == 3 or self.rng.random() < 0.5
        number = self.rng.choice("2345678") + self.digits(7 if eight else 6)
        if self.writer == "V" and self.rng.random() < 0.5:
            return self.spoken(area + number)
        return self.roll(
            (60, lambda: f"{area}-{number}"),
            (14, lambda: area + number),
            (8, lambda: f"{area} {number}"),
            (6, lambda: f"({area}){number}"),
            (5, lambda: f"（{area}）{number}"),
            (3, lambda: f"{area}—{number}"),
            (4, lambda: f"{area}-{number}-{self.digits(3)}"),
        )

    def id_card(self) -> str:
        child = not re.search("我|姑|爸|妈|舅|爷|奶|姥|外婆", self.before) and self.rng.random() < 0.85
        year = self.rng.randint(2009, 2024) if child else self.rng.randint(1966, 1998)
        born = f"{year}{self.rng.randint(1, 12):02}{self.rng.randint(1, 28):02}"
        body = self.rng.choice(list(REGIONS.values())) + born + self.digits(3)
        weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
        number = body + "10X98765432"[sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11]
        if self.writer == "V" and self.rng.random() < 0.4:
            return self.spoken(number)
        return self.roll(
            (82, lambda: number),
            (8, lambda: number.lower()),
            (6, lambda: f"{number[:6]} {number[6:14]} {number[14:]}"),
            (4, lambda: f"{number[:6]}-{number[6:14]}-{number[14:]}"),
        )

    def wechat(self) -> str:
        first, second = self.rng.choice(PINYIN), self.rng.choice(PINYIN)
        letters = "".join(self.rng.choices("abcdefghjkmnpqrstuvwxyz0123456789", k=14))
        return self.roll(
            (30, lambda: first + self.digits(self.rng.choice([3, 4, 6]))),
            (15, lambda: f"{first}_{self.digits(4)}"),
            (15, lambda: "wxid_" + letters),
            (15, lambda: first + second),
            (8, lambda: f"{first}-{second}{self.digits(2)}"),
            (9, lambda: first[0].upper() + first[1:] + self.digits(4)),
            (8, lambda: self.rng.choice(MOBILE) + self.digits(8)),
        )

    def qq(self) -> str:
        number = self.rng.choice("123456789") + self.digits(self.rng.choice([7, 8, 8, 9, 9, 9]))
        if self.writer == "V" and self.rng.random() < 0.6:
            return self.spoken(number)
        return self.roll(
            (92, lambda: number), (5, lambda: f"{number[:4]} {number[4:]}"), (3, lambda: f"{number[:3]}-{number[3:]}")
        )

    def email(self) -> str:
        host = self.rng.choices(
            [
                "qq.com",
                "163.com",
                "126.com",
                "sina.com",
                "139.com",
                "gmail.com",
                "foxmail.com",
                "outlook.com",
                "hospital.org.cn",
                "vip.163.com",
                "yeah.net",
                "sohu.com",
            ],
            [40, 20, 8, 5, 4, 5, 4, 4, 5, 2, 2, 1],
        )[0]
        user = self.roll(
            (4, lambda: str(self.rng.randint(10**7, 10**10))),
            (6, lambda: self.rng.choice(PINYIN) + self.digits(4)),
            (2, lambda: f"{self.rng.choice(PINYIN)}.{self.rng.choice(PINYIN)}"),
            (2, lambda: f"{self.rng.choice(PINYIN)}_{self.digits(2)}"),
        )
        return self.roll(
            (92, lambda: f"{user}@{host}"), (4, lambda: f"{user}@{host}".upper()), (4, lambda: f"{user} @{host}")
        )

    def record_number(self) -> str:
        size = self.rng.choice([6, 7, 8, 8, 9, 10, 10, 12])
        year = str(self.rng.randint(2017, 2025))
        number = self.rng.choice("0123456789") + self.digits(size - 1)
        if self.writer == "V" and self.rng.random() < 0.6:
            return self.spoken(number[:7])
        if re.search("医保|社保|农合", self.before[-8:]):
            return self.digits(self.rng.choice([9, 10, 12]))
        prefix = "ABDHKMPST"[int(self.digits(1)) % 9]
        for field, letters in (
            ("住院", "ZY"),
            ("门诊|就诊", "MZ"),
            ("影像|检查", self.rng.choice(["CT", "DR", "US", "MR"])),
        ):
            prefix = letters if re.search(field, self.before[-8:]) else prefix
        return self.roll(
            (62, lambda: number),
            (12, lambda: year + self.digits(6)),
            (14, lambda: prefix + number),
            (6, lambda: f"{year}-{self.digits(5)}"),
            (3, lambda: f"{number}-{self.rng.randint(1, 4)}"),
            (4, lambda: number[:4] + " " + number[4:]),
        )

    def vaccination(self) -> str:
        region, year = self.rng.choice(list(REGIONS.values())), self.rng.randint(2012, 2024)
        long = f"{region}{self.digits(4)}{year}{self.digits(4)}"
        if self.writer == "V" and self.rng.random() < 0.5:
            return self.spoken(self.digits(10))
        return self.roll(
            (50, lambda: long),
            (20, lambda: f"{region}{self.digits(10)}"),
            (18, lambda: self.digits(10)),
            (7, lambda: f"{long[:6]} {long[6:10]} {long[10:14]} {long[14:]}"),
            (5, lambda: f"{region}-{year}-{self.digits(5)}"),
        )

    def birth_certificate(self) -> str:
        letter, number = self.rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXY"), self.digits(9)
        if self.writer == "V" and self.rng.random() < 0.4:
            return letter + self.spoken(number)
        return self.roll(
            (80, lambda: letter + number),
            (8, lambda: letter.lower() + number),
            (8, lambda: f"{letter} {number}"),
            (4, lambda: f"{letter}-{number}"),
        )

    def plate(self) -> str:
        head = self.rng.choice("京沪津渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼") + self.rng.choice(
            "AAABBCDEFGHJKL"
        )
        letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
        tail = self.roll(
            (40, lambda: self.digits(5)),
            (25, lambda: self.rng.choice(letters) + self.digits(4)),
            (20, lambda: self.digits(1) + self.rng.choice(letters) + self.rng.choice(letters) + self.digits(2)),
            (15, lambda: self.rng.choice("DF") + self.digits(5)),
        )
        return self.roll(
            (70, lambda: head + tail),
            (15, lambda: f"{head}·{tail}"),
            (8, lambda: f"{head} {tail}"),
            (5, lambda: (head + tail).lower()),
            (2, lambda: f"{head}-{tail}"),
        )

    def bank_card(self) -> str:
        body = self.rng.choice(
            ["622848", "621700", "622202", "621799", "622588", "621661", "622262", "623052", "621226", "622700"]
        )
        body += self.digits(self.rng.choice([9, 12]))
        total = sum(sum(divmod(int(d) * (2 if n % 2 == 0 else 1), 10)) for n, d in enumerate(reversed(body)))
        number = body + str(-total % 10)
        if self.writer == "V" and self.rng.random() < 0.4:
            return self.spoken(number)
        return self.roll(
            (72, lambda: number),
            (25, lambda: " ".join(re.findall(r"\d{1,4}", number))),
            (3, lambda: "-".join(re.findall(r"\d{1,4}", number))),
        )

    def url(self) -> str:
        slug = "".join(self.rng.choices("abcdefghijkmnpqrstuvwxyz0123456789", k=8))
        number = self.digits(7)
        return self.rng.choice(
            [
                f"https://www.haodf.com/bingcheng/{number}.html",
                f"https://mp.weixin.qq.com/s/{slug}{slug[:3].upper()}",
                f"https://v.douyin.com/{slug}/",
                f"https://m.baidu.com/s?id={number}",
                f"https://item.jd.com/{number}.html",
                f"http://www.dxy.cn/view/{number}",
                f"https://pan.baidu.com/s/1{slug}",
                f"www.chunyuyisheng.com/pc/qa/{number}",
                f"http://report.xyetyy.com/pacs/{slug}",
                f"https://www.wjx.cn/vm/{slug}.aspx",
                f"http://yuyue.etyy{self.digits(2)}.com/reg?no={number}",
                f"https://www.zhihu.com/question/{number}",
                f"https://b23.tv/{slug[:7]}",
                f"m.youlai.cn/ask/{number}.html",
                f"https://tb.cn/h.{slug[:6]}",
            ]
        )

    def birth_date(self) -> str:
        y, m, d = self.rng.randint(2009, 2025), self.rng.randint(1, 12), self.rng.randint(1, 28)
        if self.writer == "V" and self.rng.random() < 0.8:
            return (
                "".join(CN[int(n)] for n in (str(y) if self.rng.random() < 0.5 else str(y)[2:]))
                + f"年{_cn(m)}月{_cn(d)}"
                + self.rng.choice("号日")
            )
        if self.writer in "DN":
            clock = f" {self.rng.randint(0, 23)}:{self.rng.randint(10, 59)}"
            return self.roll(
                (35, lambda: f"{y}-{m:02}-{d:02}"),
                (25, lambda: f"{y}年{m}月{d}日"),
                (12, lambda: f"{y}.{m:02}.{d:02}"),
                (10, lambda: f"{y}/{m}/{d}"),
                (8, lambda: f"{y}{m:02}{d:02}"),
                (6, lambda: f"{y}-{m:02}-{d:02}{clock}"),
                (4, lambda: f"{y}年{m:02}月{d:02}日"),
            )
        return self.roll(
            (28, lambda: f"{y}年{m}月{d}号"),
            (20, lambda: f"{y}年{m}月{d}日"),
            (14, lambda: f"{y % 100:02}年{m}月{d}号"),
            (12, lambda: f"{y}.{m}.{d}"),
            (8, lambda: f"{y}-{m}-{d}"),
            (6, lambda: f"{y}/{m}/{d}"),
            (6, lambda: f"{y}{m:02}{d:02}"),
            (6, lambda: f"{y % 100:02}年{m}月{d}日"),
        )


def _cn(number: int) -> str:
    tens, ones = divmod(number, 10)
    return ("" if not tens else ("" if tens == 1 else CN[tens]) + "十") + (CN[ones] if ones or not tens else "")


def _wide(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) for char in text)
