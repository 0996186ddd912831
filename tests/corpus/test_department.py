"""Departments have one name, whatever a source calls them."""

from __future__ import annotations

import pytest

from pediatricsgpt.corpus import department
from pediatricsgpt.corpus.rules import rules


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("儿科/小儿内科", "儿科"),
        ("儿科/新生儿", "新生儿科"),
        ("儿科/小儿外科", "小儿外科"),
        ("心血管科", "心血管内科"),
        ("外科/骨科", "骨科"),
        ("外科/没有听过的科", "外科"),
        ("肝病科", "感染科"),
        ("皮肤性病科", "皮肤科"),
        ("nan", "unknown"),
        ("unknown", "unknown"),
        ("", "unknown"),
    ],
)
def test_labels_of_sources_become_canonical(label: str, name: str) -> None:
    assert department.canonical(label) == name


def test_canonical_names_stay_what_they_are() -> None:
    assert all(department.canonical(name) == name for name in rules("departments"))


def test_no_alias_means_two_departments() -> None:
    aliases = [alias for entry in rules("departments").values() for alias in entry["aliases"]]
    assert len(aliases) == len(set(aliases))


def test_no_word_means_two_departments() -> None:
    words = [word for entry in rules("departments").values() for word in entry["words"]]
    assert len(words) == len(set(words))


def test_inference_counts_words_and_of_equals_takes_the_one_named_first() -> None:
    assert department.inferred("白内障手术后视力没有恢复，咳嗽") == "眼科"
    assert department.inferred("咳嗽，眼睛干") == "呼吸内科"
    assert department.inferred("眼睛干，咳嗽") == "眼科"
    assert department.inferred("最近总觉得不舒服") == "unknown"
    assert department.inferred("孩子感冒了") == "unknown"


def test_of_words_that_begin_alike_the_longer_one_counts() -> None:
    assert department.inferred("肾结石") == "泌尿外科"
    assert department.inferred("肾病综合征") == "肾内科"
    assert department.inferred("肺癌") == "呼吸内科"
