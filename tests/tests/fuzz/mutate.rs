//! Files that are nearly sound: bytes changed at random, numbers made extreme, parts lost, doubled and mixed with those of
//! other files, outside or inside of what a format puts around them.
use crate::seeds::{Form, Input};
use latens::Philox;
use serde_json::{Value, json};

/// Bytes of a file, at most: enough for what costs more than it should to show, and read a thousand times a second.
const LARGE: usize = 1 << 19;

/// One of `0..n`.
pub fn below(draw: &mut Philox, n: usize) -> usize {
    draw.below(n.clamp(1, u32::MAX as usize) as u32) as usize
}

/// One of these.
fn one<'a, T>(draw: &mut Philox, of: &'a [T]) -> &'a T {
    &of[below(draw, of.len())]
}

/// The files of a seed with one of them changed, perhaps by parts of the same file of another.
pub fn input(draw: &mut Philox, seed: &Input, other: &Input) -> Vec<(String, Vec<u8>)> {
    let changed = below(draw, seed.len());
    let files = seed.iter().enumerate().map(|(at, (name, form))| {
        if at != changed {
            return (name.clone(), form.bytes());
        }
        let other = other.iter().find(|(other, _)| other == name).map_or(form, |(_, form)| form);
        let mut form = form.clone();
        let inside = below(draw, 2) == 0;
        for _ in 0..[1, 1, 1, 2, 3][below(draw, 5)] {
            if inside {
                form.change(draw, other);
            }
        }
        let mut bytes = form.bytes();
        if !inside || below(draw, 20) == 0 {
            let other = other.bytes();
            (0..[1, 1, 2, 4][below(draw, 4)]).for_each(|_| change(draw, &mut bytes, &other));
        }
        bytes.truncate(LARGE);
        (name.clone(), bytes)
    });
    files.collect()
}

impl Form {
    /// Change something inside, so that what is around it stays sound.
    fn change(&mut self, draw: &mut Philox, other: &Form) {
        match (self, other) {
            (Form::Bytes(bytes), other) => text_or_bytes(draw, bytes, &other.bytes()),
            (Form::Safetensors(header, data), other) => match (below(draw, 5), other) {
                (0, _) => change(draw, data, &header.clone()),
                (_, Form::Safetensors(other, _)) => text_or_bytes(draw, header, other),
                _ => text_or_bytes(draw, header, &[]),
            },
            (Form::Zip(entries, packed), Form::Zip(others, _)) => {
                let at = below(draw, entries.len());
                match below(draw, 12) {
                    0 if !entries.is_empty() => drop(entries.remove(at)),
                    1 => entries.push(one(draw, others).clone()),
                    2 => *packed = !*packed,
                    3 if !entries.is_empty() => {
                        let mut name = std::mem::take(&mut entries[at].0).into_bytes();
                        change(draw, &mut name, b"");
                        name.truncate(1 << 12);
                        entries[at].0 = String::from_utf8_lossy(&name).into_owned();
                    }
                    _ if !entries.is_empty() => {
                        let other = one(draw, others).1.clone();
                        change(draw, &mut entries[at].1, &other);
                    }
                    _ => {}
                }
            }
            (Form::Gguf(entries, parts), Form::Gguf(other_entries, other_parts)) => match below(draw, 3) {
                0 if !parts.is_empty() && !other_parts.is_empty() => change_part(draw, parts, other_parts),
                _ if !entries.is_empty() => change_entry(draw, entries, other_entries),
                _ => {}
            },
            _ => {}
        }
    }
}

type Entry = (String, u32, Vec<u8>);
type Part = (String, Vec<u64>, u32, Vec<u8>);

fn change_entry(draw: &mut Philox, entries: &mut Vec<Entry>, others: &[Entry]) {
    let at = below(draw, entries.len());
    match below(draw, 10) {
        0 => drop(entries.remove(at)),
        1 => entries.push(one(draw, others).clone()),
        2 => entries[at].1 = below(draw, 16) as u32,
        3 => entries[at].0 = one(draw, others).0.clone(),
        4 => entries[at] = one(draw, others).clone(),
        _ => {
            let other = one(draw, others).2.clone();
            change(draw, &mut entries[at].2, &other);
        }
    }
}

fn change_part(draw: &mut Philox, parts: &mut Vec<Part>, others: &[Part]) {
    let at = below(draw, parts.len());
    let (name, dims, kind, bytes) = &mut parts[at];
    match below(draw, 9) {
        0 => drop(parts.remove(at)),
        1 => parts.push(one(draw, others).clone()),
        2 => *kind = below(draw, 40) as u32,
        3 => *name = one(draw, others).0.clone(),
        4 => dims.push(number(draw, 8)),
        5 => drop(dims.pop()),
        6 => dims.reverse(),
        7 => {
            if let Some(dim) = dims.first_mut() {
                *dim = [number(draw, 8), dim.wrapping_mul(2), *dim / 2, dim.wrapping_add(1)][below(draw, 4)];
            }
        }
        _ => {
            let other = bytes.clone();
            change(draw, bytes, &other);
        }
    }
}

/// A number that programs are wrong about, in so many bytes.
fn number(draw: &mut Philox, width: usize) -> u64 {
    let most = u64::MAX >> (64 - 8 * width);
    let all = [
        0,
        1,
        2,
        most,
        most - 1,
        most / 2,
        most / 2 + 1,
        most / 3,
        1 << (8 * width - 2),
        255,
        256,
        1 << 16,
        1 << 20,
        1 << 31,
    ];
    *one(draw, &all) & most
}

/// Change bytes of whatever they are.
pub fn change(draw: &mut Philox, bytes: &mut Vec<u8>, other: &[u8]) {
    let length = bytes.len();
    let at = below(draw, length);
    // Most parts are short.
    let span = |draw: &mut Philox, of: usize| {
        let most = *one(draw, &[4, 16, 64, 4096]);
        below(draw, of.min(most)) + 1
    };
    match below(draw, 18) {
        0 | 1 if length > 0 => bytes[at] ^= 1 << below(draw, 8),
        2 | 3 if length > 0 => bytes[at] = *one(draw, &[0, 0xff, 0x7f, 0x80, b'0', b'(', b')', b'"', b'.']),
        4 if length > 0 => bytes[at] = draw.bits() as u8,
        5..=7 => {
            let width = [1, 2, 4, 8][below(draw, 4)];
            // Where numbers of the format are likely to be, or anywhere.
            let at = if below(draw, 2) == 0 { at / width * width } else { at };
            let Some(place) = bytes.get_mut(at..at + width) else { return };
            let mut old = [0; 8];
            old[..width].copy_from_slice(place);
            let old = u64::from_le_bytes(old);
            let near = [
                old.wrapping_add(1),
                old.wrapping_sub(1),
                old << 1,
                length as u64,
                length as u64 + 1,
                length as u64 - 1,
            ];
            let new = if below(draw, 3) == 0 { *one(draw, &near) } else { number(draw, width) };
            place.copy_from_slice(&new.to_le_bytes()[..width]);
        }
        8 if length > 0 => drop(bytes.drain(at..length.min(at + span(draw, length)))),
        9 if length > 0 => {
            let part = bytes[at..length.min(at + span(draw, length))].to_vec();
            bytes.splice(at..at, part);
        }
        10 if length > 0 => {
            let (from, count) = (below(draw, length), span(draw, length));
            let count = count.min(length - at.max(from));
            (0..count).for_each(|i| bytes.swap(at + i, from + i));
        }
        11 => bytes.truncate(at),
        12 => {
            let new: Vec<u8> = (0..span(draw, 4096)).map(|_| draw.bits() as u8).collect();
            bytes.splice(at..at, new);
        }
        13 => {
            let new = vec![*one(draw, b"\0\xff)(].0N"); span(draw, 4096)];
            bytes.splice(at..at, new);
        }
        14 if !other.is_empty() => {
            bytes.truncate(at);
            bytes.extend_from_slice(&other[below(draw, other.len())..]);
        }
        15 if !other.is_empty() => {
            let from = below(draw, other.len());
            let part = &other[from..other.len().min(from + span(draw, other.len()))];
            let end = if below(draw, 2) == 0 { at } else { length.min(at + part.len()) };
            bytes.splice(at..end, part.iter().copied());
        }
        16 => digits(draw, bytes),
        17 if length > 0 && below(draw, 8) == 0 => {
            // A short part over and over: what costs far more memory than bytes shows then.
            let part = bytes[at..length.min(at + span(draw, 64))].to_vec();
            let times = (1 << (10 + below(draw, 9))) / part.len();
            bytes.splice(at..at, part.repeat(times));
        }
        _ => {}
    }
}

/// Make a number of a text another.
fn digits(draw: &mut Philox, bytes: &mut Vec<u8>) {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|&at| bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_digit()))
        .collect();
    if starts.is_empty() {
        return;
    }
    let start = *one(draw, &starts);
    let end = start + bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let new = *one(draw, NUMBERS);
    bytes.splice(start..end, new.bytes());
}

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "-1",
    "64",
    "0.5",
    "65536",
    "1e400",
    "1e-400",
    "16777216",
    "16777217",
    "2147483648",
    "4294967295",
    "4294967296",
    "1099511627776",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
];

/// Change a JSON by its values, if it is one, or its letters.
fn text_or_bytes(draw: &mut Philox, bytes: &mut Vec<u8>, other: &[u8]) {
    let parsed = if below(draw, 3) > 0 { serde_json::from_slice::<Value>(bytes).ok() } else { None };
    let Some(mut value) = parsed else { return change(draw, bytes, other) };
    let other = serde_json::from_slice(other).unwrap_or(Value::Null);
    change_value(draw, &mut value, &other);
    *bytes = value.to_string().into_bytes();
    if below(draw, 16) == 0 {
        // Deeper than a reader that calls itself can go.
        let (open, close) = *one(draw, &[("[", "]"), ("{\"a\":", "}")]);
        let times = 1 << (4 + below(draw, 13));
        let deep = [open.repeat(times), "1".into(), close.repeat(times)].concat();
        let at = bytes.iter().position(|&byte| byte == b':').map_or(0, |at| at + 1);
        bytes.splice(at..at, [deep.as_bytes(), b","].concat());
    }
}

/// Change a value somewhere inside of this one.
fn change_value(draw: &mut Philox, value: &mut Value, other: &Value) {
    let deeper = below(draw, 4) > 0;
    match value {
        Value::Array(all) if !all.is_empty() && deeper => {
            let at = below(draw, all.len());
            match below(draw, 8) {
                0 => drop(all.remove(at)),
                1 => all.push(all[at].clone()),
                2 => (0..1 << below(draw, 12)).for_each(|_| all.push(all[at].clone())),
                _ => change_value(draw, &mut all[at], other),
            }
        }
        Value::Object(all) if !all.is_empty() && deeper => {
            let keys: Vec<String> = all.keys().cloned().collect();
            let key = one(draw, &keys);
            match below(draw, 8) {
                0 => drop(all.remove(key)),
                1 => drop(all.insert(format!("{key}_"), all[key].clone())),
                2 => drop(all.insert(one(draw, &keys).clone(), all[key].clone())),
                _ => {
                    let other = other.get(key).unwrap_or(other).clone();
                    change_value(draw, &mut all[key], &other);
                }
            }
        }
        _ => *value = fresh(draw, value, other),
    }
}

fn fresh(draw: &mut Philox, old: &Value, other: &Value) -> Value {
    match below(draw, 14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(false),
        3 => json!([]),
        4 => json!({}),
        5 => json!(""),
        6 => json!("x".repeat(1 << below(draw, 12))),
        7 => other.clone(),
        8 => json!([old, old]),
        9 => json!({"type": old, "a": old}),
        10 => json!(-1.5e300),
        _ => {
            let number: &&str = one(draw, NUMBERS);
            serde_json::from_str(number).unwrap_or(Value::Null)
        }
    }
}
