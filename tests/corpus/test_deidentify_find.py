"""What identifies a person is found, and what only looks like it is left alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.corpus.deidentify import find
from pediatricsgpt.corpus.deidentify.find import KINDS, union
from pediatricsgpt.corpus.deidentify.numbers import half_width, id_checksum, luhn

FOUND = [
    ("我叫高思远", "高思远", "name"),
    ("姓名：欧阳晓峰，男", "欧阳晓峰", "name"),
    ("患儿沈雨桐因发热入院", "沈雨桐", "name"),
    ("母亲叫阿依古丽·买买提，", "阿依古丽·买买提", "name"),
    ("联系人：吕建华", "吕建华", "name"),
    ("谢谢王医生的建议", "王", "name"),
    ("昨天李主任看过", "李", "name"),
    ("儿科陈志敏教授建议复查", "陈志敏", "name"),
    ("我是刘妈妈", "刘", "name"),
    ("徐嘉余，男，3岁", "徐嘉余", "name"),
    ("刘雨菲今年3岁", "刘雨菲", "name"),
    ("孩子爸爸蔡文博陪着", "蔡文博", "name"),
    ("小名糖糖", "糖糖", "nickname"),
    ("大家都叫他皮蛋", "皮蛋", "nickname"),
    ("彤彤两天没大便了", "彤彤", "nickname"),
    ("小宸又发烧了", "小宸", "nickname"),
    ("我家壮壮昨晚发烧", "壮壮", "nickname"),
    ("带涵宝去打针", "涵宝", "nickname"),
    ("身份证号11010519491231002X", "11010519491231002X", "id_card"),
    ("身份证 110105 19491231 002X", "110105 19491231 002X", "id_card"),
    ("身份证４４０３０５２０１５０３０２１２３４", "４４０３０５２０１５０３０２１２３４", "id_card"),
    ("現住上海市浦東新區商貿街367號，", "上海市浦東新區商貿街367號", "address"),
    ("【16牀】新收", "16牀", "bed"),
    ("2017年10月22號生的", "2017年10月22號", "birth_date"),
    ("免貴姓陳。", "陳", "name"),
    ("手机138 1234 5678", "138 1234 5678", "phone"),
    ("打幺三八零零幺三八零零零", "幺三八零零幺三八零零零", "phone"),
    ("打138零零13八零零零找我", "138零零13八零零零", "phone"),
    ("电话１３８００１３８０００", "１３８００１３８０００", "phone"),
    ("座机010-62345678", "010-62345678", "phone"),
    ("加微信tangtang_88", "tangtang_88", "wechat"),
    ("扣扣：123456789", "123456789", "qq"),
    ("住院号：0012345", "0012345", "record_number"),
    ("病案号No.123456", "123456", "record_number"),
    ("接种证编号4403052015", "4403052015", "vaccination"),
    ("出生证编号P440012345", "P440012345", "birth_certificate"),
    ("车牌粤BD12345", "粤BD12345", "plate"),
    ("京A·12345", "京A·12345", "plate"),
    ("卡号6222021234567890128", "6222021234567890128", "bank_card"),
    ("发到abc.def@163.com", "abc.def@163.com", "email"),
    ("见https://a.cn/x?y=1。", "https://a.cn/x?y=1", "url"),
    ("孩子2019年3月5日出生", "2019年3月5日", "birth_date"),
    ("生于二〇一九年三月十五日", "二〇一九年三月十五日", "birth_date"),
    ("家住张家村3组", "张家村3组", "address"),
    ("我家在郑州市金水区花园路18号院3号楼2单元501", "郑州市金水区花园路18号院3号楼2单元501", "address"),
    ("在实验小学三年级2班", "实验小学三年级2班", "school"),
    ("上阳光幼儿园", "阳光幼儿园", "school"),
    ("现在市儿童医院呼吸科3病区12床", "市儿童医院呼吸科3病区12床", "bed"),
    ("孩子在北京儿童医院住院", "北京儿童医院", "hospital"),
    ("9月11日出院", "9月11日", "date"),
    ("生日19年3月5日", "19年3月5日", "birth_date"),
    ("地址：杭州市余杭区五常街道西溪花城7-2-301", "杭州市余杭区五常街道西溪花城7-2-301", "address"),
    ("在育才小学二（3）班", "育才小学二（3）班", "school"),
]
NOT_FOUND = """
川崎病要用丙种球蛋白吗
唐氏筛查高风险，布氏杆菌病，巴氏消毒，罗氏芬静滴
乙脑疫苗、日本脑炎、克山病、汉坦病毒
王不留行和何首乌都是中药，白开水、金银花、徐长卿也是
孩子高热不退，白带异常，安静休息，方便的话多喝水
患者高烧三天，患儿黄疸，病人康复期，宝宝常常哭
建议去北京儿童医院或上海儿童医学中心就诊
请到正规医院去看医生，谢谢医生，主任医师建议住院
当时医生说没事，由医生决定，向医生咨询，和医生沟通，主治医生同意了
布洛芬每次5ml，每日3次，体重12.5kg，体温38.5℃
白细胞10.5×10^9/L，CRP 12345，血小板 350000，乙肝DNA 5.24007
孩子3岁8个月，早产2周，发烧3天，1500g出生
宝宝、妈妈、奶奶、弟弟、大宝二宝都感冒了，肚肚痛，痘痘，慢慢好
上小学，读幼儿园，学校发烧的多，在学校被传染
家住农村，在城里打工，走路不稳，尿路感染，铺了一床被子，卧床休息
乙肝五项第一项和第五项阳性
天天晚上咳嗽，小儿昨晚发烧，我家孩子才12岁，我家老爷子今年66岁
早晚各一次，每次10-15分钟，100ml/kg，1:10000
""".strip().splitlines()


@pytest.mark.parametrize(("text", "value", "kind"), FOUND)
def test_personal_data_is_found_with_its_kind(text: str, value: str, kind: str) -> None:
    assert [(item.text, item.kind) for item in find(text)] == [(value, kind)]


@pytest.mark.parametrize("text", NOT_FOUND)
def test_medicine_is_left_alone(text: str) -> None:
    assert find(text) == []


def test_a_name_alone_counts_beside_other_findings() -> None:
    assert [item.text for item in find("3病区12床，马龙，住院号0012345")] == ["3病区12床", "马龙", "0012345"]
    assert find("苹果，马龙，香蕉") == []


def test_a_hospital_is_personal_only_where_the_patient_was() -> None:
    assert find("建议去华山医院看看") == []
    assert [item.text for item in find("去年在华山医院做的手术")] == ["华山医院"]


@given(
    st.lists(st.sampled_from([text for text, _, _ in FOUND] + NOT_FOUND + ["，", "\n", "😊", " ", "１２"]), max_size=6)
)
def test_findings_are_in_order_apart_and_say_what_stands_there(parts: list[str]) -> None:
    text = "".join(parts)
    findings = find(text)
    assert all(text[item.start : item.end] == item.text and item.kind in KINDS for item in findings)
    assert all(left.end <= right.start for left, right in pairwise(findings))


@given(st.text(max_size=60))
def test_any_text_at_all_is_read(text: str) -> None:
    assert len(half_width(text)) == len(text)
    find(text)


def test_union_leaves_nothing_uncovered() -> None:
    text = "我叫高思远，电话13812345678"
    joined = union(text, find(text), find("我叫高思远，电话"))
    assert joined == find(text)


@pytest.mark.parametrize("number", ["11010519491231002X", "110105 19491231 002x", "440524188001010014"])
def test_check_digit_of_resident_numbers(number: str) -> None:
    assert id_checksum(number)
    wrong = number[:5] + str((int(number[5]) + 1) % 10) + number[6:]
    assert not id_checksum(wrong)


def test_luhn_sees_every_single_wrong_digit() -> None:
    number = "79927398713"
    assert luhn(number)
    for place in range(len(number)):
        assert not luhn(number[:place] + str((int(number[place]) + 1) % 10) + number[place + 1 :])
