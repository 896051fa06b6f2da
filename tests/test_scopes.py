import pytest

from realtime import scopes


@pytest.mark.parametrize(
    "text, pattern, actions",
    [
        ("iot:*=read,publish", "iot:*", ["read", "publish"]),
        ("  lobby = publish , read ".replace(" = ", "="), "lobby", ["read", "publish"]),
        ("*=manage,manage", "*", ["manage"]),
        ("#7=publish", "#7", ["publish"]),
        ("#*=publish", "#*", ["publish"]),
    ],
)
def test_a_scope_is_read_and_written_in_one_form(text: str, pattern: str, actions: list[str]) -> None:
    scope = scopes.parse(text)

    assert scope == {"pattern": pattern, "actions": actions}
    assert scopes.parse(scopes.text(scope)) == scope


@pytest.mark.parametrize(
    "text", ["", "lobby", "lobby=", "=read", "lobby=write", "a/b=read", "a b=read", "#ana=read", ":x=read", "x" * 129 + "=read"]
)
def test_what_is_no_scope_is_told_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not .*\.$"):
        scopes.parse(text)


def test_empty_lines_are_no_scopes() -> None:
    assert len(scopes.parse_all(["", "lobby=read", "  "])) == 1
    with pytest.raises(ValueError, match="at least one"):
        scopes.parse_all(["", " "])
