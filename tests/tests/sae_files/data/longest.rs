//! Tokens that are left out because their activations are long.
use super::{D, Folder, SITES, VOCABULARY, contexts, model, plain};
use latens::sae::{Exclude, Kept, Shards, Source, Stream};
use latens::{Device, Tensor};
use serde_json::{Value, json};
use std::fs;

fn lengths(rows: &[f32]) -> Vec<f32> {
    rows.chunks(D).map(|row| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32).collect()
}

/// Which rows are nowhere longer than so many times the median there.
fn short(rows: &[Vec<f32>; 2], longest: f32) -> Vec<usize> {
    let of = rows.each_ref().map(|rows| {
        let all = lengths(rows);
        let mut sorted = all.clone();
        sorted.sort_by(f32::total_cmp);
        (longest * sorted[sorted.len() / 2], all)
    });
    (0..of[0].1.len()).filter(|&row| of.iter().all(|(limit, all)| all[row] <= *limit)).collect()
}

/// At both places the same tokens are left out, and a call that was interrupted goes on to the same bytes.
#[test]
fn long_ones_are_left_out_at_all_places() {
    let (model, contexts, folder) = (model(), contexts(20, 8, 6), Folder::new("long"));
    let exclude = Exclude { first: 1, ids: vec![3], longest: Some(1.1) };
    let (_, rows) = plain(&model, &contexts, &exclude, 8);
    let keep = short(&rows, 1.1);
    // Each place has long ones that the other has not, or one mask would not be seen.
    let alone = rows.each_ref().map(|rows| short(&[rows.clone(), rows.clone()], 1.1));
    let counts = [rows[0].len() / D, alone[0].len(), alone[1].len(), keep.len()];
    assert!(counts[3] < counts[1].min(counts[2]) && counts[3] > 20, "{counts:?}");
    let kept = Kept::new(&contexts, &exclude, VOCABULARY).unwrap();
    let write = || {
        let mut told = 0;
        let shards = Shards::write_kept(&folder.0, &model, &kept, &SITES, 3, "words", |rows| told += rows).unwrap();
        assert_eq!(told, kept.rows());
        shards
    };
    let shards = write();
    assert_eq!(shards.rows(), keep.len());
    for (at, rows) in rows.iter().enumerate() {
        let want: Vec<f32> = keep.iter().flat_map(|row| rows[row * D..(row + 1) * D].to_vec()).collect();
        assert_eq!(shards.first(at, usize::MAX).unwrap(), want);
    }
    let places = "blocks.1.hook_resid_post, blocks.0.hook_mlp_out";
    assert!(shards.data().ends_with(&format!("longer than 1.1 medians at {places}")), "{}", shards.data());
    let mut stream = Stream::new(Source::Shards(&shards, vec![1]), 30, 10, 2, 0, &Device::Host).unwrap();
    assert_eq!(stream.batch().unwrap()[0].dims(), [10, D]);

    let (whole, note) = (folder.files(), folder.0.join("shards.json"));
    let said: Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    let files: Vec<usize> = serde_json::from_value(said["chosen"]["files"].clone()).unwrap();
    assert_eq!((files.len(), files.iter().sum::<usize>(), &said["version"]), (7, keep.len(), &json!(2)));
    for done in [0, 1, 3, 7] {
        let mut begun = said.clone();
        begun["rows"] = 0.into();
        begun["chosen"]["files"] = json!(files[..done]);
        fs::write(&note, begun.to_string()).unwrap();
        if done < 7 {
            fs::remove_file(folder.0.join(format!("blocks.1.hook_resid_post/{done:05}.safetensors"))).unwrap();
        }
        let error = Shards::open(&folder.0).unwrap_err().to_string();
        assert!(error.contains("is not finished"), "{error}");
        write();
        assert!(folder.files() == whole, "{done}");
    }
    fs::remove_file(folder.0.join("blocks.0.hook_mlp_out/00002.safetensors")).unwrap();
    write();
    assert!(folder.files() == whole);
}

/// Rows that only lengths decide are not known before the model runs.
#[test]
fn on_the_fly_it_is_refused() {
    let (model, contexts) = (model(), contexts(4, 8, 6));
    let kept = Kept::new(&contexts, &Exclude { longest: Some(8.0), ..Exclude::default() }, VOCABULARY).unwrap();
    let source = || Source::Kept { model: &model, kept: &kept, sites: SITES.to_vec() };
    let mut rows = Tensor::zeros([4, D], &Device::Host).unwrap();
    for error in [
        source().first(3).err(),
        Stream::new(source(), 8, 4, 0, 0, &Device::Host).err(),
        kept.activations(&model, SITES[0], 0, &mut rows, |_| {}).err(),
    ] {
        let said = error.unwrap().to_string();
        assert!(said.starts_with("exclude.longest: 8 medians") && said.contains("--activations"), "{said}");
    }
}
