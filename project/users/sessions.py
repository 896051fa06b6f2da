"""SESSION_ENGINE: Django's sessions in the database, plus a column that says whose session it is."""

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from .models import Session, User


class SessionStore(DatabaseStore):
    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        session = super().create_model_instance(data)
        session.user_id = user_id(data)
        return session

    async def acreate_model_instance(self, data: dict[str, Any]) -> Session:
        session = await super().acreate_model_instance(data)
        session.user_id = user_id(data)
        return session


def user_id(data: dict[str, Any]) -> int | None:
    return User._meta.pk.to_python(data.get(SESSION_KEY))
