"""Values of the fifth blind set: names, numbers and places, each drawn from a random.Random handed in."""

import random
import string
from datetime import date, timedelta
from pathlib import Path

import yaml

HERE = Path(__file__).parent
NAMES = yaml.safe_load((HERE / "deidentification_blind5_names.yaml").read_text(encoding="utf-8"))
PLACES = yaml.safe_load((HERE / "deidentification_blind5_places.yaml").read_text(encoding="utf-8"))
_SURNAMES = [(name, weight) for weight, row in NAMES["surnames"].items() for name in row]
_FULL = str.maketrans("0123456789", "０１２３４５６７８９")
_READ = str.maketrans("0123456789", "零幺二三四五六七八九")
_WRITE = str.maketrans("0123456789", "零一二三四五六七八九")
_MOBILE = PLACES["mobile"].split()
_AREA_CODE = PLACES["area_code"].split()
_REGION = PLACES["region"].split()
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def surname(rng: random.Random) -> str:
    return rng.choices([name for name, _ in _SURNAMES], [weight for _, weight in _SURNAMES])[0]


def _person(rng: random.Random, two: str, one: str) -> str:
    if rng.random() < 0.02:
        return str(rng.choice(NAMES["minority"]))
    family = surname(rng)
    given = rng.choice(NAMES[one].split()) if rng.random() < 0.2 else rng.choice(NAMES[two].split())
    return family + given


def child(rng: random.Random) -> str:
    return _person(rng, "child_two", "child_one")


def child_given(rng: random.Random) -> str:
    return str(rng.choice(NAMES["child_two"].split()))


def man(rng: random.Random) -> str:
    return _person(rng, "man_two", "man_one")


def woman(rng: random.Random) -> str:
    return _person(rng, "woman_two", "woman_one")


def adult(rng: random.Random) -> str:
    return rng.choice((man, woman))(rng)


def staff(rng: random.Random) -> str:
    return _person(rng, "doctor_two", rng.choice(("man_one", "woman_one")))


def familiar(rng: random.Random) -> str:
    """小李, 老张: a surname with its prefix."""
    while len(family := surname(rng)) > 1:
        pass
    return rng.choice("小小老") + family


def sibling(first: str, second: str) -> str:
    """The second child's name under the surname of the first; minority names stay as they are."""
    if first in NAMES["minority"] or second in NAMES["minority"]:
        return second
    return _family_name(first) + second[len(_family_name(second)) :]


def _family_name(name: str) -> str:
    return name[:2] if name[:2] in NAMES["surnames"][1][0] else name[0]


def nickname(rng: random.Random) -> str:
    return str(rng.choice(NAMES["nicknames"].split()))


def _digits(rng: random.Random, count: int) -> str:
    return rng.choice("123456789") + "".join(rng.choices(string.digits, k=count - 1))


def phone(rng: random.Random) -> str:
    number = rng.choice(_MOBILE) + "".join(rng.choices(string.digits, k=8))
    parts = (number[:3], number[3:7], number[7:])
    forms = (
        number,
        " ".join(parts),
        "-".join(parts),
        "+86 " + number,
        number.translate(_FULL),
        number.translate(_READ),
    )
    more = ("，".join(p.translate(_READ) for p in parts), " ".join(number), number.translate(_WRITE), "86-" + number)
    return rng.choices(forms + more, (50, 12, 8, 4, 8, 7, 3, 3, 3, 2))[0]


def landline(rng: random.Random) -> str:
    code = rng.choice(_AREA_CODE)
    number = rng.choice("23568") + "".join(
        rng.choices(string.digits, k=7 if len(code) == 3 or rng.random() < 0.5 else 6)
    )
    forms = (f"{code}-{number}", code + number, f"({code}){number}", f"（{code}）{number}", f"{code} {number}", number)
    return rng.choices((*forms, f"{code}-{number}".translate(_FULL)), (40, 12, 8, 8, 8, 16, 5))[0]


def day(rng: random.Random, first: int, last: int) -> date:
    return date(first, 1, 1) + timedelta(days=rng.randrange((last - first + 1) * 365))


def check_digit(body: str) -> str:
    """The 18th character of a resident identity number (GB 11643-1999)."""
    return "10X98765432"[sum(int(digit) * weight for digit, weight in zip(body, _WEIGHTS, strict=True)) % 11]


def _identity(rng: random.Random, born: date) -> str:
    body = rng.choice(_REGION) + born.strftime("%Y%m%d") + f"{rng.randrange(1, 1000):03d}"
    number = body + check_digit(body)
    forms = (number, f"{number[:6]} {number[6:14]} {number[14:]}", number.translate(_FULL), number.lower())
    return rng.choices(
        (*forms, f"{number[:3]} {number[3:6]} {number[6:10]} {number[10:14]} {number[14:]}"), (70, 10, 8, 8, 4)
    )[0]


def identity_child(rng: random.Random) -> str:
    return _identity(rng, day(rng, 2011, 2023))


def identity_adult(rng: random.Random) -> str:
    return _identity(rng, day(rng, 1962, 1998))


_PINYIN = NAMES["pinyin"].split()


def wechat(rng: random.Random) -> str:
    a, b = rng.choice(_PINYIN), rng.choice(_PINYIN)
    year = str(rng.randrange(1980, 2022))
    tail = "".join(rng.choices(string.ascii_lowercase + string.digits, k=8))
    return rng.choice(
        (
            f"{a}{b}{year}",
            f"{a}_{year[2:]}{b}",
            f"wxid_{tail}",
            f"{a}-{b}{year[2:]}",
            f"{a.title()}{year}",
            f"{b}{_digits(rng, 6)}",
        )
    )


def qq(rng: random.Random) -> str:
    number = _digits(rng, rng.choice((8, 9, 9, 10, 10)))
    return rng.choices((number, number.translate(_FULL), f"{number[:3]} {number[3:6]} {number[6:]}"), (8, 1, 1))[0]


def email(rng: random.Random) -> str:
    user = rng.choice(
        (
            _digits(rng, 9),
            wechat(rng),
            rng.choice(_PINYIN) + "." + rng.choice(_PINYIN),
            rng.choice(_PINYIN) + _digits(rng, 4),
        )
    )
    hosts = ("qq.com", "163.com", "126.com", "sina.com", "gmail.com", "outlook.com", "foxmail.com", "139.com")
    return f"{user}@{rng.choice(hosts)}"


def url(rng: random.Random) -> str:
    token = "".join(rng.choices(string.ascii_letters + string.digits, k=7))
    hosts = (
        "pan.baidu.com/s/1",
        "v.douyin.com/",
        "www.xiaohongshu.com/user/profile/",
        "weibo.com/u/",
        "report.etyy-online.cn/r/",
    )
    host = rng.choice(hosts)
    token = _digits(rng, 10) if "weibo" in host else token
    return (("" if host.startswith("www") and rng.random() < 0.5 else "https://") + host + token).rstrip("/")


def plate(rng: random.Random) -> str:
    head = rng.choice("京沪粤浙苏鲁豫川鄂湘皖闽陕渝辽冀赣桂云贵") + rng.choice("ABCDEFGHJK")
    pool = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    tail = rng.choice(
        (_digits(rng, 5), rng.choice(pool) + _digits(rng, 4), _digits(rng, 3) + "".join(rng.choices(pool, k=2)))
    )
    green = rng.choice("DF") + _digits(rng, 5)
    return head + rng.choices(("", "·", " "), (6, 3, 1))[0] + rng.choices((tail, green), (3, 1))[0]


def bank_card(rng: random.Random) -> str:
    body = rng.choice(("622202", "621700", "622848", "621661", "622588", "621799", "623052")) + "".join(
        rng.choices(string.digits, k=12)
    )
    total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(reversed(body)))
    number = body + str(-total % 10)
    return rng.choices(
        (number, " ".join(number[i : i + 4] for i in range(0, 19, 4)), number.translate(_FULL)), (5, 4, 1)
    )[0]


def record_number(rng: random.Random) -> str:
    number = _digits(rng, rng.choice((6, 7, 8, 8, 9, 10)))
    forms = (number, "0" * rng.choice((1, 2, 3)) + number, rng.choice(("ZY", "MZ", "B", "P", "CT", "XD", "H")) + number)
    more = (
        f"20{rng.randrange(18, 25)}{rng.randrange(1, 13):02d}{_digits(rng, 5)}",
        f"{number[:4]}-{number[4:]}",
        number.translate(_FULL),
    )
    return rng.choices(forms + more, (40, 20, 22, 12, 4, 5))[0]


def bed(rng: random.Random) -> str:
    number = rng.randrange(1, 62)
    tens = ("", "十", "二十", "三十", "四十", "五十", "六十")[number // 10] + "零一二三四五六七八九"[
        number % 10
    ].replace("零", "")
    forms = (
        f"{number}床",
        f"{number:02d}床",
        f"加{number % 9 + 1}床",
        f"{tens}床",
        f"{number}号床",
        f"{number} 床",
        f"{rng.randrange(3, 16)}{number:02d}床",
    )
    return rng.choices(
        (*forms, f"+{number % 9 + 1}床", f"{number}床".translate(_FULL)), (40, 10, 6, 8, 12, 3, 6, 3, 4)
    )[0]


def vaccination(rng: random.Random) -> str:
    number = rng.choice(_REGION) + _digits(rng, rng.choice((4, 6, 10, 12)))
    return rng.choices((number, number.translate(_FULL), f"{number[:6]} {number[6:]}"), (8, 1, 1))[0]


def birth_certificate(rng: random.Random) -> str:
    number = (
        rng.choice("JKLMNOPQRSTUVW")
        + rng.choice(("11", "31", "32", "33", "37", "41", "42", "44", "51"))
        + _digits(rng, 7)
    )
    return rng.choices((number, f"{number[0]} {number[1:]}", number[0] + number[1:].translate(_FULL)), (8, 1, 1))[0]


def birth_date(rng: random.Random) -> str:
    born = day(rng, 2010, 2023)
    y, m, d = born.year, born.month, born.day
    forms = (
        f"{y}年{m}月{d}日",
        f"{y}-{m:02d}-{d:02d}",
        f"{y}.{m}.{d}",
        f"{y}/{m}/{d}",
        f"{y}年{m}月{d}号",
        f"{y % 100}年{m}月{d}号",
    )
    month, dayname = _chinese(m), _chinese(d)
    spelt = f"{str(y).translate(_WRITE)}年{month}月{dayname}日"
    more = (born.strftime("%Y%m%d"), spelt, f"{y}年{m}月{d}日".translate(_FULL), f"{y} 年 {m} 月 {d} 日")
    return rng.choices(forms + more, (30, 14, 8, 6, 14, 8, 5, 5, 3, 2))[0]


def _chinese(number: int) -> str:
    tens, ones = divmod(number, 10)
    return ("", "十", "二十", "三十")[tens] + ("零一二三四五六七八九"[ones] if ones else "")


def _pick(rng: random.Random, key: str) -> str:
    return str(rng.choice(PLACES[key].split()))


def address(rng: random.Random) -> str:
    city, district = rng.choice(PLACES["areas"])
    n, unit, room = rng.randrange(1, 290), rng.randrange(1, 5), f"{rng.randrange(1, 30)}0{rng.randrange(1, 5)}"
    block = rng.randrange(1, 40)
    road, estate = _pick(rng, "roads"), _pick(rng, "estates")
    rural = (
        "".join(rng.choice(PLACES["counties"])[rng.choice((0, 1, 2)) :]) + _pick(rng, "towns") + _pick(rng, "villages")
    )
    forms = (
        f"{city}{district}{road}{n}号",
        f"{city}{district}{road}{n}号{estate}{block}栋{unit}单元{room}室",
        f"{district}{road}{n}号{estate}{block}号楼{room}",
        f"{estate}{block}栋{room}",
        f"{road}{n}号",
        f"{city[:-1]}{district}{estate}{block}幢{unit}单元{room}",
        rural,
        rural + f"{rng.randrange(1, 15)}组",
        f"{rural}{rng.randrange(1, 190)}号",
        f"{city}{district}{estate}{block}-{unit}-{room}",
    )
    return rng.choices(forms, (10, 14, 12, 14, 6, 12, 14, 8, 6, 5))[0]


def school(rng: random.Random) -> str:
    small = "一二三四五六"
    city, district = rng.choice(PLACES["areas"])
    head = rng.choices(("", city, district, city[:-1] + district), (6, 2, 2, 1))[0]
    if rng.random() < 0.5:
        room = rng.choice(
            (
                f"{rng.choice('小中大')}{rng.choice(small[:4])}班",
                f"{rng.choice('小中大')}班",
                "托班",
                f"{rng.choice('小中大')}{rng.randrange(1, 6)}班",
            )
        )
        return head + _pick(rng, "kindergartens") + rng.choices((room, ""), (6, 4))[0]
    name = _pick(rng, "schools")
    grade = rng.choice("七八九") if "中学" in name else rng.choice(small)
    room = rng.choice(
        (
            f"{grade}年级{rng.choice(small)}班",
            f"{grade}年级（{rng.randrange(1, 9)}）班",
            f"{grade}年级{rng.randrange(1, 12)}班",
            f"{grade}（{rng.randrange(1, 9)}）班",
        )
    )
    return head + name + rng.choices((room, ""), (6, 4))[0]


MAKERS = {
    "pn": ("patient_name", child),
    "pg": ("patient_name", child_given),
    "kn": ("parent_name", adult),
    "km": ("parent_name", man),
    "kf": ("parent_name", woman),
    "dn": ("doctor_name", staff),
    "st": ("surname_title", surname),
    "xs": ("surname_title", familiar),
    "nk": ("nickname", nickname),
    "ph": ("phone", phone),
    "ll": ("landline", landline),
    "id": ("id_card", identity_child),
    "ia": ("id_card", identity_adult),
    "wx": ("wechat", wechat),
    "qq": ("qq", qq),
    "em": ("email", email),
    "ur": ("url", url),
    "pl": ("plate", plate),
    "bc": ("bank_card", bank_card),
    "rn": ("record_number", record_number),
    "be": ("bed", bed),
    "va": ("vaccination", vaccination),
    "ce": ("birth_certificate", birth_certificate),
    "bd": ("birth_date", birth_date),
    "ad": ("address", address),
    "sc": ("school", school),
}
