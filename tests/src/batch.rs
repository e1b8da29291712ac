use crate::{Coded, normal};
use latens_core::{Codes, Device, Float, Layout, Tensor};
use latens_kernels::{Philox, sae as family};

/// The `k` of rows of different widths.
pub const FLAT: usize = usize::MAX;

/// Codes of a batch, and what the passes read besides.
pub struct Batch<T: Float> {
    /// Sparse activations.
    pub codes: Coded<T::Acc>,
    /// The batch.
    pub x: (Layout<2>, Vec<T>),
    /// A gradient of its reconstruction.
    pub g: (Layout<2>, Vec<T>),
    /// Weights, a row for each latent.
    pub w: (Layout<2>, Vec<T>),
    /// The centre.
    pub b_dec: Option<Vec<T::Acc>>,
}

impl<T: Float> Batch<T> {
    /// Some slots are empty and hold a NaN, some values are zero or negative, some latents come twice.
    pub fn new([rows, dim, n, k, padding]: [usize; 5], seed: u64) -> Self {
        let mut draw = Philox::new(seed);
        let mut offsets = Vec::new();
        let shape = if k == FLAT {
            offsets.push(0);
            (0..rows).for_each(|r| offsets.push(offsets[r] + draw.below(6)));
            family::Shape::flat(rows, offsets[rows] as usize + 3).unwrap()
        } else {
            family::Shape::fixed(rows, k).unwrap()
        };
        let mut values = normal::<T::Acc>(shape.slots(), 1.0, seed + 1);
        let latents: Vec<u32> = (0..shape.slots())
            .map(|slot| {
                let latent = draw.below(n as u32 + 1 + n as u32 / 8).min(n as u32);
                if latent == n as u32 {
                    values[slot] = T::Acc::narrow(f64::NAN);
                } else if draw.below(16) == 0 {
                    values[slot] = T::Acc::default();
                }
                latent
            })
            .collect();
        let matrix = |rows: usize, seed: u64| {
            let layout = Layout::strided([rows, dim], [dim + padding, 1]).unwrap();
            (layout, normal(layout.span(), 1.0, seed))
        };
        let b_dec = (!seed.is_multiple_of(3)).then(|| normal(dim, 1.0, seed + 5));
        let (x, g, w) = (matrix(rows, seed + 2), matrix(rows, seed + 3), matrix(n, seed + 4));
        Self { codes: Coded { shape, values, latents, offsets }, x, g, w, b_dec }
    }

    /// Rows, width, latents.
    pub fn dims(&self) -> [usize; 3] {
        [self.codes.shape.rows(), self.w.0.dims()[1], self.w.0.dims()[0]]
    }
    /// The same on `device`.
    pub fn on(&self, device: &Device) -> On<T> {
        let flat = |len: usize| Layout::packed([len]).unwrap();
        On {
            values: Tensor::from_slice(&self.codes.values, flat(self.codes.values.len()), device).unwrap(),
            latents: Tensor::from_slice(&self.codes.latents, flat(self.codes.latents.len()), device).unwrap(),
            offsets: Tensor::from_slice(&self.codes.offsets, flat(self.codes.offsets.len()), device).unwrap(),
            x: Tensor::from_slice(&self.x.1, self.x.0, device).unwrap(),
            g: Tensor::from_slice(&self.g.1, self.g.0, device).unwrap(),
            w: Tensor::from_slice(&self.w.1, self.w.0, device).unwrap(),
            b_dec: self.b_dec.as_ref().map(|b| Tensor::from_slice(b, flat(b.len()), device).unwrap()),
            shape: self.codes.shape,
        }
    }
}

/// A batch on a device.
pub struct On<T: Float> {
    values: Tensor<T::Acc, 1>,
    latents: Tensor<u32, 1>,
    offsets: Tensor<u32, 1>,
    /// As in the batch.
    pub x: Tensor<T, 2>,
    /// As in the batch.
    pub g: Tensor<T, 2>,
    /// As in the batch.
    pub w: Tensor<T, 2>,
    /// As in the batch.
    pub b_dec: Option<Tensor<T::Acc, 1>>,
    shape: family::Shape,
}

impl<T: Float> On<T> {
    /// Sparse activations.
    pub fn codes(&self) -> Codes<'_, T::Acc> {
        match self.shape.width() {
            None => Codes::flat(self.values.view(), self.latents.view(), self.offsets.view()).unwrap(),
            Some(k) => {
                let dims = [self.shape.rows(), k];
                Codes::fixed(self.values.view().reshape(dims).unwrap(), self.latents.view().reshape(dims).unwrap())
                    .unwrap()
            }
        }
    }
}
