//! The `k` largest entries by magnitude of a gradient and what earlier steps left out, and the sum of such packets.
//!
//! | [`forward`]  | shape               | type          |
//! |--------------|---------------------|---------------|
//! | `g`          | `[n]`               | float: the gradient |
//! | `e`          | `[n]`               | `Float::Acc`, in place: the error memory |
//! | `values`     | `[k]`               | `Float::Acc`  |
//! | `indices`    | `[k]`               | `u32`         |
//! | `counts`     | `[2]`               | `u32`: entries sent, entries dropped |
//! | `workspace`  | [`Plan::workspace`] | bytes, CUDA only |
//!
//! With `a = g + e`, rounded once: the `k` entries of largest `|a|` go out, exactly as they are, and leave 0 behind; the
//! others stay, `e = a`. So what was sent and what is left add up to what came, entry by entry.
//!
//! **Order** the choice is exact, by the order of `|a|`; of equals the smaller index is sent. Indices ascend. **NaN** an
//! entry whose `a` is not finite is dropped: it is not sent, its memory stays as it was, and `counts[1]` tells how many
//! there were. If fewer than `k` are left, `counts[0]` is less than `k`, and the slots behind hold value 0 and index `n`.
//! **Empty** `k = 0` sends nothing and adds `g` to the memory. **Determinism** exact. **Errors** `Range` if `k > n` or an
//! index is too small for `n`. **Moves** [`Plan::bytes`]: the host reads and writes the memory once.
//!
//! | [`sum`]      | shape               | type          |
//! |--------------|---------------------|---------------|
//! | `values`     | `[ranks, k]`        | `Float::Acc`  |
//! | `indices`    | `[ranks, k]`        | `u32`, ascending in every row; `n` pads the end |
//! | `y`          | `[n]`               | float         |
//!
//! `y = scale * (values of that index, rank by rank)`, or `y += ..`: the inverse of `ranks` packets, 0 where nobody sent.
//!
//! **Bad indices** on the host `Value` if a row does not ascend and `Range` beyond `n`; on CUDA, where the host does not
//! look at them, they spoil entries of `y` and touch nothing else. **Order** of a sum is that of the ranks, in `Float::Acc`.
//! **Determinism** exact. **Moves** [`SumPlan::bytes`].
//!
//! **Source** error feedback of Stich et al. 2018 (sparsified SGD with memory).
mod launch;
mod reference;

use crate::{Accumulate, Error, Image, Layout, Result};
pub use launch::{launch, launch_sum};
pub use reference::{forward, sum};

/// The device code.
pub static IMAGE: Image =
    Image { name: "sparsify", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/sparsify.fatbin")) };

/// A checked packet. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    n: usize,
    k: usize,
}

/// A checked sum of packets. Only [`plan_sum`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct SumPlan {
    ranks: usize,
    k: usize,
    n: usize,
    scale: f32,
    accumulate: Accumulate,
}

fn indexed(op: &'static str, n: usize) -> Result<()> {
    let max = u32::MAX as usize;
    if n > max { Err(Error::Range { op, arg: "n", max, got: n }) } else { Ok(()) }
}

/// Check a call.
///
/// # Errors
/// `Size` if `e` is not as long as `g`, `Range` if `k` is larger, or an index too small.
pub fn plan(g: &Layout<1>, e: &Layout<1>, k: usize) -> Result<Plan> {
    let ([n], [got]) = (g.dims(), e.dims());
    indexed("sparsify", n)?;
    if got != n {
        return Err(Error::Size { op: "sparsify", arg: "e", want: n, got });
    }
    if k > n {
        return Err(Error::Range { op: "sparsify", arg: "k", max: n, got: k });
    }
    Ok(Plan { n, k })
}

/// Check a call of the sum, but for the indices themselves.
///
/// # Errors
/// `Size` if the packets differ in shape, `Stride` if they have gaps, `Range` if `k` exceeds `n` or `n` an index.
pub fn plan_sum(
    values: &Layout<2>,
    indices: &Layout<2>,
    scale: f32,
    accumulate: Accumulate,
    y: &Layout<1>,
) -> Result<SumPlan> {
    const OP: &str = "sparsify_sum";
    let ([ranks, k], [n]) = (values.dims(), y.dims());
    indexed(OP, n)?;
    if let Some((want, got)) = values.dims().into_iter().zip(indices.dims()).find(|(want, got)| want != got) {
        return Err(Error::Size { op: OP, arg: "indices", want, got });
    }
    for (arg, layout) in [("values", values), ("indices", indices)] {
        if !layout.is_packed() {
            return Err(Error::Stride { op: OP, arg, want: k, got: layout.strides()[0] });
        }
    }
    if k > n {
        return Err(Error::Range { op: OP, arg: "k", max: n, got: k });
    }
    Ok(SumPlan { ranks, k, n, scale, accumulate })
}

impl Plan {
    /// Entries of the gradient.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Entries of the packet.
    pub fn k(&self) -> usize {
        self.k
    }
    /// Bytes of scratch on CUDA: a bit per entry, counts of digits, two counts per piece.
    pub fn workspace(&self) -> usize {
        let pieces = self.n.div_ceil(launch::PIECE);
        4 * (self.n.div_ceil(32) + 2 * pieces) + 8 * (launch::BINS + 2) + 5 * 256
    }
    /// Bytes that any implementation must move at least, for a gradient and a memory of these bytes an entry.
    pub fn bytes(&self, g: usize, e: usize) -> usize {
        self.n * (g + 2 * e) + self.k * (e + 4)
    }
}

impl SumPlan {
    /// Entries of `y`.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Entries of a packet.
    pub fn k(&self) -> usize {
        self.k
    }
    /// Packets.
    pub fn ranks(&self) -> usize {
        self.ranks
    }
    /// What sums are multiplied by.
    pub fn scale(&self) -> f32 {
        self.scale
    }
    /// What becomes of `y`.
    pub fn accumulate(&self) -> Accumulate {
        self.accumulate
    }
    /// Check the indices, where they can be read.
    ///
    /// # Errors
    /// `Range` beyond `n`, `Value` if they do not ascend.
    pub fn check(&self, indices: &[u32]) -> Result<()> {
        const OP: &str = "sparsify_sum";
        for row in indices[..self.ranks * self.k].chunks_exact(self.k.max(1)) {
            let bad = row.iter().find(|&&index| index as usize > self.n);
            if let Some(&index) = bad {
                return Err(Error::Range { op: OP, arg: "indices", max: self.n, got: index as usize });
            }
            if row.windows(2).any(|pair| pair[0] >= pair[1] && (pair[0] as usize) < self.n || pair[1] < pair[0]) {
                return Err(Error::Value { op: OP, arg: "indices", want: "ascending in every rank" });
            }
        }
        Ok(())
    }
    /// Bytes that any implementation must move at least, for `y` and values of these bytes an entry.
    pub fn bytes(&self, y: usize, value: usize) -> usize {
        let times = if self.accumulate == Accumulate::Add { 2 } else { 1 };
        self.n * y * times + self.ranks * self.k * (value + 4)
    }
}
