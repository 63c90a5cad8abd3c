"""The bits of Chinese, Japanese and Korean characters by how usual they are, and of text in encodings of several bytes.

The usual characters of each language stand here in about the order of their frequency; others count by the level of the
national standard that they belong to.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from itertools import pairwise

from seedbed.documents.letter_profiles import LetterProfile, folded
from seedbed.documents.sign_costs import sign_cost

LANGUAGES = {"cp932": "ja", "euc-jp": "ja", "gb18030": "zh", "big5hkscs": "zh-tw", "cp949": "ko"}
"""Encodings of several bytes a character, and the languages that they are written in."""
_USUAL = {
    "ja": (
        "の、に。はをたがでてとしれさいるなもっからこりきまうすくけだめよあせそおみわどばんべつえ「」ちほろやねひーむげゆ"
        "ンスルトリアイラクドシレジタフロカッテムプマィバコニグメオウチデサキナビハミセパワソブュモツョエ・日一人年大国本中"
        "出会上行者時事見自分生前後長間地方学月用部新場入合同気子東高手水目立内作業開発動表理体対通法全要名定次使文下金力女物"
        "画話当社成明家代度強取意小無心面現回三十二実書問先度電家田食何週来私今持少料工建急空止送研究知道考世界夜車門戸"
    ),
    "zh": (
        "，的。、一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然"
        "家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机"
        "十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西"
        "斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活：；？！（）"
        "“”《》尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空"
        "文件错误选项目录输出输入使用命令参数无效请设置显示程序列表名称打开读取写入支持版本默认值字符格式系统用户密码"
    ),
    "zh-tw": (
        "，的。、一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所然"
        "家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實日軍者意無力它與長把機"
        "十民第公此已工使情明性知全三又關點正業外將兩高間由問很最重並物手應戰向頭文體政美相見被利什二等產或新己制身果加西"
        "斯月話合回特代內信表化老給世位次度門任常先海通教兒原東聲提立及比員解水名真論處走義各入幾口認條平系氣題活：；？！（）"
        "「」『』爾更別打女變四神總何電數安少報才結反受目太量再感建務做接必場件計管期市直德資命山金指克許統區保至隊形社便空"
    ),
    "ko": (
        "이다는을에의가고하지은를도로기사한나라인대어시자리아서일정해부그수만보장스전것제여과면상원주성으구들있공동관국안조"
        "적유중경위연신비용식때년치모소계생학문방요습니까게와드호물미세오러내할된되합입없음않알려및파크트르우개진화무프단심"
        "재간두명더체말바력회산또했선발음권실당같불후영히운분너차재직출결등통거행지못번마건교터감복설강달남필받외질"
    ),
}
_JOINED = 3.0
"""Bits of a letter of ASCII beside such a character."""
_BASIC = {"ja": ("euc-jp", 0xCF), "zh": ("gb2312", 0xD7), "zh-tw": ("big5", 0xC6), "ko": ("euc-kr", 0xC8)}
"""A standard of each language, and the last leading byte of its usual characters."""
_RANKS = {language: {one: rank for rank, one in reversed(list(enumerate(text)))} for language, text in _USUAL.items()}


def text_cost(data: bytes, encoding: str, ascii_profile: LetterProfile, ascii_weight: float) -> float:
    """Return the bits of bytes as text in UTF-8 or in one of :data:`LANGUAGES`; ASCII letters by a profile."""
    text = data.decode(encoding, "replace")
    plain = Counter(pair for pair in pairwise(folded(text)) if max(pair) < "\x80")
    others = sum(
        _cost(LANGUAGES.get(encoding, ""), *three) for three in zip(" " + text, text, text[1:] + " ", strict=False)
    )
    return others + ascii_weight * ascii_profile.cost(plain)


@lru_cache(maxsize=1 << 14)
def _cost(language: str, before: str, character: str, after: str) -> float:
    if character < "\x80":
        return 0.0
    joined = _JOINED * sum(one < "\x80" and one.isalpha() for one in (before, after)) if language else 0.0
    if (rank := _RANKS.get(language, {}).get(character)) is not None:
        return joined + 5 + math.log2(1 + rank / 6)
    if sign := sign_cost(before, character, after):
        return sign
    return joined + _level_cost(language, character)


def _level_cost(language: str, character: str) -> float:
    if not language:
        return 9.0  # any letter of UTF-8
    if "\u3041" <= character <= "\u30fe":
        return 9.0 if language == "ja" else 15.0
    standard, last = _BASIC[language]
    coded = character.encode(standard, "ignore")
    usual = len(coded) == 2 and coded[0] <= last and (language != "ko" or "\uac00" <= character <= "\ud7a3")
    return 13.0 if usual else 18.0
