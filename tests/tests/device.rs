//! The device itself: drivers that are missing or useless, memory, copies, graphs.
use latens_cuda::{Buffer, Device};
use latens_kernels::{Error, Layout, Result};
use latens_tests::{devices, skipped};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The GPU of this run, if there is one.
fn gpu() -> Option<Device> {
    devices().into_iter().find_map(|device| match device {
        latens_core::Device::Cuda(gpu) => Some(gpu),
        latens_core::Device::Host => None,
    })
}

/// A library that says it is the driver, made of these lines of C; its folder.
fn false_driver(name: &str, lines: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let (source, library) = (folder.join("cuda.c"), folder.join("libcuda.so"));
    std::fs::write(&source, lines).unwrap();
    let done = Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(library).arg(source).status().unwrap();
    assert!(done.success());
    folder
}

#[test]
fn useless_drivers_are_no_driver() {
    const INIT: &str = "int cuInit(unsigned f) { return 100; }\n";
    let drivers = [
        ("ancient", INIT.to_owned()),
        ("old", format!("{INIT}int cuDriverGetVersion(int* v) {{ *v = 12030; return 0; }}")),
        ("broken", format!("{INIT}int cuDriverGetVersion(int* v) {{ return 999; }}")),
        ("deviceless", format!("{INIT}int cuDriverGetVersion(int* v) {{ *v = 13000; return 0; }}")),
    ];
    for (name, lines) in drivers {
        // A process of its own: a driver is loaded once.
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "a_useless_driver"])
            .env("LD_LIBRARY_PATH", false_driver(name, &lines))
            .output()
            .unwrap();
        assert!(child.status.success(), "{name}: {}", String::from_utf8_lossy(&child.stderr));
    }
}

#[test]
#[ignore = "run by useless_drivers_are_no_driver, which brings the driver"]
fn a_useless_driver() {
    assert_eq!(Device::open(0).err(), Some(Error::NoDriver));
}

/// Every test of this file once more, on a GPU whose driver has no memory pools, as some virtual ones do.
#[test]
fn without_memory_pools() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--skip", "without_memory_pools", "--skip", "useless_drivers"])
        .envs([("LATENS_EMULATOR", "1"), ("LATENS_REQUIRE_CUDA", "1"), ("LATENS_EMULATOR_POOLS", "0")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{text}{}", String::from_utf8_lossy(&child.stderr));
    assert!(text.contains("test facts ... ok"), "{text}");
}

#[test]
fn facts() {
    let Some(gpu) = gpu() else { return };
    assert!(!gpu.name().unwrap().is_empty());
    let (free, all) = gpu.memory_info().unwrap();
    assert!(free <= all && all > 0);
    assert!(matches!(Device::open(1000).err(), Some(Error::Driver { .. } | Error::NoDriver)));
    assert_eq!(gpu.alloc::<f64>(usize::MAX).err(), Some(Error::TooLarge));
    assert!(matches!(gpu.alloc::<u8>(1 << 50).err(), Some(Error::Memory { bytes }) if bytes == 1 << 50));
}

#[test]
fn parts_are_copied() {
    let Some(gpu) = gpu() else { return };
    let mut a = gpu.alloc::<u32>(10).unwrap();
    a.write(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
    a.write_at(8, &[80, 90]).unwrap();
    let mut b = gpu.alloc::<u32>(4).unwrap();
    b.zero().unwrap();
    b.copy_from(1, &a, 7..10).unwrap();
    b.copy_from(4, &a, 3..3).unwrap();
    let mut to = [9; 4];
    b.read(&mut to).unwrap();
    assert_eq!(to, [0, 7, 80, 90]);
    b.read_at(1, &mut to[..2]).unwrap();
    assert_eq!(to, [7, 80, 80, 90]);

    let past = |got| Some(Error::Size { op: "copy", arg: "range", want: 4, got });
    assert_eq!(b.write_at(3, &[1, 2]).err(), past(5));
    assert_eq!(b.read_at(5, &mut []).err(), past(5));
    assert_eq!(b.copy_from(2, &a, 0..3).err(), past(5));
    assert_eq!(b.write_at(usize::MAX, &[1]).err(), Some(Error::TooLarge));
    assert_eq!(b.read(&mut [0; 3]).err(), Some(Error::Size { op: "copy", arg: "slice", want: 4, got: 3 }));
    let other = Device::open(0).unwrap().alloc::<u32>(4).unwrap();
    assert_eq!(b.copy_from(0, &other, 0..4).err(), Some(Error::Device { op: "copy", arg: "from" }));
}

/// The largest of three numbers, as launches over buffers.
struct Call {
    x: Buffer<f32>,
    values: Buffer<f32>,
    indices: Buffer<u32>,
    none: Buffer<u8>,
}

impl Call {
    fn new(gpu: &Device, x: &[f32; 3]) -> Self {
        let mut buffer = gpu.alloc(x.len()).unwrap();
        buffer.write(x).unwrap();
        Self { x: buffer, values: gpu.alloc(1).unwrap(), indices: gpu.alloc(1).unwrap(), none: gpu.alloc(0).unwrap() }
    }

    fn run(&mut self, gpu: &Device) -> Result<()> {
        use latens_kernels::topk;
        let plan = topk::plan(&Layout::packed([1, 3])?, 1)?;
        let (values, indices) = (self.values.span_mut(), self.indices.span_mut());
        gpu.run(&topk::launch(&plan, gpu.chip(), self.x.span(), values, indices, self.none.span_mut())?)
    }

    fn largest(&self) -> f32 {
        let mut to = [0.0];
        self.values.read(&mut to).unwrap();
        to[0]
    }
}

#[test]
fn a_graph_has_several_calls_and_outlives_their_memory() {
    let Some(gpu) = gpu() else { return };
    let (mut first, mut second) = (Call::new(&gpu, &[1.0, 3.0, 2.0]), Call::new(&gpu, &[5.0, 4.0, 6.0]));
    let both = gpu.capture(|| first.run(&gpu).and_then(|()| second.run(&gpu))).unwrap();
    both.replay().unwrap();
    assert_eq!([first.largest(), second.largest()], [3.0, 6.0]);
    first.x.write(&[7.0, 8.0, 9.0]).unwrap();
    both.replay().unwrap();
    assert_eq!([first.largest(), second.largest()], [9.0, 6.0]);
    let (free, _) = gpu.memory_info().unwrap();
    drop((first, second));
    both.replay().unwrap();
    gpu.wait().unwrap();
    drop(both);
    gpu.wait().unwrap();
    assert!(gpu.memory_info().unwrap().0 >= free);
}

#[test]
fn a_capture_that_fails_leaves_no_trace() {
    let Some(gpu) = gpu() else { return };
    let mut call = Call::new(&gpu, &[1.0, 3.0, 2.0]);
    let [mut target, mut other] = [(); 2].map(|()| gpu.alloc::<f32>(3).unwrap());
    let wrong: [&mut dyn FnMut() -> Result<()>; 5] = [
        &mut || gpu.alloc::<u8>(1).map(drop),
        &mut || gpu.wait(),
        &mut || target.write(&[1.0; 3]),
        &mut || other.zero(),
        &mut || gpu.capture(|| Ok(())).map(drop),
    ];
    for work in wrong {
        assert_eq!(gpu.capture(work).err(), Some(Error::Capture));
        gpu.wait().unwrap();
    }
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        gpu.capture(|| {
            call.run(&gpu)?;
            panic!("on purpose")
        })
    }));
    assert!(panicked.is_err());
    call.run(&gpu).unwrap();
    assert_eq!(call.largest(), 3.0);
}

#[test]
fn a_capture_is_of_one_thread() {
    let Some(gpu) = gpu() else { return };
    let (mut mine, mut theirs) = (Call::new(&gpu, &[1.0, 3.0, 2.0]), Call::new(&gpu, &[5.0, 4.0, 6.0]));
    let graph = gpu.capture(|| {
        let other = std::thread::scope(|scope| scope.spawn(|| theirs.run(&gpu)).join().unwrap());
        assert_eq!(other, Err(Error::Capture));
        mine.run(&gpu)
    });
    graph.unwrap().replay().unwrap();
    assert_eq!(mine.largest(), 3.0);
}

#[test]
fn memory_dropped_during_a_capture_is_freed_after_it() {
    let Some(gpu) = gpu() else { return };
    let mut call = Call::new(&gpu, &[1.0, 3.0, 2.0]);
    let spare = gpu.alloc::<f32>(1000).unwrap();
    let graph = gpu.capture(|| {
        drop(spare);
        call.run(&gpu)
    });
    graph.unwrap().replay().unwrap();
    assert_eq!(call.largest(), 3.0);
}

/// The caller's stream, here the default one.
#[test]
fn an_adopted_device_works() {
    if gpu().is_none() {
        return skipped("no device to adopt");
    }
    // SAFETY: the default stream lives as long as the context.
    let adopted = unsafe { Device::adopt(0, std::ptr::null_mut()) }.unwrap();
    let mut call = Call::new(&adopted, &[1.0, 3.0, 2.0]);
    call.run(&adopted).unwrap();
    assert_eq!(call.largest(), 3.0);
}
