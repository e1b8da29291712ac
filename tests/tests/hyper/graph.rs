//! Incidences for the tables, built by the reference.
use latens_core::{Device, Hypergraph, Tensor};
use latens_kernels::Philox;
use latens_kernels::hyper::{Incidence, Shape, incidence};

/// `[edges, vertices, pairs]`: nothing, empty edges and lonely vertices, more edges than vertices, rows longer than what
/// is sorted whole, more pairs than a block of the sort takes.
pub const CASES: &[[usize; 3]] = &[
    [0, 0, 0],
    [3, 0, 0],
    [0, 4, 0],
    [1, 1, 1],
    [4, 3, 5],
    [5, 40, 60],
    [40, 5, 100],
    [33, 300, 700],
    [2, 700, 900],
    [70, 90, 5000],
];

/// Pairs, and what they become, both ways round.
pub struct Graph {
    pub edges: Vec<u32>,
    pub vertices: Vec<u32>,
    pub weights: Vec<f32>,
    pub shape: Shape,
    pub offsets: Vec<u32>,
    pub members: Vec<u32>,
    pub merged: Vec<f32>,
    pub turned: [Vec<u32>; 3],
}

impl Graph {
    /// Of random pairs, some of them equal.
    pub fn random([edges, vertices, pairs]: [usize; 3], seed: u64) -> Self {
        let mut draw = Philox::new(seed);
        // Half of the pairs crowd on few edges.
        let mut edge = || {
            let few = draw.below(2) == 0;
            draw.below(if few { edges.div_ceil(4) } else { edges } as u32)
        };
        let of_edges: Vec<u32> = (0..pairs).map(|_| edge()).collect();
        let mut draw = Philox::new(seed + 1);
        let of_vertices = (0..pairs).map(|_| draw.below(vertices as u32)).collect();
        let weights = (0..pairs).map(|_| draw.uniform() + 0.1).collect();
        Self::of(of_edges, of_vertices, weights, [edges, vertices])
    }

    /// Of these.
    pub fn of(edges: Vec<u32>, vertices: Vec<u32>, weights: Vec<f32>, counts: [usize; 2]) -> Self {
        let pairs = edges.len();
        let shape = Shape::new(counts[0], counts[1], pairs).unwrap();
        let packed = latens_core::Layout::packed([pairs]).unwrap();
        let p = incidence::plan(&shape, &packed, &packed, Some(&packed)).unwrap();
        let (mut offsets, mut members, mut merged) = (vec![0; counts[0] + 1], vec![0; pairs], vec![0.0; pairs]);
        incidence::build(&p, &edges, &vertices, Some(&weights), &mut offsets, &mut members, Some(&mut merged)).unwrap();
        let mut turned = [vec![0; counts[1] + 1], vec![0; pairs], vec![0; pairs]];
        let [a, b, c] = &mut turned;
        let from = Incidence { offsets: &offsets, members: &members, places: &[] };
        from.check("test", &shape).unwrap();
        incidence::transpose(&incidence::plan_transpose(&shape), from, a, b, c);
        let graph = Self { edges, vertices, weights, shape, offsets, members, merged, turned };
        graph.vertices().check("test", &shape.transposed()).unwrap();
        graph
    }

    /// The members of edges.
    pub fn edges(&self) -> Incidence<'_> {
        Incidence { offsets: &self.offsets, members: &self.members, places: &[] }
    }

    /// The edges of vertices.
    pub fn vertices(&self) -> Incidence<'_> {
        let [offsets, members, places] = &self.turned;
        Incidence { offsets, members, places }
    }

    /// Both, with their shapes.
    pub fn both(&self) -> [(Incidence<'_>, Shape); 2] {
        [(self.edges(), self.shape), (self.vertices(), self.shape.transposed())]
    }

    /// The same on a device, built there.
    pub fn on(&self, device: &Device) -> Hypergraph {
        let [edges, vertices] = [&self.edges, &self.vertices].map(|ids| tensor(ids, device));
        let counts = [self.shape.rows(), self.shape.columns()];
        Hypergraph::new::<f32>(edges.view(), vertices.view(), None, counts).unwrap().0
    }

    /// `h(v, e)` as rows of edges, each entry the given number of it.
    pub fn dense(&self, of: impl Fn(usize) -> f64) -> Vec<Vec<f64>> {
        let mut dense = vec![vec![0.0; self.shape.columns()]; self.shape.rows()];
        for (r, dense) in dense.iter_mut().enumerate() {
            self.edges().row(r).for_each(|i| dense[self.members[i] as usize] = of(i));
        }
        dense
    }
}

/// Numbers on a device.
pub fn tensor<T: latens_core::Element>(data: &[T], device: &Device) -> Tensor<T, 1> {
    Tensor::from_slice(data, latens_core::Layout::packed([data.len()]).unwrap(), device).unwrap()
}

/// One of both incidences of a device.
pub fn side(graph: &Hypergraph, turned: bool) -> latens_core::Incidence<'_> {
    if turned { graph.vertices() } else { graph.edges() }
}
