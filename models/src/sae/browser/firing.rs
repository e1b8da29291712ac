use crate::io::{Error, Result};
use crate::sae::Sae;
use crate::{Code, View};

/// One firing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Firing {
    pub latent: u32,
    pub row: u32,
    pub value: f32,
}

/// The firings of an autoencoder on rows, batch by batch.
pub struct Firings<'a> {
    pub sae: &'a Sae,
    pub rows: View<'a, f32, 2>,
    /// As many rows, from the first on, are never spread over two batches.
    pub together: usize,
}

impl Firings<'_> {
    /// Have `see` look at each batch, sorted by latent and then by row. The last may be smaller.
    pub fn each(&self, mut see: impl FnMut(&[Firing]) -> Result<()>) -> Result<()> {
        const ROWS: usize = 2048;
        let ([total, _], bias) = (self.rows.dims(), self.sae.bias()?);
        let together = self.together.max(1);
        for start in (0..total).step_by((ROWS / together).max(1) * together) {
            let end = total.min(start + (ROWS / together).max(1) * together);
            let code = self.sae.encode_with(self.rows.narrow(0, start, end)?, &bias)?;
            see(&sorted(&code, start, end - start)?)?;
        }
        Ok(())
    }
}

/// What fires in `code`, whose `rows` rows of equal width begin at `start`.
fn sorted(code: &Code<f32>, start: usize, rows: usize) -> Result<Vec<Firing>> {
    let (values, latents) = (code.values.to_vec()?, code.latents.to_vec()?);
    let width = (values.len() / rows.max(1)).max(1);
    let mut all = Vec::new();
    for (slot, (value, latent)) in values.into_iter().zip(latents).enumerate() {
        let row = start + slot / width;
        if !value.is_finite() {
            return Err(Error::setting("rows", format!("row {row} makes latent {latent} {value}")));
        }
        if value > 0.0 {
            all.push(Firing { latent, row: row as u32, value });
        }
    }
    all.sort_unstable_by_key(|firing| (firing.latent, firing.row));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sae::Gate;
    use crate::{Device, Tensor};

    fn code(values: &[f32], latents: &[u32], rows: usize) -> Code<f32> {
        let dims = [rows, values.len() / rows];
        let values = Tensor::from_vec(values.to_vec(), dims, &Device::Host).unwrap();
        Code::fixed(values, Tensor::from_vec(latents.to_vec(), dims, &Device::Host).unwrap()).unwrap()
    }

    #[test]
    fn empty_slots_do_not_fire() {
        let all = sorted(&code(&[2.0, 0.0, 1.0, 3.0], &[5, 7, 7, 5], 2), 10, 2).unwrap();
        let fires = |latent, row, value| Firing { latent, row, value };
        assert_eq!(all, [fires(5, 10, 2.0), fires(5, 11, 3.0), fires(7, 11, 1.0)]);
        for bad in [f32::NAN, f32::INFINITY] {
            let said = sorted(&code(&[2.0, bad], &[5, 7], 2), 10, 2).unwrap_err().to_string();
            assert!(said.contains("rows: row 11 makes latent 7"), "{said}");
        }
    }

    /// Rows that belong together stay so, and no row is lost or seen twice.
    #[test]
    fn batches_are_whole() {
        let (total, together) = (7001, 1000);
        let sae = Sae::tied(vec![1.0, 0.0, 0.0, 1.0], vec![0.0; 2], Gate::Strongest(1), &Device::Host).unwrap();
        let rows = (0..total).flat_map(|row| [(row + 1) as f32, 0.5]).collect();
        let rows = Tensor::from_vec(rows, [total, 2], &Device::Host).unwrap();
        let (mut seen, mut ends) = (vec![], vec![]);
        let firings = Firings { sae: &sae, rows: rows.view(), together };
        let see = |batch: &[Firing]| {
            seen.extend(batch.iter().map(|firing| (firing.row as usize, firing.value)));
            ends.push(seen.len());
            Ok(())
        };
        firings.each(see).unwrap();
        assert_eq!(seen, (0..total).map(|row| (row, (row + 1) as f32)).collect::<Vec<_>>());
        assert_eq!(ends, [2000, 4000, 6000, 7001]);
    }
}
