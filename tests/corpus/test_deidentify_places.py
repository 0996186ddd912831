"""Addresses, schools and hospital stays are found by their structure; places that place nobody stay."""

import pytest

from pediatricsgpt.corpus.deidentify import find
from pediatricsgpt.corpus.deidentify.places import places
from pediatricsgpt.corpus.deidentify.windows import windows

PLACES = [
    ("现住址 {}", "梅园新村2座11504"),
    ("住在{}好几年了", "机床厂宿舍18-16-301"),
    ("上门采样{}", "北京市海淀区棕榈泉9-10-308"),
    ("单位在{}", "内蒙古包头市昆都仑区白云大道南5号院7号楼"),
    ("送到{}", "凤凰城三期B座1906"),
    ("家住{}", "15号楼2单元501"),
    ("{}那个小区", "人民路与建设街交叉口"),
    ("家庭住址: {}", "哈尔滨市南岗区学府路 52 号 7 栋 2 单元 301"),
    ("在{}住", "李沧区万年泉路小区"),
    ("{}人", "沙子口镇前登瀛村"),
    ("老家{}", "双河农场四队"),
    ("在{}通知体检", "中关村二小一年级(1)班"),
    ("就读{}", "北关小学一年三班"),
    ("孩子在{}上学", "小金星双语幼儿园学前班"),
    ("班级：{}", "六年1班"),
    ("就读于{}", "三十七中"),
    ("{}小朋友都感冒", "四幼"),
    ("转到{}", "王庄完小"),
    ("收入{}", "中山一院血液肿瘤科三区"),
    ("住院：{}", "省儿童医院消化科A区十七床"),
    ("{}患儿", "同济医院感染病房"),
    ("在{}住着", "湘雅医院神经内科12楼"),
    ("我们是{}的", "东区儿科六病区加床28"),
    ("昨天住进{}，一直烧", "省妇幼新生儿科B区十六床"),
    ("转入{}", "瑞金医院移植仓"),
    ("收入{}", "新生儿重症监护室8号暖箱"),
    ("坐标{}，求推荐", "香樟林小区"),
    ("我在{}门口等你", "凤凰山庄小区"),
    ("我们租住在{}，楼里在装修", "水木清华园"),
    ("{}那个诊所开的药", "纺织厂家属院"),
    ("老家{}，", "麒麟区大营乡孙家堡子十二组"),
    ("住{}，", "晋江市桃花江镇孙家堡子59号"),
    ("地址写{}就行", "松江区三河镇赵家湾"),
    ("{}输液已拔针", "二十二床"),
]
NOBODY = """
建议去北京儿童医院看看
可以到上海儿童医学中心神经内科就诊
应当去正规三甲医院的神经内科住院治疗一段时间
到医院的骨科住院进行矫正手术治疗
小学三年级的孩子可以用吗
孩子上幼儿园以后总是生病
儿科门诊在3楼
第一床被子太厚
一床棉被就够了
在幼儿园附近有诊所
小区门口有个诊所
给孩子换个大一点的床
小区里有好多孩子发烧
村里卫生室打的针
一单元课程结束后
大班的孩子一般5-6岁
转入ICU治疗
建议住院治疗，转到儿科病房
一个生活在四川农村的儿童
我刚读小学六年级，健康检查时发觉得了乙肝
去过很多医院治疗
""".strip().splitlines()


@pytest.mark.parametrize(("frame", "value"), PLACES)
def test_a_place_is_found_whole_with_any_text_around_it(frame: str, value: str) -> None:
    for around in ("{}", "宝宝38.5℃，{}，怎么办", "{}。体重12kg要吃多少毫升？"):
        text = around.format(frame.format(value))
        start = text.index(value)
        covered = {place for item in find(text) for place in range(item.start, item.end)}
        assert all(place in covered for place in range(start, start + len(value)) if text[place].isalnum())


@pytest.mark.parametrize("text", NOBODY)
def test_a_place_that_places_nobody_stays(text: str) -> None:
    assert not list(places(text))


def test_windows_join_and_stay_inside_the_text() -> None:
    import re

    text = "x....x" + "." * 40 + "x"
    assert windows(re.compile("x"), text, 3, 3) == [(0, 9), (43, 47)]
    assert windows(re.compile("y"), text, 3, 3) == []
