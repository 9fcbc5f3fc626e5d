"""Self tests; run with: python3 test_features.py"""

import hashlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np

import btag_features
import btag_tracks
import btag_truth
import btag_vertices
import chunks
import dataset_file
import hlf
import hlf_features
import jets
import sample_btag
import sample_hlf

HERE = Path(__file__).resolve().parent


def massless(pt, eta, phi):
    """Momenta [n, 4] of massless particles."""
    pt, eta, phi = map(np.asarray, (pt, eta, phi))
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)],
                    axis=1)


def brute_force(z, theta, b):
    """e3, 1g3, 2g3 by three plain loops."""
    e3 = g1 = g2 = 0.0
    for i in range(len(z)):
        for j in range(i + 1, len(z)):
            for k in range(j + 1, len(z)):
                w = z[i] * z[j] * z[k]
                low, mid, high = sorted((theta[i, j], theta[i, k], theta[j, k]))
                e3 += w * (low * mid * high) ** b
                g1 += w * low**b
                g2 += w * (low * mid) ** b
    return e3, g1, g2


class Features(unittest.TestCase):
    def test_two_particles(self):
        """e2 = z1 z2 theta^b, C1 at b = 0 is z1 z2, three-point ratios are 0."""
        f = hlf_features.groomed_features(np.array([60.0, 40.0]), np.array([0.0, 0.3]),
                                          np.array([0.1, 0.5]), 7.0)
        theta = np.hypot(0.3, 0.4)
        np.testing.assert_allclose(f[:3], [0.24, 0.24 * theta, 0.24 * theta**2], rtol=1e-12)
        np.testing.assert_array_equal(f[3:13], 0.0)
        self.assertEqual(f[13], 7.0)

    def test_equilateral_triangle(self):
        """Three equal particles at distance t: e3 = t^3b / 27, e2 = t^b / 3."""
        t = 0.2
        y, phi = np.array([0.0, t, t / 2]), np.array([0.0, 0.0, t * np.sqrt(3) / 2])
        f = dict(zip(hlf_features.FEATURE_NAMES[1:15],
                     hlf_features.groomed_features(np.ones(3), y, phi, 0.0)))
        for b in (1, 2):
            self.assertAlmostEqual(f[f"c1_b{b}_mmdt"], t**b / 3, places=12)
            self.assertAlmostEqual(f[f"c2_b{b}_mmdt"], t**b / 3, places=12)
            self.assertAlmostEqual(f[f"d2_b{b}_mmdt"], 1.0, places=9)
            self.assertAlmostEqual(f[f"m2_b{b}_mmdt"], 1 / 9, places=12)
            self.assertAlmostEqual(f[f"n2_b{b}_mmdt"], 1 / 3, places=12)
        self.assertAlmostEqual(f["d2_a1_b2_mmdt"], (t**3 / 27) / (t**2 / 3) ** 1.5, places=12)

    def test_against_plain_loops(self):
        rng = np.random.default_rng(1)
        pt, y, phi = rng.exponential(size=9), rng.normal(0, 0.1, 9), rng.normal(3.1, 0.1, 9)
        s = hlf_features.correlators(pt, y, phi)
        theta = np.hypot(np.subtract.outer(y, y), np.subtract.outer(phi, phi))
        for b in (1, 2):
            expected = brute_force(pt / pt.sum(), theta, b)
            np.testing.assert_allclose([s[f"{k}_{b}"] for k in ("e3", "g1", "g2")], expected,
                                       rtol=1e-10)

    def test_d2_identity(self):
        rng = np.random.default_rng(2)
        f = hlf_features.groomed_features(rng.exponential(size=20), rng.normal(size=20),
                                          rng.normal(size=20), 1.0)
        names = hlf_features.FEATURE_NAMES[1:]
        self.assertEqual(f[names.index("d2_b1_mmdt")], f[names.index("d2_a1_b1_mmdt")])

    def test_zlogz(self):
        self.assertAlmostEqual(hlf_features.zlogz(np.ones(8)), -np.log(8.0), places=12)
        self.assertEqual(hlf_features.zlogz(np.array([3.0])), 0.0)

    def test_one_particle_is_zero_not_nan(self):
        f = hlf_features.groomed_features(np.ones(1), np.zeros(1), np.zeros(1), 0.0)
        np.testing.assert_array_equal(f, 0.0)

    def test_grooming_drops_a_soft_branch(self):
        """A 5 % particle at wide angle is removed, a 30 % one stays."""
        for share, left in ((0.05, 1), (0.30, 2)):
            p4 = massless([100 * (1 - share), 100 * share], [0.0, 0.3], [0.0, 0.0])
            _, kept, offset = jets.mmdt(*p4.T, np.array([0, 2]))
            self.assertEqual(len(kept), left)
            self.assertEqual(list(offset), [0, left])

    def test_features_of_a_clustered_jet(self):
        """Leading jet of two events in one call, constituents found back."""
        p4 = massless([500, 300, 50, 400], [0.0, 0.1, 2.0, -1.0], [0.0, 0.1, 3.0, 1.0])
        found, event, members = jets.antikt(*p4.T, np.array([0, 3, 4]), 0.4, 20.0)
        self.assertEqual(list(event), [0, 0, 1])
        self.assertEqual([sorted(m) for m in members], [[0, 1], [2], [3]])
        x = hlf.jet_features(found[:1], [p4[members[0]]])["x"][0]
        self.assertEqual(x[15], 2)
        self.assertAlmostEqual(x[1], 500 * 300 / 800**2, places=9)


class Tracks(unittest.TestCase):
    def test_lifetime_sign(self):
        """A decay in front of the primary vertex, seen from the jet, is positive."""
        jet_eta, jet_phi, length = 0.2, 0.7, 3.0
        vertex = length * np.array([[np.cos(jet_phi), np.sin(jet_phi), np.sinh(jet_eta)]])
        for side in (-0.1, 0.1):
            phi, eta = np.array([jet_phi + side]), np.array([jet_eta + side])
            for direction in (1.0, -1.0):
                d0, z0 = btag_tracks.perigee(direction * vertex, phi, np.sinh(eta))
                s_d0, s_z0 = btag_tracks.lifetime_signs(d0, z0, eta, phi, jet_eta, jet_phi)
                self.assertEqual(s_d0[0], direction)
                self.assertEqual(s_z0[0], direction)
            self.assertAlmostEqual(abs(d0[0]), length * np.sin(0.1), places=9)

    def test_vertex_fit_finds_the_point(self):
        point, phi, cot = np.array([[2.0, 1.0, 0.5]]), np.array([0.3, 0.5, 0.8]), np.array([0.1, 0.4, 0.2])
        d0, z0 = btag_tracks.perigee(np.repeat(point, 3, axis=0), phi, cot)
        sigma = np.full(3, 0.02)
        fitted, _, chi2 = btag_vertices.fit_point(d0, z0, sigma, sigma, phi, cot)
        np.testing.assert_allclose(fitted, point[0], atol=1e-5)
        self.assertLess(chi2.max(), 1e-6)

    def test_jet_probability_of_one_track(self):
        """One track of significance s: P = erfc(s / sqrt 2)."""
        self.assertAlmostEqual(btag_features.minus_ln_jet_probability(np.array([1.0])),
                               -np.log(0.31731), places=4)
        self.assertEqual(btag_features.minus_ln_jet_probability(np.array([-1.0])), 0.0)

    def test_label_order(self):
        """b before c before tau before light; classes light, c, b, tau."""
        self.assertEqual(btag_truth.LABELS, (5, 4, 15, 0))
        self.assertEqual(list(sample_btag.classes(np.array([0, 4, 5, 15]))), [0, 1, 2, 3])
        self.assertEqual(sample_btag.CLASS_NAMES, ("light", "c", "b", "tau"))
        self.assertEqual(hlf.CLASS_NAMES, ("g", "q", "w", "z", "t"))

    def test_origin_labels(self):
        kinds = {k: np.array(v, bool) for k, v in (
            ("b", (0, 0, 1, 1, 0, 0)), ("c", (0, 0, 0, 1, 1, 0)), ("tau", (0, 0, 0, 0, 0, 1)))}
        labels = btag_truth.origin_labels(kinds, np.array([0.0, 5.0, 1.0, 2.0, 1.0, 1.0]))
        self.assertEqual(list(labels), [2, 7, 3, 4, 5, 6])


class Files(unittest.TestCase):
    def test_trimmed_mantissa(self):
        x = np.array([1.0, 3.14159274, -1e-30, 0.0, np.nan], np.float32)
        trimmed = dataset_file.trim_mantissa(x, 10)
        np.testing.assert_allclose(trimmed, x, rtol=2.0**-11)

    def test_splits_are_of_events(self):
        events = np.arange(1000)
        for sample in (sample_hlf, sample_btag):
            self.assertEqual(set(sample.split_of(events)), {0, 1, 2})

    def test_same_seed_same_bytes_whatever_the_jobs(self):
        """Also when a finished chunk is lost and made again."""
        for sample, n, per_chunk in ((sample_hlf, 15, 5), (sample_btag, 24, 8)):
            with tempfile.TemporaryDirectory() as folder:
                digests = []
                for name, seed, jobs in (("a", 7, 1), ("b", 7, 2), ("c", 8, 2)):
                    plan = chunks.Plan(sample.make_chunk, Path(folder) / name, n, per_chunk, seed,
                                       {"radius": 0.4})
                    chunks.run(plan, jobs, sample.UNIT)
                    if name == "b":
                        plan.path(1).unlink()
                        chunks.run(plan, jobs, sample.UNIT)
                    files = sample.write(plan, Path(folder) / f"{name}.h5", "test")
                    digests.append([hashlib.sha256(f.read_bytes()).hexdigest() for f in files])
                self.assertEqual(digests[0], digests[1])
                self.assertNotEqual(digests[0], digests[2])

    def test_interruption_is_130_and_keeps_chunks(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, HERE / "generate.py", "jets-btag", "--events", "5000",
                       "--jobs", "2", "-o", Path(folder) / "x.h5"]
            run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True,  # a job in the background would ignore the signal
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
            time.sleep(6)
            run.send_signal(signal.SIGINT)
            _, message = run.communicate(timeout=30)
            self.assertEqual(run.returncode, 130, message)
            self.assertIn("interrupted", message)
            self.assertTrue((Path(folder) / "x.h5.parts" / "plan.json").exists())
            self.assertFalse((Path(folder) / "x.h5").exists())

    def test_bad_usage_is_exit_2_with_one_sentence(self):
        for bad in (["jets-hlf"], ["jets-hlf", "--events", "0"], ["jets-x", "--events", "1"],
                    ["jets-hlf", "--events", "5", "--radius", "9"],
                    ["jets-hlf", "--events", "5", "-o", "/nowhere/at/all.h5"]):
            run = subprocess.run([sys.executable, HERE / "generate.py", *bad], capture_output=True,
                                 text=True)
            self.assertEqual(run.returncode, 2, bad)
            self.assertEqual(run.stderr.count("\n"), 1, run.stderr)


if __name__ == "__main__":
    unittest.main()
