//! Hypergraphs: pooling of vectors and of scores both ways, a step of PageRank, search in a corpus and in its copies.
//! Floor: each entry's row gathered once, and the rest once; of a search, the corpus.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, host, slice, tensor, verify};
use latens_core::{
    Compressed, Copied, Hypergraph, Philox, Tensor, Walk, bf16, hyper_compress, hyper_pool, hyper_rank, hyper_search,
    hyper_search_compressed,
};
use latens_kernels::hyper::{Shape, pool, rank, search};

const EDGES: usize = 20_000;
const VERTICES: usize = 100_000;

/// Edges of 15 members.
fn graph() -> Hypergraph {
    let mut draw = Philox::new(1);
    let edges: Vec<u32> = (0..EDGES as u32).flat_map(|e| [e; 15]).collect();
    let vertices = edges.iter().map(|_| draw.below(VERTICES as u32)).collect();
    let pairs = edges.len();
    let (edges, vertices) = (host(edges, [pairs]), host(vertices, [pairs]));
    Hypergraph::new::<f32>(edges.view(), vertices.view(), None, [EDGES, VERTICES]).unwrap().0
}

fn pooling(bench: &mut Family<'_>, graph: &Hypergraph) {
    for dim in [1, 32, 384] {
        let x = tensor::<f32, 2>([VERTICES, dim], 1);
        let p = pool::plan(&graph.edges().shape(), None, &x.layout()).unwrap();
        // Beside the same sums of f64, which are the reference's.
        let wide = host(slice(&x).iter().map(|&x| f64::from(x)).collect(), [VERTICES, dim]);
        let want = hyper_pool(graph.edges(), None, wide.view()).unwrap();
        let want: Vec<f32> = slice(&want).iter().map(|&y| y as f32).collect();
        let held = hyper_pool(graph.edges(), None, x.view()).unwrap();
        verify("pool", slice(&held), &want, 1e-11);
        let size = format!("{EDGES} edges of 15, {dim}");
        bench.bytes("to edges", &size, p.bytes(4), || hyper_pool(graph.edges(), None, x.view()));
        let p = pool::plan(&graph.vertices().shape(), None, &held.layout()).unwrap();
        bench.bytes("to vertices", &size, p.bytes(4), || hyper_pool(graph.vertices(), None, held.view()));
    }
}

fn walking(bench: &mut Family<'_>, graph: &Hypergraph) {
    let walk = Walk { damping: 0.85, steps: 1, tolerance: 0.0 };
    for columns in [1, 32] {
        let mut seeds = vec![0.0_f32; VERTICES * columns];
        (0..10 * columns).for_each(|at| seeds[at * 9973 % VERTICES * columns + at % columns] += 0.1);
        let wide = host(seeds.iter().map(|&x| f64::from(x)).collect(), [VERTICES, columns]);
        let seeds = host(seeds, [VERTICES, columns]);
        let (edges, vertices) = (graph.edges(), graph.vertices());
        let shape: Shape = edges.shape();
        let p = rank::plan(&shape, &vertices.shape(), [false, true], None, None, &seeds.layout(), walk).unwrap();
        let want = hyper_rank::<f64>(edges, vertices, None, None, wide.view(), walk).unwrap().0;
        let want: Vec<f32> = slice(&want).iter().map(|&x| x as f32).collect();
        let step = || hyper_rank::<f32>(edges, vertices, None, None, seeds.view(), walk);
        verify("rank", slice(&step().unwrap().0), &want, 1e-9);
        bench.bytes("rank, a step", &format!("{columns} columns"), p.bytes(4), step);
    }
}

fn searching(bench: &mut Family<'_>) {
    let (n, dim, k) = (50_000, 384, 60);
    let corpus = tensor::<f32, 2>([n, dim], 1);
    let half = host(slice(&corpus).iter().map(|&x| bf16::from_f32(x)).collect(), [n, dim]);
    for count in [1, 16] {
        let queries = tensor::<f32, 2>([count, dim], 2);
        let p = search::plan(&queries.layout(), &corpus.layout(), k).unwrap();
        let (mut want, mut ids) = (vec![0.0; count * k], vec![0; count * k]);
        search::forward(&p, slice(&queries), slice(&corpus), &mut want, &mut ids);
        verify("search", slice(&hyper_search(queries.view(), corpus.view(), k).unwrap().0), &want, 1e-10);
        let (size, flops) = (format!("{n}x{dim}, {count}"), count * n * dim);
        bench.flops("search f32", &size, flops, p.bytes(4), || hyper_search(queries.view(), corpus.view(), k));
        let asked = host(slice(&queries).iter().map(|&x| bf16::from_f32(x)).collect(), [count, dim]);
        bench.flops("search bf16", &size, flops, p.bytes(2), || hyper_search(asked.view(), half.view(), k));
        let (int8, half) = (copied::<i8>(&corpus), copied::<bf16>(&corpus));
        for (what, scan, bytes) in [
            ("search of int8", &(|| scan(&queries, &corpus, &int8, k)) as &dyn Fn() -> Tensor<f32, 2>, 1),
            ("search of bf16", &|| scan(&queries, &corpus, &half, k), 2),
        ] {
            verify(what, slice(&scan()), &want, 1e-10);
            bench.flops(what, &size, flops, p.bytes(bytes), || Ok(scan()));
        }
    }
}

fn copied<C: Copied>(corpus: &Tensor<f32, 2>) -> Compressed<C> {
    hyper_compress(corpus.view()).unwrap()
}

/// What a copy finds, and that it is proved.
fn scan<C: Copied>(q: &Tensor<f32, 2>, corpus: &Tensor<f32, 2>, copy: &Compressed<C>, k: usize) -> Tensor<f32, 2> {
    let (values, _, complete) = hyper_search_compressed(q.view(), corpus.view(), copy, k, 16 * k).unwrap();
    assert!(slice(&complete).iter().all(|&complete| complete == 1), "not proved");
    values
}

fn all(c: &mut Criterion) {
    let (mut bench, graph) = (Family::new(c, "hyper"), graph());
    pooling(&mut bench, &graph);
    walking(&mut bench, &graph);
    searching(&mut bench);
}

criterion_group!(benches, all);
criterion_main!(benches);
