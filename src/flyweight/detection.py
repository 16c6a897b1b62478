"""Detection networks as files that give boxes: decoding and non-maximum suppression inside the exported graph."""

from __future__ import annotations

from pathlib import Path

from flyweight.boxes import Selection
from flyweight.build import box_code
from flyweight.contracts import Artifact, Candidate
from flyweight.errors import UsageError
from flyweight.runtimes._onnx_nms import write_with_nms


def export_boxes(candidate: Candidate, artifact: Artifact, keep: Selection | None = None) -> Path:
    """Write ``boxes.onnx`` beside a detection network's ONNX file: decoding and suppression inside; return its path.

    Its outputs are ``boxes`` ``(d, 4)``, left, top, right, bottom in pixels of the input, ``scores`` ``(d,)`` and
    ``classes`` ``(d,)``, the surest first.

    Raises:
        UsageError: not a detection network with a spec, or not an ONNX file.
        ExportError, FileError: the file is not what this network was exported to.
    """
    if candidate.spec is None or candidate.spec.task != "detect":
        raise UsageError("suppression needs a detection network that is built from a spec; this one gives no boxes.")
    if artifact.runtime != "onnxruntime":
        raise UsageError(
            f"{artifact.runtime} can't run the suppression: there it stays outside, see docs/detection.md. "
            "Export to onnx for a file with the suppression inside."
        )
    path = artifact.files[0].with_name("boxes.onnx")
    write_with_nms(artifact, box_code(candidate.spec), path, keep)
    return path
