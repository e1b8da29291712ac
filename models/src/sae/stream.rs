use super::{Buffer, Contexts, Kept, Shards};
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
    /// The same, of the tokens that are kept. Where [lengths](super::Exclude::longest) decide, there is no such source.
    Kept {
        /// The model.
        model: &'a Decoder,
        /// What it reads, and which rows it gives.
        kept: &'a Kept<'a>,
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
            Source::Kept { model, kept, sites } => (sites.len(), kept.rows(), model.config().dim),
        }
    }

    /// The first so many rows of each place on the host, for what trainers begin with.
    ///
    /// # Errors
    /// Those of the model, or of files.
    pub fn first(&self, rows: usize) -> Result<Vec<Vec<f32>>> {
        match self {
            Source::Shards(shards, sites) => sites.iter().map(|&site| shards.first(site, rows)).collect(),
            Source::Model { model, contexts, sites } => run(model, &Kept::usual(contexts), sites, 0, rows, &mut |_| {}),
            Source::Kept { model, kept, sites } => run(model, kept, sites, 0, rows, &mut |_| {}),
        }
    }

    /// What the number of rows of a filling is a multiple of. Where all contexts give as many rows, it begins where one begins, so that
    /// none is run twice; but where it is chosen what is kept, files and the model have the same fillings whatever the room is.
    fn unit(&self) -> usize {
        match self {
            Source::Model { contexts, .. } => contexts.width().max(1),
            Source::Kept { kept, .. } if kept.is_usual() => kept.contexts().width().max(1),
            Source::Shards(..) | Source::Kept { .. } => 1,
        }
    }
}

/// Rows `start..start + rows` of each place, as far as there are any; `tell` how many at a time. The contexts that hold them are run.
fn run(
    model: &Decoder,
    kept: &Kept<'_>,
    sites: &[Site],
    start: usize,
    rows: usize,
    tell: &mut impl FnMut(usize),
) -> Result<Vec<Vec<f32>>> {
    kept.known()?;
    let (d, end) = (model.config().dim, kept.rows().min(start.saturating_add(rows)));
    let contexts = kept.contexts_of(start..end);
    let there = kept.of_contexts(contexts.clone());
    let mut all = kept.all_sites(model, contexts, sites, tell)?;
    for of in &mut all {
        of.truncate((end - there.start) * d);
        of.drain(..(start - there.start) * d);
    }
    Ok(all)
}

impl<'a> Stream<'a> {
    /// A stream of batches of `batch` rows after the first `at` of them, with about `room` rows of each place in memory.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is no place, there are not enough rows for a batch, or [lengths](super::Exclude::longest) decide
    /// which rows a model gives.
    pub fn new(source: Source<'a>, room: usize, batch: usize, seed: u64, at: u64, device: &Device) -> Result<Self> {
        let (places, total, d) = source.size();
        if places == 0 {
            return Err(Error::setting("sites", "there must be at least one"));
        }
        if let Source::Kept { kept, .. } = &source {
            kept.known()?;
        }
        let unit = source.unit();
        let room = (room / unit).max(1) * unit;
        let buffer = |_| Buffer::new(total, d, room, batch, seed, at, device);
        Ok(Self { buffers: (0..places).map(buffer).collect::<Result<_>>()?, source, room })
    }

    /// Have the rows of the next batch in memory, of every place; `tell` how many at a time.
    ///
    /// # Errors
    /// Those of the model, or of files.
    pub fn prepare(&mut self, mut tell: impl FnMut(usize)) -> Result<()> {
        let Some(start) = self.buffers[0].wants() else { return Ok(()) };
        let all = match &self.source {
            Source::Shards(shards, sites) => {
                for (buffer, &site) in self.buffers.iter_mut().zip(sites) {
                    buffer.prepare(|start, rows| shards.read(site, start, rows))?;
                }
                tell(self.room.min(shards.rows() - start));
                return Ok(());
            }
            Source::Model { model, contexts, sites } => {
                run(model, &Kept::usual(contexts), sites, start, self.room, &mut tell)?
            }
            Source::Kept { model, kept, sites } => run(model, kept, sites, start, self.room, &mut tell)?,
        };
        for (buffer, mut numbers) in self.buffers.iter_mut().zip(all) {
            buffer.prepare(|_, rows: &mut Tensor<f32, 2>| {
                numbers.resize(rows.dims().iter().product(), 0.0); // the last filling may be short
                Ok(rows.write(&numbers)?)
            })?;
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
