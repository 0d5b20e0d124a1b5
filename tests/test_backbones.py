"""The cut of every kind of classifier, its preprocessing and its weights."""

import hashlib
import io
from copy import deepcopy
from dataclasses import replace
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
import torchvision.models
from conftest import weight_file
from timm.data import create_transform, resolve_model_data_config
from torch import nn

from explorer import METHODS, Picture, Probe, sample
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
from explorer.backbones.preprocessing import PreprocessingError, from_timm, from_torchvision

SEEN = Preprocessing(256, (224, 224), "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# name: default layer, its shape, tokens before those of the image
CASES = {
    "squeezenet1_1": ("features.12", (512, 13, 13), 0),
    "resnet50": ("layer4", (2048, 7, 7), 0),
    "vgg16": ("features.30", (512, 7, 7), 0),
    "convnext_tiny": ("features.7", (768, 7, 7), 0),
    "densenet121": ("relu", (1024, 7, 7), 0),
    "efficientnet_b0": ("features.8", (1280, 7, 7), 0),
    "swin_t": ("norm", (768, 7, 7), 0),
    "vit_b_16": ("encoder.layers.encoder_layer_10", (768, 14, 14), 1),
    "timm:tf_efficientnet_lite0": ("bn2", (1280, 7, 7), 0),
    "timm:vit_tiny_patch16_224": ("blocks.10", (192, 14, 14), 1),
    "timm:deit_tiny_distilled_patch16_224": ("blocks.10", (192, 14, 14), 2),
    "timm:swin_tiny_patch4_window7_224": ("norm", (768, 7, 7), 0),
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
    name = request.param
    model = random_model(name)
    return CASES[name], model, Backbone(name, deepcopy(model), SEEN, ("?",) * 1000)


def images():
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(3))


def test_default_layer_is_the_end_of_the_feature_extractor(pair):
    (name, shape, prefix), model, backbone = pair
    layer = backbone.default_layer
    assert (layer.name, (layer.channels, layer.height, layer.width), layer.prefix) == (name, shape, prefix)
    assert prefix == getattr(model, "num_prefix_tokens", prefix)
    assert {layer.prefix for layer in backbone.layers} <= {0, prefix}
    assert len(backbone.layers) >= 7


@torch.no_grad()
def hooked(model):
    """The logits of the original, and what each of its modules gave (copied, as the next may write into it)."""
    outputs = {}

    def keep(name):
        return lambda module, inputs, output: outputs.update({name: copied(output)})

    hooks = [module.register_forward_hook(keep(name)) for name, module in model.named_modules()]
    logits = model(images())
    for hook in hooks:
        hook.remove()
    if "features.norm5" in outputs:  # DenseNet ends in a function
        outputs["relu"] = outputs["features.norm5"].relu()
    return logits, outputs


def copied(output):
    return output.clone() if isinstance(output, torch.Tensor) else output


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_a_cut_is_the_network_in_two_parts(pair):
    """Random logits may be tiny or alike for all pictures; then any head would pass."""
    (default, _, prefix), model, backbone = pair
    expected, outputs = hooked(model)
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * expected.abs().max()
    layers = backbone.layers
    for layer in (layers[0], layers[len(layers) // 2], layers[-1]):
        cut = backbone.cut(layer.name)
        with torch.no_grad():
            raw = cut.trunk(images())
            kept = raw.clone()
            close(cut.head(raw), expected)
        assert torch.equal(raw, kept), "the head writes into the activation"
        assert layer.name in outputs or layer.name != default
        if layer.name in outputs:
            output = outputs[layer.name]
            if layer.layout == "tokens":
                output = output[:, prefix:].unflatten(1, (layer.height, layer.width))
            maps = output if layer.layout == "maps" else output.permute(0, 3, 1, 2)
            close(layer.to_maps(raw), maps)


def test_parameters_are_frozen_and_nothing_is_hooked(pair):
    backbone = pair[2]
    for parameter in backbone._traced.parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None
    assert not any(module._forward_hooks for module in backbone._traced.modules())


@pytest.mark.parametrize("pair", ["vgg16"], indirect=True)
def test_vgg_has_the_map_of_lift_cam_one_step_up(pair):
    before, last = pair[2].layers[-2:]
    assert (before.name, before.height, last.name) == ("features.29", 14, "features.30")


@pytest.mark.parametrize("pair", ["resnet50"], indirect=True)
def test_a_layer_answers_to_every_name_of_its_module(pair):
    backbone = pair[2]
    assert backbone.layer("layer4.2") is backbone.layer("layer4") is backbone.default_layer
    with pytest.raises(
        UnknownLayerError, match=r"no cut point 'fc': it has \d+, the last of them .*layer4\."
    ):
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


@pytest.mark.parametrize("size", [(640, 300), (300, 640), (256, 256)])
@pytest.mark.parametrize(
    "name",
    [
        "tf_efficientnet_lite0",
        "tf_efficientnet_lite2",
        "vit_tiny_patch16_224",
        "convnext_tiny",
        "dm_nfnet_f0",  # squashed, not cropped
    ],
)
def test_preprocessing_is_that_of_timm(name, size):
    config = resolve_model_data_config(None, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    picture = Picture("", "", np.asarray(sample("astronaut").image.resize(size)))
    expected = create_transform(**config, is_training=False)(picture.image)
    torch.testing.assert_close(from_timm(config).tensor(picture), expected, atol=1e-6, rtol=0)


def test_a_crop_that_is_not_built_is_refused():
    config = resolve_model_data_config(None, pretrained_cfg=timm.get_pretrained_cfg("resnet18").to_dict())
    with pytest.raises(PreprocessingError, match="crops its pictures by 'border'"):
        from_timm({**config, "crop_mode": "border"})


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
    for position in (0, 1, 112, 222, 223):
        x = left + (position + 0.5) / 224 * (right - left)
        y = top + (position + 0.5) / 224 * (bottom - top)
        for found, place, pixel in (
            (tensor[0, 112, position], x, (right - left) / 224),
            (tensor[1, position, 112], y, (bottom - top) / 224),
        ):
            if 0 < place < 1:
                assert found == pytest.approx(place, abs=pixel + 1 / 255)
            else:
                assert found == 0, "padding"


def test_fill_is_the_colour_of_zero():
    assert SEEN.fill == (124, 116, 104)


def test_digest_follows_the_weights():
    first, second = random_model("squeezenet1_1"), random_model("squeezenet1_1")
    assert weights.digest(first) == weights.digest(second)
    with torch.no_grad():
        second.features[0].bias[0] += 1e-3
    assert weights.digest(first) != weights.digest(second)


def test_the_fingerprint_of_a_cut_follows_weights_layer_and_preprocessing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    model(torch.zeros(1, 3, 8, 8))
    other = deepcopy(model)
    other[0].bias.data[0] += 1
    seen = Preprocessing(8, (8, 8), "bilinear", (0.0,) * 3, (1.0,) * 3)
    kinds = [
        (model, seen, "1"),
        (model, seen, "0"),
        (other, seen, "1"),
        (model, replace(seen, resize=9), "1"),
    ]

    def fingerprint(model, seen, layer):
        return Backbone("toy", deepcopy(model), seen, ("?",) * 3).cut(layer).fingerprint

    assert len({fingerprint(*kind) for kind in kinds}) == len(kinds)
    assert fingerprint(*kinds[0]) == fingerprint(*kinds[0])


@pytest.mark.parametrize(
    ("name", "size"), [("efficientnet_lite0", 224), ("efficientnet_lite1", 240), ("efficientnet_lite2", 260)]
)
def test_embedded_weights_recognise_an_espresso(name, size, original):
    backbone = load(name)
    model = original(name)
    picture = sample("coffee")
    image = backbone.preprocessing.tensor(picture)
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    torch.testing.assert_close(image, transform(picture.image), atol=1e-6, rtol=0)
    assert image.shape == (3, size, size)
    with torch.no_grad():
        logits = backbone(image[None])
        close(logits, model(image[None]))
    assert backbone.labels[int(logits.argmax())] == "espresso"
    assert len(backbone.labels) == 1000


@pytest.mark.parametrize("name", ["resnet50", "squeezenet1_1"])
def test_the_loader_gives_the_weights_preprocessing_and_labels_of_torchvision(name, original):
    model = original(name)
    backbone = load(name)
    entry = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    picture = sample("chelsea")
    image = entry.transforms()(picture.image)
    assert torch.equal(backbone.preprocessing.tensor(picture), image)
    with torch.no_grad():
        close(backbone(image[None]), model(image[None]))
    assert backbone.labels == tuple(entry.meta["categories"])
    known = info(name)
    assert known.ready
    assert known.parameters * 1e6 == sum(values.numel() for values in model.parameters())


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
    assert not info("mnasnet1_3").ready


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


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """torch's own cache, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def offline(*_, **__):
    raise URLError("no route")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("alexnet", "put alexnet-owt-7be5be79.pth into"), ("timm:resnet18", "set HF_HOME to a folder")],
)
def test_missing_weights_offline_give_both_remedies(name, remedy, monkeypatch, checkpoints):
    monkeypatch.setattr(weights, "urlopen", offline)
    monkeypatch.setattr("explorer.backbones.registry.urlopen", offline)
    with pytest.raises(WeightsUnavailableError) as refusal:
        load(name)
    for words in (name, "no route", "Connect to the internet once, or", remedy, "EfficientNet-Lite"):
        assert words in str(refusal.value)
    assert not list(checkpoints.glob("*"))


class Answer(io.BytesIO):
    def __init__(self, content):
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content))}


def test_a_download_lands_with_progress(monkeypatch, checkpoints):
    content = bytes(3 * 2**20)
    told = []
    monkeypatch.setattr(weights, "urlopen", lambda *_, **__: Answer(content))
    file = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    weights.fetch(f"https://host/{file}", "net", lambda done, total: told.append((done, total)))
    assert (checkpoints / file).read_bytes() == content
    assert told == [(i * 2**20, len(content)) for i in (1, 2, 3)]
    monkeypatch.setattr(weights, "urlopen", offline)
    weights.fetch(f"https://host/{file}", "net")  # it is there


def cancel(done, total):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("progress", "error", "words"),
    [(None, WeightsUnavailableError, "damaged"), (cancel, KeyboardInterrupt, None)],
)
def test_a_damaged_or_cancelled_download_leaves_nothing(monkeypatch, checkpoints, progress, error, words):
    monkeypatch.setattr(weights, "urlopen", lambda *_, **__: Answer(b"not the weights"))
    with pytest.raises(error, match=words):
        weights.fetch("https://host/net-00000000.pth", "net", progress)
    assert checkpoints.is_dir()
    assert not list(checkpoints.iterdir())


class Hostile:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


def test_a_checkpoint_that_holds_code_is_not_run(checkpoints):
    checkpoints.mkdir(parents=True)
    torch.save({"layers.0.weight": Hostile()}, weight_file("mnasnet0_5"))
    with pytest.raises(WeightsUnavailableError, match="does not hold the weights of mnasnet0_5"):
        load("mnasnet0_5")


def test_a_truncated_checkpoint_is_refused_by_name(checkpoints):
    checkpoints.mkdir(parents=True)
    weight_file("mnasnet0_5").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(WeightsUnavailableError, match="remove it, so that it is fetched again"):
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
    probe = Probe(backbone.cut(), SEEN.tensor(sample("coffee")))
    activation = trunk(probe.image[None]).detach().requires_grad_()
    logits = head(activation)[0]
    [gradient] = torch.autograd.grad(logits[1], activation)
    close(probe.logits, logits.detach())
    signed = (gradient.mean((2, 3), keepdim=True) * activation.detach()).sum((0, 1))
    close(METHODS["grad-cam"]()(probe, 1).signed, signed)
