"""Models of the user's own: kept, found, loaded again, refused; in the shell, on the page and in a browser."""

import json
import re
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from browser import DEVICES, choose, fits, idle, settled, sidebar
from pages import drawn, link, open_page, settle
from playwright.sync_api import expect
from safetensors.torch import save_file
from torchvision.transforms import v2 as transforms

from explorer import Engine, Request
from explorer.backbones import (
    CheckpointError,
    OwnModelError,
    delete,
    find_own,
    from_checkpoint,
    keep,
    load,
    own_models,
)
from explorer.cli import main
from explorer.compute import try_out
from explorer.images import sample
from explorer.methods import METHODS

CLASSES = ("cat", "dog", "cow", "hen", "fox")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of the server: the weights of a ConvNeXt with five classes, their names, and a file that is no model."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = torchvision.models.convnext_tiny(num_classes=5)
    save_file(model.state_dict(), folder / "zoo.safetensors")
    (folder / "zoo.txt").write_text("\n".join(CLASSES) + "\n")
    (folder / "broken.pt").write_bytes(b"no weights")
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The weights of a small network with five classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("small") / "small.pt"
    torch.save(torchvision.models.squeezenet1_1(num_classes=5).state_dict(), path)
    return path


kept = partial(keep, "mine", "squeezenet1_1")


@pytest.mark.usefixtures("home")
class TestKept:
    def test_it_gives_the_logits_of_the_network_that_was_saved(self, small):
        seen = {"crop": (160, 160), "resize": 170, "mean": (0.5, 0.4, 0.3), "interpolation": "bicubic"}
        model = kept(small, CLASSES, seen)
        assert own_models() == [model] == [find_own("mine")] == [find_own(model.identifier)]
        backbone = load(model.identifier)
        assert (backbone.name, backbone.labels) == (model.identifier, CLASSES)
        original = torchvision.models.squeezenet1_1(num_classes=5).eval()
        original.load_state_dict(torch.load(small, weights_only=True))
        usual = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.transforms()
        image = transforms.Compose(
            [
                transforms.Resize(170, transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(160),
                transforms.PILToTensor(),
                transforms.ToDtype(torch.float32, scale=True),
                transforms.Normalize([0.5, 0.4, 0.3], usual.std),
            ]
        )(sample("coffee").image)
        torch.testing.assert_close(backbone.preprocessing.tensor(sample("coffee")), image, atol=1e-6, rtol=0)
        with torch.no_grad():
            torch.testing.assert_close(backbone(image[None]), original(image[None]), rtol=1e-4, atol=1e-5)

    def test_another_content_is_another_backbone(self, small):
        first, second = kept(small), kept(small, CLASSES)
        assert kept(small) == first
        assert first.identifier != second.identifier
        assert len(own_models()) == 2
        with pytest.raises(
            OwnModelError, match=rf"2 models are called 'mine': choose one of .*{first.identifier}"
        ):
            find_own("own:mine")
        delete(first)
        assert find_own("mine") == second

    def test_a_model_that_is_not_there_is_refused_with_the_way_to_add_it(self, small):
        model = kept(small)
        for name in ("own:../../etc", "own:", "own:other"):
            with pytest.raises(OwnModelError, match=f"there is: {model.identifier}.*model add"):
                load(name)

    def test_a_name_alone_is_no_backbone(self, small):
        model = kept(small)
        with pytest.raises(
            OwnModelError, match=rf"'own:mine' is only a name: the backbone is {model.identifier}"
        ):
            load("own:mine")

    def test_a_network_trained_with_its_channels_last_is_kept(self, small, tmp_path):
        model = torchvision.models.squeezenet1_1(num_classes=5)
        model.load_state_dict(torch.load(small, weights_only=True))
        torch.save(model.to(memory_format=torch.channels_last).state_dict(), tmp_path / "last.pt")
        other = keep("last", "squeezenet1_1", tmp_path / "last.pt")
        assert load(other.identifier).digest == load(kept(small).identifier).digest

    def test_damaged_files_are_refused_or_no_model(self, small):
        model = kept(small)
        original = torch.load(small, weights_only=True)
        save_file({name: original[name] + 1 for name in original}, model.folder / "weights.safetensors")
        with pytest.raises(OwnModelError, match="have changed: delete the model"):
            load(model.identifier)
        for text in ("", "[]", "{}", json.dumps({"name": "mine"})):
            (model.folder / "model.json").write_text(text)
            assert own_models() == []
        assert kept(small) == find_own("mine")

    @pytest.mark.parametrize("name", ["", "   ", "a" * 61, "two\nlines"])
    def test_a_name_that_cannot_be_one(self, small, name):
        with pytest.raises(OwnModelError, match="cannot name a model"):
            keep(name, "squeezenet1_1", small)
        assert own_models() == []

    def test_a_home_that_cannot_be_written(self, small, home):
        home.parent.mkdir(exist_ok=True)
        home.write_text("a file")
        with pytest.raises(OwnModelError, match=r"cannot be written .*EXPLORER_HOME"):
            kept(small)

    @pytest.mark.parametrize(
        ("seen", "words"),
        [
            ({"crop": (0, 224)}, "1 to 1024 pixels"),
            ({"resize": 5000}, "1 to 1024 pixels"),
            ({"interpolation": "magic"}, "no interpolation 'magic': choose one of bilinear"),
            ({"std": (0.5, 0.0, 0.5)}, "deviations positive"),
            ({"mean": (0.5, float("nan"), 0.5)}, "Means must be finite"),
        ],
    )
    def test_a_preprocessing_that_cannot_be(self, small, seen, words):
        with pytest.raises(CheckpointError, match=words):
            from_checkpoint("squeezenet1_1", small, seen=seen)

    def test_a_trial_says_what_the_model_says(self, small):
        trial = try_out("squeezenet1_1", small, CLASSES, {}, "small.pt", sample("coffee"))
        backbone = from_checkpoint("squeezenet1_1", small, CLASSES)
        with torch.no_grad():
            [chances] = backbone(backbone.preprocessing.tensor(sample("coffee"))[None]).softmax(1)
        best = sorted(zip(chances.tolist(), CLASSES, strict=True), reverse=True)[:3]
        assert [label for label, _ in trial.best] == [label for _, label in best]
        assert [chance for _, chance in trial.best] == pytest.approx([chance for chance, _ in best], rel=1e-4)
        assert trial.layers == backbone.layers

    def test_the_shell_adds_explains_lists_and_deletes(self, small, tmp_path, capsys):
        names = tmp_path / "names.txt"
        names.write_text("\n".join(CLASSES))
        given = [str(small), "--architecture", "squeezenet1_1", "--class-names", str(names)]
        assert not main(["model", "check", *given])
        assert "5 classes, cat, dog, cow, hen, fox." in capsys.readouterr().out
        assert main(["model", "check", str(small), "--architecture", "alexnet"]) == 2
        assert re.search(r"small\.pt does not fit alexnet \(.*name the architecture", capsys.readouterr().err)
        assert not main(
            ["model", "add", *given, "--name", "mine", "--crop", "192", "--std", "0.5", "0.5", "0.5"]
        )
        assert not main(["model", "list", "--json"])
        [listed] = json.loads(capsys.readouterr().out.partition("\n")[2])
        assert listed["identifier"] == own_models()[0].identifier
        assert listed["preprocessing"]["crop"] == [192, 192]
        assert listed["preprocessing"]["std"] == [0.5, 0.5, 0.5]
        out = tmp_path / "out"
        command = [
            "explain",
            "sample:coffee",
            "--backbone",
            "own:mine",
            "--method",
            "grad-cam",
            "--target",
            "3",
        ]
        assert not main([*command, "--out", str(out)])
        request = Request(own_models()[0].identifier, method=METHODS["grad-cam"](), target=3)
        expected = Engine("cpu").explain(sample("coffee"), request)
        assert expected.label == "hen"
        made = np.load(out / "coffee" / "grad-cam.npy", allow_pickle=False)
        assert np.array_equal(made, expected.attribution.saliency.numpy())
        assert not main(["model", "delete", "mine"])
        assert own_models() == []


@pytest.mark.usefixtures("home")
class TestPage:
    def test_a_server_that_takes_none_says_how(self):
        app = open_page("model")
        assert "EXPLORER_MODELS" in app.info[0].value
        assert not [button for button in app.button if button.label == "Try it"]

    def test_a_misfit_is_one_sentence_and_what_fits_is_kept_and_explained(self, folder, monkeypatch):
        monkeypatch.setenv("EXPLORER_MODELS", str(folder))
        app = open_page("model", weights="zoo.safetensors")
        app = press(app, "Try it")
        [error] = app.error
        words = "zoo.safetensors does not fit resnet50 (conv1.weight is missing): name the architecture"
        assert error.value.replace("\\", "").startswith(words)
        app.selectbox(key="widget architecture").select("convnext_tiny")
        app = settle(app.run())
        assert not app.success
        app = press(app, "Try it")
        assert app.success[0].value.startswith("It works: 5 classes, ")
        assert any("cat, dog, cow, hen, fox" in caption.value for caption in app.caption)
        assert own_models() == []
        app = press(app, "Keep it")
        [model] = own_models()
        assert (model.name, model.labels, model.source) == ("zoo", CLASSES, "zoo.safetensors")
        app = open_page("compare", backbone=model.identifier, methods="grad-cam")
        assert link(app)["backbone"] == model.identifier
        assert drawn(app)

    def test_a_file_that_is_no_model(self, folder, monkeypatch):
        monkeypatch.setenv("EXPLORER_MODELS", str(folder))
        app = press(open_page("model", weights="broken.pt"), "Try it")
        assert re.search(r"broken\.pt does not hold the weights of resnet50", app.error[0].value)

    @pytest.mark.parametrize("backbone", ["own:gone-12345678", "own:../../x", "own:" + "a" * 500])
    def test_a_link_to_a_model_that_is_gone_gives_the_default_and_a_note(self, backbone):
        app = open_page("model", backbone=backbone)
        assert "backbone" in app.warning[0].value
        assert "backbone" not in link(app)


def press(app, label):
    [button] = [button for button in app.button if button.label == label]
    button.click()
    return settle(app.run())


def open_model(page, device):
    idle(page)
    with sidebar(page, device):
        page.get_by_role("link", name="Your model").click()
    expect(page).to_have_url(re.compile("/model"))


@pytest.mark.parametrize("server", [{"EXPLORER_MODEL_MB": "200"}], indirect=True)
@pytest.mark.parametrize("device", DEVICES)
def test_a_model_is_uploaded_tried_kept_explained_and_deleted(visit, folder, device):
    """An engineer's job from the first page to a bundle and back."""
    page = visit(**DEVICES[device])
    open_model(page, device)
    main_part = page.get_by_test_id("stMain")
    uploader = page.get_by_test_id("stFileUploader")
    for name, part in (("zoo.safetensors", "Checkpoint"), ("zoo.txt", "Class names")):
        choose(page, uploader.filter(has_text=part), folder / name)
    architecture = main_part.get_by_role("combobox", name="Architecture")
    architecture.fill("convnext_tiny")
    architecture.press("Enter")
    expect(page).to_have_url(re.compile("architecture=convnext_tiny"))
    page.get_by_role("button", name="Try it").click()
    expect(main_part.get_by_text("It works: 5 classes")).to_be_visible()
    expect(main_part.get_by_text("Classes: cat, dog, cow, hen, fox")).to_be_visible()
    fits(page)
    page.get_by_role("button", name="Keep it").click()
    page.get_by_role("button", name="Explain with it").click()
    expect(page).to_have_url(re.compile(r"backbone=own"))
    settled(page, 2)
    expect(page.get_by_test_id("stMain").get_by_role("combobox", name="Explained class")).to_have_value(
        re.compile("|".join(CLASSES))
    )
    fits(page)
    page.get_by_text("Take away").click()
    page.get_by_role("button", name="Make the bundle").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Bundle (").click()
    with zipfile.ZipFile(download.value.path()) as bundle:
        made = json.loads(bundle.read("manifest.json"))["explanations"]
    assert [explanation["method"]["name"] for explanation in made] == ["grad-cam", "libra-cam"]
    assert {explanation["class"]["name"] for explanation in made} <= set(CLASSES)
    open_model(page, device)
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("button", name="Explain with it")).to_have_count(0)
