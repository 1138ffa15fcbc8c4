"""The database: users, rooms and messages. The gateway keeps nothing that is not also here."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import settings

SCHEMA = """
CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT UNIQUE COLLATE NOCASE, password BLOB);
CREATE TABLE IF NOT EXISTS logins (hash BLOB PRIMARY KEY, user INTEGER, expires_at INTEGER);
CREATE TABLE IF NOT EXISTS rooms (id INTEGER PRIMARY KEY, title TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS members (room INTEGER, user INTEGER, read_to INTEGER DEFAULT 0, PRIMARY KEY (room, user));
CREATE TABLE IF NOT EXISTS messages (
    room INTEGER, number INTEGER, user INTEGER, id TEXT, text TEXT, at INTEGER,
    PRIMARY KEY (room, number), UNIQUE (user, id)
);
INSERT OR IGNORE INTO rooms (title) VALUES ('Lobby'), ('Engineering'), ('Lunch');
"""

MESSAGE = """
SELECT messages.room, number, messages.id, user, name, text, at
FROM messages JOIN users ON users.id = messages.user
"""


class Store:
    """One connection. Only one thread at a time may use it."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(
            settings.store_path(), timeout=10, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row

    def prepare(self) -> None:
        """Makes the tables and the rooms, where they do not exist. Each program does it once, at its start."""
        self._connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Runs all or nothing. It takes the lock for writing first, so it never fails in the middle."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self._connection.execute(query, values)]

    def row(self, query: str, *values: Any) -> dict[str, Any] | None:
        return next(iter(self.rows(query, *values)), None)

    # Users

    def user_of_login(self, digest: bytes) -> dict[str, Any] | None:
        query = "SELECT id, name FROM users JOIN logins ON user = id WHERE hash = ? AND expires_at > ?"
        return self.row(query, digest, int(time.time()))

    def add_login(self, digest: bytes, user: int, seconds: int) -> None:
        self.rows("INSERT INTO logins VALUES (?, ?, ?)", digest, user, int(time.time()) + seconds)

    def user_named(self, name: str) -> dict[str, Any] | None:
        return self.row("SELECT id, name, password FROM users WHERE name = ?", name)

    def add_user(self, name: str, password: bytes) -> None:
        """Adds a user, who becomes a member of every room, unless another request has just added the name."""
        with self.transaction():
            added = self.row("INSERT OR IGNORE INTO users (name, password) VALUES (?, ?) RETURNING id", name, password)
            if added is not None:
                self.rows("INSERT INTO members (room, user) SELECT id, ? FROM rooms", added["id"])

    # Rooms

    def rooms_of(self, user: int) -> list[dict[str, Any]]:
        """The rooms of a user, with the number of messages that the user has not read."""
        query = """
            SELECT id, title, (
                SELECT count(*) FROM messages WHERE room = rooms.id AND number > read_to AND messages.user <> members.user
            ) AS unread
            FROM rooms JOIN members ON room = id WHERE user = ? ORDER BY id
        """
        return self.rows(query, user)

    def members_of(self, room: int) -> list[dict[str, Any]]:
        return self.rows("SELECT id, name FROM users JOIN members ON user = id WHERE room = ? ORDER BY name", room)

    def is_member(self, room: int, user: int) -> bool:
        return self.row("SELECT 1 FROM members WHERE room = ? AND user = ?", room, user) is not None

    def mark_read(self, room: int, user: int, number: int) -> None:
        query = "UPDATE members SET read_to = max(read_to, ?) WHERE room = ? AND user = ?"
        self.rows(query, number, room, user)

    # Messages

    def messages(self, room: int, before: int | None, limit: int) -> list[dict[str, Any]]:
        """The newest messages of a room, or those before one, oldest first."""
        query = f"{MESSAGE} WHERE messages.room = ? AND number < ? ORDER BY number DESC LIMIT ?"
        return self.rows(query, room, before if before is not None else 2**62, limit)[::-1]

    def add_message(self, room: int, user: int, message_id: str, text: str, at: int) -> dict[str, Any] | None:
        """
        Stores a message once, and returns it with its number. The second call with the same id changes nothing. An id
        that was used for another room has no message.
        """
        with self.transaction():
            self.rows(
                """
                INSERT OR IGNORE INTO messages
                SELECT ?, coalesce(max(number), 0) + 1, ?, ?, ?, ? FROM messages WHERE room = ?
                """,
                room, user, message_id, text, at, room,
            )  # fmt: skip
        return self.row(f"{MESSAGE} WHERE messages.room = ? AND user = ? AND messages.id = ?", room, user, message_id)
