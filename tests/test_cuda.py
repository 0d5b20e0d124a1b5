"""The same code on a GPU."""

import papers
import pytest
import torch

from explorer import METHODS, Engine, Request, sample

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.mark.parametrize("name", METHODS)
def test_cuda_gives_the_maps_of_the_cpu(name):
    request = Request(method=METHODS[name](**papers.OPTIONS.get(name, {})))
    here, there = (Engine(device).explain(sample("chelsea"), request) for device in ("cpu", "cuda"))
    assert there.attribution.saliency.device.type == "cpu"
    torch.testing.assert_close(there.attribution.saliency, here.attribution.saliency, atol=1e-3, rtol=0)
    assert there.calibration.probabilities == pytest.approx(here.calibration.probabilities, abs=1e-3)


def test_cuda_measures_its_forward_passes():
    engine = Engine("cuda")
    engine.explain(sample("chelsea"), Request(method=METHODS["score-cam"]()))
    assert 0 < engine.pace("efficientnet_lite0") < 1
