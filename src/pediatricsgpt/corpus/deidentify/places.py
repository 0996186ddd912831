"""Where somebody lives, learns or lies in bed.

A hospital's name alone is no personal data when it is recommended (建议去北京儿童医院); it is when it places the
patient: with a ward or bed, or after 在/住/转到 and before 住院/就诊/出生 and the like. A province, city or district
without a street or village stays too.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from pediatricsgpt.corpus.deidentify.chains import _ADDRESS, _BED, chains, name_before
from pediatricsgpt.corpus.deidentify.chains import _SCHOOL as _SCHOOL_SEED
from pediatricsgpt.corpus.deidentify.starts import EVERY
from pediatricsgpt.corpus.rules import rules

Found = tuple[int, int, str]
_H = r"\u4e00-\u9fff"
_CN = "一二三四五六七八九十"
_NUMBERED = (
    rf"(?:附|甲|乙|丙|第)?[\dA-Za-z{_CN}甲乙丙丁]{{1,5}}(?:-\d+)*(?:号院|号楼|号附\d+号|弄|号|栋|幢|座|单元|期|室|房|户|组|队|社|层|楼|区|门(?!诊))"
    rf"|[A-Z]?\d{{3,4}}(?!\d|[岁天个次片粒毫克元例年多余米里平])|附\d+号|[A-Z]座"
)
_CLASS = (
    rf"(?:小学部|初中部|高中部)?(?:[大中小托][{_CN}\d]?班|[{_CN}\d]年级|[小初高大中][{_CN}\d])?"
    rf"(?:[{_CN}大中小]?\s?[（(]?[{_CN}\d]{{1,2}}[）)]?班)?"
)
_GRADE = rf"(?:[{_CN}]年级|[初高][{_CN}])\s?[（(]?[{_CN}\d]{{1,2}}[）)]?班"
_SCHOOL = re.compile(
    rf"(?P<stem>[{_H}\d]{{1,14}}?)(?P<kind>幼儿园|小学|中学(?![习到会着过])|附中|附小|(?:(?<=[省市县区镇])[{_CN}]中(?![度等心])|[{_CN}]中(?=[高初{_CN}\d]))|外国语学校|实验学校|学校|职高|托儿所|托育园|早教中心)"
    rf"(?P<class>{_CLASS})"
)
_FEW = re.compile(rf"外国语学校|实验学校|附中|附小|[{_CN}]中$")
_WARD = re.compile(
    rf"(?P<stem>(?:[{_H}]{{1,14}}(?:医院|保健院|卫生院|医学中心|中心|[一二三四五六]院|儿研所))?[{_H}\dA-Z 　]{{0,16}}?)"
    r"(?P<bed>(?:第|加|\+|[A-Z])?\s?\d{1,3}(?:-\d{1,2})?\s?号?床)(?![单垫上被位边旁头尾])"
)
_STAY = re.compile(
    rf"(?:在|住在|住进|转到|转入|转院到|收住|送到|去了|到了|去过|就诊于|出生于|住院于)(?P<x>[{_H}]{{2,14}}?(?:医院|保健院|卫生院))"
    rf"(?=[{_H}]{{0,4}}(?:住院|住了|就诊|就医|出生|生的|手术|做的|检查|查的|治疗|输液|确诊|看的|看过|抢救|分娩|剖))"
)

_BED_CHECK = re.compile(r"床(?<=[\d号\s]床)")
_NUMBERED_CHECK = re.compile(rf"[号弄栋幢座室组社楼队](?<=[\dA-Za-z{_CN}甲乙丙].)|单元")


def searched() -> list[re.Pattern[str]]:
    """The patterns whose bits `places` takes."""
    tables = _tables()
    return [
        tables.street,
        tables.numbers,
        tables.school_check,
        _BED_CHECK,
        _STAY,
        _ADDRESS,
        _SCHOOL_SEED,
        _BED,
        tables.residence_ends,
        *tables.residences,
    ]


def places(text: str, may: int = EVERY) -> Iterator[Found]:
    """(start, end, kind) of addresses, schools, beds and hospitals that place the patient.

    Args:
        text: the text.
        may: bits of those of `searched` that may match in it.
    """
    tables = _tables()
    if may & 3:
        yield from ((start, end, "address") for start, end in _addresses(text, tables))
    if may & 4 and tables.school_check.search(text):
        yield from _schools(text, tables)
    if may & 8 and _BED_CHECK.search(text):
        yield from _beds(text, tables)
    if may & 16:
        yield from _stays(text, tables)
    if may & 0xE0:
        yield from chains(text)
    if may >> 8:
        yield from _residences(text, may >> 8, tables)


def _residences(text: str, may: int, tables: _Tables) -> Iterator[Found]:
    """Residences and villages without a number, where nothing else can stand."""
    for match in tables.residence_ends.finditer(text) if may & 1 else ():
        start = name_before(text, match.start(), tables.address_cut)
        if match.start() - start >= 2 and not tables.residence_never.search(text[start : match.end()]):
            yield start, match.end(), "address"
    for bit, pattern in enumerate(tables.residences, 1):
        for match in pattern.finditer(text) if may >> bit & 1 else ():
            if not tables.residence_never.search(match["x"]):
                yield *match.span("x"), "address"


class _Tables:
    """Compiled patterns of `rules/deidentify_places.yaml`."""

    def __init__(self) -> None:
        content = rules("deidentify_places")
        heads = "|".join([*content["provinces"].split(), *content["cities"].split()])
        division = rf"(?:[{_H}]{{1,8}}?(?:省|自治区|自治州|地区|市|新区|区|县|旗|盟|州|园区))"
        road = rf"(?:[{_H}\d]{{1,9}}?(?:{content['thoroughfares']})(?:小区|社区|街道|新村|[村镇乡路街])?)"
        cross = rf"(?:与[{_H}]{{1,8}}?(?:路口|路|街|道))?(?:交叉口|交口|路口|对面|附近)?"
        dashed = r"\d{1,3}(?:-\d{1,4}){1,3}(?:号|室)?(?![\d天次岁个月])"
        # a residence by its name alone (香樟园, 绿城百合), told by the building behind it
        named = rf"[{_H}]{{2,8}}?(?=[A-Z]区|[A-Z]?\d{{1,3}}(?:期|号楼|号院|栋|幢|座|单元)|[{_CN}]期)"
        tail = rf"(?:[\s,，]?(?:{dashed}|{_NUMBERED})|{road}{cross}|[A-Z]区|{named})*"
        cues = "|".join(sorted(content["address_cues"].split(), key=len, reverse=True))
        self.headed = re.compile(
            rf"(?:{heads})(?:省|市|(?:壮族|回族|维吾尔)?自治区)?{division}{{0,4}}"
            rf"(?:{road}{cross}|{_NUMBERED}|{named}){tail}"
        )
        self.numbers = re.compile(content["number_check"])
        self.street = re.compile(content["street_check"])
        self.cued = re.compile(
            rf"(?P<cue>{cues})[：:是\s]*(?P<x>{division}{{0,3}}(?:{road}{cross}|{named})(?P<tail>{tail}))"
        )
        sure = "|".join(cue for cue in cues.split("|") if cue not in content["weak_address_cues"].split())
        self.surely_cued = re.compile(self.cued.pattern.replace(f"(?P<cue>{cues})", f"(?P<cue>{sure})"))
        self.generic_places = frozenset(content["generic_places"].split())
        self.lead = re.compile(f"[我们咱俺他她]*(?:去|{cues})")
        self.numbered = re.compile(rf"(?:^|(?<=[^{_H}]))(?P<x>{division}{{0,3}}{road}{cross}(?:{_NUMBERED}){tail})")
        self.placed = re.compile(rf"{dashed}|{_NUMBERED}|交叉口|交口|路口")
        self.weak_cues = frozenset(content["weak_address_cues"].split())
        self.school_check = re.compile(
            "幼儿园|小学|中学|中高|中初|中一|中二|中三|附中|附小|学校|年级|初一|初二|初三|高一|高二|高三|职高|托儿|托育"
        )
        self.grade = re.compile(_GRADE)
        self.school_cut = re.compile(f"(?:{content['school_cut']})")
        self.generic_schools = frozenset(content["generic_schools"].split())
        self.residences = [re.compile(expression) for expression in content["residences"]]
        self.residence_ends = re.compile(content["residence_ends"])
        self.address_cut = re.compile(content["chain_address_cut"])
        self.residence_never = re.compile(content["residence_never"])
        self.hospital_cut = re.compile(f"(?:{content['hospital_cut']})")
        self.hospital = re.compile(content["hospital_suffix"])
        self.generic_hospitals = frozenset(content["generic_hospitals"].split())


@functools.cache
def _tables() -> _Tables:
    return _Tables()


def _addresses(text: str, tables: _Tables) -> Iterator[tuple[int, int]]:
    if not tables.street.search(text) and not tables.numbers.search(text):
        return
    for match in tables.headed.finditer(text):
        if re.search(r"\d|[镇乡村庄屯街路巷弄苑园城里号]$", match.group()) and not match.group().endswith("农村"):
            yield match.span()
    numbered = _NUMBERED_CHECK.search(text) is not None or "路口" in text or "交叉口" in text or "-" in text
    for match in (tables.cued if numbered else tables.surely_cued).finditer(text):
        if match["x"] in tables.generic_places:
            continue
        if match["cue"] not in tables.weak_cues or tables.placed.search(match["x"]):
            yield match.span("x")
    if numbered:
        for match in tables.numbered.finditer(text):
            lead = tables.lead.match(text, match.start("x"))
            yield lead.end() if lead else match.start("x"), match.end("x")


def _schools(text: str, tables: _Tables) -> Iterator[Found]:
    for match in _SCHOOL.finditer(text):
        start = _after_last(tables.school_cut, text, match.start(), match.start("kind"))
        stem = text[start : match.start("kind")]
        named = len(stem) >= 2 and stem not in tables.generic_schools
        # 外国语学校初三8班, 县一中高二: the class makes one of few out of a kind of school
        named = named or bool(match["class"] and _FEW.search(match["kind"]) and stem not in tables.generic_schools)
        if named:
            yield start, match.end(), "school"
    for match in tables.grade.finditer(text):
        yield match.start(), match.end(), "school"


def _after_last(cut: re.Pattern[str], text: str, start: int, end: int) -> int:
    """Where a name begins: behind the last word between `start` and `end` that cannot be part of it."""
    for match in cut.finditer(text, start, end):
        start = match.end()
    return start


def _beds(text: str, tables: _Tables) -> Iterator[Found]:
    for match in _WARD.finditer(text):
        hospital = tables.hospital.search(text, match.start(), match.start("bed"))
        limit = hospital.start() if hospital else match.start("bed")
        start = _after_last(tables.hospital_cut, text, match.start(), limit)
        while text[start] in " 　":
            start += 1
        yield start, match.end(), "bed"


def _stays(text: str, tables: _Tables) -> Iterator[Found]:
    for match in _STAY.finditer(text):
        stem = re.sub(r"(?:医院|保健院|卫生院)$", "", match["x"])
        if stem not in tables.generic_hospitals and not tables.hospital_cut.search(stem):
            yield match.start("x"), match.end("x"), "hospital"
