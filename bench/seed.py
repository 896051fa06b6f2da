"""Makes the database that Wirelog starts with: `python -m bench.seed`, under WIRELOG_DATA. Prints logins as JSON.

The streams `log<size>` are written by one statement each, since a million publishes would take longer than the benchmark.
"""

import json
import sys

import django
from django.apps import apps
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.core.management import call_command
from django.db import connection

PEOPLE = 200
# One record a second, until now.
FILL = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)
    INSERT INTO realtime_record
        (stream_id, "offset", data, content_type, "key", removed, tags, publisher, client, idempotency_key, received)
    SELECT %s, n,
        printf('{"p":1,"n":%%d,"value":%%.3f,"pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}', n, 20 + (n %% 997) / 100.0),
        '', printf('sensor-%%d', n %% 1000), 0, '', 'cli:bench', '', '', unixepoch() * 1000 - (%s - n) * 1000
    FROM numbers
"""


def main(sizes: list[int]) -> None:
    django.setup()
    call_command("migrate", verbosity=0)
    # Streams `bench:…` come with their first subscriber or record.
    apps.get_model("realtime", "Namespace").objects.create(name="bench")
    for size in sizes:
        fill(size)
    sys.stdout.write(json.dumps({"key": key(), "sessions": [session(number) for number in range(PEOPLE)]}))


def fill(size: int) -> None:
    from realtime.models import Kind, Stream
    from realtime.rollups import roll_once

    stream = Stream.objects.create(name=f"log{size}", kind=Kind.CHART, head=size, size=size * 100)
    with connection.cursor() as cursor:
        # Made in seconds, and copied from then on: a power cut meanwhile costs nothing.
        cursor.execute("PRAGMA synchronous = OFF")
        cursor.execute(FILL, [size, stream.pk, size])
    while roll_once():
        pass


def session(number: int) -> str:
    from project.users.models import User
    from project.users.sessions import SessionStore

    user = User.objects.create(username=f"reader{number}", password="!")
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.create()
    return str(store.session_key)


def key() -> str:
    from realtime.models import ApiKey

    return ApiKey.generate(name="bench", scopes=[{"pattern": "*", "actions": ["read", "publish", "manage"]}])[1]


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]])
