"""Run a fleet of model servers, and submit tasks to it."""

from editlane.fleet.client import Fleet
from editlane.fleet.tasks import TaskDefinition, TaskResult, TaskState

__all__ = ["Fleet", "TaskDefinition", "TaskResult", "TaskState"]
