use super::*;

/// Four contexts of 12 tokens, ten of which have rows.
fn contexts() -> Contexts {
    Contexts { ids: (0..48).collect(), length: 12 }
}

fn fires(latent: u32, row: u32, value: f32) -> Firing {
    Firing { latent, row, value }
}

/// Both passes over firings, `size` contexts at a time.
fn gather(all: &[Firing], latents: usize, chosen: &[u32], browse: Browse, size: u32) -> (Vec<Extent>, Vec<Gathered>) {
    let contexts = contexts();
    let batches: Vec<Vec<Firing>> = (0..4_u32.div_ceil(size))
        .map(|batch| {
            let mut part: Vec<Firing> = all.iter().filter(|f| f.row / (10 * size) == batch).copied().collect();
            part.sort_by_key(|firing| (firing.latent, firing.row));
            part
        })
        .collect();
    let mut extents = vec![Extent::default(); latents];
    batches.iter().for_each(|batch| extend(&mut extents, batch).unwrap());
    let mut collector = Collector::new(&contexts, browse, chosen, &extents);
    batches.iter().for_each(|batch| collector.add(batch));
    (extents, collector.finish().collect())
}

/// The rows that excerpts are about.
fn rows(excerpts: &[Excerpt]) -> Vec<usize> {
    excerpts.iter().map(|e| e.context * 10 + e.start + e.at - Contexts::SKIPPED).collect()
}

#[test]
fn counts_and_edges() {
    // Of 10: each value on an edge counts above it, except the last.
    let values = [10.0, 9.5, 9.4, 0.5, 0.4, 1e-30, 2.0, 1.9];
    let all: Vec<Firing> = values.into_iter().zip(0..).map(|(value, row)| fires(1, row, value)).collect();
    let (extents, gathered) = gather(&all, 3, &[1], Browse::default(), 1);
    assert_eq!(extents, [(0, 0.0), (8, 10.0), (0, 0.0)].map(|(count, strongest)| Extent { count, strongest }));
    let mut histogram = [0; BINS];
    for bin in [19, 19, 18, 1, 0, 0, 4, 3] {
        histogram[bin] += 1;
    }
    assert_eq!(gathered[0].histogram, histogram);
    assert_eq!((bin(f32::MAX, f32::MAX), bin(1e-45, 1e-45), bin(1e-45, f32::MAX)), (BINS - 1, BINS - 1, 0));
}

#[test]
fn the_top_is_one_of_each_context_and_ties_go_by_row() {
    let all = [fires(0, 3, 5.0), fires(0, 7, 6.0), fires(0, 8, 6.0), fires(0, 12, 6.0), fires(0, 25, 9.0)];
    let all = [&all[..], &[fires(0, 31, 1.0)]].concat();
    for size in [1, 2, 4] {
        let of = |strongest| gather(&all, 1, &[0], Browse { strongest, ..Browse::default() }, size).1.remove(0).top;
        assert_eq!(rows(&of(9)), [25, 7, 12, 31]);
        assert_eq!(rows(&of(2)), [25, 7]);
        assert!(of(0).is_empty());
    }
}

/// All values of a context, whichever of its firings an excerpt is about.
#[test]
fn excerpts_hold_their_neighbours() {
    let all = [fires(0, 10, 4.0), fires(1, 11, 7.0), fires(0, 12, 8.0), fires(0, 20, 1.0)];
    let (_, gathered) = gather(&all, 2, &[0], Browse::default(), 2);
    let top = &gathered[0].top[0];
    assert_eq!((top.context, top.start, top.at), (1, 0, 4));
    assert_eq!(top.tokens, (12..24).collect::<Vec<_>>());
    assert_eq!(top.values, [0.0, 0.0, 4.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn intervals_hold_what_lies_in_them() {
    // Latent 0 has one value in each fifth, on all contexts; latent 1 nothing but its strongest.
    let fifths = (0..4).flat_map(|context| (0..5).map(move |i| fires(0, context * 10 + i, 1.0 + 2.0 * i as f32)));
    let mut all: Vec<Firing> = fifths.collect();
    all.extend([fires(0, 5, 10.0), fires(1, 6, 0.5)]);
    let (_, gathered) = gather(&all, 2, &[0, 1], Browse { interval: 9, ..Browse::default() }, 2);
    for (i, interval) in gathered[0].intervals.iter().enumerate() {
        let mut found = rows(interval);
        found.sort_unstable();
        // The last has two on the first context, and chance takes one of them.
        let first = if i == 4 && found[0] == 5 { 5 } else { i };
        assert_eq!(found, [first, 10 + i, 20 + i, 30 + i]);
    }
    assert_eq!(gathered[1].intervals.each_ref().map(Vec::len), [0, 0, 0, 0, 1]);
}

/// Draws follow from the seed, not from how rows are cut into batches, and every context is drawn for some seed.
#[test]
fn draws_by_seed() {
    let all: Vec<Firing> = (0..40).map(|row| fires(3, row, 1.0 + (row % 7) as f32 / 100.0)).collect();
    let drawn = |seed, size| {
        let browse = Browse { seed, interval: 1, ..Browse::default() };
        rows(&gather(&all, 4, &[3], browse, size).1[0].intervals[INTERVALS - 1])
    };
    let seeds: Vec<usize> = (0..64).map(|seed| drawn(seed, 1)[0]).collect();
    assert_eq!(seeds, (0..64).map(|seed| drawn(seed, 4)[0]).collect::<Vec<_>>());
    assert!((0..4).all(|context| seeds.iter().any(|row| row / 10 == context)), "{seeds:?}");
    assert!(seeds.iter().any(|row| row % 10 == 0) && seeds.iter().any(|row| row % 10 == 9), "{seeds:?}");
}

#[test]
fn latents_that_are_not_there() {
    let (extents, gathered) = gather(&[fires(0, 1, 1.0)], 2, &[1], Browse::default(), 4);
    assert_eq!((extents[0].count, extents[1].count), (1, 0));
    // Never fired, but asked for: empty, without a division by 0.
    assert_eq!(gathered[0].histogram, [0; BINS]);
    assert!(gathered[0].top.is_empty() && gathered[0].intervals.iter().all(Vec::is_empty));
    assert!(gather(&[], 0, &[], Browse::default(), 4).1.is_empty());
    let said = extend(&mut [Extent::default()], &[fires(1, 0, 1.0)]).unwrap_err().to_string();
    assert_eq!(said, "latent: 1 is not one of the 1 latents");
}
