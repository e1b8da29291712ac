use crate::copy;
use latens_core::{Device, Float, Layout, Tensor, bf16, f16, hyper_search, hyper_search_into, hyper_search_workspace};
use latens_kernels::Philox;
use latens_kernels::hyper::search as family;
use latens_tests::{Cases, Fenced, Poison, close, devices, normal, place, same, small};

/// `[queries, n, dim, k, gap]`.
const CASES: &[[usize; 5]] = &[
    [0, 5, 3, 2, 0],
    [2, 0, 3, 0, 0],
    [2, 5, 0, 3, 0],
    [1, 1, 1, 1, 0],
    [1, 40, 7, 5, 1],
    [3, 33, 32, 33, 0],
    [2, 300, 65, 10, 3],
    [6, 600, 16, 60, 0],
    [9, 300, 33, 10, 1],
    [33, 70, 40, 5, 0],
    [40, 15, 3, 15, 2],
];

/// Whole numbers: their sums are exact in any order, and many are equal.
fn whole<T: Float>(count: usize, seed: u64) -> Vec<T> {
    let mut draw = Philox::new(seed);
    (0..count).map(|_| T::narrow(f64::from(draw.below(7)) - 3.0)).collect()
}

/// Queries, a corpus, and what is to be found in it.
pub struct Problem<'a, T: Float> {
    pub layouts: [Layout<2>; 2],
    pub queries: &'a [T],
    pub corpus: &'a [T],
    pub k: usize,
    want: Vec<T::Acc>,
    whose: Vec<u32>,
    exact: bool,
    pub what: String,
}

impl<'a, T: Float<Acc: Poison>> Problem<'a, T> {
    fn new([count, n, dim, k, gap]: [usize; 5], queries: &'a [T], corpus: &'a [T], exact: bool) -> Self {
        let layouts = [count, n].map(|rows| Layout::strided([rows, dim], [dim + gap, 1]).unwrap());
        let (queries, corpus) = (&queries[..layouts[0].span()], &corpus[..layouts[1].span()]);
        let p = family::plan(&layouts[0], &layouts[1], k).unwrap();
        let (mut want, mut whose) = (vec![T::Acc::default(); count * k], vec![0; count * k]);
        family::forward(&p, queries, corpus, &mut want, &mut whose);
        Self { layouts, queries, corpus, k, want, whose, exact, what: format!("{count} {n} {dim} {k}") }
    }

    /// Fail unless this was found.
    pub fn agree(&self, who: &str, values: &[T::Acc], ids: &[u32]) {
        let Self { want, what, .. } = self;
        if self.exact {
            assert!(same(values, want), "{who} {what}: {:?}", values.iter().zip(want).position(|(a, b)| a != b));
            assert_eq!(ids, self.whose, "{who} {what}");
        } else {
            close(&format!("{who} {what}"), values, want, 1e-11);
        }
    }

    /// Memory for what is found.
    pub fn out(&self, device: &Device) -> (Fenced<T::Acc, 2>, Fenced<u32, 2>) {
        let dims = [self.layouts[0].dims()[0], self.k];
        (Fenced::new(dims, device), Fenced::new(dims, device))
    }

    /// Queries and corpus on a device.
    pub fn on(&self, device: &Device) -> [Tensor<T, 2>; 2] {
        [(self.queries, self.layouts[0]), (self.corpus, self.layouts[1])]
            .map(|(data, layout)| Tensor::from_slice(data, layout, device).unwrap())
    }

    fn check(&self, cases: &mut Cases) {
        cases.ran("reference");
        let [of_queries, of_corpus] = self.layouts;
        let p = family::plan(&of_queries, &of_corpus, self.k).unwrap();
        let (mut values, mut ids) = self.out(&Device::Host);
        latens_cpu::hyper::search::forward(&p, self.queries, self.corpus, values.slice(), ids.slice());
        self.agree("cpu", &values.take(), &ids.take());
        cases.ran("cpu");
        for device in devices() {
            let [queries, corpus] = self.on(&device);
            let (v, i) = hyper_search(queries.view(), corpus.view(), self.k).unwrap();
            self.agree(place(&device), &v.to_vec().unwrap(), &i.to_vec().unwrap());
            let bytes = hyper_search_workspace(&of_queries, &of_corpus, self.k, &device).unwrap();
            let mut workspace = Tensor::<u8, 1>::empty([bytes], &device).unwrap();
            let (mut values, mut ids) = self.out(&device);
            let (v, i, w) = (values.view_mut(), ids.view_mut(), workspace.view_mut());
            hyper_search_into(queries.view(), corpus.view(), self.k, v, i, w).unwrap();
            self.agree(place(&device), &values.take(), &ids.take());
            cases.ran(place(&device));
        }
    }
}

fn table<T: Float<Acc: Poison> + Poison>() {
    let mut cases = Cases::of("hyper search").in_type::<T>();
    let mut check = |case, queries: &[T], corpus: &[T], exact| {
        let problem = Problem::new(case, queries, corpus, exact);
        problem.check(&mut cases);
        copy::check::<T, i8>(&problem, &mut cases);
        copy::check::<T, bf16>(&problem, &mut cases);
    };
    let sizes = CASES.iter().enumerate().filter(|(_, case)| !small() || case[..3].iter().product::<usize>() < 80_000);
    for (seed, &case @ [count, n, dim, _, gap]) in sizes {
        let lengths = [count, n].map(|rows| rows * (dim + gap));
        let seed = seed as u64;
        check(case, &whole::<T>(lengths[0], seed), &whole::<T>(lengths[1], seed + 100), true);
        let mut special = whole::<T>(lengths[1], seed + 200);
        special.iter_mut().step_by(97).for_each(|x| *x = T::narrow(f64::NAN));
        check(case, &whole::<T>(lengths[0], seed), &special, true);
        check(case, &normal::<T>(lengths[0], 1.0, seed), &normal::<T>(lengths[1], 1.0, seed + 9), false);
    }
}

#[test]
fn f32_table() {
    table::<f32>();
}
#[test]
fn f16_table() {
    table::<f16>();
}
#[test]
fn bf16_table() {
    table::<bf16>();
}
