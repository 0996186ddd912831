"""The step puts the same surrogate for the same person, keeps medicine as it was, and can be undone with the key."""

from __future__ import annotations

import datetime
import json
import re
import stat
from pathlib import Path

import pytest

from pediatricsgpt.corpus.deidentify import EXEMPT_KIND_STEP, EXEMPT_STEP, STEP, Deidentifier, find, reidentify
from pediatricsgpt.corpus.deidentify.dates import dates, shifted
from pediatricsgpt.corpus.deidentify.key import sealed_file
from pediatricsgpt.corpus.deidentify.surrogates import Surrogates
from pediatricsgpt.corpus.settings import DeidentifySettings
from pediatricsgpt.corpus.sources.file import dialogue_group
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import content_id

TURNS = (
    "医生您好，我是高思远的妈妈李桂芳，孩子小名壮壮，2019年3月5日出生，就诊日期2022年4月20日，电话13812345678，"
    "体重15kg，发烧38.5℃三天，4月18日开始，没有咳嗽，住北京市海淀区中关村大街27号3单元501室",
    "高妈妈您好，壮壮可以吃美林，每次5ml，每日3次，不要用阿司匹林。王医生看过吗？4月25日复诊。",
    "高思远吃了，没有吐，王医生说没事",
    "好的，有事打13812345678或010-62345678",
)
SETTINGS = DeidentifySettings()


def said(record) -> str:
    return "\n".join(turn["content"] for turn in record.messages)


def test_nothing_personal_is_left(make) -> None:
    kept, rejects, counts = Deidentifier(SETTINGS, 17)([make.dialogue(*TURNS)])
    assert rejects == []
    text = said(kept[0])
    for secret in ("高思远", "李桂芳", "壮壮", "13812345678", "62345678", "中关村", "王医生", "高妈妈", "2019"):
        assert secret not in text
    assert counts["phone"] == 3
    assert counts["name"] == 6


def test_one_person_has_one_surrogate(make) -> None:
    text = said(Deidentifier(SETTINGS, 17)([make.dialogue(*TURNS)])[0][0])
    full = re.search(r"我是(..+?)的妈妈", text)[1]
    assert text.count(full) == 2
    assert text.split("\n")[1].startswith(f"{full[0]}妈妈您好")
    assert len(set(re.findall(r"(.)医生(?:看过|说没事)", text))) == 1
    assert text.count("[电话]") == 2
    assert text.count("[电话2]") == 1


def test_medicine_keeps_its_numbers_units_and_negations(make) -> None:
    text = said(Deidentifier(SETTINGS, 17)([make.dialogue(*TURNS)])[0][0])
    for fact in ("体重15kg", "发烧38.5℃三天", "没有咳嗽", "每次5ml，每日3次，不要用阿司匹林", "没有吐"):
        assert fact in text


def test_dates_of_a_patient_move_together(make) -> None:
    text = said(Deidentifier(SETTINGS, 17)([make.dialogue(*TURNS)])[0][0])
    visit, start, again = (date for date in dates(text) if not date.birth)
    year = visit.full.year
    days = [datetime.date(year, date.month, date.day) for date in (start, visit, again)]
    assert [(day - days[1]).days for day in days] == [-2, 0, 5]
    assert days[1] != datetime.date(2022, 4, 20)


def test_a_date_of_birth_becomes_an_age_in_months(make) -> None:
    text = said(Deidentifier(SETTINGS, 17)([make.dialogue(*TURNS)])[0][0])
    assert "（就诊时月龄37个月）出生" in text
    without_visit = said(Deidentifier(SETTINGS, 17)([make.dialogue("2019年3月5日出生", "好的，知道了。")])[0][0])
    assert re.match(r"20(18|19)年\d+月\d+日出生", without_visit)
    assert "2019年3月5日" not in without_visit


@pytest.mark.parametrize(
    "text", ["2023年12月30日", "2023-12-30", "2023/1/2", "2023年5月", "3月1日", "生日20190305", "19年3月5日"]
)
@pytest.mark.parametrize("days", [-400, -31, -1, 1, 59])
def test_shifting_back_gives_the_date_again(text: str, days: int) -> None:
    date = next(iter(dates(text)))
    moved = next(iter(dates(f"生日{shifted(date, days)}")))
    if date.full:
        assert (moved.full - date.full).days == days
        assert shifted(moved, -days) == date.text
    assert moved.text == shifted(date, days)


def test_all_shapes_and_titles(make) -> None:
    records = [
        make.section("患儿沈雨桐，电话13812345678。", "沈雨桐的病历", kind="text"),
        make.preference("我叫高思远", "高思远您好", "你好高思远"),
        make.dialogue("我叫高思远", "高思远您好"),
    ]
    kept, _, _ = Deidentifier(SETTINGS, 17)(records)
    whole = str([record.content() for record in kept])
    assert "沈雨桐" not in whole
    assert "高思远" not in whole
    assert [record.id for record in kept] == [content_id(record.content()) for record in kept]
    assert all(record.steps[-1].name == "deidentify" for record in kept)


def test_published_books_and_exempt_sources_stay_as_they_are_and_say_so(make) -> None:
    book = make.section("执笔：陈志敏", "诊疗规范", kind="guideline")
    dialogue = make.dialogue("我叫高思远", "高思远您好")
    settings = DeidentifySettings(exempt_sources=[dialogue.source.name])
    for record, how, step in ((book, SETTINGS, EXEMPT_KIND_STEP), (dialogue, settings, EXEMPT_STEP)):
        (kept,), rejects, counts = Deidentifier(how, 17)([record])
        assert kept.content() == record.content()
        assert kept.steps == [*record.steps, step]
        assert not rejects
        assert not counts
    other = DeidentifySettings(exempt_sources=["another"])
    assert Deidentifier(other, 17)([dialogue])[0][0].steps[-1] == STEP


def test_result_does_not_depend_on_batches_and_does_on_the_seed(make) -> None:
    records = [make.dialogue(f"我叫高思远，电话1381234567{n}，3月{n + 1}日发烧", "好的，多喝水。") for n in range(6)]
    whole = Deidentifier(SETTINGS, 17)(records)[0]
    single = [Deidentifier(SETTINGS, 17)([record])[0][0] for record in reversed(records)]
    assert whole == single[::-1]
    assert Deidentifier(SETTINGS, 18)(records)[0] != whole


def test_with_a_key_one_patient_has_one_shift_and_one_surrogate(make, tmp_path) -> None:
    said_of = {3: "发烧，我叫高思远", 4: "又咳嗽了两天，我叫高思远"}
    records = [make.dialogue(f"{n}月9日{text}", "好的，多喝水。", group="patient:1") for n, text in said_of.items()]
    keyed = DeidentifySettings(key_file=tmp_path / "key")
    first, second = (said(record) for record in Deidentifier(keyed, 17)(records)[0])
    assert first.split("我叫")[1] == second.split("我叫")[1]
    moved = [next(iter(dates(text))) for text in (first, second)]
    gap = datetime.date(2023, moved[1].month, moved[1].day) - datetime.date(2023, moved[0].month, moved[0].day)
    assert gap.days == 31


def test_two_persons_of_a_dialogue_never_share_a_surrogate() -> None:
    surrogates = Surrogates(b"secret", "group")
    surnames = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨"
    names = [find(f"我叫{surname}思远")[0] for surname in surnames]
    assert len({surrogates.replace(name) for name in names}) == len(names)
    assert all(surrogates.replace(name)[0] != name.text[0] for name in names)


def test_placeholders_on_request(make) -> None:
    settings = DeidentifySettings(surrogates="placeholder")
    text = said(Deidentifier(settings, 17)([make.dialogue("我叫高思远，小名壮壮", "高思远您好")])[0][0])
    assert text == "我叫[姓名]，小名[小名]\n[姓名]您好"


def test_off_means_off(make) -> None:
    record = make.dialogue(*TURNS)
    assert Deidentifier(DeidentifySettings(enabled=False), 17)([record])[0] == [record]


def test_the_key_turns_surrogates_back_also_after_later_steps(make, tmp_path: Path) -> None:
    settings = DeidentifySettings(key_file=tmp_path / "keys" / "key")
    settings.key_file.parent.mkdir()
    record = make.dialogue(*TURNS)
    kept, _, _ = Deidentifier(settings, 17, [tmp_path / "run"])([record])
    assert said(reidentify(kept, settings.key_file)[0]) == said(record)
    kept[0].messages[0]["content"] = kept[0].messages[0]["content"].removeprefix("医生您好，")
    assert said(reidentify(kept, settings.key_file)[0]) == said(record).removeprefix("医生您好，")


def test_key_and_seals_are_for_their_owner_alone(make, tmp_path: Path) -> None:
    settings = DeidentifySettings(key_file=tmp_path / "key")
    Deidentifier(settings, 17)([make.dialogue(*TURNS)])
    sealed = sealed_file(settings.key_file)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (settings.key_file, sealed)] == [0o600, 0o600]
    assert "高思远" not in sealed.read_text(encoding="utf-8")
    assert not {path.name for path in tmp_path.iterdir()} - {"key", "key.sealed.jsonl"}
    again = Deidentifier(settings, 99)([make.dialogue(*TURNS)])[0]
    assert again == Deidentifier(settings, 17)([make.dialogue(*TURNS)])[0]


@pytest.mark.parametrize("place", ["run/key", "run/deep/key"])
def test_a_key_inside_the_run_is_refused(tmp_path: Path, place: str) -> None:
    settings = DeidentifySettings(key_file=tmp_path / place)
    with pytest.raises(UserError, match="lies inside"):
        Deidentifier(settings, 17, [tmp_path / "run"])
    assert not settings.key_file.exists()


def test_bad_keys_are_refused(make, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("not a key")
    key.chmod(0o600)
    with pytest.raises(UserError, match="holds no key"):
        Deidentifier(DeidentifySettings(key_file=key), 17)
    key.unlink()
    Deidentifier(DeidentifySettings(key_file=key), 17)
    key.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        Deidentifier(DeidentifySettings(key_file=key), 17)
    with pytest.raises(UserError, match="no such key"):
        reidentify([], tmp_path / "none")
    with pytest.raises(UserError, match="cannot write"):
        Deidentifier(DeidentifySettings(key_file=tmp_path / "no" / "folder"), 17)


def test_another_key_opens_nothing(make, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    record = make.dialogue(*TURNS)
    for key in (first, second):
        kept, _, _ = Deidentifier(DeidentifySettings(key_file=key), 17)([record])
    sealed_file(second).write_bytes(sealed_file(first).read_bytes())
    with pytest.raises(UserError, match="not sealed by the key"):
        reidentify(kept, second)


def test_processes_that_make_the_key_at_once_agree(make, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    settings = DeidentifySettings(key_file=tmp_path / "key")
    record = make.dialogue(*TURNS)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: Deidentifier(settings, 17)([record])[0], range(8)))
    assert all(result == results[0] for result in results)
    assert said(reidentify(results[0], settings.key_file)[0]) == said(record)


def test_headings_and_files_that_name_somebody_do_so_nowhere(make) -> None:
    record = make.section(
        "发热3天，咳嗽有痰。", "患儿李梓涵的病历", "患儿李梓涵，主诉", kind="text", group="document:患儿李梓涵的病历"
    )
    record.source.locator.section = "患儿李梓涵，主诉 (line 3)"
    other = make.section("体温38.5度。", "患儿李梓涵的病历", "查体", kind="text", group="document:患儿李梓涵的病历")
    (changed, beside), _, _ = Deidentifier(SETTINGS, 17)([record, other])
    whole = json.dumps(changed.as_dict(), ensure_ascii=False)
    assert "李梓涵" not in whole
    assert changed.source.locator.section == f"{changed.title[1]} (line 3)"
    assert changed.group == beside.group
    assert changed.group.startswith("document:")
    assert changed.source.file == beside.source.file
    assert changed.source.file.endswith(".json")
    assert record.source.locator.section == "患儿李梓涵，主诉 (line 3)"


def test_without_a_key_nothing_confirms_who_guesses_a_name(make) -> None:
    """What is published is the same whatever the name was: no hash of it, keyed with the recipe's seed, is in it."""
    published = []
    for name in ("王小明", "李大山"):
        record = make.dialogue(f"我叫{name}，孩子发烧三天了怎么办？", f"{name}您好，多喝水。")
        record.group = dialogue_group(record.messages)
        (changed,), _, _ = Deidentifier(SETTINGS, 17)([record])
        published.append(changed.as_dict())
    assert published[0] == published[1]


def test_a_department_that_names_somebody_does_so_nowhere(make) -> None:
    record = make.dialogue("孩子咳嗽", "多喝水。", department="王小明 13812345678")
    (changed,), _, _ = Deidentifier(SETTINGS, 17)([record])
    assert "王小明" not in changed.department
    assert "13812345678" not in changed.department
