"""Data sets on disk: layouts recognised, labels and boxes read, what does not fit refused, pictures decoded ahead."""

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from explorer.backbones import Preprocessing
from explorer.dataset import VOC_CLASSES, Box, DatasetError, Entry, TableError, ahead, open_dataset, splits
from explorer.evaluation import boxes_seen, region
from explorer.images import ImageError, Picture, load

PETS = ("cat", "dog", "parrot")
IMAGENET = tuple(f"class {index}" for index in range(1000))
CROPPED = Preprocessing(32, (28, 28), "bilinear", (0.5,) * 3, (0.25,) * 3)
SQUASHED = Preprocessing((28, 28), (28, 28), "bilinear", (0.5,) * 3, (0.25,) * 3)
PADDED = Preprocessing(20, (28, 28), "bilinear", (0.5,) * 3, (0.25,) * 3)


def photo(path, size=(40, 20), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path, **options)
    return path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def blank(width, height):
    return Picture("", "", np.zeros((height, width, 3), np.uint8))


def labels_of(entries):
    return {entry.identifier: entry.labels for entry in entries}


def one_sentence(refusal):
    text = str(refusal.value)
    return text.endswith(".") and "\n" not in text


@pytest.fixture
def flat(tmp_path):
    folder = tmp_path / "photos"
    for name in ("b.png", "a.JPG", "c.webp"):
        photo(folder / name)
    photo(folder / "thumbnails" / "a.png")
    write(folder / "notes.txt", "no picture")
    return folder


def test_a_folder_of_pictures(flat):
    assert open_dataset(flat, classes=PETS) == [
        Entry(name, flat / name) for name in ("a.JPG", "b.png", "c.webp")
    ]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (("val", "test", "train"), ("train", "test", "val")),
        (("val", "train", "meta"), ("train", "val")),
        (("val",), ("val",)),
        (("bus", "car", "train"), ()),
        ((), ()),
    ],
)
def test_a_data_set_tells_its_parts(tmp_path, folders, expected):
    for name in folders:
        (tmp_path / name).mkdir()
    assert splits(tmp_path) == expected


def test_a_folder_of_pictures_with_labels(flat, tmp_path):
    table = write(tmp_path / "labels.csv", "file,class_index\nb.png,2\nelsewhere.png,7\na.JPG,0\n")
    found = labels_of(open_dataset(flat, classes=PETS, labels=table))
    assert found == {"a.JPG": (0,), "b.png": (2,), "c.webp": ()}


def test_class_folders_are_numbered_as_by_torchvision(tmp_path):
    for name in ("z/1.jpg", "B/2.png", "a/deep/3.png"):
        photo(tmp_path / name)
    found = labels_of(open_dataset(tmp_path, classes=("x", "y", "w")))
    assert found == {"B/2.png": (0,), "a/deep/3.png": (1,), "z/1.jpg": (2,)}


def test_class_folders_named_by_labels_mean_those(tmp_path):
    for name in ("parrot/1.jpg", "cat/1.jpg"):
        photo(tmp_path / name)
    assert labels_of(open_dataset(tmp_path, classes=PETS)) == {"cat/1.jpg": (0,), "parrot/1.jpg": (2,)}


def test_a_label_of_two_classes_names_no_folder(tmp_path):
    photo(tmp_path / "crane" / "1.jpg")
    with pytest.raises(DatasetError, match="has 1 class folders"):
        open_dataset(tmp_path, classes=("crane", "ibis", "crane"))


def test_a_misspelt_class_folder_gives_no_other_its_class(tmp_path):
    for name in ("cat", "Dog", "parrot"):
        photo(tmp_path / name / "1.jpg")
    with pytest.raises(DatasetError, match="'Dog' is none of them"):
        open_dataset(tmp_path, classes=PETS)


def test_a_picture_beside_class_folders_hides_none_of_them(tmp_path):
    for name in ("cat/1.jpg", "dog/1.jpg", "cover.png"):
        photo(tmp_path / name)
    with pytest.raises(DatasetError, match=r"beside them cover\.png"):
        open_dataset(tmp_path, classes=PETS)


def test_links_to_folders_and_files_are_followed(tmp_path):
    for name in ("dog/2.jpg", "1.jpg"):
        photo(tmp_path / "elsewhere" / name)
    folder = tmp_path / "set"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "1.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
    (folder / "dog").symlink_to(tmp_path / "elsewhere" / "dog")
    (folder / "dog" / "round").symlink_to(folder)
    assert labels_of(open_dataset(folder, classes=PETS)) == {"cat/1.jpg": (0,), "dog/2.jpg": (1,)}
    table = write(folder / "pictures.csv", "file,class_index\ncat/1.jpg,0\ndog/2.jpg,1\n")
    assert labels_of(open_dataset(table, classes=PETS)) == {"cat/1.jpg": (0,), "dog/2.jpg": (1,)}


def test_a_table_in_the_present_folder_names_nothing_outside(tmp_path, monkeypatch):
    photo(tmp_path / "outside.jpg")
    photo(tmp_path / "set" / "inside.jpg")
    monkeypatch.chdir(tmp_path / "set")
    inside = write(Path("inside.csv"), "file\ninside.jpg\n")
    assert [entry.identifier for entry in open_dataset(inside, classes=PETS)] == ["inside.jpg"]
    with pytest.raises(DatasetError, match="not below"):
        open_dataset(write(Path("outside.csv"), "file\n../outside.jpg\n"), classes=PETS)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    photo(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    with pytest.raises(DatasetError, match="not in UTF-8: rename"):
        open_dataset(tmp_path, classes=PETS)


def test_a_table_says_where_it_is_wrong(flat, tmp_path):
    spaced = write(tmp_path / "spaced.csv", "file, class_index\na.JPG,2\n")
    assert labels_of(open_dataset(flat, classes=PETS, labels=spaced))["a.JPG"] == (2,)
    for content, words in (
        ("file,class_index\na.JPG,0\nb.png,two\n", "line 3"),
        ("file;class_index\na.JPG;0\n", r"no column 'file', but file;class_index\): .*with commas"),
    ):
        with pytest.raises(TableError, match=words):
            open_dataset(flat, classes=PETS, labels=write(tmp_path / "wrong.csv", content))
    with pytest.raises(TableError, match=r"\(it is missing\): check its path"):
        open_dataset(flat, classes=PETS, labels=tmp_path / "nowhere.csv")


def test_synset_folders_have_the_indices_of_imagenet(tmp_path):
    """Tench is 0, tabby 281, espresso 967, toilet tissue 999 in every list of ImageNet's classes."""
    for name in ("n01440764", "n02123045", "n07920052", "n15075141"):
        photo(tmp_path / "val" / name / "1.jpg")
    photo(tmp_path / "train" / "n01440764" / "2.jpg")
    found = labels_of(open_dataset(tmp_path, classes=IMAGENET))
    assert list(found.values()) == [(0,), (281,), (967,), (999,)]
    assert next(iter(found)) == "n01440764/1.jpg"
    assert labels_of(open_dataset(tmp_path, classes=IMAGENET, split="train")) == {"n01440764/2.jpg": (0,)}


def test_synset_folders_are_counted_for_a_backbone_of_fewer_classes(tmp_path):
    for name in ("n02123045", "n01440764", "n07920052"):
        photo(tmp_path / name / "1.jpg")
    assert [entry.labels for entry in open_dataset(tmp_path, classes=PETS)] == [(0,), (1,), (2,)]


def test_labels_of_a_file_stand_before_class_folders(tmp_path):
    for name in ("one/1.jpg", "two/1.jpg"):
        photo(tmp_path / name)
    table = write(tmp_path / "labels.csv", "file,class_index\ntwo/1.jpg,1\n")
    found = labels_of(open_dataset(tmp_path, classes=PETS, labels=table))
    assert found == {"one/1.jpg": (), "two/1.jpg": (1,)}


@pytest.fixture
def devkit(tmp_path):
    """Three validation pictures. The devkit numbers tench 3, espresso 1, tabby 2; 1001 is no class but a group."""
    for number in (1, 2, 4):
        photo(tmp_path / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", format="JPEG")
    ids = np.array([3, 1, 2, 1001])
    synsets = np.array(["n01440764", "n07920052", "n02123045", "n00001740"], dtype=object)
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    table = np.array(list(zip(ids, synsets, (0, 0, 0, 5), strict=True)), dtype=kinds)
    savemat(tmp_path / "val" / "meta.mat", {"synsets": table})
    write(tmp_path / "val" / "ILSVRC2012_validation_ground_truth.txt", "3\n1\n1\n2\n")
    return tmp_path


def test_the_ground_truth_of_imagenet_is_read_through_the_devkits_own_order(devkit):
    entries = open_dataset(devkit, classes=IMAGENET)
    assert [entry.labels for entry in entries] == [(0,), (967,), (281,)]
    elsewhere = devkit / "devkit"
    elsewhere.mkdir()
    for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"):
        (devkit / "val" / name).rename(elsewhere / name)
    assert [entry.labels for entry in open_dataset(devkit, classes=IMAGENET)] == [(), (), ()]
    truth = elsewhere / "ILSVRC2012_validation_ground_truth.txt"
    assert open_dataset(devkit, classes=IMAGENET, labels=truth) == entries


def test_the_ground_truth_of_imagenet_that_does_not_fit_is_refused(devkit):
    truth = devkit / "val" / "ILSVRC2012_validation_ground_truth.txt"
    photo(devkit / "other" / "a.jpg")
    with pytest.raises(DatasetError, match="is for pictures named ILSVRC2012_val_00000001 to"):
        open_dataset(devkit / "other", classes=IMAGENET, labels=truth)
    truth.write_text("3\n1\n")
    with pytest.raises(DatasetError, match=r"meta\.mat cannot be read \(list index out of range\)"):
        open_dataset(devkit, classes=IMAGENET)
    with pytest.raises(DatasetError, match=r"ground_truth\.txt labels ImageNet's 1000 classes, .* has 3"):
        open_dataset(devkit, classes=PETS)
    meta = devkit / "val" / "meta.mat"
    meta.write_bytes(meta.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"meta\.mat cannot be read .*class folders or a CSV") as refusal:
        open_dataset(devkit, classes=IMAGENET)
    assert one_sentence(refusal)
    meta.unlink()
    with pytest.raises(DatasetError, match=r"meta\.mat tells, which is missing: .*CSV file of labels"):
        open_dataset(devkit, classes=IMAGENET)


def thing(name, left, top, right, bottom, difficult=0, extra=""):
    box = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return (
        f"<object><name>{name}</name><difficult>{difficult}</difficult>{extra}<bndbox>{box}</bndbox></object>"
    )


@pytest.fixture
def voc(tmp_path):
    """Two pictures of 40 x 20: a person with a head on a horse, beside a difficult dog; and an empty street."""
    for name in ("000005", "000007"):
        photo(tmp_path / "JPEGImages" / f"{name}.jpg")
    head = "<part><name>head</name><bndbox><xmin>12</xmin><ymin>2</ymin><xmax>15</xmax><ymax>5</ymax></bndbox></part>"
    things = [
        thing("person", 11, 1, 20, 10, extra=head),
        thing("horse", 1, 6, 40, 20),
        thing("dog", 31, 11, 40.5, 20, difficult=1),
    ]
    write(tmp_path / "Annotations" / "000005.xml", f"<annotation>{''.join(things)}</annotation>")
    write(tmp_path / "Annotations" / "000007.xml", "<annotation></annotation>")
    write(tmp_path / "ImageSets" / "Main" / "val.txt", "000005\n000007\n")
    write(tmp_path / "ImageSets" / "Main" / "test.txt", "000007\n")
    write(tmp_path / "ImageSets" / "Main" / "cat_val.txt", "000005 -1\n000007 -1\n")
    (tmp_path / "SegmentationClass").mkdir()
    Image.new("P", (40, 20)).save(tmp_path / "SegmentationClass" / "000005.png")
    return tmp_path


def test_pascal_voc(voc):
    ridden, empty = open_dataset(voc, classes=VOC_CLASSES)
    assert (ridden.identifier, ridden.path) == ("000005.jpg", voc / "JPEGImages" / "000005.jpg")
    assert [VOC_CLASSES[label] for label in ridden.labels] == ["horse", "person"]
    assert ridden.labels == (12, 14)
    assert ridden.boxes == (Box(0.25, 0, 0.5, 0.5, 14), Box(0, 0.25, 1, 1, 12), Box(0.75, 0.5, 1, 1, 11))
    assert ridden.mask == voc / "SegmentationClass" / "000005.png"
    assert empty == Entry("000007.jpg", voc / "JPEGImages" / "000007.jpg")
    assert open_dataset(voc, classes=VOC_CLASSES, split="test") == [empty]
    write(voc / "ImageSets" / "Main" / "cat_val.txt", "000005 1")
    assert splits(voc) == ("test", "val")


def test_voc_that_does_not_fit_is_refused(voc):
    with pytest.raises(
        DatasetError, match=r"Pascal VOC with 20 classes, but the backbone has 1000: .*checkpoint"
    ):
        open_dataset(voc, classes=IMAGENET)
    with pytest.raises(DatasetError, match=r"trainval\.txt is missing: .* \(test, val\)"):
        open_dataset(voc, classes=VOC_CLASSES, split="trainval")
    listing = voc / "ImageSets" / "Main" / "val.txt"
    listing.write_text("000005\n000005\n")
    with pytest.raises(DatasetError, match=r"names 000005\.jpg more than once"):
        open_dataset(voc, classes=VOC_CLASSES)
    listing.write_text("../../000005\n")
    with pytest.raises(DatasetError, match=r"val\.txt names '\.\./\.\./000005\.jpg', which is not below"):
        open_dataset(voc, classes=VOC_CLASSES)


@pytest.mark.parametrize(
    "text",
    [
        "<annotation>",
        f"<annotation>{thing('unicorn', 1, 1, 5, 5)}</annotation>",
        f"<annotation>{thing('cat', 1, 'one', 5, 5)}</annotation>",
        "<annotation><object><name>cat</name></object></annotation>",
    ],
    ids=["cut short", "another class", "no number", "no box"],
)
def test_a_bad_annotation_is_refused_by_name(voc, text):
    annotation = write(voc / "Annotations" / "000005.xml", text)
    with pytest.raises(DatasetError, match=r"000005\.xml cannot be read as an annotation") as refusal:
        open_dataset(voc, classes=VOC_CLASSES)
    assert one_sentence(refusal)
    annotation.unlink()
    with pytest.raises(DatasetError, match=r"000005\.xml cannot be read as an annotation"):
        open_dataset(voc, classes=VOC_CLASSES)


def test_a_list_of_pictures(tmp_path):
    for name in ("a.jpg", "deep/b.png"):
        photo(tmp_path / name)
    table = write(tmp_path / "list.csv", "class_index,file\n1,deep/b.png\n,./a.jpg\n")
    assert open_dataset(table, classes=PETS) == [
        Entry("deep/b.png", tmp_path / "deep" / "b.png", (1,)),
        Entry("a.jpg", tmp_path / "a.jpg"),
    ]
    table.write_text("file\na.jpg\n")
    assert open_dataset(table, classes=PETS) == [Entry("a.jpg", tmp_path / "a.jpg")]


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "deep/../../secret.jpg", "a\0.jpg"])
def test_a_list_does_not_leave_its_folder(tmp_path, name):
    photo(tmp_path / "secret.jpg")
    table = write(tmp_path / "set" / "list.csv", f"file\n{name}\n")
    with pytest.raises(DatasetError, match=r"list\.csv names .* which is not below"):
        open_dataset(table, classes=PETS)


def test_what_is_named_twice_is_refused(flat, tmp_path):
    listed = write(flat / "list.csv", "file\na.JPG\n./a.JPG\n")
    labels = write(tmp_path / "labels.csv", "file,class_index\nb.png,1\nb.png,2\n")
    with pytest.raises(DatasetError, match=r"list\.csv names a\.JPG more than once"):
        open_dataset(listed, classes=PETS)
    with pytest.raises(DatasetError, match=r"labels\.csv names b\.png more than once"):
        open_dataset(flat, classes=PETS, labels=labels)


def test_nothing_there_is_refused(tmp_path):
    empty = write(tmp_path / "empty" / "list.csv", "file\n")
    for source, words in (
        (tmp_path / "none", "none is no folder and no file"),
        (tmp_path / "empty", "empty holds no JPEG"),
        (empty, r"list\.csv holds no JPEG"),
    ):
        with pytest.raises(DatasetError, match=words) as refusal:
            open_dataset(source, classes=PETS)
        assert one_sentence(refusal)


@pytest.mark.parametrize("label", [-1, 3])
@pytest.mark.parametrize("kind", ["labels", "boxes"])
def test_a_label_that_is_no_class_is_refused_by_name(flat, tmp_path, kind, label):
    text = f"file,class_index,x0,y0,x1,y1\nb.png,{label},1,1,5,5\n"
    with pytest.raises(DatasetError, match=rf"b\.png has the label {label}, .* 0 to 2"):
        open_dataset(flat, classes=PETS, **{kind: write(tmp_path / "table.csv", text)})


def test_class_folders_that_do_not_fit_are_refused(tmp_path):
    photo(tmp_path / "n01440764" / "1.jpg")
    photo(tmp_path / "n00001740" / "1.jpg")
    with pytest.raises(DatasetError, match="n00001740 is named by a WordNet id that is none of"):
        open_dataset(tmp_path, classes=IMAGENET)
    with pytest.raises(
        DatasetError, match=r"has 2 class folders, but the backbone has 3 classes: .* may be ignored"
    ):
        open_dataset(tmp_path, classes=PETS)


def test_without_classes_every_layout_gives_its_pictures_alone(tmp_path, flat, voc, devkit):
    for pet in ("cats", "dogs"):
        photo(tmp_path / "pets" / pet / "1.jpg")
    table = write(tmp_path / "flat.csv", "file,class_index\nb.png,99\n")
    for source in (tmp_path / "pets", flat, voc, devkit):
        found = open_dataset(source, classes=None, labels=table, boxes=table)
        assert found
        assert all(entry == Entry(entry.identifier, entry.path) for entry in found)
    assert [entry.identifier for entry in open_dataset(tmp_path / "pets", classes=None)] == [
        "cats/1.jpg",
        "dogs/1.jpg",
    ]
    listed = write(flat / "list.csv", "file,class_index\nb.png,99\n")
    assert open_dataset(listed, classes=None) == [Entry("b.png", flat / "b.png")]


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("labels", "file,class_index\nelsewhere.png,1\n", r"names none of the pictures"),
        ("boxes", "file,x0,y0,x1,y1\nelsewhere.png,1,1,5,5\n", r"names none of the pictures"),
        ("labels", "file,class_index\na.JPG,cat\n", "cannot be read as labels"),
        ("boxes", "file,x0,y0,x1\na.JPG,1,1,5\n", "cannot be read as boxes"),
        ("boxes", "file,x0,y0,x1,y1\na.JPG,1,1,5\n", "cannot be read as boxes"),
    ],
)
def test_a_bad_table_is_refused_by_name(flat, tmp_path, kind, text, words):
    with pytest.raises(TableError, match=rf"table\.csv {words}") as refusal:
        open_dataset(flat, classes=PETS, **{kind: write(tmp_path / "table.csv", text)})
    assert one_sentence(refusal)


def test_boxes_are_fractions_of_their_picture(flat, tmp_path):
    photo(flat / "c.webp", (200, 100))
    rows = "b.png,10,5,20,20,\nc.webp,50.5,0,150,10,2\nb.png,0,0,40.9,20,1\nelsewhere.png,1,1,0,0,\n"
    table = write(tmp_path / "boxes.csv", "file,x0,y0,x1,y1,class_index\n" + rows)
    first, second, third = open_dataset(flat, classes=PETS, boxes=table)
    assert first.boxes == ()
    assert second.boxes == (Box(0.25, 0.25, 0.5, 1), Box(0, 0, 1, 1, 1))
    assert third.boxes == (Box(0.2525, 0, 0.75, 0.1, 2),)


@pytest.mark.parametrize(
    "corners", ["-1.5,0,5,5", "0,0,41.5,5", "0,0,5,21.5", "0,-2,5,5", "5,0,5,5", "6,0,5,5", "nan,0,5,5"]
)
def test_a_box_outside_its_picture_or_inverted_is_refused(flat, tmp_path, corners):
    table = write(tmp_path / "boxes.csv", f"file,x0,y0,x1,y1\nb.png,{corners}\n")
    with pytest.raises(DatasetError, match=r"boxes\.csv gives b\.png, which has 40 x 20 pixels") as refusal:
        open_dataset(flat, classes=PETS, boxes=table)
    assert one_sentence(refusal)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_their_picture(tmp_path, orientation, name):
    pixels = np.zeros((60, 80), np.uint8)
    pixels[10:25, 30:70] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / name, exif=exif, quality=100)
    table = write(tmp_path / "boxes.csv", f"file,x0,y0,x1,y1\n{name},30,10,70,25\n")
    [entry] = open_dataset(tmp_path, classes=PETS, boxes=table)
    picture = load(entry.path)
    rows, columns = np.nonzero(picture.pixels[:, :, 0] > 128)
    [box] = entry.boxes
    assert (box.left * picture.width, box.right * picture.width) == pytest.approx(
        (columns.min(), columns.max() + 1)
    )
    assert (box.top * picture.height, box.bottom * picture.height) == pytest.approx(
        (rows.min(), rows.max() + 1)
    )


def test_a_damaged_picture_with_a_box_is_told_when_it_is_decoded(flat, tmp_path):
    (flat / "b.png").write_bytes(b"no picture")
    table = write(tmp_path / "boxes.csv", "file,x0,y0,x1,y1\nb.png,1,1,5,5\n")
    entries = open_dataset(flat, classes=PETS, boxes=table)
    assert [len(entry.boxes) for entry in entries] == [0, 0, 0]
    assert [type(picture) for _, picture in ahead(entries, 0)] == [Picture, ImageError, Picture]


def naive_region(entry, target, seen, picture):
    """Pixel by pixel: its centre, taken back through crop and resize into the picture."""
    left, top, right, bottom = seen.box(picture)
    height, width = seen.crop
    found = np.zeros((height, width), bool)
    for i in range(height):
        for j in range(width):
            x, y = left + (j + 0.5) / width * (right - left), top + (i + 0.5) / height * (bottom - top)
            for box in entry.boxes:
                hit = box.left <= x < box.right and box.top <= y < box.bottom
                found[i, j] |= hit and (box.label is None or box.label == target)
    return found


SIZES = [
    (50, 78),
    (91, 47),
    (30, 30),
    (11, 13),
]  # not divisible by 8: no centre lies between two pixels of a mask
BOXES = (
    Box(0.1, 0.2, 0.45, 0.9, 3),
    Box(0.4, 0, 1, 0.35),
    Box(0, 0.9, 0.01, 1, 3),
    Box(0.6, 0.6, 0.8, 0.8, 5),
)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seen", [CROPPED, SQUASHED, PADDED], ids=["cropped", "squashed", "padded"])
def test_a_region_is_where_boxes_of_the_class_are(size, seen):
    entry, picture = Entry("a", Path("a"), boxes=BOXES), blank(*size)
    for target in (3, 5, 0):
        found = region(entry, target, seen, picture)
        assert found.dtype == torch.bool
        assert np.array_equal(found.numpy(), naive_region(entry, target, seen, picture))
        assert found.any()


def test_a_region_of_known_corners():
    """A picture of 64 x 32 at its own size, of which the middle 28 x 28 is seen: from column 18, row 2."""
    entry, picture = Entry("a", Path("a"), boxes=(Box(20 / 64, 0, 40 / 64, 5.4 / 32, 1),)), blank(64, 32)
    expected = torch.zeros(28, 28, dtype=torch.bool)
    expected[:3, 2:22] = True  # rows 2 to 4 of the picture; the centre of row 5 is below 5.4
    assert torch.equal(region(entry, 1, CROPPED, picture), expected)
    assert not region(entry, 0, CROPPED, picture).any()
    assert region(Entry("a", Path("a")), 1, CROPPED, picture) is None
    [seen] = boxes_seen(entry, 1, CROPPED, picture)
    assert seen == pytest.approx((2, 0, 22, 3.4))
    assert boxes_seen(entry, 0, CROPPED, picture) == ()


def test_boxes_seen_leave_out_what_the_crop_cuts_off():
    picture = blank(64, 32)
    entry = Entry("a", Path("a"), boxes=(Box(0, 0, 18 / 64, 1), Box(0, 0, 1, 1), Box(0, 0, 1, 2 / 32)))
    assert boxes_seen(entry, 0, CROPPED, picture) == ((0, 0, 28, 28),)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seen", [CROPPED, SQUASHED, PADDED], ids=["cropped", "squashed", "padded"])
def test_a_region_is_read_from_the_mask_first(tmp_path, size, seen):
    """Resized by Pillow to the nearest pixel and cropped by torchvision."""
    values = np.random.default_rng(0).choice(np.array([0, 4, 6, 255], np.uint8), size[::-1])
    mask = Image.frombytes("P", size, values.tobytes())
    mask.putpalette(list(range(256)) * 3)
    mask.save(tmp_path / "mask.png")
    entry = Entry("a", tmp_path / "a.jpg", boxes=BOXES, mask=tmp_path / "mask.png")
    resize = [seen.resize] if isinstance(seen.resize, int) else list(seen.resize)
    cropped = np.asarray(F.center_crop(F.resize(mask, resize, InterpolationMode.NEAREST), list(seen.crop)))
    for target in (3, 5, 0):
        found = region(entry, target, seen, blank(*size))
        assert np.array_equal(found.numpy(), cropped == target + 1)
        assert found.any() == (target != 0)


def test_a_bad_mask_is_refused_by_name(tmp_path):
    Image.new("RGB", (40, 20)).save(tmp_path / "colours.png")
    write(tmp_path / "text.png", "no picture")
    for name in ("colours.png", "text.png", "none.png"):
        with pytest.raises(DatasetError, match=f"{name} cannot be read as a mask") as refusal:
            region(Entry("a", Path("a"), mask=tmp_path / name), 0, CROPPED, blank(40, 20))
        assert one_sentence(refusal)


def test_the_validation_pictures(shared_data):
    folder = shared_data / "validation"
    with (folder / "labels.csv").open() as file:
        labels = {row["file"]: int(row["class_index"]) for row in csv.DictReader(file)}
    with (folder / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    entries = open_dataset(folder, classes=IMAGENET, labels=folder / "labels.csv", boxes=folder / "boxes.csv")
    assert len(entries) == 300
    assert {entry.identifier: entry.labels for entry in entries} == {
        name: (label,) for name, label in labels.items()
    }
    assert sum(len(entry.boxes) for entry in entries) == len(rows)
    whole = Preprocessing((227, 227), (227, 227), "bilinear", (0.5,) * 3, (0.25,) * 3)
    for entry in entries[::30]:
        expected = np.zeros((227, 227), bool)
        for row in rows:
            if row["file"] == entry.identifier:
                x0, y0, x1, y1 = (float(row[side]) for side in ("x0", "y0", "x1", "y1"))
                for i in range(227):
                    for j in range(227):
                        expected[i, j] |= x0 <= j + 0.5 < x1 and y0 <= i + 0.5 < y1
        found = region(entry, 0, whole, load(entry.path))
        assert 0 < expected.mean() < 1
        assert float(found.double().mean()) == pytest.approx(expected.mean(), abs=1e-9)


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path):
    entries = [Entry(name, tmp_path / name) for name in ("a.png", "b.png")]
    pictures = ahead(entries, 0)
    photo(tmp_path / "a.png")
    assert next(pictures)[1].width == 40
    photo(tmp_path / "b.png")
    assert next(pictures)[1].width == 40


def test_workers_decode_in_order_and_only_a_little_ahead(tmp_path):
    """Files that come into being after the first was handed over are still found."""
    entries = [Entry(str(number), tmp_path / f"{number}.png") for number in range(12)]
    for number, entry in enumerate(entries[:5]):
        photo(entry.path, (40 + number, 20))
    entries[1].path.write_bytes(b"no picture")
    pictures = ahead(entries, 2)
    found = [next(pictures)]
    for number, entry in enumerate(entries[5:], start=5):
        photo(entry.path, (40 + number, 20))
    found += pictures
    assert [entry for entry, _ in found] == entries
    for number, (entry, picture) in enumerate(found):
        if number == 1:
            assert isinstance(picture, ImageError)
            assert str(picture).startswith('"1.png" is no JPEG')
        else:
            assert (picture.width, picture.digest) == (40 + number, load(entry.path).digest)
            assert np.array_equal(picture.pixels, load(entry.path).pixels)
            assert not picture.pixels.flags.writeable
    assert not multiprocessing.active_children()


def test_workers_end_when_nobody_waits_for_them(tmp_path):
    path = photo(tmp_path / "a.png")
    pictures = ahead([Entry(str(number), path) for number in range(50)], 1)
    next(pictures)
    assert len(multiprocessing.active_children()) == 1
    pictures.close()
    assert not multiprocessing.active_children()


KILLED = """
import os, signal, sys
from pathlib import Path
from explorer.dataset import Entry, ahead
pictures = ahead([Entry(str(number), Path(sys.argv[1])) for number in range(50)], 2)
print(next(pictures)[1].width, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_consumer_that_is_killed(tmp_path):
    """They share its standard output, which ends when the last of them has. A picture here fills the pipe."""
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    command = [sys.executable, "-c", KILLED, str(tmp_path / "noise.png")]
    consumer = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    try:
        output, _ = consumer.communicate(timeout=120)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(consumer.pid, signal.SIGKILL)
    assert (consumer.returncode, output) == (-signal.SIGKILL, "700\n")
