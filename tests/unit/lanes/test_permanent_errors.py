"""An error that comes again ends the further tries of a lane, in this workflow alone."""

import errno
from pathlib import Path

import pytest

from editlane.core.errors import ItemError, PassingError, Stopped, UserError
from editlane.core.fleets import FleetDown
from editlane.endpoint.served_models import NoAnswer
from editlane.lanes.permanent_errors import ending_further_tries


class Tries:
    """The tries of one lane, in the workflow that `workflow` names."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.note, self.workflow, self.count = folder / "lane0.permanent_error", "one", 0
        monkeypatch.setattr("editlane.lanes.permanent_errors.identify_workflow", lambda: self.workflow)

    def fail(self, error: BaseException, cause: BaseException | None = None) -> None:
        """Try once, and fail."""
        with pytest.raises(type(error)) as caught, ending_further_tries(self.note):
            self.count += 1
            raise error from cause
        assert str(caught.value) == str(error)


@pytest.fixture
def tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tries:
    return Tries(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (UserError("头 `score` 不在权重里"), None),
        (UserError("the checkpoint has no such file"), OSError("without a number, as libraries raise it")),
        (UserError("the server refuses the key"), ItemError("HTTP 401")),
    ],
)
def test_an_error_that_comes_again_ends_the_tries(tries: Tries, error: UserError, cause: BaseException | None) -> None:
    for _ in range(4):
        tries.fail(error, cause)
    assert tries.count == 1
    tries.workflow = "two"
    tries.fail(error, cause)
    assert tries.count == 2


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (PassingError("busy"), None),
        (NoAnswer("down"), None),
        (FleetDown("down"), None),
        (UserError("cannot be loaded"), OSError(errno.EIO, "Input/output error")),
        (OSError(errno.ENOSPC, "No space left on device"), None),
        (RuntimeError("a bug"), None),
        (Stopped("SIGTERM"), None),
    ],
)
def test_an_error_that_may_pass_is_tried_again(tries: Tries, error: Exception, cause: BaseException | None) -> None:
    for _ in range(4):
        tries.fail(error, cause)
    assert tries.count == 4
    assert not tries.note.exists()


def test_a_lane_that_no_workflow_started_leaves_no_note(tries: Tries) -> None:
    tries.workflow = None  # type: ignore[assignment]
    for _ in range(2):
        tries.fail(UserError("wrong"))
    assert tries.count == 2
    assert not tries.note.exists()


def test_a_note_that_cannot_be_written_changes_no_message(tries: Tries, tmp_path: Path) -> None:
    tries.note = tmp_path / "missing" / "note"
    tries.note.parent.write_text("a file")
    for _ in range(2):
        tries.fail(UserError("wrong"))
    assert tries.count == 2
