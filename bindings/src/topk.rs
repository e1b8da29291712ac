use crate::{DLTensor, LatensDevice, guard, place};
use latens_core::{DType, Error, Float, Result, bf16, f16, topk_into};

/// The `k` largest entries of every row of `x`, and where they are.
/// `workspace` is a `u8` tensor of `latens_topk_workspace` bytes, or of none on the host.
///
/// # Safety
/// The tensors describe memory that is there and ordered on the stream of `device`; the last three do not overlap anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_topk(
    device: *const LatensDevice,
    x: &DLTensor,
    k: usize,
    values: &DLTensor,
    indices: &DLTensor,
    workspace: &DLTensor,
) -> i32 {
    unsafe fn of<T: Float>(
        device: *const LatensDevice,
        x: &DLTensor,
        k: usize,
        [v, i, w]: [&DLTensor; 3],
    ) -> Result<()> {
        // SAFETY: the promises of `latens_topk`.
        unsafe {
            let place = place(device);
            topk_into(x.view::<T, 2>(place)?, k, v.view_mut(place)?, i.view_mut(place)?, w.view_mut(place)?)
        }
    }
    let out = [values, indices, workspace];
    // SAFETY: as above.
    guard(|| unsafe {
        match x.dtype()? {
            DType::F32 => of::<f32>(device, x, k, out),
            DType::F16 => of::<f16>(device, x, k, out),
            DType::BF16 => of::<bf16>(device, x, k, out),
            DType::F64 => of::<f64>(device, x, k, out),
            got => Err(Error::Type { op: "topk", arg: "x", got }),
        }
    })
}
