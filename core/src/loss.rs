use crate::{Data, Tensor, View, ViewMut};
pub use latens_kernels::loss::IGNORED;
use latens_kernels::{Float, Result, loss};

/// Softmax cross-entropy of every row against its target; a target of [`IGNORED`] gives 0: see [`latens_kernels::loss`].
pub fn cross_entropy<T: Float>(logits: View<'_, T, 2>, targets: View<'_, u32, 1>) -> Result<Tensor<T::Acc, 1>> {
    let mut losses = Tensor::empty([logits.dims()[0]], &logits.device())?;
    cross_entropy_into(logits, targets, losses.view_mut())?;
    Ok(losses)
}

/// [`cross_entropy`] into memory of the caller.
pub fn cross_entropy_into<T: Float>(
    logits: View<'_, T, 2>,
    targets: View<'_, u32, 1>,
    losses: ViewMut<'_, T::Acc, 1>,
) -> Result<()> {
    let op = "cross_entropy";
    let p = loss::plan(&logits.layout(), &targets.layout())?;
    let losses = losses.packed(op, "losses", p.out())?;
    match logits.data() {
        Data::Host(logits) => {
            latens_cpu::loss::forward(&p, logits, targets.host(op, "targets")?, losses.host(op, "losses")?)?;
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, logits) => {
            let (targets, losses) = (targets.cuda(device, op, "targets")?, losses.cuda(device, op, "losses")?);
            device.run(&loss::launch(&p, device.chip(), logits, targets, losses)?)?;
        }
    }
    Ok(())
}
