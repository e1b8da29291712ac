//! Batches that name every latent several times, which the host decodes by slabs of columns.
use super::passes::decode;
use latens_core::{Float, Layout, bf16};
use latens_cpu::sae as cpu;
use latens_kernels::sae::{Codes, Shape, decode as family};
use latens_tests::{Batch, Cases, FLAT, Poison};

/// `[rows, dim, n, k, padding]`: of `f32`, on two threads, all go by slabs, of 32 columns or, for many latents, of 16.
const CASES: &[[usize; 5]] = &[
    [300, 64, 90, 8, 0],
    [300, 100, 90, 8, 3],
    [40, 32, 3, 2, 0],
    [5, 200, 0, 3, 1],
    [2000, 70, 60, FLAT, 2],
    [700, 40, 5200, 64, 1],
];

fn on_two_threads(work: impl FnOnce() + Send) {
    rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap().install(work);
}

fn table<T: Poison + Float>()
where
    T::Acc: Poison,
{
    let mut cases = Cases::of("sae_decode by slabs").in_type::<T>();
    for (seed, &case) in CASES.iter().enumerate() {
        decode(&Batch::<T>::new(case, seed as u64), &mut cases, &format!("{case:?}"));
    }
}

#[test]
fn f32_table() {
    on_two_threads(table::<f32>);
}
#[test]
fn bf16_table() {
    on_two_threads(table::<bf16>);
}

/// Bits of the reconstruction, the residual and the error of rows from `first` on, alone.
fn bits(level: cpu::Level, case: &Batch<f32>, [first, rows]: [usize; 2]) -> [Vec<u32>; 3] {
    let ([_, dim, _], k) = (case.dims(), case.codes.shape.width().unwrap());
    let slots = first * k..(first + rows) * k;
    let (shape, stride) = (Shape::fixed(rows, k).unwrap(), case.x.0.strides()[0]);
    let (bias, x) = (Layout::packed([dim]).unwrap(), Layout::strided([rows, dim], [stride, 1]).unwrap());
    let b_dec = case.b_dec.as_deref();
    let p = family::plan(&shape, &case.w.0, b_dec.map(|_| &bias), Some(&x)).unwrap();
    let codes = Codes { values: &case.codes.values[slots.clone()], latents: &case.codes.latents[slots], offsets: &[] };
    let [mut recon, mut residual, mut error] = [rows * dim, rows * dim, rows].map(|len| vec![f32::POISON; len]);
    let x = &case.x.1[first * stride..];
    let against = family::Against { x, residual: &mut residual, error: &mut error };
    cpu::decode::forward_at(level, &p, codes, &case.w.1, b_dec, &mut recon, Some(against));
    [recon, residual, error].map(|of| of.into_iter().map(f32::to_bits).collect())
}

/// One row names few latents, so it does not go by slabs.
#[test]
fn a_row_has_the_bits_that_it_has_alone() {
    on_two_threads(|| {
        for (seed, &dims) in CASES.iter().enumerate().filter(|(_, case)| case[3] != FLAT && case[2] > 8) {
            let case = Batch::<f32>::new(dims, seed as u64);
            let [rows, dim, _] = case.dims();
            for level in cpu::Level::all() {
                let [recon, residual, error] = bits(level, &case, [0, rows]);
                for r in 0..rows {
                    let of = |all: &[u32]| all[r * dim..][..dim].to_vec();
                    let want = [of(&recon), of(&residual), vec![error[r]]];
                    assert!(bits(level, &case, [r, 1]) == want, "{level:?} {dims:?} row {r}");
                }
            }
        }
    });
}
