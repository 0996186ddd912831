"""PDF files: tables stay tables, columns are read in order, and what cannot be read says why."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError
from tests.corpus.sources.pages import Page, grid, pdf

Read = Callable[..., Any]
Make = Callable[..., Path]
COLUMNS, ROWS = [60, 160, 300, 420], [170, 190, 210, 240]
CELLS = [["药物", "单次剂量", "间隔"], ["布洛芬", "5～10 mg/kg", "6～8 h"], ["对乙酰氨基酚", "10～15 mg/kg", "4～6 h"]]
TABLE = """| 药物 | 单次剂量 | 间隔 |
| --- | --- | --- |
| 布洛芬 | 5～10 mg/kg | 6～8 h |
| 对乙酰氨基酚 | 10～15 mg/kg（最大75 mg/kg/d） | 4～6 h |"""
BEFORE = "常用退热药的剂量见表1，按体重计算，每次剂量不超过成人剂量。"
AFTER = "表中间隔为最短间隔，应当注意不要过量使用药物。"
TEXTS = [
    (60, 100, "小儿退热药剂量"),
    (60, 130, "一、剂量"),
    (60, 150, BEFORE),
    *[(COLUMNS[c] + 4, ROWS[r] + 14, CELLS[r][c]) for r in range(3) for c in range(3)],
    (COLUMNS[1] + 4, ROWS[2] + 26, "（最大75 mg/kg/d）"),
    (60, 270, AFTER),
    (60, 290, "二、注意"),
    (60, 310, "肝功能不全者慎用。"),
]
OPEN = [(60, y, 420, y) for y in (170, 190, 260)]


@pytest.mark.parametrize(
    "page",
    [
        Page(TEXTS, grid(COLUMNS, ROWS)),
        Page(TEXTS, grid(COLUMNS, ROWS), rotate=90),
        Page(TEXTS, grid(COLUMNS, ROWS), shift=(0, -100)),
        Page(TEXTS, OPEN),
    ],
    ids=["ruled", "on its side", "box not at the origin", "three rules"],
)
def test_tables_stay_tables_in_their_place(read: Read, make: Make, page: Page) -> None:
    records, rejects = read(make("a.pdf", pdf(page)), "guideline")
    assert not rejects
    assert [(record.title, record.text) for record in records] == [
        (["小儿退热药剂量", "一、剂量"], f"{BEFORE}\n{TABLE}\n{AFTER}"),
        (["小儿退热药剂量", "二、注意"], "肝功能不全者慎用。"),
    ]


def test_a_frame_around_text_and_a_rule_under_a_head_make_no_table(read: Read, make: Make) -> None:
    framed = [(60, 100, "小儿发热诊疗指南"), (60, 130, "一、定义"), (70, 160, "体温超过38℃为发热。")]
    page = Page(framed, [*grid([60, 500], [145, 175]), (60, 60, 500, 60)])
    records, _ = read(make("a.pdf", pdf(page)), "guideline")
    assert [record.text for record in records] == ["体温超过38℃为发热。"]


LEFT = [
    "一、临床表现",
    "患儿多有发热和咳嗽，部分伴有喘息，应当密",
    "切观察病情变化并及时处理，体温超过三十八",
    "度五时可以使用退热药物，每次剂量按照体重",
    "计算，两次用药至少间隔六小时以上，不应当",
    "自行加量。",
]
RIGHT = [
    "对于反复发热的患儿要查找原因，并且按照病",
    "情复查血常规和炎症指标，必要时应当住院。",
    "二、流行病学",
    "流行病学资料显示学龄儿童的发病率最高，其",
    "次为学龄前儿童，冬春季节多见，集体机构中",
    "容易发生聚集性病例，应当及时报告有关机构。",
]


@pytest.mark.parametrize("by_column", [False, True])
def test_two_columns_are_read_one_after_the_other(read: Read, make: Make, by_column: bool) -> None:
    head = [(150.0, 60.0, "儿童呼吸道感染诊疗专家共识")]
    both = [(60.0, 100.0 + 16 * row, text) for row, text in enumerate(LEFT)]
    other = [(310.0, 100.0 + 16 * row, text) for row, text in enumerate(RIGHT)]
    rows = both + other if by_column else [text for pair in zip(both, other, strict=True) for text in pair]
    records, _ = read(make("a.pdf", pdf(Page(head + rows, size=11))), "textbook")
    assert [(record.title, record.text) for record in records] == [
        (["儿童呼吸道感染诊疗专家共识", "一、临床表现"], "".join(LEFT[1:]) + "\n" + "".join(RIGHT[:2])),
        (["儿童呼吸道感染诊疗专家共识", "二、流行病学"], "".join(RIGHT[3:])),
    ]


def test_short_entries_beside_each_other_are_no_columns_of_text(read: Read, make: Make) -> None:
    names = [(60, 100 + 16 * row, f"第{row}组") for row in range(8)]
    values = [(310, 100 + 16 * row, f"{row}0 mg") for row in range(8)]
    rows = [text for pair in zip(names, values, strict=True) for text in pair]
    records, _ = read(make("a.pdf", pdf(Page([(60, 60, "小儿剂量表"), *rows]))), "guideline")
    text = "".join(record.text for record in records).replace(" ", "").replace("\n", "")
    assert text.endswith("".join(f"第{row}组{row}0mg" for row in range(8)))


def test_a_cut_off_file_says_so(read: Read, make: Make) -> None:
    whole = pdf(Page(TEXTS), Page([(60, 100, "三、预后"), (60, 120, "预后良好，多数在一周以内痊愈，少数反复。")]))
    records, rejects = read(make("a.pdf", whole[: whole.rindex(b"startxref")]), "guideline")
    assert len(records) == 3
    assert [reject.reason.split(":")[0] for reject in rejects] == ["cut off"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pag", "damaged or cut off: no page can be read"),
        (pdf(), "the PDF has no pages"),
        (pdf(Page()), "no text on any of 1 pages; the first: empty page"),
        (b"PK\x03\x04 a document of another kind", "not a PDF file"),
    ],
)
def test_files_without_a_readable_page_are_errors(read: Read, make: Make, content: bytes, message: str) -> None:
    path = make("a.pdf", content)
    with pytest.raises(UserError, match=message) as error:
        read(path, "guideline")
    assert error.value.where == str(path)


def test_an_empty_page_among_others_is_a_reject(read: Read, make: Make) -> None:
    records, rejects = read(make("a.pdf", pdf(Page(TEXTS), Page())), "guideline")
    assert len(records) == 2
    assert [(reject.where, reject.reason) for reject in rejects] == [
        ("a.pdf, page 2", "empty page: nothing is printed on it")
    ]


def test_scans_are_refused_where_ocr_is_never(make: Make, tmp_path: Path) -> None:
    from pediatricsgpt.corpus.settings import SourceSettings
    from pediatricsgpt.corpus.sources import read_source

    def reading(data: bytes) -> Any:
        path = make("a.pdf", data)
        ground = {"licence": "CC0", "consent": "no personal data", "purpose": "testing"}
        settings = {"name": "a", "kind": "guideline", "path": path.name, "ocr": "never", **ground}
        return read_source(SourceSettings.model_validate(settings), tmp_path)

    picture = Page(rules=grid([60, 100], [60, 100]))  # drawn, but no text
    with pytest.raises(UserError, match="probably a scan; set ocr: auto"):
        list(reading(pdf(picture)))
    found = reading(pdf(Page(TEXTS), picture))
    assert [(reject.where, reject.reason.split(":")[0]) for reject in found.rejects] == [
        ("a.pdf, page 2", "page without a text layer")
    ]


def test_tables_of_a_file_that_pdfplumber_cannot_open_are_said_to_be_lines(
    read: Read, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pdfplumber

    def refuse(stream: io.BytesIO) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(pdfplumber, "open", refuse)
    records, rejects = read(make("a.pdf", pdf(Page(TEXTS, grid(COLUMNS, ROWS)))), "guideline")
    assert "5～10 mg/kg" in records[0].text
    assert [reject.reason.split(":")[0] for reject in rejects] == ["tables not looked for"]
