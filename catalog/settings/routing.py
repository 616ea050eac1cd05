"""Settings with mixtures of experts."""

from __future__ import annotations

from lawful import blocks as b

from .setting import Setting, relu_branch

DENSE, TOP = "tran2026, theorem 4.5", "tran2026, theorem 4.6"
SIGMOID = "tran2026, theorem 4.7, without its router law, which an exact counterexample refutes"


def routing_settings() -> list[Setting]:
    """Experts behind every kind of router."""

    def mixture(
        name: str, title: str, router: b.Router | None = None, source: str = DENSE, shared: bool = False
    ) -> Setting:
        def build(n: int, h: int, e: int) -> b.Net:
            experts = [relu_branch(n, h) for _ in range(e)]
            return b.MixtureOfExperts(n, experts, router=router, shared=relu_branch(n, h) if shared else None)

        three = router is not None or shared
        return Setting(
            name,
            title,
            "MixtureOfExperts" if router is None else "Router",
            build,
            {"n": 2, "h": 2, "e": 3 if three else 2},
            input=lambda n, h, e: b.Signal(n),
            least={"e": 3} if three else {},
            source=source,
            linear_source=source,
        )

    return [
        mixture("mixture", "ReLU experts behind a dense softmax router"),
        mixture("shared-expert", "ReLU experts behind a dense softmax router, and one for all", shared=True),
        mixture("top-2-router", "the two best experts, their weights divided by their sum", b.Router(top=2), TOP),
        mixture(
            "top-2-router-plain",
            "the two best experts, their weights as they are",
            b.Router(top=2, renormalise=False),
            TOP,
        ),
        mixture("top-1-router", "the best expert with weight 1", b.Router(top=1), TOP),
        mixture("top-1-router-plain", "the best expert with its own weight", b.Router(top=1, renormalise=False), TOP),
        mixture("sigmoid-router", "experts with sigmoid weights", b.Router("sigmoid"), SIGMOID),
        mixture(
            "normalised-sigmoid-router",
            "experts with sigmoid weights divided by their sum",
            b.Router("normalised_sigmoid"),
            SIGMOID,
        ),
    ]
