//! Hypergraph passes and searches over rows further apart than 2^31 and 2^32 numbers, and outputs as long: by the code of the
//! host and of the device, where pages are only those that are touched; and what launches of such sizes are told.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod far;

use far::{CHIP, Far, device, nowhere, nowhere_mut, numbers};
use latens_cuda::Device;
use latens_kernels::hyper::launch::{Rows, incidence as turn, pool as pooling, rank as walking, search as searching};
use latens_kernels::hyper::{Incidence, Shape, incidence, pool, rank, search};
use latens_kernels::{Arg, Error, Launch, Layout};

const FAR: usize = (1 << 31) + 64;
const DIM: usize = 5;
const WALKS: usize = 3;

/// Three edges over four vertices, both ways round.
struct Graph {
    shape: Shape,
    edges: [Far<u32>; 2],
    vertices: [Far<u32>; 3],
}

impl Graph {
    fn new() -> Self {
        Self {
            shape: Shape::new(3, 4, 6).unwrap(),
            edges: [Far::of(&[0, 2, 5, 6]), Far::of(&[0, 3, 0, 1, 2, 3])],
            vertices: [Far::of(&[0, 2, 3, 4, 6]), Far::of(&[0, 1, 1, 1, 0, 2]), Far::of(&[0, 2, 3, 4, 1, 5])],
        }
    }

    fn on_host(&self) -> [Incidence<'_>; 2] {
        let ([offsets, members], [starts, turned, places]) = (&self.edges, &self.vertices);
        let edges = Incidence { offsets: offsets.slice(), members: members.slice(), places: &[] };
        let vertices = Incidence { offsets: starts.slice(), members: turned.slice(), places: places.slice() };
        edges.check("test", &self.shape).unwrap();
        vertices.check("test", &self.shape.transposed()).unwrap();
        [edges, vertices]
    }

    fn on(&self, device: &Device) -> [Rows<'_>; 2] {
        let ([offsets, members], [starts, turned, places]) = (&self.edges, &self.vertices);
        let edges = Rows { offsets: offsets.span(device), members: members.span(device), places: None };
        let places = Some(places.span(device));
        [edges, Rows { offsets: starts.span(device), members: turned.span(device), places }]
    }
}

/// Rows of vertices, of edges, of seeds and of texts, each so far from the last.
struct Case {
    graph: Graph,
    layouts: [Layout<2>; 4],
    x: Far<f32>,
    dy: Far<f32>,
    seeds: Far<f32>,
    texts: Far<f32>,
}

type Found = (Vec<Vec<f32>>, Vec<u32>);

impl Case {
    fn new(apart: usize) -> Self {
        let rows = |rows, width| Layout::strided([rows, width], [apart, 1]).unwrap();
        let seeds: Vec<f32> = numbers(4 * WALKS, 3).iter().map(|x| x.abs()).collect();
        Self {
            graph: Graph::new(),
            layouts: [rows(4, DIM), rows(3, DIM), rows(4, WALKS), rows(6, 40)],
            x: Far::rows(&numbers(4 * DIM, 1), DIM, apart),
            dy: Far::rows(&numbers(3 * DIM, 2), DIM, apart),
            seeds: Far::rows(&seeds, WALKS, apart),
            texts: Far::rows(&numbers(6 * 40, 4), 40, apart),
        }
    }

    fn plans(&self) -> (pool::Plan, pool::Plan, pool::Plan, rank::Plan, search::Plan) {
        let ([x, dy, seeds, texts], shape) = (&self.layouts, self.graph.shape);
        let turned = shape.transposed();
        let walk = rank::Walk { damping: 0.5, steps: 4, tolerance: 0.0 };
        (
            pool::plan(&shape, None, x).unwrap(),
            pool::plan_largest_backward(&turned, true, None, dy, &Layout::packed([3, DIM]).unwrap()).unwrap(),
            pool::plan_dots(&shape, dy, x).unwrap(),
            rank::plan(&shape, &turned, [false, true], None, None, seeds, walk).unwrap(),
            search::plan(texts, texts, 6).unwrap(),
        )
    }

    /// Sums, the largest and their gradient, dot products, ranks and changes, and scores; what was chosen, and ids.
    fn out() -> (Vec<Far<f32>>, [Far<u32>; 2]) {
        let lengths = [3 * DIM, 3 * DIM, 4 * DIM, 6, 4 * WALKS, WALKS, 36];
        (lengths.map(Far::new).into(), [Far::new(3 * DIM), Far::new(36)])
    }

    fn taken((numbers, [chosen, ids]): (Vec<Far<f32>>, [Far<u32>; 2])) -> Found {
        let ids = [chosen.slice(), ids.slice()].concat();
        (numbers.iter().map(|numbers| numbers.slice().to_vec()).collect(), ids)
    }

    fn host(&self) -> Found {
        use latens_cpu::hyper as fast;
        let (sums, back, dots, walk, find) = self.plans();
        let ([edges, vertices], [x, dy]) = (self.graph.on_host(), [self.x.slice(), self.dy.slice()]);
        let (mut to, [mut chosen, mut ids]) = Self::out();
        let [y, top, dx, da, ranks, change, scores] = &mut to[..] else { unreachable!() };
        fast::pool::forward(&sums, edges, None, x, y.slice_mut());
        fast::pool::largest(&sums, edges, None, x, top.slice_mut(), chosen.slice_mut());
        fast::pool::largest_backward(&back, vertices, None, dy, chosen.slice(), dx.slice_mut());
        fast::pool::dots(&dots, edges, dy, x, da.slice_mut());
        let graph = rank::Graph { edges, vertices, weights: None, shares: None };
        fast::rank::forward(&walk, graph, self.seeds.slice(), ranks.slice_mut(), change.slice_mut());
        let texts = self.texts.slice();
        fast::search::forward(&find, texts, texts, scores.slice_mut(), ids.slice_mut());
        Self::taken((to, [chosen, ids]))
    }

    fn device(&self, device: &Device) -> Found {
        let ((sums, back, dots, walk, find), chip) = (self.plans(), device.chip());
        let ([edges, vertices], [x, dy]) = (self.graph.on(device), [self.x.span(device), self.dy.span(device)]);
        let (mut to, [mut chosen, mut ids]) = Self::out();
        let [y, top, dx, da, ranks, change, scores] = &mut to[..] else { unreachable!() };
        let run = |launches: &[Launch<'_>]| device.run(launches).unwrap();
        run(&pooling::sum(&sums, chip, edges, None, x, y.span_mut(device)).unwrap());
        let named = chosen.span_mut(device);
        run(&pooling::largest(&sums, chip, edges, None, x, top.span_mut(device), named).unwrap());
        let named = chosen.span(device);
        run(&pooling::largest_backward(&back, chip, vertices, None, dy, named, dx.span_mut(device)).unwrap());
        run(&pooling::dots(&dots, chip, edges, dy, x, da.span_mut(device)).unwrap());
        let (graph, seeds) = (walking::Graph { edges, vertices, weights: None, shares: None }, self.seeds.span(device));
        let mut work = Far::<u8>::new(walking::workspace(&walk));
        let (ranks, change) = (ranks.span_mut(device), change.span_mut(device));
        run(&walking::launch(&walk, chip, graph, seeds, ranks, change, work.span_mut(device)).unwrap());
        let mut work = Far::<u8>::new(searching::workspace(&find).unwrap());
        let (texts, ids_to) = (self.texts.span(device), ids.span_mut(device));
        let scores = scores.span_mut(device);
        run(&searching::launch(&find, chip, texts, texts, scores, ids_to, work.span_mut(device)).unwrap());
        Self::taken((to, [chosen, ids]))
    }
}

/// Where rows lie changes nothing, in any bit.
#[test]
fn far_rows_are_as_near_ones() {
    if !far::room() {
        return;
    }
    let (near, far) = (Case::new(64), Case::new(FAR));
    assert!(far.x.len > 3 << 31 && far.texts.len > 5 << 31);
    let want = near.host();
    assert!(want.0.iter().all(|want| want.iter().any(|&x| x != 0.0)));
    assert_eq!(far.host(), want, "on the host");
    let device = device();
    let want = near.device(&device);
    assert!(want.0.iter().all(|want| want.iter().any(|&x| x != 0.0)));
    assert_eq!(far.device(&device), want, "on a device");
}

/// The last rows of an output of more than 2^32 numbers, written by the last blocks of its grid.
#[test]
fn the_end_of_a_long_output() {
    if !far::room() {
        return;
    }
    const ROWS: usize = (1 << 20) + 5;
    const WIDE: usize = 4100;
    let device = device();
    let shape = Shape::new(ROWS, 2, 3).unwrap();
    let mut starts = vec![0_u32; ROWS + 1];
    (starts[ROWS - 1], starts[ROWS]) = (1, 3);
    let (offsets, members) = (Far::of(&starts), Far::of(&[1, 0, 1]));
    let x = numbers(2 * WIDE, 5);
    let (layout, from) = (Layout::packed([2, WIDE]).unwrap(), Far::of(&x));
    let p = pool::plan(&shape, None, &layout).unwrap();
    let rows = Rows { offsets: offsets.span(&device), members: members.span(&device), places: None };
    let (mut y, mut top, mut chosen) =
        (Far::<f32>::new(ROWS * WIDE), Far::<f32>::new(ROWS * WIDE), Far::<u32>::new(ROWS * WIDE));
    assert!(y.len > 1 << 32);
    let sums = pooling::sum(&p, device.chip(), rows, None, from.span(&device), y.span_mut(&device)).unwrap();
    // 256 threads of four numbers, and of one.
    latens_emulator::last_blocks((2 * WIDE).div_ceil(1024) as u64 + 1, || device.run(&sums)).unwrap();
    let (top_to, chosen_to) = (top.span_mut(&device), chosen.span_mut(&device));
    let largest = pooling::largest(&p, device.chip(), rows, None, from.span(&device), top_to, chosen_to).unwrap();
    latens_emulator::last_blocks((2 * WIDE).div_ceil(256) as u64 + 1, || device.run(&largest)).unwrap();
    let end = (ROWS - 2) * WIDE;
    for k in 0..WIDE {
        let (a, b) = (x[k], x[WIDE + k]);
        assert_eq!([y.slice()[end + k], y.slice()[end + WIDE + k]], [b, a + b], "{k}");
        assert_eq!([top.slice()[end + k], top.slice()[end + WIDE + k]], [b, a.max(b)], "{k}");
        assert_eq!([chosen.slice()[end + k], chosen.slice()[end + WIDE + k]], [0, if b > a { 2 } else { 1 }], "{k}");
    }
}

/// Sizes at the ends of what indices and grids can hold: strides in 64 bits, blocks that fit, or an error. Nothing runs.
#[test]
fn launches_of_sizes_that_no_test_can_hold() {
    const MOST: usize = i32::MAX as usize;
    let shape = Shape::new(MOST, MOST, MOST).unwrap();
    let rows = |shape: &Shape| Rows {
        offsets: nowhere(shape.rows() + 1),
        members: nowhere(shape.entries()),
        places: Some(nowhere(shape.entries())),
    };
    // Pools: 2^30 numbers of a row, as many blocks as rows times 2^20 of them, or too many.
    let sum = |rows_of: &Shape, dim: usize| {
        let layout = Layout::strided([rows_of.columns(), dim], [1 << 31, 1]).unwrap();
        let p = pool::plan(rows_of, None, &layout).unwrap();
        let (x, y) = (nowhere::<f32>(p.x().span()), nowhere_mut::<f32>(rows_of.rows() * dim));
        pooling::sum(&p, &CHIP, rows(rows_of), None, x, y).map(|[sum]| (sum.grid(), sum.args().to_vec()))
    };
    let few = Shape::new(2047, MOST, MOST).unwrap();
    let (grid, args) = sum(&few, 1 << 30).unwrap();
    assert_eq!(grid, [2047 << 20, 1, 1]);
    assert_eq!(args[args.len() - 2..], [Arg::U32(1 << 30), Arg::U64(1 << 31)]);
    assert_eq!(sum(&Shape::new(2048, MOST, MOST).unwrap(), 1 << 30).err(), Some(Error::TooLarge));
    assert_eq!(sum(&shape, 1024).unwrap().0, [MOST as u32, 1, 1], "a block for each row");
    assert_eq!(sum(&shape, 1028).err(), Some(Error::TooLarge));
    let wide = Layout::strided([1, MOST + 1], [1 << 40, 1]).unwrap();
    let want = Error::Range { op: "hyper_pool", arg: "x", max: MOST, got: MOST + 1 };
    assert_eq!(pool::plan(&Shape::new(1, 1, 1).unwrap(), None, &wide).err(), Some(want));
    // Turning over: 32-bit numbers of entries, and scratch of more than 2^33 bytes.
    let p = incidence::plan_transpose(&shape);
    let bytes = turn::workspace(&p);
    assert!(bytes > 20 * MOST && bytes < 22 * MOST);
    let turned = |bytes| {
        let [offsets, members, places] = [MOST + 1, MOST, MOST].map(nowhere_mut::<u32>);
        turn::transpose(&p, &CHIP, Rows { places: None, ..rows(&shape) }, offsets, members, places, nowhere_mut(bytes))
    };
    assert!(turned(bytes).unwrap().iter().all(|launch| launch.grid()[0] as usize <= MOST.div_ceil(256)));
    assert!(matches!(turned(bytes / 2).map(drop), Err(Error::Size { arg: "workspace", .. })));
    // Walks: numbers of vertices times columns.
    let walk = |columns: usize| {
        let (seeds, walk) = (
            Layout::strided([MOST, columns], [1 << 33, 1]).unwrap(),
            rank::Walk { damping: 0.5, steps: 1, tolerance: 0.0 },
        );
        let p = rank::plan(&shape, &shape, [false, true], None, None, &seeds, walk).unwrap();
        let graph = walking::Graph { edges: rows(&shape), vertices: rows(&shape), weights: None, shares: None };
        let (from, to) = (nowhere::<f32>(seeds.span()), nowhere_mut(MOST * columns));
        let work = nowhere_mut(walking::workspace(&p));
        let all = walking::launch(&p, &CHIP, graph, from, to, nowhere_mut(columns), work);
        all.map(|all| {
            all.iter()
                .find(|launch| launch.entry().0 == "hyper_rank_next")
                .map(|next| (next.grid(), next.args().to_vec()))
        })
    };
    let (grid, args) = walk(256).unwrap().unwrap();
    assert_eq!(grid, [MOST as u32, 1, 1]);
    assert!(args.contains(&Arg::U64(1 << 33)) && args.contains(&Arg::U32(256)));
    assert_eq!(walk(257).err(), Some(Error::TooLarge));
    // Search: as many queries as a grid is high, four to a block, and 2^43 scores.
    let find = |count: usize| {
        let [queries, corpus] = [count, 1 << 25].map(|rows| Layout::strided([rows, 8], [1 << 31, 1]).unwrap());
        let p = search::plan(&queries, &corpus, 3).unwrap();
        let work = searching::workspace(&p).unwrap();
        assert!(work > (4 * count) << 25);
        let (queries, corpus) = (nowhere::<f32>(queries.span()), nowhere(corpus.span()));
        let (values, ids) = (nowhere_mut(3 * count), nowhere_mut(3 * count));
        searching::launch(&p, &CHIP, queries, corpus, values, ids, nowhere_mut(work)).map(|all| all[0].grid())
    };
    assert_eq!(find(4 * 65_535).unwrap(), [1 << 22, 65_535, 1]);
    assert_eq!(find(4 * 65_535 + 1).err(), Some(Error::TooLarge));
}
