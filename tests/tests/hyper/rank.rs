use crate::graph::{CASES, Graph, tensor};
use latens_core::{Device, Hypergraph, Layout, Tensor, Walk, hyper_rank, hyper_rank_into, hyper_rank_workspace};
use latens_kernels::hyper::{rank, weigh};
use latens_tests::{Cases, Fenced, close, devices, normal, place, same, uniform};

/// Columns that sum to 1, a tenth of the vertices in each.
fn seeds(vertices: usize, columns: usize, gap: usize) -> (Vec<f32>, Layout<2>) {
    let layout = Layout::strided([vertices, columns], [columns + gap, 1]).unwrap();
    let mut seeds = vec![0.0; layout.span()];
    for q in 0..columns {
        let chosen: Vec<usize> = (0..vertices).filter(|v| (v * 7 + q) % 10 == 0).collect();
        chosen.iter().for_each(|v| seeds[v * layout.strides()[0] + q] = 1.0 / chosen.len() as f32);
    }
    (seeds, layout)
}

/// Weights of which some do not count.
fn weights(count: usize, seed: u64) -> Vec<f32> {
    let mut weights = uniform::<f32>(count, 0.1, 2.0, seed);
    weights.iter_mut().step_by(7).for_each(|weight| *weight = 0.0);
    weights.iter_mut().skip(3).step_by(11).for_each(|weight| *weight = -1.0);
    weights.iter_mut().skip(5).step_by(29).for_each(|weight| *weight = f32::NAN);
    weights
}

/// Changes are differences of ranks that sum to 1, each rounded.
fn near(what: &str, got: &[f32], want: &[f32]) {
    assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-5), "{what}: {got:?} {want:?}");
}

#[test]
fn table() {
    let mut cases = Cases::of("hyper rank");
    for (seed, &case @ [edges, vertices, pairs]) in CASES.iter().enumerate() {
        let graph = Graph::random(case, seed as u64);
        let on: Vec<_> = devices().into_iter().map(|device| (graph.on(&device), device)).collect();
        let (of_edges, of_entries) = (weights(edges, 1), weights(pairs, 2));
        for (columns, gap, steps, given) in
            [(0, 0, 3, false), (1, 0, 0, true), (1, 0, 9, true), (3, 1, 8, false), (40, 0, 5, true)]
        {
            let what = format!("{case:?} {columns} {steps} {given}");
            let (seeds, layout) = seeds(vertices, columns, gap);
            let walk = Walk { damping: 0.85, steps, tolerance: 0.0 };
            let turned = graph.shape.transposed();
            let p = rank::plan(&graph.shape, &turned, [false, true], None, None, &layout, walk).unwrap();
            let (weights, shares) = (given.then_some(&of_edges[..]), given.then_some(&of_entries[..]));
            let walked = rank::Graph { edges: graph.edges(), vertices: graph.vertices(), weights, shares };
            let (mut want, mut moved) = (vec![0.0; vertices * columns], vec![0.0; columns]);
            rank::forward(&p, walked, &seeds, &mut want, &mut moved);
            cases.ran("reference");
            let out = |device: &Device| {
                (Fenced::<f32, 2>::new([vertices, columns], device), Fenced::<f32, 1>::new([columns], device))
            };
            let (mut ranks, mut change) = out(&Device::Host);
            latens_cpu::hyper::rank::forward(&p, walked, &seeds, ranks.slice(), change.slice());
            close(&format!("cpu {what}"), &ranks.full(), &want, 1e-9);
            near(&format!("cpu change {what}"), &change.full(), &moved);
            cases.ran("cpu");
            for (graph, device) in &on {
                let on = Tensor::from_slice(&seeds, layout, device).unwrap();
                let [of_edges, of_entries] = [&of_edges, &of_entries].map(|numbers| tensor(numbers, device));
                let [weights, shares] = [&of_edges, &of_entries].map(|numbers| given.then(|| numbers.view()));
                let (edges, vertices) = (graph.edges(), graph.vertices());
                let (ranks, change) = hyper_rank(edges, vertices, weights, shares, on.view(), walk).unwrap();
                let got = ranks.to_vec().unwrap();
                close(&format!("{} {what}", place(device)), &got, &want, 1e-9);
                let changed = change.to_vec().unwrap();
                near(&format!("{} change {what}", place(device)), &changed, &moved);
                let bytes = hyper_rank_workspace(edges.shape().rows(), &layout, device).unwrap();
                let mut workspace = Tensor::<u8, 1>::empty([bytes], device).unwrap();
                let (mut ranks, mut change) = out(device);
                let (r, c, w) = (ranks.view_mut(), change.view_mut(), workspace.view_mut());
                hyper_rank_into(edges, vertices, weights, shares, on.view(), walk, r, c, w).unwrap();
                assert_eq!((ranks.full(), change.full()), (got, changed));
                cases.ran(place(device));
            }
        }
    }
}

/// An edge of all vertices beside small ones, and a vertex of all edges: long sums keep to the contract, and ranks sum to 1. More
/// vertices and edges than one task has.
#[test]
fn long_rows() {
    let (vertices, edges) = (6000, 1500);
    let (mut of_pairs, mut members) = (Vec::new(), Vec::new());
    for e in 0..edges as u32 {
        let all: Vec<u32> = match e {
            0 => (0..vertices as u32 - 40).collect(), // the last 40 may be in no edge
            _ => vec![0, 7 * e % 5900, 11 * e % 5900 + 1],
        };
        of_pairs.extend(all.iter().map(|_| e));
        members.extend(all);
    }
    let (walk, host) = (Walk { damping: 0.85, steps: 20, tolerance: 0.0 }, &Device::Host);
    let graph = |device: &Device| {
        let [of_pairs, members] = [&of_pairs, &members].map(|ids| tensor(ids, device));
        Hypergraph::new::<f32>(of_pairs.view(), members.view(), None, [edges, vertices]).unwrap().0
    };
    let on_host = graph(host);
    let exact = |columns: usize| {
        let seeds =
            Tensor::from_vec(vec![1.0 / vertices as f64; vertices * columns], [vertices, columns], host).unwrap();
        let (edges, vertices) = (on_host.edges(), on_host.vertices());
        hyper_rank::<f64>(edges, vertices, None, None, seeds.view(), walk).unwrap().0.to_vec().unwrap()
    };
    for device in devices() {
        let graph = graph(&device);
        for columns in [1, 3, 17] {
            let (what, seeds) =
                (format!("{} {columns}", place(&device)), vec![1.0 / vertices as f32; vertices * columns]);
            let seeds = Tensor::from_vec(seeds, [vertices, columns], &device).unwrap();
            let (ranks, _) = hyper_rank(graph.edges(), graph.vertices(), None, None, seeds.view(), walk).unwrap();
            let (ranks, want) = (ranks.to_vec().unwrap(), exact(columns));
            let off: f64 = ranks.iter().zip(&want).map(|(&got, want)| (f64::from(got) - want).powi(2)).sum();
            let off = off / want.iter().map(|want| want * want).sum::<f64>();
            assert!(off < 1e-11, "{what}: {off:e}");
            let sum: f64 = ranks.iter().map(|&rank| f64::from(rank)).sum();
            assert!((sum / columns as f64 - 1.0).abs() < 1e-5, "{what}: {sum}");
        }
    }
}

/// A column comes to the same bits alone and beside others, though they stop at different steps; and it stopped.
#[test]
fn columns_stop_alone() {
    let graph = Graph::random([40, 30, 100], 3);
    let (all, _) = seeds(30, 5, 0);
    let walk = Walk { damping: 0.6, steps: 60, tolerance: 1e-3 };
    for device in devices() {
        let on = graph.on(&device);
        let rank = |seeds: Vec<f32>, columns| {
            let seeds = Tensor::from_vec(seeds, [30, columns], &device).unwrap();
            let (ranks, change) = hyper_rank(on.edges(), on.vertices(), None, None, seeds.view(), walk).unwrap();
            (ranks.to_vec().unwrap(), change.to_vec().unwrap())
        };
        let (together, changes) = rank(all.clone(), 5);
        assert!(changes.iter().all(|&change| change > 0.0 && change <= 1e-3), "{changes:?}");
        for (q, &wanted) in changes.iter().enumerate() {
            let column = |from: &[f32]| from.iter().skip(q).step_by(5).copied().collect::<Vec<_>>();
            let (alone, change) = rank(column(&all), 1);
            assert_eq!((alone, change), (column(&together), vec![wanted]), "{}", place(&device));
        }
        // Four of five: another width.
        let four: Vec<f32> = all.chunks(5).flat_map(|row| row[..4].to_vec()).collect();
        let first: Vec<f32> = together.chunks(5).flat_map(|row| row[..4].to_vec()).collect();
        assert_eq!(rank(four, 4).0, first);
    }
}

/// Negative seeds are walked like others. One that is no finite number makes its column NaN in the first step, wherever it
/// stands, and leaves the columns beside it as they are: in every implementation.
#[test]
fn seeds_that_are_no_shares() {
    const BAD: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let vertices = 40;
    let graph = Graph::random([12, vertices, 30], 3);
    let edges_of = |v: usize| graph.vertices().row(v).len();
    let lonely = (0..vertices).find(|&v| edges_of(v) == 0).unwrap();
    let member = (0..vertices).find(|&v| edges_of(v) > 1).unwrap();
    let of_edges = weights(12, 1);
    // As many columns as are walked one by one, by few and by many, and more than go together; the first that is bad.
    for (columns, first) in [(1, 0), (3, 1), (6, 2), (17, 15)] {
        let bad = first..columns.min(first + BAD.len());
        let (mut plain, layout) = seeds(vertices, columns, 0);
        let signed = normal::<f32>(vertices, 0.1, 1);
        plain.iter_mut().step_by(columns).zip(signed).for_each(|(to, x)| *to = x);
        for (steps, damping, tolerance) in
            [(0, 0.6, 0.0), (1, 0.6, 0.0), (1, 0.0, 0.0), (30, 0.6, 0.0), (30, 0.6, 1e-2)]
        {
            let walk = Walk { damping, steps, tolerance };
            for (at, given) in [(lonely, true), (member, false), (member, true)] {
                let mut spoiled = plain.clone();
                bad.clone().zip(BAD).for_each(|(q, bad)| spoiled[at * columns + q] = bad);
                let weights = given.then_some(&of_edges[..]);
                let [good, got] = [&plain, &spoiled].map(|seeds| everywhere(&graph, seeds, &layout, weights, walk));
                for ((who, ranks, change), (_, plain_ranks, plain_change)) in got.iter().zip(&good) {
                    let what = format!("{who} {walk:?} vertex {at} {given}");
                    let column =
                        |ranks: &[f32], q: usize| ranks.iter().skip(q).step_by(columns).copied().collect::<Vec<_>>();
                    for q in (0..columns).filter(|q| !bad.contains(q)) {
                        assert_eq!(column(ranks, q), column(plain_ranks, q), "{what}: column {q}");
                        assert_eq!(change[q], plain_change[q], "{what}: column {q}");
                    }
                    for (q, bad) in bad.clone().zip(BAD) {
                        let (ranks, nan) = (column(ranks, q), change[q].is_nan());
                        if steps > 0 {
                            assert!(nan && ranks.iter().all(|rank| rank.is_nan()), "{what}: {bad} in {ranks:?}");
                        } else {
                            assert!(same(&ranks[at..=at], &[bad]) && change[q] == 0.0, "{what}");
                            assert!((0..vertices).all(|v| v == at || ranks[v].is_finite()), "{what}: {ranks:?}");
                        }
                    }
                }
                // The first is the reference.
                for (who, ranks, _) in &good {
                    close(&format!("{who} {walk:?}"), ranks, &good[0].1, 1e-9);
                }
            }
        }
    }
}

/// Ranks and changes of the reference, of the host and of the operation on every device, by name.
fn everywhere(
    graph: &Graph,
    seeds: &[f32],
    layout: &Layout<2>,
    weights: Option<&[f32]>,
    walk: Walk,
) -> Vec<(&'static str, Vec<f32>, Vec<f32>)> {
    let p = rank::plan(&graph.shape, &graph.shape.transposed(), [false, true], None, None, layout, walk).unwrap();
    let walked = rank::Graph { edges: graph.edges(), vertices: graph.vertices(), weights, shares: None };
    let [vertices, columns] = layout.dims();
    let out = || (vec![0.0; vertices * columns], vec![0.0; columns]);
    let ((mut ranks, mut change), (mut fast, mut fast_change)) = (out(), out());
    rank::forward(&p, walked, seeds, &mut ranks, &mut change);
    latens_cpu::hyper::rank::forward(&p, walked, seeds, &mut fast, &mut fast_change);
    let mut all = vec![("reference", ranks, change), ("cpu", fast, fast_change)];
    for device in devices() {
        let (on, seeds) = (graph.on(&device), Tensor::from_slice(seeds, *layout, &device).unwrap());
        let weights = weights.map(|weights| tensor(weights, &device));
        let weights = weights.as_ref().map(|weights| weights.view());
        let (ranks, change) = hyper_rank(on.edges(), on.vertices(), weights, None, seeds.view(), walk).unwrap();
        all.push((place(&device), ranks.to_vec().unwrap(), change.to_vec().unwrap()));
    }
    all
}

/// Rows of `P` sum to 1, what walks come to is the solution of the equation, and it sums to 1.
#[test]
fn dense_solve() {
    let graph = Graph::random([30, 24, 70], 11);
    let (edges, vertices) = (30, 24);
    let (of_edges, of_entries) = (weights(edges, 1), weights(70, 2));
    let (seeds, _) = seeds(vertices, 1, 0);
    let damping = 0.7_f32;
    // P by its definition; a vertex without edges leads to the seeds.
    let member = graph.dense(|_| 1.0);
    let share = graph.dense(|i| rank::positive(f64::from(of_entries[i])));
    let all: Vec<f64> = share.iter().map(|share| share.iter().sum()).collect();
    let weight = |e: usize| if all[e] > 0.0 { rank::positive(f64::from(of_edges[e])) } else { 0.0 };
    let mut p = vec![vec![0.0; vertices]; vertices];
    for (u, row) in p.iter_mut().enumerate() {
        let degree: f64 = (0..edges).map(|e| member[e][u] * weight(e)).sum();
        for (v, p) in row.iter_mut().enumerate() {
            let through = |e: usize| member[e][u] * weight(e) * share[e][v] / all[e];
            *p = match degree > 0.0 {
                true => (0..edges).filter(|&e| all[e] > 0.0).map(through).sum::<f64>() / degree,
                false => f64::from(seeds[v]),
            };
        }
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-6);
    }
    assert!((0..vertices).any(|u| (0..edges).all(|e| member[e][u] * weight(e) == 0.0)), "somebody is lonely");
    let system = |v: usize, u: usize| f64::from(u8::from(u == v)) - f64::from(damping) * p[u][v];
    let right = |v: usize| (1.0 - f64::from(damping)) * f64::from(seeds[v]);
    let want = solve((0..vertices).map(|v| (0..vertices).map(|u| system(v, u)).chain([right(v)]).collect()).collect());
    for device in devices() {
        let on = graph.on(&device);
        let [weights, shares] = [&of_edges, &of_entries].map(|numbers| tensor(numbers, &device));
        let seeds = Tensor::from_vec(seeds.clone(), [vertices, 1], &device).unwrap();
        let walk = Walk { damping, steps: 80, tolerance: 0.0 };
        let (weights, shares) = (Some(weights.view()), Some(shares.view()));
        let (ranks, _) = hyper_rank(on.edges(), on.vertices(), weights, shares, seeds.view(), walk).unwrap();
        let ranks = ranks.to_vec().unwrap();
        close(place(&device), &ranks, &want, 1e-10);
        assert!((ranks.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
}

/// The solution of rows that end with their right side.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for k in 0..n {
        let top = (k..n).max_by(|&a, &b| rows[a][k].abs().total_cmp(&rows[b][k].abs())).unwrap();
        rows.swap(k, top);
        let head = rows[k].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != k) {
            let factor = row[k] / head[k];
            row.iter_mut().zip(&head).for_each(|(x, head)| *x -= factor * head);
        }
    }
    (0..n).map(|k| rows[k][n] / rows[k][k]).collect()
}

/// The walk of one step is the two poolings that it is made of.
#[test]
fn one_step_is_two_poolings() {
    let graph = Graph::random([33, 300, 700], 4);
    let (seeds, _) = seeds(300, 1, 0);
    let on = graph.on(&Device::Host);
    let x = Tensor::from_vec(seeds.clone(), [300, 1], &Device::Host).unwrap();
    let walk = Walk { damping: 0.5, steps: 1, tolerance: 0.0 };
    let (ranks, _) = hyper_rank(on.edges(), on.vertices(), None, None, x.view(), walk).unwrap();
    let share = |of| latens_core::hyper_weigh::<f32>(of, weigh::Weigh::Mean, None, None, None).unwrap();
    let (out, back) = (share(on.vertices()), share(on.edges()));
    let held = latens_core::hyper_pool(on.edges(), Some(out.view()), x.view()).unwrap();
    let moved = latens_core::hyper_pool(on.vertices(), Some(back.view()), held.view()).unwrap().to_vec().unwrap();
    let lost: f32 = (0..300).filter(|&v| graph.vertices().row(v).is_empty()).map(|v| seeds[v]).sum();
    let want: Vec<f32> =
        moved.iter().zip(&seeds).map(|(moved, seed)| 0.5 * seed + 0.5 * (moved + lost * seed)).collect();
    close("one step", &ranks.to_vec().unwrap(), &want, 1e-11);
}
