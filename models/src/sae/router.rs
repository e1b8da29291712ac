use super::Sae;
use crate::io::{Error, Result};
use crate::{Code, Tensor, View, gather_rows, linear, sae_encode};

/// What sends a row to one of several experts, blocks of neighbouring latents of equal size: `p = softmax(W (x - b))`, and the first of those
/// with the largest `p` (Mudide et al., *Efficient dictionary learning with switch sparse autoencoders*, 2024). Values are multiplied by that
/// `p`.
pub struct Router {
    /// `[experts, d]`.
    pub w: Tensor<f32, 2>,
    /// `[d]`, subtracted from the input.
    pub b: Tensor<f32, 1>,
}

/// Where the rows of a batch went.
pub(super) struct Routes {
    /// `[rows, experts]`.
    pub chances: Vec<f32>,
    /// The expert of each row.
    pub chosen: Vec<usize>,
}

impl Router {
    /// Experts.
    pub fn experts(&self) -> usize {
        self.w.dims()[0]
    }

    /// Rows without what is subtracted, on the host.
    pub(super) fn centred(&self, x: View<'_, f32, 2>) -> Result<Tensor<f32, 2>> {
        let ([_, d], b) = (x.dims(), self.b.to_vec()?);
        let mut rows = super::on_host(x)?;
        rows.chunks_exact_mut(d.max(1)).for_each(|row| row.iter_mut().zip(&b).for_each(|(x, b)| *x -= b));
        Ok(Tensor::from_vec(rows, x.dims(), &x.device())?)
    }

    pub(super) fn route(&self, centred: &Tensor<f32, 2>) -> Result<Routes> {
        let experts = self.experts();
        let mut chances = linear(centred.view(), self.w.view(), None)?.to_vec()?;
        let mut chosen = Vec::with_capacity(centred.dims()[0]);
        for row in chances.chunks_exact_mut(experts.max(1)) {
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            chosen.push(row.iter().position(|&x| x == top).unwrap_or(0));
            let sum: f32 = row.iter().map(|x| (x - top).exp()).sum();
            row.iter_mut().for_each(|x| *x = (*x - top).exp() / sum);
        }
        Ok(Routes { chances, chosen })
    }
}

impl Routes {
    /// The chance of each row's expert.
    pub fn chance(&self, row: usize) -> f32 {
        let experts = self.chances.len() / self.chosen.len().max(1);
        self.chances[row * experts + self.chosen[row]]
    }

    /// Values times the chance of their row.
    pub fn scaled(&self, code: &Code<f32>) -> Result<Tensor<f32, 1>> {
        let mut values = code.values.to_vec()?;
        let k = values.len() / self.chosen.len().max(1);
        for (row, values) in values.chunks_exact_mut(k.max(1)).enumerate() {
            let chance = self.chance(row);
            values.iter_mut().for_each(|value| *value *= chance);
        }
        Ok(Tensor::from_vec(values, code.values.dims(), &code.values.device())?)
    }
}

/// The `k` strongest of each row among the latents of its expert.
pub(super) fn strongest_of_expert(
    x: View<'_, f32, 2>,
    w_enc: View<'_, f32, 2>,
    bias: View<'_, f32, 1>,
    k: usize,
    experts: usize,
    routes: &Routes,
) -> Result<Code<f32>> {
    let ([rows, _], [n, _], device) = (x.dims(), w_enc.dims(), x.device());
    if experts == 0 || n % experts != 0 || k > n / experts {
        return Err(Error::setting("experts", format!("{experts} with {k} of {n} latents")));
    }
    let each = n / experts;
    let (mut values, mut latents) = (vec![0.0; rows * k], vec![n as u32; rows * k]);
    for expert in 0..experts {
        let theirs: Vec<u32> = (0..rows as u32).filter(|&row| routes.chosen[row as usize] == expert).collect();
        if theirs.is_empty() {
            continue;
        }
        let (first, end, count) = (expert * each, (expert + 1) * each, theirs.len());
        let part = gather_rows(x, Tensor::from_vec(theirs.clone(), [count], &device)?.view())?;
        let (w_enc, bias) = (w_enc.narrow(0, first, end)?, bias.narrow(0, first, end)?);
        let (found, names) = sae_encode(part.view(), w_enc, bias, k)?;
        let both = found.to_vec()?.into_iter().zip(names.to_vec()?).enumerate();
        for (slot, (value, name)) in both.filter(|(_, (_, name))| (*name as usize) < each) {
            let to = theirs[slot / k] as usize * k + slot % k;
            (values[to], latents[to]) = (value, first as u32 + name);
        }
    }
    let dims = [rows, k];
    Ok(Code::fixed(Tensor::from_vec(values, dims, &device)?, Tensor::from_vec(latents, dims, &device)?)?)
}

impl Sae {
    /// The active latents of rows that a router sends to experts.
    pub(super) fn encode_routed(
        &self,
        router: &Router,
        x: View<'_, f32, 2>,
        bias: View<'_, f32, 1>,
        k: usize,
    ) -> Result<Code<f32>> {
        let routes = router.route(&router.centred(x)?)?;
        let mut code = strongest_of_expert(x, self.w_enc.view(), bias, k, router.experts(), &routes)?;
        code.values = routes.scaled(&code)?;
        Ok(code)
    }
}
