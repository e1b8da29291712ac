//! Real texts with labels, as their packages hold them.
use crate::io::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where they are. [`Sources::locate`] has them fetched.
#[derive(Clone, Debug)]
pub struct Sources {
    /// State of the Union speeches, a folder of text files.
    pub speeches: PathBuf,
    /// Who gave them and when, a CSV file.
    pub metadata: PathBuf,
    /// The Brown corpus, a folder of its 500 documents.
    pub brown: PathBuf,
    /// Mails that are wanted, a folder of text files.
    pub ham: PathBuf,
    /// Mails that are not.
    pub spam: PathBuf,
}

impl Sources {
    /// The pinned [assets](crate::assets).
    ///
    /// # Errors
    /// Those of [`Asset::locate`](crate::assets::Asset::locate).
    #[cfg(feature = "assets")]
    pub fn locate() -> std::result::Result<Self, crate::assets::Error> {
        use crate::assets::{BROWN, HAM, SPAM, SPEAKERS, SPEECHES};
        Ok(Self {
            speeches: SPEECHES.locate(None)?,
            metadata: SPEAKERS.locate(None)?,
            brown: BROWN.locate(None)?,
            ham: HAM.locate(None)?,
            spam: SPAM.locate(None)?,
        })
    }
}

/// A speech, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speech {
    /// When it was given.
    pub year: u32,
    /// Of which party the president was.
    pub party: String,
    /// What was said.
    pub text: String,
}

/// Read State of the Union speeches: a CSV file with columns `fileid`, `year` and `party`, in any order and among others, and the
/// text files that it names.
///
/// # Errors
/// Files that cannot be read, columns that are missing, a year that is no number, text that is not UTF-8.
pub fn speeches(folder: &Path, metadata: &Path) -> Result<Vec<Speech>> {
    let wrong = |what: String| Error::content(metadata, what);
    let table = text(metadata)?;
    let mut lines = table.lines();
    let header = fields(lines.next().unwrap_or_default().trim_start_matches('\u{feff}'));
    let column = |name: &str| {
        header
            .iter()
            .position(|field| field == name)
            .ok_or_else(|| wrong(format!("has no column {name:?}: {header:?}")))
    };
    let [file, year, party] = [column("fileid")?, column("year")?, column("party")?];
    let mut all = Vec::new();
    for (at, line) in lines.enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fields = fields(line);
        let field = |column: usize| {
            let missing = || wrong(format!("line {} has {} fields: {line:?}", at + 2, fields.len()));
            fields.get(column).map(|field| field.trim()).ok_or_else(missing)
        };
        let year = field(year)?;
        let year = year.parse().map_err(|_| wrong(format!("line {}: {year:?} is no year", at + 2)))?;
        let name = field(file)?;
        let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
        let path = folder.join(if name.ends_with(".txt") { name.into() } else { format!("{name}.txt") });
        if !plain {
            return Err(wrong(format!("line {}: {name:?} names no file of the folder", at + 2)));
        }
        all.push(Speech { year, party: field(party)?.into(), text: text(&path)? });
    }
    Ok(all)
}

/// The fields of a line of CSV; those in quotation marks may hold commas, and marks as two.
fn fields(line: &str) -> Vec<String> {
    let (mut all, mut quoted, mut letters) = (vec![String::new()], false, line.chars().peekable());
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                all.last_mut().unwrap_or(&mut String::new()).push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(String::new()),
            letter => all.last_mut().unwrap_or(&mut String::new()).push(letter),
        }
    }
    all
}

/// A document of the Brown corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Essay {
    /// The letter of its genre: `a` news, `b` editorial, `c` reviews, `d` religion, `e` hobbies, `f` lore, `g` belles lettres,
    /// `h` government, `j` learned, `k` fiction, `l` mystery, `m` science fiction, `n` adventure, `p` romance, `r` humour.
    pub genre: char,
    /// Its text, without tags.
    pub text: String,
}

/// Read the Brown corpus: files `ca01` to `cr09`, words each followed by `/` and a tag. Other files of the folder are passed over.
///
/// # Errors
/// Files that cannot be read or are not UTF-8; a folder without any.
pub fn brown(folder: &Path) -> Result<Vec<Essay>> {
    let of = |(genre, tagged): (char, String)| Essay { genre, text: untagged(&tagged) };
    Ok(brown_files(folder)?.into_iter().map(of).collect())
}

/// A sentence of the Brown corpus, with the tag of every word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The letter of its genre, as [`Essay::genre`].
    pub genre: char,
    /// Which of the documents it is in.
    pub document: usize,
    /// As text is written.
    pub text: String,
    /// Brown's tags, in lower case, as `nn`, `vbd`, `vbz`.
    pub tags: Vec<String>,
}

impl Sentence {
    /// Whether it is in the past tense, by the tags of its verbs, or in the present; `None` where it is in both or in none.
    pub fn past(&self) -> Option<bool> {
        let has = |tags: &[&str]| self.tags.iter().any(|tag| tags.contains(&&**tag));
        let past = has(&["vbd", "bed", "bedz", "dod", "hvd"]);
        let present = has(&["vbz", "bez", "ber", "bem", "doz", "hvz"]);
        (past != present).then_some(past)
    }

    /// Whether it has a `not`, which is tagged `*`, alone or as `doz*`.
    pub fn negated(&self) -> bool {
        self.tags.iter().any(|tag| tag.ends_with('*'))
    }
}

/// Read the Brown corpus sentence by sentence: files `ca01` to `cr09`, a sentence a line.
///
/// # Errors
/// Those of [`brown`].
pub fn sentences(folder: &Path) -> Result<Vec<Sentence>> {
    let mut all = Vec::new();
    for (document, (genre, tagged)) in brown_files(folder)?.into_iter().enumerate() {
        for line in tagged.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let tags = line.split_whitespace().filter_map(|word| word.rsplit_once('/'));
            let tags = tags.map(|(_, tag)| tag.to_lowercase()).collect();
            all.push(Sentence { genre, document, text: untagged(line), tags });
        }
    }
    Ok(all)
}

/// Genre and contents of every file.
fn brown_files(folder: &Path) -> Result<Vec<(char, String)>> {
    let mut all = Vec::new();
    for path in files(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let [b'c', genre @ b'a'..=b'r', b'0'..=b'9', b'0'..=b'9'] = *name.as_bytes() {
            all.push((char::from(genre), text(&path)?));
        }
    }
    if all.is_empty() {
        return Err(Error::content(folder, "holds no documents of the Brown corpus, ca01 to cr09"));
    }
    Ok(all)
}

/// Words without their tags, spaced as text is.
fn untagged(tagged: &str) -> String {
    let mut text = String::new();
    let mut close = true; // nothing stands before the first word
    for token in tagged.split_whitespace() {
        let word = match token.rsplit_once('/').map_or(token, |(word, _)| word) {
            "``" | "''" => "\"",
            word => word,
        };
        if matches!(word, ";" | "?" | "!") && text.ends_with(word) {
            continue; // the corpus writes these marks twice
        }
        let opens = token.starts_with("``") || word == "(";
        let ends = matches!(word, "." | "," | ";" | ":" | "?" | "!" | ")") || token.starts_with("''");
        if !close && !ends {
            text.push(' ');
        }
        text.push_str(word);
        close = opens;
    }
    text
}

/// Read mails, without what stands before the first empty line; of equal ones, the first. Bytes that are not UTF-8 become U+FFFD:
/// mails have many encodings.
///
/// # Errors
/// Files that cannot be read; a folder without text files.
pub fn mails(folder: &Path) -> Result<Vec<String>> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for path in files(folder)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "txt")) {
        let bytes = fs::read(&path).map_err(Error::system(&path, "read"))?;
        let mail = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        let body = mail.split_once("\n\n").map_or("", |(_, body)| body).trim();
        if !body.is_empty() && seen.insert(body.to_owned()) {
            all.push(body.to_owned());
        }
    }
    if all.is_empty() {
        return Err(Error::content(folder, "holds no mails, as .txt"));
    }
    Ok(all)
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::system(folder, "read"))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<std::io::Result<Vec<_>>>().map_err(Error::system(folder, "read"))?;
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(Error::system(path, "read"))?;
    String::from_utf8(bytes).map_err(|error| Error::content(path, format!("is not UTF-8: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn with(name: &str, files: &[(&str, &[u8])]) -> Self {
            let path = std::env::temp_dir().join(format!("latens-sources-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            files.iter().for_each(|(name, content)| fs::write(path.join(name), content).unwrap());
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn csv_lines() {
        assert_eq!(fields("a,\"b, \"\"c\"\"\",,d"), ["a", "b, \"c\"", "", "d"]);
        assert_eq!(fields(""), [""]);
    }

    #[test]
    fn speeches_by_their_table() {
        let table = b"year,fileid,party\n1801,x,\"Democratic-Republican\"\n\n1999,y.txt,Democratic\n";
        let folder = Folder::with("speeches", &[("x.txt", b"one"), ("y.txt", b"two"), ("table.csv", table)]);
        let found = speeches(&folder.0, &folder.0.join("table.csv")).unwrap();
        let want = [(1801, "Democratic-Republican", "one"), (1999, "Democratic", "two")];
        let want = want.map(|(year, party, text)| Speech { year, party: party.into(), text: text.into() });
        assert_eq!(found, want);
        for (table, what) in [
            ("fileid,year\n", "no column \"party\""),
            ("fileid,year,party\nx,soon,Whig\n", "\"soon\" is no year"),
            ("fileid,year,party\nx,1800\n", "line 2 has 2 fields"),
            ("fileid,year,party\n../x,1800,Whig\n", "names no file"),
            ("fileid,year,party\nz,1800,Whig\n", "z.txt"),
        ] {
            fs::write(folder.0.join("table.csv"), table).unwrap();
            let said = speeches(&folder.0, &folder.0.join("table.csv")).unwrap_err().to_string();
            assert!(said.contains(what), "{said}");
        }
    }

    #[test]
    fn tags_are_taken_off() {
        let tagged = "\n\tThe/at man/nn said/vbd ``/`` and/or/cc (/( yes/rb )/) ''/'' ,/, twice/rb ./.\n";
        assert_eq!(untagged(tagged), "The man said \"and/or (yes)\", twice.");
        assert_eq!(untagged("go/vb !/. !/. ''/'' He/pps ;/. ;/. ran/vbd"), "go!\" He; ran");
        let folder =
            Folder::with("brown", &[("ca01", b"A/at b/nn"), ("cats.txt", b"no"), ("cr09", b"C/nn"), ("cz01", b"d/nn")]);
        let found: Vec<_> = brown(&folder.0).unwrap().into_iter().map(|essay| (essay.genre, essay.text)).collect();
        assert_eq!(found, [('a', "A b".to_owned()), ('r', "C".to_owned())]);
        fs::remove_file(folder.0.join("ca01")).unwrap();
        fs::remove_file(folder.0.join("cr09")).unwrap();
        assert!(brown(&folder.0).unwrap_err().to_string().contains("Brown"));
    }

    #[test]
    fn mails_without_headers() {
        let files: [(&str, &[u8]); 5] = [
            ("1.txt", b"From: a\r\nTo: b\r\n\r\nHello\r\n\r\nyou\r\n"),
            ("2.txt", b"From: c\n\nHello\n\nyou"),
            ("3.txt", b"From: c\n\n caf\xe9 \n"),
            ("4.txt", b"no body"),
            ("5.json", b"a\n\nb"),
        ];
        let folder = Folder::with("mails", &files);
        assert_eq!(mails(&folder.0).unwrap(), ["Hello\n\nyou", "caf\u{fffd}"]);
        assert!(mails(&folder.0.join("none")).is_err());
    }
}
