"""torchvision's own readers, integrity checks and downloads, on small files in the real formats that we make here.

Only the md5 sums that torchvision expects are replaced, by those of our files: the comparison itself runs.
"""

import functools
import gzip
import hashlib
import http.client
import http.server
import pickle
import socket
import struct
import tarfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10, FashionMNIST

from vitedu.data import downloads
from vitedu.data.datasets import load
from vitedu.data.errors import DataError

RNG = np.random.default_rng(0)
SIZES = {"train": 24, "t10k": 10}
GRAY = {part: RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8) for part, n in SIZES.items()}
LABELS = {part: (np.arange(n) % 10).astype(np.uint8) for part, n in SIZES.items()}
OFFLINE = 'load("digits") and load("pairs") need no network'


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def idx(array: np.ndarray) -> bytes:
    """The idx format: 0, 0, type 8 (bytes), number of dimensions, sizes as big-endian integers, the bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def no_network(monkeypatch):
    """Every connection is refused, as it is without a network."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError(socket.gaierror(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def fashion(tmp_path, monkeypatch) -> Path:
    """A cache folder with Fashion-MNIST's four files, as they are downloaded."""
    raw = tmp_path / "cache" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    resources = []
    for part in SIZES:
        for kind, array in (("images-idx3", GRAY[part]), ("labels-idx1", LABELS[part])):
            path = raw / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(idx(array)))
            resources.append((path.name, md5(path)))
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    return tmp_path / "cache"


@pytest.fixture
def cifar(tmp_path, monkeypatch) -> Path:
    """A cache folder with CIFAR-10's archive, as it is downloaded: six pickled batches and the class names."""
    inside = tmp_path / "made" / CIFAR10.base_folder
    inside.mkdir(parents=True)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(names):
        rows = np.full((4, 3072), 10 * i, dtype=np.uint8)
        rows[:, :1024] += np.arange(4, dtype=np.uint8)[:, None]  # the red plane comes first,
        rows[:, :32] += 100  # in it the top row of pixels
        (inside / name).write_bytes(pickle.dumps({"data": rows, "labels": [i, 1, 2, 3]}))
    (inside / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))
    listed = [[name, md5(inside / name)] for name in names]
    cache = tmp_path / "cache"
    cache.mkdir()
    with tarfile.open(cache / CIFAR10.filename, "w:gz") as archive:
        archive.add(inside, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "train_list", listed[:5])
    monkeypatch.setattr(CIFAR10, "test_list", listed[5:])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(inside / "batches.meta")})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(cache / CIFAR10.filename))
    return cache


def photos(folder: Path, classes: dict[str, int], size: tuple[int, int] = (40, 30)) -> Path:
    """A folder of PNG files for each class, in one gray a class, of different shades."""
    for shade, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (60 * shade + i, 10, 200)).save(folder / name / f"{i}.png")
    return folder


def sentence(call, *words: str) -> str:
    """The one sentence of the DataError that a call raises; the words are in it."""
    with pytest.raises(DataError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said and all(word in said for word in words), said
    return said


# --- Fashion-MNIST ---


def test_fashion_mnist_is_read_as_it_was_written(fashion, no_network):
    data = load("fashion-mnist", root=fashion)
    images, labels = data.train.tensors
    assert data.shape == (1, 28, 28) and data.classes[1] == "Trouser" and len(data.classes) == 10
    back = (images * data.std[0] + data.mean[0]) * 255
    assert np.array_equal(back.round().numpy()[:, 0].astype(np.uint8), GRAY["train"])
    assert labels.tolist() == LABELS["train"].tolist() and len(data.test) == 10
    assert abs(images.mean()) < 1e-5 and images.std().item() == pytest.approx(1, abs=1e-4)
    assert data.mean[0] == pytest.approx(GRAY["train"].mean() / 255, abs=1e-5)  # of the training images alone


def test_the_cache_folder_comes_from_the_environment(fashion, no_network, monkeypatch, tmp_path):
    monkeypatch.setenv("VITEDU_DATA", str(fashion))
    assert len(load("fashion-mnist", train=5).train) == 5
    assert downloads.present("fashion-mnist") and not downloads.present("cifar10")
    monkeypatch.delenv("VITEDU_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert downloads.cache_folder() == tmp_path / "xdg" / "vitedu"


@pytest.mark.parametrize("harm", [lambda b: b[:-9], lambda b: b[:40] + b"\x00" + b[41:]], ids=["cut off", "wrong md5"])
def test_a_damaged_download_is_named(fashion, no_network, harm):
    path = fashion / "FashionMNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    expected = md5(path)
    path.write_bytes(harm(path.read_bytes()))
    sentence(lambda: load("fashion-mnist", root=fashion), str(path), expected, md5(path), "delete it", OFFLINE)


def test_an_unpacked_file_that_was_cut_off_is_named(fashion, no_network):
    load("fashion-mnist", root=fashion)
    path = fashion / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-100])
    sentence(lambda: load("fashion-mnist", root=fashion), str(path.parent), "damaged", "delete that folder")


def test_images_without_their_labels_are_named(fashion, no_network):
    load("fashion-mnist", root=fashion)
    (fashion / "FashionMNIST" / "raw" / "train-labels-idx1-ubyte").write_bytes(idx(LABELS["t10k"]))
    sentence(lambda: load("fashion-mnist", root=fashion), "damaged")


# --- CIFAR-10 ---


def test_cifar10_is_unpacked_and_read(cifar, no_network):
    data = load("cifar10", root=cifar)
    images, labels = data.train.tensors
    assert data.shape == (3, 32, 32) and len(data.train) == 20 and len(data.test) == 4
    assert labels[:8].tolist() == [0, 1, 2, 3, 1, 1, 2, 3] and data.classes == tuple(f"class {i}" for i in range(10))
    mean, std = (torch.tensor(x)[:, None, None] for x in (data.mean, data.std))
    back = ((images[5] * std + mean) * 255).round()
    assert back[0, 0].unique().tolist() == [111] and back[0, 1:].unique().tolist() == [11]
    assert back[1:].unique().tolist() == [10]


def test_a_damaged_batch_is_healed_from_the_archive(cifar, no_network):
    load("cifar10", root=cifar)
    path = cifar / CIFAR10.base_folder / "data_batch_2"
    path.write_bytes(b"nothing")
    assert len(load("cifar10", root=cifar).train) == 20


def test_a_damaged_archive_is_named(cifar, no_network):
    path = cifar / CIFAR10.filename
    path.write_bytes(path.read_bytes()[:-50])
    sentence(lambda: load("cifar10", root=cifar), str(path), CIFAR10.tgz_md5, "delete it", OFFLINE)


# --- no network, and a real download ---


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10"])
def test_no_network_names_the_offline_default(name, tmp_path, no_network):
    sentence(lambda: load(name, root=tmp_path / "empty"), name, "no network", OFFLINE)
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    "error", [TimeoutError("timed out"), ConnectionResetError(104, "reset"), http.client.HTTPException()]
)
def test_a_connection_that_breaks_off_is_no_network(error, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    sentence(lambda: load("cifar10", root=tmp_path), "no network", OFFLINE)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    sentence(lambda: load("fashion-mnist", root=tmp_path / "file"), "cannot be kept in", "root=...")


@pytest.fixture
def server(fashion, monkeypatch) -> Path:
    """Serves the four files on this machine; torchvision takes it for a mirror."""
    raw = fashion / "FashionMNIST" / "raw"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(raw))
    handler.log_message = lambda *args: None
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{serving.server_port}/"])
    yield raw
    serving.shutdown()
    serving.server_close()


def test_a_download_shows_a_bar_and_is_kept(server, tmp_path, capfd, monkeypatch):
    assert len(load("fashion-mnist", root=tmp_path / "new").train) == 24
    assert "100%" in capfd.readouterr().err
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: pytest.fail("the second time nothing is downloaded"))
    assert len(load("fashion-mnist", root=tmp_path / "new").train) == 24


def test_a_download_with_another_content_is_refused(server, tmp_path):
    (server / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS["t10k"])))
    sentence(lambda: load("fashion-mnist", root=tmp_path / "new"), "train-labels-idx1-ubyte.gz", "damaged", "md5")


# --- a folder of images ---


def test_a_folder_of_images(tmp_path):
    photos(tmp_path / "own", {"cat": 10, "dog": 15})
    data = load("folder:own", root=tmp_path, size=20)
    assert data.shape == (3, 20, 20) and data.classes == ("cat", "dog")
    assert (len(data.train), len(data.test)) == (20, 5)
    mean, std = (torch.tensor(x)[:, None, None] for x in (data.mean, data.std))
    for part in (data.train, data.test):
        for image, label in part:
            red = ((image * std + mean)[0] * 255).round()
            assert red.max() == red.min() and red.min() // 60 == label  # each image kept its own label
    assert data.gallery().alt.startswith("9 images: ")


def test_the_middle_of_an_image_is_cut_out(tmp_path):
    image = np.zeros((20, 60, 3), dtype=np.uint8)
    image[:, 20:40] = 255  # the middle third is white
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(image).save(tmp_path / name / "1.png")
    (whole,), _ = downloads.folder(tmp_path, 20)
    assert whole[0].shape == (2, 3, 20, 20) and whole[0].min() == 255


@pytest.mark.parametrize("held_out", ["test", "val"])
def test_a_folder_with_a_test_set_of_its_own(tmp_path, held_out):
    photos(tmp_path / "train", {"cat": 4, "dog": 3})
    photos(tmp_path / held_out, {"cat": 2, "dog": 1})
    data = load(f"folder:{tmp_path}", size=8)
    assert (len(data.train), len(data.test)) == (7, 3) and data.test.tensors[1].tolist() == [0, 0, 1]


def test_a_folder_that_does_not_fit(tmp_path):
    sentence(lambda: load("folder:nowhere", root=tmp_path), "nowhere", "a folder of images for each class")
    (tmp_path / "bare").mkdir()
    sentence(lambda: load("folder:bare", root=tmp_path), "bare", "for each class")
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    sentence(lambda: load("folder:empty", root=tmp_path), "empty", ".png")
    photos(tmp_path / "two" / "train", {"cat": 1, "dog": 1})
    photos(tmp_path / "two" / "test", {"cat": 1})
    sentence(lambda: load("folder:two", root=tmp_path), "the same classes")
    photos(tmp_path / "one", {"cat": 1})
    sentence(lambda: load("folder:one", root=tmp_path), "one", "at least 2 images")
    sentence(lambda: load("folder:one", root=tmp_path, size=0), "size in pixels from 1")


@pytest.mark.parametrize("harm", [lambda b: b[: len(b) // 2], lambda b: b"no image"], ids=["cut off", "no image"])
def test_an_image_that_cannot_be_read_is_named(tmp_path, harm):
    path = photos(tmp_path, {"cat": 2, "dog": 2}) / "dog" / "1.png"
    path.write_bytes(harm(path.read_bytes()))
    sentence(lambda: load(f"folder:{tmp_path}"), str(path), "mend or delete it")
