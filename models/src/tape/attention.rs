//! Attention, which reads queries, keys and values side by side and turns them where they lie.
use super::{Step, Tape, Var};
use crate::io::Result;
use crate::{
    Attention, AttentionGradientsMut, Float, Mask, Pairing, Tensor, attention_backward_into,
    attention_backward_workspace, attention_into, copy_into, rope_backward_into, rope_into,
};

/// How an activation `[batch * t, (heads + 2 kv_heads) * dim]` is queries, keys and values, side by side.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Contexts.
    pub batch: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and of values.
    pub kv_heads: usize,
    /// Entries of a head.
    pub dim: usize,
    /// Which keys a query sees.
    pub mask: Mask,
    /// The turn of queries and keys by their positions, if they are turned.
    pub turn: Option<Rotary>,
}

/// A turn of heads by their positions: see [`rope_into`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotary {
    /// Base of the angles.
    pub base: f64,
    /// Which entries of a head are turned together.
    pub pairing: Pairing,
    /// How many entries of a head are turned, the first ones.
    pub dim: usize,
}

impl<'m, T: Float> Tape<'m, T> {
    /// Attention of every context to itself, `[batch * t, heads * dim]`. Queries and keys are turned where they lie, so `x`
    /// cannot be read by anything else.
    ///
    /// # Errors
    /// Those of [`rope_into`] and [`attention_into`].
    ///
    /// # Panics
    /// As [`Tape::value`].
    pub fn attention(&mut self, x: Var, heads: Heads) -> Result<Var> {
        let rows = self.nodes[x.0].dims[0];
        let t = rows.checked_div(heads.batch).unwrap_or(0);
        let positions = (0..rows).map(|row| (row % t.max(1)) as u32).collect();
        let positions = Tensor::from_vec(positions, [rows], &self.device)?;
        let (width, dims) = (heads.heads + 2 * heads.kv_heads, [heads.batch, t, heads.heads]);
        let x_value = self.nodes[x.0].value.as_mut().expect("an activation that was used up");
        if let Some(Rotary { base, pairing, dim }) = heads.turn {
            let all = x_value.view_mut().reshape([rows, width, heads.dim])?;
            let turned = all.narrow(1, 0, heads.heads + heads.kv_heads)?.narrow(2, 0, dim)?;
            rope_into(turned, positions.view(), base, pairing)?;
        }
        let mut lse = Tensor::empty(dims, &self.device)?;
        let mut y = self.empty([rows, heads.heads * heads.dim])?;
        let call = heads.call(self.value(x), t)?;
        let to = y.view_mut().reshape([heads.batch, t, heads.heads, heads.dim])?;
        attention_into(&call, to, Some(lse.view_mut()))?;
        let needed = self.needs(x);
        Ok(self.made(y, needed, Step::Attention { x, heads, positions, lse }))
    }

    pub(super) fn back_attention(
        &mut self,
        x: Var,
        of: Heads,
        positions: &Tensor<u32, 1>,
        lse: &Tensor<T::Acc, 3>,
        y: &Tensor<T, 2>,
        dy: &Tensor<T, 2>,
    ) -> Result<()> {
        let ([rows, _], [batch, t, heads]) = (self.nodes[x.0].dims, lse.dims());
        let (q, kv) = ([batch, t, heads, of.dim], [batch, t, of.kv_heads, of.dim]);
        let part = |dims| Tensor::<T, 4>::empty(dims, &self.device);
        let mut parts = [part(q)?, part(kv)?, part(kv)?];
        let call = of.call(self.value(x), t)?;
        let mut workspace = Tensor::empty([attention_backward_workspace(&call)?], &self.device)?;
        let [dq, dk, dv] = parts.each_mut().map(|part| Some(part.view_mut()));
        let to = AttentionGradientsMut { q: dq, k: dk, v: dv };
        let (y, dy) = (y.view().reshape(q)?, dy.view().reshape(q)?);
        attention_backward_into(&call, y, lse.view(), dy, to, workspace.view_mut())?;
        let mut dx = Tensor::<T, 3>::empty([rows, heads + 2 * of.kv_heads, of.dim], &self.device)?;
        let mut from = 0;
        for part in &parts {
            let end = from + part.dims()[2];
            copy_into(part.view().reshape([rows, end - from, of.dim])?, dx.view_mut().narrow(1, from, end)?)?;
            from = end;
        }
        if let Some(Rotary { base, pairing, dim }) = of.turn {
            let turned = dx.view_mut().narrow(1, 0, heads + of.kv_heads)?.narrow(2, 0, dim)?;
            rope_backward_into(turned, positions.view(), base, pairing)?;
        }
        let dx = dx.reshape(self.nodes[x.0].dims)?;
        self.reach(x, dx)
    }
}

impl Heads {
    /// Queries, keys and values of an activation.
    fn call<'a, T: Float>(&self, x: &'a Tensor<T, 2>, t: usize) -> Result<Attention<'a, T>> {
        let (heads, all) = (self.heads, self.heads + 2 * self.kv_heads);
        let x = x.view().reshape([self.batch, t, all, self.dim])?;
        let (k, v) = (x.narrow(2, heads, heads + self.kv_heads)?, x.narrow(2, heads + self.kv_heads, all)?);
        Ok(Attention { mask: self.mask, ..Attention::new(x.narrow(2, 0, heads)?, k, v) })
    }
}
