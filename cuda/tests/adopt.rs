//! A context that the caller made, on the emulator: a device works in it, on every thread, and never destroys it.
use cudarc::driver::{result, sys};
use latens_cuda::Device;
use latens_kernels::{Layout, topk};
use std::ffi::c_void;
use std::ptr::null_mut;

/// A context and a stream of it, as a program has them that owns a CUDA runtime.
fn context() -> (sys::CUcontext, sys::CUstream) {
    let (mut context, mut stream) = (null_mut(), null_mut());
    result::init().unwrap();
    // SAFETY: valid places for both; the context is current when the stream is made.
    unsafe {
        sys::cuCtxCreate_v4(&mut context, null_mut(), 0, 0).result().unwrap();
        sys::cuStreamCreate(&mut stream, 0).result().unwrap();
    }
    (context, stream)
}

/// The context of this thread.
fn current() -> sys::CUcontext {
    let mut context = null_mut();
    // SAFETY: a valid place.
    unsafe { sys::cuCtxGetCurrent(&mut context).result().unwrap() };
    context
}

/// The largest of three numbers, found on `device`.
fn largest(device: &Device) -> (f32, u32) {
    let [mut x, mut values] = [3, 1].map(|len| device.alloc::<f32>(len).unwrap());
    let (mut indices, mut none) = (device.alloc::<u32>(1).unwrap(), device.alloc::<u8>(0).unwrap());
    x.write(&[1.0, 3.0, 2.0]).unwrap();
    let plan = topk::plan(&Layout::packed([1, 3]).unwrap(), 1).unwrap();
    let (to, at) = (values.span_mut(), indices.span_mut());
    let launches = topk::launch(&plan, device.chip(), x.span(), to, at, none.span_mut()).unwrap();
    device.run(&launches).unwrap();
    let (mut value, mut index) = ([0.0], [9]);
    values.read(&mut value).unwrap();
    indices.read(&mut index).unwrap();
    (value[0], index[0])
}

#[test]
fn a_context_of_the_caller() {
    latens_emulator::start();
    let (context, stream) = context();
    // SAFETY: both outlive the device: the context is destroyed at the end of this test.
    let device = unsafe { Device::adopt_context(0, context.cast::<c_void>(), stream.cast()) }.unwrap();
    assert_eq!(largest(&device), (3.0, 1));
    assert_eq!(current(), context);
    // Another thread has no context until a call makes this one current there.
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            assert!(current().is_null());
            (largest(&device), current() as usize)
        });
        assert_eq!(work.join().unwrap(), ((3.0, 1), context as usize));
    });
    // The primary context is another one, and its memory is of another device.
    let primary = Device::open(0).unwrap();
    assert_eq!(largest(&primary), (3.0, 1));
    assert!(current() != context && primary.id() != device.id());
    drop(device);
    // SAFETY: nothing uses the context any more. Had the device destroyed it, this would be an error.
    unsafe { sys::cuCtxDestroy_v2(context).result().unwrap() };
}
