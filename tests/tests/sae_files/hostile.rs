//! Checkpoints that were made to do harm, or are broken: refused, and nothing of them is run.
use super::formats::{copy, refusal, written};
use latens::Device;
use latens::sae::Sae;
use std::path::Path;
use std::{fs, io::Read, io::Write};

/// A file of PyTorch made anew with another pickle.
fn pickled(from: &Path, to: &Path, pickle: &[u8]) {
    let mut archive = zip::ZipArchive::new(fs::File::open(from).unwrap()).unwrap();
    let mut made = zip::ZipWriter::new(fs::File::create(to).unwrap());
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let name = entry.name().unwrap().into_owned();
        made.start_file(&name[..], stored).unwrap();
        made.write_all(if name.ends_with("data.pkl") { pickle } else { &bytes }).unwrap();
    }
    made.finish().unwrap();
}

fn pickle_of(path: &Path) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let name = archive.file_names().map(Result::unwrap).find(|name| name.ends_with("data.pkl")).unwrap().into_owned();
    let mut bytes = Vec::new();
    archive.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A pickle that would run a command says so in its error, and the command has not run; tensors that leave their memory and
/// dictionaries that hold themselves are refused; and no byte makes it panic.
#[test]
fn hostile_pickles() {
    let Some((folder, _)) = written() else { return };
    let (good, bad) = (folder.join("openai_relu.pt"), copy("openai_relu.pt", "hostile.pt"));
    pickled(&good, &bad, b"\x80\x02cos\nsystem\nq\x00X\x19\x00\x00\x00touch /tmp/latens-hostileq\x01\x85q\x02Rq\x03.");
    let said = refusal(&bad);
    assert!(said.contains("os.system") && said.contains("nothing was run"), "{said}");
    assert!(!Path::new("/tmp/latens-hostile").exists());
    // A tensor outside its memory; one of more elements than that; the same dictionary under a hundred names, over and over.
    let tensor = |offset: u8, dims: &[u8], strides: &[u8]| {
        let tuple = |of: &[u8]| [&b"("[..], &of.iter().flat_map(|&of| [b'K', of]).collect::<Vec<_>>(), b"t"].concat();
        let memory = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x0ctQ";
        let begin = b"\x80\x02}X\x08\x00\x00\x00pre_biasctorch._utils\n_rebuild_tensor_v2\n(";
        [&begin[..], memory, &[b'K', offset], &tuple(dims), &tuple(strides), b"\x89}tRs."].concat()
    };
    for (offset, dims, strides, named) in [
        (1, &[12][..], &[1][..], "do not fit"),
        (0, &[13], &[1], "do not fit"),
        (0, &[2, 200], &[0, 0], "do not fit"),
        (0, &[12], &[1, 1], "1 sizes and 2 strides"),
        (0, &[1; 9], &[1; 9], "no sizes"),
        (0, &[12], &[1], "encoder.weight"),
    ] {
        pickled(&good, &bad, &tensor(offset, dims, strides));
        let said = refusal(&bad);
        assert!(said.contains(named), "{dims:?}: {said}");
    }
    let mut again = b"\x80\x02}q\x00(".to_vec();
    (0..100).for_each(|name| again.extend([&b"X\x01\x00\x00\x00"[..], &[b'!' + name % 90], b"h\x00"].concat()));
    again.extend(b"u.");
    pickled(&good, &bad, &again);
    let said = refusal(&bad);
    assert!(said.contains("twice"), "{said}");
    // Any byte turned over: an error, or one that nobody reads.
    let whole = pickle_of(&good);
    for at in 0..whole.len() {
        for with in [0x01, 0x80, 0xff] {
            let mut turned = whole.clone();
            turned[at] ^= with;
            pickled(&good, &bad, &turned);
            let _ = Sae::load(&bad, &Device::Host);
        }
    }
    fs::remove_file(bad).unwrap();
}

/// Archives cut short anywhere, with any byte turned over, or that unpack to far more than they are: errors.
#[test]
fn broken_archives() {
    let Some((folder, _)) = written() else { return };
    for (name, file) in
        [("gemma_scope", "params.npz"), ("gemma_scope_packed", "params.npz"), ("dictionary_BatchTopKSAE", "ae.pt")]
    {
        let at = copy(name, "broken");
        let whole = fs::read(folder.join(name).join(file)).unwrap();
        for cut in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
            fs::write(at.join(file), &whole[..cut]).unwrap();
            refusal(&at);
        }
        for byte in (0..whole.len()).step_by(13) {
            let mut turned = whole.clone();
            turned[byte] ^= 0x55;
            fs::write(at.join(file), turned).unwrap();
            let _ = Sae::load(&at, &Device::Host); // an error, or a byte that nobody reads; the sums of contents are checked
        }
        fs::remove_dir_all(at).unwrap();
    }
    let at = copy("gemma_scope", "bomb");
    let mut made = zip::ZipWriter::new(fs::File::create(at.join("params.npz")).unwrap());
    let packed = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    made.start_file("W_enc.npy", packed).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..64).for_each(|_| made.write_all(&zeros).unwrap());
    made.finish().unwrap();
    let said = refusal(&at);
    assert!(said.contains("would unpack to 67108864 bytes"), "{said}");
    fs::remove_dir_all(at).unwrap();
}
