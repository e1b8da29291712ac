//! Top-k on buffers and a stream of cust: `cargo run -p latens-cuda --features cust --example cust`. `LATENS_EMULATOR=1`
//! runs it without a GPU.
use cust::memory::{CopyDestination, DeviceBuffer};
use cust::stream::{Stream, StreamFlags};
use latens_cuda::cust::{adopt, span, span_mut, start};
use latens_kernels::{Error, Layout, topk};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::var_os("LATENS_EMULATOR").is_some_and(|value| value == "1") {
        latens_emulator::start();
    }
    let _context = match start() {
        Err(Error::NoDriver) => {
            println!("{}", Error::NoDriver);
            return Ok(());
        }
        context => context?,
    };
    let stream = Stream::new(StreamFlags::NON_BLOCKING, None)?;
    // SAFETY: the stream is dropped last.
    let device = unsafe { adopt(0, &stream)? };

    let x = DeviceBuffer::from_slice(&[1.0_f32, 7.0, 3.0, 7.0, 5.0, 9.0, 2.0, 0.0])?;
    let mut values = DeviceBuffer::from_slice(&[0.0_f32; 4])?;
    let mut indices = DeviceBuffer::from_slice(&[0_u32; 4])?;
    let mut workspace = device.alloc(0)?;
    let plan = topk::plan(&Layout::packed([2, 4])?, 2)?;
    let (into_values, into_indices) = (span_mut(&device, &mut values), span_mut(&device, &mut indices));
    let launches =
        topk::launch(&plan, device.chip(), span(&device, &x), into_values, into_indices, workspace.span_mut())?;
    device.run(&launches)?;
    stream.synchronize()?;

    let (mut largest, mut at) = ([0.0; 4], [0; 4]);
    values.copy_to(&mut largest)?;
    indices.copy_to(&mut at)?;
    println!("{largest:?} at {at:?}");
    assert_eq!((largest, at), ([7.0, 7.0, 9.0, 5.0], [1, 3, 1, 0]));
    Ok(())
}
