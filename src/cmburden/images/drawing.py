"""Small pictures of places in a scan: crops in greys, rings and captions on a palette image.

Drawn with Pillow into a palette image: small, and the same bytes for the same input.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

#: RGB of the parts of a picture.
PAPER: Colour = (16, 18, 22)
INK: Colour = (236, 238, 240)
MUTED: Colour = (150, 156, 164)
AMBER: Colour = (255, 176, 0)
BLUE: Colour = (100, 190, 255)

#: Percentile of a plane that is drawn white. By eye.
_WHITE_PERCENTILE = 99
_LARGEST_GREY = 255
_ELLIPSIS = "…"
#: Degrees of a turn, and of a dash of a ring.
_TURN, _DASH = 360, 18


def font(size: int) -> Font:
    """Pillow's own font: the same on every machine."""
    return ImageFont.load_default(size)


def offsets_mm(pixels: int, side_mm: float) -> np.ndarray:
    """Distances (pixels,) of the pixels' centres from the middle of a crop's side.

    >>> offsets_mm(4, 8.0).tolist()
    [-3.0, -1.0, 1.0, 3.0]
    """
    return (np.arange(pixels) - (pixels - 1) / 2) * (side_mm / pixels)


def white_level(plane: np.ndarray) -> float:
    """The intensity of ``plane`` that is drawn white; 0 or less where there is no signal."""
    return float(np.percentile(plane, _WHITE_PERCENTILE))


def fitted(pen: ImageDraw.ImageDraw, text: str, width: float, letters: Font) -> str:
    """``text``, cut with an ellipsis where it is wider than ``width`` pixels."""
    if pen.textlength(text, font=letters) <= width:
        return text
    while text and pen.textlength(text + _ELLIPSIS, font=letters) > width:
        text = text[:-1]
    return text.rstrip() + _ELLIPSIS


@dataclasses.dataclass(frozen=True)
class Canvas:
    """A palette image: ``greys`` levels from black to white, then the colours by name.

    ``pen`` draws on ``image``; ``index`` gives a colour's place in the palette.
    """

    image: Image.Image
    pen: ImageDraw.ImageDraw
    greys: int
    index: Mapping[str, int]

    @classmethod
    def blank(cls, size: tuple[int, int], greys: int, colours: Mapping[str, Colour]) -> Canvas:
        """A canvas of ``size`` (width, height) pixels, filled with the first of ``colours``."""
        image = Image.new("P", size, greys)
        ramp = [
            value
            for grey in range(greys)
            for value in [round(_LARGEST_GREY * grey / (greys - 1))] * 3
        ]
        image.putpalette(ramp + [value for colour in colours.values() for value in colour])
        pen = ImageDraw.Draw(image)
        pen.fontmode = "1"  # a palette image cannot blend edges
        index = {name: greys + number for number, name in enumerate(colours)}
        return cls(image, pen, greys, index)

    def paste(self, crop: np.ndarray, corner: tuple[int, int]) -> None:
        """Draw ``crop`` (rows, columns) in 0..1; ``corner`` (x, y) is its upper left pixel."""
        levels = np.rint(crop * (self.greys - 1)).astype(np.uint8)
        rows, columns = levels.shape
        self.image.paste(Image.frombytes("P", (columns, rows), levels.tobytes()), corner)

    def ring(self, middle: tuple[float, float], radius: float, colour: int) -> None:
        """Draw a circle of ``radius`` pixels about ``middle`` (x, y)."""
        x, y = middle
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour)

    def dashed_ring(
        self, middle: tuple[float, float], radius: float, colour: int, width: int
    ) -> None:
        """Draw a dashed circle of ``radius`` and ``width`` pixels about ``middle`` (x, y)."""
        x, y = middle
        box = (x - radius, y - radius, x + radius, y + radius)
        for start in range(0, _TURN, 2 * _DASH):
            self.pen.arc(box, start, start + _DASH, fill=colour, width=width)

    def text(self, corner: tuple[float, float], words: str, colour: str, letters: Font) -> None:
        """Write ``words``; ``corner`` (x, y) is their upper left pixel."""
        self.pen.text(corner, words, fill=self.index[colour], font=letters)

    def png(self) -> bytes:
        stream = io.BytesIO()
        self.image.save(stream, format="PNG", optimize=True)
        return stream.getvalue()
