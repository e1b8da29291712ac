//! What was found as one page of HTML that needs nothing but itself: tables, curves with their intervals, texts, latents.
use super::statistics::Interval;
use crate::sae::Feature;
use crate::sae::report::{STYLE, escape, latent};
use std::fmt::Write;

/// A page, from top to bottom.
pub struct Page {
    html: String,
}

/// Curves in one figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart<'a> {
    /// What it shows.
    pub title: &'a str,
    /// What is across.
    pub x: &'a str,
    /// What is up.
    pub y: &'a str,
    /// The curves, in the order of the legend.
    pub curves: Vec<Curve<'a>>,
}

/// A curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve<'a> {
    /// What it is of.
    pub name: &'a str,
    /// From left to right: across, and up with what is known of its mean.
    pub points: Vec<(f64, Interval)>,
}

const MORE: &str = ".chart { width: 30rem; } .chart .curve { fill: none; stroke-width: 1.8; } .chart .reach { stroke-width: 1; } \
    .chart circle { stroke: none; } td.said { max-width: 34rem; white-space: pre-wrap; overflow-wrap: anywhere; } th { font-weight: 600; }";

impl Page {
    /// Begin with a heading.
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        Self {
            html: format!(
                "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
                 content=\"width=device-width\"><title>{title}</title><style>{STYLE}{MORE}</style><main><h1>{title}</h1>"
            ),
        }
    }

    /// A heading of a part.
    pub fn part(&mut self, title: &str) {
        let _ = write!(self.html, "<h2>{}</h2>", escape(title));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        let _ = write!(self.html, "<p>{}</p>", escape(text));
    }

    /// A table; cells that are numbers stand to the right.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.html.push_str("<table><tr>");
        for name in head {
            let _ = write!(self.html, "<th>{}", escape(name));
        }
        for row in rows {
            self.html.push_str("<tr>");
            for cell in row {
                let number = cell.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') && cell.len() < 24;
                let _ = write!(self.html, "<td class={}>{}", if number { "n" } else { "said" }, escape(cell));
            }
        }
        self.html.push_str("</table>");
    }

    /// Figures side by side.
    pub fn charts(&mut self, charts: &[Chart<'_>]) {
        self.html.push_str("<div class=row>");
        charts.iter().for_each(|chart| chart.draw(&mut self.html));
        self.html.push_str("</div>");
    }

    /// Latents with the words that they promote and the contexts in which they fire.
    pub fn latents(&mut self, features: &[Feature]) {
        features.iter().for_each(|feature| latent(&mut self.html, feature));
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        self.html.push_str("</main></html>\n");
        self.html
    }
}

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 34.0;
/// Height of a line of the legend.
const LINE: f64 = 14.0;

impl Chart<'_> {
    fn draw(&self, page: &mut String) {
        let all = || self.curves.iter().flat_map(|curve| &curve.points);
        let [left, right] = range(all().map(|(x, _)| *x), 0.0);
        let [low, high] = range(all().flat_map(|(_, y)| [y.low, y.mean, y.high]), 0.05);
        let across = |x: f64| LEFT + (WIDTH - LEFT - 10.0) * (x - left) / (right - left);
        let up = |y: f64| HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (y - low) / (high - low);
        let whole = HEIGHT + LINE * self.curves.len() as f64 + 4.0;
        let _ = write!(
            page,
            "<figure class=chart><svg viewBox=\"0 0 {WIDTH} {whole}\" role=\"img\" aria-label=\"{}\">\
             <path class=axis d=\"M{LEFT} {TOP}V{}H{WIDTH}\"/>",
            escape(&self.said()),
            HEIGHT - BOTTOM
        );
        for (y, at) in [(low, up(low)), (high, up(high) + 8.0), (0.5 * (low + high), up(0.5 * (low + high)))] {
            let _ = write!(page, "<text x=\"{}\" y=\"{at:.1}\" text-anchor=\"end\">{}</text>", LEFT - 4.0, short(y));
        }
        let mut places: Vec<f64> = all().map(|(x, _)| *x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        for x in thinned(&places) {
            let (at, foot) = (across(x), HEIGHT - BOTTOM + 12.0);
            let _ = write!(page, "<text x=\"{at:.1}\" y=\"{foot}\" text-anchor=\"middle\">{}</text>", short(x));
        }
        let _ = write!(
            page,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            0.5 * (LEFT + WIDTH),
            HEIGHT - 8.0,
            escape(self.x)
        );
        for (at, curve) in self.curves.iter().enumerate() {
            let points = || curve.points.iter().filter(|(_, y)| [y.low, y.mean, y.high].iter().all(|y| y.is_finite()));
            let colour = format!("hsl({} 65% 45%)", 360 * at / self.curves.len().max(1));
            let line: Vec<String> = points().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(y.mean))).collect();
            let _ = write!(page, "<polyline class=curve style=\"stroke:{colour}\" points=\"{}\"/>", line.join(" "));
            for (x, y) in points() {
                let _ = write!(
                    page,
                    "<path class=reach style=\"stroke:{colour}\" d=\"M{x:.1} {:.1}V{:.1}\"/><circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\" \
                     style=\"fill:{colour}\"><title>{}: {} ({} to {}), n = {}</title></circle>",
                    up(y.low),
                    up(y.high),
                    up(y.mean),
                    escape(curve.name),
                    short(y.mean),
                    short(y.low),
                    short(y.high),
                    y.n,
                    x = across(*x)
                );
            }
            let y = HEIGHT + LINE * at as f64 + 4.0;
            let _ = write!(
                page,
                "<circle cx=\"{LEFT}\" cy=\"{y}\" r=\"3\" style=\"fill:{colour}\"/><text x=\"{}\" y=\"{}\">{}</text>",
                LEFT + 8.0,
                y + 3.5,
                escape(curve.name)
            );
        }
        let _ = write!(page, "</svg><figcaption>{}: {}</figcaption></figure>", escape(self.title), escape(self.y));
    }

    /// The same in words.
    fn said(&self) -> String {
        let curve = |curve: &Curve<'_>| {
            let points: Vec<String> =
                curve.points.iter().map(|(x, y)| format!("{} at {}", short(y.mean), short(*x))).collect();
            format!("{}: {}", curve.name, points.join(", "))
        };
        let curves: Vec<String> = self.curves.iter().map(curve).collect();
        format!("{}, {} by {}. {}", self.title, self.y, self.x, curves.join("; "))
    }
}

/// From the least to the most, with some room beyond, and never empty.
fn range(values: impl Iterator<Item = f64>, room: f64) -> [f64; 2] {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    match high - low {
        wide if wide > 0.0 => [low - room * wide, high + room * wide],
        _ if low <= high => [low - 0.5, high + 0.5],
        _ => [0.0, 1.0],
    }
}

/// At most about eight of them.
fn thinned(places: &[f64]) -> impl Iterator<Item = f64> + '_ {
    places.iter().copied().step_by(places.len().div_ceil(8).max(1))
}

/// Three digits that matter.
fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 6) };
    let text = format!("{value:.*}", digits as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let of = [0.0, 0.5, 12.345, -0.012_345, 1234.5, 100.0, 1e-9].map(short);
        assert_eq!(of, ["0", "0.5", "12.3", "-0.0123", "1234", "100", "0"]);
        assert_eq!(range([].into_iter(), 0.1), [0.0, 1.0]);
        assert_eq!(range([2.0, 2.0].into_iter(), 0.1), [1.5, 2.5]);
    }

    #[test]
    fn the_page_needs_nothing_else_and_escapes() {
        let mut page = Page::new("a & b");
        page.part("<part>");
        page.text("1 < 2");
        page.table(&["k", "said"], &[vec!["10".into(), "<i>".into()], vec!["-0.5".into(), "yes".into()]]);
        let of = |mean: f64| Interval { n: 7, mean, low: mean - 0.1, high: mean + 0.1 };
        let points = vec![(1.0, of(0.2)), (10.0, of(0.9)), (20.0, of(f64::NAN))];
        let curves = vec![Curve { name: "<up>", points }, Curve { name: "none", points: vec![] }];
        page.charts(&[Chart { title: "t", x: "K", y: "accuracy", curves }]);
        let page = page.finish();
        assert!(page.contains("a &amp; b") && page.contains("&lt;part&gt;") && page.contains("1 &lt; 2"));
        assert!(
            page.contains("<td class=n>10<td class=said>&lt;i&gt;")
                && page.contains("&lt;up&gt;: 0.2 (0.1 to 0.3), n = 7")
        );
        assert!(
            !page.contains("http")
                && !page.contains(",NaN")
                && !page.contains("\"NaN")
                && !page.contains("<script")
                && page.ends_with("</html>\n")
        );
        assert_eq!(page.matches("<figure").count(), page.matches("</figure>").count());
    }
}
