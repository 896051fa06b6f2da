"""SESSION_ENGINE: Django's sessions in the database, plus a column that says whose session it is."""

from typing import Any, cast

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from .models import Session, User


class SessionStore(DatabaseStore):
    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        return owned(super().create_model_instance(data), data)

    async def acreate_model_instance(self, data: dict[str, Any]) -> Session:
        return owned(await super().acreate_model_instance(data), data)


def owned(session: Any, data: dict[str, Any]) -> Session:
    session.user_id = User._meta.pk.to_python(data.get(SESSION_KEY))
    return cast(Session, session)
