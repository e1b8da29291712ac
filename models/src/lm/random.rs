//! What models begin with: the same numbers for the same seed, in any order of the parts.
use crate::io::Result;
use crate::{Float, Philox};

/// `count` numbers all alike.
pub(super) fn constant<E: Float>(value: f64, count: usize) -> Result<Vec<E>> {
    let mut all = room(count)?;
    all.resize(count, E::narrow(value));
    Ok(all)
}

/// `count` draws of the normal distribution around 0, from a stretch of the generator that belongs to `part`.
pub(super) fn normal<E: Float>(seed: u64, part: usize, deviation: f64, count: usize) -> Result<Vec<E>> {
    let mut draw = stretch(seed, part);
    let mut all = room(count)?;
    all.extend((0..count).map(|_| {
        // The polar form without its rejection.
        let (radius, turn) = (1.0 - f64::from(draw.uniform()), f64::from(draw.uniform()));
        E::narrow(deviation * (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos())
    }));
    Ok(all)
}

/// The draws of a part, 2^36 of them.
pub(super) fn stretch(seed: u64, part: usize) -> Philox {
    Philox::at(seed, (part as u64) << 36)
}

/// Memory for so many, if there is as much.
pub(super) fn room<E: Float>(count: usize) -> Result<Vec<E>> {
    let mut all = Vec::new();
    let bytes = count.saturating_mul(size_of::<E>());
    all.try_reserve_exact(count).map_err(|_| latens_core::Error::Memory { bytes })?;
    Ok(all)
}

/// `count` even draws between `-bound` and `bound`, from a stretch of the generator that belongs to `part`.
pub(super) fn even<E: Float>(seed: u64, part: usize, bound: f64, count: usize) -> Result<Vec<E>> {
    let mut draw = stretch(seed, part);
    let mut all = room(count)?;
    all.extend((0..count).map(|_| E::narrow(bound * (2.0 * f64::from(draw.uniform()) - 1.0))));
    Ok(all)
}
