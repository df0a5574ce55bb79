"""The online detectors: what they call strange, when they tell it, and what they never learn."""

import numpy as np
import pytest

from foreshade._core import AnomalyLabel
from foreshade.envs.anomaly.detector import (
    AnomalyDetector,
    DetectorConfig,
    EpisodeConfig,
    JointAnomalyDetector,
    surge_widening,
)
from foreshade.envs.errors import InputError

STEP_S = 300.0


def clock(n):
    return np.arange(n) * STEP_S


def noise(n, n_series=1, seed=0):
    return np.random.default_rng(seed).normal(10.0, 1.0, (n, n_series))


@pytest.mark.parametrize(("jump", "label"), [(30.0, AnomalyLabel.SURGE), (-30.0, AnomalyLabel.DROP)])
def test_a_jump_is_told_at_its_first_sample_with_its_direction(jump, label):
    values = noise(1000)
    values[900:920] += jump
    p, labels, alarm = AnomalyDetector(1).run(clock(1000), values)
    assert alarm[900, 0]
    assert labels[900, 0] == label
    assert p[900, 0] < 1e-3
    assert labels[899, 0] == AnomalyLabel.NORMAL


def test_one_threshold_serves_series_of_any_unit():
    values = noise(1500)
    values[1200:1210] += 15.0
    scaled = np.hstack([values, 1e9 * values, 1e-9 * values - 7e-9])
    _, labels, alarm = AnomalyDetector(3).run(clock(1500), scaled)
    np.testing.assert_array_equal(alarm[:, 0], alarm[:, 1])
    np.testing.assert_array_equal(labels[:, 0], labels[:, 1])
    np.testing.assert_array_equal(alarm[:, 0], alarm[:, 2])
    assert alarm[1200, 0]


def test_p_values_of_plain_noise_are_as_frequent_as_they_say():
    p, _, _ = AnomalyDetector(40).run(clock(3000), noise(3000, 40, seed=3))
    settled = p[1000:]
    assert 0.06 < (settled <= 0.1).mean() < 0.14
    assert 0.004 < (settled <= 0.01).mean() < 0.02


def test_no_second_alarm_within_the_refractory_period():
    values = noise(2000)
    values[1000:1300:20] += 40.0
    strict = DetectorConfig(episode=EpisodeConfig(escalation=100.0))
    _, _, alarm = AnomalyDetector(1, strict).run(clock(2000), values)
    raised = np.flatnonzero(alarm[:, 0])
    assert len(raised) > 0
    assert np.diff(raised).min() > EpisodeConfig().refractory_steps
    short = DetectorConfig(episode=EpisodeConfig(refractory_steps=5))
    _, _, more = AnomalyDetector(1, short).run(clock(2000), values)
    assert more[1000:1300].sum() > alarm[1000:1300].sum()


def test_a_shift_is_not_learned_before_it_has_lasted():
    accept = 200
    config = DetectorConfig(episode=EpisodeConfig(accept_steps=accept))
    values = noise(1600)
    values[1000:] += 60.0
    _, labels, _ = AnomalyDetector(1, config).run(clock(1600), values)
    assert (labels[1000 : 1000 + accept, 0] == AnomalyLabel.SURGE).all()
    assert (labels[1000 + accept + 30 :, 0] == AnomalyLabel.NORMAL).mean() > 0.95


def test_a_burst_is_not_learned_as_the_usual_size():
    values = noise(1400)
    values[1000:1050] += 1000.0  # learned, it would make ten usual sizes look like a tenth of one
    detector = AnomalyDetector(1)
    detector.run(clock(1400), values)
    report = detector.observe(1400 * STEP_S, np.array([20.0]))
    assert 7.0 < report.deviation[0] < 13.0


def test_something_far_stranger_breaks_the_refractory_period():
    values = noise(1200)
    values[1000] += 5.0
    values[1020] += 5000.0
    told = AnomalyDetector(1).run(clock(1200), values)[2]
    held = DetectorConfig(episode=EpisodeConfig(escalation=100.0))
    quiet = AnomalyDetector(1, held).run(clock(1200), values)[2]
    assert told[1020, 0]
    assert not quiet[1020, 0]


def test_an_hour_out_of_its_daily_pattern_is_strange_at_a_level_that_is_not():
    n = 288 * 14
    hours = (clock(n) / 3600.0) % 24
    values = np.where((hours >= 9) & (hours < 18), 80.0, 20.0) + np.random.default_rng(1).normal(0, 1, n)
    night = 288 * 12 + 12 * 3
    values[night : night + 24] = 80.0
    _, _, alarm = AnomalyDetector(1).run(clock(n), values[:, None])
    assert alarm[night : night + 24].any()
    assert alarm[288 * 8 : night].sum() <= 3


def test_a_series_that_always_moves_and_freezes_is_stuck():
    values = noise(1000)
    values[800:900] = values[799]
    rare = DetectorConfig(episode=EpisodeConfig(alarm_p=1e-4))  # or an alarm on noise might hide this one
    _, labels, alarm = AnomalyDetector(1, rare).run(clock(1000), values)
    assert (labels[830:900, 0] == AnomalyLabel.STUCK).all()
    assert alarm[800:830].any()
    assert labels[950, 0] != AnomalyLabel.STUCK


def test_a_constant_series_is_normal_and_its_first_move_is_a_bounded_surge():
    detector = AnomalyDetector(1)
    values = np.full((600, 1), 5.0)
    p, labels, alarm = detector.run(clock(600), values)
    assert not labels.any()
    assert not alarm.any()
    assert np.isfinite(p).all()
    report = detector.observe(600 * STEP_S, np.array([6.0]))
    assert report.label[0] == AnomalyLabel.SURGE
    assert report.alarm[0]
    assert surge_widening(report)[0] == 8.0


def test_absent_samples_are_missing_after_three_and_normal_again_at_once():
    values = noise(500)
    values[300:310] = np.nan
    values[400] = np.inf
    detector = AnomalyDetector(1)
    p, labels, alarm = detector.run(clock(500), values)
    assert (labels[300:302, 0] == AnomalyLabel.NORMAL).all()
    assert (labels[302:310, 0] == AnomalyLabel.MISSING).all()
    assert labels[310, 0] == AnomalyLabel.NORMAL
    assert np.flatnonzero(alarm[300:310, 0]).tolist() == [2]
    assert (p[300:310] == 1.0).all()
    assert detector.gaps.tolist() == [11]
    assert np.isfinite(p).all()


def test_a_series_that_never_reported_is_not_called_missing():
    p, labels, alarm = AnomalyDetector(2).run(clock(50), np.full((50, 2), np.nan))
    assert not labels.any()
    assert not alarm.any()
    assert (p == 1.0).all()


def test_repeated_and_late_samples_change_nothing_but_their_count():
    values = noise(400)
    one, two = AnomalyDetector(1), AnomalyDetector(1)
    one.run(clock(400), values)
    for t, row in zip(clock(400), values, strict=True):
        two.observe(t, row)
        two.observe(t, row + 1e6)
        two.observe(t - 1000.0, row - 1e6)
    assert two.stale.tolist() == [800]
    now = 400 * STEP_S
    first, second = one.observe(now, np.array([14.0])), two.observe(now, np.array([14.0]))
    assert first.p[0] == second.p[0]
    assert first.deviation[0] == second.deviation[0]


def test_each_series_may_have_its_own_clock():
    values = noise(600, 2, seed=5)
    times = np.column_stack([clock(600), clock(600) * 3 + 17.0])
    both = AnomalyDetector(2)
    alone = [AnomalyDetector(1), AnomalyDetector(1)]
    for t, row in zip(times, values, strict=True):
        report = both.observe(t, row)
        for s in range(2):
            assert alone[s].observe(t[s], row[s : s + 1]).p[0] == report.p[s]


def test_since_says_when_the_label_began():
    detector = AnomalyDetector(1)
    detector.run(clock(500), noise(500))
    assert np.isnan(detector.observe(500 * STEP_S, np.array([10.0])).since_s[0])
    for k in (501, 502, 503):
        report = detector.observe(k * STEP_S, np.array([90.0]))
        assert report.since_s[0] == 501 * STEP_S


def test_a_restored_detector_goes_on_as_if_it_had_never_stopped():
    values = noise(900, 3, seed=2)
    values[700:720] += 20.0
    whole = AnomalyDetector(3)
    expected = [part[450:] for part in whole.run(clock(900), values)]
    first = AnomalyDetector(3)
    first.run(clock(900)[:450], values[:450])
    second = AnomalyDetector(3)
    second.restore(first.save())
    for got, want in zip(second.run(clock(900)[450:], values[450:]), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    with pytest.raises(InputError, match="expected a state of"):
        AnomalyDetector(4).restore(first.save())


def test_only_an_open_surge_widens_and_by_what_it_needs():
    detector = AnomalyDetector(3)
    detector.run(clock(1000), noise(1000, 3))
    report = detector.observe(1000 * STEP_S, np.array([18.0, 10.0, 2.0]))
    factor = surge_widening(report)
    assert report.label.tolist() == [AnomalyLabel.SURGE, AnomalyLabel.NORMAL, AnomalyLabel.DROP]
    assert factor[0] == pytest.approx(report.deviation[0] / 1.96)
    assert 1.5 < factor[0] < 8.0
    assert factor[1:].tolist() == [1.0, 1.0]


def test_wrong_shapes_and_options_are_one_line():
    with pytest.raises(InputError, match="expected 2 values, got 3"):
        AnomalyDetector(2).observe(0.0, np.zeros(3))
    with pytest.raises(InputError, match="expected 1 or 2 times, got 3"):
        AnomalyDetector(2).observe(np.zeros(3), np.zeros(2))
    with pytest.raises(InputError, match="expected slow_steps above 1"):
        AnomalyDetector(1, DetectorConfig(slow_steps=0))
    with pytest.raises(InputError, match="alarm_p: expected a probability"):
        AnomalyDetector(1, DetectorConfig(episode=EpisodeConfig(alarm_p=0.0)))
    with pytest.raises(InputError, match="n_steps x 2"):
        AnomalyDetector(2).run(np.zeros(3), np.zeros((3, 1)))


def paired(n, seed=0):
    """Two metrics that always move together, and one that never moves."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.0, 1.0, n)
    return np.column_stack([base, base + rng.normal(0, 0.01, n), np.full(n, 0.5)])


def test_metrics_that_part_are_a_joint_anomaly_though_each_is_usual():
    values = paired(3000)
    values[2500:2520, 0], values[2500:2520, 1] = 0.1, 0.9
    _, labels, alarm = JointAnomalyDetector(1, 3).run(clock(3000), values[:, None, :])
    assert alarm[2500:2510].any()
    assert labels[2515, 0] in {AnomalyLabel.SURGE, AnomalyLabel.DROP}
    _, _, single = AnomalyDetector(3).run(clock(3000), values)
    assert not single[2500:2502].any()


def test_joint_detector_names_the_metric_and_lives_with_absent_ones():
    detector = JointAnomalyDetector(2, 3)
    values = np.stack([paired(1000), paired(1000, seed=1)], axis=1)
    values[::7, 0, 1] = np.nan
    p, _, _ = detector.run(clock(1000), values)
    assert np.isfinite(p).all()
    sample = np.array([[0.5, np.nan, 3.0], [0.5, 0.5, 0.5]])
    report = detector.observe(1000 * STEP_S, sample)
    assert np.argmax(np.abs(detector.contribution()[0])) == 2
    assert detector.contribution()[0, 1] == 0.0
    assert report.label[0] == AnomalyLabel.SURGE
    assert report.p[0] < 1e-3 < report.p[1]
    for k in range(1001, 1004):
        report = detector.observe(k * STEP_S, np.full((2, 3), np.nan))
    assert report.label.tolist() == [AnomalyLabel.MISSING] * 2


def test_a_restored_joint_detector_goes_on_as_if_it_had_never_stopped():
    values = np.stack([paired(900), paired(900, seed=4)], axis=1)
    values[700:720, 1, 0] = 3.0
    whole = JointAnomalyDetector(2, 3)
    expected = [part[450:] for part in whole.run(clock(900), values)]
    assert expected[2].any()
    first, second = JointAnomalyDetector(2, 3), JointAnomalyDetector(2, 3)
    first.run(clock(900)[:450], values[:450])
    second.restore(first.save())
    for got, want in zip(second.run(clock(900)[450:], values[450:]), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(second.contribution(), whole.contribution())
    with pytest.raises(InputError, match="expected a state of"):
        JointAnomalyDetector(2, 4).restore(first.save())
    assert second.save() == whole.save()


@pytest.mark.parametrize("joint", [False, True])
def test_a_forgotten_series_begins_anew_and_the_others_go_on(joint):
    def fed(detector, values):
        for t, row in zip(clock(len(values)), values, strict=True):
            detector.observe(t, row)
        return detector

    shape = (600, 2, 3) if joint else (600, 2)
    values = np.random.default_rng(8).normal(0.5, 0.05, shape)
    make = (lambda: JointAnomalyDetector(2, 3)) if joint else (lambda: AnomalyDetector(2))
    one, other = fed(make(), values), fed(make(), values)
    one.forget(1)
    fresh = make()
    for k in range(600, 900):
        row = np.random.default_rng(k).normal(0.5, 0.05, shape[1:])
        got, went_on, began = (d.observe(k * STEP_S, row) for d in (one, other, fresh))
        assert got.p[0] == went_on.p[0]
        assert got.p[1] == began.p[1]
        assert got.deviation[1] == began.deviation[1]
    assert (got.p[1] != went_on.p[1]) or (got.deviation[1] != went_on.deviation[1])
    with pytest.raises(InputError, match="expected a series below 2, got 2"):
        one.forget(2)
