//! Draws curves over time, or over the values of a sweep, as SVG.

use std::fmt::Write as _;

use crate::outcome::Curve;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 400.0;
/// Margins for the numbers and names around the curves.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 45.0;
/// Distinct for colour-blind readers.
const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#d55e00", "#56b4e9", "#009e73", "#cc79a7"];
/// Colour and width of the grid.
const GREY: (&str, f64) = ("#ccc", 1.0);
/// The approximate number of grid lines.
const GRID: f64 = 5.0;

/// The horizontal axis.
pub(crate) enum XAxis<'a> {
    /// Seconds from 0.
    Seconds,
    /// A quantity and its values, on a logarithmic scale.
    Values(&'a str, &'a [f64]),
}

impl XAxis<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Seconds => "seconds",
            Self::Values(name, _) => name,
        }
    }

    /// The distance of a value from the left end, before scaling.
    fn offset(&self, value: f64) -> f64 {
        match self {
            Self::Seconds => value,
            Self::Values(_, values) => (value.max(1.0) / least(values)).ln(),
        }
    }

    /// The values labelled on the axis, up to `right`.
    fn marks(&self, right: f64) -> Vec<f64> {
        match self {
            Self::Seconds => steps(right).collect(),
            Self::Values(_, values) => values.to_vec(),
        }
    }
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min).max(1.0)
}

/// Draws curves. `value`: the name of the vertical axis, which starts at 0.
pub(crate) fn svg(title: &str, value: &str, axis: &XAxis<'_>, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points).filter(|point| point.1.is_finite());
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
    let (right, top) = (most(|point| point.0).max(1.0), most(|point| point.1).max(1e-3) * 1.05);
    let whole = axis.offset(right).max(1e-3);
    let x = |at: f64| LEFT + axis.offset(at) / whole * (WIDTH - LEFT - RIGHT);
    let y = |height: f64| HEIGHT - BOTTOM - height / top * (HEIGHT - TOP - BOTTOM);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    text(&mut svg, (LEFT, 22.0), "start", title);
    text(&mut svg, ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8.0), "middle", axis.name());
    text(&mut svg, (LEFT, TOP - 4.0), "start", value);
    for at in steps(top) {
        line(&mut svg, (x(0.0), y(at)), (x(right), y(at)), GREY);
        text(&mut svg, (LEFT - 6.0, y(at) + 4.0), "end", &short(at));
    }
    for at in axis.marks(right) {
        line(&mut svg, (x(at), y(0.0)), (x(at), y(0.0) + 4.0), GREY);
        text(&mut svg, (x(at), HEIGHT - BOTTOM + 17.0), "middle", &short(at));
    }
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut path = String::new();
        for (at, height) in curve.points.iter().filter(|point| point.1.is_finite()) {
            let _ = write!(path, "{:.1},{:.1} ", x(*at), y(*height));
        }
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            path.trim_end()
        );
        let row = TOP + 14.0 + 18.0 * index as f64;
        let (from, to) = (WIDTH - RIGHT + 12.0, WIDTH - RIGHT + 32.0);
        line(&mut svg, (from, row), (to, row), (colour, 3.0));
        text(&mut svg, (to + 6.0, row + 4.0), "start", &curve.name);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Round numbers from 0 to `most`.
fn steps(most: f64) -> impl Iterator<Item = f64> {
    let rough = most / GRID;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    (0..).map(move |index| f64::from(index) * step).take_while(move |at| *at <= most)
}

fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn line(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), (colour, width): (&str, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_is_closed_and_every_point_inside() {
        let curve =
            |name: &str, points: &[(f64, f64)]| Curve { name: name.to_owned(), points: points.to_vec() };
        for curves in [
            vec![],
            vec![curve("none", &[])],
            vec![
                curve("a < b & c", &[(0.0, 0.0), (1.0, f64::NAN), (2.0, 1e6)]),
                curve("one", &[(0.5, 1e-6)]),
            ],
        ] {
            let svg = svg("title <&>", "ms", &XAxis::Seconds, &curves);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
            assert_eq!(svg.matches("<polyline").count(), curves.len());
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
            for point in svg.split("points=\"").skip(1).flat_map(|rest| {
                rest.split('"').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>()
            }) {
                let (x, y) = point.split_once(',').unwrap();
                assert!((0.0..=WIDTH).contains(&x.parse().unwrap()), "{point}");
                assert!((0.0..=HEIGHT).contains(&y.parse().unwrap()), "{point}");
            }
        }
    }

    #[test]
    fn values_of_a_sweep_are_on_a_logarithmic_scale() {
        let points = vec![(10.0, 1.0), (100.0, 2.0), (1_000.0, 3.0)];
        let curves = [Curve { name: "gateway".to_owned(), points }];
        let svg = svg("title", "µs", &XAxis::Values("sockets", &[10.0, 100.0, 1_000.0]), &curves);
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let x: Vec<f64> = points
            .split_whitespace()
            .map(|point| point.split_once(',').unwrap().0.parse().unwrap())
            .collect();
        assert_eq!((x[0], x[2]), (LEFT, WIDTH - RIGHT));
        assert!((x[1] - f64::midpoint(x[0], x[2])).abs() < 0.1, "{x:?}");
        assert!(svg.contains(">sockets</text>") && svg.contains(">100</text>"), "{svg}");
    }

    #[test]
    fn a_grid_has_round_numbers() {
        assert_eq!(steps(10.0).collect::<Vec<_>>(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(steps(0.7).count(), 4);
    }
}
