"""The page itself: its policy, its data, its colours, and what it does in a browser."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.evaluation.compare import MODELS
from pediatricsgpt.evaluation.compare.differences import differences
from pediatricsgpt.evaluation.compare.questions import Question, Questions, questions_of_run
from pediatricsgpt.evaluation.report import write_report
from pediatricsgpt.evaluation.report.explorer import explorer
from pediatricsgpt.evaluation.report.page import policy
from pediatricsgpt.evaluation.report.side_by_side import write_side_by_side

from .conftest import SmallRun
from .page import Page, report, words

ATTACK = "</script><!--<script><img src=x onerror=alert(1)>\u2028"
STYLE = Path(__file__).parents[2] / "src/pediatricsgpt/evaluation/report/style.css"


def hash_of(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def question(number: int, answer: str = "多喝水", **changes: Any) -> Question:
    asked = ({"role": "user", "content": f"第{number}个问题？"},)
    made = Question(f"q{number}", "cmd", "medkqa", "儿科", "infant", asked, "请就医", {"a": answer, "b": "请就医"})
    return dataclasses.replace(made, **changes)


def test_the_policy_allows_this_style_and_this_script_and_no_address(measured: SmallRun) -> None:
    page = report(measured)
    (code,) = [code for given, code in page.scripts if not given]
    rules = dict(rule.strip().split(" ", 1) for rule in page.policy.split(";"))
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'{hash_of(code)}'",
        "style-src": f"'{hash_of(page.style)}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert policy("a", "b") != policy("a", "c")


def test_the_page_carries_every_question_with_every_answer_and_nothing_changed(measured: SmallRun) -> None:
    data = report(measured).data()
    questions = questions_of_run(measured.folder, MODELS)
    assert [item["i"] for item in data["items"]] == [item.id for item in questions.items]
    for shown, item in zip(data["items"], questions.items, strict=True):
        assert shown["r"] == item.reference
        assert [text for _, text, _ in shown["m"]] == [turn["content"] for turn in item.messages]
        assert shown["p"] == [item.answers.get(model) for model in questions.models]


def test_single_scores_stand_beside_the_answers_that_have_them(measured: SmallRun) -> None:
    data = report(measured).data()
    rows = (measured.folder / "evaluation/benchmarks/cmd/gpt-4/item_scores.jsonl").read_text("utf-8").splitlines()
    expected = {row["id"]: round(100 * row["rouge-l"], 2) for row in map(json.loads, rows)}
    place = data["models"].index("gpt-4")
    assert {item["i"]: item["s"][place] for item in data["items"] if item["b"] == "cmd"} == expected


def test_nothing_in_the_data_can_end_the_script_or_begin_another() -> None:
    found = explorer(Questions("t", ["a", ATTACK], [question(1, ATTACK, id=ATTACK, reference=ATTACK, task=ATTACK)]))
    assert found is not None
    assert not set("<>&\u2028\u2029") & set(found.data)
    item = json.loads(found.data)["items"][0]
    assert (item["i"], item["r"], item["p"][0]) == (ATTACK, ATTACK, ATTACK)


def test_a_report_has_a_bounded_size_and_says_how_many_are_left_out() -> None:
    items = [question(number, "长" * 400, benchmark="ab"[number % 2]) for number in range(40)]
    found = explorer(Questions("t", ["a", "b"], items), limit=6000)
    assert found is not None
    data = json.loads(found.data)
    assert 0 < len(data["items"]) == found.items < 40
    assert data["left"] == found.left_out == 40 - found.items
    assert len(found.data) < 7000
    shares = [sum(item["b"] == name for item in data["items"]) for name in "ab"]
    assert abs(shares[0] - shares[1]) <= 1
    assert [item["i"] for item in data["items"]] == [f"q{number}" for number in range(found.items)]
    assert len(json.loads(explorer(Questions("t", ["a", "b"], items), limit=None).data)["items"]) == 40  # type: ignore[union-attr]


def test_without_scripts_the_first_questions_can_be_read(measured: SmallRun) -> None:
    html = write_report(measured.folder).read_text("utf-8")
    plain = html.split('class="without-script"')[1].split("<script")[0]
    for task in ("MedKQ&amp;A", "EviDiag", "TreRecom", "CMD"):
        assert task in plain
    assert plain.count('<details class="item" open>') == 2 * 4
    assert 'id="x-explorer" hidden' in html


def test_side_by_side_holds_all_and_is_written_the_same_way_twice(tmp_path: Path) -> None:
    questions = Questions("a · b", ["a", "b"], [question(number, ATTACK) for number in range(30)], left_out=3)
    path = write_side_by_side(questions, tmp_path / "compare.html")
    first = path.read_bytes()
    page = Page(first.decode("utf-8"))
    assert page.open == []
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert len(page.data()["items"]) == 30
    assert "30 questions, 2 models: a, b. 3 questions that not every file holds are left out" in words(page.text)
    assert write_side_by_side(questions, path).read_bytes() == first


def test_every_table_has_headings_and_every_drawing_a_text(measured: SmallRun) -> None:
    html = write_report(measured.folder).read_text("utf-8")
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        rows = re.findall(r"<tr[^>]*>\s*(<t[hd])", table)
        assert "<thead><tr><th" in table or set(rows) == {"<th"}
    for drawing in re.findall(r"<svg[^>]*>", html):
        assert 'role="img" aria-label="' in drawing or 'aria-hidden="true"' in drawing


def colours(scheme: str) -> dict[str, str]:
    blocks = STYLE.read_text("utf-8").split("@media screen and (prefers-color-scheme: dark)")
    block = blocks[0] if scheme == "light" else blocks[1].split("* {")[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2: 1 of equal colours, 21 of black and white."""

    def light(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_drawings_can_be_read_on_their_grounds(scheme: str) -> None:
    found = colours(scheme)
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ground in ("page", "panel"):
        for text in ("text", "muted", "one", "good", "bad", "note"):
            assert contrast(found[text], found[ground]) >= 4.5, (text, ground)
    assert contrast(found["text"], found["mark"]) >= 4.5
    assert contrast(found["text"], found["note-panel"]) >= 4.5
    for drawn in ("one", "two", "three", "four"):
        assert contrast(found[drawn], found["page"]) >= 3, drawn
    assert contrast(found["one"], found["tie"]) >= 2  # wins beside ties; losses are hatched


@pytest.fixture
def browser() -> Iterator[Any]:
    """Debian's own browser: the page must open where nothing is installed for it."""
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium")
    assert executable, "needs chromium: apt-get install chromium"
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield opened
        opened.close()


class Watched:
    """A page in the browser that keeps what it says and asks for."""

    def __init__(
        self, browser: Any, path: Path, width: int = 1280, scheme: str = "light", scripts: bool = True
    ) -> None:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
        )
        self.page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def quiet(self) -> bool:
        """Whether it said nothing and asked nobody."""
        return self.said == [] and all(url.startswith(("file:", "data:")) for url in self.asked)

    def wait(self, condition: str) -> None:
        """Until a condition holds; the page's policy forbids Playwright's own way, which evaluates text."""
        for _ in range(200):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(condition)

    def counted(self) -> list[int]:
        """Questions shown, fitting and in the file, as the page says."""
        return [int(number) for number in re.findall(r"\d+", self.page.inner_text("#x-count"))[:3]]


@pytest.mark.check
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_everything_that_was_measured(
    measured: SmallRun, browser: Any, width: int, scheme: str
) -> None:
    seen = Watched(browser, write_report(measured.folder), width, scheme)
    seen.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert seen.quiet(), (seen.said, seen.asked)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 26)")
    hidden = seen.page.locator("svg:not(.defs)").all()
    assert len(hidden) > 40
    assert [one.get_attribute("aria-label") for one in hidden if not one.is_visible()] == []


@pytest.mark.check
def test_filters_search_and_models_choose_what_is_shown(measured: SmallRun, browser: Any) -> None:
    seen = Watched(browser, write_report(measured.folder))
    page, data = seen.page, report(measured).data()
    assert not page.locator(".without-script").first.is_visible()
    assert seen.counted() == [20, len(data["items"]), len(data["items"])]
    page.click("#x-more")
    assert seen.counted()[0] == 40
    page.select_option("#x-benchmark", "=cmd")
    assert seen.counted()[1] == 24
    page.select_option("#x-department", "=儿科")
    assert seen.counted()[1] == 6
    page.fill("#x-search", "第4天")
    seen.wait("document.querySelector('#x-count').textContent.includes('of 1 ')")
    assert page.locator("#x-items details").count() == 1
    headings = page.locator("#x-items h4").all_inner_texts()
    assert [text.split(" · ")[0] for text in headings] == ["reference 参考回答", "base", "experts", "gpt-4", "huatuo"]
    page.uncheck("#x-models label:has-text('huatuo') input")
    assert page.locator("#x-items h4").count() == 4
    page.fill("#x-search", "没有这句话")
    seen.wait("document.querySelector('#x-items').children.length === 0")
    assert seen.quiet(), seen.said


@pytest.mark.check
def test_filters_work_by_keyboard_alone(measured: SmallRun, browser: Any) -> None:
    seen = Watched(browser, write_report(measured.folder))
    page = seen.page
    page.focus("#x-search")
    page.keyboard.type("宝宝咳嗽第1天")
    page.keyboard.press("Enter")
    seen.wait("document.querySelector('#x-count').textContent.includes('of 1 ')")
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"x-benchmark", "x-department", "x-against", "INPUT", "SUMMARY"} <= reached


@pytest.mark.check
def test_items_are_sorted_by_the_lowest_score_of_a_model(measured: SmallRun, browser: Any) -> None:
    page = Watched(browser, write_report(measured.folder)).page
    page.select_option("#x-order", label="lowest ROUGE-L of huatuo")
    shown = [heading for heading in page.locator("#x-items h4").all_inner_texts() if heading.startswith("huatuo")]
    data = report(measured).data()
    place = data["models"].index("huatuo")
    lowest = sorted(item["s"][place] for item in data["items"] if "s" in item)[:2]
    assert [float(text.split("ROUGE-L ")[1]) for text in shown] == pytest.approx(lowest, abs=0.051)


@pytest.mark.check
def test_the_page_marks_the_same_differences_as_python(tmp_path: Path, browser: Any) -> None:
    answers = [
        "体温39.5度，建议及时就医。",
        "请就医",
        "",
        "请",
        ATTACK,
        "😀请就医😀 take 5ml",
        "发热三天\n\n请就医！",
        "医就请" * 50,
    ]
    reference = "体温38.5度，建议尽快就医，请就医。take 15ml 😀"
    items = [question(number, answer, reference=reference) for number, answer in enumerate(answers)]
    seen = Watched(browser, write_side_by_side(Questions("t", ["a", "b"], items), tmp_path / "c.html"))
    seen.page.select_option("#x-against", "reference")
    seen.page.evaluate("document.querySelectorAll('#x-items details').forEach(one => { one.open = true })")
    seen.wait(f"document.querySelectorAll('#x-items h4').length === {3 * len(answers)}")
    shown = seen.page.evaluate(
        "[...document.querySelectorAll('#x-items .answers')]"
        ".map(one => [...one.children[1].querySelector('p').childNodes]"
        ".map(node => [node.textContent, node.nodeName === 'MARK']))"
    )
    for answer, found in zip(answers, shown, strict=True):
        expected = [list(part) for part in differences(answer, reference)] or [["(empty answer)", False]]
        assert found == expected
    assert seen.quiet(), seen.said


@pytest.mark.check
def test_a_page_without_scripts_shows_the_first_questions(measured: SmallRun, browser: Any) -> None:
    seen = Watched(browser, write_report(measured.folder), scripts=False)
    assert seen.page.locator(".without-script details").first.is_visible()
    assert not seen.page.locator("#x-explorer").is_visible()


@pytest.mark.check
def test_data_can_be_downloaded_under_its_name(measured: SmallRun, browser: Any) -> None:
    seen = Watched(browser, write_report(measured.folder))
    with seen.page.expect_download() as waiting:
        seen.page.click("a[download='cmd-scores.csv']")
    assert waiting.value.suggested_filename == "cmd-scores.csv"
    text = Path(waiting.value.path()).read_text("utf-8-sig")
    assert text.splitlines()[0].startswith("model,answers,n,empty")


@pytest.mark.check
def test_the_report_prints_without_filters_and_with_its_tables_whole(
    measured: SmallRun, browser: Any, tmp_path: Path
) -> None:
    import pypdfium2

    seen = Watched(browser, write_report(measured.folder))
    seen.page.emulate_media(media="print")
    assert not seen.page.locator(".filters").is_visible()
    path = tmp_path / "report.pdf"
    seen.page.pdf(path=str(path), format="A4")
    with pypdfium2.PdfDocument(path) as document:
        text = "".join(page.get_textpage().get_text_range() for page in document)
    for said in ("ROUGE-L", "Distinct-2", "p (Holm)", "asks 询问", "lower bound of kappa"):
        assert said in text
