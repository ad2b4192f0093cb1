"""A phone's camera: reads the QR code of a page."""

import re

import zxingcpp
from PIL import Image, ImageDraw


def read_qr_code(html: str) -> str:
    """Draws the page's SVG as a picture and reads it as a phone would."""
    svg = re.search(r"<svg.*?</svg>", html, re.DOTALL)[0]
    size = int(re.search(r'viewBox="0 0 (\d+)', svg)[1])
    picture = Image.new("L", (size * 8, size * 8), 255)
    pen = ImageDraw.Draw(picture)
    x = y = 0
    path = re.search(r'stroke="#000"[^>]* d="([^"]+)"|d="([^"]+)"[^>]* stroke="#000"', svg)
    for command, arguments in re.findall(r"([MmhH])([-\d. ]+)", path[1] or path[2]):
        numbers = [float(number) for number in re.findall(r"-?\d*\.?\d+", arguments)]
        if command == "M":
            x, y = numbers
        elif command == "m":
            x, y = x + numbers[0], y + numbers[1]
        else:
            pen.rectangle([x * 8, (y - 0.5) * 8, (x + numbers[0]) * 8 - 1, (y + 0.5) * 8 - 1], 0)
            x += numbers[0]
    return zxingcpp.read_barcodes(picture)[0].text
