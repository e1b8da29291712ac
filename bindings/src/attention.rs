use crate::call::{Call, Entry};
use crate::status::Failure;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    Attention, AttentionGradientsMut, Float, Mask, attention_backward_into, attention_backward_workspace,
    attention_into,
};

/// Attention with grouped queries: `q` and `y` \[batch, t, heads, dim\], `k` and `v` \[batch, s, kv_heads, dim\], all T; `lse`
/// \[batch, t, heads\] A, for `latens_attention_backward`, may be null. With a `block` of 1, query i sees the keys up to
/// i + s - t; with a larger one, those up to the end of its own block of so many positions; with 0, all. Scores are multiplied
/// by `scale`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_attention(
    device: *const LatensDevice,
    q: *const LatensTensor,
    k: *const LatensTensor,
    v: *const LatensTensor,
    scale: f32,
    block: u32,
    y: *const LatensTensor,
    lse: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("attention", device) };
    entry.run(|call| {
        float!(call, "q" = q, T => attention_into::<T>(
            &read(call, [q, k, v], scale, block)?, call.output("y", y)?, call.optional_output("lse", lse)?,
        ))
    })
}

/// Bytes of workspace that `latens_attention_backward` asks for.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_attention_backward_workspace(
    device: *const LatensDevice,
    q: *const LatensTensor,
    k: *const LatensTensor,
    v: *const LatensTensor,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("attention_backward_workspace", device) };
    entry.run(|call| {
        let count = || float!(call, "q" = q, T => attention_backward_workspace::<T>(&read(call, [q, k, v], 1.0, 0)?));
        call.give("bytes", bytes, count)
    })
}

/// The gradients of `latens_attention` from `dy`, that of its result `y`, and the `lse` that came with it: `dq`, `dk` and `dv`
/// shaped as `q`, `k` and `v`, all T. One that is null is not computed.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_attention_backward(
    device: *const LatensDevice,
    q: *const LatensTensor,
    k: *const LatensTensor,
    v: *const LatensTensor,
    scale: f32,
    block: u32,
    y: *const LatensTensor,
    lse: *const LatensTensor,
    dy: *const LatensTensor,
    dq: *const LatensTensor,
    dk: *const LatensTensor,
    dv: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("attention_backward", device) };
    entry.run(|call| {
        float!(call, "q" = q, T => {
            let to = AttentionGradientsMut {
                q: call.optional_output("dq", dq)?,
                k: call.optional_output("dk", dk)?,
                v: call.optional_output("dv", dv)?,
            };
            let (y, lse, dy) = (call.input("y", y)?, call.input("lse", lse)?, call.input("dy", dy)?);
            attention_backward_into::<T>(&read(call, [q, k, v], scale, block)?, y, lse, dy, to, call.workspace(workspace)?)
        })
    })
}

fn read<'a, T: Float>(
    call: &'a Call,
    [q, k, v]: [*const LatensTensor; 3],
    scale: f32,
    block: u32,
) -> Result<Attention<'a, T>, Failure> {
    let mask = match block {
        0 => Mask::Full,
        1 => Mask::Causal,
        block => Mask::Blocks(block),
    };
    Ok(Attention { q: call.input("q", q)?, k: call.input("k", k)?, v: call.input("v", v)?, scale, mask })
}
