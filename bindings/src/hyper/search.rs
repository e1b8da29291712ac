use crate::call::Entry;
use crate::{LatensDevice, LatensStatus, LatensTensor};
use latens_core::{hyper_compress_into, hyper_search_compressed_into, hyper_search_compressed_workspace};
use latens_core::{hyper_search_into, hyper_search_workspace};

/// The `k` rows of `corpus` \[n, dim\] T with the largest inner products with each of `queries` \[count, dim\] T, best first:
/// `values` \[count, k\] A and `ids` \[count, k\] u32. Among equals the smaller row wins; NaN ranks lowest.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_search(
    device: *const LatensDevice,
    queries: *const LatensTensor,
    corpus: *const LatensTensor,
    k: usize,
    values: *const LatensTensor,
    ids: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_search", device) };
    entry.run(|call| float!(call, "corpus" = corpus, T => hyper_search_into::<T>(call.input("queries", queries)?, call.input("corpus", corpus)?, k, call.output("values", values)?, call.output("ids", ids)?, call.workspace(workspace)?)))
}

/// Bytes of workspace that `latens_hyper_search` asks for. The memory of the tensors is not touched and may be null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_search_workspace(
    device: *const LatensDevice,
    queries: *const LatensTensor,
    corpus: *const LatensTensor,
    k: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_search_workspace", device) };
    entry.run(|call| {
        call.give("bytes", bytes, || {
            Ok(hyper_search_workspace(
                &call.layout("queries", queries)?,
                &call.layout("corpus", corpus)?,
                k,
                call.device(),
            )?)
        })
    })
}

/// Copy `corpus` \[n, dim\] T, to be scanned before rows are scored exactly: `codes` \[n, dim\] i8 or bf16 and `bounds` \[n, 3\]
/// f32, the scale of a row, how far off it is, and its length.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_compress(
    device: *const LatensDevice,
    corpus: *const LatensTensor,
    codes: *const LatensTensor,
    bounds: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_compress", device) };
    entry.run(|call| float!(call, "corpus" = corpus, T => code!(call, "codes" = codes, C => hyper_compress_into::<T, C>(call.input("corpus", corpus)?, call.output("codes", codes)?, call.output("bounds", bounds)?))))
}

/// `latens_hyper_search` that scans the copy `codes` and `bounds` and scores the most promising `candidates` rows of `corpus` exactly.
/// `complete` \[count\] u32 is 1 where that is proved to be the answer of `latens_hyper_search`, else 0.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_search_compressed(
    device: *const LatensDevice,
    queries: *const LatensTensor,
    corpus: *const LatensTensor,
    codes: *const LatensTensor,
    bounds: *const LatensTensor,
    k: usize,
    candidates: usize,
    values: *const LatensTensor,
    ids: *const LatensTensor,
    complete: *const LatensTensor,
    workspace: *const LatensTensor,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_search_compressed", device) };
    entry.run(|call| float!(call, "corpus" = corpus, T => code!(call, "codes" = codes, C => hyper_search_compressed_into::<T, C>(call.input("queries", queries)?, call.input("corpus", corpus)?, call.input("codes", codes)?, call.input("bounds", bounds)?, k, candidates, call.output("values", values)?, call.output("ids", ids)?, call.output("complete", complete)?, call.workspace(workspace)?))))
}

/// Bytes of workspace that `latens_hyper_search_compressed` asks for. The memory of the tensors is not touched and may be
/// null.
///
/// # Safety
/// Tensors are null or as DLPack says, over memory that is there and that nobody else touches meanwhile; other pointers
/// are null or point at what they should.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latens_hyper_search_compressed_workspace(
    device: *const LatensDevice,
    queries: *const LatensTensor,
    corpus: *const LatensTensor,
    k: usize,
    candidates: usize,
    bytes: *mut usize,
) -> LatensStatus {
    // SAFETY: the caller's promise.
    let entry = unsafe { Entry::new("hyper_search_compressed_workspace", device) };
    entry.run(|call| {
        call.give("bytes", bytes, || {
            Ok(hyper_search_compressed_workspace(
                &call.layout("queries", queries)?,
                &call.layout("corpus", corpus)?,
                k,
                candidates,
                call.device(),
            )?)
        })
    })
}
