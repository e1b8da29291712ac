//! What firings leave behind, latent by latent: numbers, a histogram and a few excerpts, whatever the number of rows.
use super::excerpt::Excerpt;
use super::firing::Firing;
use super::rank::Few;
use super::{BINS, Browse, INTERVALS};
use crate::Philox;
use crate::io::{Error, Result};
use crate::sae::Contexts;

/// How often and how strongly a latent fires.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extent {
    pub count: u32,
    pub strongest: f32,
}

/// Add a batch to the extents of all latents.
pub fn extend(extents: &mut [Extent], batch: &[Firing]) -> Result<()> {
    let n = extents.len();
    for firing in batch {
        let Some(extent) = extents.get_mut(firing.latent as usize) else {
            return Err(Error::setting("latent", format!("{} is not one of the {n} latents", firing.latent)));
        };
        extent.count += 1;
        extent.strongest = extent.strongest.max(firing.value);
    }
    Ok(())
}

/// Sorts the firings of latents whose extents are known into intervals.
pub struct Collector<'a> {
    contexts: &'a Contexts,
    seed: u64,
    /// Where each latent of the autoencoder is gathered, if it is.
    places: Vec<Option<u32>>,
    gathering: Vec<Gathering>,
}

/// One latent while rows pass. Keys are numbers of which the smallest are kept, and rows, which settle ties.
struct Gathering {
    strongest: f32,
    contexts: Vec<u32>,
    histogram: [u32; BINS],
    top: Few<(u32, u32), Excerpt>,
    intervals: [Few<(u32, u32), Excerpt>; INTERVALS],
}

/// One latent when all rows have passed.
#[derive(Debug, PartialEq)]
pub struct Gathered {
    pub contexts: Vec<u32>,
    pub histogram: [u32; BINS],
    pub top: Vec<Excerpt>,
    pub intervals: [Vec<Excerpt>; INTERVALS],
}

impl<'a> Collector<'a> {
    /// For the latents `chosen`, of which `extents` tells the strongest values.
    pub fn new(contexts: &'a Contexts, browse: Browse, chosen: &[u32], extents: &[Extent]) -> Self {
        let mut places = vec![None; extents.len()];
        for (place, &latent) in chosen.iter().enumerate() {
            places[latent as usize] = Some(place as u32);
        }
        let gathering = chosen.iter().map(|&latent| Gathering {
            strongest: extents[latent as usize].strongest,
            contexts: Vec::new(),
            histogram: [0; BINS],
            top: Few::new(browse.strongest),
            intervals: std::array::from_fn(|_| Few::new(browse.interval)),
        });
        Self { contexts, seed: browse.seed, gathering: gathering.collect(), places }
    }

    /// Add a batch of whole contexts, sorted by latent and then by row. The order of batches does not matter.
    pub fn add(&mut self, batch: &[Firing]) {
        for group in batch.chunk_by(|a, b| a.latent == b.latent) {
            let Some(place) = self.places[group[0].latent as usize] else { continue };
            let gathering = &mut self.gathering[place as usize];
            let context = |firing: &Firing| self.contexts.token(firing.row as usize).0;
            for of_context in group.chunk_by(|a, b| context(a) == context(b)) {
                gathering.contexts.push(context(&of_context[0]) as u32);
                gathering.add(self.contexts, self.seed, of_context);
            }
        }
    }

    /// In the order of the chosen.
    pub fn finish(self) -> impl Iterator<Item = Gathered> {
        self.gathering.into_iter().map(|mut of| Gathered {
            contexts: {
                of.contexts.sort_unstable(); // of batches in any order
                of.contexts
            },
            histogram: of.histogram,
            top: of.top.finish(),
            intervals: of.intervals.map(Few::finish),
        })
    }
}

impl Gathering {
    /// Add the firings on one context, which offers its strongest to the top, and to each interval one that chance names.
    fn add(&mut self, contexts: &Contexts, seed: u64, firings: &[Firing]) {
        let mut top: Option<(u32, u32)> = None;
        let mut drawn = [None; INTERVALS];
        let smaller = |old: Option<(u32, u32)>, new| Some(old.map_or(new, |old| old.min(new)));
        for firing in firings {
            let bin = bin(firing.value, self.strongest);
            self.histogram[bin] += 1;
            // Positive numbers are in the order of their bits.
            top = smaller(top, (!firing.value.to_bits(), firing.row));
            let interval = &mut drawn[bin * INTERVALS / BINS];
            *interval = smaller(*interval, (chance(seed, firing), firing.row));
        }
        let excerpt = |row| Excerpt::new(contexts, row, firings);
        if let Some(key) = top {
            self.top.offer(key, || excerpt(key.1));
        }
        for (interval, key) in self.intervals.iter_mut().zip(drawn) {
            if let Some(key) = key {
                interval.offer(key, || excerpt(key.1));
            }
        }
    }
}

/// A number by which firings are drawn: a firing has the same one in whatever order they come.
fn chance(seed: u64, firing: &Firing) -> u32 {
    let name = u64::from(firing.latent) << 32 | u64::from(firing.row);
    Philox::at(seed, name.wrapping_mul(4)).bits()
}

/// The bar of a value between 0 and `strongest`.
fn bin(value: f32, strongest: f32) -> usize {
    let place = f64::from(value) * BINS as f64 / f64::from(strongest);
    (place as usize).min(BINS - 1)
}

#[cfg(test)]
mod tests;
