//! Pictures as text: lines of shares, and bars.

use std::fmt::Write as _;

use super::{Plot, PlotKind};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 200.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BAR: f64 = 26.0;
const CURVES_HEIGHT: f64 = 300.0;
/// Told apart by those who see colours differently as well.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// The whole file.
pub(super) fn draw(plot: &Plot) -> String {
    let (body, height) = match &plot.kind {
        PlotKind::Shares(lines) => (curves(lines), TOP + CURVES_HEIGHT + 44.0),
        PlotKind::Bars { unit, bars: all } => bars(unit, all),
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{}</text>\n{body}</svg>\n",
        escaped(&plot.title)
    )
}

fn bars(unit: &str, bars: &[(String, f64)]) -> (String, f64) {
    let most = bars.iter().map(|(_, number)| *number).fold(f64::MIN_POSITIVE, f64::max);
    let room = WIDTH - LEFT - RIGHT - 110.0;
    let mut text = String::new();
    for (index, (name, number)) in bars.iter().enumerate() {
        let y = TOP + BAR * as_float(index);
        let length = (number / most * room).max(1.0);
        let colour = COLOURS[usize::from(index > 0)];
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"18\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{} {unit}</text>",
            LEFT - 8.0,
            y + 14.0,
            escaped(name),
            LEFT + length + 6.0,
            y + 14.0,
            short(*number),
        );
    }
    (text, TOP + BAR * as_float(bars.len()) + 10.0)
}

/// Which share, against a logarithm of the time.
fn curves(lines: &[(String, Vec<f64>)]) -> String {
    let all = || lines.iter().flat_map(|(_, times)| times.iter().copied());
    let least = all().fold(f64::INFINITY, f64::min).max(0.001);
    let most = all().fold(least * 10.0, f64::max);
    let (from, to) = (least.log10().floor(), most.log10().ceil());
    let (left, right) = (50.0, WIDTH - LEFT);
    let x = |ms: f64| left + (ms.max(0.001).log10() - from) / (to - from) * (right - left);
    let y = |share: f64| TOP + (1.0 - share) * CURVES_HEIGHT;
    let mut text = String::new();
    for share in [0.0, 0.25, 0.5, 0.75, 0.99] {
        let _ = writeln!(
            text,
            "<path d=\"M{left} {0:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"44\" y=\"{1:.1}\" text-anchor=\"end\">{2:.0}%</text>",
            y(share),
            y(share) + 4.0,
            share * 100.0
        );
    }
    let mut decade = from;
    while decade <= to {
        let ms = 10f64.powf(decade);
        let _ = writeln!(
            text,
            "<path d=\"M{0:.1} {TOP}V{1:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{0:.1}\" y=\"{2:.1}\" text-anchor=\"middle\">{3} ms</text>",
            x(ms),
            TOP + CURVES_HEIGHT,
            TOP + CURVES_HEIGHT + 18.0,
            short(ms)
        );
        decade += 1.0;
    }
    for (index, (name, times)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        // A picture needs no more points than it has columns.
        let step = times.len().div_ceil(300).max(1);
        let points =
            times.iter().enumerate().filter(|(at, _)| at % step == 0 || at + 1 == times.len());
        let path: Vec<_> = points
            .map(|(at, ms)| {
                format!("{:.1},{:.1}", x(*ms), y(as_float(at + 1) / as_float(times.len())))
            })
            .collect();
        let height = TOP + 16.0 + 20.0 * as_float(index);
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <rect x=\"{1}\" y=\"{2:.0}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{3}\" y=\"{4:.0}\">{5}</text>",
            path.join(" "),
            right + 14.0,
            height - 10.0,
            right + 32.0,
            height,
            escaped(name)
        );
    }
    text
}

fn as_float(index: usize) -> f64 {
    u32::try_from(index).map_or(f64::MAX, f64::from)
}

fn short(number: f64) -> String {
    if number >= 100.0 || number.fract() == 0.0 {
        format!("{number:.0}")
    } else {
        let digits = format!("{number:.3}");
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
