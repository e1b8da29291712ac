//! Where screening by rounded products could go wrong: ties, lists that overflow, products that cancel against the bias, rows
//! of very different scale. Sums are exact in any order, so every level must find what the reference finds, bit for bit.
use latens_core::Layout;
use latens_cpu::{Level, sae::encode as cpu};
use latens_kernels::Philox;
use latens_kernels::sae::encode as family;
use latens_tests::small;

struct Case {
    /// Rows, entries of a row, latents, wanted of each row.
    sizes: [usize; 4],
    strides: [usize; 2],
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    /// By row and entry of `x` and of `w`, and by latent of the bias.
    fn new(
        sizes @ [rows, dim, n, k]: [usize; 4],
        gaps: [usize; 2],
        mut of_x: impl FnMut(usize, usize) -> f32,
        mut of_w: impl FnMut(usize, usize) -> f32,
        bias: impl FnMut(usize) -> f32,
    ) -> Self {
        assert!(rows > 128 && n >= 64 * k, "not screened");
        let strides = gaps.map(|gap| dim + gap);
        let (mut x, mut w) = (vec![f32::NAN; rows * strides[0]], vec![f32::NAN; n * strides[1]]);
        (0..rows * dim).for_each(|at| x[at / dim * strides[0] + at % dim] = of_x(at / dim, at % dim));
        (0..n * dim).for_each(|at| w[at / dim * strides[1] + at % dim] = of_w(at / dim, at % dim));
        Self { sizes, strides, x, w, bias: (0..n).map(bias).collect() }
    }

    fn check(&self, what: &str) {
        let [rows, dim, n, k] = self.sizes;
        let x = Layout::strided([rows, dim], [self.strides[0], 1]).unwrap();
        let w = Layout::strided([n, dim], [self.strides[1], 1]).unwrap();
        let p = family::plan(&x, &w, &Layout::packed([n]).unwrap(), k).unwrap();
        let outputs = || (vec![f32::NAN; rows * k], vec![7; rows * k]);
        let (mut want, mut whose) = outputs();
        family::forward(&p, &self.x, &self.w, &self.bias, &mut want, &mut whose);
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for level in Level::all() {
            let (mut values, mut latents) = outputs();
            cpu::forward_at(level, &p, &self.x, &self.w, &self.bias, &mut values, &mut latents);
            for r in 0..rows {
                let row = r * k..(r + 1) * k;
                assert_eq!(latents[row.clone()], whose[row.clone()], "{level:?} {what}: row {r}");
                assert_eq!(bits(&values[row.clone()]), bits(&want[row]), "{level:?} {what}: row {r}");
            }
        }
    }
}

/// A whole number of at most this size.
fn whole(draw: &mut Philox, most: u32) -> f32 {
    (f64::from(draw.below(2 * most + 1)) - f64::from(most)) as f32
}

#[test]
fn shapes_and_ties() {
    let mut draw = Philox::new(77);
    for round in 0..60 {
        let rows = [129, 130, 159, 160, 161, 255, 257, 511][draw.below(8) as usize];
        let dim = [1, 2, 3, 15, 16, 17, 31, 33, 64, 65, 129][draw.below(11) as usize];
        let k = 1 + draw.below(12) as usize;
        let n = 64 * k + draw.below(200) as usize;
        let (most, rare) = ([1, 2, 7, 100, 500][draw.below(5) as usize], draw.below(4));
        let gaps = [draw.below(4) as usize, draw.below(4) as usize];
        let [mut a, mut b, mut c] = [round, round + 1000, round + 2000].map(Philox::new);
        let of_x = |_, _| if a.below(4) < rare { 0.0 } else { whole(&mut a, most) };
        let of_w = |_, _| whole(&mut b, most);
        let case = Case::new([rows, dim, n, k], gaps, of_x, of_w, |_| whole(&mut c, most));
        case.check(&format!("{rows} {dim} {n} {k}, up to {most}"));
    }
}

/// Every latent beats all before it, in steps below what 16 bits hold; the other way round; in no order; all but a few alike.
#[test]
fn lists_that_overflow() {
    let ks = [1, 5, 16, 40].into_iter().filter(|&k| !small() || k < 16);
    for (k, dim) in ks.flat_map(|k| [4, 33].map(|dim| (k, dim))) {
        let n = 64 * k + 900;
        for order in 0..5 {
            let value = |latent: usize| {
                let step = match order {
                    0 => latent,
                    1 => n - latent,
                    2 => latent / 50,
                    3 => latent * 7919 % n,
                    _ => usize::from(latent > n - k / 2 - 2),
                };
                (4_000_000 + step) as f32
            };
            let sizes = [133, dim, n, k];
            // The numbers in one column of w, which x has once or twice, beside larger ones that meet zeros.
            let of_x = |r: usize, c: usize| if c == 1 { (1 + r % 2) as f32 } else { (r * c % 7) as f32 * 1000.0 };
            let of_w = |latent, c| if c == 1 { value(latent) } else { 0.0 };
            Case::new(sizes, [1, 2], of_x, of_w, |_| 0.0).check(&format!("order {order}, {k} of {n}"));
            // In the bias.
            let small = |l: usize, c: usize| ((l * 31 + c) % 5) as f32 - 2.0;
            let case = Case::new(sizes, [0, 0], |r, c| ((r + c) % 3) as f32, small, value);
            case.check(&format!("bias in order {order}, {k} of {n}"));
            // Beside a number in x of which w sees nothing.
            let of_x = |r: usize, c: usize| if c == 0 { 8_388_608.0 } else { ((r + c) % 3) as f32 };
            let of_w = |l, c| if c == 0 { 0.0 } else { small(l, c) };
            let case = Case::new(sizes, [0, 0], of_x, of_w, |l| (l % 3) as f32);
            case.check(&format!("unseen, {k} of {n}"));
        }
    }
}

/// Products that the bias takes away again.
#[test]
fn bias_that_cancels() {
    for (k, big) in [1, 3, 20].into_iter().flat_map(|k| [65_536.0, 1_048_576.0, 4_194_304.0].map(|big: f32| (k, big))) {
        let [mut a, mut b] = [3, 4].map(Philox::new);
        let of_x = |_, c| if c == 0 { big / 1024.0 } else { whole(&mut a, 3) };
        let of_w = |_, c| if c == 0 { 1024.0 } else { whole(&mut b, 3) };
        Case::new([200, 8, 64 * k + 333, k], [0, 0], of_x, of_w, |_| -big).check(&format!("{k} beside {big}"));
    }
}

/// Rows by powers of two, in and out of what is screened.
#[test]
fn scales() {
    let mut draw = Philox::new(8);
    for round in 0..20 {
        let k = 1 + draw.below(9) as usize;
        let mut powers =
            |count: usize| -> Vec<f32> { (0..count).map(|_| 2.0_f32.powi(draw.below(110) as i32 - 55)).collect() };
        let (of_rows, of_latents) = (powers(300), powers(64 * k + 500));
        let [mut a, mut b] = [round, round + 100].map(Philox::new);
        let (of_x, of_w) =
            (|r: usize, _| whole(&mut a, 300) * of_rows[r], |l: usize, _| whole(&mut b, 300) * of_latents[l]);
        Case::new([300, 23, 64 * k + 500, k], [0, 5], of_x, of_w, |_| 0.0).check(&format!("round {round}, {k}"));
    }
}
