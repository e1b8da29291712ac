//! Wrong calls are errors, before anything is read by them.
use crate::graph::{Graph, tensor};
use latens_core::{
    Degree, Device, Error, Hypergraph, Incidence, IncidenceShape, Layout, Tensor, Walk, Weigh, hyper_degree,
    hyper_dots_into, hyper_largest, hyper_largest_backward, hyper_pool, hyper_rank, hyper_search, hyper_topk,
    hyper_weigh, hyper_weigh_backward_into, hyper_weigh_into,
};
use latens_kernels::hyper::search;
use latens_tests::{Fenced, devices, place};

#[test]
fn incidences() {
    let of = |offsets: &[u32], members: &[u32], columns| {
        let (offsets, members) = (tensor(offsets, &Device::Host), tensor(members, &Device::Host));
        Incidence::new(offsets.view(), members.view(), None, columns).err()
    };
    let rising = Error::Value { op: "hyper", arg: "offsets", want: "rising from 0 to at most the number of entries" };
    let sorted = Error::Value { op: "hyper", arg: "members", want: "rising within each row, each column once" };
    assert_eq!(of(&[0, 2, 3], &[0, 1, 0], 2), None);
    assert_eq!(of(&[0, 2, 2], &[0, 1, 9], 2), None, "what lies behind the last row is not looked at");
    assert_eq!(of(&[1, 2, 3], &[0, 1, 0], 2), Some(rising));
    assert_eq!(of(&[0, 3, 2], &[0, 1, 0], 2), Some(rising));
    assert_eq!(of(&[0, 2, 4], &[0, 1, 0], 2), Some(rising));
    assert_eq!(of(&[0, 2, 3], &[1, 0, 0], 2), Some(sorted), "unsorted");
    assert_eq!(of(&[0, 2, 3], &[1, 1, 0], 2), Some(sorted), "twice");
    assert_eq!(of(&[0, 2, 3], &[0, 2, 0], 2), Some(Error::Range { op: "hyper", arg: "members", max: 1, got: 2 }));
    assert_eq!(of(&[], &[], 2), Some(Error::Size { op: "hyper", arg: "offsets", want: 1, got: 0 }));
    for (edges, vertices, arg, got) in [([0, 3], [0, 1], "rows", 3), ([0, 1], [7, 1], "columns", 7)] {
        let [edges, vertices] = [edges, vertices].map(|ids| tensor(&ids, &Device::Host));
        let built = Hypergraph::new::<f32>(edges.view(), vertices.view(), None, [3, 3]);
        assert_eq!(built.err(), Some(Error::Range { op: "hyper_incidence", arg, max: 2, got }));
    }
}

/// Each entry has a number of its own. Two of one number would share a place, and one share would be lost.
#[test]
fn places() {
    let of = |offsets: &[u32], places: &[u32]| {
        let [offsets, members, places] = [offsets, &[0, 1, 0], places].map(|ids| tensor(ids, &Device::Host));
        Incidence::new(offsets.view(), members.view(), Some(places.view()), 2).err()
    };
    let own = Error::Value { op: "hyper", arg: "places", want: "the number of each entry, none of them twice" };
    assert_eq!(own.to_string(), "hyper: places must be the number of each entry, none of them twice");
    for places in [[0, 1, 2], [2, 0, 1]] {
        assert_eq!(of(&[0, 2, 3], &places), None);
    }
    for places in [[1, 1, 1], [0, 0, 2], [0, 2, 2], [2, 1, 2]] {
        assert_eq!(of(&[0, 2, 3], &places), Some(own), "{places:?}");
    }
    assert_eq!(of(&[0, 2, 3], &[0, 1, 3]), Some(Error::Range { op: "hyper", arg: "places", max: 2, got: 3 }));
    assert_eq!(of(&[0, 2, 3], &[0, 1]), Some(Error::Size { op: "hyper", arg: "places", want: 3, got: 2 }));
    for places in [[1, 0, 1], [0, 2, 9]] {
        assert_eq!(of(&[0, 2, 2], &places), None, "what lies behind the last row is not looked at");
    }
    // As many numbers as two words of bits hold, and one more.
    let many = |places: &[u32]| {
        let count = places.len() as u32;
        let [offsets, members, places] =
            [&[0, count][..], &(0..count).collect::<Vec<_>>(), places].map(|ids| tensor(ids, &Device::Host));
        Incidence::new(offsets.view(), members.view(), Some(places.view()), count as usize).err()
    };
    let falling: Vec<u32> = (0..129).rev().collect();
    assert_eq!(many(&falling), None);
    for (at, other) in [(0, 128), (1, 64), (63, 64), (64, 65)] {
        let mut twice = falling.clone();
        twice[at] = twice[other];
        assert_eq!(many(&twice), Some(own), "{at} {other}");
    }
}

/// Where nobody looks, what is written of one number is that of one of its entries; what is read of it is read by all. Numbers that
/// none has get 0, and nothing else is touched.
#[test]
fn a_number_named_twice_on_a_device() {
    for device in devices().into_iter().filter(|device| !device.is_host()) {
        let [offsets, members, places] = [[0, 2, 3], [0, 1, 0], [1, 1, 2]].map(|ids| tensor(&ids, &device));
        let of = Incidence::new(offsets.view(), members.view(), Some(places.view()), 2).unwrap();
        let [values, da] = [[5.0, 2.0, 3.0], [7.0, 1.0, 1.0]].map(|numbers: [f32; 3]| tensor(&numbers, &device));
        let columns = tensor(&[1.0_f32, 10.0], &device);
        let one_of = |got: Vec<f32>, either: [f32; 2], other: f32| {
            assert!(got[0] == 0.0 && either.contains(&got[1]) && got[2] == other, "{got:?}");
        };
        let out = || Fenced::<f32, 1>::new([3], &device);
        let (values, columns) = (Some(values.view()), Some(columns.view()));
        let mut a = out();
        hyper_weigh_into(of, Weigh::Sum, values, columns, None, a.view_mut()).unwrap();
        one_of(a.full(), [2.0, 20.0], 3.0);
        let mut a = out();
        hyper_weigh_backward_into(of, Weigh::Sum, values, columns, None, da.view(), a.view_mut()).unwrap();
        one_of(a.full(), [1.0, 10.0], 1.0);
        let [x, dy] =
            [[10.0, 20.0], [5.0, 7.0]].map(|x: [f32; 2]| Tensor::from_vec(x.to_vec(), [2, 1], &device).unwrap());
        let mut a = out();
        hyper_dots_into(of, dy.view(), x.view(), a.view_mut()).unwrap();
        one_of(a.full(), [50.0, 100.0], 70.0);
        assert_eq!(hyper_pool(of, values, x.view()).unwrap().to_vec().unwrap(), [60.0, 30.0]);
        let (y, chosen) = hyper_largest(of, None, x.view()).unwrap();
        assert_eq!((y.to_vec().unwrap(), chosen.to_vec().unwrap()), (vec![20.0, 10.0], vec![1, 2]));
    }
}

/// Entries behind the last offset are nobody's, whatever their numbers: they take nothing from those that have them.
#[test]
fn entries_of_no_row_write_nothing() {
    for device in devices() {
        let [offsets, members, places] = [&[0, 2][..], &[0, 1, 1], &[2, 0, 2]].map(|ids| tensor(ids, &device));
        let of = Incidence::new(offsets.view(), members.view(), Some(places.view()), 2).unwrap();
        let [x, dy] =
            [&[10.0_f32, 20.0][..], &[5.0]].map(|x| Tensor::from_vec(x.to_vec(), [x.len(), 1], &device).unwrap());
        let mut da = Fenced::<f32, 1>::new([3], &device);
        hyper_dots_into(of, dy.view(), x.view(), da.view_mut()).unwrap();
        assert_eq!(da.full(), [100.0, 0.0, 50.0], "{}", place(&device));
        let ones = hyper_weigh::<f32>(of, Weigh::Sum, None, None, None).unwrap();
        assert_eq!(ones.to_vec().unwrap(), [1.0, 0.0, 1.0], "{}", place(&device));
    }
}

/// On CUDA, where nobody looks, what is no entry is passed over.
#[test]
fn bad_entries_on_a_device_are_passed_over() {
    for device in devices().into_iter().filter(|device| !device.is_host()) {
        let [edges, vertices] = [[0, 3, 1, 0], [0, 1, 9, 2]].map(|ids| tensor(&ids, &device));
        let graph = Hypergraph::new::<f32>(edges.view(), vertices.view(), None, [3, 3]).unwrap().0;
        let ones = Tensor::from_vec(vec![1.0_f32; 3], [3, 1], &device).unwrap();
        assert_eq!(hyper_pool(graph.edges(), None, ones.view()).unwrap().to_vec().unwrap(), [2.0, 0.0, 0.0]);
        assert_eq!(hyper_pool(graph.vertices(), None, ones.view()).unwrap().to_vec().unwrap(), [1.0, 0.0, 1.0]);
        let (offsets, members) = (tensor(&[0, 3, 2, 99], &device), tensor(&[0, 77, 2, 1], &device));
        let bad = Incidence::new(offsets.view(), members.view(), None, 3).unwrap();
        assert_eq!(hyper_pool(bad, None, ones.view()).unwrap().to_vec().unwrap(), [2.0, 0.0, 2.0]);
        let degrees = hyper_degree::<f32>(bad, Degree::Sum, None, None).unwrap().to_vec().unwrap();
        assert_eq!(degrees, [2.0, 0.0, 2.0]);
        let scores = tensor(&[1.0_f32, 2.0, 3.0], &device);
        let (_, members) = hyper_topk(bad, scores.view(), 2).unwrap();
        assert_eq!(members.to_vec().unwrap(), [2, 0, 3, 3, 2, 1]);
    }
}

#[test]
fn sizes() {
    for device in devices() {
        let graph = Graph::random([5, 7, 20], 1).on(&device);
        let (edges, vertices) = (graph.edges(), graph.vertices());
        let x = Tensor::<f32, 2>::zeros([6, 2], &device).unwrap();
        let size = |op, arg, want, got| Some(Error::Size { op, arg, want, got });
        assert_eq!(hyper_pool(edges, None, x.view()).err(), size("hyper_pool", "x", 7, 6));
        let a = tensor(&[0.0_f32; 3], &device);
        let weighed = hyper_weigh(edges, Weigh::Sum, Some(a.view()), None, None);
        assert_eq!(weighed.err(), size("hyper_weigh", "values", 20, 3));
        assert_eq!(hyper_topk(edges, a.view(), 1).err(), size("hyper_topk", "scores", 7, 3));
        let scores = tensor(&[0.0_f32; 7], &device);
        let range = |op, arg, max, got| Some(Error::Range { op, arg, max, got });
        assert_eq!(hyper_topk(edges, scores.view(), 1025).err(), range("hyper_topk", "k", 1024, 1025));
        let chosen = Tensor::<u32, 2>::zeros([5, 2], &device).unwrap();
        let dy = Tensor::<f32, 2>::zeros([5, 2], &device).unwrap();
        let back = hyper_largest_backward(edges, None, dy.view(), chosen.view());
        let want = "turned over: with places";
        assert_eq!(back.err(), Some(Error::Value { op: "hyper_largest_backward", arg: "incidence", want }));
        let seeds = Tensor::<f32, 2>::zeros([7, 1], &device).unwrap();
        let rank = |edges, vertices, damping, tolerance| {
            let walk = Walk { damping, steps: 1, tolerance };
            hyper_rank::<f32>(edges, vertices, None, None, seeds.view(), walk).err()
        };
        let value = |arg, want| Some(Error::Value { op: "hyper_rank", arg, want });
        assert_eq!(rank(edges, vertices, 0.5, 0.0), None);
        assert_eq!(rank(edges, vertices, 1.0, 0.0), value("damping", "from 0 to less than 1"));
        assert_eq!(rank(edges, vertices, f32::NAN, 0.0), value("damping", "from 0 to less than 1"));
        assert_eq!(rank(edges, vertices, 0.5, -1.0), value("tolerance", "0 or more"));
        assert_eq!(rank(edges, edges, 0.5, 0.0), size("hyper_rank", "vertices", 7, 5));
        assert_eq!(hyper_search(x.view(), dy.view(), 6).err(), range("hyper_search", "k", 5, 6));
        let wide = Tensor::<f32, 2>::zeros([5, 3], &device).unwrap();
        assert_eq!(hyper_search(x.view(), wide.view(), 1).err(), size("hyper_search", "corpus", 2, 3));
    }
    let [queries, corpus, bounds] = [[1, 4], [9, 4], [9, 3]].map(|dims| Layout::packed(dims).unwrap());
    let plan = |k, candidates| search::plan_compressed(&queries, &corpus, &corpus, &bounds, k, candidates).err();
    assert_eq!(plan(3, 10), Some(Error::Range { op: "hyper_search", arg: "candidates", max: 9, got: 10 }));
    assert_eq!(plan(3, 2), Some(Error::Range { op: "hyper_search", arg: "k", max: 2, got: 3 }));
}

/// Indices past 31 bits are refused by arithmetic alone.
#[test]
fn too_large() {
    const MOST: usize = i32::MAX as usize;
    let shape = |[rows, columns, entries]: [usize; 3]| IncidenceShape::new(rows, columns, entries).err();
    assert_eq!(shape([MOST; 3]), None);
    for (at, arg) in ["rows", "columns", "entries"].into_iter().enumerate() {
        for got in [MOST + 1, (1 << 32) + 1] {
            let mut counts = [MOST; 3];
            counts[at] = got;
            assert_eq!(shape(counts), Some(Error::Range { op: "hyper", arg, max: MOST, got }));
        }
    }
    let queries = Layout::packed([1 << 30, 0]).unwrap();
    let corpus = Layout::packed([1 << 30, 0]).unwrap();
    assert!(search::plan(&queries, &corpus, 1).is_ok(), "2^60 scores can be counted, if not held");
}
