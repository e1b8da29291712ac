use crate::{Accumulate, AdamW, Data, DataMut, Signum, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::optim::Arrays;
use latens_kernels::{
    Result,
    optim::{self, adamw8, clip, signum},
};

/// A step of every entry of `w`, in place: see [`latens_kernels::optim`].
pub fn adamw_into<const R: usize>(
    w: ViewMut<'_, f32, R>,
    g: View<'_, f32, R>,
    m: ViewMut<'_, f32, R>,
    v: ViewMut<'_, f32, R>,
    adamw: &AdamW,
) -> Result<()> {
    let p = optim::plan(&w.layout(), &g.layout(), &m.layout(), &v.layout(), adamw)?;
    match w.data() {
        DataMut::Host(w) => {
            let (g, m, v) = slices("adamw", g, m, v)?;
            latens_cpu::optim::adamw(&p, w, g, m, v);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, w) => {
            device.run(&optim::launch(&p, device.chip(), arrays(device, "adamw", w, g, m, v)?)?)?;
        }
    }
    Ok(())
}

/// A step of the rows of a decoder, in place: each loses the part of its gradient along itself, steps, and is made of
/// length one again. See [`latens_kernels::optim`].
pub fn decoder_step_into(
    w_dec: ViewMut<'_, f32, 2>,
    g: View<'_, f32, 2>,
    m: ViewMut<'_, f32, 2>,
    v: ViewMut<'_, f32, 2>,
    adamw: &AdamW,
) -> Result<()> {
    let p = optim::plan_decoder(&w_dec.layout(), &g.layout(), &m.layout(), &v.layout(), adamw)?;
    match w_dec.data() {
        DataMut::Host(w) => {
            let (g, m, v) = slices("decoder_step", g, m, v)?;
            latens_cpu::optim::decoder_step(&p, w, g, m, v);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, w) => {
            device.run(&optim::launch_decoder(&p, device.chip(), arrays(device, "decoder_step", w, g, m, v)?)?)?;
        }
    }
    Ok(())
}

/// [`adamw_into`] with the rates of row `at` of `schedule`, which is a row of [`AdamW::row`] for each step: a captured
/// call can be replayed as the next step, after [`advance_into`].
pub fn adamw_scheduled_into<const R: usize>(
    w: ViewMut<'_, f32, R>,
    g: View<'_, f32, R>,
    m: ViewMut<'_, f32, R>,
    v: ViewMut<'_, f32, R>,
    schedule: View<'_, f32, 2>,
    at: View<'_, u32, 1>,
) -> Result<()> {
    const OP: &str = "adamw";
    let (rows, counter) = (schedule.layout(), at.layout());
    let p = optim::plan_scheduled(&w.layout(), &g.layout(), &m.layout(), &v.layout(), &rows, &counter)?;
    match w.data() {
        DataMut::Host(w) => {
            let p = p.now(schedule.host(OP, "schedule")?, at.host(OP, "at")?);
            let (g, m, v) = slices(OP, g, m, v)?;
            latens_cpu::optim::adamw(&p, w, g, m, v);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, w) => {
            let (schedule, at) = (schedule.cuda(device, OP, "schedule")?, at.cuda(device, OP, "at")?);
            let arrays = arrays(device, OP, w, g, m, v)?;
            device.run(&optim::launch_scheduled(&p, device.chip(), arrays, schedule, at)?)?;
        }
    }
    Ok(())
}

/// [`decoder_step_into`] with the rates of row `at` of `schedule`, as [`adamw_scheduled_into`].
pub fn decoder_step_scheduled_into(
    w_dec: ViewMut<'_, f32, 2>,
    g: View<'_, f32, 2>,
    m: ViewMut<'_, f32, 2>,
    v: ViewMut<'_, f32, 2>,
    schedule: View<'_, f32, 2>,
    at: View<'_, u32, 1>,
) -> Result<()> {
    const OP: &str = "decoder_step";
    let (rows, counter) = (schedule.layout(), at.layout());
    let p = optim::plan_decoder_scheduled(&w_dec.layout(), &g.layout(), &m.layout(), &v.layout(), &rows, &counter)?;
    match w_dec.data() {
        DataMut::Host(w) => {
            let p = p.now(schedule.host(OP, "schedule")?, at.host(OP, "at")?);
            let (g, m, v) = slices(OP, g, m, v)?;
            latens_cpu::optim::decoder_step(&p, w, g, m, v);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, w) => {
            let (schedule, at) = (schedule.cuda(device, OP, "schedule")?, at.cuda(device, OP, "at")?);
            let arrays = arrays(device, OP, w, g, m, v)?;
            device.run(&optim::launch_decoder_scheduled(&p, device.chip(), arrays, schedule, at)?)?;
        }
    }
    Ok(())
}

/// [`adamw_into`] with averages of 8 bits: `m` and `v` are codes, `scales` `[blocks, 2]` those of each block of `block`
/// entries, all zero before the first step. See [`latens_kernels::optim::adamw8`](mod@latens_kernels::optim::adamw8).
pub fn adamw8_into<const R: usize>(
    w: ViewMut<'_, f32, R>,
    g: View<'_, f32, R>,
    m: ViewMut<'_, u8, R>,
    v: ViewMut<'_, u8, R>,
    scales: ViewMut<'_, f32, 2>,
    block: usize,
    adamw: &AdamW,
) -> Result<()> {
    const OP: &str = "adamw8";
    let layouts = [w.layout(), g.layout(), m.layout(), v.layout()];
    let p = adamw8::plan(&layouts[0], &layouts[1], &layouts[2], &layouts[3], &scales.layout(), block, adamw)?;
    let (m, v, scales) = (m.data(), v.data(), scales.data());
    match w.data() {
        DataMut::Host(w) => {
            let (m, v, scales) = (m.host(OP, "m")?, v.host(OP, "v")?, scales.host(OP, "scales")?);
            latens_cpu::optim::adamw8(&p, w, g.host(OP, "g")?, m, v, scales);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, w) => {
            let (m, v) = (m.cuda(device, OP, "m")?, v.cuda(device, OP, "v")?);
            let (g, scales) = (g.cuda(device, OP, "g")?, scales.cuda(device, OP, "scales")?);
            device.run(&optim::launch_adamw8(&p, device.chip(), w, g, m, v, scales)?)?;
        }
    }
    Ok(())
}

/// A step of every entry of `w` along the sign of `m`, the moving average of its gradient, in place: see
/// [`latens_kernels::optim::signum`](mod@latens_kernels::optim::signum).
pub fn signum_into<const R: usize>(
    w: ViewMut<'_, f32, R>,
    g: View<'_, f32, R>,
    m: ViewMut<'_, f32, R>,
    rates: &Signum,
) -> Result<()> {
    const OP: &str = "signum";
    let p = signum::plan(&w.layout(), &g.layout(), &m.layout(), rates)?;
    match w.data() {
        DataMut::Host(w) => latens_cpu::optim::signum(&p, w, g.host(OP, "g")?, m.data().host(OP, "m")?),
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, w) => {
            let (g, m) = (g.cuda(device, OP, "g")?, m.data().cuda(device, OP, "m")?);
            device.run(&optim::launch_signum(&p, device.chip(), w, g, m)?)?;
        }
    }
    Ok(())
}

/// Add one to the counter of a schedule.
pub fn advance_into(at: ViewMut<'_, u32, 1>) -> Result<()> {
    optim::plan_advance(&at.layout())?;
    match at.packed("advance", "at", [1])? {
        DataMut::Host(at) => optim::advance(at),
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, at) => device.run(&optim::launch_advance(device.chip(), at)?)?,
    }
    Ok(())
}

/// Partial sums of the squares of `g`, a part of a gradient: replace or join those of other parts. Then
/// [`clip_scale_into`] for each. `squares` has [`clip::PARTS`] entries. See [`latens_kernels::optim::clip`].
pub fn clip_squares_into<const R: usize>(
    g: View<'_, f32, R>,
    accumulate: Accumulate,
    squares: ViewMut<'_, f32, 1>,
) -> Result<()> {
    const OP: &str = "clip_squares";
    let p = clip::plan_squares(&g.layout(), &squares.layout(), accumulate)?;
    let squares = squares.packed(OP, "squares", [clip::PARTS])?;
    match g.data() {
        Data::Host(g) => latens_cpu::optim::clip_squares(&p, g, squares.host(OP, "squares")?),
        #[cfg(feature = "cuda")]
        Data::Cuda(device, g) => {
            let squares = squares.cuda(device, OP, "squares")?;
            device.run(&optim::launch_squares(&p, device.chip(), g, squares)?)?;
        }
    }
    Ok(())
}

/// Shorten `g`, a part of a gradient, by what brings the whole to length `most`, if it is longer: see
/// [`clip_squares_into`].
pub fn clip_scale_into<const R: usize>(squares: View<'_, f32, 1>, most: f32, g: ViewMut<'_, f32, R>) -> Result<()> {
    const OP: &str = "clip_scale";
    let p = clip::plan_scale(&g.layout(), &squares.layout(), most)?;
    match g.data() {
        DataMut::Host(g) => latens_cpu::optim::clip_scale(&p, squares.host(OP, "squares")?, g),
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, g) => {
            let squares = squares.cuda(device, OP, "squares")?;
            device.run(&optim::launch_scale(&p, device.chip(), squares, g)?)?;
        }
    }
    Ok(())
}

type Slices<'a> = (&'a [f32], &'a mut [f32], &'a mut [f32]);

/// What a step reads and writes besides `w`, on the host.
fn slices<'a, const R: usize>(
    op: &'static str,
    g: View<'a, f32, R>,
    m: ViewMut<'a, f32, R>,
    v: ViewMut<'a, f32, R>,
) -> Result<Slices<'a>> {
    Ok((g.host(op, "g")?, m.data().host(op, "m")?, v.data().host(op, "v")?))
}

/// All that a step reads and writes, on `device`.
#[cfg(feature = "cuda")]
fn arrays<'a, const R: usize>(
    device: &latens_cuda::Device,
    op: &'static str,
    w: latens_kernels::SpanMut<'a, f32>,
    g: View<'a, f32, R>,
    m: ViewMut<'a, f32, R>,
    v: ViewMut<'a, f32, R>,
) -> Result<Arrays<'a>> {
    let (m, v) = (m.data().cuda(device, op, "m")?, v.data().cuda(device, op, "v")?);
    Ok(Arrays { w, g: g.cuda(device, op, "g")?, m, v })
}
