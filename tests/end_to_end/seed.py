"""Makes the database that every server of a test starts with: `python -m tests.end_to_end.seed`, under WIRELOG_DATA.

Prints the cast as JSON: sessions and keys that a test can use at once. The processes under test run the real settings.
"""

import json
import sys
from datetime import timedelta

import django
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management import call_command
from django.utils import timezone

# Alice and Bob are two people; the operator may do everything. Their passwords are their names.
PEOPLE = ("alice", "bob", "operator")
# What each key may do; the last two may do nothing any more.
KEYS = {
    "device": [{"pattern": "*", "actions": ["read", "publish"]}],
    "backend": [{"pattern": "*", "actions": ["read", "publish", "manage"]}],
    "reader": [{"pattern": "*", "actions": ["read"]}],
    "expired": [{"pattern": "*", "actions": ["read", "publish"]}],
    "revoked": [{"pattern": "*", "actions": ["read", "publish"]}],
}


def main() -> None:
    django.setup()
    call_command("migrate", verbosity=0)
    sys.stdout.write(json.dumps({"sessions": sessions(), "keys": keys()}))


def sessions() -> dict[str, str]:
    return {name: session(name) for name in PEOPLE}


def session(name: str) -> str:
    from project.users.models import User
    from project.users.sessions import SessionStore

    # One round instead of a million: the strength of the hash is not what these tests are about.
    password = PBKDF2PasswordHasher().encode(name, "salt", iterations=1)
    operator = name == "operator"
    user = User.objects.create(username=name, password=password, is_superuser=operator, is_staff=operator)
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.create()
    assert store.session_key is not None
    return store.session_key


def keys() -> dict[str, str]:
    from realtime.models import ApiKey

    ends = {"expired": {"expires": timezone.now() - timedelta(days=1)}, "revoked": {"revoked": timezone.now()}}
    return {name: ApiKey.generate(name=name, scopes=scopes, **ends.get(name, {}))[1] for name, scopes in KEYS.items()}


if __name__ == "__main__":
    main()
