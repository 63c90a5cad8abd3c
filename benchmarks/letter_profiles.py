"""Make the letter profiles by which encodings are weighed: ``src/seedbed/documents/letter_profiles.json``.

From the character counts of the langdetect project (Apache License 2.0; from Wikipedia)::

    pip download --no-deps --no-binary :all: langdetect==1.0.9 && tar xzf langdetect-1.0.9.tar.gz
    python benchmarks/letter_profiles.py langdetect-1.0.9/langdetect/profiles

Serbian is Croatian in Cyrillic letters; Icelandic, which langdetect lacks, is from the text below, our own.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

LANGUAGES = [
    "da",
    "sv",
    "no",
    "de",
    "fr",
    "es",
    "pt",
    "it",
    "nl",
    "fi",
    "pl",
    "cs",
    "sk",
    "hu",
    "ro",
    "hr",
    "sl",
    "tr",
    "lt",
    "lv",
    "et",
    "sq",
    "el",
    "ru",
    "uk",
    "bg",
    "mk",
    "sr",
    "he",
    "ar",
    "fa",
    "th",
    "en",
    "is",
]
MOST = 350
"""Bigrams kept of a language."""
RAREST = 16.5
"""Bits of the rarest letter that is kept."""
OUTPUT = Path(__file__).parents[1] / "src" / "seedbed" / "documents" / "letter_profiles.json"
CYRILLIC = str.maketrans("abcčćdđefghijklmnoprsštuvzž", "абцчћдђефгхијклмнопрсштувзж")
ICELANDIC = """
Það er gott að vera kominn aftur heim eftir langa ferð um landið. Veðrið var ágætt fyrstu dagana en síðan tók að
rigna og hvessa. Við gistum á litlum bæ undir fjallinu þar sem bóndinn sagði okkur sögur af álfum og tröllum.
Börnin fengu að gefa lömbunum mjólk og hlaupa um túnið. Á leiðinni suður sáum við fossinn og stóra hópa af fuglum
við ströndina. Hann sagðist aldrei hafa séð annað eins sumar. Nú þarf að þvo fötin, slá grasið og svara öllum
bréfunum sem bíða. Skólinn byrjar í næstu viku og þá verður nóg að gera hjá öllum. Ég ætla að lesa bækurnar sem ég
keypti í bænum og læra meira um sögu þjóðarinnar. Þau hittust fyrst árið sem stríðinu lauk og giftust tveimur árum
síðar í gömlu kirkjunni. Síðustu ár hefur verið mikið rætt um hvernig hægt sé að vernda náttúruna, höfnina og gamla
miðbæinn. Menn eru ekki á eitt sáttir um það.
"""


def counts(language: str, folder: Path) -> Counter[str]:
    """Return how often each bigram occurs, a space for what is no letter."""
    if language == "is":
        words = (f" {word} " for word in re.findall(r"\w+", ICELANDIC.lower()))
        return Counter("".join(pair) for word in words for pair in pairwise(word))
    stored = json.loads((folder / ("hr" if language == "sr" else language)).read_text(encoding="utf-8"))["freq"]
    found = Counter[str]()
    for gram, count in stored.items():
        small = gram.replace("İ", "i").lower()
        small = cyrillic(small) if language == "sr" else small
        if len(gram) == len(small) == 2:
            found[small] += count
    return found


def cyrillic(text: str) -> str:
    """Return Croatian in Serbian letters, of which some are two in Latin."""
    for latin, letter in (("lj", "љ"), ("nj", "њ"), ("dž", "џ")):
        text = text.replace(latin, letter)
    return text.translate(CYRILLIC)


def profile(found: Counter[str]) -> dict[str, str]:
    """Return the letters and the usual bigrams by the bits of their share, ``_`` for a space."""
    total, letters = found.total(), Counter[str]()
    for gram, count in found.items():
        letters[gram[1]] += count
    rare = {one for one, count in letters.items() if one == " " or -math.log2(count / total) >= RAREST}
    kept = dict(found.most_common(MOST)) | {one: count for one, count in letters.items() if one not in rare}
    rows: dict[int, list[str]] = {}
    for gram, count in kept.items():
        rows.setdefault(round(-math.log2(count / total)), []).append(gram.replace(" ", "_"))
    return {str(bits): " ".join(sorted(rows[bits], key=lambda gram: (len(gram), gram))) for bits in sorted(rows)}


def main(folder: Path) -> None:
    """Write the profiles of all languages."""
    profiles = {language: profile(counts(language, folder)) for language in LANGUAGES}
    OUTPUT.write_text(json.dumps(profiles, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
