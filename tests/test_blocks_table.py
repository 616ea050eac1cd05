"""The page of all blocks: it is what the generator writes, and what it says beyond the catalog is measured here."""

from itertools import combinations
from pathlib import Path

import pytest
import torch
from catalog_formulas import read
from repository import ROOT
from torch.func import jacrev, jvp

from lawful import catalog
from lawful.catalog import table
from lawful.catalog.finding import Finding
from lawful.catalog.findings import findings
from lawful.catalog.settings.groups import settings
from lawful.catalog.table import short_names
from lawful.graph.architecture.architecture import Architecture
from lawful.graph.questions.check import gradient_rank
from lawful.graph.questions.count import count
from lawful.graph.questions.derive import derive
from lawful.theory.laws.law import Law
from lawful.theory.losses import parse, total
from lawful.theory.verdict import Verdict

SETTINGS = {s.name: s for s in settings()}
FINDINGS = {f.name: f for f in findings()}
Tensors = dict[str, torch.Tensor]


# The page


def test_the_page_is_what_the_generator_writes_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text = (ROOT / "docs" / "blocks.md").read_text(encoding="utf-8")
    table.main([str(tmp_path / "page.md")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == text, "run `python -m lawful.catalog.table`"
    assert max(map(len, text.splitlines())) < 1200


def test_the_page_has_every_block_and_every_law() -> None:
    text = (ROOT / "docs" / "blocks.md").read_text(encoding="utf-8")
    for e in catalog.laws():
        assert f"`{e.setting}`" in text and f"**`{e.block}`**" in text
        assert all(f"\n| `{kind}` |" in text for kind in e.blocks)


def test_short_names_tell_parameters_apart() -> None:
    assert short_names(["heads.q.weight", "heads.q.bias", "out.weight"]) == {
        "heads.q.weight": "q",
        "heads.q.bias": "q.b",
        "out.weight": "out",
    }
    assert short_names(["a.up.weight", "b.up.weight", "up.weight", "cell.bias_ih", "weight"]) == {
        "a.up.weight": "a.up",
        "b.up.weight": "b.up",
        "up.weight": "up",
        "cell.bias_ih": "cell.bias_ih",
        "weight": "weight",
    }
    for name in SETTINGS:
        used = {p for e in catalog.laws() if e.setting == name for p in e.parameters}
        assert len(set(short_names(used).values())) == len(used)


# What optimizers do to a law

MEASURED = [
    "linear",
    "linear-skip",
    "parallel-biases",
    "lora",
    "relu",
    "layernorm-core-bias",
    "groupnorm",
    "attention-bias",
    "class-token",
    "rnn-linear",
    "gru",
    "hinge",
    "cosine",
]


def entry_of(name: str, law: Law) -> catalog.Entry:
    return next(e for e in catalog.laws() if e.setting == name and e.statement_text == law.short)


def larger(name: str) -> Architecture:
    """A network with every width above that of its certificate: of two entries Adam keeps any sum that is conserved."""
    setting = SETTINGS[name]
    return setting.architecture(**{w: n + 1 for w, n in setting.sizes.items()})


def gradients(name: str, arch: Architecture) -> list[tuple[Tensors, Tensors]]:
    """Trained parameters and loss gradients at two points, with real activations."""
    points = arch.points(SETTINGS[name].loss, 4, 0, True)[::2]
    trained = [n for n in arch.parameters if n not in arch.frozen]
    return [({n: p.parameters[n].detach() for n in trained}, {n: p.gradient[n] for n in trained}) for p in points]


def drift(law: Law, before: Tensors, after: Tensors) -> float:
    """Change of a law, relative to how far the parameters went."""
    way = max(float((after[n] - before[n]).abs().max()) for n in after)
    return float((law.value(after) - law.value(before)).abs().max()) / way


def stepped(name: str, optimizer: type, steps: int, **options: float) -> tuple[Tensors, Tensors]:
    """Parameters before and after some steps of an optimizer on gradients of fresh data."""
    setting = SETTINGS[name]
    arch = larger(name)
    model = arch.to_torch(torch.float64, seed=1)
    with torch.no_grad():  # away from the special values of an initialisation
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()), dtype=p.dtype))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    moving = optimizer([p for p in model.parameters() if p.requires_grad], **options)
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        inputs = arch.random_inputs(8, generator)
        output = model(*inputs)
        moving.zero_grad()
        total(parse(setting.loss), [output], generator, arch.output_axes).backward()
        moving.step()
    return before, {n: p.detach().clone() for n, p in model.named_parameters()}


@pytest.mark.parametrize("name", MEASURED)
def test_momentum_and_adam_do_what_the_page_says(name: str) -> None:
    laws = derive(larger(name), SETTINGS[name].loss)
    for what, run, rounding in (
        ("momentum", stepped(name, torch.optim.SGD, 6, lr=0.05, momentum=0.9), 1e-11),
        ("adam", stepped(name, torch.optim.Adam, 6, lr=0.01), 1e-8),  # a gradient of 1e-17 is divided by 1e-8
    ):
        for law in laws:
            kept = getattr(entry_of(name, law), what) == "kept"
            moved = drift(law, *run)
            assert moved <= rounding if kept else moved > 1e-6, (what, law)


@pytest.mark.parametrize("name", MEASURED)
def test_decay_shrinks_a_law_as_the_page_says(name: str) -> None:
    """Along `-λ θ` a law that shrinks as `e^(-k λ t)` has the derivative `-k λ h`: Euler's relation."""
    setting = SETTINGS[name]
    arch = setting.architecture(**setting.sizes)
    powers = {"e^(-λ t)": 1, "e^(-2 λ t)": 2}
    for law in derive(arch, setting.loss):
        for theta, _ in gradients(name, arch):
            value, along = jvp(law.value, (theta,), (theta,))
            said = entry_of(name, law).decay
            for text, power in powers.items():
                alike = torch.allclose(along, power * value, rtol=1e-12, atol=1e-12)
                assert alike == (said == text) or not float(value.abs().max()), (law, said)


@pytest.mark.parametrize("name", ["linear", "linear-skip", "attention-bias", "multi-head-attention", "rnn-linear"])
def test_skew_momentum_laws_survive(name: str) -> None:
    """The commutator of two gauges of a matrix law is skew; with momentum `<v, B theta>` becomes `mu <v, B theta>`."""
    setting = SETTINGS[name]
    arch = setting.architecture(**setting.sizes)
    matrices = [law for law in derive(arch, setting.loss) if "matrix" in law.axis_kinds]
    generator = torch.Generator().manual_seed(7)
    for law in matrices:

        def fields(theta: Tensors, law: Law = law) -> Tensors:
            """The gauge of every scalar of the law: half its gradient."""
            found = jacrev(law.value)(theta)
            return {n: f.reshape(-1, *theta[n].shape) / 2 for n, f in found.items()}

        def commutators(theta: Tensors, fields=fields) -> torch.Tensor:  # type: ignore[no-untyped-def]
            here = fields(theta)
            size = len(next(iter(here.values())))
            turned = [jvp(fields, (theta,), ({n: f[i] for n, f in here.items()},))[1] for i in range(size)]
            flat = [torch.cat([turned[i][n].reshape(size, -1) for n in theta], 1) for i in range(size)]
            return torch.stack([flat[i][j] - flat[j][i] for i, j in combinations(range(size), 2)])

        mu, eta = 0.7, 0.3
        spans = []
        for theta, gradient in gradients(name, arch):
            theta = {n: t for n, t in theta.items() if n in law.parameters}
            v = {n: torch.randn(t.shape, generator=generator, dtype=t.dtype) for n, t in theta.items()}
            faster = {n: mu * v[n] + gradient[n] for n in theta}
            after = {n: theta[n] - eta * faster[n] for n in theta}
            before = commutators(theta) @ torch.cat([v[n].flatten() for n in theta])
            now = commutators(after) @ torch.cat([faster[n].flatten() for n in theta])
            assert float(before.abs().max()) > 1e-3
            torch.testing.assert_close(now, mu * before, rtol=1e-9, atol=1e-12)
            spans.append(commutators(theta))
        entry = entry_of(name, law)
        promised = entry.momentum.removeprefix("drifts; ").removesuffix(" skew")
        assert torch.linalg.matrix_rank(torch.cat(spans, 1)) == read(promised, entry.certificate.sizes)


# What the rules do not give


@pytest.mark.parametrize("name", FINDINGS)
def test_the_oracle_counts_more_laws_than_the_rules_give(name: str) -> None:
    finding = FINDINGS[name]
    arch = finding.architecture()
    found = count(arch, finding.loss)
    assert found.verdict is Verdict.HOLDS
    assert found.laws == finding.oracle > derive(arch, finding.loss).independent


@pytest.mark.parametrize("name", [n for n, f in FINDINGS.items() if f.missing])
def test_the_missing_laws_hold_and_fill_the_gap(name: str) -> None:
    finding = FINDINGS[name]
    arch = finding.architecture()
    laws = derive(arch, finding.loss)
    for point in arch.points(finding.loss, 4, 0, True):
        theta = {n: p.detach() for n, p in point.parameters.items()}
        trained = [n for n in theta if n not in arch.frozen]
        missing = rows(finding, theta, trained)
        gradient = torch.cat([point.gradient[n].flatten() for n in trained])
        assert float(gradient.norm()) > 1e-8
        assert float((missing @ gradient).abs().max()) <= 1e-10 * float(missing.norm(dim=1).max() * gradient.norm())
    derived = [
        torch.cat(
            [g.reshape(-1, theta[n].numel()) for n, g in jacrev(_moving(law, theta))(_only(theta, trained)).items()], 1
        )
        for law in laws
    ]
    both = torch.cat([missing, *derived])
    s = torch.linalg.svdvals(both / both.norm(dim=1, keepdim=True).clamp_min(1e-6 * float(both.norm(dim=1).max())))
    assert int((s > 1e-9 * s[0]).sum()) == finding.oracle
    assert gradient_rank(arch, laws) == laws.independent


def _only(theta: Tensors, names: list[str]) -> Tensors:
    return {n: theta[n] for n in names}


def _moving(law: Law, theta: Tensors):  # type: ignore[no-untyped-def]
    return lambda p: law.value({**theta, **p}).reshape(-1)


def rows(finding: Finding, theta: Tensors, trained: list[str]) -> torch.Tensor:
    """Gradients of the missing laws in the trained parameters."""
    assert finding.missing is not None
    missing = finding.missing
    found = jacrev(lambda p: missing({**theta, **p}).reshape(-1))(_only(theta, trained))
    return torch.cat([found[n].reshape(-1, theta[n].numel()) for n in trained], 1)
