"""The drug lexicon: brands stand for generics, common words are not drugs, and what safety rules name is known."""

from __future__ import annotations

import pytest

from pediatricsgpt.facts import extract, generic, ingredients
from pediatricsgpt.facts.data import load

# The drugs that the cautions for children name.
SAFETY_RULES = """
可待因 尼美舒利 阿司匹林 赖氨匹林 左氧氟沙星 环丙沙星 诺氟沙星 四环素 多西环素
米诺环素 庆大霉素 阿米卡星 链霉素 氯霉素 复方磺胺甲噁唑 磺胺嘧啶 头孢曲松
葡萄糖酸钙 金刚烷胺 优卡丹 好娃娃 小儿氨酚烷胺 小儿氨酚黄那敏 柴胡注射液
双黄连注射液 丹参注射液 参麦注射液 生脉注射液 祖师麻注射液 对乙酰氨基酚 布洛芬
异丙嗪 甲氧氯普胺 洛哌丁胺 曲马多 右美沙芬 利巴韦林 伯氨喹 呋喃妥因 拉布立酶
珍珠末 川连
"""


@pytest.mark.parametrize(
    ("brand", "name"),
    [
        ("美林", "布洛芬"),
        ("布洛芬混悬液", "布洛芬"),
        ("泰诺林", "对乙酰氨基酚"),
        ("扑热息痛", "对乙酰氨基酚"),
        ("优卡丹", "小儿氨酚烷胺"),
        ("好娃娃", "小儿氨酚烷胺"),
        ("妈咪爱", "枯草杆菌二联活菌"),
        ("思密达", "蒙脱石"),
        ("蒙脱石散", "蒙脱石"),
        ("盐酸氨溴索口服溶液", "氨溴索"),
        ("维生素B12", "维生素B12"),
        ("VitB6", "维生素B6"),
        ("六味地黄胶囊", "六味地黄"),
        ("六味地黄丸", "六味地黄"),
    ],
)
def test_a_brand_stands_for_its_generic(brand: str, name: str) -> None:
    assert generic(brand) == name
    (fact,) = [fact for fact in extract(f"可以用{brand}。") if fact.kind == "drug"]
    assert (fact.text, fact.name) == (brand, name)


def test_every_drug_that_safety_rules_name_is_known() -> None:
    missing = [
        drug for drug in SAFETY_RULES.split() if not any(fact.kind == "drug" for fact in extract(f"服用{drug}。"))
    ]
    assert missing == []


def test_there_are_four_hundred_generics_and_each_is_found() -> None:
    lists = load("drugs")
    assert len(lists["generics"]) >= 400
    common = set(lists["contextual"])
    lost = [
        (spelling, name)
        for key in ("generics", "products")
        for name, spellings in lists[key].items()
        for spelling in (name, *spellings)
        if spelling not in common and generic(spelling) is None
    ]
    assert lost == []


def test_no_spelling_stands_for_two_generics() -> None:
    seen: dict[str, str] = {}
    for key in ("generics", "products"):
        for name, spellings in load("drugs")[key].items():
            for spelling in {name, *spellings}:
                assert seen.setdefault(spelling.lower(), name) == name, spelling


def test_the_same_substance_is_seen_in_two_products() -> None:
    names = [fact.name for fact in extract("吃了优卡丹，又吃泰诺林") if fact.kind == "drug"]
    assert "对乙酰氨基酚" in set(ingredients(names[0])) & set(ingredients(names[1]))


def test_common_words_are_drugs_only_in_context() -> None:
    assert [fact.name for fact in extract("5%葡萄糖250ml") if fact.kind == "drug"] == ["葡萄糖"]
    assert not [fact for fact in extract("葡萄糖偏高，吃了菊花和山药") if fact.kind == "drug"]
    assert [fact.name for fact in extract("菊花10g，薄荷（后下）6g") if fact.kind == "drug"] == ["菊花", "薄荷"]


def test_vaccines_are_apart_from_drugs() -> None:
    (fact,) = extract("打了乙型肝炎疫苗")
    assert (fact.kind, fact.name) == ("vaccine", "乙肝疫苗")


def test_letters_are_names_only_as_whole_words() -> None:
    assert not [fact for fact in extract("VCR方案，STAT1，IVIGs") if fact.kind == "drug"]
