import subprocess
import sys
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from faceneuro.cohorts import virtual
from faceneuro.cohorts.virtual.motion import GESTURE_UNITS, minimum_jerk, perform
from faceneuro.cohorts.virtual.patients import enrol
from faceneuro.cohorts.virtual.scene import settings_of
from faceneuro.cohorts.virtual.signs import GROUPS, Signs
from faceneuro.cohorts.virtual.tasks import TASKS
from faceneuro.config import check
from faceneuro.errors import InputError
from running import ROOT


def cohort(**changes) -> dict:
    sizes = dict.fromkeys(GROUPS, 60)
    plain = {"seed": 1, "groups": sizes, "tasks": ["open"], "medium": "video", "confound": 0.0, "sources": None}
    return plain | changes


def by_group(patients) -> dict:
    groups = defaultdict(list)
    for patient in patients:
        groups[patient.group].append(patient)
    return groups


@given(smaller=st.integers(0, 12), more=st.integers(0, 12), seed=st.integers(0, 2**31))
def test_enlarging_a_group_changes_nobody(smaller, more, seed):
    before = enrol(cohort(seed=seed, groups={"healthy": smaller, "als": 5}))
    after = enrol(cohort(seed=seed, groups={"healthy": smaller + more, "als": 5}))
    assert set(before) <= set(after)
    assert len(after) == len(before) + more


def test_identifiers_are_unique_sorted_and_tell_nothing_of_the_group():
    patients = enrol(cohort())
    subjects = [patient.subject for patient in patients]
    assert subjects == sorted(set(subjects))
    for members in by_group(patients).values():
        numbers = np.array([int(patient.subject[1:]) for patient in members])
        # Neither early nor late, and in no fixed place of each round of the groups.
        assert abs(numbers.mean() / len(patients) - 0.5) < 0.05
        assert len(set(numbers % len(GROUPS))) == len(GROUPS)


def test_age_sex_and_recording_conditions_are_alike_in_all_groups():
    settings = cohort(groups=dict.fromkeys(GROUPS, 300))
    groups = by_group(enrol(settings)).values()
    for value, tolerance in ((lambda p: p.age, 3.5), (lambda p: p.sex == "male", 0.12)):
        means = [np.mean([value(patient) for patient in members]) for members in groups]
        assert np.ptp(means) < tolerance
    drawn = [np.mean([list(settings_of(p, settings).values()) for p in members], axis=0) for members in groups]
    # Means of 300 uniform numbers: a standard error of 0.017.
    assert np.abs(np.array(drawn) - 0.5).max() < 0.07


def test_recording_conditions_do_not_depend_on_group_or_signs():
    settings = cohort()
    for patient in enrol(settings)[:8]:
        other = replace(patient, group="palsy", signs=Signs(), severity=6.0, side="left")
        assert settings_of(other, settings) == settings_of(patient, settings)
        assert np.array_equal(perform(other, "open", 1, 30).pose, perform(patient, "open", 1, 30).pose)


def test_a_confound_gives_every_group_its_own_site():
    def spread(confound: float) -> tuple[float, float]:
        settings = cohort(confound=confound)
        values = {
            g: np.array([list(settings_of(p, settings).values()) for p in m])
            for g, m in by_group(enrol(settings)).items()
        }
        within = np.mean([member.std(axis=0).mean() for member in values.values()])
        between = np.std([member.mean(axis=0) for member in values.values()], axis=0).mean()
        return within, between

    (free_within, free_between), (_, half_between), (bound_within, bound_between) = map(spread, (0.0, 0.5, 1.0))
    assert free_between < half_between < bound_between
    assert bound_within < 1e-9 < free_within


def test_signs_overlap_but_differ():
    groups = by_group(enrol(cohort(groups={"healthy": 200, "als": 200})))
    for sign in ("reach", "speed"):
        healthy, als = (np.array([getattr(p.signs, sign) for p in groups[name]]) for name in ("healthy", "als"))
        better = (healthy[:, None] > als).mean()
        assert 0.7 < better < 0.95


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("group", GROUPS)
def test_every_task_begins_at_rest(task, group):
    for patient in enrol(cohort(groups={group: 4})):
        motion = perform(patient, task, 2.0, 30)
        moving = motion.units[:, GESTURE_UNITS]
        assert motion.units.shape == (60, 52)
        assert np.ptp(moving[:5], axis=0).max() == 0
        assert motion.units.min() >= 0
        assert motion.units.max() <= 1.25
        still = task in ("rest", "neutral")
        assert still or np.ptp(moving, axis=0).max() > 0.02 or patient.severity == 6


def test_bulbar_weakness_makes_movements_smaller_and_fewer():
    groups = by_group(enrol(cohort(groups={"healthy": 40, "als": 40})))
    jaw = {name: [perform(p, "pa", 3, 30).units[:, 24] for p in members] for name, members in groups.items()}
    peak = {name: np.mean([track.max() for track in tracks]) for name, tracks in jaw.items()}
    crossings = {
        name: np.mean([np.diff(track > track.max() / 2).sum() for track in tracks]) for name, tracks in jaw.items()
    }
    assert peak["als"] < 0.92 * peak["healthy"]
    assert crossings["als"] < 0.92 * crossings["healthy"]


def test_masked_faces_blink_less_and_start_later():
    members = by_group(enrol(cohort(groups={"parkinson": 90})))["parkinson"]
    by_class = {grade: [p.signs for p in members if p.severity == grade] for grade in (0, 1, 2)}
    for sign, direction in (("blinks", -1), ("expressivity", -1), ("delay", 1)):
        means = [np.mean([getattr(signs, sign) for signs in by_class[grade]]) for grade in (0, 1, 2)]
        assert np.all(direction * np.diff(means) > 0)


def test_total_palsy_moves_nothing_on_its_side():
    total = [p for p in enrol(cohort(groups={"palsy": 80})) if p.severity == 6]
    assert {patient.side for patient in total} == {"left", "right"}
    for patient in total:
        weak = 0 if patient.side == "left" else 1
        weights = perform(patient, "smile_open", 2, 30).weights[:, GESTURE_UNITS]
        excursion = np.ptp(weights, axis=0)
        assert excursion[:, 1 - weak].max() > 0.4


def test_minimum_jerk_starts_and_ends_at_rest():
    share = np.linspace(-0.5, 1.5, 401)
    position = minimum_jerk(share)
    assert position[0] == 0
    assert position[-1] == 1
    assert np.all(np.diff(position) >= 0)
    assert np.allclose(position + position[::-1], 1)


def test_unknown_names_are_named():
    with pytest.raises(ValueError, match="no such group: zombies"):
        enrol(cohort(groups={"zombies": 1}))
    with pytest.raises(ValueError, match="no such task: juggle"):
        enrol(cohort(tasks=["open", "juggle"]))


def test_clips_are_one_per_patient_and_task():
    rows = virtual.listing("any", cohort(groups={"healthy": 2, "als": 1}, tasks=["open", "pa"])).clips
    assert len(rows) == len({row["clip"] for row in rows}) == len({row["path"] for row in rows}) == 6


@pytest.mark.parametrize(("medium", "kind", "suffix"), [("video", "video", ".mp4"), ("photographs", "image", ".png")])
def test_the_medium_decides_the_kind_of_file(medium, kind, suffix):
    for row in virtual.listing("any", cohort(groups={"healthy": 2}, medium=medium)).clips:
        assert row["kind"] == kind
        assert row["path"] == row["clip"] + suffix


@given(smaller=st.integers(0, 12), more=st.integers(0, 12), count=st.integers(1, 4))
def test_subjects_are_dealt_to_the_sources_of_their_group_evenly_and_for_good(smaller, more, count):
    sources = {"healthy": [f"studio_{number}" for number in range(count)]}

    def dealt(healthy: int) -> dict[str, str]:
        rows = virtual.listing("any", cohort(groups={"healthy": healthy, "parkinson": 3}, sources=sources)).clips
        return {(row["group"], row["subject"]): row["source"] for row in rows}

    before, after = dealt(smaller), dealt(smaller + more)
    assert before.items() <= after.items()
    healthy = [source for (group, _), source in after.items() if group == "healthy"]
    shares = [healthy.count(name) for name in sources["healthy"]]
    assert sum(shares) == smaller + more
    assert max(shares) - min(shares) <= 1
    assert {source for (group, _), source in after.items() if group == "parkinson"} == {"virtual"}


def test_sources_change_nothing_else():
    def without_source(sources) -> list[dict]:
        rows = virtual.listing("any", cohort(groups={"healthy": 4, "parkinson": 4}, sources=sources)).clips
        return [row | {"source": ""} for row in rows]

    assert without_source({"healthy": ["one", "two"], "parkinson": ["clinic"]}) == without_source(None)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("medium", "photo", ["medium", "did you mean 'photographs'"]),
        ("sources", {"helthy": ["a"]}, ["sources", "'helthy'", "did you mean 'healthy'"]),
        ("sources", {"palsy": []}, ["sources.palsy", "non-empty"]),
        ("sources", {"palsy": ["The clinic"]}, ["sources.palsy.0", "'The clinic' is not a usable name"]),
    ],
)
def test_a_mistaken_medium_or_source_is_one_sentence_that_names_the_key(key, value, words):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    config |= {"studies": {}, "cohorts": {"some": config["cohorts"]["virtual_palsy"] | {key: value}}}
    with pytest.raises(InputError) as error:
        check(config, schema)
    for word in ["config key cohorts.some.", *words]:
        assert word in str(error.value)


def test_sources_of_a_group_that_is_not_there_are_told():
    settings = cohort(groups={"healthy": 1, "palsy": 1}, sources={"healthy": ["studio"], "als": ["clinic"]})
    with pytest.raises(InputError, match=r"cohorts\.some\.sources: .*no group 'als'; known are healthy, palsy"):
        virtual.listing("some", settings)


def test_the_roll_is_read_without_anything_heavy():
    code = "import sys; import faceneuro.cohorts.virtual; print({'numba', 'cv2', 'av', 'pandas'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
