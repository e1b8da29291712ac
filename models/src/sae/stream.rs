use super::shards::{Shards, all_sites};
use super::{Buffer, Contexts};
use crate::io::{Error, Result};
use crate::lm::{Decoder, Site};
use crate::{Device, Tensor, View};

/// Where activations come from.
pub enum Source<'a> {
    /// From files, of these places, by their numbers.
    Shards(&'a Shards, Vec<usize>),
    /// From a model that runs when rows are wanted, in one pass for all places.
    Model {
        /// The model.
        model: &'a Decoder,
        /// What it reads.
        contexts: &'a Contexts,
        /// The places.
        sites: Vec<Site>,
    },
}

/// Batches of several places at once, in random order, the same for all: row `i` of one belongs to row `i` of the others. So several
/// autoencoders, at several places and with several settings, are trained on one run of the model.
pub struct Stream<'a> {
    source: Source<'a>,
    buffers: Vec<Buffer>,
    room: usize,
}

impl Source<'_> {
    /// How many places there are, rows of each, and their width.
    pub fn size(&self) -> (usize, usize, usize) {
        match self {
            Source::Shards(shards, sites) => (sites.len(), shards.rows(), shards.d()),
            Source::Model { model, contexts, sites } => (sites.len(), contexts.rows(), model.config().dim),
        }
    }

    /// The first so many rows of each place on the host, for what trainers begin with.
    ///
    /// # Errors
    /// Those of the model, or of files.
    pub fn first(&self, rows: usize) -> Result<Vec<Vec<f32>>> {
        match self {
            Source::Shards(shards, sites) => sites.iter().map(|&site| shards.first(site, rows)).collect(),
            Source::Model { model, contexts, sites } => {
                let mut all = self.run(model, contexts, sites, 0, rows, &mut |_| {})?;
                all.iter_mut().for_each(|of| of.truncate(rows.saturating_mul(model.config().dim)));
                Ok(all)
            }
        }
    }

    /// Whole contexts that hold rows `start..start + rows`, as far as there are any; `start` begins one.
    fn run(
        &self,
        model: &Decoder,
        contexts: &Contexts,
        sites: &[Site],
        start: usize,
        rows: usize,
        tell: &mut impl FnMut(usize),
    ) -> Result<Vec<Vec<f32>>> {
        let Some(&last) = sites.iter().max() else { return Ok(Vec::new()) };
        let per = contexts.rows() / contexts.len().max(1);
        let first = start / per.max(1);
        let end = contexts.len().min(first + rows.div_ceil(per.max(1)));
        let ids = contexts.ids[first * contexts.length..end * contexts.length].to_vec();
        all_sites(model, &Contexts { ids, length: contexts.length }, sites, last, tell)
    }
}

impl<'a> Stream<'a> {
    /// A stream of batches of `batch` rows after the first `at` of them, with about `room` rows of each place in memory.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is no place, or there are not enough rows for a batch.
    pub fn new(source: Source<'a>, room: usize, batch: usize, seed: u64, at: u64, device: &Device) -> Result<Self> {
        let (places, total, d) = source.size();
        if places == 0 {
            return Err(Error::setting("sites", "there must be at least one"));
        }
        // Fillings begin where contexts begin.
        let per = match &source {
            Source::Model { contexts, .. } => contexts.rows() / contexts.len().max(1),
            Source::Shards(..) => 1,
        };
        let room = (room / per.max(1)).max(1) * per.max(1);
        let buffer = |_| Buffer::new(total, d, room, batch, seed, at, device);
        Ok(Self { buffers: (0..places).map(buffer).collect::<Result<_>>()?, source, room })
    }

    /// Have the rows of the next batch in memory, of every place; `tell` how many at a time.
    ///
    /// # Errors
    /// Those of the model, or of files.
    pub fn prepare(&mut self, mut tell: impl FnMut(usize)) -> Result<()> {
        let Some(start) = self.buffers[0].wants() else { return Ok(()) };
        match &self.source {
            Source::Shards(shards, sites) => {
                for (buffer, &site) in self.buffers.iter_mut().zip(sites) {
                    buffer.prepare(|start, rows| shards.read(site, start, rows))?;
                }
                tell(self.room.min(shards.rows() - start));
            }
            Source::Model { model, contexts, sites } => {
                let all = self.source.run(model, contexts, sites, start, self.room, &mut tell)?;
                for (buffer, mut numbers) in self.buffers.iter_mut().zip(all) {
                    buffer.prepare(|_, rows: &mut Tensor<f32, 2>| {
                        numbers.resize(rows.dims().iter().product(), 0.0); // the last filling may be short
                        Ok(rows.write(&numbers)?)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The next batch of every place.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub fn batch(&mut self) -> Result<Vec<View<'_, f32, 2>>> {
        self.prepare(|_| {})?;
        self.buffers.iter_mut().map(|buffer| buffer.next(|_, _| Ok(()))).collect() // the rows are there
    }

    /// Batches handed out.
    pub fn at(&self) -> u64 {
        self.buffers[0].at()
    }
}
