use super::Codes;
use crate::{Data, DataMut, View, ViewMut};
#[cfg(feature = "cuda")]
use latens_kernels::sae::launch::track as launch;
use latens_kernels::sae::track;
use latens_kernels::{Float, Result};

/// Count `tokens` more on every latent that no slot names with a value above `fired`, and 0 on those that fired: see
/// [`latens_kernels::sae::track`].
pub fn sae_track_into<A: Float>(
    codes: Codes<'_, A>,
    since: ViewMut<'_, u32, 1>,
    tokens: u32,
    fired: f32,
) -> Result<()> {
    let p = track::plan(&codes.shape, &since.layout(), tokens, fired)?;
    match since.packed("sae_track", "since", [p.n()])? {
        DataMut::Host(since) => {
            latens_cpu::sae::track::track(&p, codes.host("sae_track", p.n())?, since);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        DataMut::Cuda(device, since) => {
            device.run(&launch::track(&p, device.chip(), codes.cuda(device, "sae_track")?, since)?)
        }
    }
}

/// List the latents that have been silent for `limit` tokens or more, rising; the rest of `list` is `n`.
pub fn sae_dead_into(
    since: View<'_, u32, 1>,
    limit: u32,
    list: ViewMut<'_, u32, 1>,
    count: ViewMut<'_, u32, 1>,
) -> Result<()> {
    let p = track::plan_dead(&since.layout(), limit, &list.layout(), &count.layout())?;
    let list = list.packed("sae_dead", "list", [p.n()])?;
    let count = count.packed("sae_dead", "count", [1])?;
    match since.data() {
        Data::Host(since) => {
            latens_cpu::sae::track::dead(&p, since, list.host("sae_dead", "list")?, count.host("sae_dead", "count")?);
            Ok(())
        }
        #[cfg(feature = "cuda")]
        Data::Cuda(device, since) => {
            let (list, count) = (list.cuda(device, "sae_dead", "list")?, count.cuda(device, "sae_dead", "count")?);
            device.run(&launch::dead(&p, device.chip(), since, list, count)?)
        }
    }
}
