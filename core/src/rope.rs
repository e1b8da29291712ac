use crate::{DataMut, View, ViewMut};
pub use latens_kernels::rope::Pairing;
use latens_kernels::{
    Float, Result,
    rope::{self, Plan},
};

/// Turn every head of every token by its position, in place: see [`latens_kernels::rope`].
pub fn rope_into<T: Float>(
    x: ViewMut<'_, T, 3>,
    positions: View<'_, u32, 1>,
    base: f64,
    pairing: Pairing,
) -> Result<()> {
    run(&rope::plan(&x.layout(), &positions.layout(), base, pairing)?, x, positions)
}

/// Turn it back, which makes of the gradient of a result of [`rope_into`] that of its input, in place.
pub fn rope_backward_into<T: Float>(
    dx: ViewMut<'_, T, 3>,
    positions: View<'_, u32, 1>,
    base: f64,
    pairing: Pairing,
) -> Result<()> {
    run(&rope::plan_backward(&dx.layout(), &positions.layout(), base, pairing)?, dx, positions)
}

fn run<T: Float>(p: &Plan, x: ViewMut<'_, T, 3>, positions: View<'_, u32, 1>) -> Result<()> {
    match x.data() {
        DataMut::Host(x) => latens_cpu::rope::forward(p, x, positions.host("rope", "positions")?),
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, x) => {
            let positions = positions.cuda(device, "rope", "positions")?;
            device.run(&rope::launch(p, device.chip(), x, positions)?)?;
        }
    }
    Ok(())
}
