"""Settings that differ in the loss: what its gradients span decides which laws the output has."""

from __future__ import annotations

from lawful import blocks as b

from .setting import Setting, linear

CLASSES = "marcotte2025, proposition 3.11"


def loss_settings() -> list[Setting]:
    """One linear map or one ReLU layer under every kind of loss."""

    def on(name: str, title: str, loss: str, source: str = "", hidden: bool = False) -> Setting:
        block = "ReLU" if hidden else "Linear"
        sizes = {"m": 2, "n": 2, "p": 3}
        if hidden:
            return Setting(
                name,
                title,
                block,
                lambda m, n, p: b.chain(W=linear(m, n, True), act=b.ReLU(), V=linear(n, p, True)),
                sizes,
                loss=loss,
                least={"p": 3},
                linear_source=CLASSES,
            )
        return Setting(
            name,
            title,
            block,
            lambda m, n, p: b.chain(V=linear(m, n), head=linear(n, p, True)),
            sizes,
            loss=loss,
            least={"p": 3},
            source=source,
            linear_source=CLASSES,
        )

    scale = "kunin2021, theorem 1, scale symmetry of the output"
    return [
        on("linear-cross-entropy", "a classifier on one linear map", "cross_entropy"),
        on("relu-cross-entropy", "a ReLU classifier", "cross_entropy", hidden=True),
        on("hinge", "a linear classifier under a multi-class hinge loss", "hinge"),
        on("kl", "a linear classifier that follows a teacher's probabilities", "kl"),
        on("bce", "a linear classifier with a yes or no for every class", "bce"),
        on("cosine", "a linear map whose output is compared by its direction", "cosine", scale),
    ]
