use crate::call::{Call, Entry};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    Float, Ssd, SsdGradientsMut, ssd_backward_into, ssd_backward_workspace, ssd_into, ssd_step_into, ssd_workspace,
};

/// What `latens_ssd` and its gradients read. A tensor that is null is left out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensSsd {
    /// \[batch, len, heads * head_dim\] T.
    pub x: *const LatensTensor,
    /// \[batch, len, heads\] T.
    pub delta: *const LatensTensor,
    /// \[heads\] A.
    pub a: *const LatensTensor,
    /// \[batch, len, groups * states\] T.
    pub b: *const LatensTensor,
    /// As `b`.
    pub c: *const LatensTensor,
    /// \[heads\] A, or null: what of `x` is added to the output.
    pub skip: *const LatensTensor,
    /// \[heads\] A, or null: what is added to `delta`.
    pub bias: *const LatensTensor,
    /// \[batch, len, heads * head_dim\] T, or null: the output is multiplied by SiLU of it.
    pub gate: *const LatensTensor,
    /// \[sequences + 1\] u32, or null: where sequences begin that are packed into one batch entry.
    pub bounds: *const LatensTensor,
    /// \[sequences, heads, head_dim, states\] A, or null for zeros: the state before each sequence.
    pub initial: *const LatensTensor,
    /// Groups of neighbouring heads that share `b` and `c`.
    pub groups: usize,
    /// Whether softplus is taken of `delta`: 0 or 1.
    pub softplus: u8,
}

/// Where the gradients of an ssd go: each in the shape of its input, without gaps. One that is null is not written.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensSsdGradients {
    /// T.
    pub x: *const LatensTensor,
    /// T.
    pub delta: *const LatensTensor,
    /// A.
    pub a: *const LatensTensor,
    /// T.
    pub b: *const LatensTensor,
    /// T.
    pub c: *const LatensTensor,
    /// A.
    pub skip: *const LatensTensor,
    /// A.
    pub bias: *const LatensTensor,
    /// T.
    pub gate: *const LatensTensor,
    /// A.
    pub initial: *const LatensTensor,
}

fn read<'a, T: Float>(call: &'a Call, from: &LatensSsd) -> Result<Ssd<'a, T>, Failure> {
    let softplus = call.whether("softplus", from.softplus)?;
    Ok(Ssd {
        x: call.input("x", from.x)?,
        delta: call.input("delta", from.delta)?,
        a: call.input("a", from.a)?,
        b: call.input("b", from.b)?,
        c: call.input("c", from.c)?,
        groups: from.groups,
        skip: call.optional("skip", from.skip)?,
        bias: call.optional("bias", from.bias)?,
        gate: call.optional("gate", from.gate)?,
        softplus,
        bounds: call.optional("bounds", from.bounds)?,
        initial: call.optional("initial", from.initial)?,
    })
}

/// State space dual (Mamba-2) along each sequence: `y` \[batch, len, heads * head_dim\] T and, unless it is null, `last`
/// \[sequences, heads, head_dim, states\] A, the `initial` of a continuation.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_ssd(
    device: *const LatensDevice,
    call: *const LatensSsd,
    y: *const LatensTensor,
    last: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("ssd", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        float!(call, "x" = from.x, T => ssd_into::<T>(
            &read(call, &from)?, call.output("y", y)?, call.optional_output("last", last)?, call.workspace(workspace)?,
        ))
    })
}

/// Bytes of workspace that `latens_ssd` asks for.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_ssd_workspace(
    device: *const LatensDevice,
    call: *const LatensSsd,
    bytes: *mut usize,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("ssd_workspace", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        call.give("bytes", bytes, || float!(call, "x" = from.x, T => ssd_workspace::<T>(&read(call, &from)?)))
    })
}

/// The gradients of `latens_ssd` from `dy` \[batch, len, heads * head_dim\] T and, unless it is null, `dlast`, that of `last`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_ssd_backward(
    device: *const LatensDevice,
    call: *const LatensSsd,
    dy: *const LatensTensor,
    dlast: *const LatensTensor,
    gradients: *const LatensSsdGradients,
    workspace: *const LatensTensor,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("ssd_backward", device) };
    entry.run(|call| {
        let (from, to) = (call.settings("call", from)?, call.settings("gradients", gradients)?);
        float!(call, "x" = from.x, T => {
            let (inputs, dy, dlast) = (read::<T>(call, &from)?, call.input("dy", dy)?, call.optional("dlast", dlast)?);
            let to = SsdGradientsMut {
                x: call.optional_output("dx", to.x)?,
                delta: call.optional_output("ddelta", to.delta)?,
                a: call.optional_output("da", to.a)?,
                b: call.optional_output("db", to.b)?,
                c: call.optional_output("dc", to.c)?,
                skip: call.optional_output("dskip", to.skip)?,
                bias: call.optional_output("dbias", to.bias)?,
                gate: call.optional_output("dgate", to.gate)?,
                initial: call.optional_output("dinitial", to.initial)?,
            };
            ssd_backward_into(&inputs, dy, dlast, to, call.workspace(workspace)?)
        })
    })
}

/// Bytes of workspace that `latens_ssd_backward` asks for.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_ssd_backward_workspace(
    device: *const LatensDevice,
    call: *const LatensSsd,
    bytes: *mut usize,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("ssd_backward_workspace", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        call.give("bytes", bytes, || float!(call, "x" = from.x, T => ssd_backward_workspace::<T>(&read(call, &from)?)))
    })
}

/// One row of every sequence: the tensors of `call` have a `len` of 1, and no `bounds` or `initial`; `state`
/// \[batch, heads, head_dim, states\] A moves on in place, and `y` \[batch, 1, heads * head_dim\] T is its output.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_ssd_step(
    device: *const LatensDevice,
    call: *const LatensSsd,
    state: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("ssd_step", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        for (arg, table) in [("bounds", from.bounds), ("initial", from.initial)] {
            if !table.is_null() {
                return Err(call.no_choice(arg, "left out of a step"));
            }
        }
        float!(call, "x" = from.x, T => ssd_step_into::<T>(
            &read(call, &from)?, call.output("state", state)?, call.output("y", y)?,
        ))
    })
}
