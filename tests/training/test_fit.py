"""Interrupted and continued training ends where uninterrupted training ends."""

import signal
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from userllm.errors import UserError
from userllm.training.batches import EpochBatches
from userllm.training.checkpoint import Checkpoints
from userllm.training.fit import fit
from userllm.training.guard import StepGuard
from userllm.training.module import TrainableModule
from userllm.training.weights import read_weights

STEPS, FEATURES = 12, 5
TRAINER = {"accelerator": "cpu", "devices": 1, "log_every_n_steps": 2, "gradient_clip_val": 1.0}


@dataclass
class Batch:
    users: np.ndarray
    x: Tensor

    def to(self, device, **_):
        return Batch(self.users, self.x.to(device))


class Regression(TrainableModule):
    """Two layers with dropout between them; the first tensor of a third is frozen."""

    def __init__(self, *, die_at=None, signum=None, broken_at=None):
        torch.manual_seed(0)
        body = nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        frozen = nn.Linear(FEATURES, FEATURES).requires_grad_(False)
        group = {"name": "body", "params": list(body.parameters()), "lr": 0.1, "weight_decay": 0.1}
        super().__init__(groups=[group], steps=STEPS, betas=[0.9, 0.98], eps=1e-8, warmup=0.1)
        self.body, self.frozen = body, frozen
        self.die_at, self.signum, self.broken_at = die_at, signum, broken_at

    def training_step(self, batch, batch_idx):
        step = self.trainer.global_step + 1
        if step == self.die_at:
            raise ZeroDivisionError("as sudden as kill -9")
        if self.signum and step == self.signum[0]:
            signal.raise_signal(self.signum[1])
        loss = (self.body(self.frozen(batch.x)) - 1).square().mean()
        return {"loss": loss * (float("nan") if step == self.broken_at else 1), "size": loss * 2}


def make_batches():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(40, FEATURES)).astype(np.float32))
    rows = EpochBatches(lambda rng: [rng.permutation(40)[:35]], batch_size=8, seed=3)

    def make(number):
        (users,) = rows(number)
        return Batch(users, x[users])

    return make


def train(folder, module=None, *, every=3, validate_every=4, **options):
    folder.mkdir(exist_ok=True)
    module = module or Regression()

    def validate(step):
        return {"ndcg@10": float(module.body[0].weight.sum()) * (-1) ** step, "other": float(step)}

    summary = fit(
        module,
        make_batches(),
        steps=STEPS,
        seed=7,
        folder=folder,
        trainer_options=TRAINER | options,
        loggers=[],
        checkpoint_every=every,
        validate=validate,
        validate_every=validate_every,
        monitor="ndcg@10",
    )
    return module, summary


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    module, summary = train(folder)
    return folder, {k: v.clone() for k, v in module.state_dict().items()}, summary


def assert_same_run(folder, module, summary, uninterrupted):
    expected_folder, expected, expected_summary = uninterrupted
    assert all(torch.equal(module.state_dict()[name], expected[name]) for name in expected)
    assert (folder / "metrics.csv").read_text() == (expected_folder / "metrics.csv").read_text()
    assert summary.history == expected_summary.history
    assert summary.best_value == expected_summary.best_value
    best = [
        read_weights(run / "checkpoints/best.ckpt", "body") for run in (folder, expected_folder)
    ]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[1])


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_run_killed_at_any_step_and_resumed_equals_an_uninterrupted_one(
    step, tmp_path, uninterrupted
):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, Regression(die_at=step))
    module, summary = train(tmp_path)
    assert summary.resumed_from == (step - 1) // 3 * 3
    assert_same_run(tmp_path, module, summary, uninterrupted)


@pytest.mark.parametrize(
    ("signum", "ending"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_signal_finishes_the_step_and_saves_it(signum, ending, tmp_path, uninterrupted):
    before = signal.getsignal(signum)
    with pytest.raises(ending):
        train(tmp_path, Regression(signum=(5, signum)))
    assert signal.getsignal(signum) == before
    module, summary = train(tmp_path)
    assert summary.resumed_from == 5
    assert_same_run(tmp_path, module, summary, uninterrupted)


@pytest.fixture
def answered_by():
    """Return a function that sets how Ctrl-C is answered, until the test ends."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_a_background_job_that_ignores_ctrl_c_trains_to_its_end(
    answered_by, tmp_path, uninterrupted
):
    answered_by(signal.SIG_IGN)
    module, summary = train(tmp_path, Regression(signum=(5, signal.SIGINT)))
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert_same_run(tmp_path, module, summary, uninterrupted)


def test_a_run_that_stopped_early_never_passes_for_finished(answered_by, tmp_path):
    answered_by(lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Regression(signum=(5, signal.SIGINT)))


def test_training_that_ends_unasked_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match=rf"ended after \d of {STEPS} steps"):
        train(tmp_path, max_time={"seconds": 0})


def test_finished_run_trains_no_further(tmp_path, uninterrupted):
    train(tmp_path)
    module, summary = train(tmp_path, Regression(die_at=1))
    assert summary.resumed_from == summary.steps == STEPS
    assert_same_run(tmp_path, module, summary, uninterrupted)


def test_accumulated_gradients_resume_exactly(tmp_path):
    whole, _ = train(tmp_path / "whole", accumulate_grad_batches=2)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "cut", Regression(die_at=8), accumulate_grad_batches=2)
    module, summary = train(tmp_path / "cut", accumulate_grad_batches=2)
    assert summary.resumed_from == 6
    expected = whole.state_dict()
    assert all(torch.equal(module.state_dict()[name], expected[name]) for name in expected)


def test_mixed_precision_trains_with_clipped_gradients(tmp_path):
    module, summary = train(tmp_path, precision="bf16-mixed")
    assert summary.steps == STEPS
    assert not torch.equal(module.body[0].weight, Regression().body[0].weight)


def test_truncated_checkpoint_falls_back_to_the_one_before(tmp_path, uninterrupted, caplog):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, Regression(die_at=8))
    last = tmp_path / "checkpoints/last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    module, summary = train(tmp_path)
    assert summary.resumed_from == 3
    assert "last.ckpt cannot be read" in caplog.text
    assert_same_run(tmp_path, module, summary, uninterrupted)


def test_no_readable_checkpoint_is_a_clear_error(tmp_path):
    with pytest.raises(ZeroDivisionError):
        train(tmp_path, Regression(die_at=5))
    (tmp_path / "checkpoints/last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"No checkpoint in .* delete"):
        train(tmp_path)


def test_checkpoint_holds_only_trainable_weights_and_loads_with_weights_only(uninterrupted):
    folder, _, _ = uninterrupted
    for name in ("last.ckpt", "best.ckpt"):
        state = torch.load(folder / "checkpoints" / name, weights_only=True)
        assert set(state["state_dict"]) == {
            "body.0.weight",
            "body.0.bias",
            "body.2.weight",
            "body.2.bias",
        }
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "best.ckpt",
        "last.ckpt",
    ]


def test_checkpoint_of_another_shape_is_refused_with_both_shapes(uninterrupted):
    weights = dict(uninterrupted[1])
    weights["body.0.weight"] = torch.zeros(3, FEATURES)
    with pytest.raises(UserError, match=r"body.0.weight is \(3, 5\), expected \(8, 5\)"):
        Regression().load_state_dict(weights)


def test_checkpoint_with_missing_and_extra_weights_is_refused(uninterrupted):
    weights = dict(uninterrupted[1])
    weights["head.weight"] = weights.pop("body.0.bias")
    with pytest.raises(UserError, match=r"missing \['body.0.bias'\].*\['head.weight'\]"):
        Regression().load_state_dict(weights)


def test_non_finite_loss_names_step_users_and_last_checkpoint(tmp_path):
    with pytest.raises(UserError, match=r"step 5 is nan.*users \[\d+, .*last\.ckpt"):
        train(tmp_path, Regression(broken_at=5))
    assert torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 3


def test_non_finite_weights_are_never_saved(tmp_path):
    module = Regression()
    with torch.no_grad():
        module.body[0].bias[0] = float("inf")
    module.training_step = lambda batch, batch_idx: module.body[2].weight.square().sum()
    with pytest.raises(UserError, match=r"body.0.bias is not finite after step 3"):
        train(tmp_path, module, validate_every=STEPS)
    assert not (tmp_path / "checkpoints/last.ckpt").exists()


def test_full_disk_is_a_clear_error(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytorch_lightning.Trainer.save_checkpoint", full)
    with pytest.raises(UserError, match="No space left on device"):
        train(tmp_path)


def test_unknown_monitor_names_what_is_measured(tmp_path):
    with pytest.raises(UserError, match=r"'accuracy', is not measured; choose one of \['ndcg"):
        fit(
            Regression(),
            make_batches(),
            steps=STEPS,
            seed=0,
            folder=tmp_path,
            trainer_options=TRAINER,
            loggers=[],
            checkpoint_every=5,
            validate=lambda step: {"ndcg@10": 1.0},
            validate_every=2,
            monitor="accuracy",
        )


def test_best_checkpoint_is_the_highest_validation(uninterrupted):
    _, _, summary = uninterrupted
    values = {row["step"]: row["ndcg@10"] for row in summary.history}
    assert list(values) == [4, 8, 12]
    assert summary.best_step == max(values, key=values.get)
    saved = torch.load(summary.best_checkpoint, weights_only=True)
    assert saved["global_step"] == summary.best_step


def test_batch_is_a_pure_function_of_its_number():
    forward, backward = make_batches(), make_batches()
    users = [forward(number).users for number in range(11)]
    for number in reversed(range(11)):
        assert np.array_equal(backward(number).users, users[number])


def test_processes_that_nobody_started_are_missed(tmp_path):
    guard = StepGuard(seed=0, checkpoints=Checkpoints(tmp_path, every=1, stop=None), processes=8)
    with pytest.raises(UserError, match="ask for 8 processes, but 1 were started"):
        guard.on_fit_start(SimpleNamespace(world_size=1), None)
