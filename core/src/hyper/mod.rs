//! Hypergraphs: see [`latens_kernels::hyper`].
mod convolve;
mod incidence;
mod pool;
mod rank;
mod search;
mod weigh;

#[cfg(feature = "cuda")]
use latens_kernels::hyper::launch::Rows;
use latens_kernels::hyper::{self as family, Shape};
use latens_kernels::{Error, Result};

use crate::View;
pub use convolve::{Convolution, hyper_convolution, hyper_convolve, hyper_convolve_backward};
pub use incidence::{
    Hypergraph, hyper_incidence_into, hyper_incidence_workspace, hyper_transpose_into, hyper_transpose_workspace,
};
pub use latens_kernels::hyper::copy::Copied;
pub use latens_kernels::hyper::degree::Degree;
pub use latens_kernels::hyper::rank::Walk;
pub use latens_kernels::hyper::weigh::Weigh;
pub use pool::{
    hyper_dots, hyper_dots_into, hyper_largest, hyper_largest_backward, hyper_largest_backward_into,
    hyper_largest_into, hyper_pool, hyper_pool_into, hyper_topk, hyper_topk_into,
};
pub use rank::{hyper_rank, hyper_rank_into, hyper_rank_workspace};
pub use search::{
    Compressed, hyper_compress, hyper_compress_into, hyper_search, hyper_search_compressed,
    hyper_search_compressed_into, hyper_search_compressed_workspace, hyper_search_into, hyper_search_workspace,
};
pub use weigh::{
    hyper_degree, hyper_degree_into, hyper_weigh, hyper_weigh_backward, hyper_weigh_backward_into, hyper_weigh_into,
};

/// Which columns each row has, borrowed: the members of edges, or the edges of vertices. On the host it is checked.
#[derive(Clone, Copy)]
pub struct Incidence<'a> {
    offsets: View<'a, u32, 1>,
    members: View<'a, u32, 1>,
    places: Option<View<'a, u32, 1>>,
    shape: Shape,
}

impl<'a> Incidence<'a> {
    /// Row `r` has the columns `members[offsets[r]..offsets[r + 1]]`, rising, each below `columns`. `places` are the
    /// numbers of the entries, none twice, where they are not numbered as they lie.
    ///
    /// # Errors
    /// As [`latens_kernels::hyper::Incidence::check`]; on a GPU only what lengths say.
    pub fn new(
        offsets: View<'a, u32, 1>,
        members: View<'a, u32, 1>,
        places: Option<View<'a, u32, 1>>,
        columns: usize,
    ) -> Result<Self> {
        let ([ends], [entries]) = (offsets.dims(), members.dims());
        let size = |arg, want, got| Error::Size { op: "hyper", arg, want, got };
        let rows = ends.checked_sub(1).ok_or(size("offsets", 1, 0))?;
        if let Some(got) = places.map(|places| places.dims()[0]).filter(|&got| got != entries) {
            return Err(size("places", entries, got));
        }
        let incidence = Self { offsets, members, places, shape: Shape::new(rows, columns, entries)? };
        if offsets.device().is_host() {
            incidence.host("hyper")?.check("hyper", &incidence.shape)?;
        }
        Ok(incidence)
    }

    /// How large it is.
    pub fn shape(&self) -> Shape {
        self.shape
    }
    /// Where rows begin and end.
    pub fn offsets(&self) -> View<'a, u32, 1> {
        self.offsets
    }
    /// The column of each entry.
    pub fn members(&self) -> View<'a, u32, 1> {
        self.members
    }
    /// The number of each entry, if they are not numbered as they lie.
    pub fn places(&self) -> Option<View<'a, u32, 1>> {
        self.places
    }

    fn host(&self, op: &'static str) -> Result<family::Incidence<'a>> {
        let places = self.places.map(|places| places.host(op, "places")).transpose()?;
        let entries = self.shape.entries();
        Ok(family::Incidence {
            offsets: &self.offsets.host(op, "offsets")?[..self.shape.rows() + 1],
            members: &self.members.host(op, "members")?[..entries],
            places: places.map_or(&[], |places| &places[..entries]),
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, device: &crate::cuda::Device, op: &'static str) -> Result<Rows<'a>> {
        Ok(Rows {
            offsets: self.offsets.cuda(device, op, "offsets")?,
            members: self.members.cuda(device, op, "members")?,
            places: self.places.map(|places| places.cuda(device, op, "places")).transpose()?,
        })
    }
}
