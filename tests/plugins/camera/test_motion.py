"""The detector on pictures that are known: what moves, what only shines, and what is no picture at all."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.camera.events import Event, EventTracker
from plugins.camera.motion import Look, MotionDetector, region
from plugins.camera.picture import PictureWatch
from tests.plugins.camera.scenes import FPS, HEIGHT, WIDTH, Yard


def detector(roi: tuple[tuple[float, float], ...] = (), mask: tuple[tuple[tuple[float, float], ...], ...] = (),
             **more: float) -> MotionDetector:
    return MotionDetector(region(WIDTH, HEIGHT, roi, mask), **more)


def watched(eye: MotionDetector, pictures: list[bytes], start_s: float = 0.0) -> list[Look]:
    return [eye.feed(start_s + n / FPS, picture) for n, picture in enumerate(pictures)]


def seen(looks: list[Look]) -> list[int]:
    return [n for n, look in enumerate(looks) if look.box is not None and look.score_pct >= 0.5]


# --- the region ---------------------------------------------------------------------------------------------------


def test_two_corners_are_a_rectangle_and_more_a_polygon() -> None:
    assert region(8, 4, ()).all()
    left = region(8, 4, ((0.0, 0.0), (0.5, 1.0)))
    assert left[:, :4].all() and not left[:, 4:].any()
    assert (region(8, 4, ((0.5, 1.0), (0.0, 0.0))) == left).all()
    triangle = region(100, 100, ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)))
    assert abs(int(triangle.sum()) - 5000) < 100 and triangle[5, 5] and not triangle[95, 95]
    hole = region(8, 4, (), (((0.0, 0.0), (0.5, 1.0)),))
    assert (hole == ~left).all()


def test_what_moves_outside_the_region_or_under_the_mask_is_nothing() -> None:
    yard = Yard()
    still = [yard.picture() for _ in range(16)]
    walk = [yard.picture(box=(n * 8, 5, 14, 25)) for n in range(16)]
    assert seen(watched(detector(), still + walk))
    assert not seen(watched(detector(roi=((0.0, 0.5), (1.0, 1.0))), still + walk))
    assert not seen(watched(detector(mask=(((0.0, 0.0), (1.0, 0.5)),)), still + walk))


# --- motion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [1.0, 4.0, 10.0])
def test_a_walker_is_seen_where_he_is_and_a_noisy_still_picture_is_still(noise: float) -> None:
    yard = Yard(noise=noise)
    eye = detector()
    still = watched(eye, [yard.picture() for _ in range(120)])
    assert seen(still) == [] and max(look.score_pct for look in still) < 0.2
    walk = [(10 + n * 6, 40, 12, 30) for n in range(12)]
    looks = watched(eye, [yard.picture(box=box) for box in walk], 30.0)
    assert len(seen(looks)) >= 11
    for (x, y, wide, high), look in list(zip(walk, looks, strict=True))[2:]:
        assert look.box is not None
        assert abs(look.box[0] * WIDTH - x) <= 8 and abs(look.box[1] * HEIGHT - y) <= 3
        assert abs((look.box[0] + look.box[2]) * WIDTH - (x + wide)) <= 3
        assert abs(look.score_pct - 100 * wide * high / (WIDTH * HEIGHT)) < 0.8


def test_what_is_smaller_than_the_smallest_area_is_nothing_however_many_there_are() -> None:
    """Rain: forty changed spots of 2 x 3 pixels in every picture are more than one person, and none of them one."""
    yard = Yard()
    eye = detector()
    watched(eye, [yard.picture() for _ in range(20)])
    for n in range(40):
        scene = np.frombuffer(yard.picture(), np.uint8).reshape(HEIGHT, WIDTH).copy()
        for _ in range(40):
            x, y = int(yard.random.integers(0, WIDTH - 2)), int(yard.random.integers(0, HEIGHT - 3))
            scene[y : y + 3, x : x + 2] = 250
        look = eye.feed(5 + n / FPS, scene.tobytes())
        assert look.box is None or look.score_pct < 0.5


@pytest.mark.parametrize(("gain", "offset"), [(1.25, 0.0), (0.8, 0.0), (1.0, 14.0), (1.1, -10.0)])
def test_the_light_changes_everywhere_and_nothing_moves(gain: float, offset: float) -> None:
    yard = Yard()
    eye = detector()
    looks = watched(eye, [yard.picture() for _ in range(20)]
                    + [yard.picture(gain=gain, offset=offset) for _ in range(40)])
    assert seen(looks) == []


def test_a_cloud_takes_a_third_of_the_light_in_four_seconds_and_a_walker_in_it_is_seen() -> None:
    yard = Yard()
    eye = detector()
    looks = watched(eye, [yard.picture() for _ in range(20)]
                    + [yard.picture(gain=1 - n * 0.02) for n in range(16)]
                    + [yard.picture(gain=0.68, box=(n * 8, 40, 14, 30)) for n in range(10)])
    assert seen(looks)[0] in (36, 37) and len(seen(looks)) >= 8 and eye.lights == 0


def test_lone_wrong_pixels_are_nothing_however_many() -> None:
    yard = Yard()
    eye = detector()
    watched(eye, [yard.picture() for _ in range(20)])
    for n in range(4):
        scene = np.frombuffer(yard.picture(), np.uint8).copy()
        scene[yard.random.random(scene.size) < 0.12] = 255
        look = eye.feed(5 + n / FPS, scene.tobytes())
        assert look.box is None or look.score_pct < 0.5


def test_gain_and_offset_are_taken_out_though_a_fifth_of_the_picture_is_covered() -> None:
    yard = Yard(noise=1.0)
    eye = detector()
    watched(eye, [yard.picture() for _ in range(20)])
    seen_now = np.frombuffer(yard.picture(gain=0.7, offset=20, box=(0, 0, 36, HEIGHT)), np.uint8)
    left = eye._without_light(seen_now.reshape(HEIGHT, WIDTH).astype(np.float32))
    assert abs(float(left[:, 36:].mean())) < 1 and float(left[:, 36:].std()) < 2


def test_a_shadow_over_a_third_of_the_picture_keeps_its_structure_and_is_nothing() -> None:
    yard = Yard()
    shade = np.ones((HEIGHT, WIDTH))
    shade[:, :50] = 0.6
    looks = watched(detector(), [yard.picture() for _ in range(20)] + [yard.picture(shade=shade) for _ in range(30)])
    assert len(seen(looks)) <= 1, "its edge may be seen once"


def test_a_lamp_is_no_motion_and_after_two_seconds_there_are_eyes_again() -> None:
    yard = Yard()
    eye = detector()
    watched(eye, [yard.picture() for _ in range(20)])
    bright = watched(eye, [yard.picture(gain=0.5, offset=110) for _ in range(12)], 5.0)
    assert seen(bright) == [] and eye.lights == 1
    walk = watched(eye, [yard.picture(gain=0.5, offset=110, box=(n * 8, 40, 14, 30)) for n in range(10)], 8.0)
    assert len(seen(walk)) >= 8


def test_a_car_that_parks_ends_its_event_and_one_that_leaves_no_ghost() -> None:
    yard = Yard()
    eye = detector()
    tracker = EventTracker(0.5, 3.0, 120.0)
    events: list[Event] = []
    boxes = [None] * 20 + [(n * 8, 40, 30, 20) for n in range(8)] + [(56, 40, 30, 20)] * 80 \
        + [(56 + n * 12, 40, 30, 20) for n in range(10)] + [None] * 60
    for n, box in enumerate(boxes):
        look = eye.feed(n / FPS, yard.picture(box=box))
        event = tracker.feed(n / FPS, look.score_pct, look.box)
        events += [event] if event is not None else []
    assert [round(event.begin_s) for event in events] == [5, 27]
    assert all(event.end_s - event.begin_s < 5 for event in events)


def test_a_picture_of_another_size_is_an_error_and_any_bytes_are_a_picture() -> None:
    eye = detector()
    with pytest.raises(ValueError):
        eye.feed(0.0, b"\0" * 100)
    random = np.random.default_rng(7)
    for n in range(200):
        kind = n % 4
        data = random.integers(0, 256, WIDTH * HEIGHT, np.uint8).tobytes() if kind == 0 else \
            bytes([int(random.integers(0, 256))]) * (WIDTH * HEIGHT) if kind == 1 else \
            (b"\0\xff" * (WIDTH * HEIGHT // 2)) if kind == 2 else Yard(n).picture()
        look = eye.feed(float(random.integers(0, 50)), data)  # stamps that run back too
        assert 0 <= look.score_pct <= 100 and np.isfinite(look.score_pct)


def test_a_region_of_a_few_pixels_and_the_smallest_picture_work() -> None:
    eye = MotionDetector(region(16, 8, ((0.0, 0.0), (0.1, 0.2))))
    for n in range(40):
        assert eye.feed(n / FPS, bytes(range(128))).score_pct == 0.0


# --- is it a picture? ---------------------------------------------------------------------------------------------


def test_frozen_dark_and_blank_pictures_are_named() -> None:
    """B42: the same picture to the bit for a minute is no picture; B43: nor is black or plain grey."""
    yard = Yard()
    watch = PictureWatch(frozen_s=60.0)
    same = yard.picture()
    assert {watch.feed(n / FPS, same) for n in range(240)} == {"ok"}
    assert watch.feed(60.0, same) == "frozen"
    assert watch.feed(60.25, yard.picture()) == "ok"
    black = b"\x03" * (WIDTH * HEIGHT)
    assert [watch.feed(61 + n, black) for n in range(11)][-2:] == ["ok", "dark"]
    assert watch.feed(200.0, black) == "dark", "dark for long is dark, not frozen"
    assert watch.feed(201.0, yard.picture()) == "ok"
    grey = b"\x80" * (WIDTH * HEIGHT)
    assert [watch.feed(202 + n, grey) for n in range(11)][-2:] == ["ok", "blank"]


def test_a_night_of_noise_is_never_frozen() -> None:
    """B42: false at most once a sensor-year. A sensor without any noise in 14 400 pixels is none."""
    yard = Yard(noise=0.3)
    watch = PictureWatch(frozen_s=5.0)
    assert {watch.feed(n / FPS, yard.picture()) for n in range(400)} == {"ok"}


# --- events -------------------------------------------------------------------------------------------------------

BOX = (0.1, 0.1, 0.2, 0.2)


def test_one_picture_alone_is_no_event_and_two_of_three_are() -> None:
    tracker = EventTracker(0.5, 3.0, 60.0)
    for n, hit in enumerate([1, 0, 0, 1, 0, 0]):
        assert tracker.feed(n / 4, 2.0 * hit, BOX if hit else None) is None
        assert not tracker.motion
    tracker.feed(2.0, 2.0, BOX)
    tracker.feed(2.25, 0.0, None)
    tracker.feed(2.5, 3.0, (0.5, 0.0, 0.1, 0.1))
    assert tracker.motion and tracker.begin_s == 2.0
    ended = [tracker.feed(2.75 + n / 4, 0.0, None) for n in range(12)]
    assert [event for event in ended if event] == [Event(2.0, 2.5, 3.0, (0.1, 0.0, 0.5, 0.3))]
    assert not tracker.motion


def test_an_event_without_end_is_cut_and_goes_on() -> None:
    tracker = EventTracker(0.5, 3.0, 10.0)
    events = [event for n in range(100) if (event := tracker.feed(n / 4, 2.0, BOX))]
    assert [(event.begin_s, event.end_s, event.continues) for event in events] == [
        (0.0, 10.0, True), (10.0, 20.0, True)]
    last = tracker.end()
    assert last is not None and last.begin_s == 20.0 and not last.continues
    assert tracker.end() is None
