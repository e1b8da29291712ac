//! Cases of the SAE encoder and its forms.
use latens_core::{Device, Float, Layout, Tensor};
use latens_kernels::sae::encode as family;
use latens_kernels::{Philox, Result};

/// `[rows, dim, n, k, padding of x and w_enc]`. A tile on the host is 32 rows by 12 latents.
pub const CASES: &[[usize; 5]] = &[
    [0, 4, 5, 2, 0],
    [3, 4, 0, 0, 0],
    [3, 0, 7, 3, 0],
    [2, 4, 5, 0, 0],
    [1, 1, 1, 1, 0],
    [1, 3, 12, 12, 1],
    [31, 5, 13, 3, 0],
    [32, 16, 24, 24, 0],
    [33, 17, 25, 1, 3],
    [65, 8, 300, 7, 0],
    [5, 33, 700, 32, 2],
    [2, 2, 5000, 64, 0],
];

/// Small whole numbers, so that sums are exact and many are equal, with NaN and infinities in some rows.
fn whole<T: Float>([rows, columns]: [usize; 2], padding: usize, special: bool, seed: u64) -> (Layout<2>, Vec<T>) {
    let layout = Layout::strided([rows, columns], [columns + padding, 1]).unwrap();
    let mut draw = Philox::new(seed);
    let mut x: Vec<T> = (0..layout.span()).map(|_| T::narrow(f64::from(draw.below(7)) - 3.0)).collect();
    if special && columns > 0 {
        for (row, what) in (1..rows).step_by(5).zip([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0].iter().cycle()) {
            x[row * layout.strides()[0] + draw.below(columns as u32) as usize] = T::narrow(*what);
        }
    }
    (layout, x)
}

/// What an encoder reads.
pub struct Case<T: Float> {
    /// The batch.
    pub x: (Layout<2>, Vec<T>),
    /// Weights, a row for each latent.
    pub w: (Layout<2>, Vec<T>),
    /// One for each latent.
    pub bias: Vec<T::Acc>,
    /// Latents kept of a row.
    pub k: usize,
}

impl<T: Float> Case<T> {
    /// Sums are exact and many are equal; `special` puts NaN and infinities among them.
    pub fn whole([rows, dim, n, k, padding]: [usize; 5], special: bool, seed: u64) -> Self {
        let x = whole([rows, dim], padding, special, seed);
        let w = whole([n, dim], padding, special && n > 20, seed + 1);
        Self { x, w, bias: whole([1, n], 0, false, seed + 2).1, k }
    }

    /// The layout of the bias.
    pub fn bias(&self) -> Layout<1> {
        Layout::packed([self.bias.len()]).unwrap()
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.x.0.dims()[0]
    }

    /// Number of latents.
    pub fn n(&self) -> usize {
        self.bias.len()
    }

    /// The plan of a choice for each row.
    pub fn plan(&self) -> Result<family::Plan> {
        family::plan(&self.x.0, &self.w.0, &self.bias(), self.k)
    }

    /// What the reference puts out.
    pub fn want(&self) -> (Vec<T::Acc>, Vec<u32>) {
        let len = self.rows() * self.k;
        let (mut values, mut latents) = (vec![T::Acc::narrow(7.0); len], vec![7; len]);
        family::forward(&self.plan().unwrap(), &self.x.1, &self.w.1, &self.bias, &mut values, &mut latents);
        (values, latents)
    }

    /// The batch, weights and bias on `device`.
    pub fn on(&self, device: &Device) -> (Tensor<T, 2>, Tensor<T, 2>, Tensor<T::Acc, 1>) {
        let x = Tensor::from_slice(&self.x.1, self.x.0, device).unwrap();
        let w = Tensor::from_slice(&self.w.1, self.w.0, device).unwrap();
        (x, w, Tensor::from_slice(&self.bias, self.bias(), device).unwrap())
    }
}
