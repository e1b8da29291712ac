//! Vectors, and the texts and facts that concepts are found in.
use crate::seeds::{Form, Seed, saved, sound, unsound, words};
use latens::io;
use latens::lm::Site;
use latens::steer::{Vector, sources};
use serde_json::json;
use std::path::Path;

pub fn vectors() -> Vec<Seed> {
    let vector = Vector {
        concept: "calm".into(),
        method: "by hand".into(),
        site: Site::residual(3),
        values: (0..24).map(|x| x as f32 * 0.25 - 1.0).collect(),
        model: "ab".repeat(32),
        typical: 1.5,
        notes: serde_json::Map::from_iter([("k".to_owned(), json!(5))]),
    };
    let files = saved("vector", |at| vector.save(&at.join("v")).unwrap());
    let mut all = vec![Seed { files: files.clone(), sound: true }];
    // Notes that are dear to keep.
    let mut dear = files;
    for (name, form) in &mut dear {
        if name == "v.json" {
            *form = Form::Bytes(format!("{{\"notes\":{{\"a\":[{}]}}}}", vec!["[]"; 100_000].join(",")).into_bytes());
        }
    }
    all.push(Seed { files: dear, sound: false });
    all
}

pub fn read_vector(at: &Path) -> io::Result<()> {
    Vector::load(&at.join("v")).map(drop)
}

pub fn reviews() -> Vec<Seed> {
    let some = |from: &str| {
        words(
            json!([{"text": format!("Good {from}. "), "class": 1}, {"text": "Bad", "class": 0}, {"text": "", "class": null}]),
        )
    };
    let files = || ["amazon", "imdb", "yelp"].map(|from| (format!("{from}.json"), some(from)));
    let all = files();
    let named = |all: &[(String, Form)]| Seed { files: all.to_vec(), sound: true };
    let mut dear = files();
    dear[1].1 = Form::Bytes(format!("[{}]", vec!["{}"; 60_000].join(",")).into_bytes());
    vec![named(&all), Seed { sound: false, ..named(&dear) }]
}

pub fn countries() -> Vec<Seed> {
    let spain = json!({"name": {"common": "Spain"}, "capital": ["Madrid"], "region": "Europe", "subregion": "Southern Europe",
        "currencies": {"EUR": {"name": "Euro"}}, "languages": {"spa": "Spanish"}, "demonyms": {"eng": {"m": "Spanish"}}});
    let none = Form::Bytes(format!("[{}]", vec!["[]"; 60_000].join(",")).into_bytes());
    let many = Form::Bytes(
        format!("[{{\"name\":{{\"common\":\"x\"}},\"capital\":[{}]}}]", vec!["\"\""; 100_000].join(",")).into_bytes(),
    );
    vec![
        sound(vec![("c.json", words(json!([spain, {"name": {"common": "x"}}])))]),
        unsound(vec![("c.json", none)]),
        unsound(vec![("c.json", many)]),
    ]
}

pub fn pages() -> Vec<Seed> {
    let page = |text: &str| Form::Bytes(text.into());
    let few = "<html><h1>Un</h1><p>L&#39;un <b>et</b>\n l'autre &amp; rien</p><article><p>Fin.</p></article>";
    vec![
        sound(vec![("fra.html", page(few))]),
        unsound(vec![("fra.html", page(&"<p>a</p>".repeat(40_000)))]),
        unsound(vec![("fra.html", page(&format!("<p>{}", "a ".repeat(200_000))))]),
    ]
}

pub fn read_reviews(at: &Path) -> io::Result<()> {
    sources::reviews(at).map(drop)
}

pub fn read_countries(at: &Path) -> io::Result<()> {
    sources::countries(&at.join("c.json")).map(drop)
}

pub fn read_page(at: &Path) -> io::Result<()> {
    sources::declaration(at, "fra").map(drop)
}
