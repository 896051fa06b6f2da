from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models


class User(AbstractUser):
    """Somebody who signs in. A model of our own from the first migration, so that it can grow."""


class Session(AbstractBaseSession):
    """A browser session that knows whose it is: a socket is authenticated, and a person signed out everywhere, by one query."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="sessions")

    def __str__(self) -> str:
        # Never the key: whoever has it is signed in.
        return f"session of {self.user or 'nobody'} until {self.expire_date}"

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        from .sessions import SessionStore  # noqa: PLC0415 the store imports this module

        return SessionStore
