"""Faces drawn with a few lines, for tests: people of different colours, tasks, and a side that moves less."""

import cv2
import numpy as np
import pandas as pd

from faceneuro.studies.synthesis import Faces

TASKS = ("rest", "smile", "brow")
SIDES = ("none", "left", "right")
FINER = 8


def template() -> np.ndarray:
    """68 points of a face at rest, shares of the image, shape (68, 2); the subject's right is the image's left."""
    angle = np.linspace(np.pi * 0.95, np.pi * 0.05, 17)
    outline = np.stack([0.5 + 0.4 * np.cos(angle), 0.5 + 0.45 * np.sin(angle)], 1)
    brow = np.stack([np.linspace(0.2, 0.4, 5), np.full(5, 0.3)], 1)
    nose = np.concatenate(
        [
            np.stack([np.full(4, 0.5), np.linspace(0.4, 0.58, 4)], 1),
            np.stack([np.linspace(0.44, 0.56, 5), np.full(5, 0.62)], 1),
        ]
    )
    eye = np.array([[0.24, 0.42], [0.28, 0.4], [0.33, 0.4], [0.37, 0.42], [0.33, 0.44], [0.28, 0.44]])
    turn = np.linspace(np.pi, -np.pi, 13)[:-1]
    outer = np.stack([0.5 + 0.15 * np.cos(turn), 0.76 - 0.05 * np.sin(turn)], 1)
    turn = np.linspace(np.pi, -np.pi, 9)[:-1]
    inner = np.stack([0.5 + 0.11 * np.cos(turn), 0.76 - 0.02 * np.sin(turn)], 1)
    points = np.concatenate([outline, brow, other(brow)[::-1], nose, eye, other(eye)[[3, 2, 1, 0, 5, 4]], outer, inner])
    assert points.shape == (68, 2)
    return points


def other(points: np.ndarray) -> np.ndarray:
    """Points in a mirror."""
    return np.stack([1 - points[:, 0], points[:, 1]], 1)


def moved(task: str, side: str) -> np.ndarray:
    """68 points of a face that carries out a task; the weak side does not take part."""
    points = template()
    strong = {"none": np.ones(68, bool), "left": points[:, 0] < 0.5, "right": points[:, 0] > 0.5}[side]
    if task == "smile":
        lips = strong & (np.arange(68) >= 48)
        points[lips, 1] -= 0.6 * np.abs(points[lips, 0] - 0.5)
    elif task == "brow":
        brows = strong & (np.arange(68) >= 17) & (np.arange(68) < 27)
        points[brows, 1] -= 0.12
    return points


def picture(points: np.ndarray, skin: np.ndarray, wall: np.ndarray, pixels: int) -> np.ndarray:
    """A face of these points, uint8, shape (pixels, pixels, 3)."""
    side = FINER * pixels
    image = np.full((side, side, 3), wall, np.uint8)
    place = np.rint(points * side).astype(np.int32)
    top = np.array([[0.88, 0.2], [0.5, 0.05], [0.12, 0.2]]) * side
    cv2.fillPoly(image, [np.concatenate([place[:17], top.astype(np.int32)])], skin.tolist())
    for lines, colour, closed in (
        ((place[17:22], place[22:27]), (40, 30, 20), False),
        ((place[36:42], place[42:48]), (230, 230, 230), True),
        ((place[48:60],), (170, 60, 70), True),
    ):
        for line in lines:
            if closed:
                cv2.fillPoly(image, [line], colour)
            else:
                cv2.polylines(image, [line], False, colour, FINER)
    return cv2.resize(image, (pixels, pixels), interpolation=cv2.INTER_AREA)


def drawn_faces(people: int = 6, tested: int = 2, tasks: tuple[str, ...] = TASKS, pixels: int = 32) -> Faces:
    """People of all three sides in turn, each in every task; the last ones are tested."""
    images, points, rows = [], [], []
    for person in range(people):
        random = np.random.default_rng(person)
        skin, wall = random.integers(90, 230, 3), random.integers(20, 160, 3)
        side = SIDES[person % 3]
        for task in tasks:
            points.append(moved(task, side) + random.normal(0, 0.004, (68, 2)))
            images.append(picture(points[-1], skin, wall, pixels))
            rows.append(
                {
                    "cohort": "drawn",
                    "subject": f"P{person}",
                    "clip": f"P{person}_{task}",
                    "frame": 0,
                    "group": "healthy" if side == "none" else "palsy",
                    "task": task,
                    "severity": None if side == "none" else 5.0,
                    "side": side,
                    "role": "test" if person >= people - tested else "train",
                }
            )
    return Faces(np.stack(images), np.stack(points).astype(np.float32), pd.DataFrame(rows))
