//! How the device code of each operation is launched.
pub mod incidence;
pub mod pool;
pub mod rank;
pub mod search;
pub mod select;

use super::Shape;
use crate::{Launch, Result, Span};

/// An incidence on a device, where nobody looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Where rows begin and end.
    pub offsets: Span<'a, u32>,
    /// The column of each entry.
    pub members: Span<'a, u32>,
    /// The number of each entry, if they are not numbered as they lie.
    pub places: Option<Span<'a, u32>>,
}

impl<'a> Rows<'a> {
    /// The incidence, if it is as long as its shape says.
    fn checked(self, op: &'static str, shape: &Shape) -> Result<Self> {
        Ok(Self {
            offsets: self.offsets.holds(shape.rows() + 1, op, "offsets")?,
            members: self.members.holds(shape.entries(), op, "members")?,
            places: self.places.map(|places| places.holds(shape.entries(), op, "places")).transpose()?,
        })
    }

    /// The arguments of a kernel that begins with an incidence.
    fn read(&self, launch: Launch<'a>, shape: &Shape) -> Launch<'a> {
        launch
            .read(self.offsets)
            .read(self.members)
            .read(self.places)
            .u32(shape.rows())
            .u32(shape.columns())
            .u32(shape.entries())
    }
}

/// Threads of most blocks, and rows of a block of a warp each.
const BLOCK: usize = 256;
const WARPS: usize = BLOCK / 32;
