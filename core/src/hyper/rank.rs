use super::{Incidence, Walk};
use crate::{Data, Device, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::hyper::launch::rank as launch;
use latens_kernels::hyper::{Shape, rank};
use latens_kernels::{Float, Layout, Result};

const OP: &str = "hyper_rank";

fn plan<A: Float>(
    [edges, vertices]: [&Incidence<'_>; 2],
    weights: &Option<View<'_, A, 1>>,
    shares: &Option<View<'_, A, 1>>,
    seeds: &Layout<2>,
    walk: Walk,
) -> Result<rank::Plan> {
    let [weights, shares] = [weights, shares].map(|numbers| numbers.map(|numbers| numbers.layout()));
    let placed = [edges.places.is_some(), vertices.places.is_some()];
    rank::plan(&edges.shape, &vertices.shape, placed, weights.as_ref(), shares.as_ref(), seeds, walk)
}

/// Personalised PageRank of each column of `seeds` \[vertices, columns\], and by how much its last step changed it: see
/// [`latens_kernels::hyper::rank`].
pub fn hyper_rank<A: Float>(
    edges: Incidence<'_>,
    vertices: Incidence<'_>,
    weights: Option<View<'_, A, 1>>,
    shares: Option<View<'_, A, 1>>,
    seeds: View<'_, A, 2>,
    walk: Walk,
) -> Result<(Tensor<A, 2>, Tensor<A, 1>)> {
    let device = seeds.device();
    let mut ranks = Tensor::empty(seeds.dims(), &device)?;
    let mut change = Tensor::empty([seeds.dims()[1]], &device)?;
    let mut workspace = Tensor::empty([hyper_rank_workspace(edges.shape.rows(), &seeds.layout(), &device)?], &device)?;
    let (r, c, w) = (ranks.view_mut(), change.view_mut(), workspace.view_mut());
    hyper_rank_into(edges, vertices, weights, shares, seeds, walk, r, c, w)?;
    Ok((ranks, change))
}

/// [`hyper_rank`] into memory of the caller. On a GPU it neither allocates there nor waits.
pub fn hyper_rank_into<A: Float>(
    edges: Incidence<'_>,
    vertices: Incidence<'_>,
    weights: Option<View<'_, A, 1>>,
    shares: Option<View<'_, A, 1>>,
    seeds: View<'_, A, 2>,
    walk: Walk,
    ranks: ViewMut<'_, A, 2>,
    change: ViewMut<'_, A, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let p = plan([&edges, &vertices], &weights, &shares, &seeds.layout(), walk)?;
    let ranks = ranks.packed(OP, "rank", p.out())?;
    let change = change.packed(OP, "change", [p.out()[1]])?;
    let workspace = workspace.data();
    match seeds.data() {
        Data::Host(seeds) => {
            workspace.host(OP, "workspace")?;
            let weights = weights.map(|weights| weights.host(OP, "weights")).transpose()?;
            let shares = shares.map(|shares| shares.host(OP, "shares")).transpose()?;
            let graph = rank::Graph { edges: edges.host(OP)?, vertices: vertices.host(OP)?, weights, shares };
            let (ranks, change) = (ranks.host(OP, "rank")?, change.host(OP, "change")?);
            latens_cpu::hyper::rank::forward(&p, graph, seeds, ranks, change);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, seeds) => {
            let weights = weights.map(|weights| weights.cuda(device, OP, "weights")).transpose()?;
            let shares = shares.map(|shares| shares.cuda(device, OP, "shares")).transpose()?;
            let (edges, vertices) = (edges.cuda(device, OP)?, vertices.cuda(device, OP)?);
            let graph = launch::Graph { edges, vertices, weights, shares };
            let (ranks, change) = (ranks.cuda(device, OP, "rank")?, change.cuda(device, OP, "change")?);
            let workspace = workspace.cuda(device, OP, "workspace")?;
            device.run(&launch::launch(&p, device.chip(), graph, seeds, ranks, change, workspace)?)
        }
    }
}

/// Bytes of scratch that [`hyper_rank_into`] asks for on `device`, for that many edges.
#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
pub fn hyper_rank_workspace(edges: usize, seeds: &Layout<2>, device: &Device) -> Result<usize> {
    let (shape, walk) = (Shape::new(edges, seeds.dims()[0], 0)?, Walk { damping: 0.0, steps: 0, tolerance: 0.0 });
    let p = rank::plan(&shape, &shape.transposed(), [false, true], None, None, seeds, walk)?;
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => Ok(launch::workspace(&p)),
    }
}
