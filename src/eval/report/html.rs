//! The report as one HTML file: its pictures are inside, nothing is loaded from elsewhere.

use super::{Report, SORTED_BY, Shown};
use crate::data::diff::{self, In};
use crate::data::{ImageRef, clean, picture};
use crate::error::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use std::fmt::Write;

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--miss:#e8a33d;--extra:#4f8fdc}
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.3rem .8rem;border-bottom:1px solid var(--line);text-align:right;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}
article{display:grid;grid-template-columns:minmax(10rem,20rem) 1fr;gap:1rem;border-top:1px solid var(--line);padding:1rem 0}
img{max-width:100%;height:auto;border-radius:4px}
h3{margin:0;font-size:1rem}dt{opacity:.65;font-size:.85rem;margin-top:.5rem}dd{margin:0;white-space:pre-wrap}
del{color:var(--miss)}ins{color:var(--extra);text-decoration:none;border-bottom:2px solid}
.note{opacity:.7}@media(max-width:40rem){article{grid-template-columns:1fr}}
";

/// All of it.
pub(super) fn write(report: &Report) -> String {
    let title = escape(&report.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n<h1>{title}</h1>\n<p>"
    );
    for (name, value) in [("Model", &report.model), ("Adapter", &report.adapter)] {
        if !value.is_empty() {
            let _ = write!(out, "{name}: <code>{}</code><br>", escape(value));
        }
    }
    let _ = write!(out, "Samples: {}", report.tuned.samples);
    if let Some(base) = &report.base {
        let _ = write!(out, ", compared with the base model on {}", base.common);
    }
    out += "</p>\n<p class=\"note\">Not a medical device: for research, no diagnosis.</p>\n";
    for (title, (heading, rows)) in report.tables() {
        let _ = write!(out, "<h2>{}</h2>\n{}", escape(&title), table(&heading, &rows));
    }
    out += "<p class=\"note\">In the answers <ins>marked</ins> words are not in the reference, <del>struck</del> ones \
            are missing.</p>\n";
    for (title, samples) in report.shown() {
        let _ = writeln!(out, "<h2>{title}</h2>");
        samples.iter().for_each(|s| out += &sample(s));
    }
    out + "</html>\n"
}

fn table(heading: &[String], rows: &[Vec<String>]) -> String {
    let row = |cells: &[String], tag: &str| {
        let cells: String = cells.iter().map(|c| format!("<{tag}>{}</{tag}>", escape(c))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = rows.iter().map(|r| row(r, "td")).collect();
    format!("<table>{}{rows}</table>\n", row(heading, "th"))
}

fn sample(shown: &Shown) -> String {
    let p = &shown.prediction;
    let pictures: String = p.images.iter().map(|name| figure(name)).collect();
    let score = p.score(SORTED_BY).unwrap_or_default();
    let mut words = format!("<h3>{} · {SORTED_BY} {score:.2}</h3><dl>", escape(&p.id));
    let mut item = |name: &str, html: &str| {
        let _ = write!(words, "<dt>{name}</dt><dd>{html}</dd>");
    };
    item("Question", &escape(p.question.trim()));
    item("Reference", &escape(p.label.trim()));
    if let Some(base) = &shown.base {
        item("Base", &marked(&p.label, base));
    }
    item("Tuned", &marked(&p.label, &p.predict));
    format!("<article><div>{pictures}</div><div>{words}</dl></div></article>\n")
}

/// An answer with what differs from the reference marked.
fn marked(reference: &str, answer: &str) -> String {
    let piece = |(place, text): &(In, String)| match place {
        In::Both => escape(text),
        In::First => format!("<del>{}</del>", escape(text)),
        In::Second => format!("<ins>{}</ins>", escape(text)),
    };
    diff::words(reference.trim(), answer.trim()).iter().map(piece).collect()
}

/// The picture, scaled down, inside the file; its name where it cannot be read.
fn figure(name: &str) -> String {
    let alt = escape(name);
    match thumbnail(name) {
        Ok(jpeg) => {
            format!("<img alt=\"{alt}\" src=\"data:image/jpeg;base64,{}\">", STANDARD.encode(jpeg))
        }
        Err(_) => format!("<p class=\"note\">{alt}</p>"),
    }
}

fn thumbnail(name: &str) -> Result<Vec<u8>> {
    const SIDE: u32 = 512;
    const QUALITY: u8 = 82;
    let picture = picture::open(&ImageRef::named(name.into())?)?;
    let small = match picture.width().max(picture.height()) > SIDE {
        true => picture.thumbnail(SIDE, SIDE),
        false => picture,
    };
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
    small.to_rgb8().write_with_encoder(encoder).map_err(|e| crate::error::Error::input(e.to_string()))?;
    Ok(jpeg)
}

/// Text from data as HTML text.
fn escape(text: &str) -> String {
    let clean = clean::for_terminal_lines(text);
    clean.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
