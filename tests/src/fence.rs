use latens_core::{Device, Element, Float, Layout, Tensor, ViewMut, bf16, f16};
use std::fmt::Debug;

/// An element type with a value that no kernel writes by design: it fills outputs before a call.
pub trait Poison: Element + Debug {
    /// That value.
    const POISON: Self;
}

impl Poison for f32 {
    const POISON: Self = -77.0;
}
impl Poison for f64 {
    const POISON: Self = -77.0;
}
impl Poison for f16 {
    const POISON: Self = f16::from_f32_const(-77.0);
}
impl Poison for bf16 {
    const POISON: Self = bf16::from_f32_const(-77.0);
}
impl Poison for u32 {
    const POISON: Self = 0xa5a5_a5a5;
}
impl Poison for i32 {
    const POISON: Self = -0x5a5a_5a5b;
}
impl Poison for u8 {
    const POISON: Self = 0xa5;
}
impl Poison for i8 {
    const POISON: Self = -0x5b;
}

/// An output between two fences, poisoned: whoever writes beside it is caught by [`Fenced::take`]. It begins 3 elements
/// after an aligned address, so 16-byte access to it is wrong; the allocating form of an operation tests the aligned case.
pub struct Fenced<T, const R: usize> {
    tensor: Tensor<T, 1>,
    dims: [usize; R],
}

const FENCE: usize = 3;

impl<T: Poison, const R: usize> Fenced<T, R> {
    /// A packed output of these sizes, full of [`Poison::POISON`].
    pub fn new(dims: [usize; R], device: &Device) -> Self {
        Self::holding(&vec![T::POISON; dims.iter().product()], dims, device)
    }

    /// The same with contents, for what a kernel updates in place.
    pub fn holding(contents: &[T], dims: [usize; R], device: &Device) -> Self {
        let fence = [T::POISON; FENCE];
        let all = [&fence, contents, &fence].concat();
        let tensor = Tensor::from_slice(&all, Layout::packed([all.len()]).unwrap(), device).unwrap();
        Self { tensor, dims }
    }

    /// The output, to hand to an operation.
    pub fn view_mut(&mut self) -> ViewMut<'_, T, R> {
        let end = self.tensor.dims()[0] - FENCE;
        self.tensor.view_mut().narrow(0, FENCE, end).unwrap().reshape(self.dims).unwrap()
    }

    /// The output as a slice, to hand to a reference or a CPU kernel. The device must be the host.
    pub fn slice(&mut self) -> &mut [T] {
        let end = self.tensor.dims()[0] - FENCE;
        &mut self.tensor.host_mut().expect("host memory")[FENCE..end]
    }

    /// What was written.
    ///
    /// # Panics
    /// If something was written outside.
    #[track_caller]
    pub fn take(&self) -> Vec<T> {
        let mut all = self.tensor.to_vec().unwrap();
        let after = all.split_off(all.len() - FENCE);
        let out = all.split_off(FENCE);
        let fence = [T::POISON; FENCE];
        assert!(all == fence && after == fence, "written outside of the output: before {all:?}, after {after:?}");
        out
    }
}

impl<T: Poison + Float, const R: usize> Fenced<T, R> {
    /// [`Fenced::take`], when every element had to be written.
    ///
    /// # Panics
    /// Also if poison is left.
    #[track_caller]
    pub fn full(&self) -> Vec<T> {
        let out = self.take();
        let left = out.iter().filter(|x| **x == T::POISON).count();
        assert_eq!(left, 0, "elements not written");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stray_writes_are_seen() {
        let mut out = Fenced::<f32, 2>::new([2, 2], &Device::Host);
        out.slice().copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(out.full(), [1.0, 2.0, 3.0, 4.0]);
        for stray in [FENCE - 1, FENCE + 4] {
            let mut out = Fenced::<u32, 1>::new([4], &Device::Host);
            out.tensor.host_mut().unwrap()[stray] = 0;
            assert!(std::panic::catch_unwind(|| out.take()).is_err());
        }
    }
}
