//! [`latens_kernels::sae::track`] on the host: the same integers as the reference, whatever the threads.
//!
//! Floors: `8 slots + 8 n` bytes for [`track`], `8 n` for [`dead`]. Threads look at rows and mark who fired in bytes of
//! their own, so none writes where another does; then one pass ages all latents by the marks. The dead are counted and
//! listed in runs, each of which knows where its part of the list begins.
use super::{Level, tasks};
use crate::once::once;
use crate::rows::threads;
use alloc::{vec, vec::Vec};
use latens_kernels::Float;
use latens_kernels::sae::{Codes, track::Plan};

/// Slots or latents below which another thread costs more than it brings.
const WORTH: usize = 1 << 14;
/// Latents that are looked at together; most runs of them have no dead, or nothing else.
const GROUP: usize = 64;

once! {
    /// See [`latens_kernels::sae::track::track`].
    pub fn track;
    /// [`track`] with the instructions of `level`.
    pub fn track_at<A>(level: Level, p: &Plan, codes: Codes<A>, since: &mut [u32]) = track_impl;
}

fn track_impl<A: Float>(level: Level, p: &Plan, codes: Codes<A>, since: &mut [u32]) {
    let (rows, n) = (p.shape().rows(), p.n());
    let part = rows.div_ceil(parts(p.shape().slots())).max(1);
    let begins: Vec<usize> = (0..rows).step_by(part).collect();
    let marks = tasks(begins, |_, begin| {
        let mut fired = vec![0_u8; n];
        for slot in (begin..rows.min(begin + part)).flat_map(|r| codes.row(&p.shape(), r)) {
            if codes.values[slot].to_f32() > p.fired()
                && let Some(mark) = fired.get_mut(codes.latents[slot] as usize)
            {
                *mark = 1;
            }
        }
        fired
    });
    let run = n.div_ceil(parts(n)).max(1);
    let runs = since[..n].chunks_mut(run).collect();
    tasks(runs, |at, since: &mut [u32]| {
        let marks = || marks.iter().map(|fired| &fired[at * run..]);
        level.run(
            #[inline(always)]
            |_| age(since, marks(), p.tokens()),
        );
    });
}

/// Latents with a mark are 0 tokens old, all others `tokens` older.
#[inline(always)]
fn age<'a>(since: &mut [u32], marks: impl Iterator<Item = &'a [u8]>, tokens: u32) {
    since.iter_mut().for_each(|since| *since = since.saturating_add(tokens));
    for fired in marks {
        since.iter_mut().zip(fired).for_each(|(since, &fired)| *since = if fired == 0 { *since } else { 0 });
    }
}

/// See [`latens_kernels::sae::track::dead`].
pub fn dead(p: &Plan, since: &[u32], list: &mut [u32], count: &mut [u32]) {
    dead_at(Level::best(), p, since, list, count);
}

/// [`dead`] with the instructions of `level`.
pub fn dead_at(level: Level, p: &Plan, since: &[u32], list: &mut [u32], count: &mut [u32]) {
    let (n, limit) = (p.n(), p.limit());
    let run = n.div_ceil(parts(n)).next_multiple_of(GROUP).max(GROUP);
    let runs: Vec<&[u32]> = since[..n].chunks(run).collect();
    let counts = tasks(runs.clone(), |_, since| {
        level.run(
            #[inline(always)]
            |_| dead_among(since, limit),
        )
    });
    let mut rest = &mut list[..n];
    let mut lists = Vec::new();
    for (since, &count) in runs.into_iter().zip(&counts) {
        let (part, after) = rest.split_at_mut(count as usize);
        lists.push((since, part));
        rest = after;
    }
    rest.fill(n as u32);
    count[0] = counts.into_iter().sum();
    tasks(lists, |at, (since, list)| {
        level.run(
            #[inline(always)]
            |_| name(since, (at * run) as u32, limit, list),
        );
    });
}

#[inline(always)]
fn dead_among(since: &[u32], limit: u32) -> u32 {
    since.iter().map(|&since| u32::from(since >= limit)).sum()
}

/// List the dead of a run that begins with latent `first`.
#[inline(always)]
fn name(since: &[u32], first: u32, limit: u32, list: &mut [u32]) {
    let mut found = 0;
    for (group, first) in since.chunks(GROUP).zip((first..).step_by(GROUP)) {
        let count = dead_among(group, limit) as usize;
        let part = &mut list[found..found + count];
        if count == group.len() {
            part.iter_mut().zip(first..).for_each(|(dead, latent)| *dead = latent);
        } else if count > 0 {
            let dead = group.iter().zip(first..).filter(|&(&since, _)| since >= limit);
            part.iter_mut().zip(dead).for_each(|(dead, (_, latent))| *dead = latent);
        }
        found += count;
    }
}

/// Among how many threads so much work is shared.
fn parts(work: usize) -> usize {
    (work / WORTH).clamp(1, threads())
}
