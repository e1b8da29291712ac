//! A driver by hand: enough to launch a kernel by name. Tests of the emulator need no more, and see raw error codes.
#![allow(dead_code, unused_imports, reason = "two test programs use different parts")]
use libloading::Library;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;

pub const LAUNCH_FAILED: c_int = 719;
pub const INVALID_VALUE: c_int = 1;

/// A value that a kernel takes.
#[derive(Clone, Copy)]
pub enum Value {
    Memory(u64),
    U32(u32),
}

pub struct Driver {
    pub library: Library,
    module: *mut c_void,
}

/// Call a function of the driver; its code.
macro_rules! call {
    ($driver:expr, $name:ident($($value:expr => $kind:ty),*)) => {{
        // SAFETY: the types are those of the driver API's documentation, and pointers are to live values.
        unsafe {
            let name = concat!(stringify!($name), "\0").as_bytes();
            let function = $driver.library.get::<unsafe extern "C" fn($($kind),*) -> c_int>(name).unwrap();
            function($($value),*)
        }
    }};
}
pub(crate) use call;

impl Driver {
    /// The driver in `library`, with the kernels of `image` (a path, or nothing for the emulator, which has its own).
    pub fn open(library: &str, image: Option<&str>) -> Self {
        // SAFETY: the emulator or the vendor's driver; start-up code only.
        let library = unsafe { Library::new(library) }.unwrap();
        let mut driver = Self { library, module: null_mut() };
        let (mut device, mut context) = (0, null_mut::<c_void>());
        assert_eq!(call!(driver, cuInit(0 => c_uint)), 0);
        assert_eq!(call!(driver, cuDeviceGet(&mut device => &mut c_int, 0 => c_int)), 0);
        assert_eq!(call!(driver, cuDevicePrimaryCtxRetain(&mut context => &mut *mut c_void, device => c_int)), 0);
        assert_eq!(call!(driver, cuCtxSetCurrent(context => *mut c_void)), 0);
        let mut module = null_mut();
        let image = CString::new(image.map_or(Vec::new(), |path| path.into())).unwrap();
        let bytes = if image.is_empty() { vec![0] } else { std::fs::read(image.to_str().unwrap()).unwrap() };
        assert_eq!(call!(driver, cuModuleLoadData(&mut module => &mut *mut c_void, bytes.as_ptr() => *const u8)), 0);
        driver.module = module;
        driver
    }

    /// Device memory with these contents.
    pub fn upload<T: Copy>(&self, from: &[T]) -> u64 {
        let mut address = 0;
        let bytes = size_of_val(from);
        assert_eq!(call!(self, cuMemAlloc_v2(&mut address => &mut u64, bytes => usize)), 0);
        let from = from.as_ptr().cast();
        assert_eq!(call!(self, cuMemcpyHtoD_v2(address => u64, from => *const u8, bytes => usize)), 0);
        address
    }

    pub fn download<T: Copy + Default>(&self, from: u64, count: usize) -> Vec<T> {
        let mut to = vec![T::default(); count];
        let bytes = size_of_val(&to[..]);
        let code = call!(self, cuMemcpyDtoH_v2(to.as_mut_ptr().cast() => *mut u8, from => u64, bytes => usize));
        assert_eq!(code, 0);
        to
    }

    pub fn function(&self, name: &str) -> *mut c_void {
        let (mut function, text) = (null_mut(), CString::new(name).unwrap());
        let text = text.as_ptr();
        let code = call!(self, cuModuleGetFunction(&mut function => &mut *mut c_void, self.module => *mut c_void, text => *const c_char));
        assert_eq!(code, 0, "{name}");
        function
    }

    /// Launch a kernel, and wait: the first code that is not success.
    pub fn launch(&self, name: &str, blocks: u32, threads: u32, shared: u32, values: &[Value]) -> c_int {
        let function = self.function(name);
        let mut pointers: Vec<*const c_void> = values
            .iter()
            .map(|value| match value {
                Value::Memory(address) => (&raw const *address).cast(),
                Value::U32(number) => (&raw const *number).cast(),
            })
            .collect();
        let none = null_mut::<c_void>();
        let code = call!(self, cuLaunchKernel(
            function => *mut c_void, blocks => c_uint, 1 => c_uint, 1 => c_uint, threads => c_uint, 1 => c_uint, 1 => c_uint,
            shared => c_uint, none => *mut c_void, pointers.as_mut_ptr() => *mut *const c_void, none => *mut c_void));
        if code != 0 { code } else { call!(self, cuCtxSynchronize()) }
    }

    /// After a failed launch: use the device again.
    pub fn reset(&self) {
        assert_eq!(call!(self, cuDevicePrimaryCtxReset_v2(0 => c_int)), 0);
    }

    /// The emulator's account of the last failure.
    pub fn report(&self) -> String {
        // SAFETY: the emulator's own function: text that stays until the next failure.
        unsafe {
            let report =
                self.library.get::<unsafe extern "C" fn() -> *const c_char>(b"latens_emulator_report\0").unwrap();
            std::ffi::CStr::from_ptr(report()).to_str().unwrap().to_owned()
        }
    }

    /// The emulator's order of threads.
    pub fn order(&self, order: i32) {
        // SAFETY: the emulator's own function.
        unsafe {
            let set = self.library.get::<unsafe extern "C" fn(c_int)>(b"latens_emulator_order\0").unwrap();
            set(order)
        }
    }
}
