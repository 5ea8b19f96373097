"""Charts of the saved results: `python -m benchmarks.plots` writes docs/img/*.svg."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.numbers import median
from benchmarks.results import RESULTS

IMAGES = Path(__file__).parents[1] / "docs" / "img"
OURS, OTHERS = "#2481cc", "#9aa5b1"


def main() -> None:
    """Draw all results that there are."""
    mpl.use("svg")
    mpl.rcParams.update({"font.size": 9, "svg.hashsalt": "bench", "svg.fonttype": "none"})
    IMAGES.mkdir(parents=True, exist_ok=True)
    _drain(_result("drain"))
    _latency(_result("latency"))


def _result(part: str) -> Any:
    return json.loads((RESULTS / f"{part}.json").read_text())["result"]


def _drain(result: dict[str, list[dict[str, Any]]]) -> None:
    rates = {name: [one["rate"] for one in all_] for name, all_ in result.items()}
    names = sorted(rates, key=lambda name: median(rates[name]))
    figure, axes = plt.subplots(figsize=(7, 2.6))
    axes.barh(names, [median(rates[name]) for name in names], color=[_color(n) for n in names])
    for at, name in enumerate(names):
        axes.plot(rates[name], [at] * len(rates[name]), "k.", markersize=3)
    axes.set_xlabel("messages per second, one process (dots: rounds)")
    _save(figure, axes, "drain.svg")


def _latency(result: dict[str, Any]) -> None:
    figure, axes = plt.subplots(figsize=(7, 3))
    for name, by_pace in result["milliseconds"].items():
        took = sorted(by_pace.get("0.05 s", []))
        shares = [(at + 1) / len(took) for at in range(len(took))]
        style = "-" if "bridge" in name else "--"
        axes.plot(took, shares, style, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds from the commit to the request, one insert every 50 ms")
    axes.set_ylabel("share of messages")
    axes.legend(fontsize=7)
    _save(figure, axes, "latency.svg")


def _color(name: str) -> str:
    return OURS if name.startswith("bridge") else OTHERS


def _save(figure: Any, axes: Any, name: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(IMAGES / name, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
