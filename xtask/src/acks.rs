//! A picture of a run under faults: for each client a row with what was acknowledged in each half
//! second, and what failed. SVG, of a few kilobytes.

use std::fmt::Write as _;

/// The width of a row in pixels, without its name.
const WIDTH: f64 = 780.0;
/// The place for names.
const LEFT: f64 = 150.0;
/// The height of a row, and of what is drawn in it.
const ROW: f64 = 46.0;
const BARS: f64 = 36.0;
/// The place for the names of the faults.
const TOP: f64 = 70.0;
/// The time that a bar stands for: 0.5 s.
const STEP: f64 = 0.5;

/// What one client was told.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// When a row was acknowledged, in seconds.
    pub(crate) acknowledged: Vec<f64>,
    /// When an operation failed.
    pub(crate) failed: Vec<f64>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    pub(crate) title: String,
    /// How long the run took.
    pub(crate) seconds: f64,
    /// When what was done to the servers and the network.
    pub(crate) marks: Vec<(f64, String)>,
    pub(crate) rows: Vec<Row>,
}

impl Picture {
    /// The picture as the text of an SVG file.
    pub(crate) fn svg(&self) -> String {
        let bottom = self.rows.iter().fold(TOP, |y, _| y + ROW);
        let (width, height) = (LEFT + WIDTH + 20.0, bottom + 44.0);
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"8\" y=\"18\" font-size=\"14\">{}</text>",
            escaped(&self.title)
        );
        let mut y = TOP;
        for row in &self.rows {
            self.draw(row, y, &mut svg);
            y += ROW;
        }
        for (number, (at, what)) in self.marks.iter().enumerate() {
            let x = self.x(*at);
            // Names of faults that follow each other closely stand one below the other.
            let text_y = 36 + number % 3 * 13;
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.0} 30V{bottom:.0}\" stroke=\"#345\" stroke-dasharray=\"3 3\"/>\
                 <text x=\"{:.0}\" y=\"{text_y}\" font-size=\"11\">{}</text>",
                x + 3.0,
                escaped(what)
            );
        }
        let mut second = 0.0;
        while second <= self.seconds {
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555\">{second:.0} s</text>",
                self.x(second),
                bottom + 16.0
            );
            second += 5.0;
        }
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT:.0}\" y=\"{:.0}\" fill=\"#555\">green: rows acknowledged in each half \
             second; red line: operations that failed, cut off at the top</text>\n</svg>",
            bottom + 36.0
        );
        svg
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + at / self.seconds.max(STEP) * WIDTH
    }

    fn draw(&self, row: &Row, top: f64, svg: &mut String) {
        let (acknowledged, failed) = (self.bars(&row.acknowledged), self.bars(&row.failed));
        let most = acknowledged.iter().copied().max().unwrap_or(0).max(1);
        let base = top + BARS;
        let line = |bars: &[u32]| {
            let mut path = format!("M{LEFT:.0} {base:.0}");
            let mut at = 0.0;
            for bar in bars {
                let y = base - f64::from(*bar.min(&most)) / f64::from(most) * BARS;
                at += STEP;
                let _ = write!(path, "V{y:.0}H{:.0}", self.x(at.min(self.seconds)));
            }
            let _ = write!(path, "V{base:.0}");
            path
        };
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <path d=\"M{LEFT:.0} {base:.0}h{WIDTH:.0}\" stroke=\"#ccc\"/>\
             <path d=\"{}\" fill=\"#4a8f5c\"/>",
            LEFT - 8.0,
            top + BARS / 2.0 + 4.0,
            escaped(&row.name),
            line(&acknowledged)
        );
        if failed.iter().any(|count| *count > 0) {
            let path = line(&failed);
            let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"#c0392b\"/>");
        }
    }

    /// How many of these moments are in each step of the run.
    fn bars(&self, moments: &[f64]) -> Vec<u32> {
        let mut bars = Vec::new();
        let mut begin = 0.0;
        while begin < self.seconds {
            let is_in = |at: &&f64| **at >= begin && **at < begin + STEP;
            bars.push(u32::try_from(moments.iter().filter(is_in).count()).unwrap_or(u32::MAX));
            begin += STEP;
        }
        bars
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_half_second() {
        let row = Row {
            name: "a<b".to_owned(),
            acknowledged: vec![0.1, 0.2, 0.7],
            failed: vec![1.2, 1.3, 1.4],
        };
        let picture = Picture { seconds: 1.5, rows: vec![row], ..Picture::default() };
        assert_eq!(picture.bars(&[0.1, 0.2, 0.7]), [2, 1, 0]);
        let svg = picture.svg();
        // The full height, half of it, nothing; the name as text.
        assert!(svg.contains("M150 106V70H410V88H670V106H930V106"), "{svg}");
        assert!(svg.contains("a&lt;b"), "{svg}");
        // Failures are cut off at the top.
        assert!(svg.contains("M150 106V106H410V106H670V70H930V106"), "{svg}");
    }
}
