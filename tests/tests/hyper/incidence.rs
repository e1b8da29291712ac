use crate::graph::{CASES, Graph, tensor};
use latens_core::{
    Device, Incidence, hyper_incidence_into, hyper_incidence_workspace, hyper_transpose_into, hyper_transpose_workspace,
};
use latens_core::{Layout, Tensor};
use latens_kernels::hyper::incidence;
use latens_tests::{Cases, Fenced, devices, place};

#[test]
fn build_table() {
    let mut cases = Cases::of("hyper incidence");
    for (seed, &case @ [edges, vertices, pairs]) in CASES.iter().enumerate() {
        let graph = Graph::random(case, seed as u64);
        cases.ran("reference");
        let packed = Layout::packed([pairs]).unwrap();
        let p = incidence::plan(&graph.shape, &packed, &packed, Some(&packed)).unwrap();
        let out = |device: &Device| {
            let offsets = Fenced::<u32, 1>::new([edges + 1], device);
            (offsets, Fenced::<u32, 1>::new([pairs], device), Fenced::<f32, 1>::new([pairs], device))
        };
        let (mut offsets, mut members, mut merged) = out(&Device::Host);
        let weights = Some(&graph.weights[..]);
        let (o, m, w) = (offsets.slice(), members.slice(), Some(merged.slice()));
        latens_cpu::hyper::incidence::build(&p, &graph.edges, &graph.vertices, weights, o, m, w).unwrap();
        assert_eq!(
            (offsets.take(), members.take(), merged.take()),
            (graph.offsets.clone(), graph.members.clone(), graph.merged.clone()),
            "cpu {case:?}"
        );
        cases.ran("cpu");
        for device in devices() {
            for weighted in [true, false] {
                let (mut offsets, mut members, mut merged) = out(&device);
                let [rows, columns] = [&graph.edges, &graph.vertices].map(|ids| tensor(ids, &device));
                let weights = tensor(&graph.weights, &device);
                let bytes = hyper_incidence_workspace(&graph.shape, &device).unwrap();
                let mut workspace = Tensor::<u8, 1>::empty([bytes], &device).unwrap();
                hyper_incidence_into(
                    rows.view(),
                    columns.view(),
                    weighted.then(|| weights.view()),
                    [edges, vertices],
                    offsets.view_mut(),
                    members.view_mut(),
                    weighted.then(|| merged.view_mut()),
                    workspace.view_mut(),
                )
                .unwrap();
                assert_eq!(offsets.take(), graph.offsets, "{} {case:?}", place(&device));
                assert_eq!(members.take(), graph.members, "{} {case:?}", place(&device));
                if weighted {
                    assert_eq!(merged.take(), graph.merged, "{} {case:?}", place(&device));
                }
            }
            cases.ran(place(&device));
        }
    }
}

#[test]
fn transpose_table() {
    let mut cases = Cases::of("hyper transpose");
    for (seed, &case @ [_, vertices, pairs]) in CASES.iter().enumerate() {
        let graph = Graph::random(case, seed as u64);
        let [want_offsets, want_members, want_places] = &graph.turned;
        cases.ran("reference");
        let out = |device: &Device| {
            (Fenced::<u32, 1>::new([vertices + 1], device), [0, 1].map(|_| Fenced::<u32, 1>::new([pairs], device)))
        };
        let (mut offsets, [mut members, mut places]) = out(&Device::Host);
        let p = incidence::plan_transpose(&graph.shape);
        let (o, m, q) = (offsets.slice(), members.slice(), places.slice());
        latens_cpu::hyper::incidence::transpose(&p, graph.edges(), o, m, q);
        assert_eq!([&offsets.take(), &members.take(), &places.take()], [want_offsets, want_members, want_places]);
        cases.ran("cpu");
        for device in devices() {
            let [from, to] = [&graph.offsets, &graph.members].map(|ids| tensor(ids, &device));
            let edges = Incidence::new(from.view(), to.view(), None, vertices).unwrap();
            let (mut offsets, [mut members, mut places]) = out(&device);
            let bytes = hyper_transpose_workspace(&graph.shape, &device).unwrap();
            let mut workspace = Tensor::<u8, 1>::empty([bytes], &device).unwrap();
            let (o, m, q) = (offsets.view_mut(), members.view_mut(), places.view_mut());
            hyper_transpose_into(edges, o, m, q, workspace.view_mut()).unwrap();
            let got = [&offsets.take(), &members.take(), &places.take()];
            assert_eq!(got, [want_offsets, want_members, want_places], "{} {case:?}", place(&device));
            cases.ran(place(&device));
        }
    }
}
