#!/usr/bin/env python3
"""Opens and decodes every picture below a folder with Pillow, as a trainer in Python would; warnings are errors.

    open_pictures.py DIR      prints {"opened": N, "failed": [[path, why], ...]}
    open_pictures.py version  prints Pillow's version
"""
import json
import pathlib
import sys
import warnings

import PIL
from PIL import Image

warnings.simplefilter("error")
# What is wrong with the size of a picture is told by the conversion; here it is decoded whatever it takes.
Image.MAX_IMAGE_PIXELS = None


def main(folder):
    failed, opened = [], 0
    for path in sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix in (".jpg", ".jpeg", ".png")):
        try:
            with Image.open(path) as image:
                image.load()
                if image.mode not in ("L", "RGB"):
                    raise ValueError(f"mode {image.mode}")
            opened += 1
        except Exception as error:
            failed.append([str(path), repr(error)])
    print(json.dumps({"opened": opened, "failed": failed}))


if __name__ == "__main__":
    if sys.argv[1] == "version":
        print(json.dumps(PIL.__version__))
    else:
        main(sys.argv[1])
