"""Lab 6's exam of transforms and loaders, by images of one colour, a ramp, and pictures that know their number."""

from __future__ import annotations

import torch

from autograder.exams.lab6.problems import CODE, TRACKERS, WRITING
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Draw
from vitedu.probe.case import Case

WHITE, RED = (255, 255, 255), (255, 0, 0)


def loading_cases(draw: Draw) -> list[Case]:
    """Both transforms, square images and others, larger and smaller than asked; two splits."""

    def transform(name: str, train: bool, size: int, sides: tuple[int, int]) -> Case:
        colour = draw.sizes(3, 20, 235)
        numbers = {
            "size": size, "mean": hundredths(3, 30, 60), "std": hundredths(3, 15, 40), "train": train,
            "colours": torch.tensor([WHITE, RED, colour]), "sides": sides,
        }  # fmt: skip
        return Case(name, "make_transforms", kwargs=numbers, script="lab6.transform")

    def hundredths(count: int, low: int, high: int) -> tuple[float, ...]:
        return tuple(number / 100 for number in draw.sizes(count, low, high))

    def loaders(name: str, batch: int, train_batches: int, over: int, held: int) -> Case:
        """So many training images that the last batch is smaller, and a share that comes out even."""
        train = batch * train_batches + over
        seed, other = draw.sizes(2, 1, 10_000)
        numbers = {
            "count": train + held, "batch_size": batch, "val_fraction": held / (train + held),
            "seed": seed, "other_seed": other,
        }  # fmt: skip
        return Case(name, "make_loaders", kwargs=numbers, script="lab6.loaders")

    small, large = draw.sizes(2, 12, 24)
    side, wide, high = draw.sizes(3, 44, 60)  # twice as wide as any is high: a small size rounds other ratios away
    (batch,) = draw.sizes(1, 4, 7)
    return [
        transform("for validation, images larger than asked", False, small, (side, side)),
        transform("for validation, images that are not square", False, large, (2 * wide, high)),
        transform("for training, square images", True, small, (side, side)),
        transform("for training, images smaller than asked", True, large + 40, (wide, wide)),
        loaders("a split with a smaller last batch", batch, 3, batch - 2, batch + 3),
        loaders("a split in which few are held out", batch + 1, 5, 1, batch),
    ]


L = CODE["loading"]
FIRST = "    first = v2.RandomResizedCrop(size, scale=(0.75, 1.0)) if train else v2.Resize((size, size))\n"
CROP, RESIZE = "v2.RandomResizedCrop(size, scale=(0.75, 1.0))", "v2.Resize((size, size))"
FLOATS, NORMAL = "v2.ToDtype(torch.float32, scale=True)", "v2.Normalize(mean, std)"
COMPOSED = "v2.Compose([first, v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])"
LOADERS = L[L.index("    order = torch.randperm") :]
RETURN = "return loader(order[held_out:], train_transform, True), loader(order[:held_out], val_transform, False)"


def by_hand(body: str) -> str:
    """The cell with a transform that is a function: `image` is a Pillow image, already of the right size."""
    lines = "".join(f"        {line}\n" for line in body.split("\n"))
    return changed(L, (f"    return {COMPOSED}\n", f"    def apply(image):\n        image = first(image)\n{lines}\n"
                       "    m, s = (torch.tensor(numbers)[:, None, None] for numbers in (mean, std))\n"
                       "    return apply\n"))  # fmt: skip


ARRAY = "x = torch.from_numpy(np.array(image)).float() / 255"
LOADING_WRONG = (
    Misconception(
        "own-statistics",
        "each image is normalised by its own mean and deviation instead of those of the pretraining",
        "What is left of a white image when its own mean is taken off?",
        by_hand(f"{ARRAY}\nx = x.permute(2, 0, 1)\nreturn (x - x.mean()) / (x.std() + 1e-6)"),
        (132,), TRACKERS,
    ),
    Misconception(
        "imagenet-s-statistics-written-in",
        "ImageNet's mean and deviation are written into the code, whatever mean and std say",
        "With which mean and std were these weights trained, and which arguments say so?",
        changed(L, (NORMAL, "v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))")),
        (125, 130), TRACKERS,
    ),
    Misconception(
        "size-ignored",
        "images keep the size in which they came",
        "Which size does the pretrained model expect, and which argument says so?",
        changed(L, (FIRST, "    first = v2.RandomCrop(40) if train else v2.Identity()\n")),
        (125,), TRACKERS,
    ),
    Misconception(
        "not-normalised",
        "mean and std are not used at all",
        "What are the mean and std arguments for?",
        changed(L, (f", {NORMAL}", "")),
        (130,), TRACKERS,
    ),
    Misconception(
        "mean-and-std-swapped",
        "mean and std have changed places in the normalisation",
        "Which of the two is taken off, and which is divided by?",
        changed(L, (NORMAL, "v2.Normalize(std, mean)")),
        (130,), TRACKERS,
    ),
    Misconception(
        "normalised-twice",
        "images are normalised twice",
        "How often is the mean taken off?",
        changed(L, (NORMAL, f"{NORMAL}, {NORMAL}")),
        (130,), TRACKERS,
    ),
    Misconception(
        "normalised-in-training-only",
        "only training images are normalised",
        "What does the model see when it is validated?",
        changed(L, (f", {NORMAL}])", f", {NORMAL} if train else v2.Identity()])")),
        (130,), TRACKERS,
    ),
    Misconception(
        "normalised-before-scaling",
        "mean and std, which are meant for pixels from 0 to 1, are used on pixels from 0 to 255",
        "How large is a white pixel when the mean is taken off?",
        changed(L, (FLOATS, "v2.ToDtype(torch.float32)")),
        (130,), TRACKERS,
    ),
    Misconception(
        "divided-by-255-twice",
        "pixels are divided by 255 twice, once by torchvision and once more by hand",
        "What is the largest value of a white image before it is normalised?",
        changed(L, (FLOATS, f"{FLOATS}, lambda x: x / 255")),
        (131,), TRACKERS,
    ),
    Misconception(
        "reshaped-to-channels-first",
        "the image is reshaped to (3, size, size) instead of having its axes exchanged, which mixes the channels",
        "In which order do the numbers of one pixel lie in memory, and does a reshape change that?",
        by_hand(f"{ARRAY}\nx = x.reshape(3, size, size)\nreturn (x - m) / s"),
        (133,), TRACKERS,
    ),
    Misconception(
        "blue-before-red",
        "the channels come as blue, green, red",
        "Which channel of a red image is bright in your tensor?",
        by_hand(f"{ARRAY}\nx = x.permute(2, 0, 1).flip(0)\nreturn (x - m) / s"),
        (133,), TRACKERS,
    ),
    Misconception(
        "height-and-width-exchanged",
        "rows and columns of the image are exchanged",
        "Where is the top left corner of the image in your tensor, and where is the top right one?",
        by_hand(f"{ARRAY}\nx = x.permute(2, 1, 0)\nreturn (x - m) / s"),
        (133,), WRITING,
    ),
    Misconception(
        "augmented-in-validation",
        "a random piece is cut out in validation, too, so that the same image gives another result each time",
        "Do two calls with train=False give the same?",
        changed(L, (f" if train else {RESIZE}", "")),
        (128,), TRACKERS,
    ),
    Misconception(
        "never-augmented",
        "nothing is random in training",
        "Do two calls with train=True give the same?",
        changed(L, (f"{CROP} if train else {RESIZE}", RESIZE)),
        (129,), TRACKERS,
    ),
    Misconception(
        "train-the-wrong-way-round",
        "train is taken the wrong way round: pieces are cut out in validation, and not in training",
        "Which of the two transforms may differ from call to call?",
        changed(L, (f"{CROP} if train else {RESIZE}", f"{RESIZE} if train else {CROP}")),
        (128,), WRITING,
    ),
    Misconception(
        "mirrored",
        "training images are mirrored left to right, which turns the class left into the class right",
        "What is the label of a mirrored image in this task?",
        changed(L, (CROP, f"v2.Compose([{CROP}, v2.RandomHorizontalFlip()])")),
        (134,), TRACKERS,
    ),
    Misconception(
        "upside-down",
        "training images are turned upside down, which turns the class above into the class below",
        "What is the label of an image that stands on its head in this task?",
        changed(L, (CROP, f"v2.Compose([{CROP}, v2.RandomVerticalFlip()])")),
        (134,), TRACKERS,
    ),
    Misconception(
        "crops-of-a-tenth",
        "the random piece may be as small as 8 percent of the image, RandomResizedCrop's default, in which no object "
        "may be left",
        "Which share of the image does the smallest piece keep?",
        changed(L, (", scale=(0.75, 1.0)", "")),
        (134,), TRACKERS,
    ),
    Misconception(
        "border-cut-off-in-validation",
        "in validation the image is resized to more than the size and its middle cut out, so that the border is lost",
        "Is the outermost column of the image still in your tensor?",
        changed(L, (RESIZE, "v2.Compose([v2.Resize((size * 8 // 7, size * 8 // 7)), v2.CenterCrop(size)])")),
        (125,), TRACKERS,
    ),
    Misconception(
        "shorter-side-only",
        "only the shorter side is brought to the size, so that images that are not square stay so",
        "What does Resize do with one number, and what with a pair?",
        changed(L, (RESIZE, "v2.Resize(size)")),
        (125,), TRACKERS,
    ),
    Misconception(
        "black-at-the-edges",
        "the image is padded with black before a piece is cut out, so that there are edges that no image has",
        "Which value has a corner of a white image after your transform?",
        changed(L, (CROP, "v2.Compose([v2.Resize((size, size)), v2.RandomCrop(size, padding=max(1, size // 10))])")),
        (134,), TRACKERS,
    ),
    Misconception(
        "colours-changed",
        "the colours of training images are changed at random",
        "Is a white image still white after your transform?",
        changed(L, (CROP, f"v2.Compose([{CROP}, v2.RandomInvert(1.0)])")),
        (134,), WRITING,
    ),
    Misconception(
        "one-transform-for-both-parts",
        "both parts of the split share one data set, so that the transform that is set last, the validation's, holds "
        "for both",
        "random_split returns two views of how many data sets?",
        changed(L, ("seen = copy.copy(dataset)", "seen = shared"),
                ("    def loader(", "    shared = copy.copy(dataset)\n\n    def loader(")),
        (129,), TRACKERS,
    ),
    Misconception(
        "training-transform-for-both",
        "validation images go through the training transform, too",
        "Which transform did you give to the validation part?",
        changed(L, ("val_transform, False)", "train_transform, False)")),
        (128,), TRACKERS,
    ),
    Misconception(
        "transforms-exchanged",
        "training images go through the validation transform, and the other way round",
        "Which transform did you give to which part?",
        changed(L, ("train_transform, True)", "val_transform, True)"),
                ("val_transform, False)", "train_transform, False)")),
        (128,), WRITING,
    ),
    Misconception(
        "labels-separated-from-images",
        "images and labels are put in order separately, or picked by different indices, so that they no longer belong "
        "together",
        "What is the label of image 7 in the data set, and what is it in your loader?",
        changed(L, (RETURN,
                    "mixed = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed + 1)).tolist()\n"
                    "    pairs = [(i, dataset[j][1]) for i, j in zip(order, mixed)]\n"
                    "    train = [(train_transform(dataset[i][0]), y) for i, y in pairs[held_out:]]\n"
                    "    val = [(val_transform(dataset[i][0]), y) for i, y in pairs[:held_out]]\n"
                    "    return DataLoader(train, batch_size, shuffle=True), DataLoader(val, batch_size)")),
        (135,), TRACKERS,
    ),
    Misconception(
        "trains-on-all-images",
        "the training part holds all images, those of the validation, too",
        "How many samples do your two parts have together?",
        changed(L, ("loader(order[held_out:], train", "loader(order, train")),
        (), TRACKERS,
    ),
    Misconception(
        "seed-ignored",
        "the split is another one at each call, because it is drawn from torch's global random numbers",
        "What does your split do with the seed?",
        changed(L, (", generator=torch.Generator().manual_seed(seed)", "")),
        (), TRACKERS,
    ),
    Misconception(
        "seed-written-in",
        "the split is always the same, because a seed is written into the code",
        "What does your split do with the argument seed?",
        changed(L, ("manual_seed(seed)", "manual_seed(42)")),
        (), TRACKERS,
    ),
    Misconception(
        "not-mixed",
        "the first images are held out, without any mixing",
        "What is in the validation part when the data set is sorted by class?",
        changed(L, ("torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist()",
                    "list(range(len(dataset)))")),
        (), TRACKERS,
    ),
    Misconception(
        "training-not-shuffled",
        "training batches come in the same order in every epoch",
        "Are the batches of the second epoch those of the first?",
        changed(L, ("train_transform, True)", "train_transform, False)")),
        (), TRACKERS,
    ),
    Misconception(
        "validation-shuffled",
        "validation batches come in another order each time",
        "What is shuffling good for where nothing is learned?",
        changed(L, ("val_transform, False)", "val_transform, True)")),
        (), WRITING,
    ),
    Misconception(
        "last-batch-dropped",
        "the last batch is dropped when it is smaller than the others",
        "How many samples does your loader yield, and how many are there?",
        changed(L, ("batch_size, shuffle=shuffle)", "batch_size, shuffle=shuffle, drop_last=True)")),
        (), TRACKERS,
    ),
    Misconception(
        "parts-exchanged",
        "val_fraction is taken as the share of the training part",
        "Which of the two parts is the larger one when val_fraction is 0.1?",
        changed(L, ("held_out = round(val_fraction * len(dataset))",
                    "held_out = len(dataset) - round(val_fraction * len(dataset))")),
        (), WRITING,
    ),
    Misconception(
        "caller-s-data-set-changed",
        "the transform is left in the data set that the caller gave",
        "What does dataset.transform hold after the call, and who else reads from that data set?",
        changed(L, (RETURN, "dataset.transform = train_transform\n    " + RETURN.replace("return ", "pair = ")
                    + "\n    return pair")),
        (129,), WRITING,
    ),
)  # fmt: skip
SPLIT = """
class Seen(Dataset):
    def __init__(self, dataset, indices, transform):
        self.dataset, self.indices, self.transform = dataset, list(indices), transform

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, i):
        image, label = self.dataset[self.indices[i]]
        return self.transform(image), label


def make_loaders(dataset, train_transform, val_transform, batch_size, val_fraction, seed):
    n_val = int(val_fraction * len(dataset) + 0.5)
    order = np.random.default_rng(seed).permutation(len(dataset))
    train, val = Seen(dataset, order[n_val:], train_transform), Seen(dataset, order[:n_val], val_transform)
    return DataLoader(train, batch_size=batch_size, shuffle=True), DataLoader(val, batch_size=batch_size)
"""
RANDOM_SPLIT = """
def make_loaders(dataset, train_transform, val_transform, batch_size, val_fraction, seed):
    from torch.utils.data import random_split

    n_val = round(len(dataset) * val_fraction)
    parts = random_split(dataset, [len(dataset) - n_val, n_val], generator=torch.Generator().manual_seed(seed))
    train, val = parts

    def collate(transform):
        def together(samples):
            return torch.stack([transform(image) for image, _ in samples]), torch.tensor([y for _, y in samples])

        return together

    return (
        DataLoader(train, batch_size, shuffle=True, collate_fn=collate(train_transform)),
        DataLoader(val, batch_size, shuffle=False, collate_fn=collate(val_transform)),
    )
"""
DEEP = """
def make_loaders(dataset, train_transform, val_transform, batch_size, val_fraction, seed):
    from sklearn.model_selection import train_test_split
    from torch.utils.data import RandomSampler

    n_val = round(len(dataset) * val_fraction)
    train_idx, val_idx = train_test_split(range(len(dataset)), test_size=n_val, random_state=seed)
    one, two = copy.deepcopy(dataset), copy.deepcopy(dataset)
    one.transform, two.transform = train_transform, val_transform
    train, val = Subset(one, train_idx), Subset(two, sorted(val_idx))
    return DataLoader(train, batch_size, sampler=RandomSampler(train)), DataLoader(val, batch_size)
"""
LOADING_OTHER = (
    Alternative("torchvision's first transforms, a wrapper around the data set", '''
def make_transforms(size, mean, std, train):
    steps = [transforms.RandomResizedCrop(size, scale=(0.8, 1.0))] if train else [transforms.Resize((size, size))]
    return transforms.Compose(steps + [transforms.ToTensor(), transforms.Normalize(mean=mean, std=std)])
''' + SPLIT),
    Alternative("numpy and Pillow, transforms while collating", '''
def make_transforms(size, mean, std, train):
    def apply(image):
        if train:
            w, h = image.size
            cw, ch = int(w * np.random.uniform(0.9, 1)), int(h * np.random.uniform(0.9, 1))
            x, y = np.random.randint(0, w - cw + 1), np.random.randint(0, h - ch + 1)
            image = image.crop((x, y, x + cw, y + ch))
        array = np.asarray(image.resize((size, size), Image.BILINEAR), dtype=np.float32) / 255.0
        array = (array - np.array(mean, dtype=np.float32)) / np.array(std, dtype=np.float32)
        return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))

    return apply
''' + RANDOM_SPLIT),
    Alternative("tensors first, F.interpolate, scikit-learn's split", '''
def make_transforms(size, mean, std, train):
    m, s = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    def apply(image):
        x = v2.functional.pil_to_tensor(image).float() / 255
        if train:
            h, w = x.shape[1:]
            keep = 0.88 + 0.12 * torch.rand(2)
            kh, kw = math.ceil(h * keep[0]), math.ceil(w * keep[1])
            top, left = int(torch.randint(h - kh + 1, ())), int(torch.randint(w - kw + 1, ()))
            x = x[:, top : top + kh, left : left + kw]
        x = F.interpolate(x[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]
        return (x - m) / s

    return apply
''' + DEEP),
    Alternative("in the style of timm: bicubic, a module, a tensor by hand", '''
class ToModel(nn.Module):
    def __init__(self, size, mean, std, train):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1) * 255)
        bicubic = transforms.InterpolationMode.BICUBIC
        self.crop = transforms.RandomResizedCrop(size, scale=(0.85, 1.0), ratio=(0.9, 1.1), interpolation=bicubic)
        self.whole = transforms.Resize((size, size), interpolation=bicubic)
        self.augment = train

    def forward(self, image):
        image = self.crop(image) if self.augment else self.whole(image)
        x = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)
        return x.permute(2, 0, 1).float().sub(self.mean).div(self.std)


def make_transforms(size, mean, std, train):
    return ToModel(size, mean, std, train)
''' + SPLIT),
    Alternative("a shift with the edge repeated, einsum for the scaling", '''
def make_transforms(size, mean, std, train):
    scale = torch.diag(1 / (255 * torch.tensor(std, dtype=torch.float64)))
    shift = torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)

    def apply(image):
        image = image.resize((size, size))
        x = torch.tensor(np.array(image), dtype=torch.float64)  # (H, W, C)
        x = torch.einsum("hwc,dc->dhw", x, scale) - shift[:, None, None]
        if train:
            p = max(1, size // 12)
            top, left = torch.randint(2 * p + 1, (2,)).tolist()
            x = F.pad(x[None], (p, p, p, p), mode="replicate")[0, :, top : top + size, left : left + size]
        return x.float()

    return apply
''' + RANDOM_SPLIT),
    Alternative("v2's functional, in the style of torchvision's references", '''
def make_transforms(size, mean, std, train):
    def apply(image):
        if train:
            i, j, h, w = transforms.RandomResizedCrop.get_params(image, scale=(0.78, 1.0), ratio=(0.95, 1.05))
            image = v2.functional.crop(image, i, j, h, w)
        image = v2.functional.to_image(v2.functional.resize(image, [size, size], antialias=True))
        return v2.functional.normalize(v2.functional.to_dtype(image, torch.float32, scale=True), list(mean), list(std))

    return apply
''' + DEEP),
    Alternative("nearest neighbours by index", '''
def make_transforms(size, mean, std, train):
    def apply(image):
        x = torch.from_numpy(np.array(image)).to(torch.float64).moveaxis(-1, 0) / 255
        h, w = x.shape[1:]
        ch, cw, top, left = h, w, 0, 0
        if train:
            ch, cw = h - int(torch.randint(h // 9 + 1, ())), w - int(torch.randint(w // 9 + 1, ()))
            top, left = int(torch.randint(h - ch + 1, ())), int(torch.randint(w - cw + 1, ()))
        rows = top + torch.linspace(0, ch - 1, size).round().long()
        columns = left + torch.linspace(0, cw - 1, size).round().long()
        x = x.index_select(1, rows).index_select(2, columns)
        return torch.stack([(x[c] - mean[c]) / std[c] for c in range(3)]).float()

    return apply
''' + SPLIT),
)  # fmt: skip

EXERCISE = Exercise("loading", loading_cases, LOADING_WRONG, LOADING_OTHER)
