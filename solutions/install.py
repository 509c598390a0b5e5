# Run this cell first. Where the course's package, vitedu, is missing, it is installed: from a vitedu-*.whl beside this
# notebook, else from the address that your course has set. torch and the kernel's own packages stay as they are.
def prepare(*libraries, needs="", install_from=""):
    import importlib, re, subprocess, sys, tempfile
    from glob import glob
    from importlib.metadata import distributions
    from importlib.util import find_spec
    from pathlib import Path

    class Stop(Exception):
        def _render_traceback_(self):  # IPython shows the sentence alone
            return [str(self)]

    def numbers(version):
        return [int(number) for number in re.findall(r"\d+", version)]

    def missing():
        importlib.invalidate_caches()
        return [name for name in ("vitedu", *libraries) if getattr(find_spec(name), "origin", None) is None]

    def install(package):
        names = ("torch", "torchvision", "numpy", "ipykernel", "ipython", "pyzmq")
        kept = {name: found.version for name in names for found in [*distributions(name=name)][:1]}
        if numbers(kept.get("torch", "9"))[:2] < [2, 6]:
            return (f"vitedu needs torch 2.6 or newer and found torch {kept['torch']}: "
                    "run `%pip install --upgrade torch torchvision`, restart the kernel, and run this cell again.")
        print(f"Installing {Path(package).name}; this can take some minutes.", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            limits = Path(folder, "constraints.txt")
            limits.write_text("".join(f"{name}=={version}\n" for name, version in kept.items()), encoding="utf-8")
            options = ["-q", "--no-color", "--no-input", "--disable-pip-version-check", "-c", limits]
            pip = [sys.executable, "-m", "pip", "install", *options, package]
            done = subprocess.run(pip, capture_output=True, text=True, errors="replace")
        if not done.returncode:
            return "vitedu is installed now: restart the kernel, then run this cell again."
        last = " ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        return f"pip could not install {Path(package).name}; show your instructor what it says: {last}"

    wheels = glob("vitedu-*.whl") or glob("/kaggle/input/*/vitedu-*.whl") or glob(install_from)
    newest = max(wheels, key=lambda wheel: numbers(Path(wheel).name.split("-")[1]), default="")
    package = str(Path(newest).resolve()) + "[libraries]" * bool(libraries) if newest else install_from
    problem = ""
    if missing() and package:
        problem = install(package)
    if "vitedu" in missing():
        raise Stop(problem or "This notebook needs vitedu and does not find it: ask your instructor for the file "
                   "vitedu-VERSION-py3-none-any.whl, put it beside this notebook, and run this cell again.")
    if missing() and problem:
        print(problem)
    from vitedu.first_cell import ready

    ready(needs)


