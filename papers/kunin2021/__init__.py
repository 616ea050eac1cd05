"""Kunin et al. 2021: a VGG-16 on the closed forms, the surfaces of three symmetries, what a finite step adds."""

from ..paper import Paper
from . import dampening, flow, neurons, surfaces, vgg

PAPER = Paper(
    "kunin2021",
    "Neural mechanics",
    (
        *vgg.PARTS,
        neurons.PART,
        surfaces.PART,
        flow.PART,
        dampening.PART,
    ),
)
