"""What the real LLaMA-Factory scores random Chinese and English pairs with. Prints one JSON line.

    python3 score_pairs.py versions
    python3 score_pairs.py score PAIRS.jsonl COUNT SEED

Writes COUNT predictions made with SEED ("predict", "label", and the pair's number as "group") and prints
{"rows": [{"bleu-4", "rouge-1", "rouge-2", "rouge-l"}, ...], "mean": {...}}: LLaMA-Factory's own ComputeSimilarity, with
a tokenizer that hands it these texts.
"""

import json, os, random, sys
from types import SimpleNamespace

os.environ["HF_HUB_OFFLINE"] = "1"
NAMES = ("bleu-4", "rouge-1", "rouge-2", "rouge-l")
ENGLISH = """the a an of in with without is are shows no small large round irregular left right upper lower lobe lung liver
kidney brain nodule lesion mass effusion contrast-enhanced T2-weighted non-small-cell CT MRI X-ray scan image axial
coronal about approximately 3.2 cm mm 15% 0.5 1,200 HU (arrow) patient's It There Findings: suggest consistent normal
U.S. e.g. vs. and/or""".split()
CHINESE = """胸部 平扫 显示 右肺 左肺 上叶 下叶 见 结节 一枚 直径约 毫米 厘米 实性 磨玻璃 边缘 光滑 毛刺征 未见 明显 异常 肝脏
肾脏 脑部 信号 增强 低密度 高信号 考虑 缺血性 改变 纵隔 淋巴结 肿大 不大 胸腔 积液 少量 大量 左侧 右侧 额叶 片状 影 的 了 在 与
诊断 结果 图像 病灶 位于 建议 随访 恶性 良性 可能性 较大 囊肿 钙化 骨折 心影 增大""".split()
MARKS = ["，", "。", "、", "；", "：", "（", "）", ", ", ". ", "; ", "\n", "\r\n", "  ", "\t", "-", "...", "《", "》", "%"]
RARE = ["㐀", "鿕", "鿖", "𠀀", "é", "α", "β", "±", "→", "Ⅱ", "①", "ｍｍ", "肺️", "👍", "_", "3.5%", "v1.2a", "a.b", "10-15"]


def sentence(draw, words):
    chinese = draw.random()
    parts = []
    for _ in range(words):
        kind = draw.random()
        if kind < 0.12:
            parts.append(draw.choice(MARKS))
        elif kind < 0.16:
            parts.append(draw.choice(RARE))
        elif draw.random() < chinese:
            parts.append(draw.choice(CHINESE))
        else:
            parts.append(draw.choice(ENGLISH) + draw.choice([" ", " ", " ", ""]))
    return "".join(parts)


def changed(draw, text):
    """The text with some characters dropped, doubled, swapped or from elsewhere."""
    characters = list(text)
    for _ in range(draw.randrange(0, 1 + len(characters) // 2)):
        at = draw.randrange(0, len(characters)) if characters else 0
        kind = draw.random()
        if not characters or kind < 0.3:
            characters[at:at] = list(draw.choice(CHINESE + ENGLISH + RARE))
        elif kind < 0.7:
            del characters[at : at + draw.randrange(1, 6)]
        else:
            other = draw.randrange(0, len(characters))
            characters[at], characters[other] = characters[other], characters[at]
    return "".join(characters)


def pairs(count, seed):
    draw = random.Random(seed)
    for _ in range(count):
        label = sentence(draw, draw.choice([0, 1, 2, 3, 5, 8, 20, 40, 60]))
        kind = draw.random()
        if kind < 0.7:
            yield changed(draw, label), label
        elif kind < 0.75:
            yield label, label
        else:
            yield sentence(draw, draw.choice([0, 1, 4, 12, 50])), label


def score(path, count, seed):
    import numpy
    from llamafactory.train.sft.metric import ComputeSimilarity

    all_pairs = list(pairs(count, seed))
    with open(path, "w", encoding="utf-8") as out:
        for number, (predict, label) in enumerate(all_pairs):
            line = {"predict": predict, "label": label, "group": f"{number:06}"}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    texts = [text for pair in all_pairs for text in pair]
    # Each "token" is the number of a text.
    tokenizer = SimpleNamespace(
        pad_token_id=0, batch_decode=lambda ids, skip_special_tokens: [texts[int(row[0])] for row in ids]
    )
    metric = ComputeSimilarity(tokenizer=tokenizer)
    rows = []
    for number in range(count):
        one = SimpleNamespace(
            predictions=numpy.array([[2 * number]]), label_ids=numpy.array([[2 * number + 1]])
        )
        rows.append(metric(one, compute_result=True))
    every = SimpleNamespace(
        predictions=numpy.arange(0, 2 * count, 2)[:, None], label_ids=numpy.arange(1, 2 * count, 2)[:, None]
    )
    return {"rows": rows, "mean": metric(every)}


def versions():
    import jieba, llamafactory, nltk
    from llamafactory.extras.env import VERSION
    import rouge_chinese  # the scores need it

    return {"llamafactory": VERSION, "jieba": jieba.__version__, "nltk": nltk.__version__}


if __name__ == "__main__":
    sys.setrecursionlimit(100_000)
    command, *rest = sys.argv[1:]
    print(json.dumps(versions() if command == "versions" else score(rest[0], int(rest[1]), int(rest[2]))))
