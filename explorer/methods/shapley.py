"""Methods that share the class score out among the channels: Shapley values and their linear surrogate."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from explorer.declaration import option
from explorer.methods.base import ANY_MAP, Attribution, Blank, Method, from_signed, register, weighted_sum
from explorer.methods.lift import LiftCAM
from explorer.methods.masking import ONE_SHARE, strongest
from explorer.probe import Probe


@dataclass(frozen=True, eq=False, kw_only=True)
class ShapleyAttribution(Attribution):
    """An attribution with the Shapley ``values`` (K,) of the channels and their standard ``errors`` (K,)."""

    values: Tensor
    errors: Tensor


@register
@dataclass(frozen=True)
class ShapleyCAM(Method):
    name = "shapley-cam"
    title = "Shapley-CAM"
    paper = LiftCAM.paper
    family = "Shapley values"
    cost = "1 pass, and the head twice for each channel and pair of orderings"
    good = "Shares the logit out fairly among the channels, with error bars: what LIFT-CAM approximates."
    bad = "Slow unless one linear layer follows, and the error falls only with the root of the orderings."
    on_linear_head = ONE_SHARE.format("")

    pairs: int = option(
        8,
        "Random orderings of the channels, each also taken backwards.",
        label="pairs of orderings",
        source="here",
        low=2,
        high=500,
        quick=2,
    )
    channels: int = option(
        0,
        "Only so many channels, those of the largest energy, share the score; the others stay. 0 for all.",
        label="channels",
        source="here",
        low=0,
        high=100_000,
    )
    seed: int = option(0, "Of the orderings.", label="seed", source="here", low=0, high=9999)

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> ShapleyAttribution:
        """relu(sum_k phi_k A_k), phi the Shapley values of the channels in the game y_c(the channels present).

        An absent channel is zero. With a linear head after pooling phi_k = sum_ij g_k A_k, with nothing sampled.
        """
        activation = probe.activation
        energy = activation.square().sum((1, 2))
        players, notes = strongest(energy, energy > 0, self.channels)
        values, errors = activation.new_zeros(2, len(activation))
        if probe.cut.pooled_linear:
            values[players] = (probe.gradient(target) * activation).sum((1, 2))[players]
        elif len(players):
            values[players], errors[players] = sampled_values(probe, target, players, self.pairs, self.seed)
            spread = values[players].std(correction=0)
            if spread > 0:
                share = float(errors.square().sum().div(len(players)).sqrt() / spread)
                notes += (
                    f"The standard error of a channel's value is {share:.1%} of the spread of the values.",
                )
        found = from_signed(weighted_sum(values, probe), probe, notes)
        return ShapleyAttribution(**vars(found), values=values, errors=errors)


def sampled_values(
    probe: Probe, target: int, players: Tensor, pairs: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Shapley values (M,) of channels, and their standard errors (M,), from pairs of opposite orderings.

    A channel's value in one ordering is what it adds to the target's logit after those before it; the values of one
    ordering add up to the logit less that without any player. Channels that are no players stay. A pair counts as
    one draw, so the error is that of its mean, which opposite orderings make smaller.

    Castro, Gomez, Tejada, 2009; antithetic pairs: Mitchell, Cooper, Frank, Holmes, 2022.

    Args:
        players: indices (M,) of channels.
    """
    activation = probe.activation
    count = len(players)
    generator = torch.Generator().manual_seed(seed)
    draws = []
    for _ in range(pairs):
        order = torch.randperm(count, generator=generator).to(players.device)
        both = [_additions(probe, target, activation, players, one) for one in (order, order.flip(0))]
        draws.append(torch.stack(both).mean(0))
    values = torch.stack(draws)
    return values.mean(0), values.std(0) / math.sqrt(pairs)


def _additions(probe: Probe, target: int, activation: Tensor, players: Tensor, order: Tensor) -> Tensor:
    """What each player (M,) adds to the target's logit when they come in this order (M,)."""
    arrival = torch.zeros(len(activation), dtype=torch.long, device=order.device)
    arrival[players[order]] = torch.arange(1, len(order) + 1, device=order.device)

    def present(chosen: slice) -> Tensor:
        moments = torch.arange(chosen.start, chosen.stop, device=order.device)
        return activation * (arrival <= moments[:, None])[:, :, None, None]

    logits = probe.head(present, len(order) + 1, target)
    added = torch.empty_like(logits[1:])
    added[order] = logits.diff()
    return added


@register
@dataclass(frozen=True)
class LIMECAM(Method):
    name = "lime-cam"
    title = "LIME-CAM"
    paper = LiftCAM.paper
    family = "Shapley values"
    cost = "1 pass, and the head once for each channel"
    good = "Fits one linear model to random subsets of the channels: the head only, whatever it is."
    bad = "With no more samples than channels the fit is underdetermined, and the penalty sets most weights to zero."
    blanks = (*ANY_MAP, Blank.PENALISED)

    samples: int = option(
        0,
        "Random subsets of the channels; 0 for as many as there are channels, as released.",
        label="samples",
        source="github.com/Hyungsik-Jung/LIFT-CAM",
        low=0,
        high=100_000,
    )
    penalty: float = option(
        0.01,
        "Of the absolute weights; a larger one leaves fewer channels.",
        label="penalty",
        source="captum",
        low=0.0001,
        high=1.0,
    )
    seed: int = option(0, "Of the subsets.", label="seed", source="here", low=0, high=9999)

    def __call__(self, probe: Probe, target: int, references: Tensor | None = None) -> Attribution:
        """relu(sum_k w_k A_k), w of a lasso from channel presence z, each channel with chance 1/2, to y_c(z A).

        As captum's defaults: a sample weighs exp(-(1 - cos(A, z A))^2 / 2); the cosine is |z A| / |A|.
        """
        activation = probe.activation
        count = self.samples or len(activation)
        generator = torch.Generator().manual_seed(self.seed)
        present = (torch.rand(count, len(activation), generator=generator) < 0.5).to(activation.device)
        logits = probe.head(lambda chosen: activation * present[chosen, :, None, None], count, target)
        energy = activation.double().square().sum((1, 2))
        if not energy.isfinite().all() or not logits.isfinite().all() or not energy.any():
            return from_signed(activation.sum(0), probe)
        bits = present.double()
        distance = 1 - (bits @ energy / energy.sum()).sqrt()
        weights = lasso(bits, logits.double(), torch.exp(-(distance**2) / 2), self.penalty)
        found = from_signed(weighted_sum(weights.float(), probe), probe)
        kept = f"The penalty leaves {int(weights.count_nonzero())} of {len(weights)} channels."
        if weights.any():
            return replace(found, notes=(kept,))
        return replace(found, blank=Blank.PENALISED, notes=(kept,))


def lasso(inputs: Tensor, outputs: Tensor, importance: Tensor, penalty: float) -> Tensor:
    """The slopes w (K,) that minimise sum_i s_i (y_i - b - x_i w)^2 / (2 sum s) + penalty |w|_1.

    Accelerated proximal gradient with restarts (Beck, Teboulle, 2009; O'Donoghue, Candes, 2015).

    Args:
        inputs: (M, K) float64.
        outputs: (M,)
        importance: s (M,), positive.
    """
    share = importance / importance.sum()
    rows = (inputs - share @ inputs) * share.sqrt()[:, None]
    wanted = (outputs - share @ outputs) * share.sqrt()
    direction = torch.ones_like(rows[0])
    for _ in range(30):
        direction = rows.T @ (rows @ direction)
        direction /= direction.norm().clamp(min=torch.finfo(direction.dtype).tiny)
    step = 1 / (1.1 * (rows @ direction).square().sum()).clamp(min=torch.finfo(rows.dtype).tiny)
    slopes = ahead = torch.zeros_like(direction)
    momentum = 1.0
    for _ in range(5000):
        moved = ahead - step * (rows.T @ (rows @ ahead - wanted))
        found = moved.sign() * (moved.abs() - step * penalty).relu()
        change = found - slopes
        if change.abs().max() <= 1e-9 * found.abs().max():
            return found
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        restart = (ahead - found) @ change > 0
        ahead = found if restart else found + (momentum - 1) / following * change
        slopes, momentum = found, 1.0 if restart else following
    return slopes
