"""What a page asks for: pictures, predictions and explanations, each as a job that can be polled."""

import os
from collections.abc import Callable, Hashable, Set
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from explorer import images
from explorer.backbones import Layer
from explorer.calibration import By, Curve
from explorer.compute.device import keep_freed_memory, return_freed_memory
from explorer.compute.engine import (
    Engine,
    Explanation,
    Figures,
    Gathered,
    Prediction,
    Progress,
    Request,
    Sight,
    Stage,
    all_references,
)
from explorer.compute.jobs import BACKGROUND, FOLLOWING, INTERACTIVE, PROMPT, Job, Worker
from explorer.compute.uploads import Upload, Uploads
from explorer.edits import Box, Edit, edited
from explorer.images import Picture
from explorer.library import BUILT_IN, installed
from explorer.metrics import Metric, Perturbation, Randomisation
from explorer.probe import Probe

T = TypeVar("T")

_ENCODED = 2**30  # bytes of bundles, of up to some hundred megabytes each, that are remembered


class Service:
    """One engine with one worker for its device; others decode pictures and encode files meanwhile.

    Every call names its waiter; see ``Worker``.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or Engine()
        self.uploads = Uploads()
        # One core is left to the page: with all of them in the pool, every small wait of torch is a long one.
        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
        keep_freed_memory()
        self._device = Worker("device", when_idle=return_freed_memory)
        self._decoder = Worker("decoder", when_idle=return_freed_memory)
        self._encoder = Worker("encoder", keep=_ENCODED, when_idle=return_freed_memory)
        self._workers = self._device, self._decoder, self._encoder

    def upload(self, upload: Upload, waiter: str) -> Job[Picture]:
        """The picture in an uploaded file."""
        key = ("upload", upload.digest, upload.name)
        return self._decoder.submit(key, lambda _: images.decode(upload.data, upload.name), waiter)

    def edited(self, picture: Picture, box: Box, edit: Edit, waiter: str) -> Job[Picture]:
        """A picture with a part of it changed."""
        return self._decoder.submit(
            ("edited", picture.digest, box, edit), lambda _: edited(picture, box, edit), waiter
        )

    def sample(self, identifier: str, waiter: str) -> Job[Picture]:
        """A sample photograph."""
        return self._decoder.submit(("sample", identifier), lambda _: images.sample(identifier), waiter)

    def layers(self, backbone: str, waiter: str) -> Job[tuple[Layer, ...]]:
        """The cut points of a backbone, which is loaded for them."""
        return self._device.submit(
            ("layers", backbone), lambda job: self.engine.backbone(backbone, job).layers, waiter
        )

    def labels(self, backbone: str, waiter: str) -> Job[tuple[str, ...]]:
        """The names of the classes of a backbone, which is loaded for them."""
        return self._device.submit(
            ("labels", backbone), lambda job: self.engine.backbone(backbone, job).labels, waiter
        )

    def undefined(self, backbone: str, layer: str | None, waiter: str) -> Job[dict[str, str]]:
        """By name, why methods are not defined at a layer."""
        return self._device.submit(
            ("undefined", backbone, layer),
            lambda job: self.engine.undefined(backbone, layer, progress=job),
            waiter,
        )

    def prediction(self, picture: Picture, backbone: str, waiter: str) -> Job[Prediction]:
        """What a backbone says of a picture."""
        return self._device.submit(
            ("prediction", picture.digest, backbone),
            lambda job: self.engine.predict(picture, backbone, job),
            waiter,
        )

    def explanation(self, picture: Picture, request: Request, waiter: str) -> Job[Explanation]:
        """An explanation; its result stands without a calibration while that is still being measured."""
        return self._device.submit(
            _explanation_key(picture, request),
            lambda job: self.engine.explain(picture, request, job, job.deliver),
            waiter,
        )

    def measurement(self, picture: Picture, request: Request, waiter: str) -> Job[int]:
        """All references of a Libra-CAM request measured, behind all other work."""
        whole = all_references(request)
        return self._device.submit(
            ("measurement", *_explanation_key(picture, whole)),
            lambda job: self.engine.measure(picture, whole, job),
            waiter,
            priority=BACKGROUND,
        )

    def figures(
        self, picture: Picture, request: Request, metrics: tuple[Metric, ...], waiter: str
    ) -> Job[Figures]:
        """What metrics say of a map, measured when all maps that are asked for are there."""
        return self._device.submit(
            ("figures", *_explanation_key(picture, request), metrics),
            lambda job: self.engine.figures(picture, [request], metrics, progress=job)[0],
            waiter,
            priority=FOLLOWING,
        )

    def run(
        self,
        key: tuple[Hashable, ...],
        work: Callable[[Engine, Job[T]], T],
        waiter: str,
        *,
        priority: int = INTERACTIVE,
    ) -> Job[T]:
        """Work of a caller's own with the engine; of lower priority, it must bear to be started again."""
        return self._device.submit(key, lambda job: work(self.engine, job), waiter, priority=priority)

    def encode(self, key: tuple[Hashable, ...], work: Callable[[Job[T]], T], waiter: str) -> Job[T]:
        """Files made of what is computed, beside all computing; not given up when a busy browser asks late."""
        return self._encoder.submit(key, work, waiter, priority=BACKGROUND)

    def encoded(self, key: tuple[Hashable, ...]) -> Job[Any] | None:
        """A job of ``encode`` that is going on or still remembered."""
        return self._encoder.known(key)

    def randomised(
        self, picture: Picture, request: Request, metric: Randomisation, waiter: str
    ) -> Job[list[Stage]]:
        """The maps of networks of which more and more is random."""
        return self._device.submit(
            ("randomised", *_explanation_key(picture, request), metric),
            lambda job: self.engine.randomised(picture, request, metric, job),
            waiter,
        )

    def perturbed(
        self, picture: Picture, explanation: Explanation, perturbation: Perturbation, waiter: str
    ) -> Job[NDArray[np.uint8]]:
        """What a metric shows the network of a picture, ahead of all other work: it takes no pass."""
        return self._device.submit(
            ("perturbed", *_explanation_key(picture, explanation.request), perturbation),
            lambda job: self.engine.perturbed(picture, explanation, perturbation, job),
            waiter,
            priority=PROMPT,
        )

    def curve(
        self, picture: Picture, explanation: Explanation, levels: tuple[int, ...], by: By, waiter: str
    ) -> Job[Curve]:
        """The calibration curve of a map, measured when all maps that are asked for are there."""
        return self._device.submit(
            ("curve", *_explanation_key(picture, explanation.request), levels, by),
            lambda job: self.engine.curve(picture, explanation, levels, by, job),
            waiter,
            priority=FOLLOWING,
        )

    def at_cut(
        self, picture: Picture, explanation: Explanation, percent: int, by: By, waiter: str
    ) -> Job[tuple[Sight, Sight]]:
        """What the network sees of a picture under a map that is cut, and under its complement."""
        return self._device.submit(
            ("at cut", *_explanation_key(picture, explanation.request), percent, by),
            lambda job: self.engine.at_cut(picture, explanation, percent, by, job),
            waiter,
            priority=FOLLOWING,
        )

    def study(
        self,
        picture: Picture,
        request: Request,
        study: Callable[[Gathered, Progress], T],
        waiter: str,
        *,
        priority: int = FOLLOWING,
    ) -> Job[T]:
        """What a study, which is a value, makes of the references of a Libra-CAM request."""
        return self._device.submit(
            ("study", *_explanation_key(picture, request), study),
            lambda job: self.engine.study(picture, request, study, job),
            waiter,
            priority=priority,
        )

    def walk(
        self, picture: Picture, request: Request, walk: Callable[[Probe, int], T], waiter: str
    ) -> Job[T]:
        """What a walk through a method, which is a value, makes of a picture and the class of a request."""
        return self._device.submit(
            ("walk", picture.digest, request.backbone, request.layer, request.target, walk),
            lambda job: self.engine.walk(picture, request, walk, job),
            waiter,
        )

    def remembered(self, picture: Picture, request: Request) -> Explanation | None:
        """An explanation made before, if it is still remembered."""
        job = self._device.finished(_explanation_key(picture, request))
        return job.result if job is not None else None

    def retain(self, waiter: str, jobs: Set[Job[Any]]) -> None:
        """Renews the waiter's interest in these jobs, and gives up that in all others."""
        keys = {job.key for job in jobs}
        for worker in self._workers:
            worker.retain(waiter, keys)

    def stop(self, waiter: str, jobs: Set[Job[Any]]) -> None:
        """Gives up the waiter's interest in these jobs until it goes on, even if it asks for them."""
        keys = {job.key for job in jobs}
        for worker in self._workers:
            worker.stop(waiter, keys)

    def go_on(self, waiter: str) -> None:
        """Lets the waiter ask again for what it has stopped."""
        for worker in self._workers:
            worker.go_on(waiter)

    def retry(self, job: Job[Any]) -> None:
        """Lets a failed job run again when it is next asked for."""
        for worker in self._workers:
            worker.forget(job.key)


def _explanation_key(picture: Picture, request: Request) -> tuple[Hashable, ...]:
    """What decides an explanation; of a library that can be built again, its content too."""
    content: tuple[str, ...] = ()
    if request.method.needs_references() and request.library != BUILT_IN:
        content = tuple(info.fingerprint for info in installed() if info.name == request.library)
    return ("explanation", picture.digest, request, content)
