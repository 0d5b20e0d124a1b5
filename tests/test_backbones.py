"""The cut of every kind of classifier, its preprocessing and its weights."""

import hashlib
import io
import pickle
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
import torchvision.models
from conftest import weight_file
from timm.data import create_transform, resolve_model_data_config
from torch import nn

from explorer import Picture, Probe, explain, sample
from explorer.backbones import (
    Backbone,
    Opaque,
    Preprocessing,
    UnknownBackboneError,
    UnknownLayerError,
    UntraceableError,
    WeightsUnavailableError,
    info,
    load,
    names,
    weights,
)
from explorer.backbones.preprocessing import from_timm, from_torchvision

SEEN = Preprocessing(256, (224, 224), "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# name: default layer, the module whose output it is, its shape, tokens before those of the image
CASES = {
    "squeezenet1_1": ("features.12", "features.12", (512, 13, 13), 0),
    "resnet50": ("layer4", "layer4", (2048, 7, 7), 0),
    "vgg16": ("features.30", "features.30", (512, 7, 7), 0),
    "convnext_tiny": ("features.7", "features.7", (768, 7, 7), 0),
    "densenet121": ("relu", None, (1024, 7, 7), 0),
    "efficientnet_b0": ("features.8", "features.8", (1280, 7, 7), 0),
    "swin_t": ("norm", "norm", (768, 7, 7), 0),
    "vit_b_16": ("encoder.layers.encoder_layer_10", "encoder.layers.encoder_layer_10", (768, 14, 14), 1),
    "timm:tf_efficientnet_lite0": ("bn2", "bn2", (1280, 7, 7), 0),
    "timm:vit_tiny_patch16_224": ("blocks.10", "blocks.10", (192, 14, 14), 1),
    "timm:deit_tiny_distilled_patch16_224": ("blocks.10", "blocks.10", (192, 14, 14), 2),
    "timm:swin_tiny_patch4_window7_224": ("norm", "norm", (768, 7, 7), 0),
}


def random_model(name):
    torch.manual_seed(0)
    if name.startswith("timm:"):
        model = timm.create_model(name.removeprefix("timm:"))
    else:
        model = torchvision.models.get_model(name)
    for key, values in model.named_parameters():
        if "head" in key and values.dim() == 2:
            nn.init.normal_(values, std=0.02)
    return model.eval()


@pytest.fixture(scope="module", params=CASES)
def pair(request):
    """A case, the original module, and the backbone made of another copy of it."""
    model = random_model(request.param)
    return (
        CASES[request.param],
        model,
        Backbone(request.param, random_model(request.param), SEEN, ("?",) * 1000),
    )


def images():
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(3))


def test_default_layer_is_the_end_of_the_feature_extractor(pair):
    (name, _, shape, prefix), _, backbone = pair
    layer = backbone.default_layer
    assert (layer.name, (layer.channels, layer.height, layer.width), layer.prefix) == (name, shape, prefix)
    assert len(backbone.layers) >= 7


def test_head_of_trunk_is_the_network(pair):
    _, model, backbone = pair
    with torch.no_grad():
        expected = model(images())
        for layer in (backbone.layers[0], backbone.layers[len(backbone.layers) // 2], backbone.layers[-1]):
            cut = backbone.cut(layer.name)
            raw = cut.trunk(images())
            torch.testing.assert_close(cut.head(raw), expected, atol=1e-4, rtol=1e-4)
            kept = raw.clone()
            cut.head(raw)
            assert torch.equal(raw, kept), "the head writes into the activation"


def test_activation_is_that_of_the_module(pair):
    (_, module, _, prefix), model, backbone = pair
    if module is None:
        assert backbone.layers[-2].name == "features.norm5"
        return
    seen = []
    hook = model.get_submodule(module).register_forward_hook(lambda *call: seen.append(call[-1]))
    with torch.no_grad():
        model(images())
        maps = backbone.default_layer.to_maps(backbone.cut().trunk(images()))
    hook.remove()
    [raw] = seen
    if raw.dim() == 3:
        raw = raw[:, prefix:].unflatten(1, maps.shape[-2:])
    expected = raw if raw.shape == maps.shape else raw.permute(0, 3, 1, 2)
    torch.testing.assert_close(maps, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_parameters_are_frozen_and_nothing_is_hooked(pair):
    backbone = pair[2]
    assert not any(parameter.requires_grad for parameter in backbone._traced.parameters())
    assert not any(module._forward_hooks for module in backbone._traced.modules())


def test_vgg_has_the_map_of_lift_cam_one_step_up():
    backbone = Backbone("vgg16", random_model("vgg16"), SEEN, ("?",) * 1000)
    before, last = backbone.layers[-2:]
    assert (before.name, before.height, last.name) == ("features.29", 14, "features.30")


def test_a_layer_answers_to_every_name_of_its_module():
    backbone = Backbone("resnet18", random_model("resnet18"), SEEN, ("?",) * 1000)
    assert backbone.layer("layer4.1") is backbone.layer("layer4") is backbone.default_layer
    with pytest.raises(UnknownLayerError, match="no cut point 'fc'"):
        backbone.layer("fc")


@pytest.mark.parametrize("size", [(640, 300), (300, 640), (256, 256), (97, 61)])
@pytest.mark.parametrize(
    "name", ["resnet50.IMAGENET1K_V1", "resnet50.IMAGENET1K_V2", "swin_t", "vit_b_16", "efficientnet_b0"]
)
def test_preprocessing_is_that_of_torchvision(name, size):
    model, _, entry = name.partition(".")
    transforms = torchvision.models.get_model_weights(model)[entry or "IMAGENET1K_V1"].transforms()
    picture = Picture("", "", np.asarray(sample("astronaut").image.resize(size)))
    assert torch.equal(from_torchvision(transforms).tensor(picture), transforms(picture.image))


@pytest.mark.parametrize("size", [(640, 300), (300, 640)])
@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2", "vit_tiny_patch16_224", "convnext_tiny"]
)
def test_preprocessing_is_that_of_timm(name, size):
    config = resolve_model_data_config(None, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    picture = Picture("", "", np.asarray(sample("astronaut").image.resize(size)))
    expected = create_transform(**config, is_training=False)(picture.image)
    torch.testing.assert_close(from_timm(config).tensor(picture), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(640, 300), (300, 640), (500, 500), (200, 180)])
@pytest.mark.parametrize("resize", [256, (240, 280), 200])
def test_box_is_where_the_crop_lies(size, resize):
    """The picture's red and green say where a pixel lies, so the input's edges say where the crop does."""
    width, height = size
    across, down = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    pixels = np.stack([across, down, across], -1) * 255
    seen = Preprocessing(resize, (224, 224), "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    picture = Picture("", "", pixels.round().astype(np.uint8))
    tensor = seen.tensor(picture)
    left, top, right, bottom = seen.box(picture)
    for position in (0.35, 0.5, 0.65):
        column = row = int(position * 224)
        assert tensor[0, 112, column] == pytest.approx(left + (column + 0.5) / 224 * (right - left), abs=0.01)
        assert tensor[1, row, 112] == pytest.approx(top + (row + 0.5) / 224 * (bottom - top), abs=0.01)


def test_fill_is_the_colour_of_zero():
    assert SEEN.fill == (124, 116, 104)


def test_digest_follows_the_weights():
    first, second = random_model("squeezenet1_1"), random_model("squeezenet1_1")
    assert weights.digest(first) == weights.digest(second)
    with torch.no_grad():
        second.features[0].bias[0] += 1e-3
    assert weights.digest(first) != weights.digest(second)


@pytest.mark.parametrize(
    ("name", "size"), [("efficientnet_lite0", 224), ("efficientnet_lite1", 240), ("efficientnet_lite2", 260)]
)
def test_embedded_weights_recognise_an_espresso(name, size):
    backbone = load(name)
    assert backbone.preprocessing.crop == (size, size)
    explanation = explain(sample("coffee"), method="grad-cam", backbone=backbone)
    assert explanation.label == "espresso"
    assert explanation.attribution.saliency.shape == (size, size)


def test_names_begin_with_the_embedded_and_the_papers_and_hold_all_of_torchvision():
    assert names()[:6] == (
        "efficientnet_lite0",
        "efficientnet_lite1",
        "efficientnet_lite2",
        "resnet50",
        "vgg16",
        "vgg16_bn",
    )
    assert set(torchvision.models.list_models(module=torchvision.models)) < set(names())
    assert all(info(name).name == name for name in names())
    assert info("efficientnet_lite0").ready


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-such-net", "no backbone 'no-such-net'"),
        ("resnet50.NOPE", "IMAGENET1K_V1, IMAGENET1K_V2"),
        ("timm:no-such-net", "timm knows no model 'no-such-net'"),
        ("../../etc/passwd", "no backbone"),
    ],
)
def test_unknown_names_are_refused(name, words):
    with pytest.raises(UnknownBackboneError, match=words):
        load(name)


def offline(*_, **__):
    raise URLError("no route")


@pytest.mark.parametrize("name", ["alexnet", "timm:resnet18"])
def test_missing_weights_offline_give_both_remedies(name, monkeypatch):
    monkeypatch.setattr(weights, "urlopen", offline)
    monkeypatch.setattr("explorer.backbones.registry.urlopen", offline)
    with pytest.raises(WeightsUnavailableError) as refusal:
        load(name)
    for words in (name, "Connect to the internet", "or", "EfficientNet-Lite"):
        assert words in str(refusal.value)


class Answer(io.BytesIO):
    def __init__(self, content):
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content))}


def test_a_download_lands_with_progress_and_a_damaged_one_leaves_nothing(monkeypatch):
    content = bytes(3 * 2**20)
    told = []
    monkeypatch.setattr(weights, "urlopen", lambda *_, **__: Answer(content))
    good = f"https://host/net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    weights.fetch(good, "net", lambda done, total: told.append((done, total)))
    assert weights.cached(good).read_bytes() == content
    assert told == [(i * 2**20, len(content)) for i in (1, 2, 3)]
    bad = "https://host/net-00000000.pth"
    with pytest.raises(WeightsUnavailableError, match="damaged"):
        weights.fetch(bad, "net")
    assert not weights.cached(bad).exists()
    assert not list(weights.cached(bad).parent.glob("*.partial"))


class Hostile:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


def test_a_checkpoint_that_holds_code_is_not_run():
    path = weight_file("mnasnet0_5")
    torch.save({"layers.0.weight": Hostile()}, path)
    with pytest.raises(pickle.UnpicklingError, match="Weights only"):
        load("mnasnet0_5")


class Moody(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, 4)

    def forward(self, x):
        x = self.convolution(x)
        return x if x.mean() > 0 else -x


def test_a_network_that_cannot_be_traced_says_so_and_can_be_split_by_hand():
    torch.manual_seed(0)
    trunk, head = Moody(), nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(UntraceableError, match=r"moody cannot be traced.*Opaque"):
        Backbone("moody", nn.Sequential(trunk, head), SEEN, ("a", "b", "c"))
    backbone = Backbone("moody", nn.Sequential(Opaque(trunk), Opaque(head)), SEEN, ("a", "b", "c"))
    image = SEEN.tensor(sample("coffee"))
    with torch.no_grad():
        expected = head(trunk(image[None]))[0]
    torch.testing.assert_close(Probe(backbone.cut(), image).logits, expected)
