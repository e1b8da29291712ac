//! Where the host looks at rounded products first, what it chooses is what it would choose without: numbers that differ
//! only past the digits of `bf16`, numbers whose products leave its range, and numbers that nothing can part.
use latens_core::Layout;
use latens_cpu::{Level, sae::encode as cpu};
use latens_kernels::sae::encode as family;
use latens_kernels::{Float, Philox};
use latens_tests::skipped;
use proptest::prelude::*;

const DIM: usize = 16;
/// Rows from which on whole numbers are screened by; fewer are not.
const MANY: usize = 128;

/// Entries of `x`, `w` and the bias are whole numbers times a power of two, so that every sum is exact in any order.
struct Case {
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    k: usize,
}

impl Case {
    /// Of so many rows above [`MANY`].
    fn new([rows, n, k]: [usize; 3], most: u32, scale: [f32; 2], seed: u64) -> Self {
        let rows = MANY + rows;
        let mut draw = Philox::new(seed);
        let mut whole = |count: usize, scale: f32| -> Vec<f32> {
            (0..count).map(|_| (f64::from(draw.below(2 * most + 1)) - f64::from(most)) as f32 * scale).collect()
        };
        let (x, w) = (whole(rows * DIM, scale[0]), whole(n * DIM, scale[1]));
        Self { x, w, bias: whole(n, scale[0] * scale[1]), k }
    }

    fn check(&self, what: &str) {
        let [rows, n] = [self.x.len() / DIM, self.bias.len()];
        let layouts = [[rows, DIM], [n, DIM]].map(|dims| Layout::packed(dims).unwrap());
        let p = family::plan(&layouts[0], &layouts[1], &Layout::packed([n]).unwrap(), self.k).unwrap();
        let outputs = || (vec![f32::NAN; rows * self.k], vec![7; rows * self.k]);
        let ((mut want_values, mut want), (mut values, mut latents)) = (outputs(), outputs());
        family::forward(&p, &self.x, &self.w, &self.bias, &mut want_values, &mut want);
        for level in levels() {
            values.fill(f32::NAN);
            cpu::forward_at(level, &p, &self.x, &self.w, &self.bias, &mut values, &mut latents);
            for r in 0..rows {
                let row = r * self.k..(r + 1) * self.k;
                assert_eq!(latents[row.clone()], want[row.clone()], "{level:?}, {what}: row {r}");
                let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&values[row.clone()]), bits(&want_values[row]), "{level:?}, {what}: row {r}");
            }
        }
    }
}

/// All that screen, each in its own way.
fn levels() -> Vec<Level> {
    let levels: Vec<_> = Level::all().into_iter().filter(|level| level.screens()).collect();
    if levels.is_empty() {
        skipped("no products of 16 bits: nothing is screened");
    }
    levels
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    /// Ten bits of digits, two of which `bf16` drops; magnitudes up to where squares leave the range of `f32`.
    #[test]
    fn dropped_digits_decide(
        rows in 1usize..70, k in 1usize..6, more in 0usize..700, most in 1u32..700, seed in any::<u64>(),
        x_scale in -60i32..40, w_scale in -60i32..40,
    ) {
        let case = Case::new([rows, 64 * k + more, k], most, [x_scale, w_scale].map(|e| 2.0_f32.powi(e)), seed);
        case.check("random");
    }
}

/// So many rows that there are blocks of them for several threads, which share what is rounded of `w`: with numbers that part, and
/// with such as errors do not.
#[test]
fn blocks_of_rows() {
    for (rows, most) in [(256 * 2 - MANY, 40), (256 * 8 - MANY, 30)] {
        let mut case = Case::new([rows, 700, 4], most, [1.0, 0.25], rows as u64);
        case.check("blocks");
        case.x.chunks_mut(DIM).for_each(|row| row[3] = 2.0_f32.powi(22));
        case.w.chunks_mut(DIM).for_each(|row| row[3] = 0.0);
        case.check("blocks beside a large number");
    }
}

#[test]
fn nearly_equal_rows() {
    // All latents but for the last digit, which rounding to bf16 takes away.
    let mut case = Case::new([40, 1000, 5], 0, [1.0, 1.0], 0);
    case.x.fill(1.0);
    let mut draw = Philox::new(3);
    case.w.iter_mut().for_each(|w| *w = 1024.0 + draw.below(4) as f32);
    case.check("the last digit");
}

#[test]
fn nearly_equal_inputs() {
    // Latents add up as many entries of x, each its own; rounding to bf16 takes away what they differ by.
    let mut case = Case::new([40, 1000, 5], 0, [1.0, 1.0], 0);
    let mut draw = Philox::new(4);
    case.x.iter_mut().for_each(|x| *x = 1024.0 + draw.below(8) as f32);
    for row in case.w.chunks_mut(DIM) {
        row.fill(0.0);
        while row.iter().sum::<f32>() < (DIM / 2) as f32 {
            row[draw.below(DIM as u32) as usize] = 1.0;
        }
    }
    case.check("the last digits of x");
}

#[test]
fn digits_below_a_large_number() {
    // Every row of x has an entry beside which 16 bits hold nothing of the others, and nothing is multiplied by it.
    let mut case = Case::new([40, 1000, 5], 30, [1.0, 1.0], 5);
    case.x.chunks_mut(DIM).for_each(|row| row[3] = 2.0_f32.powi(22));
    case.w.chunks_mut(DIM).for_each(|row| row[3] = 0.0);
    case.check("a large number in x");
    case.w.chunks_mut(DIM).for_each(|row| row[3] = 2.0_f32.powi(22));
    case.x.chunks_mut(DIM).for_each(|row| row[3] = 0.0);
    case.check("a large number in w");
}

#[test]
fn sums_at_the_end_of_32_bits() {
    // Of numbers alike, as whole numbers of 16 bits: 16 products of 11,568 by itself.
    let mut case = Case::new([33, 1000, 5], 0, [1.0, 1.0], 6);
    let mut draw = Philox::new(7);
    let mut sign = |x: &mut f32| *x = if draw.below(8) == 0 { -1446.0 } else { 1446.0 } / 1024.0;
    case.x.iter_mut().for_each(&mut sign);
    case.w.iter_mut().for_each(&mut sign);
    case.w[..3 * DIM].fill(1446.0 / 1024.0);
    case.x[..3 * DIM].fill(-1446.0 / 1024.0);
    case.check("numbers alike");
}

#[test]
fn equal_rows() {
    for value in [1.0, 0.0, -1.0, 1e-30] {
        let mut case = Case::new([33, 700, 7], 3, [1.0, 1.0], 1);
        case.w.fill(value);
        case.bias.fill(0.0);
        case.check("all latents are equal");
    }
}

#[test]
fn rows_that_bf16_cannot_hold() {
    let ends = [100, -100, -140].map(|e| 2.0_f64.powi(e) as f32);
    for (seed, what) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0].into_iter().chain(ends).enumerate() {
        let mut case = Case::new([40, 1500, 6], 9, [1.0, 1.0], seed as u64);
        // In some rows of x, then in some of w, then in the bias.
        case.x.chunks_mut(DIM).step_by(7).for_each(|row| row.fill(what));
        case.check(&format!("{what:e} in x"));
        case.w.chunks_mut(DIM).step_by(11).for_each(|row| row[..3].fill(what));
        case.check_values(&format!("{what:e} in w"));
        case.bias.iter_mut().step_by(13).for_each(|bias| *bias = what);
        case.check_values(&format!("{what:e} in the bias"));
    }
}

impl Case {
    /// As [`Case::check`], where sums may round: values within a part in a million, the latents' own.
    fn check_values(&self, what: &str) {
        let [rows, n] = [self.x.len() / DIM, self.bias.len()];
        let layouts = [[rows, DIM], [n, DIM]].map(|dims| Layout::packed(dims).unwrap());
        let p = family::plan(&layouts[0], &layouts[1], &Layout::packed([n]).unwrap(), self.k).unwrap();
        let outputs = || (vec![f32::NAN; rows * self.k], vec![7; rows * self.k]);
        let ((mut want, mut want_latents), (mut values, mut latents)) = (outputs(), outputs());
        family::forward(&p, &self.x, &self.w, &self.bias, &mut want, &mut want_latents);
        for (level, r) in levels().into_iter().flat_map(|level| (0..rows).map(move |r| (level, r))) {
            if r == 0 {
                values.fill(f32::NAN);
                cpu::forward_at(level, &p, &self.x, &self.w, &self.bias, &mut values, &mut latents);
            }
            let ranked = |values: &[f32]| {
                let mut row = values[r * self.k..(r + 1) * self.k].to_vec();
                row.sort_by(f32::total_cmp);
                row
            };
            for (got, want) in ranked(&values).into_iter().zip(ranked(&want)) {
                let near = got == want || (got.wide() - want.wide()).abs() <= 1e-6 * want.wide().abs();
                assert!(near, "{what}: row {r}: {got:e}, not {want:e}");
            }
            let named = latents[r * self.k..(r + 1) * self.k].iter().filter(|&&latent| (latent as usize) < n).count();
            let wanted = want_latents[r * self.k..(r + 1) * self.k].iter().filter(|&&latent| (latent as usize) < n);
            assert_eq!(named, wanted.count(), "{what}: row {r}");
        }
    }
}
