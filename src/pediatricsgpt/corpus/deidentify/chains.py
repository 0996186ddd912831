"""Addresses, schools and hospital stays by their structure: an anchor is found, then its name by walking back.

An anchor is what only a place of one person has: a building and flat, a class, a bed. The name before it ends at the
last word that cannot be part of it, or at a punctuation mark, so that no list of names is needed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from pediatricsgpt.corpus.deidentify.windows import windows
from pediatricsgpt.corpus.rules import rules

Found = tuple[int, int, str]
_NAME = re.compile(r"[\u4e00-\u9fffA-Za-z\d·\-]*$")
_NUMBERED_WARD = re.compile(
    r"[一二三四五六七八九十\d]\s?病[区房]$|[内外儿][一二三四五六\d]科$|[一二三四五六七八九十\d]\s?[楼层](?:[NPE]?ICU|[\u4e00-\u9fff]{0,6}科)$"
)
_LONGEST = 32
_CN = "一二三四五六七八九十"
_H = "\u4e00-\u9fff"
# A village's group or house number behind its name: 张集镇后刘营三组
_DIGIT = rf"[\d{_CN}]"
_VILLAGE = "|".join(f"(?<=[镇乡]{'.' * name}{_DIGIT * size}[组队社号])" for name in range(2, 6) for size in range(1, 4))
# Where an address, a school or a ward may stand; each begins with one set of characters, which makes them quick.
_ADDRESS = re.compile(
    rf"[栋幢弄座楼院号元组队社村屯庄寨口期区舍园寓苑府庭郡\-](?:(?<=[\dA-Za-z\s{_CN}甲乙丙丁][栋幢弄座号])|(?<=[村庄屯镇乡寨沟场会第][\d{_CN}][组队社])|(?<=[村庄屯镇乡寨沟场会第][\d{_CN}][\d{_CN}][组队社])"
    rf"|{_VILLAGE}|(?<=[城园苑府庭郡湾里居邸场][\d{_CN}A-Z][期区])|(?<=\d号[楼院])|(?<=号楼)"
    rf"|(?<=单元)|(?:(?<=[{_H}]\d-)|(?<=[{_H}]\d\d-))(?=\d{{1,2}}-\d|\d{{3}})|(?<=[路街道巷]\d-)|(?<=[路街道巷]\d\d-)|(?<=[路街道巷]\d{{3}}-)|(?<=[路街道巷]\d{{4}}-)|(?<=[叉交路汇处]口)"
    rf"|(?<=小区)|(?<=花园)|(?<=家园)|(?<=公寓)|(?<=属院)|(?<=宿舍)|(?<=新村)|(?<=[^家法政天][苑庭郡府])"
    rf"|(?<=[镇乡]..[村屯庄寨])|(?<=[镇乡]...[村屯庄寨])|(?<=[镇乡]....[村屯庄寨])|(?<=[镇乡].....[村屯庄寨])|(?<=[镇乡]......[村屯庄寨]))"
)
_SCHOOL = re.compile(
    rf"[班园学校教双中小幼托完亲蒙语实](?:(?<=[\d{_CN}）)前大中小班托]班)|(?<=[儿稚]园)|(?<=[小中]学)|(?<=学校)|(?<=心校)|(?<=[附验\d{_CN}][中小])(?![时便儿部块段])"
    rf"|(?<=[{_CN}\d]幼)|(?<=托)[班管育]|(?<=完)小|(?<=亲)子[园班]|(?<=蒙)台|(?<=双)语|(?<=早教)|(?<=特教)|(?<=外国语)|(?<=实)验[高初中小])"
)
_W = rf"[{_H}\dA-Z：: ]{{1,24}}?(?:科|病|ICU|室|仓|舱)"
_A = r"的?(?:住院|住着|住了|病房|收住|患儿|患者|病人|家属|出来|出院|今天能|护士|管床|主治|\d+床)|[，,]?医嘱"
_BEHIND_WARD = "住院|住着|住了|病房|收住|患儿|患者|病人|家属|出来|出院|今天能|护士|管床|主治"
_BED = re.compile(
    rf"[加床科区房箱仓舱U收转住入现院幼从](?:(?<=[\d{_CN}号加]床)|(?<=[科区房])加\d|(?<=床)[位号：:]|(?<=科)\s?(?:第?[{_CN}\dA-Z东西南北]{{1,2}}\s?[病区楼层组部]|[{_CN}\d]{{1,3}}号?床|的?(?:{_BEHIND_WARD})|[，,]?医嘱)"
    rf"|(?<=[{_CN}\dA-Z]病[区房])|(?<=[移流][植])|(?<=[温暖\d号]箱)|(?<=移植[仓舱])|(?<=层流[仓舱室])|(?<=ICU)"
    rf"|(?<=[收转住入])(?:[入住在至到进]|治于?|院[:：在于]){_W}|(?<=现)住{_W}|(?<=住){_W}|(?<=[院幼])[{_H}]{{1,10}}(?:科|病房|病区|仓|舱)(?={_A})|(?<=从)[{_H}]{{2,12}}院[{_H}]{{1,8}}科)"
)


def chains(text: str) -> Iterator[Found]:
    """(start, end, kind) of addresses, schools and beds that their structure gives away."""
    tables = _tables()
    for start, end in windows(_ADDRESS, text, _LONGEST, 32):
        yield from _addresses(text, start, end, tables)
    for start, end in windows(_SCHOOL, text, _LONGEST, 24):
        yield from _schools(text, start, end, tables)
    for start, end in windows(_BED, text, _LONGEST, 24):
        yield from _beds(text, start, end, tables)


class _Tables:
    """Compiled patterns of the structural part of `rules/deidentify_places.yaml`."""

    def __init__(self) -> None:
        content = rules("deidentify_places")
        heads = "|".join([*content["provinces"].split(), *content["cities"].split()])
        self.head = re.compile(f"(?:{heads})(?=[\u4e00-\u9fff])")
        self.address = re.compile(f"(?:{content['chain_address']})(?:{content['chain_address_tail']})*")
        self.flat = re.compile(r"(?:楼|栋|幢|单元|座|弄)\s?\d")
        self.residence = re.compile(content["chain_residence"])
        self.generic_residence = re.compile(content["chain_generic_residence"])
        self.address_cut = re.compile(content["chain_address_cut"])
        self.school = re.compile(f"(?P<kind>{content['chain_school']})(?P<class>{content['chain_class']})?")
        self.strong = re.compile(content["chain_school_strong"])
        self.few = re.compile(content["chain_school_weak"])
        self.lesson_before = re.compile(f"(?:{content['chain_school_before']})$")
        self.lesson_after = re.compile(content["chain_school_after"])
        self.single_class = re.compile(content["chain_class_alone"])
        self.school_cut = re.compile(f"(?:{content['school_cut']}|{content['chain_school_cut']})")
        self.generic_schools = frozenset(content["generic_schools"].split())
        self.bed = re.compile(content["chain_bed"])
        self.ward = re.compile(content["chain_ward"])
        self.bed_cut = re.compile(f"(?:{content['hospital_cut']}|{content['chain_bed_cut']})")
        self.hospital = re.compile(content["chain_hospital"])
        self.vague = re.compile(content["chain_vague_hospital"])
        self.stay_before = re.compile(f"(?:{content['chain_stay_before']})$")
        self.stay_after = re.compile(content["chain_stay_after"])
        self.generic_hospitals = frozenset(content["generic_hospitals"].split())


@functools.cache
def _tables() -> _Tables:
    return _Tables()


def name_before(text: str, at: int, cut: re.Pattern[str], limit: int | None = None) -> int:
    """Where the name that ends at `at` begins; no cut is looked for behind `limit`."""
    from_ = max(0, at - _LONGEST)
    run = _NAME.search(text[from_:at])
    start = from_ + run.start() if run else at
    for match in cut.finditer(text, start, at if limit is None else limit):
        start = match.end()
    return start


def _addresses(text: str, at: int, to: int, tables: _Tables) -> Iterator[Found]:
    for match in tables.address.finditer(text, at, to):
        start = name_before(text, match.start(), tables.address_cut)
        head = tables.head.search(text, max(0, match.start() - _LONGEST), match.start())
        if head and not re.search(r"[^\u4e00-\u9fffA-Za-z\d\-]", text[head.start() : match.start()]):
            start = min(start, head.start())
        # without a name, a building and a flat together are enough (家住15号楼2单元501)
        if match.start() - start >= 2 or (len(match.group()) >= 5 and tables.flat.search(match.group())):
            yield start, match.end(), "address"
    for match in tables.residence.finditer(text, at, to):
        if not tables.generic_residence.search(match["x"]):
            yield *match.span("x"), "address"


def _schools(text: str, at: int, to: int, tables: _Tables) -> Iterator[Found]:
    for match in tables.school.finditer(text, at, to):
        start = name_before(text, match.start(), tables.school_cut)
        stem = text[start : match.start()]
        if stem in tables.generic_schools and not tables.few.fullmatch(match["kind"]):
            continue
        # a year alone (小学五年级) is no class
        if (
            (match["class"] and (stem or "班" in match["class"]))
            or (stem and tables.strong.fullmatch(match["kind"]))
            or (
                tables.few.fullmatch(match["kind"])
                and (stem or re.search(r"[一二三四五六七八九十\d]", match["kind"]))
                and (tables.lesson_before.search(text[:start]) or tables.lesson_after.match(text, match.end()))
            )
        ):
            yield start, match.end(), "school"
    for match in tables.single_class.finditer(text, at, to):
        yield *match.span(), "school"


def _beds(text: str, at: int, to: int, tables: _Tables) -> Iterator[Found]:
    for match in tables.bed.finditer(text, at, to):
        yield _ward_start(text, match.start(), tables), match.end(), "bed"
    for match in tables.ward.finditer(text, at, to):
        start = _ward_start(text, match.start(), tables)
        named = tables.hospital.search(text, start, match.end())
        if named and _is_generic(text[start : named.start()], tables):
            named = None
        placed = tables.stay_before.search(text[max(0, start - 8) : start]) or tables.stay_after.match(
            text, match.end()
        )
        numbered = _NUMBERED_WARD.search(text[start : match.end()])
        if (named and (match["number"] or numbered or placed)) or (placed and (match["number"] or numbered)):
            yield start, match.end(), "bed"


def _is_generic(stem: str, tables: _Tables) -> bool:
    """Whether a hospital's name before 医院 names none: 正规三甲医院."""
    return not stem or stem in tables.generic_hospitals or tables.vague.search(stem) is not None


def _ward_start(text: str, at: int, tables: _Tables) -> int:
    """Where hospital and department before a ward or bed begin."""
    named = max(tables.hospital.finditer(text, max(0, at - _LONGEST), at), key=re.Match.start, default=None)
    clean = named and not re.search(r"[^\u4e00-\u9fffA-Za-z\d\-]", text[named.start() : at])
    return name_before(text, at, tables.bed_cut, named.start() if named and clean else None)
