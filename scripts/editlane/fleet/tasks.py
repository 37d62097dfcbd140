"""What a fleet is asked to do, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class TaskState(StrEnum):
    """How a task ended. Only an answered one has a text."""

    ANSWERED = "answered"
    FAILED = "failed"
    """No usable answer after all attempts."""
    DEADLINE = "deadline"
    """No answer in time."""
    REFUSED = "refused"
    """It cannot be asked like this: the error says why. Another attempt would not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """One request to one model."""

    task_id: str
    """Tasks with equal ids are one task, which is asked once."""
    task_type: str = ""
    """What is to be done, in words."""
    complexity: float | None = None
    required_capabilities: Sequence[str] = ()
    """These two are part of the prompt and have no other effect."""
    prompt: str | None = None
    """The whole prompt. None: it is made of the three above."""
    model: str | None = None
    """Registered name. None: the registered model with the least to do."""
    max_tokens: int = 100
    temperature: float = 0.7
    deadline: float | None = None
    """Seconds from now until the answer is of no use any more. None: those of the `Fleet`."""

    def make_prompt(self) -> str:
        """Return the text that the model gets."""
        if self.prompt is not None:
            return self.prompt
        lines = [f"Task: {self.task_type}"]
        lines += [f"Complexity: {self.complexity:g}"] if self.complexity is not None else []
        lines += [f"Capabilities: {', '.join(self.required_capabilities)}"] if self.required_capabilities else []
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """How a task ended."""

    task_id: str
    state: TaskState
    text: str | None = None
    """What the model wrote, if the task was answered."""
    error: str | None = None
    model: str | None = None
    """Published name of the model that was asked: it stands for these weights for ever."""
    group: str | None = None
    seconds: float = 0.0
    """From submission to end, waiting included."""
    attempts: int = 0
