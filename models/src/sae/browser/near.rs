//! Directions side by side.
use super::lens::block;
use super::rank::largest;
use crate::io::Result;
use crate::sae::{Sae, on_host};
use crate::{Tensor, gather_rows, linear};
use rayon::prelude::*;

/// The lengths of all directions that latents write, and the cosines of these with those that they read, where neither is 0.
pub fn alignment(sae: &Sae) -> Result<(Vec<f64>, Vec<Option<f32>>)> {
    let [n, d] = sae.w_dec.dims();
    let (mut norms, mut cosines) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for start in (0..n).step_by(block(d)) {
        let end = n.min(start + block(d));
        let written = on_host(sae.w_dec.view().narrow(0, start, end)?)?;
        let read = on_host(sae.w_enc.view().narrow(0, start, end)?)?;
        for (written, read) in written.chunks(d.max(1)).zip(read.chunks(d.max(1))) {
            let norm = dot(written, written).sqrt();
            let both = norm * dot(read, read).sqrt();
            norms.push(norm);
            cosines.push((both > 0.0).then(|| (dot(written, read) / both) as f32).filter(|cosine| cosine.is_finite()));
        }
    }
    Ok((norms, cosines))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// For each of the chosen, the `count` other latents of the largest cosine between directions, and those cosines. A direction
/// of 0 has none, and is near to none.
pub fn neighbours(sae: &Sae, chosen: &[u32], norms: &[f64], count: usize) -> Result<Vec<Vec<(u32, f32)>>> {
    let mut all = Vec::with_capacity(chosen.len());
    for block in chosen.chunks(block(norms.len())) {
        let rows = Tensor::from_vec(block.to_vec(), [block.len()], &sae.device())?;
        let products = linear(gather_rows(sae.w_dec.view(), rows.view())?.view(), sae.w_dec.view(), None)?.to_vec()?;
        let near = |(products, &own): (&[f32], &u32)| {
            let cosines = products.iter().zip(norms).enumerate().map(|(other, (&product, norm))| {
                let both = norm * norms[own as usize];
                if other == own as usize || both <= 0.0 { f32::NAN } else { (f64::from(product) / both) as f32 }
            });
            largest(cosines, count) // which leaves out what is no number
        };
        all.par_extend(products.par_chunks(norms.len().max(1)).zip(block).map(near));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::sae::Gate;

    /// Directions (3, 4), (0, 2), 0, (4, 3), (0, -1): cosines by hand.
    #[test]
    fn cosines_by_hand() {
        let decoder = vec![3.0, 4.0, 0.0, 2.0, 0.0, 0.0, 4.0, 3.0, 0.0, -1.0];
        let mut sae = Sae::tied(decoder, vec![0.0; 2], Gate::Strongest(1), &Device::Host).unwrap();
        let encoder = vec![0.0, 5.0, 1.0, 0.0, 1.0, 1.0, 4.0, 3.0, 0.0, 0.0];
        sae.w_enc = Tensor::from_vec(encoder, [5, 2], &Device::Host).unwrap();
        let (norms, aligned) = alignment(&sae).unwrap();
        assert_eq!(norms, [5.0, 2.0, 0.0, 5.0, 1.0]);
        assert_eq!(aligned, [Some(0.8), Some(0.0), None, Some(1.0), None]);
        let near = neighbours(&sae, &[0, 1, 2], &norms, 2).unwrap();
        assert_eq!(near, [vec![(3, 0.96), (1, 0.8)], vec![(0, 0.8), (3, 0.6)], vec![]]);
        assert_eq!(neighbours(&sae, &[4], &norms, 9).unwrap(), [[(3, -0.6), (0, -0.8), (1, -1.0)]]);
    }
}
