use crate::{AdamW, DataMut, View, ViewMut};
use latens_kernels::{Result, optim};

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
            let (m, v) = (m.data().host("adamw", "m")?, v.data().host("adamw", "v")?);
            latens_cpu::optim::adamw(&p, w, g.host("adamw", "g")?, m, v);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, w) => {
            let g = g.cuda(device, "adamw", "g")?;
            let (m, v) = (m.data().cuda(device, "adamw", "m")?, v.data().cuda(device, "adamw", "v")?);
            device.run(&optim::launch(&p, device.chip(), w, g, m, v)?)?;
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
            let (m, v) = (m.data().host("decoder_step", "m")?, v.data().host("decoder_step", "v")?);
            latens_cpu::optim::decoder_step(&p, w, g.host("decoder_step", "g")?, m, v);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, w) => {
            let g = g.cuda(device, "decoder_step", "g")?;
            let (m, v) = (m.data().cuda(device, "decoder_step", "m")?, v.data().cuda(device, "decoder_step", "v")?);
            device.run(&optim::launch_decoder(&p, device.chip(), w, g, m, v)?)?;
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
            let (m, v) = (m.data().host(OP, "m")?, v.data().host(OP, "v")?);
            latens_cpu::optim::adamw(&p, w, g.host(OP, "g")?, m, v);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, w) => {
            let (schedule, at) = (schedule.cuda(device, OP, "schedule")?, at.cuda(device, OP, "at")?);
            let (m, v) = (m.data().cuda(device, OP, "m")?, v.data().cuda(device, OP, "v")?);
            let g = g.cuda(device, OP, "g")?;
            device.run(&optim::launch_scheduled(&p, device.chip(), w, g, m, v, schedule, at)?)?;
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
            let (m, v) = (m.data().host(OP, "m")?, v.data().host(OP, "v")?);
            latens_cpu::optim::decoder_step(&p, w, g.host(OP, "g")?, m, v);
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, w) => {
            let (schedule, at) = (schedule.cuda(device, OP, "schedule")?, at.cuda(device, OP, "at")?);
            let (m, v) = (m.data().cuda(device, OP, "m")?, v.data().cuda(device, OP, "v")?);
            let g = g.cuda(device, OP, "g")?;
            device.run(&optim::launch_decoder_scheduled(&p, device.chip(), w, g, m, v, schedule, at)?)?;
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
