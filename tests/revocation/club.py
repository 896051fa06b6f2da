"""Who reads what, how it is taken away from them, and what they are told."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO

from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client as Browser

from project.users.models import Session as SessionRow
from project.users.models import User
from realtime import operations
from realtime.audit import Actor
from realtime.engine import Engine
from realtime.models import ApiKey, Audience, Membership, Stream

from ..core import Client, append, elsewhere, quiet
from ..waiting import eventually

OPERATOR = Actor("cli:ops")


async def enter(engine: Engine, cookies: dict[str, str], name: str, *streams: str) -> Client:
    """Connected, and subscribed to `streams`."""
    client = Client(engine, token=cookies["key"]) if name == "key" else Client(engine, cookies[name])
    await client.connect()
    for stream in streams:
        assert isinstance(await client.ask("subscribe", channel=stream), dict)
    return client


def user(name: str) -> User:
    return User.objects.get(username=name)


def browser(name: str, session_key: str) -> Browser:
    found = Browser()
    found.cookies["sessionid"] = session_key
    return found


# What can be done to somebody. Each takes their name and their session key.


def sign_out(name: str, session_key: str) -> None:
    browser(name, session_key).post("/accounts/logout/")


def end_all_sessions(name: str, session_key: str) -> None:
    SessionRow.objects.filter(user=user(name)).delete()


def flush_session(name: str, session_key: str) -> None:
    SessionRow.get_session_store_class()(session_key).flush()


def change_password(name: str, session_key: str) -> None:
    changed = user(name)
    changed.set_password("new")
    changed.save()


def deactivate(name: str, session_key: str) -> None:
    changed = user(name)
    changed.is_active = False
    changed.save(update_fields=["is_active"])


def delete_user(name: str, session_key: str) -> None:
    user(name).delete()


def revoke_key(name: str, session_key: str) -> None:
    operations.revoke(OPERATOR, ApiKey.objects.get())


def rotate_key(name: str, session_key: str) -> None:
    operations.rotate(OPERATOR, ApiKey.objects.get(), timedelta(0))


def delete_key(name: str, session_key: str) -> None:
    ApiKey.objects.get().delete()


def revoke_key_by_command(name: str, session_key: str) -> None:
    call_command("apikey", "revoke", ApiKey.objects.get().prefix, "--noinput", stdout=StringIO())


def narrow_key(name: str, session_key: str) -> None:
    key = ApiKey.objects.get()
    key.scopes = [{"pattern": "open", "actions": ["read"]}]
    key.save()


def end_membership(name: str, session_key: str) -> None:
    Membership.objects.get(user=user(name)).delete()


def give_membership_to_bob(name: str, session_key: str) -> None:
    membership = Membership.objects.get(user=user(name))
    membership.user = user("bob")
    membership.save()


def give_membership_of_another_stream_to_bob(name: str, session_key: str) -> None:
    membership = Membership.objects.get(user=user(name))
    membership.user, membership.stream = user("bob"), Stream.objects.get(name="open")
    membership.save()


def move_membership_to_another_stream(name: str, session_key: str) -> None:
    membership = Membership.objects.get(user=user(name))
    membership.stream = Stream.objects.get(name="open")
    membership.save()


def give_membership_of_group_to_bob(name: str, session_key: str) -> None:
    membership = Membership.objects.get(group__isnull=False)
    membership.group, membership.user, membership.stream = None, user("bob"), Stream.objects.get(name="open")
    membership.save()


def leave_group(name: str, session_key: str) -> None:
    user(name).groups.clear()


def remove_from_group(name: str, session_key: str) -> None:
    Group.objects.get().user_set.remove(user(name))


def clear_group(name: str, session_key: str) -> None:
    Group.objects.get().user_set.clear()


def delete_group(name: str, session_key: str) -> None:
    Group.objects.get().delete()


def end_group_membership(name: str, session_key: str) -> None:
    Membership.objects.filter(group__isnull=False).delete()


def demote(name: str, session_key: str) -> None:
    changed = user(name)
    changed.is_superuser = False
    changed.save()


def close_to_members(name: str, session_key: str) -> None:
    stream = Stream.objects.get(name="open")
    stream.readers = Audience.MEMBERS
    stream.save()


def archive(name: str, session_key: str) -> None:
    operations.archive(OPERATOR, Stream.objects.get(name="club"))


def remove_stream(name: str, session_key: str) -> None:
    Stream.objects.get(name="club").delete()


# Done to whom, and what they are told: a close code, or which subscription ends with which code.
Told = int | dict[str, int]
CHANGES: list[tuple[Callable[[str, str], None], str, Told]] = [
    (sign_out, "alice", 4501),
    (end_all_sessions, "alice", 4501),
    (flush_session, "alice", 4501),
    (change_password, "alice", 4501),
    (deactivate, "alice", 4501),
    (delete_user, "alice", 4501),
    (revoke_key, "key", 4501),
    (revoke_key_by_command, "key", 4501),
    (rotate_key, "key", 4501),
    (delete_key, "key", 4501),
    (narrow_key, "key", {"club": 2403}),
    (end_membership, "alice", {"club": 2403}),
    (give_membership_to_bob, "alice", {"club": 2403}),
    (give_membership_of_another_stream_to_bob, "alice", {"club": 2403}),
    (move_membership_to_another_stream, "alice", {"club": 2403}),
    (give_membership_of_group_to_bob, "carol", {"club": 2403}),
    (leave_group, "carol", {"club": 2403}),
    (remove_from_group, "carol", {"club": 2403}),
    (clear_group, "carol", {"club": 2403}),
    (delete_group, "carol", {"club": 2403}),
    (end_group_membership, "carol", {"club": 2403}),
    (demote, "root", {"club": 2403}),
    (close_to_members, "alice", {"open": 2403}),
    (archive, "alice", {"club": 2404}),
    (remove_stream, "alice", {"club": 2404}),
]


def outcome(client: Client) -> Told:
    """What it was told so far."""
    if client.closing is not None:
        return client.closing
    pushes = [message["push"] for message in client.drain() if "unsubscribe" in message.get("push", {})]
    return {push["channel"]: push["unsubscribe"]["code"] for push in pushes}


async def more_records(client: Client) -> list[str]:
    """The streams of which it still hears, after a record in each."""
    before = len(client.drain())
    for name in ("open", "club"):
        if await elsewhere(Stream.objects.filter(name=name).exists):
            await elsewhere(append, name, '"later"')
    heads = dict(await elsewhere(lambda: list(Stream.objects.values_list("pk", "head"))))
    await eventually(lambda: all(feed.last == heads[feed.stream_id] for feed in client.engine.hub.feeds.values()))
    await quiet(client.engine, client)
    return [message["push"]["channel"] for message in client.drain()[before:] if "pub" in message.get("push", {})]
