use super::Incidence;
use crate::{Data, Device, Tensor, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::hyper::launch::incidence as launch;
use latens_kernels::hyper::{Shape, incidence};
use latens_kernels::{Float, Result};

const BUILD: &str = "hyper_incidence";
const TURN: &str = "hyper_transpose";

/// A hypergraph: the members of each edge, and the edges of each vertex.
pub struct Hypergraph {
    edges: [Tensor<u32, 1>; 2],
    vertices: [Tensor<u32, 1>; 3],
    shape: Shape,
}

impl Hypergraph {
    /// From pairs of an edge and a vertex, in any order; equal pairs become one, and their weights are added. The weights
    /// come back in the order of entries.
    ///
    /// # Errors
    /// As [`latens_kernels::hyper::incidence`] says.
    pub fn new<A: Float>(
        edges: View<'_, u32, 1>,
        vertices: View<'_, u32, 1>,
        weights: Option<View<'_, A, 1>>,
        [edge_count, vertex_count]: [usize; 2],
    ) -> Result<(Self, Option<Tensor<A, 1>>)> {
        let device = edges.device();
        let [pairs] = edges.dims();
        let shape = Shape::new(edge_count, vertex_count, pairs)?;
        let empty = |len| Tensor::<u32, 1>::empty([len], &device);
        let [mut offsets, mut members] = [empty(edge_count + 1)?, empty(pairs)?];
        let mut merged = weights.map(|_| Tensor::empty([pairs], &device)).transpose()?;
        let mut workspace = Tensor::empty([hyper_incidence_workspace(&shape, &device)?], &device)?;
        let out = merged.as_mut().map(Tensor::view_mut);
        let (o, m) = (offsets.view_mut(), members.view_mut());
        hyper_incidence_into(edges, vertices, weights, [edge_count, vertex_count], o, m, out, workspace.view_mut())?;
        let [mut starts, mut turned, mut places] = [empty(vertex_count + 1)?, empty(pairs)?, empty(pairs)?];
        let from = Incidence { offsets: offsets.view(), members: members.view(), places: None, shape };
        let (s, t, p) = (starts.view_mut(), turned.view_mut(), places.view_mut());
        hyper_transpose_into(from, s, t, p, workspace.view_mut())?;
        Ok((Self { edges: [offsets, members], vertices: [starts, turned, places], shape }, merged))
    }

    /// The members of each edge.
    pub fn edges(&self) -> Incidence<'_> {
        let [offsets, members] = &self.edges;
        Incidence { offsets: offsets.view(), members: members.view(), places: None, shape: self.shape }
    }

    /// The edges of each vertex.
    pub fn vertices(&self) -> Incidence<'_> {
        let [offsets, members, places] = &self.vertices;
        let places = Some(places.view());
        Incidence { offsets: offsets.view(), members: members.view(), places, shape: self.shape.transposed() }
    }
}

/// Sort pairs by row and column and merge equal ones, into memory of the caller: see
/// [`latens_kernels::hyper::incidence`]. On a GPU it neither allocates nor waits.
pub fn hyper_incidence_into<A: Float>(
    rows: View<'_, u32, 1>,
    columns: View<'_, u32, 1>,
    weights: Option<View<'_, A, 1>>,
    [row_count, column_count]: [usize; 2],
    offsets: ViewMut<'_, u32, 1>,
    members: ViewMut<'_, u32, 1>,
    merged: Option<ViewMut<'_, A, 1>>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let shape = Shape::new(row_count, column_count, rows.dims()[0])?;
    let of_weights = weights.map(|weights| weights.layout());
    let p = incidence::plan(&shape, &rows.layout(), &columns.layout(), of_weights.as_ref())?;
    let offsets = offsets.packed(BUILD, "offsets", [row_count + 1])?;
    let members = members.packed(BUILD, "members", [shape.entries()])?;
    if weights.is_some() != merged.is_some() {
        let want = "given with weights, and only then";
        return Err(latens_kernels::Error::Value { op: BUILD, arg: "merged", want });
    }
    let merged = merged.map(|merged| merged.packed(BUILD, "merged", [shape.entries()])).transpose()?;
    let workspace = workspace.data();
    match rows.data() {
        Data::Host(rows) => {
            workspace.host(BUILD, "workspace")?;
            let columns = columns.host(BUILD, "columns")?;
            let weights = weights.map(|weights| weights.host(BUILD, "weights")).transpose()?;
            let merged = merged.map(|merged| merged.host(BUILD, "merged")).transpose()?;
            let (offsets, members) = (offsets.host(BUILD, "offsets")?, members.host(BUILD, "members")?);
            latens_cpu::hyper::incidence::build(&p, rows, columns, weights, offsets, members, merged)
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, rows) => {
            let columns = columns.cuda(device, BUILD, "columns")?;
            let weights = weights.map(|weights| weights.cuda(device, BUILD, "weights")).transpose()?;
            let merged = merged.map(|merged| merged.cuda(device, BUILD, "merged")).transpose()?;
            let (offsets, members) = (offsets.cuda(device, BUILD, "offsets")?, members.cuda(device, BUILD, "members")?);
            let workspace = workspace.cuda(device, BUILD, "workspace")?;
            let chip = device.chip();
            device.run(&launch::build(&p, chip, rows, columns, weights, offsets, members, merged, workspace)?)
        }
    }
}

/// Bytes of scratch that [`hyper_incidence_into`] asks for on `device`; the entries of `shape` are the pairs.
#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
pub fn hyper_incidence_workspace(shape: &Shape, device: &Device) -> Result<usize> {
    match device {
        Device::Host => Ok(0),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => Ok(launch::workspace(&incidence::plan_transpose(shape))),
    }
}

/// Turn an incidence over, into memory of the caller: see [`latens_kernels::hyper::incidence`].
///
/// # Errors
/// `Value` if it has been turned over already, besides what lengths say.
pub fn hyper_transpose_into(
    from: Incidence<'_>,
    offsets: ViewMut<'_, u32, 1>,
    members: ViewMut<'_, u32, 1>,
    places: ViewMut<'_, u32, 1>,
    workspace: ViewMut<'_, u8, 1>,
) -> Result<()> {
    let shape = from.shape;
    if from.places.is_some() {
        let want = "as built: without places";
        return Err(latens_kernels::Error::Value { op: TURN, arg: "incidence", want });
    }
    let p = incidence::plan_transpose(&shape);
    let offsets = offsets.packed(TURN, "offsets", [shape.columns() + 1])?;
    let members = members.packed(TURN, "members", [shape.entries()])?;
    let places = places.packed(TURN, "places", [shape.entries()])?;
    let workspace = workspace.data();
    match from.offsets.data() {
        Data::Host(_) => {
            workspace.host(TURN, "workspace")?;
            let (offsets, members) = (offsets.host(TURN, "offsets")?, members.host(TURN, "members")?);
            latens_cpu::hyper::incidence::transpose(
                &p,
                from.host(TURN)?,
                offsets,
                members,
                places.host(TURN, "places")?,
            );
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, _) => {
            let (offsets, members) = (offsets.cuda(device, TURN, "offsets")?, members.cuda(device, TURN, "members")?);
            let (places, workspace) =
                (places.cuda(device, TURN, "places")?, workspace.cuda(device, TURN, "workspace")?);
            let from = from.cuda(device, TURN)?;
            device.run(&launch::transpose(&p, device.chip(), from, offsets, members, places, workspace)?)
        }
    }
}

/// Bytes of scratch that [`hyper_transpose_into`] asks for on `device`.
pub fn hyper_transpose_workspace(shape: &Shape, device: &Device) -> Result<usize> {
    hyper_incidence_workspace(shape, device)
}
