"""Photographs seen by a backbone of the explorer, and by a float64 copy of the classifier it was made from."""

import copy
from dataclasses import asdict, dataclass, field

import numpy as np
import papers
import torch
import torchvision.models
from conftest import enliven
from papers.network import Network
from torch import nn

from explorer.backbones import Backbone, Cut, Preprocessing, load
from explorer.images import SAMPLES, Picture, sample
from explorer.probe import Probe

LAYERS = {  # the module in the whole network whose output is the explorer's default layer
    "squeezenet1_1": "features.12",
    "efficientnet_lite0": "bn2",
    "resnet50": "layer4",
    "vgg16": "features.30",
    "convnext_tiny": "features.7",
    "vit_16": "encoder.layers.encoder_layer_10",
}
SMALL = Preprocessing(112, (112, 112), "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
OTHERS = ("coffee", "rocket", "astronaut")


@dataclass(eq=False)
class Scene:
    """One photograph seen by a backbone, and by a float64 copy of the classifier it was made from."""

    model: nn.Module
    network: Network
    cut: Cut
    image: torch.Tensor
    references: np.ndarray
    _papers: dict = field(default_factory=dict)
    _exact: Cut | None = None

    def probe(self):
        return Probe(self.cut, self.image)

    def exact(self):
        """The probe of a backbone in float64: for maps that jump where rounding decides which maximum is taken."""
        if self._exact is None:
            same = self.cut.backbone
            backbone = Backbone(same.name, copy.deepcopy(self.model), same.preprocessing, same.labels)
            self._exact = backbone.cut()
            for part in (backbone.graph, self._exact.trunk, self._exact.head):
                part.double()
        return Probe(self._exact, self.image.double())

    @property
    def pixels(self):
        return self.image.double().numpy()

    @property
    def ranking(self):
        return self.network.probabilities(self.pixels).argsort()[::-1].tolist()

    def paper(self, method, target):
        if (method, target) not in self._papers:
            paper = papers.METHODS[method.name]
            outcome = paper(self.network, self.pixels, target, self.references, **asdict(method))
            self._papers[method, target] = outcome
        return self._papers[method, target]


def make(name, original):
    """Real weights at their own size; random ones at half of it, where float64 costs a quarter.

    Args:
        original: the fixture of that name.
    """
    model, backbone = classifier(name, original)
    network = Network(model, LAYERS[name])
    image = backbone.preprocessing.tensor(sample("chelsea"))
    crops = [backbone.preprocessing.tensor(crop) for other in OTHERS for crop in thirds(sample(other))]
    references = np.stack([network.activation(crop) for crop in crops]).astype(np.float16)
    return Scene(model, network, backbone.cut(), image, references)


def classifier(name, original):
    """The un-cut model, and a backbone of its own copy."""
    if name in ("squeezenet1_1", "efficientnet_lite0"):
        return original(name), load(name)
    if name == "vgg16":
        model = narrow_vgg()
    else:
        model = random_transformer(name) if name in ("convnext_tiny", "vit_16") else original(name)
    return model, Backbone(name, copy.deepcopy(model), SMALL, ("?",) * 1000)


def narrow_vgg():
    """VGG-16 a quarter as wide, with seeded random weights."""
    widths = (16, 16, "M", 32, 32, "M", 64, 64, 64, "M", 128, 128, 128, "M", 128, 128, 128, "M")
    model = torchvision.models.VGG(torchvision.models.vgg.make_layers(widths))
    for place, (inputs, outputs) in {0: (128 * 49, 512), 3: (512, 512), 6: (512, 1000)}.items():
        model.classifier[place] = nn.Linear(inputs, outputs)
        nn.init.zeros_(model.classifier[place].bias)
    enliven(model.eval(), torch.stack([SMALL.tensor(sample(identifier)) for identifier in SAMPLES]))
    return model


def random_transformer(name):
    """Seeded random weights, the last layer's large enough to tell pictures apart; the ViT as deep as ViT-B/16, and a
    quarter as wide."""
    torch.manual_seed(0)
    if name == "vit_16":
        model = torchvision.models.VisionTransformer(112, 16, 12, num_heads=3, hidden_dim=192, mlp_dim=768)
    else:
        model = torchvision.models.get_model(name)
    model.eval()
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.normal_(last.weight, std=0.1)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, mean=1, std=0.3)
    return model


def thirds(picture):
    side = min(picture.width, picture.height) * 2 // 3
    for left, top in ((0, 0), (picture.width - side, 0), (picture.width - side, picture.height - side)):
        yield Picture(picture.name, picture.digest, picture.pixels[top : top + side, left : left + side])
