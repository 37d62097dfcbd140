"""The token that a server asks of every request."""

import pytest

from editlane.core.errors import UserError
from editlane.core.tokens import read_token


def test_the_line_break_of_a_file_is_no_part_of_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_TOKEN", " a-secret-of-16-letters\r\n")
    assert read_token("FLEET_TOKEN", "10.0.0.1") == "a-secret-of-16-letters"
    monkeypatch.setenv("FLEET_TOKEN", "short" + " " * 20)
    with pytest.raises(UserError, match="holds no token of 16 characters"):
        read_token("FLEET_TOKEN", "127.0.0.1")
