//! Cases of the causal convolution, and every implementation of it.
use crate::{Fenced, Poison, close, normal, same, vector};
use latens_core::{
    Conv1d, Conv1dGradientsMut, DType, Device, Float, Layout, Tensor, View, conv1d, conv1d_backward,
    conv1d_backward_into, conv1d_backward_workspace, conv1d_into, conv1d_workspace,
};
use latens_kernels::{conv1d as family, route::Tables};

/// Sizes and choices. A block on CUDA has 128 channels by 64 positions.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Sequences of the same length, or 1.
    pub batch: usize,
    /// Positions.
    pub len: usize,
    /// Channels of an order.
    pub each: usize,
    /// Taps.
    pub width: usize,
    /// Orders that share columns; 0 for none, negative for columns of their own.
    pub orders: isize,
    /// Where packed sequences begin and end.
    pub bounds: Option<&'static [u32]>,
    /// Whether sequences begin from a state.
    pub initial: bool,
    /// Gaps between rows.
    pub padding: usize,
}

/// The sizes that others differ from.
pub const PLAIN: Sizes =
    Sizes { batch: 1, len: 5, each: 3, width: 4, orders: 0, bounds: None, initial: false, padding: 0 };
/// Some orders of `len` rows: forward, reverse, and others that step through.
fn orders(count: usize, len: usize) -> Vec<u32> {
    let order = |o: usize, p: usize| match o {
        0 => p,
        1 => len - 1 - p,
        _ => {
            let step = (2..)
                .filter(|&step: &usize| (1..=step).all(|d| d == 1 || !step.is_multiple_of(d) || !len.is_multiple_of(d)))
                .nth(o)
                .unwrap();
            p * step % len
        }
    };
    (0..count).flat_map(|o| (0..len).map(move |p| order(o, p) as u32)).collect()
}

fn limit<T: Float>() -> f64 {
    match T::DTYPE {
        DType::BF16 => 1e-5,
        DType::F16 => 1e-6,
        DType::F64 => 1e-25,
        _ => 1e-11,
    }
}

/// What the convolution and its gradients read.
pub struct Case<T: Float> {
    /// Of the backward call.
    pub plan: family::Plan,
    /// As in the contract.
    pub x: Vec<T>,
    /// As in the contract.
    pub weight: Vec<T::Acc>,
    /// As in the contract.
    pub bias: Option<Vec<T::Acc>>,
    /// As in the contract.
    pub bounds: Option<Vec<u32>>,
    /// As in the contract.
    pub orders: Option<Vec<u32>>,
    /// As in the contract.
    pub initial: Option<Vec<T>>,
    /// As in the contract.
    pub dy: Vec<T>,
    /// As in the contract.
    pub dlast: Option<Vec<T>>,
}

/// What they write.
pub struct Outputs<T: Float> {
    /// As in the contract.
    pub y: Fenced<T, 3>,
    /// As in the contract.
    pub last: Fenced<T, 3>,
    /// As in the contract.
    pub dx: Fenced<T, 3>,
    /// As in the contract.
    pub dweight: Fenced<T::Acc, 2>,
    /// As in the contract.
    pub dbias: Fenced<T::Acc, 1>,
    /// As in the contract.
    pub dinitial: Fenced<T, 3>,
}

impl<T: Float<Acc: Poison> + Poison> Outputs<T> {
    fn new(p: &family::Plan, device: &Device) -> Self {
        Outputs {
            y: Fenced::new(p.out(), device),
            last: Fenced::new(p.state(), device),
            dx: Fenced::new(p.x().dims(), device),
            dweight: Fenced::new(p.weight().dims(), device),
            dbias: Fenced::new([p.channels()], device),
            dinitial: Fenced::new(p.state(), device),
        }
    }

    /// All are as close to `want` as the contract says.
    pub fn near(&self, want: &Self, what: &str) {
        close(&format!("{what} y"), &self.y.full(), &want.y.full(), limit::<T>());
        assert!(same(&self.last.full(), &want.last.full()), "{what} last");
        close(&format!("{what} dx"), &self.dx.full(), &want.dx.full(), limit::<T>());
        close(&format!("{what} dweight"), &self.dweight.full(), &want.dweight.full(), 1e-11);
        close(&format!("{what} dbias"), &self.dbias.full(), &want.dbias.full(), 1e-11);
        close(&format!("{what} dinitial"), &self.dinitial.full(), &want.dinitial.full(), limit::<T>());
    }

    /// All bits of all outputs.
    pub fn bits(&self) -> Vec<u64> {
        let stored = [self.y.take(), self.last.take(), self.dx.take(), self.dinitial.take()].concat();
        let summed = [self.dweight.take(), self.dbias.take()].concat();
        stored.iter().map(|x| x.wide().to_bits()).chain(summed.iter().map(|x| x.wide().to_bits())).collect()
    }
}

impl<T: Float<Acc: Poison> + Poison> Case<T> {
    /// Random numbers; a bias if `seed` is even.
    pub fn new(s: Sizes, silu: bool, seed: u64) -> Self {
        let count = s.orders.unsigned_abs();
        let channels = s.each * count.max(1);
        let columns = if s.orders < 0 { channels } else { s.each };
        let strided = |n: usize| {
            let row = n + s.padding;
            Layout::strided([s.batch, s.len, n], [row * (s.len + s.padding), row, 1]).unwrap()
        };
        let (x, dy) = (strided(columns), strided(channels));
        let weight = Layout::strided([channels, s.width], [s.width + s.padding, 1]).unwrap();
        let of = |dims: &[usize]| Layout::packed([dims.iter().product()]).unwrap();
        let bounds = s.bounds.map(<[u32]>::to_vec);
        let orders = (count > 0).then(|| orders(count, s.len));
        let sequences = bounds.as_ref().map_or(s.batch, |bounds| bounds.len() - 1);
        let state = Layout::packed([sequences, s.width - 1, channels]).unwrap();
        let plan = family::plan(
            &x,
            &weight,
            seed.is_multiple_of(2).then(|| of(&[channels])).as_ref(),
            silu,
            bounds.as_ref().map(|bounds| of(&[bounds.len()])).as_ref(),
            orders.as_ref().map(|_| Layout::packed([count, s.len]).unwrap()).as_ref(),
            s.initial.then_some(&state),
        );
        let dlast = s.initial.then_some(&state);
        Case {
            plan: family::plan_backward(&plan.unwrap(), &dy, dlast).unwrap(),
            x: normal(x.span(), 1.0, seed),
            weight: normal(weight.span(), 0.5, seed + 1),
            bias: seed.is_multiple_of(2).then(|| normal(channels, 0.5, seed + 2)),
            bounds,
            orders,
            initial: s.initial.then(|| normal(state.len(), 1.0, seed + 3)),
            dy: normal(dy.span(), 1.0, seed + 4),
            dlast: s.initial.then(|| normal(state.len(), 1.0, seed + 5)),
        }
    }

    /// The tables of sequences and orders.
    pub fn tables(&self) -> Tables<&[u32]> {
        Tables { bounds: self.bounds.as_deref(), orders: self.orders.as_deref() }
    }

    /// By the reference, or by the host's kernels.
    pub fn host(&self, reference: bool) -> Outputs<T> {
        let mut out = Outputs::new(&self.plan, &Device::Host);
        let (forward, backward): (Forward<T>, Backward<T>) = match reference {
            true => (family::forward, family::backward),
            false => (latens_cpu::conv1d::forward, latens_cpu::conv1d::backward),
        };
        let (bias, initial, tables) = (self.bias.as_deref(), self.initial.as_deref(), self.tables());
        let last = Some(out.last.slice());
        forward(&self.plan, &self.x, &self.weight, bias, tables, initial, out.y.slice(), last).unwrap();
        backward(
            &self.plan,
            &self.x,
            &self.weight,
            bias,
            tables,
            initial,
            &self.dy,
            self.dlast.as_deref(),
            Some(out.dx.slice()),
            Some(out.dweight.slice()),
            Some(out.dbias.slice()),
            Some(out.dinitial.slice()),
        )
        .unwrap();
        out
    }

    /// By the operations of latens-core, both forms.
    pub fn core(&self, device: &Device) -> Outputs<T> {
        let (p, mut out) = (&self.plan, Outputs::new(&self.plan, device));
        let x = Tensor::from_slice(&self.x, p.x(), device).unwrap();
        let weight = Tensor::from_slice(&self.weight, p.weight(), device).unwrap();
        let bias = self.bias.as_ref().map(|bias| vector(bias, device));
        let bounds = self.bounds.as_ref().map(|bounds| vector(bounds, device));
        let [count, len] = [p.route().orders(), p.route().len()];
        let orders = self.orders.as_ref().map(|orders| tensor(orders, [count, len], device));
        let initial = self.initial.as_ref().map(|initial| tensor(initial, p.state(), device));
        let dy = Tensor::from_slice(&self.dy, p.dy(), device).unwrap();
        let dlast = self.dlast.as_ref().map(|dlast| tensor(dlast, p.state(), device));
        let call = Conv1d {
            bias: bias.as_ref().map(Tensor::view),
            silu: p.silu(),
            bounds: bounds.as_ref().map(Tensor::view),
            orders: orders.as_ref().map(Tensor::view),
            initial: initial.as_ref().map(Tensor::view),
            ..Conv1d::new(x.view(), weight.view())
        };
        let dlast: Option<View<_, 3>> = dlast.as_ref().map(Tensor::view);
        let mut workspace = Tensor::empty([conv1d_workspace(&call).unwrap()], device).unwrap();
        conv1d_into(&call, out.y.view_mut(), Some(out.last.view_mut()), workspace.view_mut()).unwrap();
        let mut workspace = Tensor::empty([conv1d_backward_workspace(&call).unwrap()], device).unwrap();
        let to = Conv1dGradientsMut {
            x: Some(out.dx.view_mut()),
            weight: Some(out.dweight.view_mut()),
            bias: Some(out.dbias.view_mut()),
            initial: Some(out.dinitial.view_mut()),
        };
        conv1d_backward_into(&call, dy.view(), dlast, to, workspace.view_mut()).unwrap();
        // The allocating forms say the same.
        let (y, last) = conv1d(&call).unwrap();
        assert!(same(&y.to_vec().unwrap(), &out.y.full()) && same(&last.to_vec().unwrap(), &out.last.full()));
        let gradients = conv1d_backward(&call, dy.view(), dlast).unwrap();
        assert!(same(&gradients.x.to_vec().unwrap(), &out.dx.full()));
        assert!(same(&gradients.weight.to_vec().unwrap(), &out.dweight.full()));
        assert!(same(&gradients.bias.to_vec().unwrap(), &out.dbias.full()));
        assert!(same(&gradients.initial.to_vec().unwrap(), &out.dinitial.full()));
        out
    }
}

type Acc<T> = <T as Float>::Acc;
type Forward<T> = fn(
    &family::Plan,
    &[T],
    &[Acc<T>],
    Option<&[Acc<T>]>,
    Tables<&[u32]>,
    Option<&[T]>,
    &mut [T],
    Option<&mut [T]>,
) -> latens_core::Result<()>;
type Backward<T> = fn(
    &family::Plan,
    &[T],
    &[Acc<T>],
    Option<&[Acc<T>]>,
    Tables<&[u32]>,
    Option<&[T]>,
    &[T],
    Option<&[T]>,
    Option<&mut [T]>,
    Option<&mut [Acc<T>]>,
    Option<&mut [Acc<T>]>,
    Option<&mut [T]>,
) -> latens_core::Result<()>;

/// These numbers on `device`.
pub fn tensor<T: latens_core::Element, const R: usize>(x: &[T], dims: [usize; R], device: &Device) -> Tensor<T, R> {
    Tensor::from_slice(x, Layout::packed(dims).unwrap(), device).unwrap()
}
