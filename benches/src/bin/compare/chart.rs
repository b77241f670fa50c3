//! Bar charts, as SVG that takes the colour of its text and lines from the page around it.

use aioproducer_benches::broker::Failure;
use aioproducer_benches::spread::Spread;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::case::Row;

/// The client of a bar.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Ours,
    Peer,
    Raw,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Peer, Self::Raw];

    pub(crate) fn of(row: Row) -> Self {
        match row {
            _ if row.is_ours() => Self::Ours,
            _ if row.is_raw() => Self::Raw,
            _ => Self::Peer,
        }
    }

    /// Its name in the legend.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "aioproducer",
            Self::Peer => "producers of the rdkafka crate",
            Self::Raw => "librdkafka from C",
        }
    }

    /// A colour that is clear on white and on black.
    pub(crate) fn colour(self) -> RGBColor {
        match self {
            Self::Ours => RGBColor(46, 134, 222),
            Self::Peer => RGBColor(226, 137, 52),
            Self::Raw => RGBColor(140, 148, 160),
        }
    }
}

/// One bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) kind: Kind,
    pub(crate) spread: Spread,
}

// In pixels.
const WIDTH: u32 = 640;
const LABELS: u32 = 180;
const ROW: u32 = 24;
const AXIS: u32 = 28;
const MARGIN: u32 = 6;
const GAP: i32 = 7;
const FONT: i32 = 16;
/// How far the last number below the axis may stick out.
const HALF_A_NUMBER: u32 = 36;

/// The height of a bar, as a share of its row.
const THICKNESS: f64 = 0.66;

/// The space for the value at the end of the longest bar, as a share of the bar.
const ROOM: f64 = 0.16;

/// Draws medians as bars from the first at the top, with a thin line from least to greatest, and a line at `mark`.
pub(crate) fn bars(bars: &[Bar], number: fn(f64) -> String, mark: Option<f64>) -> Result<String, Failure> {
    let mut svg = String::new();
    draw(&mut svg, bars, number, mark)?;
    Ok(svg)
}

fn draw(svg: &mut String, bars: &[Bar], number: fn(f64) -> String, mark: Option<f64>) -> Result<(), Failure> {
    let end = bars.len() as f64;
    let area = SVGBackend::with_string(svg, (WIDTH, bars.len() as u32 * ROW + AXIS + 2 * MARGIN)).into_drawing_area();
    let longest = bars.iter().map(|bar| bar.spread.max).fold(mark.unwrap_or(0.0), f64::max);
    let mut chart = ChartBuilder::on(&area)
        .margin(MARGIN)
        .margin_right(HALF_A_NUMBER)
        .x_label_area_size(AXIS)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(0.0..longest * (1.0 + ROOM), end..0.0)?;
    let text = TextStyle::from(("sans-serif", FONT)).color(&BLACK);
    let faint = BLACK.mix(0.2);
    chart
        .configure_mesh()
        .disable_y_axis()
        .disable_y_mesh()
        .x_labels(5)
        .x_label_formatter(&|value| number(*value))
        .label_style(text.clone())
        .light_line_style(TRANSPARENT)
        .bold_line_style(faint)
        .axis_style(faint)
        .draw()?;
    let area = chart.plotting_area();
    let write = |words: &str, at, offset, side| {
        let style = text.pos(Pos::new(side, VPos::Center));
        area.draw(&(EmptyElement::at(at) + Text::new(words.to_owned(), (offset, 0), style)))
    };
    let middles = || (0..bars.len()).map(|at| at as f64 + 0.5);
    for (bar, middle) in bars.iter().zip(middles()) {
        let Spread { median, min, max } = bar.spread;
        let corners = [(0.0, middle - THICKNESS / 2.0), (median, middle + THICKNESS / 2.0)];
        area.draw(&Rectangle::new(corners, bar.kind.colour().filled()))?;
        area.draw(&PathElement::new([(min, middle), (max, middle)], BLACK))?;
    }
    if let Some(mark) = mark {
        area.draw(&PathElement::new([(mark, 0.0), (mark, end)], BLACK.mix(0.6)))?;
    }
    for (bar, middle) in bars.iter().zip(middles()) {
        write(&bar.label, (0.0, middle), -GAP, HPos::Right)?;
        write(&number(bar.spread.median), (bar.spread.max, middle), GAP, HPos::Left)?;
    }
    area.present()?;
    Ok(())
}
