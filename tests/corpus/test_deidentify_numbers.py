"""Numbers, handles and dates of birth are found whatever surrounds them; quantities of medicine stay."""

import random

import pytest

from pediatricsgpt.corpus.deidentify import find
from pediatricsgpt.corpus.deidentify.numbers import CHECK, half_width, id_checksum, luhn, numbers


def covered(text: str, value: str) -> bool:
    """Whether every letter and digit of `value` in `text` is inside findings that are removed."""
    start = text.index(value)
    places = {place for item in find(text) if item.kind != "date" for place in range(item.start, item.end)}
    return all(place in places for place in range(start, start + len(value)) if text[place].isalnum())


NUMBERS = [
    ("企鹅{}，有空联系", "318842097"),
    ("{}这是我Q", "55120334"),
    ("Q：{}", "九八八二三〇一七"),
    ("请加扣{}", "96 3312 847"),
    ("v我{}", "bing-tang-hulu1"),
    ("{}是我微信", "lulu.5206"),
    ("卫星{}", "mubao-59"),
    ("孩子的爸爸在线，{}", "zly19900512"),
    ("住院好{}", "2019-230152"),
    ("腕带号{}", "88123"),
    ("电子健康卡{}", "九幺七二二零四三五幺"),
    ("{}是孩子的住院号", "551203"),
    ("医保卡{}", "MZ0897817"),
    ("袋子上的码{}", "6 9 2 2 8 8 1 0"),
    ("预防针本子号{}", "3706-0289-21"),
    ("《出生医学证明》号{}", "y 524861039"),
    ("户口本上的号{}", "440 606 1981 0714 2682"),
    ("实名信息{}", "340104-1983-0111-9968"),
    ("联系{}", "059272807945转5976"),
    ("宅电 {}", "0532.85771234"),
    ("手机尾号{}", "8000"),
    ("图在{}", "b23.tv/HtDVeNNTn"),
    ("没有提示的一串{}", "8823114590"),
]
BIRTHS = [
    ("阳历生日{}", "2008 年 9 月 1 日"),
    ("{}出生，足月", "2011-8-14 14:17"),
    ("出身日期{}", "2013年2月10日"),
    ("儿子{}生的", "一七年五月一号"),
    ("{}剖腹产的", "二三年十二月十四号"),
    ("生日{}", "19.3.5"),
    ("宝宝{}落地", "19-3-6"),
    ("{}生的", "18年腊月二十三"),
    ("生日{}", "三月初五"),
    ("DOB {}", "05/03/2018"),
    ("我家大宝是{}生的", "2015年五一那天"),
    ("我是{}的", "2018-06-02"),
]
QUANTITIES = """
HBV-DNA 1.23×10^7 IU/ml，HCG 23456789
HBV DNA定量 5600000 copies/ml
血小板 356000，正常吗？
孩子3-5岁，体重12-15kg，每次5-10ml，一日3-4次
血压120/80，心率110次/分，体温38.5℃
国药准字H20133333，批准文号Z20050001
全国约有3000000名患儿
请拨打120，或者12320咨询
全国统一热线400-810-1234
出生时体重3.5kg，身长50cm，Apgar评分9-10-10分
花了12000元，住院10天
基因NM_000051.3 c.5932G>T突变，rs1801133
参考文献：中华儿科杂志, 2015, 53(4): 245-251
ISBN 978-7-117-19612-3
一二三四五六七个月都可以
予蛋白质100一120克
2015-2020年间共有12345678例
孩子生日过后就发烧了，38.5度，3天
出生后1-2天黄疸，第3-5天明显
奶量1000-2000毫升，2000～3000毫升
微信公众号里有科普
""".strip().splitlines()


@pytest.mark.parametrize(("frame", "value"), NUMBERS)
def test_a_personal_number_is_found_with_any_text_around_it(frame: str, value: str) -> None:
    for around in ("{}", "孩子发烧38.5℃三天。{}，体重12kg能吃美林吗", "{}。谢谢医生"):
        assert covered(around.format(frame.format(value)), value)


@pytest.mark.parametrize(("frame", "value"), BIRTHS)
def test_a_date_of_birth_is_found_in_every_form(frame: str, value: str) -> None:
    text = frame.format(value) + "，咳嗽三天"
    assert covered(text, value)
    start = text.index(value)
    assert {item.kind for item in find(text) if item.start < start + len(value) and item.end > start} == {"birth_date"}


@pytest.mark.parametrize("text", QUANTITIES)
def test_doses_laboratory_values_and_public_numbers_stay(text: str) -> None:
    assert not list(numbers(half_width(text)))


def test_a_date_of_illness_is_no_date_of_birth() -> None:
    assert {item.kind for item in find("2019年3月5日开始发烧，3月7号退了")} == {"date"}


def test_any_long_run_of_digits_is_personal_however_it_is_written() -> None:
    draw = random.Random(3)
    for length in range(7, 19):
        run = "".join(draw.choice("23456789") for _ in range(length - 1)) + "3"
        wide = run.translate({ord(digit): ord(digit) + 0xFEE0 for digit in "0123456789"})
        spelt = run.translate(str.maketrans("0123456789", "零幺二三四五六拐八勾"))
        for written in (run, wide, spelt):
            assert covered(f"这一串是{written}，请查", written)


def test_half_width_keeps_every_place() -> None:
    for text in ("ＱＱ：１２３４５６７８", "电话幺三八零零一三八零零零", "予蛋白质100一120克", "２６８２七个月"):
        assert len(half_width(text)) == len(text)
    assert half_width("予蛋白质100一120克") == "予蛋白质100一120克"
    assert half_width("号440606198107142682七个月").endswith("2682七个月")


def test_a_text_without_numbers_is_not_searched() -> None:
    assert not CHECK.search("孩子咳嗽三天，没有发烧，精神很好，要不要去医院？")
    assert CHECK.search("生日三月初五")
    assert CHECK.search("QQ 12345")


def test_check_digits() -> None:
    assert id_checksum("11010519491231002X")
    assert not id_checksum("110105194912310021")
    assert luhn("4111 1111 1111 1111")
    assert not luhn("4111 1111 1111 1112")
