import io
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth import get_user_model
from django.core import signing
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from project.users.models import User
from realtime import first_run, keyfile

pytestmark = pytest.mark.django_db
BASE_URL = "http://127.0.0.1:8000"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def data(settings: Any, tmp_path: Path) -> Path:
    settings.WIRELOG = settings.WIRELOG | {"DATA": tmp_path}
    return tmp_path


@pytest.fixture
def operator() -> Any:
    return first_run.ensure_operator()


def path_of(link: str) -> str:
    return link.removeprefix(BASE_URL)


def signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


# The operator


def test_an_operator_is_made_when_there_is_no_superuser(data: Path, operator: User) -> None:
    assert operator.username == "operator"
    assert operator.is_superuser
    assert operator.check_password((data / "operator_password").read_text().strip())
    assert stat.S_IMODE((data / "operator_password").stat().st_mode) == 0o600


def test_a_second_start_makes_nobody_and_changes_no_password(data: Path, operator: User) -> None:
    before = (data / "operator_password").read_text()
    assert first_run.ensure_operator() == operator
    assert (data / "operator_password").read_text() == before
    assert User.objects.count() == 1


def test_an_own_superuser_is_enough(data: Path) -> None:
    ana = User.objects.create_superuser("ana", password="secret words")
    assert first_run.ensure_operator() == ana
    assert not (data / "operator_password").exists()


def test_a_disabled_superuser_is_not_replaced(data: Path) -> None:
    User.objects.create_superuser("ana", password="secret words", is_active=False)
    assert first_run.ensure_operator() is None
    assert User.objects.count() == 1


def test_somebody_else_named_operator_is_not_promoted(data: Path) -> None:
    User.objects.create_user("operator", password="secret words")
    assert first_run.ensure_operator() is None
    assert not User.objects.filter(is_superuser=True).exists()
    assert not (data / "operator_password").exists()


def test_the_password_file_of_another_start_that_won_stays(data: Path) -> None:
    """Two servers see no superuser; the other one has made the operator when this one comes to it."""
    make_operator = first_run.make_operator

    def make_operator_after_the_other() -> None:
        make_operator()
        make_operator()

    with patch.object(first_run, "make_operator", make_operator_after_the_other):
        operator = first_run.ensure_operator()
    assert operator is not None
    assert operator.check_password((data / "operator_password").read_text().strip())


def test_without_a_password_file_there_is_no_operator(data: Path) -> None:
    """A superuser whose password nobody knows would never be replaced."""
    with patch.object(keyfile, "write", side_effect=OSError("disk full")), pytest.raises(OSError, match="disk full"):
        first_run.ensure_operator()
    assert not User.objects.exists()


# What the terminal says


def test_the_welcome_names_the_operator_the_password_and_a_link(data: Path, operator: User, client: Client) -> None:
    out = Terminal()
    first_run.print_welcome(BASE_URL, out)
    said = out.getvalue()
    assert f"Sign in as operator, password {(data / 'operator_password').read_text().strip()}\n" in said
    (link,) = [line.strip() for line in said.splitlines() if BASE_URL in line]
    client.post(path_of(link))
    assert signed_in(client)


def test_the_welcome_keeps_quiet_about_a_password_that_is_no_longer_used(operator: User) -> None:
    operator.set_password("my own")
    operator.save()
    out = Terminal()
    first_run.print_welcome(BASE_URL, out)
    assert "Sign in as operator\n" in out.getvalue()


def test_nothing_is_printed_into_a_log(operator: User) -> None:
    out = io.StringIO()
    first_run.print_welcome(BASE_URL, out)
    assert out.getvalue() == ""


def test_the_welcome_says_when_nobody_can_be_operator() -> None:
    User.objects.create_user("operator", password="secret words")
    out = Terminal()
    first_run.print_welcome(BASE_URL, out)
    assert out.getvalue() == "Nobody can sign in as operator yet. Run: manage.py createsuperuser\n"


# The link


def test_a_look_at_the_link_changes_nothing(client: Client, operator: User) -> None:
    path = path_of(first_run.link(operator, BASE_URL))
    for _ in range(2):
        page = client.get(path)
        assert page.status_code == 200
        assert "Sign in as operator" in page.content.decode()
        assert page["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
    assert not signed_in(client)


def test_the_button_signs_in_once(client: Client, operator: User) -> None:
    path = path_of(first_run.link(operator, BASE_URL))
    answer = client.post(path)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert signed_in(client)
    stranger = Client()
    refused = stranger.post(path)
    assert refused.status_code == 403
    assert "This link is used up" in refused.content.decode()
    assert not signed_in(stranger)


def test_of_two_who_press_at_once_one_wins(operator: User) -> None:
    """Both have read the link as good before either signs in."""
    path = path_of(first_run.link(operator, BASE_URL))
    first, second = Client(), Client()
    holder = first_run.holder

    def holder_while_another_signs_in(token: str) -> Any:
        found = holder(token)
        with patch.object(first_run, "holder", holder):
            first.post(path)
        return found

    with patch.object(first_run, "holder", holder_while_another_signs_in):
        refused = second.post(path)
    assert signed_in(first)
    assert refused.status_code == 403
    assert not signed_in(second)


def test_the_button_needs_the_form_of_the_page(operator: User) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post(path_of(first_run.link(operator, BASE_URL))).status_code == 403
    assert not signed_in(client)


def test_a_link_expires(client: Client, operator: User) -> None:
    with patch.object(signing.time, "time", return_value=timezone.now().timestamp() - first_run.LINK_SECONDS - 1):  # type: ignore[attr-defined]
        path = path_of(first_run.link(operator, BASE_URL))
    assert client.post(path).status_code == 403
    assert not signed_in(client)


@pytest.mark.parametrize("change", ["password", "last_login", "is_active"])
def test_a_link_ends_with_what_it_stands_for(client: Client, operator: User, change: str) -> None:
    path = path_of(first_run.link(operator, BASE_URL))
    value = {"password": "another hash", "last_login": timezone.now() + timedelta(seconds=1), "is_active": False}[change]
    User.objects.filter(pk=operator.pk).update(**{change: value})
    assert client.get(path).status_code == 403
    assert client.post(path).status_code == 403
    assert not signed_in(client)


def test_a_forged_link_is_refused(client: Client, operator: User) -> None:
    forged = signing.dumps([operator.pk, first_run.stamp(operator)], salt="another salt")
    for token in (forged, "nonsense", ""):
        assert client.post(f"/accounts/link/?token={token}").status_code == 403
    assert not signed_in(client)


def test_no_link_gets_into_the_log(operator: User, caplog: pytest.LogCaptureFixture) -> None:
    path = path_of(first_run.link(operator, BASE_URL))
    Client(enforce_csrf_checks=True).post(path)
    Client().post(path)
    Client().post(path)
    assert "Forbidden" in caplog.text
    assert path.partition("token=")[2] not in caplog.text


def test_a_link_shows_no_password_hash(operator: User) -> None:
    assert operator.password not in str(signing.loads(first_run.token(operator), salt=first_run.SALT))


# The command


def test_the_command_prints_a_link_for_anybody(client: Client) -> None:
    bob = User.objects.create_user("bob", password="secret words")
    out = io.StringIO()
    call_command("signin_link", "bob", base_url="https://wirelog.example.org", stdout=out)
    client.post(out.getvalue().strip().removeprefix("https://wirelog.example.org"))
    assert client.session["_auth_user_id"] == str(bob.pk)


def test_the_command_knows_where_the_server_is() -> None:
    User.objects.create_user("bob", password="secret words")
    out = io.StringIO()
    call_command("signin_link", "bob", stdout=out)
    assert out.getvalue().startswith("http://127.0.0.1:8000/accounts/link/?token=")


def test_the_command_says_who_is_missing_or_disabled() -> None:
    get_user_model()._default_manager.create_user("bob", password="secret words", is_active=False)
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        call_command("signin_link", "nobody")
    with pytest.raises(CommandError, match="User 'bob' is disabled"):
        call_command("signin_link", "bob")


# Key files


def test_a_key_file_appears_whole_and_the_first_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keyfile.write_once(path, "one")
    keyfile.write_once(path, "two")
    assert path.read_text() == "one\n"
    keyfile.write(path, "three")
    assert path.read_text() == "three\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["key"]
