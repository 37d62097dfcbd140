"""What torch is told about memory before it is imported."""

import os

import pytest

from editlane.models import devices


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("", "expandable_segments:True,pinned_max_round_threshold_mb:1"),
        ("max_split_size_mb:99", "max_split_size_mb:99,expandable_segments:True,pinned_max_round_threshold_mb:1"),
        ("expandable_segments:False", "expandable_segments:False,pinned_max_round_threshold_mb:1"),
    ],
)
def test_what_a_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, given: str, found: str) -> None:
    monkeypatch.setattr(devices, "version", lambda name: "2.13.0+cu130")
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", given)
    devices.set_allocator()
    assert os.environ["PYTORCH_ALLOC_CONF"] == found


@pytest.mark.parametrize(("torch", "older_name"), [("2.11.0+cu130", None), ("2.13.0", "max_split_size_mb:99")])
def test_an_older_torch_and_an_older_name_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, torch: str, older_name: str | None
) -> None:
    """An older torch refuses to start with a setting that it does not know."""
    monkeypatch.setattr(devices, "version", lambda name: torch)
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF", raising=False)
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "")
    if older_name:
        monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", older_name)
    devices.set_allocator()
    assert os.environ["PYTORCH_ALLOC_CONF"] == ""
    assert devices.rounds_pinned_blocks()  # so check_setup.py counts more memory
