"""A user's own weights: the logits of the network that was saved, and a sentence where they do not fit."""

from functools import partial
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config
from torch import nn

from explorer.backbones import (
    CheckpointError,
    UnknownBackboneError,
    WeightsUnavailableError,
    from_checkpoint,
)
from explorer.images import sample


def trained(make, classes):
    """A network whose statistics and classifier are no longer those of a new one."""
    torch.manual_seed(0)
    model = make(num_classes=classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture(scope="module", params=["resnet18", "mnasnet0_5", "timm:mobilenetv3_small_050"])
def network(request):
    """mnasnet asks a state dict for its version, which safetensors do not keep."""
    name = request.param
    if name.startswith("timm:"):
        model = trained(partial(timm.create_model, name.removeprefix("timm:")), 5)
        seen = create_transform(**resolve_model_data_config(model), is_training=False)
        return SimpleNamespace(name=name, model=model, seen=seen, classes=5)
    seen = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    model = trained(partial(torchvision.models.get_model, name), 20)
    return SimpleNamespace(name=name, model=model, seen=seen, classes=20)


@pytest.fixture(scope="module")
def resnet():
    return trained(torchvision.models.resnet18, 20).state_dict()


def save(path, state):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


WAYS = {
    "safetensors": ("mine.safetensors", lambda state: state),
    "torch": ("mine.pth", lambda state: state),
    "nested": ("mine.pt", lambda state: {"epoch": 3, "state_dict": state}),
    "nested otherwise": ("mine.ckpt", lambda state: {"model": state, "optimizer": {"lr": 0.1}}),
    "parallel": ("mine.pth", lambda state: {f"module.{name}": value for name, value in state.items()}),
    "in a trainer": (
        "mine.ckpt",
        lambda state: {"state_dict": {f"net.model.{name}": value for name, value in state.items()}},
    ),
    "old": (
        "mine.pth",
        lambda state: {name: state[name] for name in state if "num_batches" not in name},
    ),
}


@pytest.mark.parametrize(("file", "change"), WAYS.values(), ids=WAYS)
def test_a_checkpoint_gives_the_logits_of_the_network_that_was_saved(tmp_path, network, file, change):
    path = save(tmp_path / file, change(network.model.state_dict()))
    backbone = from_checkpoint(network.name, path)
    picture = sample("coffee")
    image = backbone.preprocessing.tensor(picture)
    torch.testing.assert_close(image, network.seen(picture.image), atol=1e-6, rtol=0)
    with torch.no_grad():
        found, expected = backbone(image[None]), network.model(image[None])
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)
    assert backbone.name == "mine"
    assert backbone.labels == tuple(f"class {index}" for index in range(network.classes))


@pytest.mark.parametrize("aux", [True, False])
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_classifiers_are_there_where_the_weights_have_them(tmp_path, name, aux):
    make = partial(torchvision.models.get_model, name, aux_logits=aux, init_weights=False)
    model = trained(make, 5)
    backbone = from_checkpoint(name, save(tmp_path / "mine.pth", model.state_dict()))
    image = backbone.preprocessing.tensor(sample("coffee"))[None]
    with torch.no_grad():
        found, expected = backbone(image), model(image)
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_labels_are_given_in_order_or_a_line_each(tmp_path, resnet):
    path = save(tmp_path / "mine.pth", resnet)
    names = tuple(f"Größe {index}" for index in range(20))
    listed = tmp_path / "names.txt"
    listed.write_text("\n".join(names) + "\n", "utf-8")
    assert from_checkpoint("resnet18", path, names).labels == names
    assert from_checkpoint("resnet18", path, listed).labels == names


def test_labels_that_do_not_fit_are_refused(tmp_path, resnet):
    path = save(tmp_path / "mine.pth", resnet)
    with pytest.raises(CheckpointError, match=r"list of labels has 2 names, but .*mine\.pth has 20 classes"):
        from_checkpoint("resnet18", path, ["cat", "dog"])
    listed = tmp_path / "names.txt"
    with pytest.raises(CheckpointError, match=r"names\.txt cannot be read as labels"):
        from_checkpoint("resnet18", path, listed)
    listed.write_bytes(b"\xff\n")
    with pytest.raises(CheckpointError, match=r"names\.txt cannot be read as labels"):
        from_checkpoint("resnet18", path, listed)
    listed.write_text("cat\n")
    with pytest.raises(CheckpointError, match=r"names\.txt has 1 names"):
        from_checkpoint("resnet18", path, listed)


MISFITS = {
    "missing": (lambda state: state.pop("layer1.0.conv1.weight"), r"layer1\.0\.conv1\.weight is missing"),
    "no classifier": (lambda state: state.pop("fc.bias"), r"fc\.bias is missing"),
    "unexpected": (lambda state: state.update(extra=torch.zeros(1)), "extra has no place there"),
    "misshapen": (
        lambda state: state.update({"conv1.weight": torch.zeros(64, 3, 3, 3)}),
        r"conv1\.weight has the shape \(64, 3, 3, 3\) instead of \(64, 3, 7, 7\)",
    ),
    "classes at odds": (
        lambda state: state.update({"fc.bias": torch.zeros(7)}),
        r"fc\.weight has the shape \(20, 512\) instead of \(7, 512\)",
    ),
    "a number": (
        lambda state: state.update({"fc.bias": torch.tensor(0.0)}),
        r"fc\.weight has the shape \(20, 512\) instead of \(1000, 512\)",
    ),
}


@pytest.mark.parametrize(("change", "words"), MISFITS.values(), ids=MISFITS)
def test_a_checkpoint_that_does_not_fit_is_refused_with_the_first_reason(tmp_path, resnet, change, words):
    state = dict(resnet)
    change(state)
    path = save(tmp_path / "mine.safetensors", state)
    with pytest.raises(
        CheckpointError, match=rf"mine\.safetensors does not fit resnet18 \({words}\)"
    ) as refusal:
        from_checkpoint("resnet18", path)
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)


def test_a_small_file_that_claims_to_be_large_is_refused(tmp_path, resnet):
    path = tmp_path / "mine.pth"
    torch.save({**resnet, "fc.bias": torch.zeros(1).expand(10**7)}, path)
    with pytest.raises(CheckpointError, match=r"mine\.pth claims more values than it holds: save"):
        from_checkpoint("resnet18", path)


class Hostile:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors"])
def test_a_file_that_is_no_state_dict_is_refused_and_not_run(tmp_path, name):
    path = tmp_path / name
    words = rf"{name} does not hold the weights of resnet18 .*: give a state dict"
    with pytest.raises(WeightsUnavailableError, match=words):
        from_checkpoint("resnet18", path)
    for content in ({"conv1.weight": Hostile()}, {"conv1.weight": "text"}, torch.zeros(3), {"state_dict": 3}):
        torch.save(content, path)
        with pytest.raises(WeightsUnavailableError, match=words):
            from_checkpoint("resnet18", path)


def test_an_unknown_architecture_is_refused(tmp_path, resnet):
    path = save(tmp_path / "mine.pth", resnet)
    for name in ("resnet19", "timm:no-such-net", "resnet18.NOPE"):
        with pytest.raises(UnknownBackboneError, match=name.split(":")[-1].split(".")[-1]):
            from_checkpoint(name, path)
