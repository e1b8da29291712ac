use crate::call::{Call, Entry};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    Conv1d, Conv1dGradientsMut, Float, conv1d_backward_into, conv1d_backward_workspace, conv1d_into, conv1d_step_into,
    conv1d_workspace,
};

/// What `latens_conv1d` and its gradients read. A tensor that is null is left out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensConv1d {
    /// \[batch, len, columns\] T: a column for each channel, or one for each channel of an order, which all then share.
    pub x: *const LatensTensor,
    /// \[channels, width\] A, width 2 to 4.
    pub weight: *const LatensTensor,
    /// \[channels\] A, or null.
    pub bias: *const LatensTensor,
    /// \[sequences + 1\] u32, or null: where sequences begin that are packed into one batch entry.
    pub bounds: *const LatensTensor,
    /// \[orders, len\] u32, or null: rows by position, without gaps between orders.
    pub orders: *const LatensTensor,
    /// \[sequences, width - 1, channels\] T, or null for zeros: what precedes each sequence.
    pub initial: *const LatensTensor,
    /// Whether SiLU follows: 0 or 1.
    pub silu: u8,
}

fn read<'a, T: Float>(call: &'a Call, from: &LatensConv1d) -> Result<Conv1d<'a, T>, Failure> {
    let silu = call.whether("silu", from.silu)?;
    Ok(Conv1d {
        x: call.input("x", from.x)?,
        weight: call.input("weight", from.weight)?,
        bias: call.optional("bias", from.bias)?,
        silu,
        bounds: call.optional("bounds", from.bounds)?,
        orders: call.optional("orders", from.orders)?,
        initial: call.optional("initial", from.initial)?,
    })
}

/// Causal convolution along each sequence, channel by channel: `y` \[batch, len, channels\] T and, unless it is null, `last`
/// \[sequences, width - 1, channels\] T, the `initial` of a continuation.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_conv1d(
    device: *const LatensDevice,
    call: *const LatensConv1d,
    y: *const LatensTensor,
    last: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("conv1d", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        float!(call, "x" = from.x, T => conv1d_into::<T>(
            &read(call, &from)?, call.output("y", y)?, call.optional_output("last", last)?, call.workspace(workspace)?,
        ))
    })
}

/// Bytes of workspace that `latens_conv1d` asks for.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_conv1d_workspace(
    device: *const LatensDevice,
    call: *const LatensConv1d,
    bytes: *mut usize,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("conv1d_workspace", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        call.give("bytes", bytes, || float!(call, "x" = from.x, T => conv1d_workspace::<T>(&read(call, &from)?)))
    })
}

/// The gradients of `latens_conv1d` from `dy` \[batch, len, channels\] T and, unless it is null, `dlast`, that of `last`: `dx` T,
/// `dweight` and `dbias` A, `dinitial` T, each in the shape of its input without gaps. One that is null is not computed.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_conv1d_backward(
    device: *const LatensDevice,
    call: *const LatensConv1d,
    dy: *const LatensTensor,
    dlast: *const LatensTensor,
    dx: *const LatensTensor,
    dweight: *const LatensTensor,
    dbias: *const LatensTensor,
    dinitial: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("conv1d_backward", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        float!(call, "x" = from.x, T => {
            let (inputs, dy, dlast) = (read::<T>(call, &from)?, call.input("dy", dy)?, call.optional("dlast", dlast)?);
            let to = Conv1dGradientsMut {
                x: call.optional_output("dx", dx)?,
                weight: call.optional_output("dweight", dweight)?,
                bias: call.optional_output("dbias", dbias)?,
                initial: call.optional_output("dinitial", dinitial)?,
            };
            conv1d_backward_into(&inputs, dy, dlast, to, call.workspace(workspace)?)
        })
    })
}

/// Bytes of workspace that `latens_conv1d_backward` asks for.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_conv1d_backward_workspace(
    device: *const LatensDevice,
    call: *const LatensConv1d,
    bytes: *mut usize,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("conv1d_backward_workspace", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        call.give(
            "bytes",
            bytes,
            || float!(call, "x" = from.x, T => conv1d_backward_workspace::<T>(&read(call, &from)?)),
        )
    })
}

/// One row of every sequence: `x` and `y` \[batch, channels\] T, `weight` \[channels, width\] A, `bias` \[channels\] A or null;
/// `state` \[batch, width - 1, channels\] T moves on in place.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_conv1d_step(
    device: *const LatensDevice,
    x: *const LatensTensor,
    weight: *const LatensTensor,
    bias: *const LatensTensor,
    silu: bool,
    state: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("conv1d_step", device) };
    entry.run(|call| {
        float!(call, "x" = x, T => conv1d_step_into::<T>(
            call.input("x", x)?, call.input("weight", weight)?, call.optional("bias", bias)?, silu,
            call.output("state", state)?, call.output("y", y)?,
        ))
    })
}
