//! Hypergraphs: edges that join any number of vertices, and the passes over who belongs to what.
//!
//! An *incidence* says which columns each row has: edges by vertices, or turned over, vertices by edges. All passes
//! are written for rows and columns, so that both directions are one kernel.
//!
//! | argument  | shape         | type | |
//! |-----------|---------------|------|-|
//! | `offsets` | `[rows + 1]`  | `u32` | row `r` holds `offsets[r]..offsets[r + 1]`, its *entries* |
//! | `members` | `[entries]`   | `u32` | the column of each entry, rising within its row |
//! | `places`  | `[entries]`, optional | `u32` | the number of each entry, none twice |
//!
//! **Numbers.** Whatever belongs to an entry (weights, coefficients, their gradients) lies in one order, that of the
//! incidence that was built first. The one turned over names those numbers in `places`, so nothing is ever copied from
//! one order to the other. Without `places`, the entries of a row are numbered as they lie.
//!
//! ```text
//! offsets, members, weights = pairs, sorted, equal ones merged     incidence::build
//! the same by columns, with places                                 incidence::transpose
//! d[r] = Σ h,  d^-1/2,  idf                                       degree: how much belongs to a row
//! a[i] = h, h / Σ h, softmax h over the row                        weigh: how members share in their row
//! y[r] = Σ a[i] x[c],  max a[i] x[c]                               pool: of vectors, or (dim 1) of scores
//! π    = (1 - a) p0 + a Pᵀ π                                       rank: personalised PageRank
//! the k best members of each row                                   select
//! the k rows of a corpus nearest to each query                     search
//! ```
//!
//! **The linear reorder.** A mean of members times a query is the mean of their scores: `(A X) q = A (X q)`. Scoring
//! edges by pooling scores moves 8 bytes for an entry where pooling vectors moves `dim * size`; so score vertices once,
//! and pool the scores with `dim = 1`.
//!
//! **On the host** an incidence is checked where it comes in ([`Incidence::check`]). **On CUDA**, where to look would be
//! to wait, an offset past the end is taken as the end, and an entry whose column or number is too large is passed over.
//! Entries of one number read what is there alike; of what they write there, one stays, and chance decides which. A number that
//! none has gets 0, as ever, and no other number is touched. The entries behind the last offset belong to no row and are never
//! read.
//!
//! **Empty** rows pool to 0, never NaN; columns in no row get gradient 0. **Sums** are kept in `Acc`, in the order of
//! entries, and rounded once (of ranks, in parts: see [`rank`]). **Determinism** stable, whatever the number of threads; no atomics on floats. Long rows
//! are one thread's (CPU: one core's) work: nothing is split, so a hypergraph of one giant edge is slow.
//!
//! **Errors** `Size` where shapes disagree, `Range` past an index of 31 bits, and what `check` says.
//!
//! **Source** Feng et al., *Hypergraph neural networks* (2019), for the operator that `weigh` and `pool` compose; Chitra
//! and Raphael, *Random walks on hypergraphs with edge-dependent vertex weights* (2019), for the walk.
pub mod copy;
pub mod degree;
pub mod incidence;
pub mod launch;
pub mod pool;
pub mod rank;
pub mod search;
pub mod select;
pub mod weigh;

use crate::{Error, Image, Layout, Result};
pub use incidence::{Incidence, Shape};

/// The device code.
pub static IMAGE: Image = Image { name: "hyper", bytes: include_bytes!(concat!(env!("OUT_DIR"), "/hyper.fatbin")) };

fn size(op: &'static str, arg: &'static str, want: usize, got: usize) -> Result<()> {
    if want == got { Ok(()) } else { Err(Error::Size { op, arg, want, got }) }
}

fn length(op: &'static str, arg: &'static str, want: usize, got: Option<&Layout<1>>) -> Result<()> {
    got.map_or(Ok(()), |got| size(op, arg, want, got.dims()[0]))
}

fn at_most(op: &'static str, arg: &'static str, max: usize, got: usize) -> Result<()> {
    if got <= max { Ok(()) } else { Err(Error::Range { op, arg, max, got }) }
}
