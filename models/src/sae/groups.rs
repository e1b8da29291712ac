use crate::io::{Error, Result};
use crate::{Code, Tensor, View, linear, sae_encode};

/// The strongest of each group of neighbours: a slot for each, and an empty one at the end of a row where a group has none that is
/// positive.
pub(super) fn strongest_of_groups(
    x: View<'_, f32, 2>,
    w_enc: View<'_, f32, 2>,
    bias: View<'_, f32, 1>,
    groups: usize,
) -> Result<Code<f32>> {
    let ([rows, _], [n, _]) = (x.dims(), w_enc.dims());
    if groups == 0 || n % groups != 0 {
        return Err(Error::setting("groups", format!("{groups} do not divide {n} latents")));
    }
    let mut found = Found { values: vec![0.0; rows * groups], latents: vec![n as u32; rows * groups], groups };
    let mut filled = vec![0; rows];
    match x.device().is_host() {
        true => found.by_rows(x, w_enc, bias, &mut filled)?,
        false => found.by_groups(x, w_enc, bias, &mut filled)?,
    }
    let (dims, device) = ([rows, groups], x.device());
    Ok(Code::fixed(Tensor::from_vec(found.values, dims, &device)?, Tensor::from_vec(found.latents, dims, &device)?)?)
}

/// Slots while they are filled.
struct Found {
    values: Vec<f32>,
    latents: Vec<u32>,
    groups: usize,
}

impl Found {
    fn put(&mut self, row: usize, filled: &mut [usize], value: f32, latent: usize) {
        let slot = row * self.groups + filled[row];
        (self.values[slot], self.latents[slot]) = (value, latent as u32);
        filled[row] += 1;
    }

    /// All latents of a few rows, which fit into a cache: on the host, where a product of many small parts takes several times as long.
    fn by_rows(
        &mut self,
        x: View<'_, f32, 2>,
        w_enc: View<'_, f32, 2>,
        bias: View<'_, f32, 1>,
        filled: &mut [usize],
    ) -> Result<()> {
        const ROWS: usize = 256;
        let ([rows, _], [n, _]) = (x.dims(), w_enc.dims());
        let each = n / self.groups;
        for start in (0..rows).step_by(ROWS) {
            let end = rows.min(start + ROWS);
            let z = linear(x.narrow(0, start, end)?, w_enc, Some(bias))?.to_vec()?;
            for (row, z) in (start..end).zip(z.chunks_exact(n)) {
                for (group, z) in z.chunks_exact(each).enumerate() {
                    // Of equal ones the first; a NaN is none.
                    let best = z.iter().copied().enumerate().fold(
                        (0, 0.0),
                        |best, (at, z)| {
                            if z > best.1 { (at, z) } else { best }
                        },
                    );
                    if best.1 > 0.0 {
                        self.put(row, filled, best.1, group * each + best.0);
                    }
                }
            }
        }
        Ok(())
    }

    /// Group by group, so that no more than the strongest leave the device.
    fn by_groups(
        &mut self,
        x: View<'_, f32, 2>,
        w_enc: View<'_, f32, 2>,
        bias: View<'_, f32, 1>,
        filled: &mut [usize],
    ) -> Result<()> {
        let each = w_enc.dims()[0] / self.groups;
        for group in 0..self.groups {
            let (first, end) = (group * each, (group + 1) * each);
            let (of_group, names) = sae_encode(x, w_enc.narrow(0, first, end)?, bias.narrow(0, first, end)?, 1)?;
            for (row, (value, name)) in of_group.to_vec()?.into_iter().zip(names.to_vec()?).enumerate() {
                if (name as usize) < each {
                    self.put(row, filled, value, first + name as usize);
                }
            }
        }
        Ok(())
    }
}
