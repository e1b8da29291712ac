use super::incidence;
use crate::call::{Call, Entry};
use crate::{Failure, LatensDevice, LatensStatus, LatensTensor};
use latens_core::{Degree, Weigh, hyper_degree_into, hyper_weigh_backward_into, hyper_weigh_into};

/// What is made of the numbers of a row.
#[repr(C)]
pub enum LatensWeigh {
    /// What they are.
    Sum = 0,
    /// Shares of their sum.
    Mean = 1,
    /// Logits, whose exponentials are made shares.
    Softmax = 2,
}

/// What is made of a degree d.
#[repr(C)]
pub enum LatensDegree {
    /// d.
    Sum = 0,
    /// 1 / d, or 0.
    Inverse = 1,
    /// One by its root, or 0.
    InverseRoot = 2,
    /// ln((1 + columns) / (1 + d)) + 1.
    Rarity = 3,
}

fn weighing(call: &Call, how: i32) -> Result<Weigh, Failure> {
    match how {
        0 => Ok(Weigh::Sum),
        1 => Ok(Weigh::Mean),
        2 => Ok(Weigh::Softmax),
        _ => Err(call.no_choice("how", "a LatensWeigh")),
    }
}

/// How much belongs to each row of an incidence: `out` \[rows\] A from the sum over its entries of `values` \[entries\] A times
/// `columns` \[column_count\] A, each 1 if null; `how` is a LatensDegree. An incidence is `offsets` \[rows + 1\] u32, `members`
/// \[entries\] u32 and, where it was turned over, `places` \[entries\] u32, the number of each entry and none twice, else
/// null; values go by number of entry.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_degree(
    device: *const LatensDevice,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    places: *const LatensTensor,
    column_count: usize,
    how: i32,
    values: *const LatensTensor,
    columns: *const LatensTensor,
    out: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_degree", device) };
    entry.run(|call| {
        let how = match how {
            0 => Degree::Sum,
            1 => Degree::Inverse,
            2 => Degree::InverseRoot,
            3 => Degree::Rarity,
            _ => return Err(call.no_choice("how", "a LatensDegree")),
        };
        let of = incidence(call, [offsets, members, places], column_count)?;
        sum!(call, "out" = out, A => hyper_degree_into::<A>(of, how, call.optional("values", values)?, call.optional("columns", columns)?, call.output("out", out)?))
    })
}

/// How the members of each row share in it: coefficients `a` \[entries\] A from `values` \[entries\] A, `columns`
/// \[column_count\] A and `rows` \[rows\] A, each null if left out; `how` is a LatensWeigh. The incidence as for
/// `latens_hyper_degree`.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_weigh(
    device: *const LatensDevice,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    places: *const LatensTensor,
    column_count: usize,
    how: i32,
    values: *const LatensTensor,
    columns: *const LatensTensor,
    rows: *const LatensTensor,
    a: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_weigh", device) };
    entry.run(|call| {
        let (how, of) = (weighing(call, how)?, incidence(call, [offsets, members, places], column_count)?);
        sum!(call, "a" = a, A => hyper_weigh_into::<A>(of, how, call.optional("values", values)?, call.optional("columns", columns)?, call.optional("rows", rows)?, call.output("a", a)?))
    })
}

/// The gradient `dvalues` \[entries\] A of the values of `latens_hyper_weigh` from `da` \[entries\] A.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_weigh_backward(
    device: *const LatensDevice,
    offsets: *const LatensTensor,
    members: *const LatensTensor,
    places: *const LatensTensor,
    column_count: usize,
    how: i32,
    values: *const LatensTensor,
    columns: *const LatensTensor,
    rows: *const LatensTensor,
    da: *const LatensTensor,
    dvalues: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_weigh_backward", device) };
    entry.run(|call| {
        let (how, of) = (weighing(call, how)?, incidence(call, [offsets, members, places], column_count)?);
        sum!(call, "da" = da, A => hyper_weigh_backward_into::<A>(of, how, call.optional("values", values)?, call.optional("columns", columns)?, call.optional("rows", rows)?, call.input("da", da)?, call.output("dvalues", dvalues)?))
    })
}
