"""Invented persons, places, numbers and phrases from which the de-identification test set is made.

The rules never read this file, and its lists were written before the rules. Every list has a development half (before
the `|`) and a blind half (after it), so that the blind split holds no name, phrase or template of the development
split. Nobody real is meant.
"""

from __future__ import annotations

from typing import NamedTuple


class Halves(NamedTuple):
    """The two disjoint parts of a list."""

    development: tuple[str, ...]
    blind: tuple[str, ...]


def _halves(text: str, separator: str | None = None) -> Halves:
    development, blind = text.split("|")
    cut = [tuple(part.strip() for part in half.split(separator) if part.strip()) for half in (development, blind)]
    return Halves(cut[0], cut[1])


def _lines(text: str) -> Halves:
    return _halves(text, "\n")


SURNAMES = _halves(
    "王 张 陈 杨 赵 周 徐 孙 胡 高 林 郭 梁 宋 韩 曹 曾 肖 董 潘 于 余 叶 魏 任 方 邹 熊 秦 顾 孟 龙 常 武 康 施 温 季 "
    "柴 辛 鲁 池 滕 屠 诸葛 司马 | "
    "李 刘 黄 吴 朱 马 何 罗 郑 谢 唐 冯 邓 许 彭 袁 蒋 蔡 贾 丁 薛 杜 程 苏 卢 田 姜 崔 谭 陆 汪 石 戴 范 金 韦 夏 白 "
    "江 邱 侯 尹 黎 毛 郝 史 钱 汤 万 严 覃 向 安 牛 洪 柳 欧 路 祝 时 卞 闵 褚 麻 车 费 裴 冼 郗 逯 佘 晏 仝 缪 邝 揭 "
    "欧阳 上官 皇甫 令狐 尉迟 东方"
)
GIVEN_NAMES = _halves(
    "梓涵 浩然 子轩 欣怡 一诺 宇航 雨桐 诗涵 俊杰 思远 梦琪 佳怡 嘉豪 可馨 博文 睿 芷若 奕辰 建国 秀英 丽华 志强 海燕 "
    "玉兰 晓东 春花 德福 静 磊 敏 小平 云飞 佩珊 承志 爱民 若曦 沐阳 语嫣 翰林 依依 | "
    "子墨 雨泽 皓轩 梦瑶 思彤 天佑 泽宇 沐宸 奕涵 诗琪 舒雅 景行 煜城 语桐 悦然 嘉懿 明轩 昊天 紫萱 雅静 文博 君昊 "
    "锦程 若溪 清妍 芮涵 书瑶 宸睿 米朵 知夏 亦凡 星野 桂芳 志明 淑珍 国栋 红梅 建平 晓燕 丽娟 伟 芳 娜 强 军 洋 艳 勇 "
    "杰 娟 涛 超 霞 刚 金凤 大勇 振宇 国华 卫东 玉梅 春生 凯旋 茂林 立新 慧玲 长河 冬梅 万里 小龙 凤仙 朝阳 三毛 铁柱 "
    "以沫 亚楠 倩倩 婷婷 莎莎 丹丹 佑安 允执 鹤鸣 听澜 屿森 攸宁 星回 栩 骁 珞 玥 垚 昱 翀 琬"
)
NICKNAMES = _halves(
    "糖糖 壮壮 豆豆 朵朵 乐乐 妞妞 辰辰 轩轩 果冻 嘟嘟 小石头 米粒 球球 阿布 汤圆 二丫 虎子 | "
    "果果 甜甜 萌萌 皮皮 笑笑 桐桐 琪琪 悠悠 阳阳 浩浩 小满 布丁 安安 可可 团团 铛铛 蕊蕊 睿睿 叮当 毛豆 小核桃 大壮 "
    "麦兜 栗子 肉肉 土豆 石榴 小贝 棒棒 七七 小米 柚子 恩恩 诺诺 狗蛋 丫丫 阿呆 小橙子 元宝 多多"
)
BABY_NAMES = _halves("涵宝 糖宝 辰宝 轩宝 | 萱宝 桐宝 豆宝 诺宝 悦宝 阳宝 琪宝 麦宝")
LITTLE_NAMES = _halves("小明 小宇 小雪 小涵 | 小杰 小雨 小磊 小芳 小军 小辉 小婷 小凯 小桐 小军")

PATIENT = _lines("""
我叫{x}
孩子叫{x}
姓名：{x}
患儿{x}
宝宝大名{x}
帮我查一下{x}的化验单
{x}昨天晚上又烧起来了
病人是{x}
我儿子{x}
患者姓名 {x}
女儿{x}小朋友
就诊人：{x}
挂的是{x}的号
|
我的名字是{x}
本人{x}
孩子名字叫{x}
患儿姓名:{x}
宝宝叫做{x}
小孩全名{x}
病历上写的是{x}
我女儿叫{x}
我家孩子{x}
外孙{x}
就诊卡上是{x}
患儿：{x}，
{x}同学
{x}小朋友
给{x}开的药
{x}今天早上吐了两次
患者{x}因发热入院
名叫{x}
叫{x}的那个孩子
姓名{x}
新生儿{x}之女
病人姓名是 {x}
{x}的检查结果出来了吗
我侄子{x}
弟弟{x}也发烧了
儿童姓名（{x}）
""")
PARENT = _lines("""
我是{x}的妈妈
家长姓名：{x}
孩子爸爸{x}
联系人{x}
我先生{x}
家长{x}签字
她妈妈叫{x}
|
母亲：{x}
父亲{x}
监护人：{x}
我是孩子妈妈，叫{x}
我老公{x}
家属{x}
孩子他妈{x}
产妇{x}
紧急联系人：{x}
孩子姑姑{x}带来的
爷爷叫{x}
我爱人{x}
签字人{x}
母亲姓名 {x}
奶奶{x}代诉
陪同人是{x}女士
""")
DOCTOR = _lines("""
我挂了{x}医生的号
上次是{x}主任看的
主治医师：{x}
儿科的{x}大夫说的
{x}教授让我们复查
医生叫{x}
|
是{x}医生给开的
管床医生{x}
找{x}主任做的手术
{x}副主任医师建议复查
接诊医生：{x}
{x}护士长打的针
咨询过{x}院长
经治医师{x}
责任护士 {x}
医师签名：{x}
{x}老师看过片子
{x}专家门诊
开单医生是{x}
请{x}主任会诊过
主刀的是{x}
门诊{x}医师接诊
""")
SURNAME_TITLE = _lines("""
{x}医生说没事
{x}主任您好
谢谢{x}大夫
我是{x}妈妈
昨天问过{x}老师
{x}女士
|
{x}医生你好
听{x}主任的
{x}教授也看过
找{x}大夫复诊
{x}护士说要空腹
姓{x}的医生
{x}先生
{x}爸爸来取报告
{x}院长推荐的
小{x}护士扎的针
麻烦{x}医师了
感谢{x}博士
老{x}大夫看的
我姓{x}
{x}医生，在吗
问了{x}阿姨
""")
NICKNAME = _lines("""
小名{x}
我家{x}
{x}这两天不爱吃饭
乳名叫{x}
{x}妈妈
我们{x}最近总咳嗽
|
小名叫{x}
我家{x}今年上小班
乳名{x}
大家都叫他{x}
家里叫{x}
{x}昨晚没睡好
{x}爸爸
昵称：{x}
我们家{x}又咳了
{x}又拉肚子了
宝宝叫{x}
给{x}喂了药
带{x}去打的针
{x}的体温降下来了
{x}奶奶带的
平时喊他{x}
""")
ID_CARD = _lines("""
身份证号{x}
身份证：{x}
孩子的身份证是{x}
{x}，麻烦录一下
证件号码 {x}
|
身份证号码为{x}
我的证件号：{x}
身份证{x}
公民身份号码:{x}
号码是{x}，帮我挂号
身份证号 {x}
ID：{x}
户口本上身份证号是{x}
监护人身份证：{x}
身分证{x}
证号{x}
先给您发身份证{x}
""")
PHONE = _lines("""
电话{x}
我的手机号是{x}
有事打{x}
联系方式：{x}
{x}，随时联系
手机 {x}
|
电话号码：{x}
请回电{x}
手机号码{x}
可以拨打{x}找我
我电话是{x}
联系电话:{x}
致电 {x}
TEL:{x}
打我手机{x}
{x}这个号能打通
留个电话{x}
麻烦短信发到{x}
号码{x}
方便的话打{x}
短信请发{x}
""")
LANDLINE = _lines("""
家里座机{x}
电话：{x}
固话{x}
|
座机号 {x}
打{x}转护士站
科室电话{x}
单位电话：{x}
固定电话是{x}
家里电话{x}
{x}是我家电话
""")
WECHAT = _lines("""
我的微信号{x}
加我微信{x}
vx：{x}
微信 {x}
|
微信号是{x}
WX:{x}
加V {x}
薇信{x}
可以加微信：{x}
wechat: {x}
我微信{x}，发您片子
麻烦加一下vx{x}
威信号{x}
V信：{x}
微信（{x}）
wx号{x}
""")
QQ = _lines("""
QQ{x}
我的qq号是{x}
扣扣：{x}
|
QQ号{x}
加我QQ：{x}
qq {x}
扣扣号{x}
q号{x}
企鹅号 {x}
QQ是{x}
联系QQ:{x}
加Q{x}
""")
ADDRESS = _lines("""
家住{x}
住址：{x}
我们住在{x}
地址是{x}
从{x}赶过来的
|
现住{x}
家庭住址:{x}
户籍地址 {x}
药寄到{x}
快递地址：{x}
我家在{x}
孩子住{x}
搬到{x}以后就咳
住{x}，离医院很远
联系地址{x}
收件地址 {x}
户口在{x}
我们是{x}的
""")
SCHOOL = _lines("""
在{x}上学
孩子在{x}
学校是{x}
上{x}
|
就读于{x}
他是{x}的学生
{x}好几个孩子发烧
在{x}读书
转到{x}了
学校：{x}
{x}的老师打电话来
上的是{x}
今年上{x}
幼儿园是{x}
""")
BED = _lines("""
住在{x}
现在{x}住院
{x}，还在输液
|
我们在{x}
孩子住{x}
{x}的患儿
转到{x}
目前收住{x}
{x}，昨天入院
刚住进{x}
人在{x}呢
""")
RECORD_CUES = _lines("""
门诊号{x}
住院号：{x}
病案号 {x}
医保卡号{x}
条码号{x}
病历号是{x}
|
门诊号码:{x}
住院号为{x}
病案号码{x}
医保号：{x}
条形码 {x}
就诊卡号{x}
登记号{x}
检验条码：{x}
病历号{x}
社保卡号{x}
住院ID：{x}
报告单号{x}
影像号 {x}
标本号：{x}
ID号{x}
""")
VACCINATION = _lines("""
预防接种证号{x}
接种证编号：{x}
疫苗本编号{x}
|
接种本号码{x}
预防接种证：{x}
疫苗本上的号是{x}
儿童编码{x}
免疫接种证号 {x}
接种卡号:{x}
预防接种证编号为{x}
小绿本编号{x}
""")
BIRTH_CERTIFICATE = _lines("""
出生证号{x}
出生医学证明编号：{x}
|
出生证编号{x}
出生医学证明{x}
出生证明号码是{x}
出生证：{x}
出生医学证明号 {x}
出生证明上的编号{x}
""")
PLATE = _lines("""
车牌{x}
车停在楼下，{x}
我的车是{x}
|
车牌号：{x}
开{x}来的
车号{x}
救护车牌照{x}
车牌号码是{x}
{x}挡住急诊门口了
登记车辆{x}
""")
BANK_CARD = _lines("""
卡号{x}
退款到银行卡{x}
建行卡{x}
|
银行卡号：{x}
工行{x}
请退到{x}
账号{x}
农业银行卡号 {x}
储蓄卡{x}
我的卡是{x}
退费卡号是{x}
""")
EMAIL = _lines("""
邮箱{x}
报告请发{x}
|
我的邮箱是{x}
电子邮件：{x}
E-mail: {x}
发到{x}就行
email {x}
邮箱地址 {x}
""")
URL = _lines("""
片子在{x}
见 {x}
|
链接：{x}
报告网址{x}
点这个{x}看视频
照片放在 {x}
网站{x}
云胶片 {x}
""")
BIRTH_DATE = _lines("""
生日{x}
出生日期：{x}
孩子{x}出生
{x}生的
|
出生年月 {x}
{x}生人
宝宝生日是{x}
生于{x}
{x}出生的
出生于{x}
{x}剖腹产
DOB：{x}
生日：{x}
我是{x}的
""")
TEMPLATES: dict[str, Halves] = {
    "patient_name": PATIENT,
    "parent_name": PARENT,
    "doctor_name": DOCTOR,
    "surname_title": SURNAME_TITLE,
    "nickname": NICKNAME,
    "id_card": ID_CARD,
    "phone": PHONE,
    "landline": LANDLINE,
    "wechat": WECHAT,
    "qq": QQ,
    "address": ADDRESS,
    "school": SCHOOL,
    "bed": BED,
    "record_number": RECORD_CUES,
    "vaccination": VACCINATION,
    "birth_certificate": BIRTH_CERTIFICATE,
    "plate": PLATE,
    "bank_card": BANK_CARD,
    "email": EMAIL,
    "url": URL,
    "birth_date": BIRTH_DATE,
}
# Clauses that hold several items; {patient}, {parent}, {doctor} are full names, the others types.
MIXED = _lines("""
我叫{parent_name}，电话{phone}，住{address}
姓名：{patient_name} 性别：男 出生日期：{birth_date} 住院号：{record_number}
{patient_name}，{birth_date}出生，身份证{id_card}
孩子在{school}，小名{nickname}，{doctor_name}医生看过
|
患儿{patient_name}，母亲{parent_name}，联系电话{phone}
姓名{patient_name}，门诊号{record_number}，{doctor_name}主任
病人{patient_name}，家住{address}，手机{phone}
收件人{parent_name} {phone} {address}
{bed}，{patient_name}，住院号{record_number}
小名{nickname}，生于{birth_date}，上{school}
报告发到{email}，或者加微信{wechat}，我叫{parent_name}
就诊人:{patient_name}/证件号:{id_card}/手机:{phone}
我是{patient_name}的爸爸{parent_name}，QQ{qq}
""")

CITIES = _lines("""
北京市朝阳区
河南省郑州市金水区
四川省成都市武侯区
济南历下区
江苏省南通市如东县
|
上海市浦东新区
广东省深圳市南山区
湖北省武汉市洪山区
浙江杭州西湖区
河北省石家庄市裕华区
重庆市渝北区
湖南省长沙市岳麓区
辽宁省大连市甘井子区
广西南宁市青秀区
陕西省西安市雁塔区
云南昆明五华区
内蒙古呼和浩特市赛罕区
苏州工业园区
安徽省合肥市肥西县
贵州省遵义市湄潭县
""")
STREETS = _lines("""
花园路18号院3号楼2单元501室
建设街道幸福里小区6栋1204
青年大街77号
柳林镇张庄村12号
望江路锦绣花苑B座902
|
和平路256弄8号302室
学府大道99号翠湖小区5幢3单元1101室
解放南路12号
桃源镇李家沟村四组
滨河东路金色家园11栋2门602
人民中路甲3号
文昌街道丽景社区9号楼
迎宾大道万科城二期17栋1单元2304
西大街38号附2号
阳光花园A区7座1802
长安街道东风里21号
龙泉乡高坪村5社
科技二路枫林绿洲4号楼
中山北路1号院
黄河路与经三路交叉口阳光公寓1803
""")
SCHOOLS = _lines("""
实验小学三年级2班
阳光幼儿园中班
第三中学初二(5)班
育才小学一年级
小天使幼儿园
|
红星小学四年级3班
蓝天幼儿园大一班
金太阳双语幼儿园小班
师大附中高一
新城区第二实验小学二（1）班
市第十一中学七年级
东方剑桥幼儿园
明德小学六年级四班
外国语学校初三8班
机关幼儿园托班
杏坛路小学
大风车幼儿园中二班
城关镇中心小学五年级
""")
HOSPITAL_BEDS = _lines("""
市儿童医院呼吸科3病区12床
省人民医院儿科二病房25床
妇幼保健院新生儿科7床
协和医院消化内科18床
|
市妇幼保健院儿二科36床
华山医院PICU 5床
市中心医院小儿外科二病区08床
人民医院住院部6楼儿科加3床
第一医院血液科层流病房2床
省立医院儿童重症监护室11号床
儿童医院感染科四病区19床
中医院儿科病区 21床
附属医院NICU第9床
""")
HANDLES = _halves(
    "lele_mama2019 zhang8866 wxid_k3j9x0q2 baoma-88 tangtang0412 liuyy_520 | "
    "guoguo2020ma hello-kitty77 wxid_7ab3cde9f1 sunny_mom1988 lxm19900215 Dabao_baba mengmeng-0808 a13579yy "
    "chenjie_wh tingting77 Yoyo2021bb fengzi_66 zhoulaoshi01 xiaomiao-mm"
)
MAIL_HOSTS = _halves("163.com qq.com example.cn | 126.com gmail.com sina.com.cn outlook.com hospital.org.cn 139.com")
LINKS = _halves(
    "https://pan.baidu.com/s/1aBcD3fG http://www.example.cn/report?id=88231 | "
    "https://film.example-hospital.cn/v/9f8a7c http://t.cn/A6xYz12 www.yingxiang-demo.com/p/20231 "
    "https://weibo.com/u/1234567890 https://v.douyin.com/iRabc12/ http://10.1.2.3:8080/pacs?uid=77"
)
CERTIFICATE_LETTERS = Halves(tuple("PQR"), tuple("OSTUVHJKL"))
PROVINCES = Halves(tuple("京豫川鲁苏"), tuple("沪粤鄂浙冀渝湘辽桂陕云蒙皖贵"))
AREA_CODES = _halves("010 0371 028 | 021 0755 027 0571 0311 023 0731 0411 0771 029 0871")
MOBILE_PREFIXES = _halves("138 139 150 187 | 131 135 136 151 152 159 166 173 177 180 186 189 191 199")
REGION_CODES = _halves("110105 410105 510107 | 310115 440305 420111 330106 130108 500112 430104 450103 610113")
BANK_PREFIXES = _halves("621700 622848 | 622202 621226 622588 621661 622700 955880")
