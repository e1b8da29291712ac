use crate::buffer::Memory;
use crate::graph::Recording;
use crate::{driver, held, probe};
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, result, sys};
use latens_kernels::{Arg, Chip, Error, Launch, Result};
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use sys::CUdevice_attribute_enum as Attribute;

/// The static shared memory that a kernel may declare; the rest of a block's memory is dynamic.
const STATIC: u32 = 1024;

/// One context and one stream. All work on its memory is ordered on that stream.
#[derive(Clone)]
pub struct Device(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: u64,
    pub(crate) stream: Arc<CudaStream>,
    /// Whether the device allocates in stream order.
    pub(crate) pools: bool,
    chip: Chip,
    modules: Mutex<HashMap<&'static str, Arc<CudaModule>>>,
    functions: Mutex<HashMap<(&'static str, &'static str), CudaFunction>>,
    /// Memory of ours by address.
    pub(crate) live: Mutex<BTreeMap<u64, Weak<Memory>>>,
    /// The capture under way. Held while anything is put on the stream, so that nothing slips into a capture.
    pub(crate) recording: Mutex<Option<Recording>>,
}

impl Device {
    /// GPU `ordinal`, on a stream of its own. Memory that is freed stays with the process for the next allocation.
    ///
    /// # Errors
    /// [`Error::NoDriver`] if this machine cannot run CUDA: a reason to stay on the CPU, not a failure.
    pub fn open(ordinal: usize) -> Result<Self> {
        let context = probe::primary(ordinal)?;
        let stream = context.new_stream().map_err(driver("cuStreamCreate"))?;
        let device = Self::with(&context, stream)?;
        device.keep_freed_memory()?;
        Ok(device)
    }

    /// GPU `ordinal`, on a stream of the caller; null is the default stream.
    ///
    /// # Errors
    /// As [`Device::open`].
    ///
    /// # Safety
    /// `stream` belongs to the primary context of `ordinal` and outlives every clone of the device and its memory.
    pub unsafe fn adopt(ordinal: usize, stream: *mut c_void) -> Result<Self> {
        let context = probe::primary(ordinal)?;
        // SAFETY: the caller's promise.
        let stream = unsafe { context.wrap_borrowed_stream(stream.cast()) };
        Self::with(&context, stream)
    }

    /// [`Device::adopt`] for a context that is not the primary one. Calls on the device make it the current context of
    /// their thread.
    ///
    /// # Errors
    /// As [`Device::open`].
    ///
    /// # Safety
    /// `context` is a `CUcontext` of `ordinal`, `stream` belongs to it, and both outlive every clone of the device and
    /// its memory.
    pub unsafe fn adopt_context(ordinal: usize, context: *mut c_void, stream: *mut c_void) -> Result<Self> {
        // SAFETY: the caller's promise.
        let (context, stream) = unsafe {
            let context = probe::borrowed(ordinal, context)?;
            let stream = context.wrap_borrowed_stream(stream.cast());
            (context, stream)
        };
        Self::with(&context, stream)
    }

    fn with(context: &Arc<CudaContext>, stream: Arc<CudaStream>) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let get = |a| context.attribute(a).map(|v| v as u32).map_err(driver("cuDeviceGetAttribute"));
        let chip = Chip {
            capability: (
                get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            multiprocessors: get(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            shared: get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?.saturating_sub(STATIC),
        };
        let pools = get(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? != 0;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (modules, functions) = Default::default();
        let (live, recording) = Default::default();
        Ok(Self(Arc::new(Inner { id, stream, pools, chip, modules, functions, live, recording })))
    }

    /// By default the driver gives all unused memory of the pool back at every wait, and each step would ask for it anew.
    /// An adopted device leaves the pool as its owner has set it.
    fn keep_freed_memory(&self) -> Result<()> {
        if !self.0.pools {
            return Ok(());
        }
        let mut threshold = u64::MAX;
        let name = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: a device with pools has a default one, and this attribute is a u64.
        unsafe {
            result::device::get_default_mem_pool(self.0.stream.context().cu_device())
                .and_then(|pool| result::mem_pool::set_attribute(pool, name, (&raw mut threshold).cast()))
        }
        .map_err(driver("cuMemPoolSetAttribute"))
    }

    /// What launch geometry may depend on.
    pub fn chip(&self) -> &Chip {
        &self.0.chip
    }

    /// The number that spans of this device's memory carry.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The product name of the GPU.
    pub fn name(&self) -> Result<String> {
        self.0.stream.context().name().map_err(driver("cuDeviceGetName"))
    }

    /// Bytes of device memory: free, and in all. What the pool keeps for reuse does not count as free.
    pub fn memory_info(&self) -> Result<(usize, usize)> {
        self.0.stream.context().mem_get_info().map_err(driver("cuMemGetInfo"))
    }

    /// Make the context current on this thread.
    pub(crate) fn bind(&self) -> Result<()> {
        self.0.stream.context().bind_to_thread().map_err(driver("cuCtxSetCurrent"))
    }

    /// Put the launches of one operation on the stream, in order. Nothing waits.
    ///
    /// # Errors
    /// [`Error::Device`] if their memory is of another device, [`Error::Capture`] if another thread captures this
    /// device; else what the driver says.
    pub fn run(&self, launches: &[Launch<'_>]) -> Result<()> {
        self.bind()?;
        launches.iter().filter(|launch| !launch.grid().contains(&0)).try_for_each(|launch| self.enqueue(launch))
    }

    fn enqueue(&self, launch: &Launch<'_>) -> Result<()> {
        if launch.device().is_some_and(|id| id != self.0.id) {
            return Err(Error::Device { op: launch.image().name, arg: launch.entry().0 });
        }
        let function = self.function(launch)?;
        let [x, y, z] = launch.grid();
        let mut args = [std::ptr::null_mut(); Launch::ARGS];
        args.iter_mut().zip(launch.args()).for_each(|(to, arg)| *to = slot(arg).0.cast_mut());
        let _held = self.record(launch)?;
        // SAFETY: `function` took as many arguments of these sizes when it was loaded. Only a family makes a launch,
        // from spans whose lengths it checked against its plan, and its kernel touches no more than that; the spans
        // were promised to be memory of this device (`Span::new`), and are borrowed until the work is ordered on the
        // stream that also frees them. A graph that records it owns a share of them.
        unsafe {
            result::launch_kernel(
                function.cu_function(),
                (x, y, z),
                (launch.block(), 1, 1),
                launch.shared(),
                self.0.stream.cu_stream(),
                &mut args,
            )
        }
        .map_err(driver("cuLaunchKernel"))
    }

    /// The kernel of `launch`, loaded at its first use.
    fn function(&self, launch: &Launch<'_>) -> Result<CudaFunction> {
        let entry = launch.entry();
        let mut functions = held(&self.0.functions);
        if let Some(function) = functions.get(&entry) {
            return Ok(function.clone());
        }
        let function = self
            .module(launch)?
            .load_function(&format!("{}_{}", entry.0, entry.1))
            .map_err(driver("cuModuleGetFunction"))?;
        same_signature(&function, launch.args())?;
        let dynamic = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(dynamic, self.0.chip.shared as i32).map_err(driver("cuFuncSetAttribute"))?;
        functions.insert(entry, function.clone());
        Ok(function)
    }

    fn module(&self, launch: &Launch<'_>) -> Result<Arc<CudaModule>> {
        let (image, mut modules) = (launch.image(), held(&self.0.modules));
        if let Some(module) = modules.get(image.name) {
            return Ok(module.clone());
        }
        let binary = cudarc::nvrtc::Ptx::from_binary(image.bytes.to_vec());
        let module = self.0.stream.context().load_module(binary).map_err(driver("cuModuleLoadData"))?;
        modules.insert(image.name, module.clone());
        Ok(module)
    }
}

/// Where the driver finds an argument, and how long it is.
pub(crate) fn slot(arg: &Arg) -> (*const c_void, usize) {
    match arg {
        Arg::U32(number) => ((&raw const *number).cast(), 4),
        Arg::F32(number) => ((&raw const *number).cast(), 4),
        Arg::U64(number) | Arg::Memory(number) => ((&raw const *number).cast(), 8),
    }
}

/// Whether the kernel takes arguments of these sizes: a launch file and its `.cu` that disagree are caught at load.
fn same_signature(function: &CudaFunction, args: &[Arg]) -> Result<()> {
    let size = |i| {
        let (mut offset, mut size) = (0, 0);
        // SAFETY: a loaded function and two valid pointers; past the last parameter the call fails.
        let asked = unsafe { sys::cuFuncGetParamInfo(function.cu_function(), i, &mut offset, &mut size) };
        (asked == sys::CUresult::CUDA_SUCCESS).then_some(size)
    };
    if (0..).map_while(size).eq(args.iter().map(|arg| slot(arg).1)) {
        return Ok(());
    }
    Err(Error::Driver { call: "cuFuncGetParamInfo", code: sys::CUresult::CUDA_ERROR_INVALID_IMAGE as i32 })
}
