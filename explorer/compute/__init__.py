"""The compute module: device, jobs, caches, and the engine that explains."""

from explorer.compute.device import keep_freed_memory
from explorer.compute.engine import (
    Engine,
    Explanation,
    Figures,
    Prediction,
    Progress,
    ReferencesUsed,
    Request,
    Stage,
)
from explorer.compute.jobs import BACKGROUND, FOLLOWING, INTERACTIVE, Job, State, Worker
from explorer.compute.service import Service

__all__ = [
    "BACKGROUND",
    "FOLLOWING",
    "INTERACTIVE",
    "Engine",
    "Explanation",
    "Figures",
    "Job",
    "Prediction",
    "Progress",
    "ReferencesUsed",
    "Request",
    "Service",
    "Stage",
    "State",
    "Worker",
    "keep_freed_memory",
]
