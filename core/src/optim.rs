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
