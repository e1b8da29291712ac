use crate::call::{Call, Entry};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{
    Error, Float, Order, Scan, ScanGradientsMut, Taps, Tensor, copy_into, scan_backward_into, scan_backward_workspace,
    scan_into, scan_step_into, scan_workspace,
};

/// What `latens_scan` and its gradients read. A tensor that is null is left out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensScan {
    /// \[batch, len, columns\] T: a column for each channel, or one for each channel of an order, which all then share.
    pub u: *const LatensTensor,
    /// \[batch, len, channels\] T.
    pub delta: *const LatensTensor,
    /// \[channels, states\] A.
    pub a: *const LatensTensor,
    /// \[batch, len, groups * states\] T.
    pub b: *const LatensTensor,
    /// As `b`.
    pub c: *const LatensTensor,
    /// \[channels\] A, or null: what of `u` is added to the output.
    pub skip: *const LatensTensor,
    /// \[channels\] A, or null: what is added to `delta`.
    pub bias: *const LatensTensor,
    /// \[batch, len, width\] T, or null: the output is multiplied by SiLU of it.
    pub gate: *const LatensTensor,
    /// \[channels, 2 to 4\] A, or null: a causal convolution with SiLU that `u` goes through first. Forward only.
    pub taps: *const LatensTensor,
    /// \[channels\] A, or null.
    pub taps_bias: *const LatensTensor,
    /// \[sequences, taps - 1, channels\] T, or null for zeros: what precedes each sequence.
    pub window: *const LatensTensor,
    /// \[sequences + 1\] u32, or null: where sequences begin that are packed into one batch entry.
    pub bounds: *const LatensTensor,
    /// \[orders, len\] u32, or null: rows by position, without gaps between orders.
    pub orders: *const LatensTensor,
    /// \[sequences, channels, states\] A, or null for zeros: the state before each sequence.
    pub initial: *const LatensTensor,
    /// Whether softplus is taken of `delta`: 0 or 1.
    pub softplus: u8,
}

/// Where the gradients of a scan go: each in the shape of its input, without gaps. One that is null is not written.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LatensScanGradients {
    /// T.
    pub u: *const LatensTensor,
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

fn read<'a, T: Float>(call: &'a Call, from: &LatensScan) -> Result<Scan<'a, T>, Failure> {
    let softplus = call.whether("softplus", from.softplus)?;
    let taps = call.optional("taps", from.taps)?;
    let (bias, window) = (call.optional("taps_bias", from.taps_bias)?, call.optional("window", from.window)?);
    if taps.is_none() && (bias.is_some() || window.is_some()) {
        return Err(call.no_choice("taps", "given where their bias or window is"));
    }
    Ok(Scan {
        u: call.input("u", from.u)?,
        delta: call.input("delta", from.delta)?,
        a: call.input("a", from.a)?,
        b: call.input("b", from.b)?,
        c: call.input("c", from.c)?,
        skip: call.optional("skip", from.skip)?,
        bias: call.optional("bias", from.bias)?,
        gate: call.optional("gate", from.gate)?,
        softplus,
        taps: taps.map(|weight| Taps { weight, bias, window }),
        bounds: call.optional("bounds", from.bounds)?,
        orders: call.optional("orders", from.orders)?,
        initial: call.optional("initial", from.initial)?,
    })
}

/// Selective scan along each sequence: `y` \[batch, len, width\] T and, unless it is null, `last`
/// \[sequences, channels, states\] A, the `initial` of a continuation.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_scan(
    device: *const LatensDevice,
    call: *const LatensScan,
    y: *const LatensTensor,
    last: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("scan", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        float!(call, "u" = from.u, T => scan_into::<T>(
            &read(call, &from)?, call.output("y", y)?, call.optional_output("last", last)?, call.workspace(workspace)?,
        ))
    })
}

/// Bytes of workspace that `latens_scan` asks for.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_scan_workspace(
    device: *const LatensDevice,
    call: *const LatensScan,
    bytes: *mut usize,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("scan_workspace", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        call.give("bytes", bytes, || float!(call, "u" = from.u, T => scan_workspace::<T>(&read(call, &from)?)))
    })
}

/// The gradients of `latens_scan` from `dy` \[batch, len, width\] T and, unless it is null, `dlast`, that of `last`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_scan_backward(
    device: *const LatensDevice,
    call: *const LatensScan,
    dy: *const LatensTensor,
    dlast: *const LatensTensor,
    gradients: *const LatensScanGradients,
    workspace: *const LatensTensor,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("scan_backward", device) };
    entry.run(|call| {
        let (from, to) = (call.settings("call", from)?, call.settings("gradients", gradients)?);
        float!(call, "u" = from.u, T => {
            let (inputs, dy, dlast) = (read::<T>(call, &from)?, call.input("dy", dy)?, call.optional("dlast", dlast)?);
            let to = ScanGradientsMut {
                u: call.optional_output("du", to.u)?,
                delta: call.optional_output("ddelta", to.delta)?,
                a: call.optional_output("da", to.a)?,
                b: call.optional_output("db", to.b)?,
                c: call.optional_output("dc", to.c)?,
                skip: call.optional_output("dskip", to.skip)?,
                bias: call.optional_output("dbias", to.bias)?,
                gate: call.optional_output("dgate", to.gate)?,
                initial: call.optional_output("dinitial", to.initial)?,
            };
            scan_backward_into(&inputs, dy, dlast, to, call.workspace(workspace)?)
        })
    })
}

/// Bytes of workspace that `latens_scan_backward` asks for.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_scan_backward_workspace(
    device: *const LatensDevice,
    call: *const LatensScan,
    bytes: *mut usize,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("scan_backward_workspace", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        call.give("bytes", bytes, || float!(call, "u" = from.u, T => scan_backward_workspace::<T>(&read(call, &from)?)))
    })
}

/// One row of every sequence: the tensors of `call` have a `len` of 1, and no `bounds`, `orders` or `initial`; `state`
/// \[batch, channels, states\] A moves on in place, and `y` \[batch, 1, width\] T is its output.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_scan_step(
    device: *const LatensDevice,
    call: *const LatensScan,
    state: *const LatensTensor,
    y: *const LatensTensor,
) -> LatensStatus {
    let from = call;
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("scan_step", device) };
    entry.run(|call| {
        let from = call.settings("call", from)?;
        for (arg, table) in [("bounds", from.bounds), ("orders", from.orders), ("initial", from.initial)] {
            if !table.is_null() {
                return Err(call.no_choice(arg, "left out of a step"));
            }
        }
        float!(call, "u" = from.u, T => scan_step_into::<T>(
            &read(call, &from)?, call.output("state", state)?, call.output("y", y)?,
        ))
    })
}

/// Orders in which a scan reads a picture.
#[repr(C)]
pub enum LatensOrder {
    /// Row by row, as in memory.
    Forward = 0,
    /// That from its end.
    Reverse = 1,
    /// Column by column; a class token keeps its place.
    Column = 2,
    /// That from its end.
    ColumnReverse = 3,
    /// Squares of side by side patches one after the other, each row by row; a class token keeps its place.
    Cluster = 4,
}

/// One of the `orders` of a scan, a `LatensOrder`, of a picture of `height` by `width` patches: `rows` \[height * width\] u32, and
/// one more if a class token lies at row `token`, which is negative for none. `side` is that of the squares of a cluster, and
/// ignored by others. On a GPU it allocates, and the host waits.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_scan_order(
    device: *const LatensDevice,
    order: i32,
    side: usize,
    height: usize,
    width: usize,
    token: i64,
    rows: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("scan_order", device) };
    entry.run(|call| {
        let order = match order {
            0 => Order::Forward,
            1 => Order::Reverse,
            2 => Order::Column,
            3 => Order::ColumnReverse,
            4 => Order::Cluster { side },
            _ => return Err(call.no_choice("order", "a LatensOrder")),
        };
        let rows = call.output::<u32, 1>("rows", rows)?;
        let (token, got) = (usize::try_from(token).ok(), rows.layout().len());
        // Before a table of any size is made.
        let want = height.saturating_mul(width).saturating_add(usize::from(token.is_some()));
        if got != want {
            return Err(Error::Size { op: "scan_order", arg: "rows", want, got }.into());
        }
        let table = order.table(height, width, token)?;
        Ok(copy_into(Tensor::from_vec(table, [got], call.device())?.view(), rows)?)
    })
}
