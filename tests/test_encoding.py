import av
import numpy as np
import pytest

from faceneuro.video.decoding import decode
from faceneuro.video.encoding import encode
from test_decoding import scene


def test_what_is_written_can_be_read(tmp_path):
    images = scene(12)
    assert encode(tmp_path / "new folder" / "clip.mp4", iter(images), fps=25, crf=10) == 12
    decoding = decode(tmp_path / "new folder" / "clip.mp4", "video")
    errors = [np.abs(frame.image.astype(int) - image).mean() for frame, image in zip(decoding, images, strict=True)]
    assert max(errors) < 6
    assert (decoding.report.fps, decoding.report.error) == (25, None)


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        encode(tmp_path / name, scene(12))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_it_is_h264_that_any_player_plays(tmp_path):
    encode(tmp_path / "clip.mp4", scene(3), fps=29.97)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == pytest.approx(29.97, abs=0.001)


def test_an_interrupted_video_leaves_nothing(tmp_path):
    def interrupted():
        yield from scene(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(tmp_path / "clip.mp4", interrupted())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_video_leaves_the_former_one(tmp_path):
    encode(tmp_path / "clip.mp4", scene(3))
    former = (tmp_path / "clip.mp4").read_bytes()
    with pytest.raises(ValueError, match="no image"):
        encode(tmp_path / "clip.mp4", [])
    assert (tmp_path / "clip.mp4").read_bytes() == former


def test_sizes_that_h264_cannot_hold_are_named(tmp_path):
    with pytest.raises(ValueError, match="even height and width, not 121 x 160"):
        encode(tmp_path / "clip.mp4", scene(1, 121, 160))
    with pytest.raises(ValueError, match="image 2 has shape"):
        encode(tmp_path / "clip.mp4", [*scene(1), *scene(1, 60, 80)])
    assert list(tmp_path.iterdir()) == []
