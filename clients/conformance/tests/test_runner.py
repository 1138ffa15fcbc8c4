"""The runner with clients that are correct, broken, or no clients at all."""

import contextlib
import io
import pathlib
import sys
import unittest
import unittest.mock

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

import run  # noqa: E402
from kit import adapter, world  # noqa: E402
from kit.failure import AdapterError  # noqa: E402

BASICS = ("close-4010", "heartbeat-answered", "resume-after-cut")


def result_of(*arguments):
    """The exit code of the runner, and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = run.main([str(one) for one in arguments])
    return code, out.getvalue()


def with_adapter(name, *arguments, names=BASICS, options=()):
    command = ["--", sys.executable, FOLDER / "adapters" / name, *arguments]
    return result_of(*options, *names, *command)


class Verdicts(unittest.TestCase):
    def test_a_correct_client_passes(self):
        code, out = with_adapter("tiny.py")
        self.assertEqual((code, out.splitlines()[-1]), (0, "tiny: 3 scenarios, 0 failed, 0 skipped"))

    def test_each_broken_client_fails_the_scenario_of_its_flaw(self):
        flaws = {
            "mute": "heartbeat-answered",
            "stubborn": "close-4010-stays-closed",
            "forgetful": "resume-after-cut",
            "repeating": "resume-after-cut",
        }
        for flaw, name in flaws.items():
            with self.subTest(flaw):
                code, out = with_adapter("tiny.py", flaw)
                failures = [line for line in out.splitlines() if line.startswith("FAIL")]
                self.assertEqual(code, 1, out)
                self.assertEqual([line.split()[1] for line in failures], [f"{name}:"])

    def test_a_client_that_does_nothing_fails_every_scenario(self):
        code, out = with_adapter("odd.py", "idle", names=[])
        self.assertEqual(code, 1)
        self.assertNotIn("\nok ", f"\n{out}")

    def test_mutants_of_a_correct_client_are_noticed(self):
        code, out = with_adapter("tiny.py", options=["--mutants"])
        self.assertEqual(code, 0, out)

    def test_a_missing_feature_fails_unless_it_is_allowed(self):
        code, out = with_adapter("tiny.py", names=["send-busy"])
        self.assertEqual(code, 1)
        self.assertIn("the client lacks send", out)
        code, out = with_adapter("tiny.py", names=["send-busy"], options=["--without", "send"])
        self.assertEqual(code, 0)
        self.assertIn("skip send-busy", out)


class Errors(unittest.TestCase):
    def check(self, how, error):
        code, out = with_adapter("odd.py", how)
        self.assertEqual(code, 1, out)
        self.assertEqual(out.count(error), len(BASICS), out)

    def test_an_adapter_that_ends_fails_each_scenario(self):
        self.check("ends", "the adapter ended instead of replying")

    def test_an_adapter_that_prints_fails_each_scenario(self):
        self.check("prints", "is not a JSON object: connected!")

    def test_an_incomplete_reply_fails_each_scenario(self):
        self.check("incomplete", "a reply lacks effects or next")

    def test_an_adapter_that_hangs_is_noticed(self):
        command = [sys.executable, str(FOLDER / "adapters" / "odd.py"), "hangs"]
        with adapter.Adapter(command) as hanging:
            self.assertEqual(hanging.request({"cmd": "info"})["client"], "odd")
            with unittest.mock.patch.object(adapter, "TIMEOUT_S", 0.05):
                with self.assertRaisesRegex(AdapterError, "no reply within 0.05 s"):
                    hanging.request({"cmd": "start"})

    def test_an_adapter_that_fails_four_times_is_given_up(self):
        names = [*BASICS, "close-4009", "wake-checks"]
        code, out = with_adapter("odd.py", "ends", names=names)
        self.assertEqual((code, out.count("FAIL")), (2, 3), out)
        self.assertIn("the adapter failed 4 times", out)

    def test_a_missing_program_is_an_error(self):
        code, out = result_of("--", "no-such-program")
        self.assertEqual(code, 2)
        self.assertIn("cannot start the adapter", out)

    def test_an_unknown_scenario_is_an_error(self):
        code, out = with_adapter("tiny.py", names=["no-such-scenario"])
        self.assertEqual(code, 2)
        self.assertIn("no scenario has this name", out)

    def test_endless_timers_fail(self):
        with unittest.mock.patch.object(world, "MAX_TIMERS", 100):
            code, out = with_adapter("odd.py", "endless", names=["close-4010"])
        self.assertEqual(code, 1)
        self.assertIn("ran 100 timers", out)


if __name__ == "__main__":
    unittest.main()
