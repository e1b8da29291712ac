//! A training run as one page of HTML that needs nothing but itself.
mod data;
mod figures;

use super::browser::Browser;
use super::{Feature, Losses, Progress, Quality, Steered};
use figures::{densities, line};
use std::fmt::Write;

/// All that the page shows.
pub struct Report<'a> {
    /// Its heading.
    pub title: &'a str,
    /// Names and values of the settings.
    pub settings: &'a [(&'a str, String)],
    /// The course of training; none where it is not known.
    pub progress: &'a [Progress],
    /// On held-out text.
    pub quality: &'a Quality,
    /// FVU of as many principal components as there are active latents; none of a transcoder, which does not see what it predicts.
    pub fvu_pca: Option<f64>,
    /// Of the language model, spliced.
    pub losses: &'a Losses,
    /// Latents to look at without a script.
    pub features: &'a [Feature],
    /// Many latents to browse; they take about 1 KB each.
    pub browser: Option<&'a Browser>,
    /// One of them held up.
    pub steered: Option<&'a Steered>,
}

/// How pages look.
pub(crate) const STYLE: &str = include_str!("report/page.css");
const BROWSER: &str = include_str!("report/browser.html");
const SEARCH: &str = include_str!("report/search.js");
const SCRIPT: &str = include_str!("report/page.js");

impl Report<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title><style>{STYLE}</style><main><h1>{title}</h1>",
            title = escape(self.title)
        );
        self.tables(&mut page);
        self.curves(&mut page);
        if let Some(steered) = self.steered {
            steering(&mut page, steered);
        }
        page.push_str("<h2>Latents</h2>");
        match self.browser {
            Some(browser) => {
                browsing(&mut page, browser);
                // What can be read without a script.
                page.push_str("<noscript>");
                self.few(&mut page);
                page.push_str("</noscript>");
            }
            None => self.few(&mut page),
        }
        page.push_str("</main></html>\n");
        page
    }

    fn few(&self, page: &mut String) {
        page.push_str(
            "<p><small>From rare to frequent. The words are those that a latent's direction promotes; the colour is its value \
             on a token.</small></p>",
        );
        self.features.iter().for_each(|feature| latent(page, feature));
    }

    fn tables(&self, page: &mut String) {
        let (q, l) = (self.quality, self.losses);
        page.push_str("<h2>On held-out text</h2><div class=row>");
        let mut rows = vec![("variance unexplained (FVU)", format!("{:.4}", q.fvu))];
        rows.extend(self.fvu_pca.map(|fvu| ("the same, PCA with k components", format!("{fvu:.4}"))));
        rows.extend([
            ("active latents per token (L0)", format!("{:.1}", q.l0)),
            ("cosine with the activations", format!("{:.4}", q.cosine)),
            ("latents that never fired", format!("{:.1} %", 100.0 * q.dead)),
        ]);
        table(page, &rows);
        table(
            page,
            &[
                ("cross-entropy of the model", format!("{:.4}", l.clean)),
                ("with reconstructed activations", format!("{:.4}", l.sae)),
                ("with zero instead", format!("{:.4}", l.zero)),
                ("with their mean instead", format!("{:.4}", l.mean)),
                ("recovered, against zero", format!("{:.2} %", 100.0 * l.recovered())),
            ],
        );
        page.push_str("</div><h2>Run</h2>");
        let settings: Vec<(&str, String)> = self.settings.to_vec();
        table(page, &settings);
    }

    fn curves(&self, page: &mut String) {
        let points = |of: fn(&Progress) -> f32| -> Vec<[f64; 2]> {
            self.progress.iter().map(|p| [p.step as f64, f64::from(of(p))]).collect()
        };
        if self.progress.is_empty() {
            page.push_str("<h2>Latents</h2><div class=row>");
        } else {
            page.push_str("<h2>Training</h2><div class=row>");
            line(page, "loss: FVU of the batch, by step", &points(|p| p.fvu));
            line(page, "L0 of the batch, by step", &points(|p| p.l0));
        }
        densities(page, &self.quality.density);
        page.push_str("</div>");
    }
}

fn table(page: &mut String, rows: &[(&str, String)]) {
    page.push_str("<table>");
    for (name, value) in rows {
        let _ = write!(page, "<tr><td>{}<td class=n>{}", escape(name), escape(value));
    }
    page.push_str("</table>");
}

fn steering(page: &mut String, s: &Steered) {
    let _ = write!(
        page,
        "<h2>Steering latent {}</h2><p><small>{:.0} times its direction is added to every activation.</small></p>\
         <p class=text><b>{prompt}</b>{}</p><p class=text><b>{prompt}</b><span class=added>{}</span></p>",
        s.latent,
        s.strength,
        escape(&s.before),
        escape(&s.after),
        prompt = escape(&s.prompt)
    );
}

/// The list of latents and the latent that is chosen in it: a frame, which a script fills from the data.
fn browsing(page: &mut String, browser: &Browser) {
    let Browser { rows, total, living, latents, .. } = browser;
    let here = latents.len();
    let few = if here < *living { format!("; here are {here} of them, from rare to frequent") } else { String::new() };
    let _ = write!(
        page,
        "<p><small>{living} of {total} latents fire on {rows} tokens{few}. The words are those whose logits a latent's direction \
         raises, or lowers, most. In a context, the colour is the latent's value on a token, which the pointer tells; the line \
         is below the token that the context was taken for.</small></p>{BROWSER}\
         <script type=\"application/json\" id=\"browser-data\">{}</script><script>{SEARCH}{SCRIPT}</script>",
        data::embedded(browser)
    );
}

/// A latent with its words and contexts, without a script.
pub(crate) fn latent(page: &mut String, feature: &Feature) {
    let _ = write!(
        page,
        "<div class=latent><b>{}</b> <small>fires on {:.2} % of tokens, at most {:.1}</small><div class=words>",
        feature.latent,
        100.0 * feature.density,
        feature.strongest
    );
    for word in &feature.words {
        let _ = write!(page, "<span>{}</span>", escape(word));
    }
    page.push_str("</div>");
    for snippet in &feature.snippets {
        page.push_str("<p class=text>");
        for token in snippet {
            let text = escape(&token.text);
            if token.value > 0.0 {
                let shade = (token.value / feature.strongest).clamp(0.08, 1.0);
                let value = token.value;
                let _ =
                    write!(page, "<span class=fires style=\"--value:{shade:.2}\" title=\"{value:.1}\">{text}</span>");
            } else {
                page.push_str(&text);
            }
        }
        page.push_str("</p>");
    }
    page.push_str("</div>");
}

/// Text as HTML. Line breaks become a sign, so that a snippet stays on its lines.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push('⏎'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_else_and_escapes() {
        let feature = Feature {
            latent: 7,
            density: 0.01,
            strongest: 3.0,
            words: vec!["<b>".into()],
            sharpness: 1.0,
            snippets: vec![vec![super::super::Token { text: " a\n".into(), value: 1.5 }]],
        };
        let quality =
            Quality { fvu: 0.1, l0: 3.0, truncated: 0.0, cosine: 0.9, dead: 0.0, density: vec![0.0, 1e-3, 1.0] };
        let report = Report {
            title: "a & b",
            settings: &[("k", "32".into())],
            progress: &[Progress { step: 1, fvu: 0.5, l0: 2.0, dead: 0.0, rate: 1e-3 }],
            quality: &quality,
            fvu_pca: Some(0.5),
            losses: &Losses { clean: 3.0, sae: 3.1, zero: 9.0, mean: 7.0 },
            features: &[feature],
            browser: None,
            steered: None,
        };
        let page = report.html();
        assert!(page.contains("a &amp; b") && page.contains("&lt;b&gt;") && page.contains(" a⏎"));
        assert!(
            page.contains("98.33 %") && !page.contains("http") && !page.contains("<script") && !page.contains("NaN")
        );
    }
}
