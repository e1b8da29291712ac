use super::Budget;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes of a name.
const NAME: usize = 1024;
/// Memory of an entry beside the letters of its name, which are kept twice.
const ENTRY: usize = 256;

/// Where an entry is, and what its end says of it.
#[derive(Clone, Copy)]
pub struct Entry {
    pub header: u64,
    pub packed: u64,
    pub size: u64,
    pub sum: u32,
    pub method: u16,
    pub flags: u16,
}

/// The central headers.
pub struct Directory {
    start: u64,
    end: u64,
    count: u64,
}

impl Directory {
    /// Out of the end, and out of that of 64 bits where that of 32 bits cannot say it.
    pub fn find(file: &mut (impl Read + Seek), length: u64) -> std::result::Result<Self, String> {
        const END: u64 = 22;
        let none = || "it does not end as one without a comment".to_owned();
        let place = length.checked_sub(END).ok_or_else(none)?;
        let end: [u8; END as usize] = at(file, place).map_err(|e| e.to_string())?;
        if !end.starts_with(b"PK\x05\x06") || u16_at(&end, 20) != 0 {
            return Err(none());
        }
        let (count, size, start) = (u16_at(&end, 10), u32_at(&end, 12), u32_at(&end, 16));
        let parts = [u16_at(&end, 4), u16_at(&end, 6)];
        let small = Self { start: start.into(), end: u64::from(start) + u64::from(size), count: count.into() };
        let directory = match (count, size, start) {
            (u16::MAX, ..) | (_, u32::MAX, _) | (.., u32::MAX) => Self::wide(file, place)?.unwrap_or(small),
            _ => small,
        };
        if parts != [0, 0] || directory.end > place {
            return Err(format!(
                "its directory at {} to {} is not before its end at {place}",
                directory.start, directory.end
            ));
        }
        Ok(directory)
    }

    /// The end of 64 bits, whose place stands before `place`.
    fn wide(file: &mut (impl Read + Seek), place: u64) -> std::result::Result<Option<Self>, String> {
        let Some(locator) = place.checked_sub(20) else { return Ok(None) };
        let locator: [u8; 20] = at(file, locator).map_err(|e| e.to_string())?;
        if !locator.starts_with(b"PK\x06\x07") {
            return Ok(None);
        }
        let end: [u8; 56] = at(file, u64_at(&locator, 8)).map_err(|_| "its end of 64 bits is beyond the file")?;
        if !end.starts_with(b"PK\x06\x06") {
            return Err("its end of 64 bits is not where it should be".into());
        }
        let (count, size, start) = (u64_at(&end, 32), u64_at(&end, 40), u64_at(&end, 48));
        Ok(Some(Self { start, end: start.checked_add(size).ok_or("its directory has no end")?, count }))
    }

    /// All entries, of which no two have the same name.
    pub fn entries(
        &self,
        file: &mut (impl Read + Seek),
        budget: &mut Budget,
    ) -> std::result::Result<BTreeMap<String, Entry>, String> {
        file.seek(SeekFrom::Start(self.start)).map_err(|e| e.to_string())?;
        let mut from = file.take(self.end - self.start);
        let (mut entries, mut extra) = (BTreeMap::new(), Vec::new());
        for number in 0..self.count {
            let (name, entry) = entry(&mut from, &mut extra).map_err(|what| format!("entry {number}: {what}"))?;
            budget.pay(ENTRY + 2 * name.len())?;
            if entries.contains_key(&name) {
                return Err(format!("entry {name:?} occurs twice"));
            }
            entries.insert(name, entry);
        }
        Ok(entries)
    }
}

/// The next central header.
fn entry(from: &mut impl Read, extra: &mut Vec<u8>) -> std::result::Result<(String, Entry), String> {
    let mut header = [0; 46];
    from.read_exact(&mut header).map_err(|_| "the directory ends too early")?;
    if !header.starts_with(b"PK\x01\x02") {
        return Err("it does not begin as one".into());
    }
    let [name, extras, comment] = [28, 30, 32].map(|place| usize::from(u16_at(&header, place)));
    if name > NAME {
        return Err(format!("its name has {name} bytes, at most {NAME} are read"));
    }
    let mut text = vec![0; name];
    extra.resize(extras + comment, 0);
    from.read_exact(&mut text).and_then(|()| from.read_exact(extra)).map_err(|_| "the directory ends too early")?;
    let name = String::from_utf8(text).map_err(|_| "its name is not UTF-8")?;
    let mut entry = Entry {
        flags: u16_at(&header, 8),
        method: u16_at(&header, 10),
        sum: u32_at(&header, 16),
        packed: u32_at(&header, 20).into(),
        size: u32_at(&header, 24).into(),
        header: u32_at(&header, 42).into(),
    };
    entry.widen(&extra[..extras]).ok_or("its sizes of 64 bits are missing")?;
    Ok((name, entry))
}

impl Entry {
    /// Take what does not fit 32 bits out of the fields `kind u16 | length u16 | data` behind the header: of kind 1, in this order.
    fn widen(&mut self, mut fields: &[u8]) -> Option<()> {
        let all = [&mut self.size, &mut self.packed, &mut self.header];
        let wide: Vec<_> = all.into_iter().filter(|number| **number == u64::from(u32::MAX)).collect();
        if wide.is_empty() {
            return Some(());
        }
        loop {
            let (head, rest) = fields.split_first_chunk::<4>()?;
            let (mut data, rest) = rest.split_at_checked(u16_at(head, 2).into())?;
            if u16_at(head, 0) == 1 {
                for number in wide {
                    let (first, others) = data.split_first_chunk::<8>()?;
                    (*number, data) = (u64::from_le_bytes(*first), others);
                }
                return Some(());
            }
            fields = rest;
        }
    }
}

/// Bytes at a place.
pub fn at<const N: usize>(file: &mut (impl Read + Seek), place: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}
