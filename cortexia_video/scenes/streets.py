"""Streets and country roads with what stands along them, lies on them and spans them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cortexia_video.scenes import buildings, landscape, people, street_things, trees, vehicles
from cortexia_video.scenes import outdoor_materials as materials
from cortexia_video.scenes.description import Material, rotation
from cortexia_video.scenes.furniture_models import Furniture, Library
from cortexia_video.scenes.landscape import add
from cortexia_video.scenes.pieces import (
    Floats,
    Piece,
    boxes,
    join,
    path,
    scatter,
    tubes,
    vec,
)
from cortexia_video.scenes.placed_models import put_model
from cortexia_video.scenes.way import Way

_LONGEST_CAR_M = 5.2
_MOST_TRIANGLES = 700_000  # of models, on a street
_KEPT = 0.85  # of their parts keep their material


class Street:
    """A road with what stands along it: a scene, and where cameras may be.

    models: a person's cars, trees, people and things of streets, which take the place of some of ours.
    half_road: half the width of the carriageway. kerb_m: height of the pavement. edge: of each side, t where
    the pavement ends.
    """

    def __init__(self, rng: Generator, urban: float, models: Library | None = None) -> None:
        self.scene = landscape.begin(rng)
        self.models = models or Library(())
        self.triangles_left = _MOST_TRIANGLES
        self.rng, self.way, self.urban = rng, Way(rng), urban
        self.half_road = rng.uniform(2.4, 4.2) if rng.random() < 0.6 else rng.uniform(4.2, 11)
        self.kerb_m = rng.uniform(0.04, 0.17) if rng.random() < 0.3 + 0.6 * urban else 0.0
        self.pavement = rng.uniform(1.0, 4.5, 2) * (rng.random(2) < 0.25 + 0.7 * urban)
        self._lay_ground()
        self.line_t = np.zeros(2)
        for number, side in enumerate((-1, 1)):
            self._build_side(number, side)
        self._add_traffic()
        self._add_furniture()
        self._add_across()
        landscape.add_far(self.scene, town=0.2 + 0.5 * urban)

    def _lay_ground(self) -> None:
        rng, scene, way, r = self.rng, self.scene, self.way, self.half_road
        verge = rng.uniform(0.5, 7, 2)
        bank = rng.normal(0, 1.5, 2) * (rng.random(2) < 0.3 * (1.3 - self.urban))
        self.bank = bank
        profile, materials = [], []
        ground = scene.draw(("foliage", "foliage", "stained", "asphalt", "tiles"), period_m=rng.uniform(1, 6))
        paving = scene.draw(("tiles", "tiles", "asphalt", "plain", "bricks"), period_m=rng.uniform(0.5, 3))
        kerb = scene.draw(("plain", "stained"), tint=rng.uniform(0.7, 1.5))
        wet = rng.random() < 0.12
        road = scene.draw(
            ("asphalt", "asphalt", "asphalt", "plain", "bricks", "tiles"), period_m=rng.uniform(1, 5),
            tint=rng.uniform(0.25, 0.5) if wet else rng.uniform(0.7, 1.2), gloss=rng.uniform(0.5, 1.2) if wet else None,
        )  # fmt: skip
        left = [
            (-260, bank[0]),
            (-r - self.pavement[0] - verge[0] - 12, bank[0]),
            (-r - self.pavement[0] - verge[0], 0.0),
        ]
        right = [
            (r + self.pavement[1] + verge[1], 0.0),
            (r + self.pavement[1] + verge[1] + 12, bank[1]),
            (260, bank[1]),
        ]
        k = self.kerb_m
        profile = [
            *left, (-r - self.pavement[0] - 0.01, k), (-r - 0.12, k), (-r, k), (-r - 0.001, 0.0), (0, 0.04),
            (r, 0.0), (r + 0.001, k), (r + 0.12, k), (r + self.pavement[1] + 0.01, k), *right,
        ]  # fmt: skip
        materials = [ground] * 3 + [paving, kerb, kerb, road, road, kerb, kerb, paving] + [ground] * 3
        add(scene, way.ribbon(np.array(profile)), materials)
        paint = scene.draw(("plain",), tint=rng.uniform(1.2, 2.2))
        stripes = []
        lanes = [0.0] if r < 5 else [-r / 2, 0.0, r / 2]
        for t in (*lanes, -r + 0.25, r - 0.25):
            if rng.random() < 0.65:
                half, dash = rng.uniform(0.05, 0.1), rng.uniform(1.5, 6)
                y = 0.012 + 0.04 * (1 - abs(t) / r)
                line = np.array([(t - half, y), (t + half, y)])
                if rng.random() < 0.5 and abs(t) < r / 1.5:
                    starts = np.arange(-40, 200, dash * rng.uniform(2, 3))
                    stripes += [way.ribbon(line, s, s + dash, dash / 2 + 0.01) for s in starts]
                else:
                    stripes.append(way.ribbon(line, -60, 300))
        if rng.random() < 0.3:  # a crossing
            s = rng.uniform(10, 90)
            bars = np.arange(-r + 0.4, r - 0.4, 1.0)
            stripes += [way.ribbon(np.array([(t, 0.055), (t + 0.5, 0.055)]), s, s + 3) for t in bars]
        add(scene, join(Piece(each.corners, each.uv, 0 * each.material) for each in stripes), [paint])
        if rng.random() < 0.1:  # rails
            metal = scene.draw(("plain", "stained"), gloss=0.5, tint=0.6)
            t = rng.uniform(-0.6, 0.6) * r
            rails = [way.ribbon(np.array([(t + x, 0.02), (t + x, 0.09), (t + x + 0.07, 0.09), (t + x + 0.07, 0.02)]))
                     for x in (-0.75, 0.72)]  # fmt: skip
            add(scene, join(Piece(each.corners, each.uv, 0 * each.material) for each in rails), [metal])

    def _stand(
        self, models: list[Furniture], often: float, s: Floats, places: Floats, yaw: Floats | None = None
    ) -> NDArray[np.bool_]:
        """Stand one of a person's models on places (N, 3), now and then; return which are still free.

        yaw: where each faces; trees face anywhere, and differ in size.
        """
        free = np.ones(len(places), bool)
        usable = [each for each in models if each.triangles <= self.triangles_left]
        if not usable or not self.scene.chance(often):
            return free
        model = usable[int(self.rng.integers(len(usable)))]
        for number in np.argsort(np.abs(s - 45))[
            : self.triangles_left // model.triangles
        ]:  # where cameras are
            turn, scale = self.rng.uniform(0, 6.28), math.exp(self.rng.normal(0, 0.15))
            if yaw is not None:
                turn, scale = float(yaw[number]), 1.0
            matrix = rotation(turn)
            self.triangles_left -= put_model(
                self.scene, model, places[number], matrix, scale=scale, kept=_KEPT
            )
            free[number] = False
        return free

    def _build_side(self, number: int, side: int) -> None:
        """Houses, walls, hedges, trees of one side."""
        rng, scene, way = self.rng, self.scene, self.way
        t0 = self.half_road + self.pavement[number]
        back = rng.uniform(0.0, 1.5) if rng.random() < 0.5 * self.urban else rng.uniform(1.5, 14)
        self.line_t[number] = t0 + back
        if rng.random() < 0.15 + 0.8 * self.urban:
            self._add_houses(side, t0 + back)
        if rng.random() < 0.3 and back > 1:
            self._add_border(side, t0 + rng.uniform(0.1, 0.7))
        if rng.random() < 0.55:
            leafy = 0.0 if rng.random() < 0.15 else rng.uniform(0.5, 1.2)
            kinds = [
                trees.broadleaf(rng, rng.uniform(4, 13), rng.uniform(0.14, 0.3), leafy=leafy, detail=0.6)
                for _ in range(2)
            ]
            s = np.arange(rng.uniform(-60, -40), rng.uniform(60, 260), rng.uniform(6, 18))
            s = s + rng.normal(0, 0.6, len(s))
            t = side * (self.half_road + max(0.6, self.pavement[number] * rng.uniform(0.2, 1.0)))
            places = way.at(s, t, self.kerb_m - 0.05)
            grown = scatter(rng, kinds, places[self._stand(self.models.of("tree"), 0.5, s, places)])
            add(scene, grown, [materials.draw_bark(scene), materials.draw_green(scene)])
        count = int(rng.integers(0, 40 - int(28 * self.urban)))
        if count:
            s, out = rng.uniform(-50, 260, count), rng.exponential(16, count)
            kinds = [trees.broadleaf(rng, rng.uniform(4, 14), 0.3, detail=0.25) if rng.random() < 0.7
                     else trees.conifer(rng, rng.uniform(6, 16), 0.3, 0.25) for _ in range(3)]  # fmt: skip
            far = t0 + back + (14 if self.urban > 0.5 else 2) + out
            grown = scatter(rng, kinds, way.at(s, side * far, self.bank[number] - 0.1), scale=0.3)
            add(scene, grown, [materials.draw_bark(scene), materials.draw_green(scene)])
        count = int(rng.integers(0, 22))
        if count:
            kinds = [trees.bush(rng, rng.uniform(0.3, 1.3, 3), 0.13) for _ in range(2)]
            s, t = rng.uniform(-40, 160, count), side * (t0 + rng.uniform(0.3, max(1.0, back), count))
            add(
                scene,
                scatter(rng, kinds, way.at(s, t, -0.05), scale=0.3),
                [materials.draw_bark(scene), materials.draw_green(scene)],
            )

    def _add_houses(self, side: int, t: float) -> None:
        """Houses wall by wall or apart, from a few kinds, facing the road."""
        rng, scene, way = self.rng, self.scene, self.way
        tall = rng.uniform(2.8, 8) if rng.random() < 1.2 - self.urban else rng.uniform(6, 24)
        is_lit = landscape.is_dark(scene)
        gap = 0.0 if rng.random() < 0.5 * self.urban else rng.uniform(2, 16)
        s = rng.uniform(-70, -55)
        while s < rng.uniform(180, 300):
            half, depth = rng.uniform(3.5, 11), rng.uniform(3.5, 8)
            if rng.random() < 0.9:
                house = buildings.building(rng, half, max(2.6, tall * rng.uniform(0.7, 1.3)), depth)
                yaw = float(way.facing(s + half)) - side * math.pi / 2
                place = way.at(s + half, side * (t + depth + rng.uniform(0, 0.8)), self.bank[(side + 1) // 2])
                add(
                    scene,
                    house.moved(place, rotation(yaw)),
                    materials.draw_house(scene, lit=is_lit and rng.random() < 0.4),
                )
            s += 2 * half + (gap * rng.uniform(0.3, 1.5) if rng.random() < 0.7 else 0.02)

    def _add_border(self, side: int, t: float) -> None:
        """A wall, hedge, fence or guard rail along the road."""
        rng, scene, way = self.rng, self.scene, self.way
        first, last, kind = rng.uniform(-50, 30), rng.uniform(50, 200), rng.random()
        if kind < 0.35:
            high, thick = rng.uniform(0.4, 2.6), rng.uniform(0.1, 0.4)
            profile = np.array([(t, -0.2), (t, high), (t + thick, high), (t + thick, -0.2)]) * (side, 1)
            stuff = scene.draw(("bricks", "plain", "stained", "tiles", "wood"), period_m=rng.uniform(0.8, 3))
            wall = way.ribbon(profile, first, last)
            add(scene, Piece(wall.corners, wall.uv, 0 * wall.material), [stuff])
        elif kind < 0.6:
            half = np.array([rng.uniform(0.25, 0.6), rng.uniform(0.3, 1.1), 2.0])
            parts = [trees.hedge(rng, half, 0.11)]
            s = np.arange(first, min(last, first + 90), 3.9)
            add(scene, scatter(rng, parts, way.at(s, side * t), scale=0.03, yaw=way.facing(s)),
                [materials.draw_bark(scene), materials.draw_green(scene)])  # fmt: skip
        elif kind < 0.8:
            s = np.arange(first, last, 6.0)
            part = buildings.fence(rng, 6.0, rng.uniform(0.7, 2))
            yaw = way.facing(s) - math.pi / 2
            stuff = scene.draw(("wood", "plain", "stained"), tint=rng.uniform(0.2, 1.5))
            add(scene, scatter(rng, [part], way.at(s, side * t), scale=0.0, yaw=yaw), [stuff, stuff])
        else:
            profile = np.array([(t, 0.45), (t - 0.05, 0.55), (t, 0.62), (t - 0.05, 0.7), (t, 0.8)]) * (
                side,
                1,
            )
            rail = way.ribbon(profile, first, last)
            s = np.arange(first, last, 3.0)
            metal = scene.draw(("plain", "stained"), gloss=0.4)
            posts = boxes(way.at(s, side * (t + 0.06), 0.38), (0.05, 0.4, 0.05))
            add(scene, join([Piece(rail.corners, rail.uv, 0 * rail.material), posts]), [metal])

    def _add_traffic(self) -> None:
        """Cars that drive and park, trucks, cyclists, people."""
        rng, scene, way, r = self.rng, self.scene, self.way, self.half_road
        driving = np.array([(s, side * r * rng.uniform(0.35, 0.6), side > 0) for side in (-1, 1)
                            for s in rng.uniform(-60, 260, int(rng.integers(0, 16)))])  # fmt: skip
        parked = []
        for side in (-1, 1):
            if rng.random() < 0.55:
                s = np.arange(-50 + rng.uniform(0, 8), rng.uniform(40, 180), rng.uniform(5.6, 8))
                s = s[rng.random(len(s)) < rng.uniform(0.3, 1)]
                out = r - 1.05 if r > 3.4 or rng.random() < 0.5 else r + 0.9
                parked += [(each, side * (out + rng.normal(0, 0.12)), rng.random() < 0.5) for each in s]
        self.busy = [*driving, *parked]
        cars, trucks = (
            [each for each in self.models.of("car") if (each.size[2] > _LONGEST_CAR_M) == is_long]
            for is_long in (False, True)
        )
        models = [vehicles.car(rng) for _ in range(4)] + [vehicles.truck(rng)]
        glass, dark = scene.draw(("plain",), tint=0.12, gloss=0.8), scene.draw(("plain",), tint=0.08)
        metal, head = (
            scene.draw(("plain",), gloss=0.6),
            scene.draw(("plain",), tint=1.5, emission=1.5 if landscape.is_dark(scene) else 0.2),
        )
        rear = scene.draw(
            ("plain",), tint=np.array([1.6, 0.15, 0.1]), emission=1.0 if landscape.is_dark(scene) else 0.15
        )
        grouped: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
        for place, row in enumerate(self.busy):
            is_moving = place < len(driving)
            model = int(rng.integers(4)) if rng.random() < (0.9 if is_moving else 0.98) else 4
            grouped.setdefault((model, int(rng.integers(5))), []).append(tuple(row))
        paints = [materials.draw_paint(scene) for _ in range(5)]
        for (model, paint), rows in grouped.items():
            s, t, ahead = np.array(rows, np.float64).T
            yaw = way.facing(s) + np.where(ahead > 0, 0, math.pi) + rng.normal(0, 0.03, len(s))
            y = np.where(np.abs(t) > r, self.kerb_m, 0.02)
            places = way.at(s, t, y)
            free = self._stand(trucks if model == 4 else cars, 0.6, s, places, yaw)
            add(
                scene,
                scatter(rng, [models[model]], places[free], scale=0.02, yaw=yaw[free]),
                [paints[paint], glass, dark, metal, head, rear],
            )
        self._add_people()

    def _add_people(self) -> None:
        rng, scene, way = self.rng, self.scene, self.way
        upright = [
            each
            for each in self.models.of("person")
            if 1.4 < each.size[1] < 2.1 and max(each.size[0], each.size[2]) < 0.95
        ]
        for _ in range(int(rng.integers(0, 5 + int(9 * self.urban)))):
            side = int(rng.integers(2))
            span = max(0.8, self.pavement[side])
            s = float(rng.uniform(-10, 130))
            t = (
                (-1, 1)[side] * (self.half_road + rng.uniform(0.1, span))
                if rng.random() < 0.85
                else rng.uniform(-1, 1) * self.half_road
            )
            y = self.kerb_m if abs(t) > self.half_road else 0.02
            cloth = materials.draw_clothes(scene)
            yaw = (
                float(way.facing(s))
                + (0 if rng.random() < 0.5 else math.pi)
                + rng.normal(0, 0.5 if rng.random() < 0.7 else 1.5)
            )
            cycling = rng.random() < 0.15
            turn, place = rotation(yaw), way.at(s, t, y)
            if not cycling and not self._stand(upright, 0.7, np.array([s]), place[None], np.array([yaw]))[0]:
                continue
            add(scene, people.person(rng, cycling=cycling).moved(place, turn), cloth)
            if cycling:
                cycle = [materials.draw_paint(scene), cloth[3], cloth[3], scene.draw(("plain",), gloss=0.5)]
                add(scene, vehicles.bicycle(rng).moved(place, turn), cycle)

    def _add_furniture(self) -> None:
        """Lamps, signs, wires on poles, bins, bollards, bicycles, benches."""
        rng, scene, way, r = self.rng, self.scene, self.way, self.half_road
        metal = scene.draw(("plain", "stained", "wood"), gloss=0.2, tint=rng.uniform(0.2, 1.2))
        burning = []
        for side, wide in zip((-1, 1), self.pavement, strict=True):
            t = side * (r + rng.uniform(0.3, 0.8))
            if rng.random() < 0.6:
                high, reach = rng.uniform(3, 9), rng.uniform(0, 2.2)
                s = np.arange(rng.uniform(-60, -30), 260, rng.uniform(14, 45))
                arm = [(0, 0, 0), (0, high, 0), (0.4 * reach, high + 0.25, 0), (reach, high + 0.2, 0)]
                pole = join(
                    [path(arm, [0.09, 0.06, 0.04, 0.04]), boxes((reach, high + 0.18, 0), (0.3, 0.06, 0.14))]
                )
                yaw = way.facing(s) + (math.pi if side > 0 else 0)
                add(scene, scatter(rng, [pole], way.at(s, t), scale=0.0, yaw=yaw), [metal])
                burning += [way.at(each, t - side * reach, high) for each in s if 0 < each < 90]
            if rng.random() < 0.25:
                self._add_wires(t)
            for _ in range(int(rng.integers(0, 4 + int(9 * self.urban)))):
                self._add_thing(side, wide, metal)
        if landscape.is_dark(scene):
            landscape.add_lamps(scene, burning or [way.at(rng.uniform(4, 20), 0, 6)])

    def _add_across(self) -> None:
        """What spans a road or lies beside it: bridges, signs over it, works, rows of parked cars."""
        rng, scene, way, r = self.rng, self.scene, self.way, self.half_road
        span = r + max(1.0, float(self.pavement.max())) + 0.6
        spans = (
            (0.1, street_things.bridge, ("plain", "stained", "bricks")),
            (0.22, street_things.gantry, ("plain", "stained")),
        )
        for often, build, kinds in spans:
            if rng.random() < often:
                s = float(rng.uniform(12, 130))
                stuff = [
                    scene.draw(kinds),
                    scene.draw(("plain", "text", "poster"), tint=rng.uniform(0.3, 1.5)),
                ]
                stuff.append(scene.draw(("plain",), tint=np.array([1.5, 0.4, 0.2]), emission=1.0))
                made = build(rng, span).moved(way.at(s, 0), rotation(float(way.facing(s)) + math.pi))
                add(scene, made, stuff[: int(made.material.max()) + 1])
        if rng.random() < 0.14:  # works
            first, out = rng.uniform(0, 80), rng.choice((-1, 1)) * r
            along = np.arange(0, rng.uniform(8, 40), rng.uniform(1.5, 4))
            aside = out * np.interp(along, (0, 12), (1.0, rng.uniform(0.1, 0.6)))
            colours = [
                scene.draw(("plain",), tint=np.array([1.8, 0.6, 0.2])),
                scene.draw(("plain",), tint=1.8),
            ]
            add(
                scene,
                scatter(rng, [street_things.cone()], way.at(first + along, aside, 0.02), scale=0.05),
                colours,
            )
        if rng.random() < 0.18:
            self._park_cars(int(rng.integers(2)))

    def _park_cars(self, side: int) -> None:
        """Cars side by side off the road."""
        rng, scene, way = self.rng, self.scene, self.way
        spots = np.arange(rng.uniform(-20, 40), rng.uniform(60, 140), 2.6)
        model = rng.integers(-1, 3, len(spots))
        t = (-1, 1)[side] * (self.half_road + self.pavement[side] + rng.uniform(3, 6))
        glass, dark = scene.draw(("plain",), tint=0.12, gloss=0.8), scene.draw(("plain",), tint=0.08)
        lamps = [scene.draw(("plain",), tint=np.array([1.0, *both])) for both in ((1.0, 0.9), (0.1, 0.1))]
        for number in range(3):
            s = spots[model == number]
            yaw = way.facing(s) + rng.choice((-1, 1), len(s)) * math.pi / 2
            worn = [materials.draw_paint(scene), glass, dark, scene.draw(("plain",), gloss=0.5), *lamps]
            add(scene, scatter(rng, [vehicles.car(rng)], way.at(s, t, 0.0), scale=0.02, yaw=yaw), worn)

    def _add_wires(self, t: float) -> None:
        rng, scene, way = self.rng, self.scene, self.way
        s, high = np.arange(-60, 300, rng.uniform(22, 40)), rng.uniform(5.5, 9)
        foot = way.at(s, t)
        wood = scene.draw(("wood", "plain", "stained"), tint=rng.uniform(0.3, 1))
        share = np.linspace(0, 1, 9)[:, None]
        parts = [tubes(foot, foot + vec(0, high, 0), 0.12, 0.09, 0, 7)]
        parts.append(boxes(foot + vec(0, high - 0.3, 0), (0.7, 0.05, 0.05)))
        for out in rng.uniform(-0.7, 0.7, int(rng.integers(1, 4))):
            for a, b in pairwise(foot):
                line = (
                    a
                    + share * (b - a)
                    + (out, high - 0.2, 0)
                    - share * (1 - share) * (0, rng.uniform(1.5, 4), 0)
                )
                parts.append(path(line, 0.02, 0, 3))
        add(scene, join(parts), [wood])

    def _add_thing(self, side: int, wide: float, metal: Material) -> None:
        """One thing beside the road."""
        rng, scene, way = self.rng, self.scene, self.way
        s = float(rng.uniform(-5, 120))
        t = side * (self.half_road + 0.3 + rng.random() * max(0.6, wide - 0.4))
        place, yaw = way.at(s, t, self.kerb_m), float(way.facing(s)) - side * math.pi / 2
        turn = rotation(yaw)
        things = self.models.of("outside")
        if not self._stand(things, 0.5, np.array([s]), place[None], np.array([yaw]))[0]:
            return
        kind = rng.random()
        stuff = scene.surface()
        if kind < 0.3:  # a sign
            high, size = rng.uniform(1.8, 3.2), rng.uniform(0.2, 0.55)
            turn = rotation(float(way.facing(s)) + math.pi * (rng.random() < 0.5))
            sign = scene.draw(("plain", "text", "poster"), period_m=2 * size, tint=rng.uniform(0.8, 1.6))
            part = join(
                [
                    path([(0, 0, 0), (0, high, 0)], 0.035),
                    boxes((0, high, 0.05), (size, size * rng.uniform(0.5, 1.3), 0.012), 1),
                ]
            )
            add(scene, part.moved(place, turn), [metal, sign])
        elif kind < 0.5:  # bollards
            count = int(rng.integers(2, 9))
            along = s + rng.uniform(1.2, 2.5) * np.arange(count, dtype=np.float64)
            posts = way.at(along, side * (self.half_road + 0.35), self.kerb_m)
            add(scene, tubes(posts, posts + vec(0, rng.uniform(0.5, 1.0), 0), 0.07, 0.06, 0, 8), [stuff])
        elif kind < 0.65:  # a bin or a box
            half = rng.uniform((0.2, 0.35, 0.2), (0.6, 0.75, 0.5))
            add(scene, boxes((0, half[1], 0), half).moved(place, turn), [stuff])
        elif kind < 0.85:  # bicycles
            count = int(rng.integers(1, 6))
            parts = [vehicles.bicycle(rng).moved((0.55 * n, 0, 0)) for n in range(count)]
            dark = scene.draw(("plain",), tint=0.1)
            add(scene, join(parts).moved(place, turn), [materials.draw_paint(scene), dark, dark, metal])
        else:  # a bench
            add(scene, street_things.bench().moved(place, turn), [stuff, metal])
