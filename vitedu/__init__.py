"""What a student's notebook imports: checks, and helpers to look at what was computed.

    from vitedu import check, examine, when_ready           every lab: check an exercise, wait for one, hand one in
    import vitedu; vitedu.case("lab4/fit", 2)               a case of a check, to look at it and to run one's code on it
    from vitedu import data, devices, plots, progress       images, the fastest device, figures, bars and live curves
    from vitedu import rehearse                             Labs 4 and 7: try the training exam on public images
    from vitedu.labs import lab3                            that lab's own figures and models

Which lab uses what:

- Lab 1 attention: `labs.lab1` (diagrams, photo, pictures)
- Lab 2 patches and tokens: `labs.lab2` (patch_pictures, token_pictures)
- Lab 3 the Vision Transformer: `data`, `plots`, `labs.lab3` (homework, rollout, vit_diagrams)
- Lab 4 training: `data`, `devices`, `plots`, `progress`, `rehearse`, `labs.lab4` (the exam's recipe and tiers)
- Lab 5 libraries: `data`, `devices`, `plots`, `progress`, `labs.lab5` (contest, library_diagrams, need, zoo)
- Lab 6 transfer learning: `data`, `devices`, `plots`, `progress`, `labs.lab6` (transfer)
- Lab 7 ViT or CNN: `data`, `plots`, `progress`, `rehearse`, `labs.lab7` (the capstone's clock, budget and tiers)

Every notebook's first code cell calls `vitedu.first_cell.ready`: which versions there are, and whether they fit.
`vitedu.checks`, `vitedu.probe` and `vitedu.training_exams` are the parts behind check, case, examine and rehearse.
`vitedu.stand_ins` takes the place of earlier exercises that are not right yet, so that a later one is judged alone.
"""

from vitedu import torch_version  # noqa: F401  (first: it says in one sentence that torch is too old)

# isort: split
from vitedu import data, devices, plots, progress
from vitedu.checks.check import check, examine, when_ready
from vitedu.checks.public_case import case
from vitedu.training_exams.rehearse import rehearse

__version__ = "0.1.0"
__all__ = ["__version__", "case", "check", "data", "devices", "examine", "plots", "progress", "rehearse", "when_ready"]
