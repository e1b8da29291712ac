//! The best members of each row, by a score of each column.
//!
//! | argument  | shape                | type  |
//! |-----------|----------------------|-------|
//! | incidence | see [`hyper`](super) |       |
//! | `scores`  | `[columns]`          | `Acc` |
//! | `values`  | `[rows, k]`          | `Acc` |
//! | `members` | `[rows, k]`          | `u32`, columns |
//!
//! Segmented top-k: rows are the segments. **Order** larger first, by [`order`](crate::order()); of equals the smaller
//! column. NaN ranks lowest. **Padding** where a row has fewer than `k`: value `-inf`, member the number of columns.
//! **Determinism** exact. **Errors** `Size` if shapes disagree, `Range` if `k` is more than 1024.
//! **Moves** [`Plan::bytes`].
use super::{Incidence, Shape, at_most, length};
use crate::{Float, Layout, Result, order};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// A checked problem. Only [`plan`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    shape: Shape,
    k: usize,
}

/// What a block sorts in shared memory.
const MOST: usize = 1024;

/// Check a call.
///
/// # Errors
/// See the module.
pub fn plan(shape: &Shape, scores: &Layout<1>, k: usize) -> Result<Plan> {
    length("hyper_topk", "scores", shape.columns(), Some(scores))?;
    at_most("hyper_topk", "k", MOST, k)?;
    Ok(Plan { shape: *shape, k })
}

impl Plan {
    /// How large the incidence is.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// Shape of both outputs.
    pub fn out(&self) -> [usize; 2] {
        [self.shape.rows(), self.k]
    }
    /// Bytes that any implementation must move at least.
    pub fn bytes(&self) -> usize {
        8 * self.shape.entries() + 4 * (self.shape.rows() + 1) + 8 * self.shape.rows() * self.k
    }
}

/// The definition: rank all members, keep the first `k`.
pub fn forward<A: Float>(p: &Plan, of: Incidence, scores: &[A], values: &mut [A], members: &mut [u32]) {
    for r in 0..p.shape.rows() {
        let mut ranked: Vec<u32> = of.columns(r).to_vec();
        ranked.sort_by_key(|&c| (Reverse(order(scores[c as usize])), c));
        for j in 0..p.k {
            let column = ranked.get(j).copied();
            members[r * p.k + j] = column.unwrap_or(p.shape.columns() as u32);
            values[r * p.k + j] = column.map_or(A::narrow(f64::NEG_INFINITY), |c| scores[c as usize]);
        }
    }
}
