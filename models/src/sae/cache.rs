//! What all latents do on many contexts, in files: the latent cache that explanation pipelines read.
mod read;
mod spill;

use super::browser::Firings;
use super::{Contexts, Sae, hook_name};
use crate::Tensor;
use crate::io::{Claim, Contents, Error, Result, replace_all_with};
use crate::lm::{Decoder, Site};
pub use read::{Cache, Cached, Fired};
use serde_json::json;
use spill::{Spill, Spills};
use std::fs;
use std::io::Write;
use std::path::Path;

const CONFIG: &str = "config.json";
/// In `config.json`: what this library says; in the metadata of a file: the mark of its cache.
const OURS: &str = "latens";
const VERSION: u64 = 1;
const LOCATIONS: &str = "locations";
const ACTIVATIONS: &str = "activations";
const TOKENS: &str = "tokens";

/// How a [`Cache`] is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caching {
    /// Ranges of latents, each of which gets a file.
    pub ranges: usize,
    /// Values in f16. What is rounded to 0 by that is left out.
    pub half: bool,
    /// The language model, by the name that its tokenizer is found by.
    pub model: String,
    /// The text.
    pub data: String,
}

impl Default for Caching {
    fn default() -> Self {
        Self { ranges: 8, half: false, model: String::new(), data: String::new() }
    }
}

impl Cache {
    /// Run `model` over `contexts` and write what the latents of `sae` do at `site`; `tell` how many rows at a time. An older cache in
    /// `folder` is replaced.
    ///
    /// Firings go from the sparse codes to the disk as they come, 16 bytes each in a file for each range, which is removed at the end;
    /// what is in memory does not depend on how many there are, nor on how many latents. All files of a cache bear the same mark, so
    /// [`open`](Self::open) refuses those of two.
    ///
    /// # Errors
    /// No contexts, or no more than [`Contexts::SKIPPED`] tokens in each; no ranges, or more than latents; a value that is not finite, or
    /// too large for f16; those of the model and of the disk; [`Error::Content`] if another run writes there.
    pub fn write(
        folder: &Path,
        model: &Decoder,
        site: Site,
        sae: &Sae,
        contexts: &Contexts,
        caching: &Caching,
        mut tell: impl FnMut(usize),
    ) -> Result<Self> {
        /// Contexts whose activations are in memory at once.
        const TOGETHER: usize = 16;
        check(sae, contexts, caching)?;
        let (hook, _claim) = (hook_name(site)?, Claim::of(folder)?);
        read::files_of(folder)?; // so that what is not of a cache is refused before the work
        let mut spills = Spills::begin(folder, sae.latents(), caching)?;
        let (length, whole) = (contexts.length, contexts.len() * contexts.length);
        for (turn, ids) in contexts.ids[..whole].chunks(TOGETHER * length).enumerate() {
            let part = Contexts { ids: ids.to_vec(), length };
            let mut rows = Tensor::zeros([part.rows(), sae.d()], &sae.device())?;
            part.activations(model, site, 0, &mut rows, &mut tell)?;
            Firings { sae, rows: rows.view(), together: 1 }.each(|batch| {
                let mut batch = batch.to_vec();
                batch.sort_unstable_by_key(|firing| (firing.row, firing.latent));
                batch.iter().try_for_each(|firing| {
                    let (context, position) = part.token(firing.row as usize);
                    spills.add([(turn * TOGETHER + context) as u32, position as u32, firing.latent], firing.value)
                })
            })?;
        }
        finish(folder, spills, sae, contexts, caching, &hook)?;
        Self::open(folder)
    }
}

fn check(sae: &Sae, contexts: &Contexts, caching: &Caching) -> Result<()> {
    let (n, count, length) = (sae.latents(), contexts.len(), contexts.length);
    if caching.ranges == 0 || caching.ranges > n {
        return Err(Error::setting("ranges", format!("{} is not from 1 to the {n} latents", caching.ranges)));
    }
    if count == 0 || length <= Contexts::SKIPPED || u32::try_from(count).is_err() {
        let what = format!("{count} of {length} tokens, of which the first {} never fire", Contexts::SKIPPED);
        return Err(Error::setting("contexts", what));
    }
    Ok(())
}

/// Put all files in their places, and remove those of an older cache that are of other ranges.
fn finish(
    folder: &Path,
    mut spills: Spills,
    sae: &Sae,
    contexts: &Contexts,
    caching: &Caching,
    hook: &str,
) -> Result<()> {
    spills.flush()?;
    let mark = spills.mark(contexts);
    let config = json!({
        "model_name": caching.model,
        "dataset_repo": caching.data,
        "ctx_len": contexts.length,
        "cache_ctx_len": contexts.length,
        "n_tokens": contexts.len() * contexts.length,
        "n_splits": caching.ranges,
        OURS: {"version": VERSION, "latents": sae.latents(), "hook": hook, "save": mark},
    });
    let config = format!("{config:#}\n");
    let names: Vec<String> = spills.all.iter().map(Spill::name).collect();
    let (half, mark) = (caching.half, mark.as_str());
    let write = |spill: &Spill, to: &mut dyn Write| spill.write(contexts, half, mark, to);
    let writers: Vec<_> = spills.all.iter().map(|spill| move |to: &mut dyn Write| write(spill, to)).collect();
    let last = |to: &mut dyn Write| to.write_all(config.as_bytes());
    let mut files: Vec<(&Path, &Contents<'_>)> = Vec::new();
    for (name, writer) in names.iter().zip(&writers) {
        files.push((Path::new(name), writer));
    }
    files.push((Path::new(CONFIG), &last));
    replace_all_with(folder, &files)?;
    for (path, ..) in read::files_of(folder)? {
        if !names.iter().any(|name| path.ends_with(name)) {
            fs::remove_file(&path).map_err(Error::system(&path, "remove"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::io::safetensors::Safetensors;
    use crate::sae::Gate;
    use safetensors::Dtype;

    /// Latents beyond 16 bits in one file, and values that f16 has no room for.
    #[test]
    fn places_and_values_by_their_sizes() {
        let folder = std::env::temp_dir().join(format!("latens-cache-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let sae = Sae::tied(vec![1.0; 70_000], vec![0.0], Gate::Strongest(1), &Device::Host).unwrap();
        let contexts = Contexts { ids: (0..12).collect(), length: 4 };
        for (ranges, half, places, values) in
            [(1, false, Dtype::U32, Dtype::F32), (1, true, Dtype::U32, Dtype::F16), (2, true, Dtype::U16, Dtype::F16)]
        {
            let caching = Caching { ranges, half, ..Caching::default() };
            let mut spills = Spills::begin(&folder, 70_000, &caching).unwrap();
            for (place, value) in [([0, 2, 1], 0.5), ([0, 2, 69_999], 1.5), ([2, 3, 7], 1e-9)] {
                spills.add(place, value).unwrap();
            }
            if half {
                let said = spills.add([2, 3, 9], 1e6).unwrap_err().to_string();
                assert!(said.contains("latent 9") && said.contains("context 2"), "{said}");
            }
            finish(&folder, spills, &sae, &contexts, &caching, "here").unwrap();
            let cache = Cache::open(&folder).unwrap();
            assert_eq!((cache.latents(), cache.ranges().count()), (70_000, ranges));
            let fired = |context, position, value| vec![Fired { context, position, value }];
            assert_eq!(cache.firings(69_999).unwrap(), fired(0, 2, 1.5));
            assert_eq!(cache.firings(7).unwrap(), if half { vec![] } else { fired(2, 3, 1e-9) });
            assert!(cache.firings(70_000).is_err() && cache.range(ranges).is_err());
            for range in cache.ranges() {
                let name = format!("{}_{}.safetensors", range.start(), range.end());
                let file = Safetensors::open(&folder.join(name)).unwrap();
                assert_eq!((file.tensors()[LOCATIONS].dtype, file.tensors()[ACTIVATIONS].dtype), (places, values));
            }
            assert_eq!(fs::read_dir(&folder).unwrap().count(), ranges + 1);
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
