//! The results as a page to look at: HTML with its charts inside.

use std::collections::BTreeSet;
use std::fmt::Write;

use aioproducer_benches::broker::Failure;
use aioproducer_benches::host::Host;
use aioproducer_benches::spread::Spread;
use clap::ValueEnum;
use plotters::style::RGBColor;

use crate::case::{Row, Runtime};
use crate::chart::{self, Bar, Kind};
use crate::goals::Goal;
use crate::results::{Line, Results};

/// Writes the page.
pub(crate) fn page(results: &Results) -> Result<String, Failure> {
    let mut page = String::new();
    let style = include_str!("report.css");
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>aioproducer and its peers</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    )?;
    header(&mut page, &results.machine)?;
    if !results.goals.is_empty() {
        goals(&mut page, &results.goals)?;
    }
    let sizes: BTreeSet<usize> = results.rows.iter().map(|line| line.size).collect();
    for size in sizes {
        let lines: Vec<&Line> = results.rows.iter().filter(|line| line.size == size).collect();
        writeln!(page, "<h2>Payloads of {} bytes</h2>\n<section>", thousands(size as f64))?;
        charts(&mut page, &lines)?;
        writeln!(page, "</section>")?;
    }
    table(&mut page, &results.rows)?;
    rows(&mut page)?;
    settings(&mut page, results)?;
    writeln!(page, "</body>\n</html>")?;
    Ok(page)
}

fn header(page: &mut String, machine: &Host) -> Result<(), Failure> {
    let Host { processor, cores, memory_mib, kernel, librdkafka } = machine;
    writeln!(
        page,
        "<header>\n<h1>aioproducer and its peers</h1>\n<p>{}, {cores} cores, {} MiB, Linux {}, librdkafka {}</p>",
        escape(processor),
        thousands(*memory_mib as f64),
        escape(kernel),
        escape(librdkafka)
    )?;
    writeln!(page, "<ul class=\"legend\">")?;
    for kind in Kind::ALL {
        let RGBColor(r, g, b) = kind.colour();
        writeln!(page, "<li><i style=\"background: rgb({r} {g} {b})\"></i>{}</li>", kind.name())?;
    }
    writeln!(page, "</ul>\n<p>Bars are medians of the rounds; thin lines go from the least to the greatest.</p>")?;
    writeln!(page, "</header>")?;
    Ok(())
}

fn goals(page: &mut String, goals: &[Goal]) -> Result<(), Failure> {
    writeln!(page, "<h2>Goals</h2>\n<div class=\"card fit\">\n<table>")?;
    head(page, &["goal", "value", "limit", ""])?;
    for goal in goals {
        let verdict = goal.verdict();
        let limit = format!("{} {}", goal.bound.name(), goal.limit);
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{limit}</td><td class=\"{verdict}\">{verdict}</td></tr>",
            escape(&goal.name),
            goal.shown()
        )?;
    }
    writeln!(page, "</table>")?;
    writeln!(page, "</div>")?;
    Ok(())
}

fn charts(page: &mut String, lines: &[&Line]) -> Result<(), Failure> {
    let every = |of: fn(&Line) -> Spread| lines.iter().map(|line| bar(line, of(line))).collect::<Vec<_>>();
    figure(page, "Records per second", "more is better", &every(|line| line.spreads.records_per_s), thousands, None)?;
    figure(
        page,
        "CPU time per record, ns",
        "less is better; all threads of the process",
        &every(|line| line.spreads.cpu_ns),
        thousands,
        None,
    )?;
    let ratio = |number: f64| format!("{number:.2}");
    let against = |peer: fn(Row) -> Row| {
        let ratios = lines.iter().filter_map(|line| Some(bar(line, *line.vs.get(&peer(line.row))?)));
        ratios.collect::<Vec<_>>()
    };
    let alike = "rows with keys, headers or tasks: to the FutureProducer's with the same";
    figure(page, "Records per second, ratio to FutureProducer", alike, &against(Row::counterpart), ratio, Some(1.0))?;
    figure(
        page,
        "Records per second, ratio to raw-copy",
        "rows of ours, within each round",
        &against(|_| Row::RawCopy),
        ratio,
        Some(1.0),
    )
}

fn bar(line: &Line, spread: Spread) -> Bar {
    let name = line.row.name();
    let label = if line.runtime == Runtime::Smol { format!("{name}, smol") } else { name };
    Bar { label, kind: Kind::of(line.row), spread }
}

/// A chart, unless it would be empty.
fn figure(
    page: &mut String,
    title: &str,
    note: &str,
    bars: &[Bar],
    number: fn(f64) -> String,
    mark: Option<f64>,
) -> Result<(), Failure> {
    if !bars.is_empty() {
        let svg = chart::bars(bars, number, mark)?;
        writeln!(page, "<figure>\n<figcaption>{title} <small>{note}</small></figcaption>\n{svg}</figure>")?;
    }
    Ok(())
}

fn table(page: &mut String, lines: &[Line]) -> Result<(), Failure> {
    writeln!(page, "<h2>All results</h2>\n<div class=\"card\">\n<table class=\"full\">")?;
    head(
        page,
        &[
            "row",
            "runtime",
            "bytes",
            "records/s",
            "MB/s",
            "CPU ns",
            "allocations",
            "peak MiB",
            "failed",
            "not confirmed",
            "to FutureProducer",
            "to raw-copy",
            "to raw-limit",
        ],
    )?;
    for line in lines {
        let ratio = |peer| line.vs.get(&peer).map_or_else(String::new, |ratio| format!("{:.2}", ratio.median));
        let cells = [
            line.row.name(),
            line.runtime.to_string(),
            thousands(line.size as f64),
            thousands(line.records_per_s),
            thousands(line.mb_per_s),
            thousands(line.cpu_ns),
            line.allocs.map_or_else(String::new, |allocs| format!("{allocs:.4}")),
            thousands(line.peak_mib),
            thousands(line.failed as f64),
            thousands(line.unconfirmed as f64),
            ratio(line.row.counterpart()),
            ratio(Row::RawCopy),
            ratio(Row::RawLimit),
        ];
        writeln!(page, "<tr><td>{}</td></tr>", cells.join("</td><td>"))?;
    }
    writeln!(page, "</table>\n</div>")?;
    Ok(())
}

fn head(page: &mut String, names: &[&str]) -> Result<(), Failure> {
    writeln!(page, "<tr><th>{}</th></tr>", names.join("</th><th>"))?;
    Ok(())
}

fn rows(page: &mut String) -> Result<(), Failure> {
    writeln!(page, "<h2>Rows</h2>\n<dl class=\"card\">")?;
    for row in Row::value_variants() {
        writeln!(page, "<dt>{}</dt><dd>{}</dd>", row.name(), escape(&row.help()).replace('`', ""))?;
    }
    writeln!(page, "</dl>")?;
    Ok(())
}

fn settings(page: &mut String, results: &Results) -> Result<(), Failure> {
    writeln!(page, "<h2>Settings</h2>\n<dl class=\"card\">")?;
    for (key, value) in &results.settings {
        writeln!(page, "<dt>{}</dt><dd>{}</dd>", escape(key), escape(value))?;
    }
    writeln!(page, "</dl>")?;
    Ok(())
}

/// Rounded, with a comma after the thousands.
fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let sign = if number <= -0.5 { "-" } else { "" };
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
