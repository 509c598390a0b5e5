"""Lab 6's exam of freezing: what learns, which dropouts act, which statistics move, on models with the real names."""

from __future__ import annotations

from autograder.exams.lab6.problems import CODE, LAST, REPORTS, TRACKERS, WRITING, images, standing_in
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ScenarioCase, Scoring


def freeze_cases(variant: Variant) -> list[ScenarioCase]:
    """Names that begin like others, BatchNorm, dropout inside and outside, tokens of no module, a name too many."""

    def case(
        name: str, kind: str, names: tuple[str, ...], raises: tuple[int, ...] | None = None, share: float = 1.0,
        mode: str = "train", frozen: bool = False,
    ) -> ScenarioCase:  # fmt: skip
        (width,), (classes,) = variant.sizes(1, 4, 6), variant.sizes(1, 3, 5)
        parameters = (
            standing_in(variant, kind, width, classes, drop=0.5)
            | {
                "names": names,
                "x": images(variant, kind, 3),
                "mode": mode,
            }
            | ({"frozen": True} if frozen else {})
        )
        scoring = Scoring(raises, share)
        return ScenarioCase(name, "freeze_all_but", parameters=parameters, scenario="lab6.freeze", scoring=scoring)

    (early,) = variant.sizes(1, 2, LAST - 2)
    (nowhere,) = variant.sizes(1, 30, 90)
    return [
        case("a dense layer among many, and the classifier", "densenet",
             ("features.denseblock2.denselayer1", "classifier")),
        case("a block whose name begins like others, and one of two heads", "deit", ("blocks.1", "head")),
        case("the last norm and a block", "deit", ("norm", f"blocks.{early}")),
        case("a block for the class token, and another head", "cait", ("blocks_token_only.1", f"blocks.{early}.mlp")),
        case("a name that no module has", "cait", ("head", f"blocks.{nowhere}"), raises=(nowhere,)),
        case("a name that no module has comes first", "deit", (f"blocks.{nowhere}", "norm"), (nowhere,), share=0.5),
        case("all blocks, whose dropout lies two levels below; a model that is found in eval mode", "deit", ("blocks",),
             share=0.5, mode="eval"),
        case("a norm, and layers whose norms lie two levels below", "densenet",
             ("features.norm5", "features.denseblock1"), share=0.5),
        case("the first layer; dropout is the last one", "resnet", ("conv1",), share=0.5),
        case("a model that is found frozen", "deit", ("blocks.2", "head_dist"), share=0.5, frozen=True),
    ]  # fmt: skip


Z = CODE["freeze_all_but"]
CHECKED = Z[Z.index("    missing = ") : Z.index("    model.requires_grad_(False)")]
FROZEN = "    model.requires_grad_(False)\n"
THAWED = "        modules[name].requires_grad_(True)\n"
REMEMBERED = "        learning.update(modules[name].modules())\n"
KINDS = "(nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)"
HELD = Z[Z.index("    kinds = ") :]


def matching(condition: str) -> str:
    """The cell with parameters and modules chosen by a condition on `name` and the names in module_names."""
    return changed(
        Z,
        ("    for name in module_names:\n" + THAWED + REMEMBERED,
         "    for name, p in model.named_parameters():\n"
         f"        p.requires_grad_(any({condition} for n in module_names))\n"
         f"    learning.update(m for name, m in modules.items() if any({condition} for n in module_names))\n"),
    )  # fmt: skip


FREEZE_WRONG = (
    Misconception(
        "nothing-frozen",
        "nothing is frozen: requires_grad was set on the whole model, where it is an attribute like any other, or "
        "requires_grad_ was overwritten instead of called",
        "Which of the model's parameters have requires_grad == False after your function?",
        changed(Z, (FROZEN, "    model.requires_grad = False\n")),
        (116, 117), TRACKERS,
    ),
    Misconception(
        "nothing-thawed",
        "the named modules are passed over when the rest is frozen, and stay frozen where they were frozen before",
        "What learns when the function is called on a model in which everything is frozen?",
        changed(Z, (FROZEN, """    for name, p in model.named_parameters():
        if not any(name.startswith(f"{n}.") for n in module_names):
            p.requires_grad_(False)
"""), (THAWED, "")),
        (), WRITING,
    ),
    Misconception(
        "part-of-a-name",
        "a parameter learns as soon as a given name is a part of its name, so that blocks.1 stands for blocks.10 and "
        "blocks.11, too, and norm for every norm",
        "Which parameters have 'blocks.1' somewhere in their name?",
        matching("n in name"),
        (118,), REPORTS,
    ),
    Misconception(
        "beginning-of-a-name",
        "a parameter learns as soon as its name begins with a given name, so that blocks.1 stands for blocks.10 and "
        "blocks.11, too, and head for head_dist",
        "Which names begin with 'blocks.1', and what has to come next so that it is that block?",
        matching("name.startswith(n)"),
        (118,), TRACKERS,
    ),
    Misconception(
        "numbers-counted-from-one",
        "the number at the end of a name is counted from one, so that the block before the named one learns",
        "Is 'blocks.1' the first or the second block, and do you have to compute anything with its name?",
        changed(Z, ("    learning = set()\n", '''    learning = set()
    parts = [name.rpartition(".") for name in module_names]
    module_names = [f"{a}.{int(c) - 1}" if c.isdigit() else f"{a}{b}{c}" for a, b, c in parts]
''')),
        (119,), TRACKERS,
    ),
    Misconception(
        "the-last-block-always",
        "the last block learns, whichever was named",
        "Which block did the caller name?",
        changed(Z, ("    learning = set()\n", '''    learning = set()
    module_names = [f"blocks.{len(model.blocks) - 1}" if n.startswith("blocks.") else n for n in module_names]
''')),
        (119,), WRITING,
    ),
    Misconception(
        "one-name-only",
        "only the module that is named last learns, because everything is frozen again for each name",
        "What does the second turn of your loop do to the module of the first?",
        changed(Z, (THAWED, "        model.requires_grad_(False)\n        learning.clear()\n" + THAWED)),
        (120,), TRACKERS,
    ),
    Misconception(
        "heads-frozen-as-well",
        "the heads are frozen, even if they are named",
        "Can the model learn new classes when its head is frozen?",
        changed(Z, ("    kinds = ", '''    for name in ("head", "head_dist", "classifier"):
        if name in modules:
            modules[name].requires_grad_(False)
    kinds = ''')),
        (120,), TRACKERS,
    ),
    Misconception(
        "heads-always-learn",
        "the heads learn, even if they are not named",
        "Which names did the caller give?",
        changed(Z, ("    kinds = ", '''    for name in ("head", "head_dist", "classifier"):
        if name in modules:
            modules[name].requires_grad_(True)
    kinds = ''')),
        (120,), WRITING,
    ),
    Misconception(
        "the-wrong-way-round",
        "the named modules are frozen, and everything else learns",
        "Freeze all *but*: what is to learn?",
        changed(Z, (FROZEN, "    model.requires_grad_(True)\n"),
                ("_(True)\n        learning", "_(False)\n        learning")),
        (), WRITING,
    ),
    Misconception(
        "norms-and-dropouts-left-in-training",
        "BatchNorm and Dropout of the frozen part go into training mode with the rest: eval() was not called, or the "
        "next train() undid it",
        "What does model.train() do with a module that you had put into evaluation mode?",
        changed(Z, (HELD, "")),
        (122,), TRACKERS,
    ),
    Misconception(
        "dropout-forgotten",
        "BatchNorm of the frozen part stays in evaluation mode, but Dropout does not",
        "Which layers behave differently in training, beside BatchNorm?",
        changed(Z, (KINDS, "nn.modules.batchnorm._BatchNorm")),
        (122,), TRACKERS,
    ),
    Misconception(
        "batchnorm-forgotten",
        "Dropout of the frozen part stays in evaluation mode, but BatchNorm does not, so that its running statistics "
        "move",
        "Which numbers of a frozen BatchNorm change in a forward pass without any gradient?",
        changed(Z, (KINDS, "nn.modules.dropout._DropoutNd")),
        (122,), TRACKERS,
    ),
    Misconception(
        "everything-in-evaluation-mode",
        "BatchNorm and Dropout stay in evaluation mode in the modules that learn as well",
        "What should Dropout do in a block that is trained?",
        changed(Z, (" and module not in learning", "")),
        (122,), TRACKERS,
    ),
    Misconception(
        "unknown-names-ignored",
        "a name that no module has is passed over in silence",
        "What learns when the caller has mistyped the only name?",
        changed(Z, (CHECKED, "    module_names = [name for name in module_names if name in modules]\n")),
        (), TRACKERS,
    ),
    Misconception(
        "another-error-for-unknown-names",
        "a name that no module has raises the dictionary's KeyError, not a ValueError",
        "Which exception does the docstring promise?",
        changed(Z, (CHECKED, "")),
        (), WRITING,
    ),
    Misconception(
        "own-parameters-only",
        "only the parameters that a named module holds itself learn, not those of the modules inside it",
        "Which parameters does a block hold itself, without its layers?",
        changed(Z, (THAWED, "        for p in modules[name].parameters(recurse=False):\n"
                    "            p.requires_grad_(True)\n")),
        (), TRACKERS,
    ),
    Misconception(
        "parameters-of-no-module",
        "parameters that belong to no layer (class token, positions) are not frozen",
        "To which module does cls_token belong, and did your loop meet it?",
        changed(Z, (FROZEN, "    for child in model.children():\n        child.requires_grad_(False)\n")),
        (), TRACKERS,
    ),
    Misconception(
        "norms-stay-frozen",
        "the norms inside the named modules stay frozen, so that the number of trainable parameters is too small by "
        "two vectors for each",
        "By how much does your number of trainable parameters differ from the right one?",
        changed(Z, (REMEMBERED, REMEMBERED + '''        for m in modules[name].modules():
            if isinstance(m, (nn.LayerNorm, nn.BatchNorm2d)):
                m.requires_grad_(False)
''')),
        (127,), TRACKERS,
    ),
    Misconception(
        "weights-only",
        "only the weights of the named modules learn, their biases do not",
        "Which parameters are inside a Linear layer?",
        changed(Z, (THAWED, "        for n, p in modules[name].named_parameters():\n"
                    '            p.requires_grad_(n.endswith("weight"))\n')),
        (), WRITING,
    ),
    Misconception(
        "reset-before-training",
        "the named modules get fresh random weights, so that what they had learned is lost",
        "What does a pretrained block bring along?",
        changed(Z, (THAWED, THAWED + "        for p in modules[name].parameters():\n"
                    "            nn.init.zeros_(p)\n")),
        (), WRITING,
    ),
)  # fmt: skip
FREEZE_OTHER = (
    Alternative("a forward pre-hook that switches to evaluation mode", '''
def _stay_in_eval(module, inputs):
    module.eval()


def freeze_all_but(model, module_names):
    known = [name for name, _ in model.named_modules()]
    for name in module_names:
        if name not in known:
            raise ValueError(f"expected the name of a module, found {name!r}")
    for p in model.parameters():
        p.requires_grad = False
    kept = []
    for name in module_names:
        part = model.get_submodule(name)
        kept += list(part.modules())
        for p in part.parameters():
            p.requires_grad = True
    for m in model.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout)) and not any(m is k for k in kept):
            m.register_forward_pre_hook(_stay_in_eval)
'''),
    Alternative("numbers of parameters looked up by isin, train of the whole model is wrapped", '''
def freeze_all_but(model, module_names):
    modules = dict(model.named_modules())
    if not set(module_names) <= set(modules):
        raise ValueError(f"no such modules: {sorted(set(module_names) - set(modules))}")
    every = list(model.parameters())
    numbers = {id(p): i for i, p in enumerate(every)}
    chosen = torch.tensor([numbers[id(p)] for name in module_names for p in modules[name].parameters()])
    for p, learns in zip(every, torch.isin(torch.arange(len(every)), chosen)):
        p.requires_grad = bool(learns)
    inside = [m for name in module_names for m in modules[name].modules()]
    frozen = [m for m in modules.values() if all(m is not i for i in inside)]
    frozen = [m for m in frozen if "Norm" in type(m).__name__ or "Drop" in type(m).__name__]
    usual = model.train

    def train(mode=True):
        usual(mode)
        for m in frozen:
            m.training = False
        return model

    model.train = train
    model.train(model.training)
'''),
    Alternative("whole names compared with a dot at the end, a table of booleans", '''
def freeze_all_but(model, module_names):
    names = [name for name, _ in model.named_modules()]
    for wanted in module_names:
        if wanted not in names:
            raise ValueError(f"there is no module {wanted}")

    def inside(name):
        return bool(torch.tensor([f"{name}.".startswith(f"{wanted}.") for wanted in module_names]).any())

    for name, p in model.named_parameters():
        p.requires_grad_(inside(name))

    def unmoved(mode=True):
        return None

    for name, m in model.named_modules():
        if not inside(name) and isinstance(m, (nn.BatchNorm2d, nn.Dropout)):
            m.eval()
            m.train = unmoved
'''),
    Alternative("subclasses in the place of frozen norms and dropouts", '''
class FrozenNorm(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(False)

    def forward(self, x):
        scale = self.weight / torch.sqrt(self.running_var + self.eps)
        shift = torch.addcmul(self.bias, self.running_mean, scale, value=-1)
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None])


class NoDropout(nn.Dropout):
    def forward(self, x):
        return torch.mul(x, 1)


def freeze_all_but(model, module_names):
    parts = []
    for name in module_names:
        try:
            parts.append(model.get_submodule(name))
        except AttributeError:
            raise ValueError(f"{name} is no module of this model") from None
    model.requires_grad_(False)
    for part in parts:
        part.requires_grad_(True)
    inside = {m for part in parts for m in part.modules()}
    for m in model.modules():
        if m in inside:
            continue
        if type(m) is nn.BatchNorm2d:
            m.__class__ = FrozenNorm
            m.eval()
        elif type(m) is nn.Dropout:
            m.__class__ = NoDropout
'''),
    Alternative("in the style of torchvision's FrozenBatchNorm: what a frozen norm does, written out", '''
def freeze_all_but(model, module_names):
    modules = dict(model.named_modules())
    for name in module_names:
        if name not in modules:
            raise ValueError(f"module {name} not found")
    learn = [m for name in module_names for m in modules[name].modules()]
    for p in model.parameters():
        p.requires_grad = False
    for m in learn:
        for p in m.parameters(recurse=False):
            p.requires_grad = True

    def written_out(bn):
        def forward(x):
            scale = bn.weight * (bn.running_var + bn.eps).rsqrt()
            return x * scale.reshape(1, -1, 1, 1) + (bn.bias - bn.running_mean * scale).reshape(1, -1, 1, 1)

        return forward

    for m in modules.values():
        if any(m is other for other in learn):
            continue
        if isinstance(m, nn.BatchNorm2d):
            m.forward = written_out(m)
        elif isinstance(m, nn.Dropout):
            m.forward = lambda x: torch.clone(x)
'''),
    Alternative("parameters made anew", '''
def freeze_all_but(model, module_names):
    modules = {name: module for name, module in model.named_modules()}
    missing = set(module_names).difference(modules)
    if missing:
        raise ValueError("unknown modules: " + ", ".join(sorted(missing)))
    inside = set()
    for name in module_names:
        inside |= set(modules[name].modules())
    for module in modules.values():
        for name, p in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(torch.empty_like(p).copy_(p.detach()), requires_grad=module in inside))
        if module not in inside and isinstance(module, (nn.BatchNorm2d, nn.Dropout)):
            module.register_forward_pre_hook(lambda m, args: m.train(False) and None)
'''),
    Alternative("in the style of fastai: groups of parameters, and a walk over children", '''
def freeze_all_but(model, module_names):
    names = {m: n for n, m in model.named_modules()}
    wanted = [m for m, n in names.items() if n in module_names]
    if len(wanted) < len(set(module_names)):
        found = [names[m] for m in wanted]
        raise ValueError(f"not found: {[n for n in module_names if n not in found]}")

    def walk(module, learns):
        learns = learns or bool(torch.tensor([0, *(int(module is w) for w in wanted)]).amax())
        for p in module._parameters.values():
            if p is not None:
                p.requires_grad_(learns)
        if not learns and hasattr(module, "p"):
            module.register_forward_pre_hook(lambda m, args: setattr(m, "training", False))
        if not learns and hasattr(module, "running_mean"):
            module.register_forward_pre_hook(lambda m, args: setattr(m, "training", False))
        for child in module.children():
            walk(child, learns)

    walk(model, False)
'''),
)  # fmt: skip

EXERCISE = Exercise("freeze_all_but", freeze_cases, FREEZE_WRONG, FREEZE_OTHER)
