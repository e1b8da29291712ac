//! A [`Browser`] as JSON within HTML.
//!
//! Tokens are numbered by the texts that the page has of them, once each. `stream` is all that is cut out of contexts, one
//! piece after another, so that excerpts that overlap share their tokens. An excerpt is a list of numbers: where it begins in
//! the stream, its length, the token it is about, then the values in thousandths of the latent's strongest, rounded up; a
//! negative number stands for as many values of 0, and those at the end are left out. All other numbers have four digits.
use crate::sae::{Browser, Excerpt, Latent, Word};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Serialize)]
struct Data<'a> {
    rows: usize,
    total: usize,
    living: usize,
    tokens: Vec<&'a str>,
    stream: Vec<u32>,
    latents: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    n: u32,
    count: u32,
    strongest: f64,
    sharpness: f64,
    aligned: Option<f64>,
    histogram: Vec<u32>,
    promoted: Vec<(u32, f64)>,
    suppressed: Vec<(u32, f64)>,
    neighbours: Vec<(u32, f64)>,
    top: Vec<Vec<i64>>,
    intervals: Vec<Vec<Vec<i64>>>,
}

/// The whole of it, for an element `script` of a type that browsers do not run.
pub fn embedded(browser: &Browser) -> String {
    let numbers = numbers(&browser.latents);
    let (stream, places) = stream(&browser.latents, &numbers);
    let excerpts = |of: &[Excerpt], strongest| of.iter().map(|e| excerpt(e, &places, strongest)).collect();
    let words = |of: &[Word]| of.iter().map(|word| (numbers[&word.token], short(word.logit))).collect();
    let latents = browser.latents.iter().map(|latent| Entry {
        n: latent.latent,
        count: latent.count,
        strongest: short(latent.strongest),
        sharpness: short(latent.sharpness),
        aligned: latent.aligned.map(short),
        histogram: latent.histogram.to_vec(),
        promoted: words(&latent.promoted),
        suppressed: words(&latent.suppressed),
        neighbours: latent.neighbours.iter().map(|&(other, cosine)| (other, short(cosine))).collect(),
        top: excerpts(&latent.top, latent.strongest),
        intervals: latent.intervals.iter().map(|of| excerpts(of, latent.strongest)).collect(),
    });
    let data = Data {
        rows: browser.rows,
        total: browser.total,
        living: browser.living,
        tokens: numbers.keys().map(|id| browser.texts.get(id).map_or("", String::as_str)).collect(),
        stream,
        latents: latents.collect(),
    };
    // Maps with keys that are no strings are the one thing that JSON refuses, and there are none.
    safe(&serde_json::to_string(&data).unwrap_or_default())
}

/// A number for each token that is named, in the order of tokens.
fn numbers(latents: &[Latent]) -> BTreeMap<u32, u32> {
    let named: BTreeSet<u32> = latents.iter().flat_map(Latent::tokens).collect();
    named.into_iter().zip(0..).collect()
}

/// The pieces of contexts that excerpts cover, and where in them the excerpts that begin at a place of a context lie.
fn stream(latents: &[Latent], numbers: &BTreeMap<u32, u32>) -> (Vec<u32>, BTreeMap<(usize, usize), usize>) {
    let mut all: Vec<&Excerpt> = latents.iter().flat_map(Latent::excerpts).collect();
    all.sort_by_key(|excerpt| (excerpt.context, excerpt.start));
    let (mut stream, mut places) = (Vec::new(), BTreeMap::new());
    let mut end = (0, 0); // of the piece that the stream ends with: its context, and the place behind it
    for excerpt in all {
        if end.0 != excerpt.context || end.1 < excerpt.start || stream.is_empty() {
            end = (excerpt.context, excerpt.start);
        }
        let shared = end.1 - excerpt.start;
        places.entry((excerpt.context, excerpt.start)).or_insert(stream.len() - shared);
        if let Some(more) = excerpt.tokens.get(shared..) {
            stream.extend(more.iter().map(|id| numbers[id]));
            end.1 += more.len();
        }
    }
    (stream, places)
}

fn excerpt(of: &Excerpt, places: &BTreeMap<(usize, usize), usize>, strongest: f32) -> Vec<i64> {
    let place = places[&(of.context, of.start)];
    let mut all = vec![place as i64, of.tokens.len() as i64, of.at as i64];
    let mut zeros = 0;
    for &value in &of.values {
        if value > 0.0 && strongest > 0.0 {
            if zeros > 0 {
                all.push(-zeros);
                zeros = 0;
            }
            let share = f64::from(value) / f64::from(strongest);
            all.push(((share * 1000.0).ceil() as i64).clamp(1, 1000));
        } else {
            zeros += 1;
        }
    }
    all
}

/// To four digits. What is not finite, which no [`Browser`] of ours holds, becomes 0.
fn short(value: f32) -> f64 {
    if value.is_finite() { format!("{value:.3e}").parse().unwrap_or(0.0) } else { 0.0 }
}

/// JSON without any character that could end the element it is in, or that text may not hold: these occur in its strings only,
/// where they can be written as numbers.
fn safe(json: &str) -> String {
    let mut all = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                all.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => all.push(c),
        }
    }
    all
}

#[cfg(test)]
mod tests;
