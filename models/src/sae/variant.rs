//! What makes latents active, and what keeps the active ones few.
use crate::io::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which latents are active. `z = W_enc (x - b_dec) + b_enc`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// The `k` strongest positive ones of every row.
    TopK,
    /// While training, the `k · rows` strongest positive ones of the batch, however many fall on one row; afterwards
    /// all above a threshold, the running mean of the weakest that was kept.
    BatchTopK,
    /// The strongest positive one of each of `k` groups of neighbours, as sparsify's `groupmax`.
    GroupMax,
    /// The `k` strongest positive ones among the latents of one of several experts, to which a router sends the row ([`Switch`]).
    Switch(Switch),
    /// All positive ones; a penalty makes them few.
    ReLU(Sparsity),
    /// Those above a threshold of their own, which is learned through a rectangle ([`Jump`]); the value is `z`.
    JumpReLU(Jump),
    /// Those of which `z` is positive, but with values of factors and biases of their own ([`Gated`]).
    Gated(Gated),
}

/// A penalty on values `a`, in units of [`Units`](super::Units), for each row: `weight / d` times the sum of what each costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sparsity {
    /// The factor. With [`Units::Deviation`](super::Units::Deviation) it is that of SAELens and dictionary_learning for activations that
    /// were normalised before, for there the squared error is not divided by `d`.
    pub weight: f32,
    /// What a value costs.
    pub cost: Cost,
    /// Steps over which the factor rises from 0.
    #[serde(default)]
    pub warm: usize,
    /// Whether a value counts as often as the row of the decoder is long, which lets rows have any length.
    #[serde(default)]
    pub by_length: bool,
    /// A power that changes while training.
    #[serde(default)]
    pub anneal: Option<Anneal>,
}

/// What one value costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// `a^p`; 1 is L1.
    Power(f32),
    /// `tanh(c a)`.
    Tanh(f32),
    /// 1 if it is not 0: for [`Variant::JumpReLU`] only, whose thresholds have a gradient for it.
    Count,
    /// Instead of a sum over latents, `(active / target - 1)²`, where `active` is their number per row in the batch: as `Count`.
    Target(f32),
}

/// p-annealing: the power falls in steps of equal size, and the factor changes with it so that the penalty goes on as it was
/// (dictionary_learning).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anneal {
    /// The last power.
    pub to: f32,
    /// The step at which it begins.
    pub from_step: usize,
    /// In how many changes.
    pub turns: usize,
}

/// Thresholds that are learned: gradients flow to them from values within `width / 2` of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jump {
    /// The penalty.
    pub sparsity: Sparsity,
    /// Width of the rectangle, in units of [`Units`](super::Units).
    pub width: f32,
    /// What thresholds start from, in the same.
    pub start: f32,
    /// Whether their logarithms are learned (SAELens) or they themselves (dictionary_learning).
    pub log: bool,
}

/// A gate with its own bias: `a = max(exp(r) W_enc (x - b_dec) + b_mag, 0)` where `z > 0`. The penalty is on `max(z, 0)`, which has to
/// reconstruct the rows as well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gated {
    /// The penalty.
    pub sparsity: Sparsity,
    /// Whether the reconstruction from `max(z, 0)` leaves the decoder alone, as in the paper and in dictionary_learning; in SAELens it
    /// does not.
    pub detached: bool,
}

/// Experts: blocks of neighbouring latents of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// How many.
    pub experts: usize,
    /// Weight of what keeps them equally busy: `balance · experts · Σ f P`, with the share of rows `f` that an expert gets and the mean `P` of
    /// its chances, over `d` as penalties are in [`Units`](super::Units). switch_sae has 0.01 `d`.
    pub balance: f32,
}

impl Default for Sparsity {
    /// L1 of weight 5.
    fn default() -> Self {
        Self { weight: 5.0, cost: Cost::Power(1.0), warm: 0, by_length: false, anneal: None }
    }
}

impl Default for Jump {
    /// SAELens': the number of active latents, weight 1, thresholds from 0.01 with a rectangle of 0.05, learned as logarithms.
    fn default() -> Self {
        let sparsity = Sparsity { weight: 1.0, cost: Cost::Count, ..Sparsity::default() };
        Self { sparsity, width: 0.05, start: 0.01, log: true }
    }
}

impl Default for Gated {
    /// Detached, L1 of weight 5.
    fn default() -> Self {
        Self { sparsity: Sparsity::default(), detached: true }
    }
}

impl Variant {
    /// Its penalty, if it has one.
    pub fn sparsity(&self) -> Option<&Sparsity> {
        match self {
            Variant::TopK | Variant::BatchTopK | Variant::GroupMax | Variant::Switch(_) => None,
            Variant::ReLU(sparsity)
            | Variant::JumpReLU(Jump { sparsity, .. })
            | Variant::Gated(Gated { sparsity, .. }) => Some(sparsity),
        }
    }

    /// Whether its penalty counts values by the lengths of the decoder's rows.
    pub(super) fn by_length(&self) -> bool {
        self.sparsity().is_some_and(|sparsity| sparsity.by_length)
    }

    /// Whether `k` says how many are active.
    pub fn counts(&self) -> bool {
        self.sparsity().is_none()
    }

    /// # Errors
    /// [`Error::Setting`] naming the first setting that has no meaning.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |name, wanted: &str| Err(Error::setting(name, wanted));
        let positive = |x: f32| x.is_finite() && x > 0.0;
        if let Variant::JumpReLU(jump) = self {
            match jump {
                Jump { width, .. } if !positive(*width) => return wrong("variant.width", "must be a number above 0"),
                Jump { start, .. } if !positive(*start) => return wrong("variant.start", "must be a number above 0"),
                _ => {}
            }
        }
        if let Variant::Switch(Switch { experts, balance }) = self {
            return match *experts > 0 && balance.is_finite() && *balance >= 0.0 {
                true => Ok(()),
                false => wrong("variant.switch", "needs at least one expert, and a balance of at least 0"),
            };
        }
        let Some(sparsity) = self.sparsity() else { return Ok(()) };
        let jumps = matches!(self, Variant::JumpReLU(_));
        match sparsity.cost {
            _ if !(sparsity.weight.is_finite() && sparsity.weight >= 0.0) => {
                wrong("variant.weight", "must be a number of at least 0")
            }
            Cost::Power(of) | Cost::Tanh(of) if !positive(of) => wrong("variant.cost", "must be a number above 0"),
            Cost::Target(of) if !positive(of) => wrong("variant.cost", "the target must be a number above 0"),
            Cost::Count | Cost::Target(_) if !jumps => {
                wrong("variant.cost", "a number of active latents has a gradient for jumprelu only")
            }
            Cost::Power(_) => sparsity.anneal.map_or(Ok(()), |anneal| match anneal {
                Anneal { to, .. } if !positive(to) => wrong("variant.anneal.to", "must be a number above 0"),
                Anneal { turns: 0, .. } => wrong("variant.anneal.turns", "must be at least 1"),
                _ => Ok(()),
            }),
            _ if sparsity.anneal.is_some() => wrong("variant.anneal", "needs a cost that is a power"),
            _ => Ok(()),
        }
    }
}

impl Anneal {
    /// The power after so many changes, of those that begin with `from`.
    pub(super) fn power(&self, from: f32, turn: usize) -> f32 {
        from + (self.to - from) * turn.min(self.turns) as f32 / self.turns as f32
    }

    /// How many changes there were at the beginning of a step of a run.
    pub(super) fn turn(&self, step: usize, steps: usize) -> usize {
        let each = (steps.saturating_sub(self.from_step) / self.turns).max(1);
        (step.saturating_sub(self.from_step) / each + usize::from(step >= self.from_step)).min(self.turns)
    }
}
