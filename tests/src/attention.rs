//! What attention is called with, and what comes of it.
use crate::{Fenced, Poison, close, normal, numbers};
use latens_core::{
    Attention, AttentionGradientsMut, DType, Device, Float, Layout, Mask, Tensor, attention_backward_into,
    attention_backward_workspace, attention_into,
};
use latens_cpu::{Level, attention as cpu};
use latens_kernels::{Philox, attention as family};

/// Which numbers a case has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Normal ones.
    Plain,
    /// Some NaN among them.
    Gaps,
    /// All kinds. Gradients are not compared: with infinities they hang on differences that only `f64` sees.
    Special,
}

/// A problem, with the numbers of its inputs.
pub struct Case<T> {
    kind: Kind,
    /// The layouts of `q`, of `k` and `v`, and of `dy`.
    pub layouts: [Layout<4>; 3],
    /// What products are multiplied with.
    pub scale: f32,
    /// Which keys a query sees.
    pub mask: Mask,
    /// `q`, `k`, `v` and `dy`.
    pub data: [Vec<T>; 4],
}

/// What comes of a case: `y`, `lse`, `dq`, `dk` and `dv`.
pub struct Outputs<T: Float> {
    kind: Kind,
    y: Fenced<T, 4>,
    lse: Fenced<T::Acc, 3>,
    gradients: [Fenced<T, 4>; 3],
}

fn layout([batch, t, heads, dim]: [usize; 4], padding: usize) -> Layout<4> {
    let row = heads * (dim + padding);
    Layout::strided([batch, t, heads, dim], [t * row, row, dim + padding, 1]).unwrap()
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    /// `[batch, t, s, heads, kv_heads, dim, padding between heads, block of the mask]`.
    pub fn new([batch, t, s, heads, kv_heads, dim, padding, block]: [usize; 8], kind: Kind) -> Self {
        let (q, k) = (layout([batch, t, heads, dim], padding), layout([batch, s, kv_heads, dim], padding));
        let data = [(q, 1), (k, 2), (k, 3), (q, 4)].map(|(layout, seed)| {
            if kind == Kind::Special {
                return numbers::<T>(layout.span(), seed);
            }
            let mut data = normal::<T>(layout.span(), 1.5, seed);
            let gaps = if kind == Kind::Gaps { 1 + layout.span() / 400 } else { 0 };
            let mut draw = Philox::new(seed);
            (0..gaps.min(data.len()))
                .for_each(|_| data[draw.below(layout.span() as u32) as usize] = T::narrow(f64::NAN));
            data
        });
        let mask = match block {
            0 => Mask::Full,
            1 => Mask::Causal,
            block => Mask::Blocks(block as u32),
        };
        let scale = if kind == Kind::Special { 0.125 } else { 1.0 / (dim.max(1) as f32).sqrt() };
        Self { kind, layouts: [q, k, q], scale, mask, data }
    }

    /// A forward call.
    pub fn plan(&self) -> family::Plan {
        let [q, k, _] = &self.layouts;
        family::plan(q, k, k, self.scale, self.mask).unwrap()
    }

    /// A backward call.
    pub fn plan_backward(&self) -> family::Plan {
        let p = self.plan();
        let (y, lse) = (Layout::packed(p.out()).unwrap(), Layout::packed(p.lse()).unwrap());
        family::plan_backward(&p, &y, &lse, &self.layouts[2]).unwrap()
    }

    fn outputs(&self, device: &Device) -> Outputs<T> {
        let [q, k, _] = self.layouts.map(|layout| layout.dims());
        let gradients = [q, k, k].map(|dims| Fenced::new(dims, device));
        Outputs { kind: self.kind, y: Fenced::new(q, device), lse: Fenced::new([q[0], q[1], q[2]], device), gradients }
    }

    /// By the reference.
    pub fn reference(&self) -> Outputs<T> {
        let (p, [q, k, v, dy], mut out) = (self.plan_backward(), &self.data, self.outputs(&Device::Host));
        family::forward(&p, q, k, v, out.y.slice(), Some(out.lse.slice()));
        let (y, lse) = (out.y.take(), out.lse.take());
        let [dq, dk, dv] = out.gradients.each_mut().map(|of| Some(of.slice()));
        family::backward(&p, q, k, v, &y, &lse, dy, dq, dk, dv);
        out
    }

    /// By the host with some instructions, which starts from the results of `want`.
    pub fn at(&self, level: Level, want: &Outputs<T>) -> Outputs<T> {
        let (p, [q, k, v, dy], mut out) = (self.plan_backward(), &self.data, self.outputs(&Device::Host));
        cpu::forward_at(level, &p, q, k, v, out.y.slice(), Some(out.lse.slice()));
        let (y, lse) = (want.y.take(), want.lse.take());
        let [dq, dk, dv] = out.gradients.each_mut().map(|of| Some(of.slice()));
        cpu::backward_at(level, &p, q, k, v, &y, &lse, dy, dq, dk, dv);
        out
    }

    /// By the operations on a device, which start from the results of `want`; some gradients may be left out.
    pub fn core(&self, device: &Device, want: &Outputs<T>, wanted: [bool; 3]) -> Outputs<T> {
        let ([q_layout, k_layout, dy_layout], [q, k, v, dy], mut out) =
            (self.layouts, &self.data, self.outputs(device));
        let q = Tensor::from_slice(q, q_layout, device).unwrap();
        let [k, v] = [k, v].map(|x| Tensor::from_slice(x, k_layout, device).unwrap());
        let dy = Tensor::from_slice(dy, dy_layout, device).unwrap();
        let call = Attention { q: q.view(), k: k.view(), v: v.view(), scale: self.scale, mask: self.mask };
        attention_into(&call, out.y.view_mut(), Some(out.lse.view_mut())).unwrap();
        let p = self.plan();
        let y = Tensor::from_vec(want.y.take(), p.out(), device).unwrap();
        let lse = Tensor::from_vec(want.lse.take(), p.lse(), device).unwrap();
        let mut workspace = Tensor::empty([attention_backward_workspace(&call).unwrap()], device).unwrap();
        let [dq, dk, dv] = &mut out.gradients;
        let to = AttentionGradientsMut {
            q: wanted[0].then(|| dq.view_mut()),
            k: wanted[1].then(|| dk.view_mut()),
            v: wanted[2].then(|| dv.view_mut()),
        };
        attention_backward_into(&call, y.view(), lse.view(), dy.view(), to, workspace.view_mut()).unwrap();
        out
    }
}

impl<T: Float<Acc: Poison> + Poison> Outputs<T> {
    /// Near to what the reference made.
    pub fn near(&self, want: &Self, what: &str) {
        let limit = match T::DTYPE {
            DType::BF16 => 5e-5,
            DType::F16 => 1e-6,
            _ => 1e-11,
        };
        close(&format!("{what} y"), &self.y.full(), &want.y.full(), limit);
        close(&format!("{what} lse"), &self.lse.full(), &want.lse.full(), 1e-11);
        if self.kind == Kind::Special {
            return;
        }
        for (name, (got, want)) in ["dq", "dk", "dv"].iter().zip(self.gradients.iter().zip(&want.gradients)) {
            // Terms are of the order of 1, and their sum may be nothing, as for a query that sees one key.
            let beside = |x: Vec<T>| -> Vec<f64> {
                let size = (x.len() as f64).sqrt();
                x.into_iter().map(T::wide).chain([size]).collect()
            };
            close(&format!("{what} {name}"), &beside(got.full()), &beside(want.full()), limit);
        }
    }

    /// The gradients, poison where there is none.
    pub fn gradients(&self) -> [Vec<T>; 3] {
        self.gradients.each_ref().map(Fenced::take)
    }

    /// Bits of everything.
    pub fn bits(&self) -> Vec<u64> {
        let stored = self.gradients.iter().chain([&self.y]).flat_map(Fenced::take).map(|x| x.wide().to_bits());
        stored.chain(self.lse.take().iter().map(|x| x.wide().to_bits())).collect()
    }
}
