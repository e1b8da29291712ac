//! The driver functions that cust links to, as jumps through pointers that are filled from the driver at run time. So a
//! program with cust starts on machines without a driver.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What an absent function answers: CUDA_ERROR_SHARED_OBJECT_INIT_FAILED.
unsafe extern "C" fn missing() -> i32 {
    303
}

/// Find the driver; whether there is one. To be called before anything of cust.
pub(super) fn load() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        if crate::probe::ready().is_err() {
            return false;
        }
        // SAFETY: `ready` loaded the library for good; the pointers are called with the types that cust declares.
        let library = unsafe { cudarc::driver::sys::culib() };
        for (name, pointer) in TABLE {
            // SAFETY: as above.
            if let Ok(symbol) = unsafe { library.get::<*mut ()>(name.as_bytes()) } {
                pointer.store(*symbol, Ordering::Release);
            }
        }
        true
    })
}

macro_rules! jumps {
    ($($name:ident)*) => {
        #[allow(non_upper_case_globals)]
        mod pointer {
            use super::*;
            $(pub static $name: AtomicPtr<()> = AtomicPtr::new(missing as *mut ());)*
        }
        pub(super) static TABLE: &[(&str, &AtomicPtr<()>)] = &[$((stringify!($name), &pointer::$name)),*];
        $(
            // SAFETY: the one definition of this name in programs that take the driver from here; it leaves every
            // register and the stack as they are for the function that it jumps to.
            #[unsafe(no_mangle)]
            #[unsafe(naked)]
            unsafe extern "C" fn $name() -> i32 {
                core::arch::naked_asm!("jmp qword ptr [rip + {p}]", p = sym pointer::$name)
            }
        )*
    };
}
#[cfg(not(target_arch = "x86_64"))]
compile_error!("the feature cust is written for x86-64 only");

#[allow(non_snake_case)]
mod functions {
    use super::*;
    jumps! {
        cuArray3DCreate_v2 cuArray3DGetDescriptor_v2 cuArrayDestroy cuCtxCreate_v2 cuCtxDestroy_v2
        cuCtxGetApiVersion cuCtxGetCacheConfig cuCtxGetCurrent cuCtxGetDevice cuCtxGetFlags cuCtxGetLimit
        cuCtxGetSharedMemConfig cuCtxGetStreamPriorityRange cuCtxPopCurrent_v2 cuCtxPushCurrent_v2
        cuCtxSetCacheConfig cuCtxSetCurrent cuCtxSetLimit cuCtxSetSharedMemConfig cuCtxSynchronize
        cuDestroyExternalMemory cuDeviceGet cuDeviceGetAttribute cuDeviceGetCount cuDeviceGetName
        cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxReset_v2 cuDevicePrimaryCtxRetain
        cuDevicePrimaryCtxSetFlags_v2 cuDeviceTotalMem_v2 cuDriverGetVersion cuEventCreate cuEventDestroy_v2
        cuEventElapsedTime cuEventQuery cuEventRecord cuEventSynchronize cuExternalMemoryGetMappedBuffer
        cuFuncGetAttribute cuFuncSetCacheConfig cuFuncSetSharedMemConfig cuGetErrorString cuGraphAddKernelNode
        cuGraphCreate cuGraphDebugDotPrint cuGraphDestroy cuGraphGetEdges cuGraphGetNodes
        cuGraphKernelNodeGetParams cuGraphNodeGetType cuImportExternalMemory cuInit cuLaunchHostFunc
        cuLaunchKernel cuLinkAddData_v2 cuLinkComplete cuLinkCreate_v2 cuLinkDestroy cuMemAdvise cuMemAllocAsync
        cuMemAllocHost_v2 cuMemAllocManaged cuMemAlloc_v2 cuMemFreeAsync cuMemFreeHost cuMemFree_v2
        cuMemGetInfo_v2 cuMemPrefetchAsync cuMemcpy2D_v2 cuMemcpyAtoH_v2 cuMemcpyDtoDAsync_v2 cuMemcpyDtoD_v2
        cuMemcpyDtoHAsync_v2 cuMemcpyDtoH_v2 cuMemcpyHtoA_v2 cuMemcpyHtoDAsync_v2 cuMemcpyHtoD_v2
        cuMemsetD16Async cuMemsetD16_v2 cuMemsetD32Async cuMemsetD32_v2 cuMemsetD8Async cuMemsetD8_v2
        cuModuleGetFunction cuModuleGetGlobal_v2 cuModuleLoad cuModuleLoadData cuModuleLoadDataEx cuModuleUnload
        cuOccupancyAvailableDynamicSMemPerBlock cuOccupancyMaxActiveBlocksPerMultiprocessor
        cuOccupancyMaxPotentialBlockSize cuStreamCreateWithPriority cuStreamDestroy_v2 cuStreamGetFlags
        cuStreamGetPriority cuStreamSynchronize cuStreamWaitEvent cuSurfObjectCreate cuSurfObjectDestroy
        cuSurfObjectGetResourceDesc cuTexObjectCreate cuTexObjectDestroy cuTexObjectGetResourceDesc
        cuTexObjectGetResourceViewDesc
    }
}
use functions::TABLE;
