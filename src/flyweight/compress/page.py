"""What a chain made as one HTML page that loads nothing: the paper's table, layers, histograms, the curve."""

from __future__ import annotations

from collections.abc import Sequence

from flyweight.compress import _drawings
from flyweight.compress._settings import Compressed, LayerReport, Stage
from flyweight.report import _format as fmt
from flyweight.report._html import Cell, Head, paragraph, section, table
from flyweight.report._plots import Point, scatter
from flyweight.report.page import document, heading

LINKS = {
    "stages": "Stages", "layers": "Layers", "weights": "Weights", "curve": "Size and accuracy", "method": "Meaning",
}  # fmt: skip
HEADLINE_WORDS = {"top1": "top-1", "miou": "mean IoU", "map50_95": "mean average precision"}
SHOWN_LAYERS = 60  # histograms


def render_page(made: Compressed) -> str:
    """Return the page as HTML; all that comes from outside is escaped."""
    sections = "".join((_stages(made), _layers(made.layers), _weights(made.layers), _curve(made), _method(made)))
    return document(made.name, _header(made), LINKS, sections, f"<footer>{fmt.esc(FOOTER)}</footer>")


FOOTER = "Made by flyweight compress. The same figures: compress.json beside this page."


def _header(made: Compressed) -> str:
    words = HEADLINE_WORDS[made.headline]
    sentence = (
        f"Pruned, shared and coded. {words} on the test images of {made.data}: {_percent(made.test_before)} before, "
        f"{_percent(made.test_after)} from the file."
    )
    left = made.stages[-1]
    figures = (
        (f"{fmt.kilobytes(made.file_bytes)} kB", "the file, all of it"),
        (fmt.ratio(made.ratio), f"smaller than {fmt.kilobytes(made.float_bytes)} kB of float32"),
        (fmt.percent(left.left / left.total), "of the parameters are left"),
        (fmt.points(made.test_after - made.test_before), f"points of {words}, test images"),
    )
    return heading("Flyweight compression", made.name, sentence, figures)


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _stages(made: Compressed) -> str:
    heads = (
        Head("stage", left=True), Head("parameters\nleft", "counted"), Head("%", "counted"),
        Head("bits of\na weight", "counted"), Head("bits of\nan index", "counted"), Head("kB", "counted"),
        Head("times\nsmaller", "counted"), Head(f"{HEADLINE_WORDS[made.headline]}\nvalidation, %", "measured"),
    )  # fmt: skip
    rows = [("last" if stage is made.stages[-1] else "", _stage(stage, made)) for stage in made.stages]
    hint = (
        "Bits are means over the weights that are sent, padding zeros included. Huffman coding changes no weight, so "
        "the metric stays. The file holds biases, norms, architecture and class names too."
    )
    return section("stages", LINKS["stages"], paragraph(hint, "hint"), table("From stage to stage", heads, rows))


def _stage(stage: Stage, made: Compressed) -> list[Cell]:
    return [
        Cell(stage.name), Cell(fmt.thousands(stage.left), stage.left), _number(100 * stage.left / stage.total, 1),
        _number(stage.weight_bits, 2), _number(stage.index_bits, 2), Cell(fmt.kilobytes(stage.bytes), stage.bytes),
        Cell(fmt.ratio(made.float_bytes / stage.bytes), made.float_bytes / stage.bytes),
        _number(None if stage.metric is None else 100 * stage.metric, 2),
    ]  # fmt: skip


def _number(value: float | None, decimals: int) -> Cell:
    return Cell(fmt.MISSING if value is None else f"{value:.{decimals}f}", value)


def _layers(layers: Sequence[LayerReport]) -> str:
    heads = (
        Head("layer", left=True), Head("weights"), Head("left, %"), Head("bits", "of a weight"),
        Head("after\nHuffman", "of a weight"), Head("bits", "of an index"), Head("after\nHuffman", "of an index"),
        Head("float32", "bytes"), Head("pruned", "bytes"), Head("shared", "bytes"), Head("coded", "bytes"),
        Head("times\nsmaller"),
    )  # fmt: skip
    rows = [("", _layer(each)) for each in layers]
    card = f'<figure class="card">{_drawings.key()}<div class="wide">{_drawings.sizes(layers)}</div></figure>'
    return section("layers", LINKS["layers"], card, "<p></p>", table("Every layer, counted", heads, rows))


def _layer(each: LayerReport) -> list[Cell]:
    sizes = [Cell(fmt.thousands(each.bytes[stage]), each.bytes[stage]) for stage in _drawings.STAGES]
    return [
        Cell(_drawings.short(each.name)), Cell(fmt.thousands(each.values), each.values),
        _number(100 * each.left / each.values, 1), Cell(str(each.bits), each.bits), _number(each.coded_weight_bits, 2),
        Cell(str(each.index_bits), each.index_bits), _number(each.coded_index_bits, 2), *sizes,
        _number(each.bytes["float32"] / each.bytes["coded"], 1),
    ]  # fmt: skip


def _weights(layers: Sequence[LayerReport]) -> str:
    cards = []
    for each in layers[:SHOWN_LAYERS]:
        words = f"{_drawings.short(each.name)}: {fmt.thousands(each.left)} weights, {len(each.book)} centroids"
        if drawn := _drawings.histogram(each):
            cards.append(f'<figure class="card">{drawn}<figcaption>{fmt.esc(words)}</figcaption></figure>')
    if not cards:
        return ""
    more = f" The first {SHOWN_LAYERS} of {len(layers)} layers." if len(layers) > SHOWN_LAYERS else ""
    hint = f"How the pruned weights were spread before sharing; below, the values that they share in the file.{more}"
    grid = "grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr))"
    return section("weights", LINKS["weights"], paragraph(hint, "hint"),
                   f'<div class="pair" style="{grid}">{"".join(cards)}</div>')  # fmt: skip


def _curve(made: Compressed) -> str:
    words = HEADLINE_WORDS[made.headline]
    ordered = sorted((p for p in made.curve if not p.trained), key=lambda p: p.bytes)
    points = [Point(p.name, p.bytes / 1000, p.metric) for p in ordered]
    points += [Point(p.name, p.bytes / 1000, p.metric, control=True) for p in made.curve if p.trained]
    drawn = scatter(points, "kB of the file", f"{words}, validation images", "size and accuracy")
    caption = (
        "Discs: the pruned network shared in so many bits (convolutions and fully connected layers), its centroids not "
        "trained. The diamond: the file that was written, its centroids trained."
    )
    rounds = "".join(f"<li>{fmt.esc(line)}</li>" for line in made.refused)
    refused = f'<p>Lost too much, and were not taken:</p><ul class="named">{rounds}</ul>' if rounds else ""
    figure = f'<figure class="card" style="max-width:640px">{drawn}<figcaption>{fmt.esc(caption)}</figcaption></figure>'
    return section("curve", LINKS["curve"], figure, refused)


def _method(made: Compressed) -> str:
    asked = made.settings
    lines = (
        "Counted: bytes and bits, from the file itself. Measured: the metric, on images; of the file's network, opened "
        "again.",
        f"Pruned to {', '.join(f'{100 * d:g} %' for d in asked['densities'])} of the weights, compared by "
        f"'{asked['scope']}'; k-means began '{asked['start']}'. Seed {asked['seed']}.",
        f"Trained for {made.seconds:.0f} s in all; {made.images} validation images.",
        "The zeros make the file smaller, not the network faster: once opened it has all its weights again.",
        "Han et al. 2016, Deep Compression (arXiv 1510.00149).",
    )
    return section(
        "method", LINKS["method"], f'<ul class="named">{"".join(f"<li>{fmt.esc(s)}</li>" for s in lines)}</ul>'
    )
