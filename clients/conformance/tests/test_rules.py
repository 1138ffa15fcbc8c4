"""What the runner checks in every scenario, and how it compares."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from kit import frames  # noqa: E402
from kit.failure import Failure  # noqa: E402
from kit.matching import mismatch, resolve  # noqa: E402
from kit.server import Inbox, Socket  # noqa: E402
from kit.tokens import text_of  # noqa: E402

IDENTIFY = '{"op":1,"token":"t"}'


def open_socket(**limits):
    socket = Socket(1, Inbox())
    socket.is_accepted = True
    socket.note_sent({"op": 0, "limits": limits})
    return socket


class Frames(unittest.TestCase):
    def test_malformed_frames_fail(self):
        texts = [
            "x", "[]", "{}", '{"op":2}', '{"op":true}', '{"op":[]}', '{"op":1}', '{"op":1,"op":1,"token":"t"}',
            '{"op":1,"token":"t","channels":[{"channel":"a:1","since":null}]}', '{"op":4}',
            '{"op":4,"channel":"a:1","channels":["a:1"]}', '{"op":4,"channels":[]}',
            '{"op":5,"channels":[{"channel":"a:1"}]}', '{"op":12,"token":null}',
            '{"op":16,"id":"","channel":"a:1","message":1}', '{"op":16,"id":"1","channel":"a:1"}',
            '{"op":19,"id":"1","channel":"a:1","limit":-1}',
        ]  # fmt: skip
        for text in texts:
            with self.subTest(text), self.assertRaises(Failure):
                frames.parse(text)

    def test_a_batch_counts_as_one_frame_for_each_channel(self):
        batch = frames.parse('{"op":4,"channels":[{"channel":"a:1","since":"5-1"},{"channel":"a:2"}]}')
        wanted = [{"op": 4, "channel": "a:1", "since": "5-1"}, {"op": 4, "channel": "a:2"}]
        self.assertEqual(frames.singles(batch), wanted)


class Order(unittest.TestCase):
    def test_only_heartbeats_may_precede_identify(self):
        socket = open_socket()
        self.assertEqual(socket.read('{"op":10,"time":1}', 0), '{"op": 11, "time": 1}')
        with self.assertRaisesRegex(Failure, "before Identify"):
            socket.read('{"op":4,"channel":"a:1"}', 0)

    def test_a_second_identify_fails(self):
        socket = open_socket()
        socket.read(IDENTIFY, 0)
        with self.assertRaisesRegex(Failure, "second Identify"):
            socket.read(IDENTIFY, 0)

    def test_a_frame_on_a_closed_socket_fails(self):
        socket = open_socket()
        socket.is_over = True
        with self.assertRaisesRegex(Failure, "not open"):
            socket.read(IDENTIFY, 0)

    def test_more_than_16_frames_before_ready_fail(self):
        socket = open_socket()
        socket.read(IDENTIFY, 0)
        for _ in range(16):
            socket.read('{"op":5,"channel":"a:1"}', 0)
        with self.assertRaisesRegex(Failure, "16 frames before Ready"):
            socket.read('{"op":5,"channel":"a:1"}', 0)


class Limits(unittest.TestCase):
    def test_messages_beyond_the_minute_fail(self):
        socket = open_socket(messages_per_minute=2)
        socket.read(IDENTIFY, 0)
        socket.read('{"op":10}', 1)
        socket.read('{"op":18,"channel":"a:1","signal":1}', 1)
        socket.read('{"op":10}', 60_000)
        with self.assertRaisesRegex(Failure, "3 messages within a minute"):
            socket.read('{"op":10}', 60_000)

    def test_a_frame_longer_than_hello_allows_fails(self):
        with self.assertRaisesRegex(Failure, "20 bytes"):
            open_socket(message_bytes=19).read(IDENTIFY, 0)

    def test_a_seventeenth_batch_without_answer_fails(self):
        socket = open_socket(messages_per_minute=0)
        socket.read(IDENTIFY, 0)
        socket.note_sent({"op": 2})
        for number in range(16):
            socket.read(f'{{"op":4,"channels":[{{"channel":"a:{number}"}},{{"channel":"b:{number}"}}]}}', 0)
        socket.read('{"op":4,"channels":[{"channel":"c:1"}]}', 0)
        with self.assertRaisesRegex(Failure, "16 batches have no answer"):
            socket.read('{"op":4,"channels":[{"channel":"a:16"},{"channel":"b:16"}]}', 0)

    def test_a_fifth_request_without_answer_fails(self):
        socket = open_socket()
        socket.read(IDENTIFY, 0)
        for number in range(4):
            socket.read(f'{{"op":19,"id":"{number}","channel":"a:1"}}', 0)
        socket.note_sent({"op": 20, "id": "2"})
        socket.read('{"op":15,"id":"4","channel":"a:1"}', 0)
        with self.assertRaisesRegex(Failure, "4 requests have no answer"):
            socket.read('{"op":15,"id":"5","channel":"a:1"}', 0)


class Messages(unittest.TestCase):
    def setUp(self):
        self.socket = open_socket()
        self.socket.read(IDENTIFY, 0)
        self.socket.read('{"op":16,"id":"1","channel":"a:1","message":{"n":1}}', 0)

    def test_a_message_may_be_repeated_before_its_answer(self):
        self.socket.read('{"op":16,"id":"1","channel":"a:1","message":{"n":1}}', 0)

    def test_an_acknowledged_message_may_not_be_repeated(self):
        self.socket.note_sent({"op": 17, "id": "1"})
        with self.assertRaisesRegex(Failure, "repeated an acknowledged"):
            self.socket.read('{"op":16,"id":"1","channel":"a:1","message":{"n":1}}', 0)

    def test_an_id_belongs_to_one_message(self):
        with self.assertRaisesRegex(Failure, "the id of another message"):
            self.socket.read('{"op":16,"id":"1","channel":"a:1","message":{"n":2}}', 0)


class Matching(unittest.TestCase):
    def test_equal_and_further_fields_match(self):
        for expected, actual in [
            ({"a": 1}, {"a": 1, "b": 2}),
            ({"channels": [1, 2]}, {"channels": [2, 1]}),
            ({"a": {"$absent": True}}, {"b": 1}),
            ({"a": {"$any": True}}, {"a": None}),
            ({"a": None}, {"a": None}),
        ]:
            self.assertIsNone(mismatch(expected, actual, {}))

    def test_differences_are_named(self):
        for expected, actual, where in [
            ({"a": 1}, {}, "a is absent, expected 1"),
            ({"a": 1}, {"a": True}, "a is true, expected 1"),
            ({"a": None}, {}, "a is absent, expected null"),
            ({"a": [1, 2]}, {"a": [2, 1]}, "a[0] is 2, expected 1"),
            ({"a": {"b": 1}}, {"a": 1}, 'a is 1, expected {"b": 1}'),
            ({"a": {"$absent": True}}, {"a": None}, "a is null, expected to be absent"),
            ({"a": {"$any": True}}, {}, "a is absent"),
            ({"channels": [1, 1]}, {"channels": [1, 2]}, "channels is [1, 2], expected an entry like 1"),
        ]:
            self.assertEqual(mismatch(expected, actual, {}), where)

    def test_saved_values_replace_references(self):
        saved = {}
        self.assertIsNone(mismatch({"id": {"$save": "one"}}, {"id": "x"}, saved))
        self.assertEqual(resolve({"ids": [{"$ref": "one"}]}, saved), {"ids": ["x"]})

    def test_tokens_of_one_user_differ(self):
        self.assertNotEqual(text_of("42/a"), text_of("42/b"))
        self.assertEqual((text_of("opaque"), text_of(None)), ("opaque", None))


if __name__ == "__main__":
    unittest.main()
