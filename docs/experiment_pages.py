"""Figures and tables of verdicts of the experiments' pages, made from committed results: nothing is trained here."""

from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib
from claim_tables import markdown_table, raw, twice_table, verdict_table
from figures import STYLE
from matplotlib.figure import Figure

from experiments import NAMES, open_claims, signal_tables, training_time
from experiments.experiment import FURTHER, Results, load_results, named_experiment, over_generators
from hlvm.plotting import style

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
FRAGMENTS = ROOT / "docs" / "experiments" / "generated"

FIVE = (
    (
        "What reaches every cell is found better with three quarters masked than with few cells or nearly all",
        "masking_ratio",
        "invertible mechanisms: the root is found better at ratio 0.75 than at 0.1 and at 0.95",
        ("0.75 − 0.1", "0.75 − 0.95"),
    ),
    (
        "Large masking units cost some of it",
        "patch_size",
        "the root is found better with larger units, squares at random",
        ("unit 4 − unit 2",),
    ),
    (
        "What enters below it follows the share of masks that theory says have it in $c$",
        "patch_size",
        "what training gains at a height goes up and down with its share in c",
        ("rank correlation over arms",),
    ),
    (
        "A code of exactly $d_c$ numbers is all of what a mask shares, and no more",
        "theorem2",
        "A code of exactly d_c numbers is an invertible function of c: R² ≥ 0.9 both ways.",
        ("tree, mlp, code → c", "tree, mlp, c → code"),
    ),
    (
        "What a mask asks for (demand) does not say what training of this length finds; what a linear reconstruction "
        "uses (signal) says more (rank correlations over masks)",
        "signal",
        "the highest latent: the law forecasts the order better than demand",
        ("law", "demand"),
    ),
)
"""Things a user should know about masking: a sentence, the experiment, its claim, and the scores that are shown."""


def draw_all(folder: Path) -> None:
    """Write the figures into a folder, and the tables to where the pages include them."""
    (folder / "experiments").mkdir(parents=True, exist_ok=True)
    FRAGMENTS.mkdir(parents=True, exist_ok=True)
    found = {name: load_results(RESULTS / name) for name in NAMES}
    for name, results in found.items():
        _draw_one(name, results, "laptop", folder)
    _draw_one("masking_ratio", load_results(RESULTS / "masking_ratio_long"), "long", folder)
    (FRAGMENTS / "summary.md").write_text(summary(found), encoding="utf-8")
    for name in {"signal"} & found.keys():  # once it has results
        for what, (heading, rows) in signal_tables.tables(found[name]).items():
            (FRAGMENTS / f"{name}_{what}.md").write_text(markdown_table(heading, rows), encoding="utf-8")
    (FRAGMENTS / "five.md").write_text(five_things(found), encoding="utf-8")
    (FRAGMENTS / "open.md").write_text(markdown_table(open_claims.COLUMNS, open_claims.rows(found)), encoding="utf-8")
    _draw_training_time(folder)


def five_things(found: Mapping[str, Results]) -> str:
    """Table of what a user should know about masking, a row for each score, with its interval and its page."""
    rows = []
    for sentence, name, text, scores in FIVE:
        claim = next(claim for claim in found[name].claims if claim.text == text)
        where = f"[{named_experiment(name).title}]({name}.md)"
        numbers = {score: texts for score, *texts in claim.rows}
        for score in scores:
            rows.append((sentence, score, *numbers[score][:3], where))
            sentence, where = "", ""  # said once
    return markdown_table(("what", "score", "value", "low", "high", "where"), rows, right=(2, 3, 4))


def _draw_one(name: str, results: Results, preset: str, folder: Path) -> None:
    """Figures and verdicts of one run; what is not of the preset ``laptop`` says so in its names."""
    label = name if preset == "laptop" else f"{name}_{preset}"
    _save(label, lambda: named_experiment(name).draw(results.records, results.prediction), folder)
    table = raw(verdict_table(results.claims))
    (FRAGMENTS / f"{label}.md").write_text(f"{table}\n{about(name, results, preset)}", encoding="utf-8")


def _save(label: str, draw: Callable[[], Mapping[str, Figure]], folder: Path) -> None:
    with style(), matplotlib.rc_context({**STYLE, "savefig.dpi": 160}):
        for name, figure in draw().items():
            figure.savefig(folder / "experiments" / f"{label}_{name}.svg", metadata={"Date": None})


def _draw_training_time(folder: Path) -> None:
    short, long = (
        {name: load_results(RESULTS / f"{name}_{preset}") for name in training_time.NAMES} for preset in FURTHER
    )
    _save("training_time", lambda: {"scores": training_time.draw(short, long)}, folder)
    table = raw(verdict_table(training_time.compare(short, long)))
    (FRAGMENTS / "training_time.md").write_text(
        f"{table}\n{about('transfer', long['transfer'], 'long')}", encoding="utf-8"
    )
    (FRAGMENTS / "training_time_claims.md").write_text(judged_twice(short, long), encoding="utf-8")


def about(name: str, results: Results, preset: str) -> str:
    """One line on what the run was."""
    over = "training seeds of one generator"
    if over_generators(name, results):
        over = "generators, each with a training seed of its own,"
    if name == "signal":
        over = "families or generators"
    where = results.environment
    registered = f" Prediction registered in commit `{results.registered[:10]}`." if results.registered else ""
    versions = f"hlvm {where['hlvm']}, JAX {where['jax']}, Python {where['python']}"
    return (
        f"Preset `{preset}`, {versions}, {where['cores']} cores of {where['processor']}. "
        f"Intervals are 95 % (Student) over {over} unless the text says otherwise."
        f"{registered}\n"
    )


def judged_twice(short: Mapping[str, Results], long: Mapping[str, Results]) -> str:
    """The claims for which the short run, the long one or both came to a verdict, a table for each experiment."""
    parts = []
    for name in training_time.NAMES:
        pairs = training_time.decided(short[name], long[name])
        n_open = len(long[name].claims) - len(pairs)
        rest = f"{n_open} more are open after both.\n" if n_open else ""
        table = raw(twice_table(pairs, ("short", "long")))
        parts.append(f"### [{named_experiment(name).title}]({name}.md)\n\n{table}\n{rest}")
    return "\n".join(parts)


def summary(found: Mapping[str, Results]) -> str:
    """All claims of all experiments, a folded table for each."""
    parts = [
        f"### [{named_experiment(name).title}]({name}.md)\n\n{raw(verdict_table(results.claims, most=3, folded=True))}"
        for name, results in found.items()
    ]
    return "\n".join([record(found), *parts])


def record(found: Mapping[str, Results]) -> str:
    """Table of how often theory and paper were right, wrong or silent on the claims that are decided."""
    claims = [claim for results in found.values() for claim in results.claims]
    decided = [claim for claim in claims if claim.holds is not None]
    rows = []
    for source in ("theory", "paper"):
        agrees = [getattr(claim, f"{source}_agrees") for claim in decided]
        rows.append((source, *(str(sum(outcome is kind for outcome in agrees)) for kind in (True, False, None))))
    share = f"{len(decided)} of {len(claims)} claims are decided ({len(decided) / len(claims):.0%})."
    table = markdown_table(("on decided claims", "right", "wrong", "silent"), rows, right=(1, 2, 3))
    return f"{share}\n\n{table}"
