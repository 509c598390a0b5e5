"""What a student's notebook imports: checks, and helpers to look at what was computed.

    from vitedu import check, examine, when_ready           every lab: check an exercise, wait for one, hand one in
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

`vitedu.checks`, `vitedu.probe` and `vitedu.training_exams` are the parts behind check, examine and rehearse.
`vitedu.stand_ins` holds what takes an exercise's place while a later one is examined and it is not right yet.
"""

from vitedu import data, devices, plots, progress
from vitedu.checks.check import check, examine, when_ready
from vitedu.training_exams.rehearse import rehearse

__version__ = "0.1.0"
__all__ = ["__version__", "check", "data", "devices", "examine", "plots", "progress", "rehearse", "when_ready"]
