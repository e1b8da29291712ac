//! Dense products at the sizes of a small language model: a prompt, a few tokens, one token; and a backward.
//! Many rows are bound by arithmetic, few rows by memory: floor = the weights once in.
use criterion::{Criterion, criterion_group, criterion_main};
use latens_benches::family::{Family, packed, slice, tensor, verify};
use latens_core::{Accumulate, Float, bf16, linear, linear_backward};
use latens_kernels::linear::{forward, plan};

/// `[m, n, k]`.
const SIZES: [[usize; 3]; 4] = [[512, 1536, 576], [512, 576, 1536], [8, 1536, 576], [1, 49_152, 576]];

fn sizes<T: Float>(family: &mut Family<'_>, dtype: &str, limit: f64) {
    for [m, n, k] in SIZES {
        let (x, w) = (tensor::<T, 2>([m, k], 1), tensor::<T, 2>([n, k], 2));
        let bias = tensor::<T::Acc, 1>([n], 3);
        let call = || linear(x.view(), w.view(), Some(bias.view()));
        // The reference is slow: it has the first rows.
        let checked = m.min(8);
        let of = |m| plan(&packed([m, k]), &packed([n, k]), Some(&packed([n])), Accumulate::Replace).unwrap();
        let mut want = vec![T::default(); checked * n];
        forward(&of(checked), slice(&x), slice(&w), Some(slice(&bias)), &mut want);
        verify("linear", &slice(&call().unwrap())[..checked * n], &want, limit);

        let (size, bytes, flops) = (format!("{dtype} {m}x{n}x{k}"), of(m).bytes(size_of::<T>()), of(m).flops());
        if m == 1 {
            family.bytes("token", &size, bytes, call);
        } else {
            family.flops("rows", &size, flops, bytes, call);
        }
    }
}

/// All three gradients; each is compared where it costs little: `db`, and the first row of `dw`.
fn backward(family: &mut Family<'_>) {
    let [m, n, k] = [512, 1536, 576];
    let (x, w, dy) = (tensor::<f32, 2>([m, k], 1), tensor([n, k], 2), tensor::<f32, 2>([m, n], 3));
    let call = || linear_backward(x.view(), w.view(), dy.view());
    let (dx, dw, db) = call().unwrap();
    let (x_rows, dy_rows) = (|| slice(&x).chunks(k), || slice(&dy).chunks(n));
    let sum = |numbers: &mut dyn Iterator<Item = f64>| numbers.sum::<f64>() as f32;
    let want: Vec<_> = (0..n).map(|j| sum(&mut dy_rows().map(|row| f64::from(row[j])))).collect();
    verify("db", slice(&db), &want, 1e-11);
    let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
    let want: Vec<_> = (0..k).map(|c| sum(&mut x_rows().zip(dy_rows()).map(|(x, dy)| product(x[c], dy[0])))).collect();
    verify("dw", &slice(&dw)[..k], &want, 1e-11);
    let row = |c: usize| sum(&mut slice(&w).chunks(k).zip(slice(&dy)).map(|(w, &dy)| product(w[c], dy)));
    verify("dx", &slice(&dx)[..k], &(0..k).map(row).collect::<Vec<_>>(), 1e-11);
    let bytes = 4 * 2 * (m * k + n * k + m * n);
    family.flops("backward", &format!("f32 {m}x{n}x{k}"), 4 * m * n * k, bytes, call);
}

fn all(c: &mut Criterion) {
    let mut family = Family::new(c, "linear");
    sizes::<f32>(&mut family, "f32", 1e-11);
    sizes::<bf16>(&mut family, "bf16", 5e-5);
    backward(&mut family);
}

criterion_group!(benches, all);
criterion_main!(benches);
