import os
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
import pytest

from faceneuro.tables import DECODING, FRAMES, TableWriter, image_of, read_rows
from faceneuro.video.decoding import decode, decode_clip
from faceneuro.video.encoding import encode


def scene(count: int, height: int = 120, width: int = 160) -> list[np.ndarray]:
    """Smooth colours that wander; the first channel's mean tells the frames apart."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    base = cv2.GaussianBlur(noise, (0, 0), 4)
    base[: height // 3, : width // 3] = (220, 30, 30)
    return [np.roll(base, 2 * number, axis=1) for number in range(count)]


def write(path, images, codec="libx264", pixels="yuv420p", times=None, clock=Fraction(1, 30), sound=False):
    """A video made with PyAV directly: other codecs, times and sound than the package writes."""
    with av.open(str(path), "w") as container:
        stream = None
        if images:
            stream = container.add_stream(codec, rate=30)
            stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pixels
            stream.codec_context.time_base = clock
        if sound:
            tone = container.add_stream("aac", rate=16000, layout="mono")
            for start in range(0, 32000, 1024):
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                samples.sample_rate, samples.pts = 16000, start
                container.mux(tone.encode(samples))
            container.mux(tone.encode(None))
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = (number if times is None else times[number]), clock
            container.mux(stream.encode(frame))
        if stream:
            container.mux(stream.encode(None))
    return path


def turn_tag(path, matrix):
    """Overwrite the display matrix in an mp4's track header, as a phone held upright would write it."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = np.array(matrix, ">i4").tobytes()
    path.write_bytes(data)


def read(path, kind="video", **selection):
    decoding = decode(path, kind, **selection)
    return list(decoding), decoding.report


def error_of(path, kind="video"):
    frames, report = read(path, kind)
    assert frames == []
    assert report.frames_read == report.frames_kept == 0
    return report.error


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "plain.mp4"
    encode(path, scene(40))
    return path


@pytest.fixture
def unprivileged():
    """Root may read everything; for the length of a test it is nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_video_gives_every_frame_with_its_time(video):
    frames, report = read(video)
    assert [frame.number for frame in frames] == list(range(40))
    assert [frame.time_s for frame in frames] == [number / 30 for number in range(40)]
    assert all(frame.image.shape == (120, 160, 3) and frame.image.flags.c_contiguous for frame in frames)
    assert vars(report) == {
        **{"frames_read": 40, "frames_kept": 40, "rotation": 0, "height": 120, "width": 160},
        **{"fps": 30.0, "variable_frame_rate": False, "gray": False, "error": None},
    }


def test_pixels_agree_with_another_decoder(video):
    reader, worst = cv2.VideoCapture(str(video)), 0
    for frame in decode(video, "video"):
        reference = cv2.cvtColor(reader.read()[1], cv2.COLOR_BGR2RGB)
        worst = max(worst, np.abs(frame.image.astype(int) - reference).mean())
    assert worst < 1


@pytest.mark.parametrize(
    ("every", "at_most", "expected"),
    [
        (1, None, list(range(40))),
        (7, None, [0, 7, 14, 21, 28, 35]),
        (1, 4, [0, 13, 26, 39]),
        (3, 3, [0, 18, 39]),
        (1, 1, [0]),
        (50, 9, [0]),
        (1, 100, list(range(40))),
    ],
)
def test_a_selection_spans_the_clip_and_keeps_its_numbers(video, every, at_most, expected):
    frames, report = read(video, every=every, at_most=at_most)
    assert [frame.number for frame in frames] == expected
    assert [frame.time_s for frame in frames] == [number / 30 for number in expected]
    assert (report.frames_read, report.frames_kept) == (40, len(expected))


def test_a_selection_of_none_is_refused(video):
    with pytest.raises(ValueError, match="start at 1"):
        decode(video, "video", every=0)
    with pytest.raises(ValueError, match="start at 1"):
        decode(video, "video", at_most=0)
    with pytest.raises(ValueError, match="film"):
        decode(video, "film")


@pytest.mark.parametrize(
    ("matrix", "rotation"),
    [
        ([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], 270),
        ([-(1 << 16), 0, 0, 0, -(1 << 16), 0, 0, 0, 1 << 30], 180),
        ([0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 0, 1 << 30], 90),
    ],
)
def test_a_phone_video_stands_upright(tmp_path, matrix, rotation):
    path = tmp_path / "phone.mp4"
    encode(path, scene(3))
    turn_tag(path, matrix)
    frames, report = read(path)
    reference = cv2.cvtColor(cv2.VideoCapture(str(path)).read()[1], cv2.COLOR_BGR2RGB)
    assert report.rotation == rotation
    assert (report.height, report.width) == frames[0].image.shape[:2] == reference.shape[:2]
    assert np.abs(frames[0].image.astype(int) - reference).mean() < 1


def test_variable_times_are_kept_exactly(tmp_path):
    times = np.cumsum([0, 33, 33, 90, 17, 33, 250, 33, 33, 41]).tolist()
    frames, report = read(write(tmp_path / "vfr.mp4", scene(10), times=times, clock=Fraction(1, 1000)))
    assert [frame.time_s for frame in frames] == pytest.approx([time / 1000 for time in times], abs=1e-9)
    assert report.variable_frame_rate
    assert report.fps == pytest.approx(9 / 0.563)


def test_rounded_times_are_not_called_variable(tmp_path):
    _, report = read(write(tmp_path / "millisecond.mkv", scene(20)))
    assert report.variable_frame_rate is False
    assert report.fps == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize(("codec", "pixels"), [("ffv1", "gray"), ("ffv1", "gray10le"), ("libx264", "yuv420p")])
def test_gray_has_three_equal_channels(tmp_path, codec, pixels):
    images = [np.repeat(image[..., :1], 3, axis=2) for image in scene(3)]
    frames, report = read(write(tmp_path / "gray.mkv", images, codec, pixels))
    assert report.gray
    assert report.error is None
    assert all((frame.image == frame.image[..., :1]).all() for frame in frames)
    assert np.abs(frames[0].image.astype(int) - images[0]).mean() < 3


@pytest.mark.parametrize(
    ("codec", "pixels", "shape"),
    [
        ("ffv1", "bgra", (120, 160)),
        ("ffv1", "yuv420p10le", (120, 160)),
        ("ffv1", "yuv444p", (121, 163)),
        ("libx264", "yuv420p", (2160, 3840)),
    ],
)
def test_unusual_pixels_are_read(tmp_path, codec, pixels, shape):
    images = scene(2, *shape)
    frames, report = read(write(tmp_path / "unusual.mkv", images, codec, pixels))
    assert report.error is None
    assert [frame.image.shape for frame in frames] == [(*shape, 3)] * 2
    assert np.abs(frames[1].image.astype(int) - images[1]).mean() < 6


def test_a_change_of_resolution_is_followed(tmp_path):
    parts = [write(tmp_path / f"{size[0]}.h264", scene(5, *size)) for size in ((120, 160), (240, 320))]
    path = tmp_path / "change.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, report = read(path)
    assert [frame.image.shape[0] for frame in frames] == [120] * 5 + [240] * 5
    assert (report.height, report.width, report.error) == (120, 160, None)


def test_an_empty_file(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    assert "empty (0 bytes); copy it again" in error_of(path)
    assert "empty (0 bytes); copy it again" in error_of(path, "image")


def test_a_missing_file(tmp_path):
    for kind in ("video", "images", "image"):
        assert "does not exist; check its path" in error_of(tmp_path / "none", kind)


def test_a_video_cut_off_before_its_index(tmp_path):
    path = write(tmp_path / "cut.mp4", scene(20))
    path.write_bytes(path.read_bytes()[:-2000])
    assert "cut off" in error_of(path)
    assert "index" in error_of(path)


def test_a_video_cut_off_midway_keeps_what_precedes(tmp_path, video):
    path = tmp_path / "cut.mp4"
    path.write_bytes(video.read_bytes()[: video.stat().st_size * 8 // 10])
    whole, _ = read(video)
    frames, report = read(path)
    assert 5 < len(frames) < 40
    assert f"cut off after frame {len(frames)}" in report.error
    assert "copy it again" in report.error
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, whole, strict=False))


def test_a_container_that_just_ends_is_given_away_by_its_stated_length(tmp_path):
    path = write(tmp_path / "cut.mkv", scene(60), "ffv1", "yuv444p")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames, report = read(path)
    assert 20 < len(frames) < 40
    assert "states a length of 2.0 s" in report.error
    assert "cut off" in report.error


def test_damage_in_the_middle_ends_the_frames_there(tmp_path):
    path = write(tmp_path / "damaged.mp4", scene(60))
    whole, _ = read(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(byte * 7 % 251 for byte in data[middle : middle + 400])
    path.write_bytes(data)
    frames, report = read(path)
    assert 10 < len(frames) < 50
    assert f"after frame {len(frames)}" in report.error
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, whole, strict=False))


def test_text_called_a_video(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("smile three times\n" * 50)
    assert "not a video, whatever the file is called" in error_of(path)


def test_a_playlist_calls_nowhere(tmp_path):
    path = tmp_path / "playlist.mp4"
    path.write_text("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/clip.ts\n#EXT-X-ENDLIST\n")
    assert "not a video" in error_of(path)


def test_sound_without_a_picture(tmp_path):
    assert "sound but no picture" in error_of(write(tmp_path / "voice.mp4", [], sound=True))


def test_sound_beside_the_picture_changes_nothing(tmp_path):
    frames, report = read(write(tmp_path / "speech.mp4", scene(10), sound=True))
    assert len(frames) == 10
    assert report.error is None


def test_an_unreadable_file(unprivileged):
    # Not in tmp_path, which belongs to whoever runs the test.
    with TemporaryDirectory() as folder:
        path = Path(folder) / "private.mp4"
        path.write_bytes(b"\0\0\0\x18ftypmp42")
        path.chmod(0)
        assert "may not be read by this user; ask its owner" in error_of(path)
        assert "may not be read by this user; ask its owner" in error_of(path, "image")


def test_one_frame_has_no_rate(tmp_path):
    frames, report = read(write(tmp_path / "one.mp4", scene(1)))
    assert len(frames) == 1
    assert (report.fps, report.variable_frame_rate, report.error) == (None, False, None)


def test_a_still_is_read_upright(tmp_path):
    image = scene(1)[0]
    path = tmp_path / "a 100%d photo.png"
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    (frame,), report = read(path, "image")
    assert np.array_equal(frame.image, image)
    assert frame.time_s is None
    assert (report.frames_read, report.rotation, report.fps, report.error) == (1, None, None, None)


def test_the_orientation_that_a_camera_noted_is_applied(tmp_path):
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(scene(1)[0], cv2.COLOR_RGB2BGR))
    # A minimal EXIF block with one entry: orientation (0x0112) = 6, to be turned a quarter clockwise.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    jpeg = data.tobytes()
    path = tmp_path / "phone.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    (frame,), _ = read(path, "image")
    plain = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert ok
    assert np.array_equal(frame.image, np.rot90(plain, -1))


def test_a_video_called_jpg(tmp_path, video):
    path = tmp_path / "smile.jpg"
    path.write_bytes(video.read_bytes())
    assert "not a whole image" in error_of(path, "image")
    assert ".mp4" in error_of(path, "image")


def folder_of_stills(folder, names):
    folder.mkdir()
    images = scene(len(names))
    for name, image in zip(names, images, strict=True):
        cv2.imwrite(str(folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return images


def test_a_folder_is_read_in_natural_order(tmp_path):
    images = folder_of_stills(tmp_path / "stills", ["s_1.png", "s_2.png", "s_10.png", "s_100.png"])
    (tmp_path / "stills" / "notes.txt").write_text("not an image")
    (tmp_path / "stills" / "._s_1.png").write_text("left behind by a Mac")
    frames, report = read(tmp_path / "stills", "images")
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert all(np.array_equal(frame.image, image) for frame, image in zip(frames, images, strict=True))
    assert report.error is None
    assert [frame.number for frame in read(tmp_path / "stills", "images", at_most=2)[0]] == [0, 3]


def test_a_bad_image_leaves_a_gap_and_is_named(tmp_path):
    folder_of_stills(tmp_path / "stills", ["1.png", "2.png", "3.png"])
    (tmp_path / "stills" / "2.png").write_text("nothing")
    frames, report = read(tmp_path / "stills", "images")
    assert [frame.number for frame in frames] == [0, 2]
    assert "1 of the selected images" in report.error
    assert "2.png" in report.error


def test_a_folder_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing to see")
    assert "no image" in error_of(tmp_path, "images")
    assert "folder" in error_of(tmp_path, "video")
    assert "folder of images was expected" in error_of(tmp_path / "notes.txt", "images")


def clip_row(path, problem=None):
    keys = {"cohort": "mine", "subject": "007", "clip": "smile"}
    return keys | {"path": str(path), "kind": "video", "problem": problem}


def test_a_clip_goes_into_the_tables_without_loss(tmp_path, video):
    with TableWriter(tmp_path / "frames.parquet", FRAMES) as table:
        report = decode_clip(clip_row(video), table.append, every=9)
    expected, _ = read(video, every=9)
    rows = list(read_rows(tmp_path / "frames.parquet"))
    assert [row["frame"] for row in rows] == [0, 9, 18, 27, 36]
    assert all(np.array_equal(image_of(row), frame.image) for row, frame in zip(rows, expected, strict=True))
    assert list(report) == DECODING.names
    assert (report["subject"], report["frames_read"], report["frames_kept"]) == ("007", 40, 5)


def test_a_clip_with_a_problem_is_not_opened(video):
    kept = []
    report = decode_clip(clip_row(video, problem="listed twice"), kept.append)
    assert kept == []
    assert (report["error"], report["frames_read"]) == ("listed twice", 0)
