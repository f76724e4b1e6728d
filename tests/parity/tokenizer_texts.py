"""Texts that a tokenizer might get wrong: shipped prompts, many scripts, and what Unicode makes hard."""

import json
import random
import unicodedata
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

SENTENCES = [
    "A slow, mellow piano ballad in A minor with soft strings and no drums.",
    "80s pop track with bassy drums and synth, 128 BPM!",
    "¿Qué música quieres? ¡Una canción rápida y alegre!",
    "Une chanson très brillante, à l'accordéon, naïve; c'est « dansant ».",
    "Ein ruhiges Stück für Geige & Flöte — größer, straße, Ärger.",
    "Быстрая и громкая электронная музыка с тяжёлым басом",
    "Γρήγορη μουσική με φωτεινό ήχο και τύμπανα, ΐ ΰ",
    "موسيقى هادئة مع العود والناي ﷺ ﻻ",
    "מוזיקה מהירה עם תופים וגיטרה שָׁלוֹם",
    "धीमा और शांत संगीत, सितार के साथ क्षत्रिय क़ ज़",
    "দ্রুত এবং উজ্জ্বল সঙ্গীত ড় ঢ় য়",
    "இசை மெதுவாக ஒலிக்கிறது கௌ",
    "ดนตรีช้าและนุ่มนวล น้ำ กำ",
    "明るくて速い音楽、ピアノとドラム。ガギグゲゴ パピプペポ",
    "ﾊﾟﾋﾟﾌﾟ ｶﾞｷﾞｸﾞ ｆｕｌｌｗｉｄｔｈ　１２３",
    "缓慢而忧郁的钢琴曲，没有鼓点 ㍿ ㎏",
    "빠르고 밝은 전자 음악 한글 한글 각 힣",
    "Vietnamese: Nhạc chậm và buồn với đàn tranh, tiếng Việt ở ộ ữ",
    "ქართული მუსიკა Հայերեն երաժշտություն አማርኛ ሙዚቃ ᏣᎳᎩ",
    "ཀྲུང་གོ་ རོལ་དབྱངས། ဂီတ မြန်မာ ភ្លេងខ្មែរ ເພງລາວ",
    "Ŵêḽḉøṃë ﬁnal ﬂute oﬃce ﬅ ǅ ĳ Ŀ ŉ ǆ",
    "x² + y³ = z⁴, ½ ¾ ⅓ ① ② ⑳ ⒈ ㋿ Ⅷ ⅷ ℃ ™ ℡ №",
    "𝓜𝓾𝓼𝓲𝓬 𝕱𝖗𝖆𝖐𝖙𝖚𝖗 𝟘𝟙𝟚 ⓜⓤⓢⓘⓒ 🅐 🄰 🈁",
    "piano 🎹 guitar 🎸 👩‍🎤 👨‍👩‍👧‍👦 👍🏽 🇫🇷🇩🇪🇯 ❤️‍🔥 🏴‍☠️ 1️⃣ ©️ ™️",
    "tabs\tand\nnewlines\r\nand\x0bvertical\x0cfeeds\x85next  double   triple",
    "nbsp\u00a0thin\u2009zero\u200bwidth\u200cjoin\u200der\u2060word\ufeffbom\u3000wide\u202fnarrow\u1680ogham",
    "nul\x00inside \x01\x02 bell\x07 escape\x1b[0m delete\x7f c1\x80\x9f",
    "</s> <pad> <unk> <extra_id_0> <extra_id_99><extra_id_1>x<extra_id_2 > < /s> </s></s>",
    "▁metaspace ▁▁ in▁the▁text ▁",
    "----- ===== ..... ooooo aaaaaaa lalalala hahaha 1000000 ______",
    "don't can't it's I'm we'll “quoted” ‘single’ … – — • ·",
    "https://example.org/a?b=c&d=%20#e user@example.org C:\\path\\file_name.wav",
    "Z̴̡̛a̷͚͝l̶̰̔g̸̙̈́o̴̫͆ t̷e̸x̶t̵ é é Å Å Å ǭ ǭ",
    "‮right-to-left override‬ ‪embed‬ ⁦isolate⁩ soft\u00adhyphen variation︎ selector️",
    "\ufffd replacement \ufffe \uffff noncharacters \U0001fffe \U0010ffff private \ue000 \U000f0000",
]

COMBINING = (
    "\u0300\u0301\u0302\u0303\u0304\u0308\u030a\u0323"
    "\u0327\u0345\u0338\u20d7\ufe0f\u3099\u309a\u0483\u05bf\u064b\u0670"
)
MAPPED = "ﬁﬂ①Å™℃ﷺ½ÅΩKａＡ㍿ﾊｶﾞ゙क़ড়ୡｶ…‼⁉ℹⒶ\u0340\u0344\u0958\u095f\u09dc\u0b5c\u0f43\ufb1d\ufb2a⁵ªºĳǆ\u00a0\u00ad"
JOINERS = "\u200d\u200c\ufe0f\u20e3\u094d\u09cd\u1039\u17d2\u0d4d\u0600\u06dd\u110bd\u0d4e\u115f\u1160\u11a8"
BASES = "aAeEoZ19-. 가각ㄱᄀ한कतরকമகกမខあ漢🎵👩🏽🇺🇸❤★©"
SPACES = " \t\n\r\x0b\x0c\x85\u00a0\u1680\u2000\u2003\u2009\u2028\u2029\u202f\u205f\u3000\u200b\u180e\ufeff"
CONTROLS = "".join(map(chr, [*range(0x20), 0x7F, *range(0x80, 0xA0)]))
SPECIALS = [
    "</s>",
    "<pad>",
    "<unk>",
    "<extra_id_0>",
    "<extra_id_17>",
    "<extra_id_99>",
    "<s>",
    "[WORD]",
    "[both]",
    "Straße",
]
PLANES = [
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x250, 0x6FF),
    (0x700, 0xFFF),
    (0x1000, 0x1FFF),
    (0x2000, 0x2FFF),
    (0x3000, 0x33FF),
    (0xA000, 0xABFF),
    (0xAC00, 0xD7FF),
    (0xF900, 0xFFFF),
    (0x10000, 0x11FFF),
    (0x16000, 0x16FFF),
    (0x1D000, 0x1DFFF),
    (0x1E000, 0x1FFFF),
    (0x20000, 0x2FFFF),
    (0xE0000, 0xE01EF),
]


def prompts() -> list[str]:
    """Every text of prompts/*.json and every phrase of the demo model's lexicon."""
    texts: list[str] = []

    def collect(value: object) -> None:
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict):
            for member in value.values():
                collect(member)
        elif isinstance(value, list):
            for member in value:
                collect(member)

    files = [*sorted((REPO / "prompts").glob("*.json")), REPO / "scripts" / "demo_model" / "lexicon.json"]
    for path in files:
        if path.exists() and path.name != "schema.json":
            collect(json.loads(path.read_text(encoding="utf-8")))
    return texts


def character_names() -> list[str]:
    """A large text that is the same everywhere: "latin small letter a with macron" and so on."""
    return [unicodedata.name(chr(c), "unnamed").lower() for c in range(0xA0, 0x2000)]


def awkward() -> list[str]:
    """What is decided by single characters: each alone, doubled, within words, and with a mark on it."""
    texts = [
        "",
        " ",
        "  ",
        "\n",
        "\x00",
        "\x00\x00a",
        "a" * 2000,
        "é" * 700,
        " " * 300,
        "\u0301",
        "▁",
        "▁" * 50,
    ]
    texts += ["no-space-at-all-" * 400, "漢字" * 600, "🎵" * 400, "क्‍" * 300, "\U0001f1eb" * 301]
    for c in dict.fromkeys(CONTROLS + SPACES + MAPPED + COMBINING + JOINERS):
        texts += [c, f"a{c}b", f" {c} x", f"{c}music", f"{c}\u0301", f"A{c}\u0301z", f"{c}{c}"]
    texts += [
        start + end
        for start in ("w", "q", "ﷺ", "\x01", "x\x01")
        for end in ("\x01", "x\x01x a", "\x01w", "a b")
    ]
    for special in SPECIALS:
        texts += [
            special,
            f"a{special}b",
            f" {special} ",
            f"x  {special}\t y",
            f"{special}{special}",
            special.upper(),
            special[1:],
        ]
        texts += [
            f"{special}\u0301",
            f"é{special}9",
            f"_{special}_",
            f"\u00a0{special}\u3000 z",
            f"\x01{special}",
        ]
    return texts


def clusters() -> list[str]:
    """Characters of every class that decides where a grapheme cluster ends, where that decides what is lost.

    A mapped character with a mark of two bytes loses it, unless it is in a cluster of six bytes or more.
    """
    extend = "\u0300\u093c\u0897\u1acf\u1b44\u20dd\ufe0f\U000113b8\U0001f3fd\U000e0061"
    spacing = "\u0903\u093f\u0bbf\u0e33\u1b3e\U000113b9\U000113ca\U0001171e"
    prepend = "\u0600\u06dd\u0d4e\U000110bd\U000113d1\U00011a3a"
    control = "\u0085\u00ad\u2065\u200b\ufeff\ufff5\U000e0002"
    hangul = "\u1100\u1160\u11a8\uac00\uac01\ud7b0\U00016d63\uffa1"
    conjunct = "\u0915\u094d\u0958\u0995\u09cd\u09dc\u1000\u1039\u0b5c\u0b4d\u200c\u200d"
    pictographs = "\u00a9\u2122\u2605\u2603\u203c\u2764\U0001f3b5\U0001f1eb\U0001f02c\U0001f000\u24c2"
    singles = extend + spacing + prepend + control + hangul + conjunct + pictographs
    forms = [
        *("A{}\u0301", "{}A\u0301", "q{}", "{}\u0301z", "e\u0301{}", "™{}\u0301", "{}\u0958", "{0}{0}\u0301"),
        *("क\u094d{}\u0958\u0301", "क{}\u094d\u0958\u0301", "❤\u200d{}\u0301", "❤{}\u200d™\u0301"),
        *("❤\u200d\ufe0f{}\u0301", "{}\u200d™\u0301", "\u1100{}\u0301", "{}\uac00\u0301", "{}\u11a8\u0301"),
        *("\U0001f1eb{}\u0301", "\U0001f1eb{}\U0001f1eb\u0301", "\r{}\n", "\u0600{}\u0301", "\u0600{}"),
    ]
    return [form.format(c) for c in singles for form in forms]


def random_code_point(rng: random.Random) -> str:
    """Any code point but a surrogate, each block as likely as the others."""
    low, high = rng.choice(PLANES)
    point = rng.randint(low, high)
    return "\ufffd" if 0xD800 <= point <= 0xDFFF else chr(point)


def random_text(rng: random.Random, vocabulary: list[str]) -> str:
    """A mix of words, hard clusters, white space, special tokens and arbitrary code points."""
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.random()
        if kind < 0.35:
            parts.append(rng.choice(vocabulary) + rng.choice(["", " ", " ", ", "]))
        elif kind < 0.6:
            alphabet = rng.choice([BASES, MAPPED, BASES + MAPPED])
            cluster = rng.choice(alphabet)
            for _ in range(rng.randint(0, 4)):
                cluster += rng.choice(COMBINING + JOINERS + MAPPED[:8] + rng.choice(BASES))
            parts.append(cluster)
        elif kind < 0.7:
            parts.append(rng.choice(SPACES) * rng.randint(1, 3))
        elif kind < 0.75:
            parts.append(rng.choice(CONTROLS))
        elif kind < 0.82:
            parts.append(rng.choice(SPECIALS))
        else:
            parts.append("".join(random_code_point(rng) for _ in range(rng.randint(1, 5))))
    return "".join(parts)


def all_texts(count: int, seed: int = 7) -> list[str]:
    """At least `count` distinct texts, the same ones for a seed."""
    rng = random.Random(seed)
    shipped = prompts()
    words = sorted({word for text in SENTENCES + shipped + character_names() for word in text.split()})
    texts = dict.fromkeys(SENTENCES + shipped + awkward() + clusters())
    for sentence in SENTENCES:
        for start in range(0, len(sentence), 3):  # also from within clusters
            texts[sentence[start : start + rng.randint(1, 25)]] = None
    while len(texts) < count:
        texts[random_text(rng, words)] = None
    return list(texts)
