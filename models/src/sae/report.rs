//! A training run as one page of HTML that needs nothing but itself.
use super::{Feature, Losses, Progress, Quality, Steered};
use std::fmt::Write;

/// All that the page shows.
pub struct Report<'a> {
    /// Its heading.
    pub title: &'a str,
    /// Names and values of the settings.
    pub settings: &'a [(&'a str, String)],
    /// The course of training.
    pub progress: &'a [Progress],
    /// On held-out text.
    pub quality: &'a Quality,
    /// FVU of as many principal components as there are active latents.
    pub fvu_pca: f64,
    /// Of the language model, spliced.
    pub losses: &'a Losses,
    /// Latents to look at.
    pub features: &'a [Feature],
    /// One of them held up.
    pub steered: Option<&'a Steered>,
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #ddd}\
table{border-collapse:collapse}td,th{padding:.15rem .9rem .15rem 0;text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}\
.row{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0}figcaption{font-size:.85rem;color:#555}\
.latent{margin:1rem 0;padding:.5rem .8rem;border-left:3px solid #e0a030;background:#fbfaf7}\
.words span{background:#e7eef7;border-radius:3px;padding:0 .35em;margin-right:.35em;white-space:pre}\
.text{font-family:ui-monospace,monospace;font-size:.82rem;white-space:pre-wrap;margin:.3rem 0;overflow-wrap:anywhere}\
small{color:#666}";

impl Report<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title><style>{STYLE}</style><h1>{title}</h1>",
            title = escape(self.title)
        );
        self.tables(&mut page);
        self.curves(&mut page);
        if let Some(steered) = self.steered {
            steering(&mut page, steered);
        }
        page.push_str(
            "<h2>Latents</h2><p><small>From rare to frequent. The words are those that a latent's direction \
             promotes; the colour is its value on a token.</small></p>",
        );
        self.features.iter().for_each(|feature| latent(&mut page, feature));
        page.push_str("</html>\n");
        page
    }

    fn tables(&self, page: &mut String) {
        let (q, l) = (self.quality, self.losses);
        page.push_str("<h2>On held-out text</h2><div class=row>");
        table(
            page,
            &[
                ("variance unexplained (FVU)", format!("{:.4}", q.fvu)),
                ("the same, PCA with k components", format!("{:.4}", self.fvu_pca)),
                ("active latents per token (L0)", format!("{:.1}", q.l0)),
                ("cosine with the activations", format!("{:.4}", q.cosine)),
                ("latents that never fired", format!("{:.1} %", 100.0 * q.dead)),
            ],
        );
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
        page.push_str("<h2>Training</h2><div class=row>");
        line(page, "loss: FVU of the batch, by step", &points(|p| p.fvu));
        line(page, "L0 of the batch, by step", &points(|p| p.l0));
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

const WIDTH: f64 = 280.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 20.0;

fn open(page: &mut String, label: &str) {
    let _ = write!(
        page,
        "<figure><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" font-size=\"10\" role=\"img\" aria-label=\"{label}\">\
         <path d=\"M{LEFT} 6V{y}H{WIDTH}\" fill=\"none\" stroke=\"#999\"/>",
        y = HEIGHT - BOTTOM,
        label = escape(label)
    );
}

fn close(page: &mut String, label: &str) {
    let _ = write!(page, "</svg><figcaption>{}</figcaption></figure>", escape(label));
}

/// A curve through `points`, from 0 up.
fn line(page: &mut String, label: &str, points: &[[f64; 2]]) {
    let largest =
        |axis: usize| points.iter().map(|p| p[axis]).filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    let [right, top] = [largest(0), largest(1)];
    open(page, label);
    page.push_str("<polyline fill=\"none\" stroke=\"#2060a0\" stroke-width=\"1.5\" points=\"");
    for [x, y] in points {
        let across = LEFT + (WIDTH - LEFT - 4.0) * x / right;
        let _ = write!(page, "{across:.1},{:.1} ", HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 10.0) * y / top);
    }
    let foot = HEIGHT - 6.0;
    let _ = write!(
        page,
        "\"/><text x=\"{x}\" y=\"14\" text-anchor=\"end\">{top:.3}</text><text x=\"{x}\" y=\"{zero}\" text-anchor=\"end\">0</text>\
         <text x=\"{WIDTH}\" y=\"{foot}\" text-anchor=\"end\">{right}</text>",
        x = LEFT - 4.0,
        zero = HEIGHT - BOTTOM
    );
    close(page, label);
}

/// How many latents fire how often, in half powers of ten.
fn densities(page: &mut String, density: &[f32]) {
    const BINS: usize = 10;
    let mut bins = [0_usize; BINS];
    for &share in density.iter().filter(|&&share| share > 0.0) {
        bins[((f64::from(share).log10() + 5.0) * 2.0).clamp(0.0, BINS as f64 - 1.0) as usize] += 1;
    }
    let top = bins.iter().copied().max().unwrap_or(0).max(1);
    let label = "latents by density: share of tokens on which they fire";
    open(page, label);
    let step = (WIDTH - LEFT) / BINS as f64;
    for (at, count) in bins.into_iter().enumerate() {
        let tall = (HEIGHT - BOTTOM - 10.0) * count as f64 / top as f64;
        let _ = write!(
            page,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"#e0a030\"><title>{count}</title></rect>",
            LEFT + step * at as f64 + 1.0,
            HEIGHT - BOTTOM - tall,
            step - 2.0
        );
        if at % 2 == 0 {
            let (x, y) = (LEFT + step * at as f64, HEIGHT - 6.0);
            let _ = write!(page, "<text x=\"{x:.1}\" y=\"{y}\">1e{}</text>", at as i32 / 2 - 5);
        }
    }
    let _ = write!(page, "<text x=\"{}\" y=\"14\" text-anchor=\"end\">{top}</text>", LEFT - 4.0);
    close(page, label);
}

fn steering(page: &mut String, s: &Steered) {
    let _ = write!(
        page,
        "<h2>Steering latent {}</h2><p><small>{:.0} times its direction is added to every activation.</small></p>\
         <p class=text><b>{prompt}</b>{}</p><p class=text><b>{prompt}</b><span style=\"background:#f7e3c0\">{}</span></p>",
        s.latent,
        s.strength,
        escape(&s.before),
        escape(&s.after),
        prompt = escape(&s.prompt)
    );
}

fn latent(page: &mut String, feature: &Feature) {
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
                let _ = write!(
                    page,
                    "<span style=\"background:rgba(230,140,20,{shade:.2})\" title=\"{value:.1}\">{text}</span>"
                );
            } else {
                page.push_str(&text);
            }
        }
        page.push_str("</p>");
    }
    page.push_str("</div>");
}

/// Text as HTML. Line breaks become a sign, so that a snippet stays on its lines.
fn escape(text: &str) -> String {
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
            fvu_pca: 0.5,
            losses: &Losses { clean: 3.0, sae: 3.1, zero: 9.0, mean: 7.0 },
            features: &[feature],
            steered: None,
        };
        let page = report.html();
        assert!(page.contains("a &amp; b") && page.contains("&lt;b&gt;") && page.contains(" a⏎"));
        assert!(page.contains("98.33 %") && !page.contains("http") && !page.contains("NaN"));
    }
}
