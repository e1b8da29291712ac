//! Hypergraphs, operation by operation.
mod incidence;
mod pool;
mod rank;
mod search;
mod weigh;

pub use incidence::*;
pub use pool::*;
pub use rank::*;
pub use search::*;
pub use weigh::*;

use crate::call::Call;
use crate::{Failure, LatensTensor};
use latens_core::Incidence;

/// An incidence: offsets, members and, where it has been turned over, places.
fn incidence<'a>(
    call: &'a Call,
    [offsets, members, places]: [*const LatensTensor; 3],
    columns: usize,
) -> Result<Incidence<'a>, Failure> {
    let (offsets, members) = (call.input("offsets", offsets)?, call.input("members", members)?);
    Incidence::new(offsets, members, call.optional("places", places)?, columns).map_err(call.about("incidence"))
}
