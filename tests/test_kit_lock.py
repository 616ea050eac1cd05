"""The lock file: what models conserve, under version control."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import lawful as lw
from lawful.testing import assert_locked
from lawful.testing.lock import LockError, models, write

pytest_plugins = ["pytester"]
X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, act: nn.Module, names: tuple[str, str] = ("up", "down"), bias: bool = True) -> None:
        super().__init__()
        self.names, self.act = names, act
        self.add_module(names[0], nn.Linear(4, 5, bias=bias))
        self.add_module(names[1], nn.Linear(5, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        up, down = (self.get_submodule(n) for n in self.names)
        return down(self.act(up(x)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "laws.lock.json"
    assert_locked("net", Net(nn.ReLU()), (X,), path=file, update=True)
    return file


def test_what_is_locked_is_compared(path: Path) -> None:
    before = path.read_text()
    path.chmod(0o444)
    assert_locked("net", Net(nn.ReLU()), (X[:3],), path=path)
    assert_locked("net", Net(nn.LeakyReLU(0.2)), X, path=path)
    assert path.read_text() == before and json.loads(before)["models"]["net"]["independent"] == 5
    with pytest.raises(AssertionError) as error:
        assert_locked("net", Net(nn.GELU()), (X,), path=path)
    text = str(error.value)
    assert "net does not conserve what laws.lock.json says: of 1 law 1 disappeared" in text
    assert "- disappeared: balance of up: Diagonal(5): ‖up.weight[i,:]‖² + up.bias[i]² - ‖down.weight[:,i]‖²" in text
    assert "--lawful-update" in text and text.count("\n") < 25
    with pytest.raises(AssertionError, match=r"1 changed\n.*was Diagonal\(5\).*\n.*now Diagonal\(5\)"):
        assert_locked("net", Net(nn.ReLU(), bias=False), (X,), path=path)
    with pytest.raises(AssertionError, match=r"1 appeared|1 changed"):
        assert_locked("net", Net(nn.Identity()), (X,), path=path)
    with pytest.raises(AssertionError, match=r"the same laws under other names\n  up\.weight -> fc1\.weight"):
        assert_locked("net", Net(nn.ReLU(), ("fc1", "fc2")), (X,), path=path)
    with pytest.raises(AssertionError, match="for the loss mse, and tested with cross_entropy"):
        assert_locked("net", Net(nn.ReLU()), (X,), loss="cross_entropy", path=path)
    with pytest.raises(AssertionError, match=r"has no entry 'other'; it has net"):
        assert_locked("other", Net(nn.ReLU()), (X,), path=path)
    with pytest.raises(AssertionError, match="is not there"):
        assert_locked("net", Net(nn.ReLU()), (X,), path=path.with_name("none.json"))


def test_the_file_is_written_whole_and_only_where_something_changes(path: Path) -> None:
    first, stamp = path.read_text(), path.stat().st_mtime_ns
    assert_locked("net", lw.derive(Net(nn.ReLU()), args=(X,)), path=path, update=True)
    assert path.stat().st_mtime_ns == stamp
    assert_locked("a second", Net(nn.GELU()), (X,), path=path, update=True)
    assert list(models(path)) == ["a second", "net"]
    assert sorted(p.name for p in path.parent.iterdir()) == ["laws.lock.json"]
    assert first.strip()[:40] == path.read_text()[:40]
    for bad in ("", "[]", "{", '{"format": "lawful-lock 1", "models": {"net": {"laws": 3}}}', '{"format": 2}'):
        path.write_text(bad)
        with pytest.raises(LockError, match="version control"):
            assert_locked("net", Net(nn.ReLU()), (X,), path=path)
    with pytest.raises(LockError, match="cannot be written"):
        write({"net": {}}, path.parent / "nowhere" / "laws.lock.json")


TESTS = """
import pytest, torch
from torch import nn

@pytest.mark.parametrize("width", [3, 4, 5])
def test_net(assert_locked, width):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, width), nn.{act}(), nn.Linear(width, 3))
    assert_locked({name}, net, (torch.randn(6, 4),))
"""
NAME = 'f"mlp {width}"'


def test_in_pytest(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\nlawful_lock = laws.json\n")
    run = pytester.runpytest
    pytester.makepyfile(TESTS.format(act="ReLU", name=NAME))
    result = run()
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*laws.json is not there*--lawful-update*"])
    result = run("--lawful-update")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["laws.json: 3 models, 3 written: mlp *"])
    run("--lawful-summary").assert_outcomes(passed=3)
    assert "nothing to write" in run("--lawful-update").stdout.str()
    pytester.makepyfile(TESTS.format(act="GELU", name=NAME))
    result = run()
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["*disappeared: balance of 0: Diagonal*"])
    pytester.makepyfile(TESTS.format(act="ReLU", name="'one'"))
    result = run("--lawful-update")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["laws.json was not written: two tests lock 'one' with other laws*"])
    (pytester.path / "laws.json").write_text("no")
    pytester.makepyfile(TESTS.format(act="ReLU", name=NAME))
    result = run("--lawful-update")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["laws.json was not written: *cannot be read*"])


@pytest.mark.nightly
def test_with_xdist_the_file_is_written_once(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(TESTS.format(act="ReLU", name=NAME))
    options = ("-p", "xdist", "-n", "2")
    result = pytester.runpytest_subprocess("--lawful-update", *options, timeout=300)
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["laws.lock.json: 3 models, 3 written: mlp *"])
    pytester.runpytest_subprocess(*options, timeout=300).assert_outcomes(passed=3)


class Raises(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("boom\nand more")


class NoNumber(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * float("nan")


def broken(value: float) -> nn.Module:
    net = Net(nn.ReLU())
    net.get_parameter("up.weight").data[0, 0] = value
    return net


@pytest.mark.parametrize(
    ("net", "x", "says"),
    [
        (broken(float("nan")), X, "the parameter up.weight of Net is not finite"),
        (broken(float("inf")), X, "the parameter up.weight of Net is not finite"),
        (NoNumber(4, 3), X, "of NoNumber is not a number on these inputs"),
        (Net(nn.ReLU()), X * float("nan"), "of Net is not a number on these inputs"),
        (nn.ReLU(), X, "ReLU has no parameters"),
        (Net(nn.ReLU()).requires_grad_(False), X, "Net has no trainable parameter: all are frozen"),
        (lw.derive(nn.ReLU(), args=(X,)), (), "of no trainable parameter"),
        (Net(nn.ReLU()), X.long(), "the forward of Net does not run .*Long and Float"),
        (Net(nn.ReLU()), torch.randn(3, 7), "the forward of Net does not run .*7"),
        (Raises(4, 3), X, "the forward of Raises does not run .*boom and more"),
    ],
)
@pytest.mark.parametrize("update", [False, True])
def test_what_cannot_train_is_never_locked(
    path: Path, net: nn.Module, x: torch.Tensor, says: str, update: bool
) -> None:
    before = path.read_text()
    with pytest.raises((AssertionError, ValueError), match=says) as error:
        assert_locked("net", net, x, path=path, update=update)
    assert "\n" not in str(error.value) and path.read_text() == before


def test_a_network_that_is_locked_stays_as_it_was(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 3))
    before, state = {n: b.clone() for n, b in net.state_dict().items()}, torch.random.get_rng_state()
    assert_locked("net", net, X, path=tmp_path / "laws.lock.json", update=True)
    assert all(torch.equal(b, before[n]) for n, b in net.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_network_that_raises_is_not_locked_by_pytest(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS.format(act="ReLU", name=NAME).replace("torch.randn(6, 4)", "torch.ones(6, 4).long()"))
    pytester.runpytest("--lawful-update").assert_outcomes(failed=3)
    assert not (pytester.path / "laws.lock.json").exists()


@pytest.mark.parametrize("name", ["3", "''", "' '", "None"])
def test_a_name_that_is_no_text_is_refused_with_the_option_too(pytester: pytest.Pytester, name: str) -> None:
    """It ended the session, and no entry of any test was written."""
    pytester.makepyfile(
        "import torch\n"
        "net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))\n"
        f"def test_bad(assert_locked): assert_locked({name}, net, torch.randn(5, 4))\n"
        "def test_good(assert_locked): assert_locked('good', net, torch.randn(5, 4))\n"
    )
    result = pytester.runpytest("--lawful-update")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*LockError: assert_locked: name is*"])
    assert '"good"' in (pytester.path / "laws.lock.json").read_text()
