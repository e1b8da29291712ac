//! `compare hyper`: query, search and PageRank of a hypergraph beside numpy and scipy, on the host.
use crate::peer::{Exchange, Peer};
use crate::report::Row;
use crate::{Result, disagreement, normal};
use latens_core::{Accumulate, Compressed, Copied, Device, Float, Hypergraph, Philox, Tensor, Walk, Weigh, bf16};
use latens_core::{
    hyper_compress, hyper_pool, hyper_pool_into, hyper_rank_into, hyper_search_compressed_into, hyper_search_into,
    hyper_weigh, linear_into, topk_into,
};
use serde_json::{Value, json};
use std::path::Path;

const VERTICES: usize = 100_000;
const EDGES: usize = 20_000;
const D: usize = 384;
const K: usize = 60;
/// Queries of a batch.
const QUERIES: usize = 32;

fn dims() -> Value {
    json!({"vertices": VERTICES, "edges": EDGES, "d": D, "k": K, "queries": QUERIES})
}

fn row(name: &'static str, shape: String, dtype: &'static str, peer: &str, (ours_ms, peer_ms): (f64, f64)) -> Row {
    Row { name, shape, dtype, device: "cpu".into(), ours_ms, peer: peer.into(), peer_ms, bar: None, rate: None }
}

/// A hypergraph of edges of 2 to 29 members; the peer gets the same pairs.
fn graph(dir: &Exchange) -> Result<Hypergraph> {
    let mut draw = Philox::new(1);
    let (mut edges, mut vertices) = (Vec::new(), Vec::new());
    for e in 0..EDGES as u32 {
        for _ in 0..2 + draw.below(28) {
            edges.push(e);
            vertices.push(draw.below(VERTICES as u32));
        }
    }
    dir.put_ids("pair_edges", &edges)?;
    dir.put_ids("pair_vertices", &vertices)?;
    let pairs = edges.len();
    let (edges, vertices) =
        (Tensor::from_vec(edges, [pairs], &Device::Host)?, Tensor::from_vec(vertices, [pairs], &Device::Host)?);
    Ok(Hypergraph::new::<f32>(edges.view(), vertices.view(), None, [EDGES, VERTICES])?.0)
}

/// All rows, each given to `show` when it is there.
pub fn compare(env: &Path, show: &mut dyn FnMut(Row)) -> Result<()> {
    let mut peer = Peer::numpy(env)?;
    let dir = Exchange::new()?;
    let graph = graph(&dir)?;
    // Numbers that bf16 holds, so that every type scores the same ones.
    let rounded =
        |count, seed| -> Vec<f32> { normal(count, seed).into_iter().map(|x| bf16::from_f32(x).to_f32()).collect() };
    let (x, q) = (rounded(VERTICES * D, 2), rounded(QUERIES * D, 3));
    dir.put("x", &x)?;
    dir.put("q", &q)?;
    query::<f32>(&graph, &x, &q, "f32", &dir, &mut peer, show)?;
    query::<bf16>(&graph, &x, &q, "bf16", &dir, &mut peer, show)?;
    query_int8(&graph, &x, &q, &dir, &mut peer, show)?;
    for count in [1, QUERIES] {
        search::<f32>(&x, &q, count, "f32", &dir, &mut peer, show)?;
        search::<bf16>(&x, &q, count, "bf16", &dir, &mut peer, show)?;
    }
    for columns in [1, QUERIES] {
        rank(&graph, columns, &dir, &mut peer, show)?;
    }
    Ok(())
}

fn typed<T: Float>(x: &[f32], dims: [usize; 2]) -> Result<Tensor<T, 2>> {
    let x = x[..dims[0] * dims[1]].iter().map(|&x| T::from_f32(x)).collect();
    Ok(Tensor::from_vec(x, dims, &Device::Host)?)
}

/// Fail unless the peer found the same.
fn agrees(what: &str, ours: &[f32], theirs: &[f32], limit: f64) -> Result<()> {
    let worst = disagreement(ours, theirs);
    if worst > limit { Err(format!("{what}: disagrees with numpy by {worst:e}").into()) } else { Ok(()) }
}

/// The best vertices, and the best edges by the mean score of their members: vertices are scored once.
fn query<T: Float<Acc = f32>>(
    graph: &Hypergraph,
    x: &[f32],
    q: &[f32],
    dtype: &'static str,
    dir: &Exchange,
    peer: &mut Peer,
    show: &mut dyn FnMut(Row),
) -> Result<()> {
    let (x, q) = (typed::<f32>(x, [VERTICES, D])?, typed::<f32>(q, [1, D])?);
    let scan = typed::<T>(x.host().ok_or("host")?, [VERTICES, D])?;
    let asked = typed::<T>(q.host().ok_or("host")?, [1, D])?;
    let mean = hyper_weigh::<f32>(graph.edges(), Weigh::Mean, None, None, None)?;
    let zeros = |dims| Tensor::<f32, 2>::zeros(dims, &Device::Host);
    let (mut of_vertices, mut of_edges) = (zeros([1, VERTICES])?, zeros([EDGES, 1])?);
    let (mut vertices, mut edges) = (zeros([1, K])?, zeros([1, K])?);
    let mut ids = Tensor::<u32, 2>::zeros([1, K], &Device::Host)?;
    let mut none = Tensor::<u8, 1>::zeros([0], &Device::Host)?;
    let mut rounded = Tensor::<T, 2>::zeros([1, VERTICES], &Device::Host)?;
    let f32s = dtype == "f32";
    let mut ours = |vertices: &mut Tensor<f32, 2>, edges: &mut Tensor<f32, 2>| -> Result<()> {
        if f32s {
            linear_into(q.view(), x.view(), None, Accumulate::Replace, of_vertices.view_mut())?;
        } else {
            linear_into(asked.view(), scan.view(), None, Accumulate::Replace, rounded.view_mut())?;
            latens_core::cast_into(rounded.view(), of_vertices.view_mut())?;
        }
        topk_into(of_vertices.view(), K, vertices.view_mut(), ids.view_mut(), none.view_mut())?;
        let scores = of_vertices.view().reshape([VERTICES, 1])?;
        hyper_pool_into(graph.edges(), Some(mean.view()), scores, of_edges.view_mut())?;
        let scores = of_edges.view().reshape([1, EDGES])?;
        Ok(topk_into(scores, K, edges.view_mut(), ids.view_mut(), none.view_mut())?)
    };
    peer.setup("hyper_query", dir.path(), &dims(), "f32")?;
    ours(&mut vertices, &mut edges)?;
    let limit = if f32s { 1e-10 } else { 1e-4 };
    agrees("vertices", vertices.host().ok_or("host")?, &dir.get("vertices", "numpy")?, limit)?;
    agrees("edges", edges.host().ok_or("host")?, &dir.get("edges", "numpy")?, limit)?;
    let name = format!("{} f32 dot, argpartition, A s", peer.name);
    let times = peer.race(|| ours(&mut vertices, &mut edges))?;
    let rate = Some(("GB/s", (VERTICES * D * size_of::<T>()) as f64 / times.0 / 1e6));
    show(Row { bar: Some(2.0), rate, ..row("hyper_query", format!("{VERTICES}x{D},{EDGES}"), dtype, &name, times) });
    Ok(())
}

/// A corpus, its copy, and room for what is found in it.
struct Index<C: Copied> {
    corpus: Tensor<f32, 2>,
    copy: Compressed<C>,
    values: Tensor<f32, 2>,
    ids: Tensor<u32, 2>,
    complete: Tensor<u32, 1>,
}

impl<C: Copied> Index<C> {
    fn new(corpus: Tensor<f32, 2>, count: usize) -> Result<Self> {
        let (copy, host) = (hyper_compress(corpus.view())?, &Device::Host);
        let (values, ids) = (Tensor::zeros([count, K], host)?, Tensor::zeros([count, K], host)?);
        Ok(Self { corpus, copy, values, ids, complete: Tensor::zeros([count], host)? })
    }

    /// By the copy, and 16 rows scored exactly for each that is found.
    fn search(&mut self, queries: &Tensor<f32, 2>) -> Result<()> {
        let (corpus, codes, bounds) = (self.corpus.view(), self.copy.codes.view(), self.copy.bounds.view());
        let (v, i, c) = (self.values.view_mut(), self.ids.view_mut(), self.complete.view_mut());
        let mut none = Tensor::zeros([0], &Device::Host)?;
        let none = none.view_mut();
        Ok(hyper_search_compressed_into(queries.view(), corpus, codes, bounds, K, 16 * K, v, i, c, none)?)
    }

    /// What was found, if it is proved to be what the corpus itself gives.
    fn proved(&self) -> Result<&[f32]> {
        if self.complete.to_vec()?.contains(&0) { Err("a search of the copy is not proved") } else { Ok(()) }?;
        Ok(self.values.host().ok_or("host")?)
    }
}

/// The same by copies in 8 bits. Means of members are made once, as rows of a second corpus: an edge's mean score is the
/// score of its mean, so both lists are searches, and exact.
fn query_int8(
    graph: &Hypergraph,
    x: &[f32],
    q: &[f32],
    dir: &Exchange,
    peer: &mut Peer,
    show: &mut dyn FnMut(Row),
) -> Result<()> {
    let (x, q) = (typed::<f32>(x, [VERTICES, D])?, typed::<f32>(q, [1, D])?);
    let mean = hyper_weigh::<f32>(graph.edges(), Weigh::Mean, None, None, None)?;
    let means = hyper_pool(graph.edges(), Some(mean.view()), x.view())?;
    let (mut vertices, mut edges) = (Index::<i8>::new(x, 1)?, Index::<i8>::new(means, 1)?);
    peer.setup("hyper_query", dir.path(), &dims(), "f32")?;
    vertices.search(&q)?;
    edges.search(&q)?;
    agrees("vertices", vertices.proved()?, &dir.get("vertices", "numpy")?, 1e-10)?;
    agrees("edges", edges.proved()?, &dir.get("edges", "numpy")?, 1e-10)?;
    let times = peer.race(|| {
        vertices.search(&q)?;
        edges.search(&q)
    })?;
    let name = format!("{} f32 dot, argpartition, A s", peer.name);
    // No bar: the means were made beforehand, so this is less work than the query's.
    show(row("hyper_query_int8", format!("{VERTICES}x{D},{EDGES}"), "f32", &name, times));
    Ok(())
}

/// The nearest vertices of some queries, from the corpus; if it is of `f32`, from its copies too.
fn search<T: Float<Acc = f32>>(
    x: &[f32],
    q: &[f32],
    count: usize,
    dtype: &'static str,
    dir: &Exchange,
    peer: &mut Peer,
    show: &mut dyn FnMut(Row),
) -> Result<()> {
    let (corpus, queries) = (typed::<T>(x, [VERTICES, D])?, typed::<T>(q, [count, D])?);
    let mut values = Tensor::<f32, 2>::zeros([count, K], &Device::Host)?;
    let mut ids = Tensor::<u32, 2>::zeros([count, K], &Device::Host)?;
    let mut none = Tensor::<u8, 1>::zeros([0], &Device::Host)?;
    let mut dims = dims();
    dims["queries"] = count.into();
    peer.setup("hyper_search", dir.path(), &dims, "f32")?;
    let mut ours = |values: &mut Tensor<f32, 2>, ids: &mut Tensor<u32, 2>| -> Result<()> {
        let (v, i) = (values.view_mut(), ids.view_mut());
        Ok(hyper_search_into(queries.view(), corpus.view(), K, v, i, none.view_mut())?)
    };
    ours(&mut values, &mut ids)?;
    agrees("search", values.host().ok_or("host")?, &dir.get("values", "numpy")?, 1e-10)?;
    let times = peer.race(|| ours(&mut values, &mut ids))?;
    let name = format!("{} f32 dot, argpartition", peer.name);
    let shape = format!("{VERTICES}x{D},{count}");
    let flops = Some(("GFLOP/s", (2 * count * VERTICES * D) as f64 / times.0 / 1e6));
    show(Row { rate: flops, ..row("hyper_search", shape, dtype, &name, times) });
    if dtype == "f32" {
        let found = (values.to_vec()?, ids.to_vec()?);
        copy::<i8>("hyper_search_int8", x, q, &found, peer, show)?;
        copy::<bf16>("hyper_search_bf16", x, q, &found, peer, show)?;
    }
    Ok(())
}

/// The same search by a copy, which finds the same to the bit; the peer goes on as it is.
fn copy<C: Copied>(
    name: &'static str,
    x: &[f32],
    q: &[f32],
    (values, ids): &(Vec<f32>, Vec<u32>),
    peer: &mut Peer,
    show: &mut dyn FnMut(Row),
) -> Result<()> {
    let count = values.len() / K;
    let (mut index, q) = (Index::<C>::new(typed(x, [VERTICES, D])?, count)?, typed(q, [count, D])?);
    index.search(&q)?;
    if index.proved()? != values || index.ids.to_vec()? != *ids {
        return Err(format!("{name}: another than the search of the corpus").into());
    }
    let times = peer.race(|| index.search(&q))?;
    let who = format!("{} f32 dot, argpartition", peer.name);
    show(row(name, format!("{VERTICES}x{D},{count}"), "f32", &who, times));
    Ok(())
}

fn rank(graph: &Hypergraph, columns: usize, dir: &Exchange, peer: &mut Peer, show: &mut dyn FnMut(Row)) -> Result<()> {
    let walk = Walk { damping: 0.85, steps: 20, tolerance: 0.0 };
    let (mut draw, mut seeds) = (Philox::new(5), vec![0.0; VERTICES * columns]);
    for at in 0..10 * columns {
        seeds[draw.below(VERTICES as u32) as usize * columns + at % columns] += 0.1;
    }
    dir.put("seeds", &seeds)?;
    let seeds = Tensor::from_vec(seeds, [VERTICES, columns], &Device::Host)?;
    let mut ranks = Tensor::<f32, 2>::zeros([VERTICES, columns], &Device::Host)?;
    let mut change = Tensor::<f32, 1>::zeros([columns], &Device::Host)?;
    let mut none = Tensor::<u8, 1>::zeros([0], &Device::Host)?;
    let mut dims = dims();
    (dims["columns"], dims["steps"], dims["damping"]) = (columns.into(), walk.steps.into(), walk.damping.into());
    peer.setup("hyper_rank", dir.path(), &dims, "f32")?;
    let mut ours = |ranks: &mut Tensor<f32, 2>| -> Result<()> {
        let (edges, vertices, to) = (graph.edges(), graph.vertices(), ranks.view_mut());
        Ok(hyper_rank_into(edges, vertices, None, None, seeds.view(), walk, to, change.view_mut(), none.view_mut())?)
    };
    ours(&mut ranks)?;
    agrees("rank", ranks.host().ok_or("host")?, &dir.get("rank", "numpy")?, 1e-9)?;
    let times = peer.race(|| ours(&mut ranks))?;
    let name = format!("{} two products a step", peer.name);
    let shape = format!("{VERTICES},{EDGES},{columns}x{}", walk.steps);
    show(Row { bar: Some(3.0), ..row("hyper_rank", shape, "f32", &name, times) });
    Ok(())
}
