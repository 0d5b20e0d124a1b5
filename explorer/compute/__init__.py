"""The compute module: device, jobs, caches, and the engine that explains."""

from explorer.compute.device import best_device, keep_freed_memory
from explorer.compute.engine import (
    Engine,
    Explanation,
    Figures,
    Prediction,
    Progress,
    ReferencesUsed,
    Request,
    Sight,
    Silent,
    Stage,
    UnknownClassError,
    all_references,
)
from explorer.compute.jobs import BACKGROUND, FOLLOWING, INTERACTIVE, Job, State, Worker
from explorer.compute.service import Service
from explorer.compute.studies import BaseMaps, Contrasted, Contrasts, Convergence, Differences, Linearity
from explorer.compute.trial import Trial, try_out
from explorer.compute.uploads import Upload, Uploads

__all__ = [
    "BACKGROUND",
    "FOLLOWING",
    "INTERACTIVE",
    "BaseMaps",
    "Contrasted",
    "Contrasts",
    "Convergence",
    "Differences",
    "Engine",
    "Explanation",
    "Figures",
    "Job",
    "Linearity",
    "Prediction",
    "Progress",
    "ReferencesUsed",
    "Request",
    "Service",
    "Sight",
    "Silent",
    "Stage",
    "State",
    "Trial",
    "UnknownClassError",
    "Upload",
    "Uploads",
    "Worker",
    "all_references",
    "best_device",
    "keep_freed_memory",
    "try_out",
]
