"""Figures and tables of verdicts of the experiments' pages, made from committed results: nothing is trained here."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
from figures import STYLE
from matplotlib.figure import Figure

from experiments import NAMES, training_time
from experiments.experiment import Results, load_results, named_experiment
from experiments.findings import Finding
from hlvm.plotting import style

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
FRAGMENTS = ROOT / "docs" / "experiments" / "generated"
WORDS = {True: "yes", False: "**no**", None: "open"}


def draw_all(folder: Path) -> None:
    """Write the figures into a folder, and the tables to where the pages include them."""
    (folder / "experiments").mkdir(parents=True, exist_ok=True)
    FRAGMENTS.mkdir(parents=True, exist_ok=True)
    found = {name: load_results(RESULTS / name) for name in NAMES}
    for name, results in found.items():
        _draw_one(name, results, "laptop", folder)
    _draw_one("masking_ratio", load_results(RESULTS / "masking_ratio_long"), "long", folder)
    (FRAGMENTS / "summary.md").write_text(summary(found), encoding="utf-8")
    _draw_training_time(found, folder)


def _draw_one(name: str, results: Results, preset: str, folder: Path) -> None:
    """Figures and verdicts of one run; what is not of the preset ``laptop`` says so in its names."""
    label = name if preset == "laptop" else f"{name}_{preset}"
    _save(label, lambda: named_experiment(name).draw(results.records, results.prediction), folder)
    (FRAGMENTS / f"{label}.md").write_text(
        f"{verdict_table(results.findings)}\n{about(results, preset)}", encoding="utf-8"
    )


def _save(label: str, draw: Callable[[], Mapping[str, Figure]], folder: Path) -> None:
    with style(), matplotlib.rc_context({**STYLE, "savefig.dpi": 160}):
        for name, figure in draw().items():
            figure.savefig(folder / "experiments" / f"{label}_{name}.svg", metadata={"Date": None})


def _draw_training_time(short: Mapping[str, Results], folder: Path) -> None:
    long = {name: load_results(RESULTS / f"{name}_long") for name in training_time.NAMES}
    _save("training_time", lambda: {"scores": training_time.draw(short, long)}, folder)
    table = verdict_table(training_time.compare(short, long))
    (FRAGMENTS / "training_time.md").write_text(f"{table}\n{about(long['transfer'], 'long')}", encoding="utf-8")
    (FRAGMENTS / "training_time_claims.md").write_text(judged_twice(short, long), encoding="utf-8")


def about(results: Results, preset: str) -> str:
    """One line on what the run was."""
    where = results.environment
    versions = f"hlvm {where['hlvm']}, JAX {where['jax']}, Python {where['python']}"
    return (
        f"Preset `{preset}`, {versions}, {where['cores']} cores of {where['processor']}. "
        "Intervals are 95 % (Student) over training seeds unless the text says otherwise.\n"
    )


def judged_twice(short: Mapping[str, Results], long: Mapping[str, Results]) -> str:
    """The claims for which the short run, the long one or both came to a verdict, a table for each experiment."""
    header = ("claim", "after short training", "after long training")
    parts = []
    for name in training_time.NAMES:
        pairs = training_time.decided(short[name], long[name])
        rows = [
            (
                pair[1].claim,
                *(f"{_measured(each, most=2)}<br>holds:\N{NO-BREAK SPACE}{WORDS[each.holds]}" for each in pair),
            )
            for pair in pairs
        ]
        n_open = len(long[name].findings) - len(pairs)
        rest = f"{n_open} more are open after both.\n" if n_open else ""
        parts.append(f"### [{named_experiment(name).title}]({name}.md)\n\n{_table(header, rows)}\n{rest}")
    return "\n".join(parts)


def verdict_table(findings: Sequence[Finding]) -> str:
    """One row for each finding."""
    header = ("claim", "measured", "verdict")
    rows = []
    for finding in findings:
        known = [(name, says, agrees) for name, says, agrees in _sources(finding) if says]
        claim = [finding.claim, *(f"*{name}:* {says}" for name, says, _ in known)]
        verdict = [f"holds: {WORDS[finding.holds]}", *(f"{name} agrees: {WORDS[agrees]}" for name, _, agrees in known)]
        rows.append(("<br>".join(claim), _measured(finding), "<br>".join(map(_unbroken, verdict))))
    return _table(header, rows)


def summary(found: dict[str, Results]) -> str:
    """All claims of all experiments, a table for each."""
    header = ("claim", "paper", "theory", "measured", "agrees")
    parts = []
    for name, results in found.items():
        rows = []
        for finding in results.findings:
            agrees = [f"{source}: {WORDS[outcome]}" for source, says, outcome in _sources(finding) if says]
            verdict = "<br>".join(map(_unbroken, agrees)) or _unbroken(f"holds: {WORDS[finding.holds]}")
            cells = finding.claim, finding.paper or "–", finding.theory or "–", _measured(finding, most=3), verdict
            rows.append(cells)
        parts.append(f"### [{named_experiment(name).title}]({name}.md)\n\n{_table(header, rows)}")
    outcomes = [f.theory_agrees for results in found.values() for f in results.findings if f.theory]
    papers = [f.paper_agrees for results in found.values() for f in results.findings if f.paper]
    return "\n".join([f"{_counted('theory', outcomes)} {_counted('paper', papers)}\n", *parts])


def _sources(finding: Finding) -> tuple[tuple[str, str, bool | None], ...]:
    """Who speaks of the claim, what they say, and whether the measurement agrees."""
    return ("theory", finding.theory, finding.theory_agrees), ("paper", finding.paper, finding.paper_agrees)


def _counted(source: str, outcomes: Sequence[bool | None]) -> str:
    yes, no, unsettled = (sum(outcome is kind for outcome in outcomes) for kind in (True, False, None))
    of = f"Of {len(outcomes)} statements of the {source}"
    return f"{of}, {yes} agree with what is measured, {no} do not, {unsettled} are open."


def _measured(finding: Finding, most: int = 12) -> str:
    lines = [f"{name}: {_unbroken(interval)}" for name, _, interval in (m.rpartition(": ") for m in finding.measured)]
    return "<br>".join(lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more"])


def _unbroken(text: str) -> str:
    """On one line, whatever the width."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
