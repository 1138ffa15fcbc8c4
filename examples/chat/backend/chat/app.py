"""The HTTP interface for the front end: login, tokens, rooms and stored messages."""

import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import jwt
from fastapi import Cookie, Depends, FastAPI, HTTPException, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from . import settings
from .store import Store

COOKIE = "chat_login"
LOGIN_SECONDS = 30 * 24 * 3600
# Short, because a token cannot lose a right before it expires. The client asks for the next one in time.
TOKEN_SECONDS = 300


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    store = Store()
    store.prepare()
    store.close()
    yield


app = FastAPI(title="Chat", openapi_url=None, lifespan=lifespan)


def open_store() -> Iterator[Store]:
    store = Store()
    try:
        yield store
    finally:
        store.close()


Opened = Annotated[Store, Depends(open_store)]


def logged_in(store: Opened, chat_login: Annotated[str | None, Cookie()] = None) -> dict[str, Any]:
    user = store.user_of_login(digest(chat_login)) if chat_login else None
    if user is None:
        raise HTTPException(401, "log in first")
    return user


User = Annotated[dict[str, Any], Depends(logged_in)]


def member(room: int, user: User, store: Opened) -> dict[str, Any]:
    if not store.is_member(room, user["id"]):
        raise HTTPException(404, "no such room")
    return user


Member = Annotated[dict[str, Any], Depends(member)]


class Login(BaseModel):
    name: str = Field(min_length=1, max_length=40)
    password: str = Field(min_length=1, max_length=200)


class Read(BaseModel):
    number: int = Field(ge=0, le=2**53)


def digest(login: str) -> bytes:
    """The hash of a cookie. The database has only hashes, so a reader of the database cannot log in."""
    return hashlib.sha256(login.encode()).digest()


def password_hash(password: str, salt: bytes) -> bytes:
    return salt + hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


@app.post("/api/login")
def login(given: Login, response: Response, store: Opened) -> dict[str, Any]:
    """Logs in. A name that nobody has yet becomes an account with this password."""
    name = given.name.strip()
    if not name:
        raise HTTPException(422, "the name is empty")
    if store.user_named(name) is None:
        store.add_user(name, password_hash(given.password, secrets.token_bytes(16)))
    user = store.user_named(name)
    if user is None or not hmac.compare_digest(user["password"], password_hash(given.password, user["password"][:16])):
        raise HTTPException(403, "another person has this name, or the password is wrong")
    cookie = secrets.token_urlsafe(32)
    store.add_login(digest(cookie), user["id"], LOGIN_SECONDS)
    response.set_cookie(COOKIE, cookie, max_age=LOGIN_SECONDS, httponly=True, samesite="lax")
    return {"id": str(user["id"]), "name": user["name"]}


@app.post("/api/token")
def token(user: User, store: Opened) -> str:
    """A token of the gateway: who the user is, and which channels the user may subscribe to."""
    now = time.time()
    channels = [f"room:{room['id']}" for room in store.rooms_of(user["id"])]
    claims = {
        "sub": str(user["id"]),
        "iat": now,
        "exp": int(now) + TOKEN_SECONDS,
        "jti": secrets.token_hex(8),
        "channels": [*channels, "online:*"],
    }
    return jwt.encode(claims, settings.secret(), "HS256")


@app.get("/api/me")
def me(user: User, store: Opened) -> dict[str, Any]:
    return {
        "id": str(user["id"]),
        "name": user["name"],
        "gateway": settings.gateway_url(),
        "rooms": store.rooms_of(user["id"]),
    }


@app.get("/api/rooms/{room}/members")
def members(room: int, _: Member, store: Opened) -> list[dict[str, Any]]:
    return [{**one, "id": str(one["id"])} for one in store.members_of(room)]


@app.get("/api/rooms/{room}/messages")
def messages(room: int, _: Member, store: Opened, before: int | None = None) -> list[dict[str, Any]]:
    return [{**one, "user": str(one["user"])} for one in store.messages(room, before, 50)]


@app.post("/api/rooms/{room}/read", status_code=204)
def read(room: int, given: Read, user: Member, store: Opened) -> None:
    store.mark_read(room, user["id"], given.number)


app.mount("/", StaticFiles(directory=settings.pages(), html=True), name="pages")
