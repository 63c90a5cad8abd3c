"""Words that carry no meaning of their own, in English and in scripts without spaces.

In the latter they are phrases between which a run is cut, so that no pair of characters reaches over them. Particles
and question words count most: an answer has none of the question's. A phrase is also taken out of a longer word that
has its characters; question and text lose the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from seedbed.vectors.segmentation import Script, fold

_ENGLISH = (
    "a about an and any are as at be been but by can could did do does for from had has have he her his how i if in "
    "into is it its many me much my not of on or our s she should so some such than that the their them then there "
    "these they this those to was we were what when where which who whom whose why will with would you your"
)
STOP_WORDS = frozenset(_ENGLISH.split())
_CHINESE = """
    什么 甚么 怎么 怎样 怎么样 如何 多少 多久 多长 多大 几 哪里 哪儿 哪些 哪个 哪 谁 何时 何处 何 为什么 为何 是否 请问
    什麼 甚麼 怎麼 怎樣 怎麼樣 多長 幾 哪裡 哪裏 哪個 誰 何時 何處 為什麼 為何 請問
    是 的 了 吗 呢 吧 啊 和 与 及 或 在 于 对 把 被 由 有 就 都 也 而 但 这 那 我 你 您 他 她 它 们 请 可以 能
    嗎 與 於 對 這 們 請
"""
_JAPANESE = """
    いくら いくつ いつ どこ だれ なに なん どの どれ どう どんな どのくらい なぜ 誰 何 どうすれば どうすればいい
    何時 何時間 何日 何年 何人 何冊 何個 何回 何枚 何分 何歳 何月 何か月 何ヶ月 何円
    ですか いいですか ますか でしょうか でしたか ましたか ません ました でした です ます である いい
    された される され している して した する れる られる ている ない という として について における
    から まで より など こと もの ため よう とき ときは とき に には では は が を に で と も の へ や か ね よ
"""
_SOUTH_EAST_ASIAN = """
    กี่ อะไร เมื่อไร เมื่อไหร่ เมื่อใด ที่ไหน ที่ใด ใคร เท่าไร เท่าไหร่ เท่าใด อย่างไร ทำไม ไหม หรือไม่ หรือ และ ของ เป็น คือ
    ครับ ค่ะ คะ ແມ່ນຫຍັງ ຫຍັງ ເທົ່າໃດ ເມື່ອໃດ ຢູ່ໃສ ໃສ ໃຜ ຈັກ ແລະ ຫຼື ຂອງ ແມ່ນ ບໍ່
    ប៉ុន្មាន អ្វី នៅឯណា ឯណា នរណា ពេលណា យ៉ាងណា តើ និង ឬ របស់ គឺ
    ဘယ်လောက် ဘယ်မှာ ဘယ်အချိန် ဘယ်သူ ဘယ် ဘာ သလဲ လဲ နှင့် သည်
"""
_KOREAN_QUESTION = re.compile("(?:얼마|무엇|무슨|언제|어디|누구|누가|어떤|어느|어떻게|왜|몇|뭐).*")
_KOREAN_ENDING = re.compile(
    "(?<=.)(?:입니까|입니다|합니까|합니다|됩니까|됩니다|습니까|습니다|인가요|나요|까지|부터|에서|에게|으로|하는"
    "|은|는|이|가|을|를|의|에|로|와|과|도|만)$"
)


def _phrases(listed: str) -> re.Pattern[str]:
    """Return a pattern of folded phrases, the longest first."""
    found = sorted({"".join(fold(one).split()) for one in listed.split()}, key=lambda one: (-len(one), one))
    return re.compile("|".join(found))


_BETWEEN = {"han": _phrases(_CHINESE + _JAPANESE), "syllables": _phrases(_SOUTH_EAST_ASIAN)}


def contentful(script: Script, run: str) -> Iterator[str]:
    """Yield the parts of a run (:func:`~seedbed.vectors.segmentation.runs`) that carry meaning."""
    if script == "spaced":
        yield from () if run in STOP_WORDS else (run,)
    elif script == "hangul":
        yield from () if _KOREAN_QUESTION.fullmatch(run) else (_KOREAN_ENDING.sub("", run),)
    else:
        yield from filter(None, _BETWEEN[script].split(run))
