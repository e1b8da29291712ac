use crate::{buffer::Memory, driver};
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, result, sys};
use latens_kernels::{Arg, Chip, Error, Launch, Result};
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicU64, Ordering},
};

/// The static shared memory that a kernel may declare; the rest of a block's memory is dynamic.
const STATIC: u32 = 1024;

/// One context and one stream. All work on its memory is ordered on that stream.
#[derive(Clone)]
pub struct Device(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: u64,
    pub(crate) stream: Arc<CudaStream>,
    chip: Chip,
    modules: Mutex<HashMap<&'static str, Arc<CudaModule>>>,
    functions: Mutex<HashMap<(&'static str, &'static str), CudaFunction>>,
    /// Memory of ours by address, and what a capture under way must keep alive.
    pub(crate) live: Mutex<BTreeMap<u64, Weak<Memory>>>,
    pub(crate) capture: Mutex<Option<Vec<Arc<Memory>>>>,
}

impl Device {
    /// GPU `ordinal`, on a stream of its own.
    ///
    /// # Errors
    /// [`Error::NoDriver`] if this machine cannot run CUDA: a reason to stay on the CPU, not a failure.
    pub fn open(ordinal: usize) -> Result<Self> {
        let context = context(ordinal)?;
        let stream = context.new_stream().map_err(driver("cuStreamCreate"))?;
        Self::with(&context, stream)
    }

    /// GPU `ordinal`, on a stream of the caller; null is the default stream.
    ///
    /// # Safety
    /// `stream` belongs to the primary context of `ordinal` and outlives every clone of the device and its memory.
    pub unsafe fn adopt(ordinal: usize, stream: *mut c_void) -> Result<Self> {
        let context = context(ordinal)?;
        // SAFETY: the caller's promise.
        let stream = unsafe { context.wrap_borrowed_stream(stream.cast()) };
        Self::with(&context, stream)
    }

    fn with(context: &Arc<CudaContext>, stream: Arc<CudaStream>) -> Result<Self> {
        use sys::CUdevice_attribute_enum as Attribute;
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
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (modules, functions) = Default::default();
        let (live, capture) = Default::default();
        Ok(Self(Arc::new(Inner { id, stream, chip, modules, functions, live, capture })))
    }

    /// What launch geometry may depend on.
    pub fn chip(&self) -> &Chip {
        &self.0.chip
    }

    /// The number that spans of this device's memory carry.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Put the launches of one operation on the stream, in order. Nothing waits.
    ///
    /// # Errors
    /// [`Error::Device`] if their memory is of another device; else what the driver says.
    pub fn run(&self, launches: &[Launch<'_>]) -> Result<()> {
        self.0.stream.context().bind_to_thread().map_err(driver("cuCtxSetCurrent"))?;
        launches.iter().filter(|launch| !launch.grid().contains(&0)).try_for_each(|launch| self.enqueue(launch))
    }

    fn enqueue(&self, launch: &Launch<'_>) -> Result<()> {
        if launch.device().is_some_and(|id| id != self.0.id) {
            return Err(Error::Device { op: launch.image().name, arg: launch.entry().0 });
        }
        let function = self.function(launch)?;
        self.keep(launch)?;
        let [x, y, z] = launch.grid();
        let mut args = [std::ptr::null_mut(); Launch::ARGS];
        args.iter_mut().zip(launch.args()).for_each(|(to, arg)| *to = slot(arg).0.cast_mut());
        // SAFETY: `function` took as many arguments of these sizes when it was loaded. Only a family makes a launch, from spans whose lengths it
        // checked against its plan, and its kernel touches no more than that; the spans were promised to be memory of
        // this device (`Span::new`), and are borrowed until the work is ordered on the stream that also frees them.
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
        let mut functions = self.0.functions.lock().unwrap();
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
        let (image, mut modules) = (launch.image(), self.0.modules.lock().unwrap());
        if let Some(module) = modules.get(image.name) {
            return Ok(module.clone());
        }
        let binary = cudarc::nvrtc::Ptx::from_binary(image.bytes.to_vec());
        let module = self.0.stream.context().load_module(binary).map_err(driver("cuModuleLoadData"))?;
        modules.insert(image.name, module.clone());
        Ok(module)
    }
}

/// The primary context, without the panic that cudarc raises where there is no driver.
fn context(ordinal: usize) -> Result<Arc<CudaContext>> {
    let mut version = 0;
    // SAFETY: loading libcuda runs the vendor's code only; every libcuda has cuDriverGetVersion, which needs no cuInit.
    let asked =
        unsafe { sys::is_culib_present() && sys::cuDriverGetVersion(&mut version) == sys::CUresult::CUDA_SUCCESS };
    if !asked || version < 12_040 {
        return Err(Error::NoDriver);
    }
    let context = CudaContext::new(ordinal).map_err(driver("cuDevicePrimaryCtxRetain"))?;
    // SAFETY: memory of a device is used on its one stream only, which `run` and the copies check or own.
    unsafe { context.disable_event_tracking() };
    Ok(context)
}

/// Where the driver finds an argument, and how long it is.
fn slot(arg: &Arg) -> (*const c_void, usize) {
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
