"""The six demo goods of Himalaya Prints: four landscapes, a pocket guide and a sound.

Every file is made by code from a fixed seed, so the same good always has the same bytes. The
landscapes are small worlds: a height map is raised from noise, lit by a sun or a moon, filled
with mist, seen through a camera and finished with glow, vignette and grain.
"""
# ruff: noqa: S311  seeded randomness is the point here: nothing in this module guards a secret.

import array
import io
import math
import operator
import random
import sys
import textwrap
import wave
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageMath

Colour = tuple[int, int, int]
Stops = list[tuple[float, Colour]]
Points = list[tuple[float, float]]

SIZE = (2560, 1440)
PREVIEW_SIZE = (960, 540)
PREVIEW_BYTES = 90_000
WORLD = (1600, 1200)
HAZE = (800, 600)  # soft things need few pixels
MESH = (1280, 1500)
FINE = 2  # edges are drawn at this multiple of the final size and then reduced


# Fields: pictures of numbers ---------------------------------------------------------------


class Field:
    """A picture of floats that can be calculated with; 0 to 1 is a useful range for masks."""

    def __init__(self, image: Image.Image):
        self.image = image if image.mode == "F" else image.convert("F")

    @property
    def size(self) -> tuple[int, int]:
        return self.image.size

    def _with(self, calculate: Callable, other) -> "Field":
        if isinstance(other, Field):
            images = {"a": self.image, "b": other.image}
            return Field(ImageMath.lambda_eval(lambda v: calculate(v["a"], v["b"]), **images))
        return Field(ImageMath.lambda_eval(lambda v: calculate(v["a"], other), a=self.image))

    def __add__(self, other):
        return self._with(operator.add, other)

    def __sub__(self, other):
        return self._with(operator.sub, other)

    def __rsub__(self, other):
        return self._with(lambda a, b: b - a, other)

    def __mul__(self, other):
        return self._with(operator.mul, other)

    def __truediv__(self, other):
        return self._with(operator.truediv, other)

    def __mod__(self, other):
        return self._with(operator.mod, other)

    def __pow__(self, other):
        return self._with(operator.pow, other)

    def __abs__(self):
        return Field(ImageMath.lambda_eval(lambda v: abs(v["a"]), a=self.image))

    __radd__ = __add__
    __rmul__ = __mul__

    def exp(self) -> "Field":
        return self._with(lambda a, e: e**a, math.e)

    def most(self, other: "Field") -> "Field":
        """The larger of the two, point by point."""
        images = {"a": self.image, "b": other.image}
        return Field(ImageMath.lambda_eval(lambda v: v["max"](v["a"], v["b"]), **images))

    def clip(self, low: float = 0.0, high: float = 1.0) -> "Field":
        return Field(
            ImageMath.lambda_eval(lambda v: v["max"](v["min"](v["a"], high), low), a=self.image)
        )

    def shifted(self, dx: float, dy: float) -> "Field":
        return Field(ImageChops.offset(self.image, round(dx), round(dy)))

    def resized(self, size: tuple[int, int]) -> "Field":
        return Field(self.image.resize(size, Image.Resampling.BICUBIC))

    def mask(self) -> Image.Image:
        return (self * 255).image.convert("L")


def level(value: float, size: tuple[int, int]) -> Field:
    return Field(Image.new("F", size, value))


def noise(rng: random.Random, size: tuple[int, int], cell: float, stretch: float = 1) -> Field:
    """Smooth noise from -1 to 1 with hills about `cell` wide, flattened by `stretch`."""
    width, height = size
    side = math.ceil(math.hypot(width, height * stretch) / cell) + 6
    grid = Image.frombytes("L", (side, side), rng.randbytes(side * side)).convert("F")
    # A turned grid hides that there is a grid; stretched noise has to stay level.
    turn = rng.uniform(0, math.tau) if stretch == 1 else 0
    cos, sin = math.cos(turn) / cell, math.sin(turn) / cell
    row = (cos, -sin * stretch, (side - cos * width + sin * stretch * height) / 2)
    column = (sin, cos * stretch, (side - sin * width - cos * stretch * height) / 2)
    affine = Image.Transform.AFFINE
    return Field(grid.transform(size, affine, row + column, Image.Resampling.BICUBIC)) / 127.5 - 1


def billows(
    rng: random.Random, size: tuple[int, int], cell: float, octaves: int, stretch: float = 1
) -> Field:
    """Fractal noise around 0: clouds, mist, the stains of a rock."""
    total = level(0, size)
    for octave in range(octaves):
        total += noise(rng, size, cell / 2**octave, stretch) / 2**octave
    return total


def ridges(rng: random.Random, size: tuple[int, int], cell: float, octaves: int) -> Field:
    """Ridged fractal noise, mostly 0 to 1.7: crests stay sharp and valleys stay calm."""
    total, weight = level(0, size), level(1, size)
    for octave in range(octaves):
        crest = abs(1 - abs(noise(rng, size, cell / 2**octave))) ** 1.5 * weight
        total += crest * 0.48**octave
        weight = (crest * 1.3 + 0.22).clip()
    return total


def curve_at(points: Points, place: float) -> float:
    """The height of a smooth curve through `points` (place, height) at `place`."""
    for (start, low), (end, high) in zip(points, points[1:], strict=False):
        if place <= end:
            ease = (place - start) / (end - start)
            return low + (high - low) * ease * ease * (3 - 2 * ease)
    return points[-1][1]


def slope(points: Points, size: tuple[int, int]) -> Field:
    """A field that follows a curve from top to bottom."""
    column = Image.new("F", (1, size[1]))
    column.putdata([curve_at(points, y / (size[1] - 1)) for y in range(size[1])])
    return Field(column.resize(size))


# Light and colour --------------------------------------------------------------------------


def wash(stops: Stops, size: tuple[int, int] = SIZE) -> Image.Image:
    """A gradient of colours from top to bottom."""
    bands = [[(place, colour[band]) for place, colour in stops] for band in range(3)]
    return Image.merge("RGB", [slope(points, size).image.convert("L") for points in bands])


def over(under: Image.Image, paint: Image.Image | Colour, amount: Field | Image.Image):
    """Lay paint over a picture, as thick as `amount` says."""
    if not isinstance(paint, Image.Image):
        paint = Image.new("RGB", under.size, paint)
    mask = amount.mask() if isinstance(amount, Field) else amount
    return Image.composite(paint, under, mask)


def mottled(dark: Colour, bright: Colour, amount: Field) -> Image.Image:
    return over(Image.new("RGB", amount.size, dark), bright, amount)


def lit(land: Field, sun: tuple[float, float, float]) -> Field:
    """How squarely light from direction `sun` (right, near, up) falls on the land."""
    rise, fall = land.shifted(-1, 0) - land, land.shifted(0, -1) - land
    steepness = (rise * rise + fall * fall + 1) ** 0.5
    return (sun[2] - rise * sun[0] - fall * sun[1]) / steepness


def shaded(land: Field, sun: tuple[float, float, float], soft: float = 3) -> Field:
    """1 where the land lies in the shadow of other land.

    The roof of all shadows is the land dragged down the light; doubling the drag each time
    reaches 255 steps with eight moves.
    """
    run = math.hypot(sun[0], sun[1])
    roof = land
    for step in (1, 2, 4, 8, 16, 32, 64, 128):
        moved = roof.shifted(-sun[0] / run * step, -sun[1] / run * step)
        roof = roof.most(moved - step * sun[2] / run)
    return ((roof - land) / soft).clip()


def glow(
    picture: Image.Image, at: tuple[float, float], radius: int, colour: Colour, strength: float
) -> Image.Image:
    """Add a soft round light; `at` is in parts of the picture."""
    fade = [round(255 * strength * max(0, 1 - v / 180) ** 2) for v in range(256)]
    disc = Image.radial_gradient("L").resize((2 * radius, 2 * radius)).point(fade)
    mask = Image.new("L", picture.size)
    mask.paste(disc, tuple(round(a * s) - radius for a, s in zip(at, picture.size, strict=True)))
    light = over(Image.new("RGB", picture.size), colour, mask)
    return ImageChops.screen(picture, light)


def finish(picture: Image.Image, rng: random.Random, vignette: float = 0.45) -> bytes:
    """Darken the corners, add the grain that hides banding, and develop the JPEG."""
    corners = [round(255 * vignette * (v / 255) ** 2.2) for v in range(256)]
    picture = over(picture, (6, 8, 18), Image.radial_gradient("L").resize(SIZE).point(corners))
    speckle = Image.frombytes("L", SIZE, rng.randbytes(SIZE[0] * SIZE[1]))
    speckle = speckle.filter(ImageFilter.GaussianBlur(0.6))
    speckle = speckle.point([round(128 + (v - 128) * 0.045) for v in range(256)])
    picture = ImageChops.add(picture, Image.merge("RGB", [speckle] * 3), 1, -128)
    return as_jpeg(picture, 90)


def as_jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
    return file.getvalue()


# The camera --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Camera:
    """Looks across the world from `eye` above its zero; `horizon` is in parts of the picture."""

    eye: float
    horizon: float
    near: float = 1200
    far: float = 2700

    def framed(self, image: Image.Image) -> Image.Image:
        """The part of a world map in view: as wide as the world far away, narrow nearby."""
        width, height = WORLD
        inset = width * (1 - self.near / self.far) / 2
        corners = (0, 0, inset, height, width - inset, height, width, 0)
        return image.transform(MESH, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)

    def rows(self, land: Field, size: tuple[int, int]) -> Iterable[list[float]]:
        """Where each row of the land, far to near, appears on a canvas; the last closes it."""
        columns, rows = MESH
        heights = self.framed(land.image).get_flattened_data()
        for row in range(rows):
            distance = self.far + (self.near - self.far) * row / (rows - 1)
            scale = size[0] * self.far / WORLD[0] / distance
            ground = self.horizon * size[1] + scale * self.eye
            yield [ground - scale * h for h in heights[row * columns : (row + 1) * columns]]
        yield [size[1]] * columns

    def drape(self, sky: Image.Image, land: Field, ground: Image.Image) -> Image.Image:
        """Draw the land over the sky, far to near, with the colours of its ground."""
        canvas = sky.resize((SIZE[0] * FINE, SIZE[1] * FINE), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(canvas).polygon
        columns = MESH[0]
        # Colours that change faster than the mesh would show its facets.
        soft = ground.filter(ImageFilter.GaussianBlur(0.7))
        colours = self.framed(soft).get_flattened_data()
        xs = [canvas.width * column / (columns - 1) for column in range(columns)]
        behind = None
        for row, front in enumerate(self.rows(land, canvas.size)):
            first = (min(row, MESH[1] - 1)) * columns
            for i in range(columns - 1) if behind else ():
                a, b, c, d = behind[i], behind[i + 1], front[i + 1], front[i]
                if d > a or c > b:  # the rest faces away from the camera
                    x, right = xs[i], xs[i + 1]
                    draw((x, a, right, b, right, c, x, d), fill=colours[first + i])
            behind = front
        return canvas.reduce(FINE)


# Things that stand in front ----------------------------------------------------------------


def broken_line(rng: random.Random, rough: float, steps: int = 9) -> list[float]:
    """A ridge line by midpoint displacement: heights around 0, evenly spaced."""
    line, height = [rng.uniform(-1, 1) * rough, rng.uniform(-1, 1) * rough], rough
    for _ in range(steps):
        middles = [
            (a + b) / 2 + rng.gauss(0, height / 2) for a, b in zip(line, line[1:], strict=False)
        ]
        line = [h for pair in zip(line, middles, strict=False) for h in pair] + line[-1:]
        height *= 0.52
    return line


def pine(rng: random.Random, x: float, y: float, height: float) -> list[tuple[float, float]]:
    """The outline of a conifer that stands at (x, y)."""
    tiers = max(5, round(height / 16))
    reach = height * rng.uniform(0.15, 0.21)
    sides = []
    for side in (-1, 1):
        edge = []
        for tier in range(1, tiers + 1):
            width = reach * (tier / tiers) ** 0.85 * rng.uniform(0.75, 1.1)
            top = y - height * (1 - tier / (tiers + 0.6))
            edge.append((x + side * width, top + height * 0.035))
            edge.append((x + side * width * 0.5, top))
        sides.append(edge)
    return [(x, y - height), *sides[1], (x, y + height * 0.1), *reversed(sides[0])]


def forest(
    rng: random.Random, base: float, rough: float, tallest: float, spacing: float
) -> Image.Image:
    """A mask of a wooded hillside whose ground lies around `base`, all in final pixels."""
    width, height = SIZE[0] * FINE, SIZE[1] * FINE
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    line = broken_line(rng, rough * FINE, 7)
    ground = [(width * i / (len(line) - 1), base * FINE + h) for i, h in enumerate(line)]
    draw.polygon([*ground, (width, height), (0, height)], fill=255)
    x = 0.0
    while x < width:
        place = x / width * (len(line) - 1)
        foot = base * FINE + line[int(place)] + rng.uniform(0, 0.25) * tallest
        size = tallest * FINE * rng.uniform(0.35, 1) ** 1.3
        draw.polygon(pine(rng, x, foot + size * 0.06, size), fill=255)
        x += spacing * FINE * rng.uniform(0.4, 1.6)
    return mask.reduce(FINE)


# The four landscapes -----------------------------------------------------------------------


def himalaya_at_dawn() -> bytes:
    rng = random.Random(5)
    sun_at = (0.12, 0.49)
    sky = wash(
        [
            (0, (34, 48, 94)),
            (0.22, (92, 92, 146)),
            (0.38, (200, 138, 152)),
            (0.48, (248, 178, 138)),
            (0.58, (255, 214, 160)),
            (1, (255, 222, 176)),
        ]
    )
    pink = wash(
        [(0, (96, 92, 142)), (0.22, (240, 150, 150)), (0.5, (255, 204, 164)), (1, (255,) * 3)]
    )
    where = slope([(0, 0.3), (0.2, 0.9), (0.45, 0.5), (0.6, 0), (1, 0)], WORLD)
    drift = (billows(rng, WORLD, 420, 6, 5) - 0.1) * where
    sky = over(sky, pink, drift.resized(SIZE))
    sky = glow(sky, sun_at, 1500, (255, 150, 90), 0.7)
    sky = glow(sky, sun_at, 420, (255, 225, 170), 0.95)

    land = ridges(rng, WORLD, 300, 8)
    massif = Image.new("L", WORLD)
    ImageDraw.Draw(massif).ellipse((860, 110, 1160, 330), fill=255)
    massif = Field(massif.filter(ImageFilter.GaussianBlur(90))) / 255
    relief = slope([(0, 100), (0.18, 190), (0.36, 115), (0.58, 80), (0.8, 84), (1, 70)], WORLD)
    floor = slope([(0, 20), (0.18, 62), (0.4, -24), (0.7, -85), (1, -125)], WORLD)
    land = (land - 0.75) * relief * (massif * 0.5 + 1) + floor + massif * 153

    sun = (-0.88, 0.18, 0.36)
    bright = lit(land, sun).clip() * 1.75 * (1 - shaded(land, sun))
    upward = lit(land, (0, 0, 1))
    stains = billows(rng, WORLD, 60, 5)
    low = (stains * 14 - land - 12) / 50
    stone = stains * 0.28 + 0.5
    in_shade = over(mottled((38, 40, 76), (64, 62, 100), stone), (28, 36, 64), low)
    in_light = over(mottled((128, 82, 92), (190, 124, 112), stone), (84, 68, 92), low)
    snow = ((land + stains * 20 - 16) / 30).clip()
    snow *= (upward + stains * 0.08 - 0.4 + (land.clip(100, 260) - 100) / 900) * 6
    in_shade = over(in_shade, mottled((96, 102, 166), (152, 152, 204), upward * upward), snow)
    in_light = over(in_light, (255, 222, 190), snow)
    ground = over(in_shade, in_light, bright)

    depth = slope([(0, 1), (1, 0)], WORLD)
    ground = over(ground, (206, 160, 178), depth**1.3 * 0.36)
    mist = ((floor * 0.85 - land - 30 + billows(rng, WORLD, 220, 5) * 18) / 17).exp()
    vapour = mottled((216, 164, 178), (250, 214, 198), billows(rng, WORLD, 160, 5) * 0.45 + 0.5)
    ground = over(ground, vapour, mist * (depth * 0.7 + 0.3))

    picture = Camera(eye=105, horizon=0.5).drape(sky, land, ground)
    picture = over(picture, (24, 26, 52), forest(rng, 1400, 60, 120, 16))
    picture = glow(picture, sun_at, 1300, (255, 140, 80), 0.38)
    return finish(picture, rng)


def stars(rng: random.Random, count: int) -> Image.Image:
    """A night's worth of stars, most of them faint, as a mask."""
    mask = Image.new("L", (SIZE[0] * FINE, SIZE[1] * FINE))
    draw = ImageDraw.Draw(mask)
    for _ in range(count):
        x, y = rng.uniform(0, mask.width), rng.uniform(0, mask.height)
        size = 0.6 + 3.2 * rng.random() ** 9
        draw.ellipse((x - size, y - size, x + size, y + size), fill=rng.randint(50, 255))
    return mask.reduce(FINE)


def mirrored(picture: Image.Image, shore: int, rng: random.Random) -> Image.Image:
    """Fill everything under the shore line with its reflection in quiet water."""
    width, height = picture.size
    depth = height - shore
    water = picture.crop((0, shore - depth, width, shore))
    water = water.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    water = water.filter(ImageFilter.BoxBlur((1, 5)))
    rippled = water.copy()
    sway = 0.0
    for y in range(depth):
        sway = 0.8 * sway + rng.gauss(0, 0.4 + 2.6 * y / depth)
        rippled.paste(ImageChops.offset(water.crop((0, y, width, y + 1)), round(sway), 0), (0, y))
    shine = slope([(0, 0.12), (0.25, 0.25), (1, 0.62)], rippled.size)
    rippled = over(rippled, (6, 14, 34), shine)
    picture = picture.copy()
    picture.paste(rippled, (0, shore))
    return picture


def moonlit_lake() -> bytes:
    rng = random.Random(21)
    moon_at = (0.78, 0.275)
    sky = wash([(0, (5, 9, 28)), (0.3, (14, 30, 66)), (0.55, (42, 78, 122)), (1, (70, 110, 150))])
    sky = over(sky, (226, 234, 255), stars(rng, 5200))
    veil = (billows(rng, WORLD, 520, 6, 4) - 0.25) * 0.3
    sky = over(sky, (120, 150, 190), veil.resized(SIZE))
    sky = glow(sky, moon_at, 1100, (110, 150, 210), 0.55)
    sky = glow(sky, moon_at, 260, (210, 225, 255), 0.6)
    sky = moon(sky, moon_at, 58, rng)

    relief = slope([(0, 150), (0.3, 170), (0.6, 80), (1, 30)], WORLD)
    floor = slope([(0, 70), (0.3, 60), (0.65, -10), (1, -60)], WORLD)
    land = (ridges(rng, WORLD, 340, 8) - 0.6) * relief + floor
    light = (0.72, -0.05, 0.5)
    bright = lit(land, light).clip() * 1.3 * (1 - shaded(land, light))
    upward = lit(land, (0, 0, 1))
    stains = billows(rng, WORLD, 50, 5)
    snow = ((land + stains * 24 - 60) / 40).clip() * (upward + stains * 0.1 - 0.42) * 6
    dark = over(mottled((8, 16, 36), (16, 28, 54), stains * 0.3 + 0.5), (30, 50, 92), snow)
    pale = over(mottled((34, 52, 84), (56, 78, 112), stains * 0.3 + 0.5), (186, 208, 236), snow)
    ground = over(dark, pale, bright)
    depth = slope([(0, 1), (1, 0)], WORLD)
    ground = over(ground, (52, 88, 132), depth * 0.45)
    mist = ((16 - land + billows(rng, WORLD, 200, 5) * 14) / 16).exp() * 0.8
    ground = over(ground, (74, 110, 150), mist.clip(0, 0.85))
    picture = Camera(eye=30, horizon=0.6).drape(sky, land, ground)

    shore = 890
    picture = over(picture, (7, 14, 28), forest(rng, shore - 6, 16, 52, 7))
    picture = mirrored(picture, shore, rng)
    haze = slope([(0, 0), (0.56, 0), (0.618, 0.42), (0.66, 0), (1, 0)], SIZE)
    picture = over(picture, (92, 128, 168), haze)
    return finish(picture, rng)


def moon(sky: Image.Image, at: tuple[float, float], radius: int, rng: random.Random):
    side = 2 * radius
    seas = billows(rng, (side * FINE, side * FINE), 70, 4) * 0.5 + 0.62
    face = mottled((172, 184, 206), (252, 252, 244), seas.clip()).reduce(FINE)
    disc = Image.new("L", (side * 4, side * 4))
    ImageDraw.Draw(disc).ellipse((4, 4, side * 4 - 4, side * 4 - 4), fill=255)
    corner = tuple(round(a * s) - radius for a, s in zip(at, SIZE, strict=True))
    sky.paste(face, corner, disc.reduce(4))
    return sky


def dunes_at_last_light() -> bytes:
    rng = random.Random(8)
    sun_at = (0.80, 0.30)
    sky = wash(
        [
            (0, (44, 108, 132)),
            (0.14, (120, 168, 168)),
            (0.25, (236, 206, 160)),
            (0.34, (252, 184, 112)),
            (1, (250, 170, 100)),
        ]
    )
    streaks = (billows(rng, WORLD, 500, 6, 9) - 0.2) * 0.7
    sky = over(sky, (255, 216, 176), streaks.resized(SIZE))
    sky = glow(sky, sun_at, 1200, (255, 170, 80), 0.7)
    sky = glow(sky, sun_at, 330, (255, 240, 200), 1.0)

    land = dunes(rng)
    sun = (0.90, -0.22, 0.24)
    bright = lit(land, sun).clip() * 1.9 * (1 - shaded(land, sun, 2))
    wind = billows(rng, WORLD, 5, 2, 4) * 0.05
    shade = mottled((66, 28, 52), (116, 52, 62), lit(land, (0, 0, 1)))
    sand = mottled((190, 92, 50), (250, 188, 112), bright * 0.75 + wind)
    ground = over(shade, sand, bright + wind)
    depth = slope([(0, 1), (1, 0)], WORLD)
    ground = over(ground, (246, 184, 128), depth**2 * 0.6)
    picture = Camera(eye=130, horizon=0.36, near=480).drape(sky, land, ground)
    picture = glow(picture, sun_at, 1300, (255, 150, 70), 0.26)
    return finish(picture, rng)


def dunes(rng: random.Random) -> Field:
    """Waves of sand: a long windward slope, a sharp crest and a short lee."""
    ramp = Image.linear_gradient("L").convert("F")
    down = Field(ramp).resized(WORLD) / 255 * WORLD[1]
    across = Field(ramp.transpose(Image.Transpose.ROTATE_90)).resized(WORLD) / 255 * WORLD[0]
    land = billows(rng, WORLD, 600, 2) * 30
    for width, height, lean in ((430, 95, 0.9), (170, 16, 1.6)):
        bend = billows(rng, WORLD, width * 1.3, 3) * width * 0.42
        phase = ((across + down * lean + bend) / width + 9) % 1.0
        windward, lee = phase / 0.7, (1 - phase) / 0.3
        rise = windward - (windward - lee).clip(0, 9)
        strength = (billows(rng, WORLD, width * 1.7, 2) * 0.5 + 0.65).clip(0.1, 1.3)
        land += abs(rise) ** 1.35 * strength * height
    return land


def northern_lights() -> bytes:
    rng = random.Random(14)
    sky = wash([(0, (6, 10, 32)), (0.35, (10, 34, 58)), (0.62, (26, 82, 88)), (1, (60, 120, 112))])
    sky = over(sky, (220, 240, 245), stars(rng, 3600))
    sky = glow(sky, (0.42, 0.60), 1500, (30, 150, 110), 0.55)
    for height, foot, strength in ((700, 0.34, 0.6), (980, 0.46, 1.0), (560, 0.56, 0.7)):
        sky = ImageChops.screen(sky, curtain(rng, height, foot * SIZE[1], strength))

    picture = sky
    layers = (
        (950, 130, 26, 6, (30, 96, 98)),
        (1000, 110, 44, 9, (24, 78, 86)),
        (1070, 90, 80, 14, (17, 56, 67)),
        (1190, 90, 150, 24, (10, 35, 47)),
        (1390, 60, 330, 56, (4, 14, 23)),
    )
    for base, rough, tallest, spacing, colour in layers:
        picture = over(picture, colour, forest(rng, base, rough, tallest, spacing))
        if base == layers[-1][0]:
            break
        foot = base / SIZE[1]
        fade = slope([(0, 0), (foot - 0.08, 0), (foot + 0.09, 0.85), (1, 0.85)], HAZE)
        fog = fade * (billows(rng, HAZE, 150, 5, 3) * 0.55 + 0.55)
        picture = over(picture, (96, 168, 156), fog.clip(0, 0.85).resized(SIZE))
    return finish(picture, rng)


AURORA = [(0, (120, 40, 150)), (0.35, (110, 70, 190)), (0.62, (40, 200, 150)), (1, (140, 255, 180))]


def curtain(rng: random.Random, height: int, foot: float, strength: float) -> Image.Image:
    """One fold of the aurora: thin vertical rays hung along a wandering line."""
    size = (SIZE[0], height)
    rays = (billows(rng, (SIZE[0], 1), 110, 6) * 0.5 + 0.55).clip(0.04, 1)
    patches = (billows(rng, (SIZE[0], 1), 800, 2) * 0.7 + 0.75).clip(0.1, 1)
    fall = slope([(0, 0), (0.5, 0.22), (0.78, 1), (1, 0)], size)
    cloth = fall * (rays * patches).resized(size)
    tints = wash(AURORA, size)
    cloth = over(Image.new("RGB", size), tints, cloth * strength)
    line = billows(rng, (SIZE[0], 1), 760, 3).image.get_flattened_data()
    hung = Image.new("RGB", SIZE)
    for x, sway in enumerate(line):
        hung.paste(cloth.crop((x, 0, x + 1, height)), (x, round(foot + sway * 130 - height)))
    return hung.filter(ImageFilter.BoxBlur((3, 2)))


# The pocket guide --------------------------------------------------------------------------

PAGE = (420, 595)  # A5, in points
MARGIN = 48
PAPER = (250, 246, 238)
INK = (44, 42, 66)
PEAKS: list[tuple[int, float, float, Colour]] = [
    # seed, height of the line in parts of the drawing, roughness, colour
    (3, 0.56, 0.75, (214, 178, 196)),
    (9, 0.42, 0.55, (150, 130, 172)),
    (4, 0.27, 0.36, (92, 86, 136)),
    (6, 0.13, 0.20, INK),
]
DAWN: Colour = (250, 214, 178)
SUN: Colour = (244, 140, 84)

GUIDE_TITLE = "Paying with bitcoin"
GUIDE_SUBTITLE = "A pocket guide"
GUIDE: list[list[tuple[str, str]]] = [
    [
        (
            "What you need",
            "A wallet: an app that holds the keys to your coins, and a small amount of bitcoin in "
            "it. Whoever holds the keys holds the money, so write down the recovery words the "
            "wallet gives you, keep them on paper, and show them to nobody.",
        ),
        (
            "How a payment works",
            "The shop shows an address and an amount, often as a QR code. Your wallet signs a "
            "transaction and sends it to the network. Miners then put it in a block, about one "
            "every ten minutes. Each further block makes the payment harder to undo.",
        ),
    ],
    [
        (
            "Units",
            "One bitcoin is 100,000,000 satoshis, or sats. Small prices are easier to read in "
            "sats: 0.00005 BTC is 5,000 sats. A price in dollars is turned into bitcoin at the "
            "rate of the moment, which is why an offer is only good for a while.",
        ),
        (
            "Fees",
            "The fee goes to the miners, not to the shop. It depends on how full the network is "
            "and on the size of the transaction in bytes, not on the amount you send.",
        ),
        (
            "Before you press send",
            "Scan the code rather than typing the address. Compare the first and the last "
            "characters. Send the exact amount, in one payment, to the address you were shown. "
            "A payment cannot be called back, and an address is best used only once.",
        ),
        (
            "Afterwards",
            "Your wallet keeps the transaction id, a long number that anybody can look up in a "
            "block explorer. It is your receipt. Keep it until the goods have arrived.",
        ),
    ],
]


def skyline(seed: int, base: float, rough: float) -> Points:
    """A ridge from (0, y) to (1, y), with y upward in parts of the drawing."""
    line = broken_line(random.Random(seed), rough / 2, 6)
    return [(i / (len(line) - 1), max(0.02, base + h)) for i, h in enumerate(line)]


def pocket_guide() -> bytes:
    return as_pdf([guide_cover(), *(guide_page(page, i) for i, page in enumerate(GUIDE, 2))])


def ink(colour: Colour) -> str:
    return " ".join(f"{band / 255:.3f}" for band in colour) + " rg"


def text_at(x: float, y: float, font: str, size: float, text: str) -> str:
    escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /{font} {size} Tf {x:.1f} {y:.1f} Td ({escaped}) Tj ET"


def paper() -> str:
    return f"{ink(PAPER)} 0 0 {PAGE[0]} {PAGE[1]} re f"


def guide_cover() -> str:
    """The title above a drawing of four ranges and a rising sun."""
    width, height = PAGE[0], 330
    drawing = [paper(), f"{ink(DAWN)} 0 0 {width} {height} re f", ink(SUN)]
    drawing.append(disc_path(0.30 * width, 0.62 * height, 34))
    for seed, base, rough, colour in PEAKS:
        line = [f"{x * width:.1f} {y * height:.1f} l" for x, y in skyline(seed, base, rough)]
        drawing.append(f"{ink(colour)} 0 0 m {' '.join(line)} {width} 0 l h f")
    drawing += [
        ink(INK),
        text_at(MARGIN, 480, "Title", 30, GUIDE_TITLE),
        text_at(MARGIN, 450, "Body", 15, GUIDE_SUBTITLE),
        text_at(MARGIN, 372, "Body", 10, "Himalaya Prints"),
    ]
    return "\n".join(drawing)


def disc_path(x: float, y: float, radius: float) -> str:
    points = [
        (x + radius * math.cos(math.tau * i / 90), y + radius * math.sin(math.tau * i / 90))
        for i in range(90)
    ]
    start, *rest = (f"{px:.1f} {py:.1f}" for px, py in points)
    return f"{start} m {' '.join(f'{point} l' for point in rest)} h f"


def guide_page(sections: list[tuple[str, str]], number: int) -> str:
    lines, y = [paper(), ink(INK)], PAGE[1] - 80.0
    for heading, body in sections:
        lines.append(text_at(MARGIN, y, "Title", 15, heading))
        y -= 22
        for line in textwrap.wrap(body, 60):
            lines.append(text_at(MARGIN, y, "Body", 11, line))
            y -= 16
        y -= 20
    lines.append(text_at(PAGE[0] / 2 - 3, 32, "Body", 9, str(number)))
    return "\n".join(lines)


def as_pdf(pages: list[str]) -> bytes:
    """Bind page contents into a PDF that uses two of the fonts every viewer has."""
    kids = " ".join(f"{5 + 2 * i} 0 R" for i in range(len(pages)))
    font = "<< /Type /Font /Subtype /Type1 /BaseFont /{} /Encoding /WinAnsiEncoding >>"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /Lang (en) >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] /MediaBox [0 0 {PAGE[0]} {PAGE[1]}]"
        " /Resources << /Font << /Title 3 0 R /Body 4 0 R >> >> >>",
        font.format("Times-Bold"),
        font.format("Times-Roman"),
    ]
    for i, content in enumerate(pages):
        objects.append(f"<< /Type /Page /Parent 2 0 R /Contents {6 + 2 * i} 0 R >>")
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    info = f"<< /Title ({GUIDE_TITLE}: {GUIDE_SUBTITLE.lower()}) /Author (Himalaya Prints) >>"
    objects.append(info)

    file, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(file))
        file += f"{number} 0 obj\n{body}\nendobj\n"
    entries = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    count = len(objects) + 1
    trailer = f"<< /Size {count} /Root 1 0 R /Info {len(objects)} 0 R >>"
    start = len(file)
    file += f"xref\n0 {count}\n0000000000 65535 f \n{entries}"
    file += f"trailer\n{trailer}\nstartxref\n{start}\n%%EOF\n"
    return file.encode("ascii")


# The sound ---------------------------------------------------------------------------------

RATE = 44_100
SECONDS = 12
STRIKES = [(0.15, 196.0, 1.0), (3.6, 293.66, 0.6), (6.4, 220.0, 0.75)]  # second, hertz, strength
PARTIALS = [(1.0, 1.0, 3.6), (2.76, 0.42, 2.2), (5.18, 0.16, 1.1)]  # ratio, loudness, half-life
BEAT = 0.9  # hertz between the two voices of every partial: the slow wavering of a bowl


def singing_bowl() -> bytes:
    count = RATE * SECONDS
    sound = [0.0] * count
    for second, pitch, strength in STRIKES:
        start = round(second * RATE)
        for ratio, loudness, half_life in PARTIALS:
            for detune in (0, BEAT * ratio**0.5):
                ring(sound, start, pitch * ratio + detune, strength * loudness, half_life)
    peak = max(map(abs, sound))
    fades = [min(1, i / (RATE * 0.05), (count - 1 - i) / (RATE * 2.5)) for i in range(count)]
    loud = [round(28_000 * s / peak * f * f) for s, f in zip(sound, fades, strict=True)]
    return as_wav(array.array("h", loud))


def ring(sound: list[float], start: int, pitch: float, loudness: float, half_life: float):
    """Add one decaying tone, as a point that spirals inward; it swells in to avoid a click."""
    step = 0.5 ** (1 / (half_life * RATE)) * complex(
        math.cos(math.tau * pitch / RATE), math.sin(math.tau * pitch / RATE)
    )
    swell = round(0.012 * RATE)
    point = complex(loudness, 0)
    for i in range(start, start + swell):
        sound[i] += point.imag * (i - start) / swell
        point *= step
    for i in range(start + swell, len(sound)):
        sound[i] += point.imag
        point *= step


def as_wav(samples: array.array) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples.tobytes())
    return file.getvalue()


# Pictures for the shelf --------------------------------------------------------------------


def light_jpeg(picture: Image.Image) -> bytes:
    """The best JPEG that is small enough for the shelf."""
    for quality in range(88, 30, -4):
        file = as_jpeg(picture, quality)
        if len(file) <= PREVIEW_BYTES:
            break
    return file


def small_print(full: bytes) -> bytes:
    with Image.open(io.BytesIO(full)) as picture:
        return light_jpeg(picture.convert("RGB").resize(PREVIEW_SIZE, Image.Resampling.LANCZOS))


def detail(full: bytes) -> bytes:
    """A part of the picture from a little left of its middle, pixel by pixel."""
    with Image.open(io.BytesIO(full)) as picture:
        left, top = picture.width // 3, picture.height // 3
        part = (left, top, left + PREVIEW_SIZE[0], top + PREVIEW_SIZE[1])
        return light_jpeg(picture.convert("RGB").crop(part))


def guide_on_desk(full: bytes) -> bytes:
    """The cover of the guide, lying on a dusky desk."""
    desk_size = tuple(2 * side for side in PREVIEW_SIZE)
    desk = wash([(0, (52, 50, 92)), (0.6, (128, 100, 140)), (1, (214, 158, 150))], desk_size)
    width, height = 640, 906
    left, top = (desk_size[0] - width) // 2, (desk_size[1] - height) // 2
    shadow = Image.new("L", desk_size)
    ImageDraw.Draw(shadow).rectangle((left, top + 20, left + width, top + height + 24), fill=150)
    desk = over(desk, (16, 14, 36), shadow.filter(ImageFilter.GaussianBlur(26)))
    desk.paste(drawn_cover((width, height)), (left, top))
    return light_jpeg(desk.reduce(2))


def drawn_cover(size: tuple[int, int]) -> Image.Image:
    width, height = size[0] * FINE, size[1] * FINE
    point = width / PAGE[0]
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    drawing = 330 * point
    draw.rectangle((0, height - drawing, width, height), fill=DAWN)
    draw.circle((0.30 * width, height - 0.62 * drawing), 34 * point, fill=SUN)
    for seed, base, rough, colour in PEAKS:
        line = [(x * width, height - y * drawing) for x, y in skyline(seed, base, rough)]
        draw.polygon([(0, height), *line, (width, height)], fill=colour)
    for size_, y, text in ((30, 480, GUIDE_TITLE), (15, 450, GUIDE_SUBTITLE)):
        font = ImageFont.load_default(size_ * point)
        draw.text((MARGIN * point, height - y * point), text, INK, font, anchor="ls")
    return page.reduce(FINE)


def waveform(full: bytes) -> bytes:
    """The sound itself as bars of light over still water."""
    with wave.open(io.BytesIO(full)) as sound:
        samples = array.array("h", sound.readframes(sound.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    width, height = (2 * side for side in PREVIEW_SIZE)
    bars, middle = 96, height * 0.52
    span = len(samples) // bars
    dusk = wash([(0, (16, 22, 52)), (0.52, (58, 60, 110)), (1, (20, 24, 56))], (width, height))
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    pitch = (width - 240) / bars
    for bar in range(bars):
        loud = max(map(abs, samples[bar * span : (bar + 1) * span])) / 32_768
        tall, x = 6 + 330 * loud**0.8, 120 + bar * pitch
        draw.rounded_rectangle((x, middle - tall, x + 9, middle + tall), 4, fill=255)
    gold = wash([(0, (255, 170, 110)), (0.52, (255, 228, 178)), (1, (190, 130, 190))], dusk.size)
    dusk = ImageChops.screen(dusk, over(Image.new("RGB", dusk.size), (120, 70, 60), blurred(mask)))
    return light_jpeg(over(dusk, gold, mask).reduce(2))


def blurred(mask: Image.Image) -> Image.Image:
    return mask.filter(ImageFilter.GaussianBlur(40))


# The shelf ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Preview:
    words: str
    make: Callable[[bytes], bytes]  # from the full file


@dataclass(frozen=True)
class Good:
    """A thing on the shelf and the two recipes for its files."""

    slug: str
    title: str
    description: str
    price: Decimal  # in US dollars
    filename: str
    make: Callable[[], bytes]  # the full file that is sold
    category: str
    pictures: tuple[Preview, ...]

    def name(self, number: int) -> str:
        """The file of one of its pictures, below the folder of what everybody may see."""
        return f"products/{self.slug}-{number + 1}.jpg"


GOODS: tuple[Good, ...] = (
    Good(
        slug="himalaya-at-dawn",
        title="Himalaya at Dawn",
        description=(
            "The first sun reaches the snow of a high peak while the valleys are still full of "
            "mist. Behind it the sky goes from slate blue through rose to apricot. "
            "A wallpaper of 2560 by 1440 pixels, as a JPEG."
        ),
        price=Decimal("7.50"),
        filename="himalaya-at-dawn.jpg",
        make=himalaya_at_dawn,
        category="Wallpapers",
        pictures=(
            Preview("A snowy peak in the first sun over misty valleys", small_print),
            Preview("The ridge and the mist at full size", detail),
        ),
    ),
    Good(
        slug="moonlit-lake",
        title="Moonlit Lake",
        description=(
            "A full moon stands over a range of snow and dark rock, and a quiet lake holds it all "
            "a second time. Blue, silver and very still. "
            "A wallpaper of 2560 by 1440 pixels, as a JPEG."
        ),
        price=Decimal("6.00"),
        filename="moonlit-lake.jpg",
        make=moonlit_lake,
        category="Wallpapers",
        pictures=(
            Preview(
                "A full moon over snowy mountains and their mirror image in a lake", small_print
            ),
            Preview("The far shore at full size", detail),
        ),
    ),
    Good(
        slug="dunes-at-last-light",
        title="Dunes at Last Light",
        description=(
            "The sun is low, the sand is copper, and the shadows behind the crests have turned "
            "to plum. A warm picture with a calm sky and plenty of room for icons. "
            "A wallpaper of 2560 by 1440 pixels, as a JPEG."
        ),
        price=Decimal("5.00"),
        filename="dunes-at-last-light.jpg",
        make=dunes_at_last_light,
        category="Wallpapers",
        pictures=(
            Preview("Copper dunes with long plum-coloured shadows", small_print),
            Preview("The crest of a dune at full size", detail),
        ),
    ),
    Good(
        slug="northern-lights",
        title="Northern Lights",
        description=(
            "Green curtains hang from a starry sky above one row of pines after another, each "
            "fainter in the fog. It looks its best on a dark desktop. "
            "A wallpaper of 2560 by 1440 pixels, as a JPEG."
        ),
        price=Decimal("4.50"),
        filename="northern-lights.jpg",
        make=northern_lights,
        category="Wallpapers",
        pictures=(
            Preview("Green northern lights over rows of pines", small_print),
            Preview("The curtain of light at full size", detail),
        ),
    ),
    Good(
        slug="paying-with-bitcoin",
        title="Paying with Bitcoin: A Pocket Guide",
        description=(
            "What a wallet is, how a payment travels, what the fee is for, and what to check "
            "before you press send. Three A5 pages in plain words, as a PDF you can print, "
            "search and copy from."
        ),
        price=Decimal("0.90"),
        filename="paying-with-bitcoin.pdf",
        make=pocket_guide,
        category="Guides",
        pictures=(Preview("The cover of the guide on a desk at dusk", guide_on_desk),),
    ),
    Good(
        slug="singing-bowl",
        title="Singing Bowl",
        description=(
            "Three soft strikes on three bowls, each with the slow wavering that makes the sound "
            "seem to breathe. Twelve seconds that suit an alarm, a timer or the end of a "
            "meditation. An uncompressed WAV, 16 bits at 44.1 kHz."
        ),
        price=Decimal("1.80"),
        filename="singing-bowl.wav",
        make=singing_bowl,
        category="Sounds",
        pictures=(Preview("The sound drawn as golden bars of light over dark water", waveform),),
    ),
)
