"""What the patients are asked to do: the movements of the three clinical protocols, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Weights = Mapping[str, float]


@dataclass(frozen=True)
class Task:
    """One instruction.

    Attributes
    ----------
    description
        What the person is asked to do.
    gestures
        Full facial-unit weights of each successive movement; a name without a side moves both sides.
    rate
        Movements per second of a healthy speaker, or 0 for one movement that is held.
    ramp
        Seconds from rest to the apex in a healthy person.
    """

    description: str
    gestures: tuple[Weights, ...] = field(default=({},))
    rate: float = 0.0
    ramp: float = 0.45


def _both(**weights: float) -> dict[str, float]:
    return {f"{name}{side}": weight for name, weight in weights.items() for side in ("Left", "Right")}


SMILE = _both(mouthSmile=0.9, cheekSquint=0.5)
TEETH_SHOWN = {"jawOpen": 0.07} | _both(mouthUpperUp=0.6, mouthLowerDown=0.3)

TASKS = {
    # Orofacial protocol of Toronto NeuroFace.
    "open": Task("Open the mouth as wide as possible, repeatedly", ({"jawOpen": 0.85},), rate=1.0, ramp=0.38),
    "spread": Task("Pull the lips apart in a smile with the mouth shut, repeatedly", (SMILE,), rate=1.0, ramp=0.38),
    "kiss": Task("Pucker the lips as if to kiss, repeatedly", ({"mouthPucker": 0.95},), rate=1.0, ramp=0.38),
    "brow": Task("Raise the brows, repeatedly", (_both(browOuterUp=0.9) | {"browInnerUp": 0.9},), rate=1.0, ramp=0.35),
    "bigsmile": Task("Smile as widely as possible, showing the teeth, repeatedly", (SMILE | TEETH_SHOWN,), rate=0.9),
    "pa": Task(
        "Repeat the syllable /pa/ as fast as possible", ({"jawOpen": 0.42} | _both(mouthLowerDown=0.2),), 6.0, 0.07
    ),
    "sentence": Task(
        'Say "Buy Bobby a puppy"',
        (
            {"jawOpen": 0.45} | _both(mouthSmile=0.12),
            {"jawOpen": 0.36, "mouthFunnel": 0.25},
            {"jawOpen": 0.16} | _both(mouthStretch=0.3, mouthSmile=0.15),
            {"jawOpen": 0.22},
            {"jawOpen": 0.34} | _both(mouthLowerDown=0.2),
            {"jawOpen": 0.15} | _both(mouthStretch=0.3, mouthSmile=0.15),
        ),
        rate=4.2,
        ramp=0.10,
    ),
    # Movements of facial palsy grading.
    "rest": Task("Keep the face at rest"),
    "brow_raise": Task("Raise the brows and hold", (_both(browOuterUp=1.0) | {"browInnerUp": 1.0},)),
    "eye_closure_gentle": Task("Close the eyes gently", (_both(eyeBlink=1.0),), ramp=0.30),
    "eye_closure_tight": Task(
        "Close the eyes tightly",
        (_both(eyeBlink=1.0, eyeSquint=0.8, cheekSquint=0.7, browDown=0.7, noseSneer=0.25),),
        ramp=0.30,
    ),
    "nose_wrinkle": Task("Wrinkle the nose", (_both(noseSneer=1.0, browDown=0.5, mouthUpperUp=0.4),)),
    "smile_closed": Task("Smile with the mouth shut", (SMILE,)),
    "smile_open": Task("Smile and show the teeth", (SMILE | TEETH_SHOWN,)),
    "lip_pucker": Task("Pucker the lips", ({"mouthPucker": 0.95},)),
    # Emotions, posed; the units follow the facial action coding of the prototypes.
    "neutral": Task("Look neutral"),
    "anger": Task(
        "Look angry",
        (_both(browDown=1.0, eyeSquint=0.5, mouthPress=0.6, noseSneer=0.3) | {"mouthShrugLower": 0.35},),
    ),
    "disgust": Task(
        "Look disgusted",
        (_both(noseSneer=0.95, browDown=0.45, mouthUpperUp=0.6, mouthFrown=0.35, eyeSquint=0.4),),
    ),
    "fear": Task(
        "Look afraid",
        (_both(browOuterUp=0.5, eyeWide=0.6, mouthStretch=0.7) | {"browInnerUp": 1.0, "jawOpen": 0.2},),
    ),
    "happiness": Task("Look happy", (SMILE | TEETH_SHOWN | _both(eyeSquint=0.3),)),
    "sadness": Task(
        "Look sad", (_both(mouthFrown=0.9, browDown=0.25) | {"browInnerUp": 0.95, "mouthShrugLower": 0.4},)
    ),
    "surprise": Task("Look surprised", (_both(browOuterUp=1.0, eyeWide=0.55) | {"browInnerUp": 0.9, "jawOpen": 0.45},)),
}
"""Every task by name: orofacial examination, palsy grading, posed emotions.

References
----------
Bandini et al., "A new dataset for facial motion analysis in individuals with neurological disorders", IEEE J Biomed
Health Inform 2021 (Toronto NeuroFace). Ekman and Friesen, "Facial Action Coding System", 1978.
"""
