"""The settings, from environment variables."""

import os
from pathlib import Path


def secret() -> bytes:
    """The gateway's `auth.secret`, from the file that CHAT_SECRET_FILE names."""
    return Path(os.environ["CHAT_SECRET_FILE"]).read_bytes().strip()


def redis_url() -> str:
    """The Redis of the gateway."""
    return os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")


def redis_password() -> str | None:
    """The password of Redis, from the file that REDIS_PASSWORD_FILE names."""
    path = os.environ.get("REDIS_PASSWORD_FILE")
    return Path(path).read_text().strip() if path else None


def gateway_url() -> str:
    """The address of the gateway for browsers: `ws:` or `wss:`, or a path of the page's own host."""
    return os.environ.get("GATEWAY_WS_URL", "ws://localhost:8080/")


def store_path() -> str:
    """The file of the database."""
    return os.environ.get("CHAT_STORE", "chat.sqlite")


def pages() -> Path:
    """The folder with the built front end."""
    return Path(os.environ.get("CHAT_PAGES", Path(__file__).parents[2] / "frontend/dist"))
