use latens_core::Float;

/// Equal, NaN with NaN, and the zeros told apart.
pub fn same<T: Float>(a: &[T], b: &[T]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.wide().to_bits() == b.wide().to_bits() || (a.wide().is_nan() && b.wide().is_nan()))
}

/// The normalised squared error of `got`: the sum of squared differences over the sum of squares of `want`. Where `want`
/// is not finite, `got` must be the same, or the error is infinite; the error of nothing, or of equal numbers, is 0.
pub fn error<T: Float, U: Float>(got: &[T], want: &[U]) -> f64 {
    assert_eq!(got.len(), want.len(), "lengths differ");
    let (mut wrong, mut all) = (0.0, 0.0);
    for (got, want) in got.iter().zip(want).map(|(got, want)| (got.wide(), want.wide())) {
        if want.is_finite() {
            wrong += (got - want) * (got - want);
            all += want * want;
        } else if got.to_bits() != want.to_bits() && !(got.is_nan() && want.is_nan()) {
            return f64::INFINITY;
        }
    }
    if wrong == 0.0 { 0.0 } else { wrong / all }
}

/// `got` is `want` up to a normalised squared [`error`] of `limit`, the number that the contract of the kernel names.
///
/// # Panics
/// If not; the message has `what`, the error and the worst place.
#[track_caller]
pub fn close<T: Float, U: Float>(what: &str, got: &[T], want: &[U], limit: f64) {
    let error = error(got, want);
    // Not `error > limit`: a NaN in `got` makes the error a NaN, which must fail.
    if error <= limit {
        return;
    }
    let off = |i: &usize| {
        let (got, want) = (got[*i].wide(), want[*i].wide());
        let off = (got - want).abs();
        if off.is_nan() && !(got.is_nan() && want.is_nan()) { f64::INFINITY } else { off }
    };
    let at = (0..got.len()).max_by(|a, b| off(a).total_cmp(&off(b))).unwrap();
    panic!("{what}: error {error:e} > {limit:e}; at {at} got {} want {}", got[at].wide(), want[at].wide());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_seen() {
        let nan = f64::NAN;
        assert_eq!(error(&[1.0, nan, -0.0], &[1.0, nan, 0.0]), 0.0);
        assert_eq!(error(&[1.0, 3.0], &[2.0, 2.0]), 0.25);
        assert_eq!(error(&[1.0_f32], &[f64::INFINITY]), f64::INFINITY);
        assert_eq!(error(&[1.0_f32], &[nan]), f64::INFINITY);
        assert!(std::panic::catch_unwind(|| close("nan", &[nan], &[1.0], 1.0)).is_err());
        assert!(std::panic::catch_unwind(|| close("zero", &[1.0], &[0.0], 1.0)).is_err());
        close("near", &[1.0_f32, 2.001], &[1.0, 2.0], 1e-6);
    }
}
